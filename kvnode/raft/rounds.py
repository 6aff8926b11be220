"""Rounds of heartbeats, by which a leader learns that it still is one.

Each broadcast of heartbeats is a round. A round that a quorum has answered proves that there was no
newer leader when it *began*: from this follow linearizable reads (thesis 6.4), leases (6.4.1) and
the quorum check (6.2). Answers are cumulative: who answers round 7 has answered 6.
"""

from collections import deque
from collections.abc import Collection, Sequence

from kvnode.raft.quorum import joint_index


class Rounds:
    """Of one leadership."""

    def __init__(self, node_id: int) -> None:
        self._node_id = node_id
        self._answered: dict[int, int] = {}  # newest round, by node
        self._begun_at: deque[tuple[int, int]] = deque()  # (round, ms) of unconfirmed ones
        self.begun = 0
        self.confirmed = 0
        self.confirmed_at_ms = 0  # when the confirmed round began

    def begin(self, now_ms: int) -> int:
        """A round begins now: its heartbeats leave after this."""
        self.begun += 1
        self._begun_at.append((self.begun, now_ms))
        self._answered[self._node_id] = self.begun
        return self.begun

    def answered(self, node_id: int, number: int) -> None:
        assert number <= self.begun, "an answer to a round that never was"
        self._answered[node_id] = max(self._answered.get(node_id, 0), number)

    def confirm(self, quorums: Sequence[Collection[int]]) -> bool:
        """See what a quorum has answered by now; True if that is news.

        A round that was confirmed stays so when the membership changes: the change is an entry of
        this leader, and whoever elects another by it has heard of this one since.
        """
        number = joint_index(quorums, self._answered)
        if number <= self.confirmed:
            return False
        self.confirmed = number
        while self._begun_at and self._begun_at[0][0] <= number:
            self.confirmed_at_ms = self._begun_at.popleft()[1]
        return True
