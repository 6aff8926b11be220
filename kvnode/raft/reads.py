"""Reads without log entries: ReadIndex in batches, and leases (thesis 6.4).

A read must see everything that was committed when it arrived. It may be served by a node that has
applied up to the leader's committed index of then, once a round of heartbeats that began after its
arrival has shown that the leader was still leading. One round serves all that arrived before it
began; while one is under way, others wait for the next.

Reads are numbered by tickets, in order of arrival: who passes on ticket 7 passes on all up to 7.
"""

from collections import deque
from dataclasses import dataclass

from kvnode.base.limits import CLOCK_RATE_ERROR_MAX
from kvnode.raft.messages import ReadRequest


def lease_ms(election_ticks: int, tick_ms: int) -> int:
    """Return how long after the beginning of a confirmed round no other node can lead.

    Whoever answers a round refuses votes until `election_ticks` ticks have passed, the first of
    which may come at once; its clock may be faster than the leader's, which is read in whole ms.
    """
    return int((election_ticks - 1) * tick_ms * (1 - CLOCK_RATE_ERROR_MAX)) - 1


@dataclass(frozen=True, slots=True)
class ReadsDone:
    """Reads up to `ticket` may be served when `index` is applied; None: they failed, ask again."""

    ticket: int
    index: int | None


class Tickets:
    """A node's own reads, in order, whoever leads."""

    def __init__(self, instance: int, high_water: int, done: list[ReadsDone]) -> None:
        """instance: as in ReadRequest. high_water: as in Snapshot. done: where results go."""
        self.instance = instance
        # A read may have been asked for before an image was installed that holds parts of more.
        self.high_water = high_water
        self.issued = 0
        self._settled = 0
        self._asked = 0  # of the leader, up to here
        self._done = done

    def issue(self) -> int:
        self.issued += 1
        return self.issued

    @property
    def is_idle(self) -> bool:
        """Whether the leader owes no answer."""
        return self._asked <= self._settled

    @property
    def are_waiting(self) -> bool:
        return self._settled < self.issued

    def ask(self) -> int:
        """All that arrived so far are asked for now; return the last of them."""
        self._asked = self.issued
        return self.issued

    def done(self, ticket: int, index: int) -> None:
        """The leader has answered. An answer may come twice, or late."""
        assert ticket <= self.issued
        if ticket > self._settled:
            self._settled = ticket
            self._done.append(ReadsDone(ticket, max(index, self.high_water)))

    def fail(self) -> None:
        """The leader is lost, and with it what was asked."""
        if self.are_waiting:
            self._settled = self._asked = self.issued
            self._done.append(ReadsDone(self.issued, None))


class ReadQueue:
    """The leader's: requests of all nodes, its own among them, and the rounds that serve them."""

    def __init__(self) -> None:
        self._waiting: list[ReadRequest] = []
        self._asked: deque[tuple[int, int, list[ReadRequest]]] = deque()

    def add(self, request: ReadRequest) -> None:
        self._waiting.append(request)

    @property
    def wants_round(self) -> bool:
        return self._waiting != [] and not self._asked

    def begin(self, number: int, committed: int) -> None:
        """Round `number` begins, while entries up to `committed` are committed."""
        if self._waiting:
            self._asked.append((number, committed, self._waiting))
            self._waiting = []

    def confirm(self, number: int) -> list[tuple[ReadRequest, int]]:
        """A quorum has answered round `number`; return what may be served, and its index."""
        served = []
        while self._asked and self._asked[0][0] <= number:
            _, index, requests = self._asked.popleft()
            served += [(request, index) for request in requests]
        return served
