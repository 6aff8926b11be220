"""Groups of whole nodes on simulated networks, disks and clocks that fail: nothing may go wrong.

GROUP_SEEDS=n runs more of them; `python -m tests.sim --seed N` repeats one. What a planted bug
breaks must be seen to be broken.
"""

import os

import pytest

from kvnode.base.errors import CorruptionError, InvariantError
from kvnode.raft.membership import Demote, Remove
from tests.sim.group import planted
from tests.sim.group.checks import Violation
from tests.sim.group.clients import Client
from tests.sim.group.cluster import Cluster
from tests.sim.group.directory import TICK_MS
from tests.sim.group.linear import NotLinearizable
from tests.sim.group.node import address
from tests.sim.raft import planted as raft_planted

SEEDS = int(os.environ.get("GROUP_SEEDS", "300"))
PARTS = 4  # that run beside each other
PLANTED_SEEDS = 20  # so that a change of the simulation does not need another first one

SEEN = (Violation, NotLinearizable, InvariantError, CorruptionError, AssertionError)

# what is violated, and a seed that shows it
PLANTED = [
    (planted.applies_what_is_not_committed, "not committed", 0),
    (planted.applies_what_is_not_synced, None, 10),
    (planted.starts_with_the_whole_log, None, 0),
    (planted.serves_as_soon_as_elected, None, 0),
    (planted.acknowledges_alone, None, 0),
    (planted.releases_at_step_down, None, 0),
    (planted.says_not_done_of_writes, None, 0),
    (planted.keeps_memory_at_step_down, None, 0),
    (planted.rebuilds_at_once, None, 0),
    (planted.forgets_votes, None, 0),
    (planted.log_is_never_synced, None, 0),
    (planted.expires_on_followers, None, 1),
    (planted.reads_without_a_round, "reads: ", 6),
    (planted.reads_what_is_not_applied, "reads: ", 0),
    (planted.reads_from_a_mixed_store, "reads: ", 81),
    (planted.lease_is_too_long, "reads: ", 122),
    (planted.ignores_what_the_store_shows, None, 27),
    (planted.images_end_at_their_beginning, None, 103),
    (planted.keeps_own_hash_key, "hash", 0),
    (planted.applies_what_was_read_for_another_state, "cannot follow", 0),
    (planted.forgets_memberships, "membership: ", 1),
    (raft_planted.ignores_identities, None, 68),
]


def run(seed: int) -> Cluster:
    cluster = Cluster(seed)
    try:
        cluster.run()
    except Exception as error:
        error.add_note(f"repeat: python -m tests.sim --seed {seed}")
        raise
    return cluster


@pytest.mark.parametrize("part", range(PARTS))
def test_storm(part):
    counts = [run(seed).counts() for seed in range(part, SEEDS, PARTS)]
    assert sum(count["entries"] for count in counts) > 20 * len(counts)
    assert sum(count["acknowledged"] for count in counts) > 20 * len(counts)
    assert sum(count["forwarded"] for count in counts) > 20 * len(counts)
    assert sum(count["follower_reads"] for count in counts) > 5 * len(counts)


@pytest.mark.parametrize("seed", [70, 99, 144, 969, 42650, 42722])
def test_seeds_that_have_failed(seed):
    run(seed)


def test_a_seed_repeats():
    first, second = run(3), run(3)
    assert first.checks.committed == second.checks.committed
    assert first.counts() == second.counts()


def run_all(seeds: range) -> None:
    for seed in seeds:
        run(seed)


@pytest.mark.parametrize(
    ("plant", "text", "seed"), PLANTED, ids=lambda value: getattr(value, "__name__", None)
)
def test_the_storm_sees(plant, text, seed, monkeypatch):
    plant(monkeypatch)
    with pytest.raises(SEEN, match=text):
        run_all(range(seed, seed + PLANTED_SEEDS))


def test_every_planted_bug_is_seen():
    assert {plant for plant, *_ in PLANTED} >= set(planted.all_planted())


@pytest.fixture
def quiet():
    """A group of four without faults, clients or administrators."""
    world = Cluster(1)
    world.are_clients_done = True
    world.heal()
    world.wait(world.lag)
    return world


def test_a_member_is_removed_and_added_at_once(quiet):
    leader = quiet.leader()
    other = min(leader.raft.membership.peers(leader.node_id))
    told = []
    leader.networked.change(Demote(other), told.append)
    quiet.wait(lambda: "" if told else "an answer")
    leader.networked.change(Remove(other), told.append)
    leader.networked.add(other, address(other), promote=True, done=told.append)
    end = quiet.now + 500
    quiet.wait(lambda: "an answer" if len(told) < 3 else "")
    assert told == [None] * 3
    assert quiet.now < end


def test_a_read_at_a_follower_waits_for_no_tick(quiet):
    world, leader = quiet, quiet.leader()
    client = Client(world, 0)
    client.connect(next(node for node in world.nodes.values() if node is not leader))
    client.ask(client.readonly())
    took = []
    for _ in range(30):
        world.wait(lambda: "the answer" if client.outstanding else "", every=0.1)
        took.append(-world.now)
        client.ask(client.operation(b"k", "get", None, "GET", b"k"))
        world.wait(lambda: "the answer" if client.outstanding else "", every=0.1)
        took[-1] += world.now
    assert max(took) < TICK_MS
