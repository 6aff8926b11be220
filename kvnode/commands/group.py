"""What commands ask of the group of nodes: who is in it, who leads, and changes of that.

`view.node.group` is a Group. Everything here is in the words of Raft; what Redis calls masters,
replicas and offsets is made of it by replication.py, cluster.py and sentinel.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from kvnode.commands.context import SessionContext
from kvnode.raft.membership import Change, ChangeRefused
from kvnode.raft.messages import NO_NODE
from kvnode.raft.ready import Role

__all__ = [
    "NO_ADDRESS",
    "NO_NODE",
    "ChangeRefused",
    "Done",
    "Group",
    "GroupMember",
    "GroupStatus",
    "Kind",
    "LoneGroup",
    "Role",
]

NO_ADDRESS = ("", 0)  # of a node whose clients' address is not known here

Done = Callable[[str | None], None]  # called in a pass: None = done, else why it was not


class Kind(Enum):
    """Which part a member has in the group."""

    VOTER = "voter"
    LEARNER = "learner"  # gets the log and does not count
    JOINING = "joining"  # a learner that becomes a voter once it has caught up
    LEAVING = "leaving"  # still a voter of the old set while both sets have to agree


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A member as the asked node knows it: all of it at the leader, less at the others.

    identity: of its data directory, 16 bytes, or none.   raft_address: "host:port" of its Raft
    listener.   client_address: (host, port) for clients; NO_ADDRESS until it was greeted. Of the
    asked node itself it may be NO_ADDRESS: clients are told the address that they came to.
    match_index: up to which its log is durable and the leader's; 0 = not known here.
    is_alive: heard of within an election timeout; the node itself is always alive.
    is_receiving: an image is on its way to it.   lag_ms: since it was heard last.
    """

    node_id: int
    identity: bytes
    raft_address: str
    client_address: tuple[str, int]
    kind: Kind
    match_index: int = 0
    is_alive: bool = False
    is_receiving: bool = False
    lag_ms: int = 0


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """The group at one moment, as the asked node knows it.

    is_networked: the node listens to other nodes; else it can only be a group of one.
    is_founded: the group exists. Before that nobody leads, and members are those it waits for.
    leader_id: NO_NODE = not known.   last_term, last_index: where the own log ends.
    is_joint: voters are being exchanged.   is_transferring: leadership is being handed over.
    members: in the order of their ids, with the node itself if it is one.
    """

    node_id: int
    group_id: bytes
    is_networked: bool
    is_founded: bool
    role: Role
    term: int
    leader_id: int
    last_term: int
    last_index: int
    committed_index: int
    applied_index: int
    is_joint: bool
    is_transferring: bool
    members: tuple[GroupMember, ...]

    @property
    def is_leader(self) -> bool:
        return self.role is Role.LEADER

    def member(self, node_id: int) -> GroupMember | None:
        """Return a member, None if the group has none of this id."""
        return next((member for member in self.members if member.node_id == node_id), None)

    @property
    def leader(self) -> GroupMember | None:
        """The member that leads, None if it is not known."""
        return self.member(self.leader_id)

    @property
    def followers(self) -> list[GroupMember]:
        """All members but the leader."""
        return [member for member in self.members if member.node_id != self.leader_id]


class Group(Protocol):
    """The group, as handlers see it. Each `done` is called exactly once, in a pass."""

    def status(self) -> GroupStatus:
        """Return what is known now."""

    def leading_term(self) -> int:
        """Return the term in which this node leads, 0 if it does not. Cheap."""

    def executed_index(self) -> int:
        """Return the index at or below which all that was executed so far stands in the log, the
        writes of the batch that is being formed included."""

    def replicas_with(self, index: int) -> int:
        """Return how many other members have the log up to `index` durable; 0 where
        this node does not lead. Cheap."""

    def add(self, node_id: int, address: str, *, promote: bool, done: Done) -> None:
        """Greet the node at a Raft address and make it a learner; promote: a voter in time.

        Raises ChangeRefused.
        """

    def change(self, change: Change, done: Done) -> None:
        """Promote, Demote or Remove a member. Raises ChangeRefused.

        done: once the membership is committed; for a learner that has still to catch up, once it
        is a member that is to be promoted.
        """

    def transfer(self, target: int, done: Done | None = None) -> None:
        """Hand leadership to a voter; NO_NODE: to the one that is best. Raises ChangeRefused."""

    def abort_transfer(self) -> bool:
        """Take transfer() back if the target was not told yet; False: none is under way."""

    def force_alone(self, done: Done) -> None:
        """Make this node a group of one, whatever the others may have. Raises ChangeRefused if
        there is a leader, or a quorum could be had."""

    def serve_reads(self, session: SessionContext, wanted: bool) -> None:
        """Let a client's reads be served by this node, though it follows (READONLY), or not."""


class LoneGroup:
    """The group of a node without a listener for others: itself. Implements Group."""

    NODE_ID = 1
    TERM = 1
    REFUSAL = "this node listens to no others: start it with raft-listen"

    def __init__(self, indexes: Callable[[], tuple[int, int]], group_id: bytes = b"") -> None:
        """indexes: -> (last, committed) of the log."""
        self._indexes = indexes
        self._group_id = group_id

    def status(self) -> GroupStatus:
        last, committed = self._indexes()
        member = GroupMember(self.NODE_ID, b"", "", NO_ADDRESS, Kind.VOTER, last, is_alive=True)
        return GroupStatus(
            node_id=self.NODE_ID,
            group_id=self._group_id,
            is_networked=False,
            is_founded=True,
            role=Role.LEADER,
            term=self.TERM,
            leader_id=self.NODE_ID,
            last_term=self.TERM,
            last_index=last,
            committed_index=committed,
            applied_index=last,
            is_joint=False,
            is_transferring=False,
            members=(member,),
        )

    def leading_term(self) -> int:
        return self.TERM

    def executed_index(self) -> int:
        return self._indexes()[0]

    def replicas_with(self, index: int) -> int:
        return 0

    def add(self, node_id: int, address: str, *, promote: bool, done: Done) -> None:
        raise ChangeRefused(self.REFUSAL)

    def change(self, change: Change, done: Done) -> None:
        raise ChangeRefused(self.REFUSAL)

    def transfer(self, target: int, done: Done | None = None) -> None:
        raise ChangeRefused(self.REFUSAL)

    def abort_transfer(self) -> bool:
        return False

    def force_alone(self, done: Done) -> None:
        raise ChangeRefused("this node is a group of one")

    def serve_reads(self, session: SessionContext, wanted: bool) -> None:
        pass
