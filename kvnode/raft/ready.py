"""What a core wants its driver to do."""

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from kvnode.raft.membership import Membership
from kvnode.raft.messages import Append, HardState, Message, Snapshot
from kvnode.raft.reads import ReadsDone


class Role(Enum):
    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(frozen=True, slots=True)
class Write:
    """Entries first..last_index of `message` go to the log, in place of what stands there."""

    message: Append
    first: int


@dataclass(frozen=True, slots=True)
class Receive:
    """`source` sends an image: take its chunks, report by snapshot_received. It may come twice."""

    source: int
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Install:
    """Replace state and log by the received image, atomically and durably."""

    snapshot: Snapshot


Store = Write | Receive | Install


State = tuple[Role, int, int, int, int, Membership | None, bool]


class Ready(NamedTuple):
    """What the driver has to do now; core.py says in which order."""

    role: Role
    term: int
    leader: int  # NO_NODE when unknown
    hard_state: HardState | None  # to be made durable before anything below; None: unchanged
    committed: int
    fence_index: int  # a new leader's empty entry stands here; 0 = none to append
    membership: Membership | None  # to be appended as an entry, wherever it comes to stand
    is_paused: bool  # leadership is being handed over: no new entries
    stores: tuple[Store, ...] = ()
    messages: tuple[Message, ...] = ()
    bulk: tuple[Append, ...] = ()
    snapshots: tuple[int, ...] = ()
    reads: tuple[ReadsDone, ...] = ()

    def state_after(self) -> State:
        """Return what has been told when all of it was done; the core compares it with its own."""
        return (self.role, self.term, self.leader, self.committed, 0, None, self.is_paused)


@dataclass(slots=True)
class Outbox:
    """The parts of a Ready that pile up until they are done, in order."""

    stores: list[Store] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)  # small, and sent before what is bulk
    bulk: list[Append] = field(default_factory=list)
    snapshots: list[int] = field(default_factory=list)  # peers that need an image
    reads: list[ReadsDone] = field(default_factory=list)

    def contents(
        self,
    ) -> tuple[
        tuple[Store, ...],
        tuple[Message, ...],
        tuple[Append, ...],
        tuple[int, ...],
        tuple[ReadsDone, ...],
    ]:
        return (
            tuple(self.stores),
            tuple(self.messages),
            tuple(self.bulk),
            tuple(self.snapshots),
            tuple(self.reads),
        )

    def drop(self, done: Ready) -> None:
        """What is in `done` was done; more may have come up meanwhile."""
        del self.stores[: len(done.stores)]
        del self.messages[: len(done.messages)]
        del self.bulk[: len(done.bulk)]
        del self.snapshots[: len(done.snapshots)]
        del self.reads[: len(done.reads)]

    def forget_entries(self) -> None:
        """Leadership is lost, so the log may change before their bytes are read."""
        self.bulk.clear()
        self.snapshots.clear()

    def __bool__(self) -> bool:
        return bool(self.messages or self.bulk or self.stores or self.reads or self.snapshots)
