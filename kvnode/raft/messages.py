"""What Raft nodes tell each other, and what a node must remember.

Names as in Ongaro's thesis and etcd-raft. Messages are plain values: how they travel is decided
elsewhere. `term` is the sender's, except in PreVote, where it is the one it would campaign in.
"""

from dataclasses import dataclass

NO_NODE = 0  # no vote, no known leader: node ids begin with 1


@dataclass(frozen=True, slots=True)
class HardState:
    """Must be durable before anything that follows from it leaves the node."""

    term: int = 0
    vote: int = NO_NODE


@dataclass(frozen=True, slots=True)
class Message:
    """From one node to another, within a term."""

    source: int
    target: int
    term: int


@dataclass(frozen=True, slots=True)
class PreVote(Message):
    """Would you vote for me in this term? Changes nothing at the receiver (thesis 9.6)."""

    last_index: int
    last_term: int


@dataclass(frozen=True, slots=True)
class PreVoteReply(Message):
    granted: bool


@dataclass(frozen=True, slots=True)
class Vote(Message):
    """Vote for me (thesis 3.4)."""

    last_index: int
    last_term: int


@dataclass(frozen=True, slots=True)
class VoteReply(Message):
    granted: bool


@dataclass(frozen=True, slots=True)
class Heartbeat(Message):
    """The leader lives; entries up to `committed` are committed, as far as the receiver has them.

    The leader never states more than it knows the receiver to have matched.
    """

    committed: int


@dataclass(frozen=True, slots=True)
class HeartbeatReply(Message):
    """I follow you; or, with a higher term, you are deposed."""
