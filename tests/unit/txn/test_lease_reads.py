"""Leases take effect: a leader that has one reads without asking the others."""

import math

import pytest

from kvnode._core.session import Session
from kvnode.base.resp import encode
from tests.sim.group.cluster import Cluster
from tests.sim.group.directory import TICK_MS
from tests.sim.group.node import GroupNode

READS = 60
START_MS = 3000  # of simulated time, within which somebody leads


class Answers:
    """What a client got."""

    def __init__(self) -> None:
        self.data = b""

    def receive(self, data: bytes | None) -> None:
        self.data += data or b""


class QuietGroup(Cluster):
    """A group without faults and without other clients."""

    def __init__(self, seed: int, *, has_leases: bool) -> None:
        super().__init__(seed)
        self.has_faults = False
        self.has_leases = has_leases
        for node_id in list(self.nodes):
            self.crash(node_id)
        self._run_until(START_MS)

    def leader(self) -> GroupNode:
        (leader,) = (node for node in self.nodes.values() if node.replica.is_serving)
        return leader

    def ask(self, session: Session, *words: str) -> bytes:
        """Return the reply of the leader, and wait for nothing else."""
        answers = Answers()
        self.connections[session] = answers  # type: ignore[assignment]
        self.network.to_node(self.leader(), session, encode(*words))
        while not answers.data:
            self._run_until(self.now + 0.01)
        return answers.data


def rounds_of_reads(group: QuietGroup) -> int:
    """Return how many rounds reads began, one after another, beside those of the ticks."""
    leader = group.leader()
    assert leader.raft.leadership is not None
    session = leader.clients.admit()
    assert group.ask(session, "SET", "k", "v") == b"+OK\r\n"
    rounds, began = leader.raft.leadership._rounds, group.now
    before = rounds.begun
    for _ in range(READS):
        assert group.ask(session, "GET", "k") == b"$1\r\nv\r\n"
    ticks = math.ceil((group.now - began) / TICK_MS * (1 + 0.1)) + 1
    assert group.leader() is leader
    return max(0, rounds.begun - before - ticks)


@pytest.mark.parametrize("seed", range(5))
def test_reads_under_a_lease_begin_no_rounds(seed: int) -> None:
    assert rounds_of_reads(QuietGroup(seed, has_leases=True)) == 0


def test_reads_without_leases_begin_rounds() -> None:
    assert rounds_of_reads(QuietGroup(0, has_leases=False)) > READS / 2
