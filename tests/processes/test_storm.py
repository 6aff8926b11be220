"""Faults by chance: a few rounds; KVNODE_GROUP_ROUNDS makes many, KVNODE_GROUP_SEED other ones."""

import os

from tests.processes import group as groups
from tests.processes.storm import Storm
from tests.processes.workload import load

ROUNDS = int(os.environ.get("KVNODE_GROUP_ROUNDS", "4"))
SEED = int(os.environ.get("KVNODE_GROUP_SEED", "1"))
PLANTED_ROUNDS_MAX = 5


def test_storm(tmp_path):
    with groups.running(tmp_path / "nodes") as group:
        Storm(group, SEED).run(ROUNDS)


def cut_off_the_leader(group):
    with load(group) as workload:
        leader = group.wait_agreed()
        group.proxies.cut(group.proxies.links_from(leader.node_id))
        group.wait_leader(group.others(leader))
        workload.wait_progress()
        group.proxies.heal()
        group.wait_agreed()


def test_acknowledgements_without_a_majority_are_seen(tmp_path):
    with groups.running(tmp_path / "nodes", plant="acknowledged_alone") as group:
        found = ""
        for _ in range(PLANTED_ROUNDS_MAX):
            try:
                cut_off_the_leader(group)
            except AssertionError as error:
                found = str(error)
                break
    assert any(word in found for word in ("lost", "stale", "same answer"))
