"""A group of three nodes as one of them sees it, without any network: commands.group.Group."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from kvnode.commands.context import SessionContext
from kvnode.commands.group import (
    ChangeRefused,
    Done,
    GroupMember,
    GroupStatus,
    Kind,
    Role,
)
from kvnode.raft.membership import Change

GROUP_ID = bytes(range(16))
INDEX = 1000


def member(node_id: int, **more: object) -> GroupMember:
    """Return a member whose clients' port is 7000 and its number, and whose Raft port 7100."""
    identity = bytes([node_id]) * 16
    address = (f"10.0.0.{node_id}", 7000 + node_id)
    base = GroupMember(
        node_id, identity, f"10.0.0.{node_id}:{7100 + node_id}", address, Kind.VOTER, INDEX, True
    )
    return replace(base, **more)


class FakeGroup:
    """Implements Group. What is asked of it is noted in `asked`; tests change `known` at will.

    reason: what a change comes to, None = it is done.   refusal: what it is refused with at once.
    later: lets something be called in a later pass.
    is_slow: `done` is kept in `pending` instead of being called.
    """

    def __init__(
        self,
        node_id: int = 1,
        *,
        leader_id: int = 1,
        later: Callable[[Callable[[], None]], None] = lambda action: None,
    ) -> None:
        self._later = later
        self.known = GroupStatus(
            node_id=node_id,
            group_id=GROUP_ID,
            is_networked=True,
            is_founded=True,
            role=Role.LEADER if node_id == leader_id else Role.FOLLOWER,
            term=3,
            leader_id=leader_id,
            last_term=3,
            last_index=INDEX,
            committed_index=INDEX,
            applied_index=INDEX,
            is_joint=False,
            is_transferring=False,
            members=tuple(member(i) for i in (1, 2, 3)),
        )
        self.asked: list[tuple] = []
        self.reason: str | None = None
        self.refusal: str | None = None
        self.readers: set[int] = set()  # ids of sessions

    def change_status(self, **more: object) -> None:
        """Change what is known of the group."""
        self.known = replace(self.known, **more)

    def change_member(self, node_id: int, **more: object) -> None:
        """Change what is known of a member."""
        self.change_status(
            members=tuple(
                replace(m, **more) if m.node_id == node_id else m for m in self.known.members
            )
        )

    # -- Group ----------------------------------------------------------------------------------

    def status(self) -> GroupStatus:
        return self.known

    def leading_term(self) -> int:
        return self.known.term if self.known.is_leader else 0

    def executed_index(self) -> int:
        return self.known.last_index

    def replicas_with(self, index: int) -> int:
        return sum(m.match_index >= index for m in self.known.followers)

    def _ask(self, done: Done | None, *what: object) -> None:
        self.asked.append(what)
        if self.refusal is not None:
            raise ChangeRefused(self.refusal)
        if done is not None:
            self._later(partial(done, self.reason))

    def add(self, node_id: int, address: str, *, promote: bool, done: Done) -> None:
        self._ask(done, "add", node_id, address, promote)

    def change(self, change: Change, done: Done) -> None:
        self._ask(done, "change", change)

    def transfer(self, target: int, done: Done | None = None) -> None:
        self._ask(done, "transfer", target)

    def abort_transfer(self) -> bool:
        self.asked.append(("abort",))
        return self.known.is_transferring

    def force_alone(self, done: Done) -> None:
        self._ask(done, "force_alone")

    def serve_reads(self, session: SessionContext, wanted: bool) -> None:
        self.readers.discard(session.id)
        if wanted:
            self.readers.add(session.id)
