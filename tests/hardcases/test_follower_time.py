"""Reads of a follower judge deadlines as its leader does, whose clock may be another."""

from collections.abc import Callable

import pytest

from tests.sim.group.cluster import HOUR_MS, Cluster
from tests.sim.group.node import GroupNode

SYNCED_MS = 100


@pytest.fixture
def group() -> tuple[Cluster, GroupNode, GroupNode]:
    """A group without faults: it, its leader, a follower."""
    world = next(
        world
        for world in map(Cluster, range(100))
        if len(world.nodes[1].raft.membership.voters) == 3
    )
    world.heal()
    world.clock_offset = dict.fromkeys(world.clock_offset, 0)
    world.wait(lambda: "" if world.leader() is not None else "nobody leads")
    world._run_until(world.now + SYNCED_MS)
    leader = world.leader()
    assert leader is not None
    voters = leader.raft.membership.voters
    follower = next(world.nodes[n] for n in voters if n != leader.node_id)
    return world, leader, follower


def read(world: Cluster, follower: GroupNode) -> None:
    """Ask for a read index, and wait until it is reached."""
    done: list[bool] = []
    world.on(follower, lambda: ask(follower, done.append))
    world.wait(lambda: "" if done else "no answer")
    assert done == [True]


def ask(follower: GroupNode, done: Callable[[bool], None]) -> None:
    follower.replica.request_read(done)
    follower.replica.run()


def test_hard_case_23_a_follower_knows_the_time_of_its_leader(group) -> None:
    """Also when that writes nothing: a key whose deadline has passed there has passed it here."""
    world, leader, follower = group
    world.clock_offset[leader.node_id] += HOUR_MS
    asked_ms = leader.now_ms()
    assert follower.now_ms() < asked_ms
    read(world, follower)
    assert asked_ms <= follower.now_ms() <= leader.now_ms()


def test_hard_case_23_a_follower_ahead_of_its_leader_stays_so(group) -> None:
    """What has passed its deadline by the follower's time is the leader's to judge."""
    world, leader, follower = group
    world.clock_offset[follower.node_id] += HOUR_MS
    read(world, follower)
    assert follower.now_ms() > leader.now_ms() + HOUR_MS // 2


def test_hard_case_23_a_leader_that_states_no_time_is_seen(group, monkeypatch) -> None:
    """Planted."""
    world, leader, follower = group
    monkeypatch.setattr(GroupNode, "raise_floor", lambda self, ms: None)
    world.clock_offset[leader.node_id] += HOUR_MS
    asked_ms = leader.now_ms()
    read(world, follower)
    assert follower.now_ms() < asked_ms
