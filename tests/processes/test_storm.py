"""Faults by chance: a few rounds; KVNODE_GROUP_ROUNDS makes many, KVNODE_GROUP_SEED other ones."""

import os

import pytest

from tests.processes import group as groups
from tests.processes.storm import Storm
from tests.processes.workload import load

ROUNDS = int(os.environ.get("KVNODE_GROUP_ROUNDS", "4"))
SEED = int(os.environ.get("KVNODE_GROUP_SEED", "1"))
PLANTED_ROUNDS_MAX = 5


def test_storm(tmp_path):
    with groups.running(tmp_path / "nodes") as group:
        Storm(group, SEED).run(ROUNDS)


def test_acknowledgements_without_a_majority_are_seen(tmp_path):
    with groups.running(tmp_path / "nodes", plant="acknowledged_alone") as group:
        with pytest.raises(AssertionError, match="lost|stale|refused"):
            for _ in range(PLANTED_ROUNDS_MAX):
                with load(group) as workload:
                    leader = group.wait_agreed()
                    group.proxies.cut(group.proxies.links_from(leader.node_id))
                    group.wait_leader(group.others(leader))
                    workload.wait_progress()
                    group.proxies.heal()
                    group.wait_agreed()
