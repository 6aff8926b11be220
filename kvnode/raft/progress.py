"""How far one peer is, and how much may be on its way to it. The design is etcd-raft's.

PROBE      its log is not known: one message, then wait for an answer or a heartbeat's
REPLICATE  its log is a prefix of ours up to `next`: messages are pipelined, up to a bound
SNAPSHOT   it needs more than is in the log: nothing is sent until an image has arrived

Invariant: match < next; `match` never goes back, since it is durable there.
"""

from collections import deque
from enum import Enum

from kvnode.base.limits import APPENDS_IN_FLIGHT_MAX, CATCH_UP_SILENT_TICKS
from kvnode.raft.messages import Snapshot

IDLE_TICKS = 2  # without an acknowledgement, before it is asked whether a message is lost


class ProgressState(Enum):
    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """What the leader knows of one peer."""

    def __init__(self, last_index: int) -> None:
        """last_index: of the leader's log, where a peer most likely is."""
        self.state = ProgressState.PROBE
        self.match = 0
        self.next = last_index + 1
        self.snapshot_index = 0  # of the last image on its way
        self.offer: Snapshot | None = None  # SNAPSHOT: what the peer was told of it
        self.is_caught_up = False  # as a learner that may become a voter
        self.is_recovering = False  # it needed an image, and has not caught up since
        self._lacked = 0  # last index when it had the image
        self._is_paused = False  # PROBE: a message is on its way
        self._in_flight: deque[int] = deque()  # REPLICATE: last index of each message
        self._idle_ticks = 0  # since something was sent or acknowledged
        self._silent_ticks = 0  # since it was heard, or its state changed
        self._goal = last_index  # what it had to reach since `_goal_ticks`
        self._goal_ticks = 0

    @property
    def can_send(self) -> bool:
        if self.state is ProgressState.PROBE:
            return not self._is_paused
        return (
            self.state is ProgressState.REPLICATE and len(self._in_flight) < APPENDS_IN_FLIGHT_MAX
        )

    def has_been_sent(self, last: int) -> bool:
        """Whether all up to `last` is there or on its way."""
        return self.state is ProgressState.REPLICATE and self.next > last

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    def sent(self, last: int) -> None:
        """A message with entries next..last left; in PROBE it may be empty."""
        assert self.can_send
        self._idle_ticks = 0
        if self.state is ProgressState.PROBE:
            self._is_paused = True
        else:
            assert last >= self.next
            self.next = last + 1
            self._in_flight.append(last)

    def acknowledged(self, match: int) -> bool:
        """The peer has everything up to `match`; True if that is news."""
        is_news = match > self.match
        self._idle_ticks = self._silent_ticks = 0
        self.match = max(self.match, match)
        self.next = max(self.next, self.match + 1)
        if self.state is ProgressState.PROBE or (
            self.state is ProgressState.SNAPSHOT and self.match >= self.snapshot_index
        ):
            self._become(ProgressState.REPLICATE)
        while self._in_flight and self._in_flight[0] <= self.match:
            self._in_flight.popleft()
        return is_news

    def rejected(self, previous: int, next_index: int) -> None:
        """The peer does not have `previous`; go on at next_index. Late answers change nothing."""
        if self.state is ProgressState.SNAPSHOT or previous <= self.match:
            return
        if self.state is ProgressState.PROBE and previous != self.next - 1:
            return
        self._become(ProgressState.PROBE)
        self.next = max(min(next_index, previous), self.match + 1)

    def answered_heartbeat(self) -> bool:
        """The peer is alive; True if what is on its way should be checked: it may be lost.

        Not after each round, since reads make many: only when nothing has moved for a while.
        """
        self._silent_ticks = 0
        if self._idle_ticks < IDLE_TICKS:
            return False
        self._is_paused = False
        self._idle_ticks = 0
        return self.state is ProgressState.REPLICATE and self.match + 1 < self.next

    def repeats_offer(self) -> bool:
        """SNAPSHOT: the peer is alive; True if it should be told again what comes."""
        if self.offer is None or self._idle_ticks < IDLE_TICKS:
            return False
        self._idle_ticks = 0
        return True

    def lost(self) -> None:
        """What was on its way is lost: the link broke, or an image was not taken."""
        self._become(ProgressState.PROBE)
        self._is_paused = True  # until it is known to be there again

    def needs_snapshot(self, base_index: int) -> None:
        self._become(ProgressState.SNAPSHOT)
        self.snapshot_index = base_index
        self.is_recovering = True

    def tick(self, last_index: int, election_ticks: int) -> None:
        """Judge whether it has caught up: a round took less than an election (thesis 4.2.1)."""
        self._idle_ticks += 1
        self._silent_ticks += 1
        self._goal_ticks += 1
        if self.match >= self._goal:
            self.is_caught_up = self._goal_ticks <= election_ticks
            self._goal, self._goal_ticks = last_index, 0
        elif self._goal_ticks > election_ticks:
            self.is_caught_up = False
        if self.state is ProgressState.SNAPSHOT:
            self._lacked = last_index
        elif (
            self.is_caught_up and self.match >= self._lacked
        ) or self._silent_ticks > CATCH_UP_SILENT_TICKS:
            self.is_recovering = False

    def _become(self, state: ProgressState) -> None:
        self.state = state
        self.offer = None
        self._is_paused = False
        self._silent_ticks = 0
        self._in_flight.clear()
        self.next = self.match + 1
