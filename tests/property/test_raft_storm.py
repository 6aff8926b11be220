"""Raft cores on a simulated network, disks and clocks that fail: nothing may ever go wrong.

RAFT_SEEDS=n runs more of them; `python -m tests.sim.raft --seed N` repeats one. Every rule that a
planted bug breaks must be seen to be broken, by the simulation, by a scenario, or by both.
"""

import os
from pathlib import Path

import pytest

from tests import datadriven
from tests.sim.raft import planted
from tests.sim.raft.checks import Violation
from tests.sim.raft.cluster import Cluster
from tests.unit.raft.nodes import Nodes

SEEDS = int(os.environ.get("RAFT_SEEDS", "200"))
PARTS = 4  # that run beside each other
PLANTED_SEEDS = 30  # so that a change of the simulation does not need another first one
SCENARIOS = Path(__file__).parents[1] / "data" / "raft"

# by the simulation: what is violated, and a seed that shows it
SEEN_BY_STORM = [
    (planted.votes_for_all, "election safety", 2),
    (planted.ignores_logs_in_votes, "leader completeness", 6),
    (planted.takes_any_append, "log matching", 32),
    (planted.acknowledges_unsynced, "durability", 0),
    (planted.leader_counts_unsynced, "durability", 0),
    (planted.new_voters_decide_alone, "durability", 0),
    (planted.commit_goes_back, "commit went back", 0),
    (planted.reads_without_round, "stale read", 19),
    (planted.reads_join_a_round, "stale read", 0),
    (planted.reads_before_the_fence, "stale", 0),
    (planted.lease_is_too_long, "leases of", 1),
    (planted.learners_count, "liveness", 0),
]

# by a scenario
SEEN_BY_SCENARIO = [
    (planted.forgets_its_vote, "vote_once"),
    (planted.votes_for_all, "vote_once"),
    (planted.ignores_logs_in_votes, "log_is_newer"),
    (planted.acknowledges_unsynced, "replication"),
    (planted.leader_counts_unsynced, "replication"),
    (planted.believes_late_reports, "returned"),
    (planted.commits_old_terms, "old_terms"),
    (planted.takes_any_append, "repair"),
    (planted.commits_unverified, "committed_is_kept"),
    (planted.trusts_heartbeats, "wiped_and_late"),
    (planted.reads_without_round, "read_index"),
    (planted.reads_join_a_round, "read_index"),
    (planted.reads_before_the_fence, "read_index"),
    (planted.answers_to_a_former_life, "former_life"),
    (planted.ignores_high_water, "image_under_read"),
    (planted.lease_from_the_answer, "lease"),
    (planted.lease_survives_transfer, "transfer_aborted"),
    (planted.votes_right_after_start, "lease_and_votes"),
    (planted.no_joint_membership, "joint"),
    (planted.new_voters_decide_alone, "joint_election"),
    (planted.learners_count, "learners"),
    (planted.ignores_identities, "identity"),
    (planted.keeps_cut_memberships, "cut_membership"),
    (planted.one_answer_is_a_quorum, "learners"),
]


def run(seed: int) -> Cluster:
    cluster = Cluster(seed)
    try:
        cluster.run()
    except Exception as error:
        error.add_note(f"repeat: python -m tests.sim.raft --seed {seed}")
        raise
    return cluster


def run_all(seeds: range) -> tuple[int, int]:
    """Return how many entries were committed, and by how many leaders."""
    all_checks = [run(seed).checks for seed in seeds]
    return (
        sum(checks.committed_index for checks in all_checks),
        sum(len(checks.leaders) for checks in all_checks),
    )


@pytest.mark.parametrize("part", range(PARTS))
def test_storm(part):
    seeds = range(part, SEEDS, PARTS)
    committed, leaders = run_all(seeds)
    assert committed > 20 * len(seeds), "the clusters did not do much"
    assert leaders > 2 * len(seeds)


def test_a_seed_repeats():
    first, second = run(3).checks, run(3).checks
    assert first.digests == second.digests
    assert first.leaders == second.leaders


@pytest.mark.parametrize(
    ("plant", "text", "seed"), SEEN_BY_STORM, ids=lambda value: getattr(value, "__name__", None)
)
def test_the_storm_sees(plant, text, seed, monkeypatch):
    plant(monkeypatch)
    with pytest.raises((Violation, AssertionError), match=text):
        run_all(range(seed, seed + PLANTED_SEEDS))


@pytest.mark.parametrize(
    ("plant", "scenario"), SEEN_BY_SCENARIO, ids=lambda value: getattr(value, "__name__", value)
)
def test_a_scenario_sees(plant, scenario, monkeypatch):
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        datadriven.run(SCENARIOS / f"{scenario}.txt", Nodes().handle)


def test_every_planted_bug_is_seen():
    seen = {plant for plant, *_ in SEEN_BY_STORM} | {plant for plant, _ in SEEN_BY_SCENARIO}
    assert seen == set(planted.all_planted())
