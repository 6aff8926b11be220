"""What Raft nodes tell each other, and what a node must remember.

Names as in Ongaro's thesis and etcd-raft. Messages are plain values: how they travel is decided
elsewhere. `term` is the sender's, except in PreVote, where it is the one it would campaign in.
"""

from dataclasses import dataclass, field

from kvnode.raft.membership import Membership

NO_NODE = 0  # no vote, no known leader: node ids begin with 1


@dataclass(frozen=True, slots=True)
class HardState:
    """Must be durable before anything that follows from it leaves the node."""

    term: int = 0
    vote: int = NO_NODE


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state up to (index, term), as an image that may already hold parts of later entries.

    high_water: the highest entry of which it may hold a part; nobody reads the image until entries
    up to there have been applied on it (hard case 3).
    """

    index: int
    term: int
    high_water: int
    membership: Membership


@dataclass(frozen=True, slots=True)
class Message:
    """From one node to another, within a term."""

    source: int
    target: int
    term: int


class Reply(Message):
    """Counts for a majority, so the sender's identity is checked."""

    __slots__ = ()


class LeaderMessage(Message):
    """Only the leader of the term sends it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class PreVote(Message):
    """Would you vote for me in this term? Changes nothing at the receiver (thesis 9.6)."""

    last_index: int
    last_term: int


@dataclass(frozen=True, slots=True)
class PreVoteReply(Reply):
    granted: bool


@dataclass(frozen=True, slots=True)
class Vote(Message):
    """Vote for me (thesis 3.4). is_transfer: the leader asked for it, so do not protect it."""

    last_index: int
    last_term: int
    is_transfer: bool = False


@dataclass(frozen=True, slots=True)
class VoteReply(Reply):
    granted: bool


@dataclass(frozen=True, slots=True)
class Heartbeat(LeaderMessage):
    """The leader lives; entries up to `committed` are committed, as far as the receiver has them.

    The leader never states more than it knows the receiver to have matched. round: the newest round
    of heartbeats that has begun, see rounds.py.
    """

    committed: int
    round: int = 0


@dataclass(frozen=True, slots=True)
class HeartbeatReply(Reply):
    """I follow you; or, with a higher term, you are deposed.

    round: of the heartbeat. match: as in AppendReply; less than the leader knows after a restart.
    """

    round: int = 0
    match: int = 0


@dataclass(frozen=True, slots=True)
class Append(LeaderMessage):
    """Entries previous_index+1..last_index, all of `entry_term`, for one who has `previous`.

    memberships: those among them, by index. payload: their bytes, which the driver attaches and
    gets back; Raft never looks at it.
    """

    previous_index: int
    previous_term: int
    entry_term: int
    last_index: int
    committed: int
    memberships: tuple[tuple[int, Membership], ...] = ()
    payload: object = field(default=None, compare=False, repr=False)

    def with_payload(self, payload: object) -> "Append":
        return Append(
            self.source,
            self.target,
            self.term,
            self.previous_index,
            self.previous_term,
            self.entry_term,
            self.last_index,
            self.committed,
            self.memberships,
            payload,
        )


@dataclass(frozen=True, slots=True)
class AppendReply(Reply):
    """Up to `match` my log is yours, durably."""

    match: int


@dataclass(frozen=True, slots=True)
class AppendReject(Reply):
    """I do not have `previous_index`; what we share ends at or before the hint.

    hint: my last position whose term is not above that of `previous` (thesis 3.5, skipping terms).
    """

    previous_index: int
    hint_index: int
    hint_term: int


@dataclass(frozen=True, slots=True)
class SnapshotOffer(LeaderMessage):
    """An image follows, in chunks. Answered by AppendReply, at once if it is not needed."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class ReadRequest(Message):
    """Up to where must I have applied to serve the reads numbered up to `ticket`? (thesis 6.4)

    instance: no earlier life of the sender had it, so that answers to a former life are known.
    """

    ticket: int
    instance: int


@dataclass(frozen=True, slots=True)
class ReadReply(LeaderMessage):
    """Up to `index`; that much is committed.

    time_ms: the leader's time, which the driver adds: a follower's is not below it from here on.
    """

    ticket: int
    instance: int
    index: int
    time_ms: int = 0


@dataclass(frozen=True, slots=True)
class TimeoutNow(LeaderMessage):
    """Campaign at once: I want you to lead (thesis 3.10)."""
