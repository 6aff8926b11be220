"""How a group begins: from nodes that only know each other's addresses, sans IO.

A node on an empty directory goes through these steps, and tells each in its greeting:
    1. it waits until it has greeted all nodes that --cluster names, and knows their identities
    2. it pins the membership made of them: durably, once for this directory
    3. it waits until all of them have pinned the same one; then the group is founded
A node that was down meanwhile finds the others founded with what it has pinned itself. The group's
id is a hash of the founding membership, which is the same on all nodes, byte for byte.

Why all, and why twice: a directory that is replaced forgets what it had agreed to. If a majority
could found, a node whose directory is replaced could be half of the majorities of two groups: with
its old directory of one that serves clients already, with the new one of another, together with a
node that has not heard of the first. As it is, a group that anybody founds has been pinned by all
its directories, so no other group has any of them. Whoever finds a group founded without its
directory stays outside until it is added (hard case 13).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from kvnode.raft import wire
from kvnode.raft.membership import Member, Membership
from kvnode.server.peers.framing import Greeting
from kvnode.server.peers.handshake import NO_GROUP

GROUP_BYTES = 16
_PURPOSE = b"kvnode group\0"


@dataclass(frozen=True, slots=True)
class Wait:
    """missing: the nodes that have to come, or to pin. problem: what stands in the way, or ""."""

    missing: tuple[int, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Pin:
    """Make this membership durable, call note_pinned, and greet with it."""

    members: Membership


@dataclass(frozen=True, slots=True)
class Found:
    """The group exists: begin with this membership, the same on all its nodes."""

    members: Membership
    group: bytes


@dataclass(frozen=True, slots=True)
class Outside:
    """`source` belongs to this group, which was founded without this directory.

    Greet as before until it was added and has the group's entries; then with no members.
    """

    source: int
    group: bytes


Decision = Wait | Pin | Found | Outside


def group_of(members: Membership) -> bytes:
    """Return the id of the group that these found."""
    return hashlib.sha256(_PURPOSE + wire.encode_membership(members)).digest()[:GROUP_BYTES]


def proposal(cluster: Mapping[int, str]) -> Membership:
    """Return what a node greets with before it has pinned: no identities."""
    return Membership.of_voters(Member(node_id, b"", at) for node_id, at in cluster.items())


class Founding:
    """What a node without a group knows about the others.

    decision: what to do now; Found and Outside are final.   members: what to greet with.
    """

    def __init__(
        self,
        node_id: int,
        identity: bytes,
        cluster: Mapping[int, str],
        pinned: Membership | None = None,
    ) -> None:
        """cluster: node id -> address; a node that is not in it founds nothing, it is added.

        pinned: what this directory has pinned before; then `cluster` means nothing any more.
        """
        self._node_id = node_id
        self._identity = identity
        self._proposal = proposal(cluster) if pinned is None else _without_identities(pinned)
        self._pinned = pinned
        self._greetings: dict[int, tuple[bytes, Greeting]] = {}  # of nodes in the proposal
        self.decision: Decision = self._decide()

    @property
    def members(self) -> Membership:
        return self._proposal if self._pinned is None else self._pinned

    def greeted(self, node_id: int, identity: bytes, greeting: Greeting) -> Decision:
        """Note a greeting. The last one of a node counts: its directory may have been replaced."""
        if isinstance(self.decision, Found | Outside):
            return self.decision
        if greeting.is_founded:
            self.decision = self._meet_founded(node_id, greeting)
        elif self._proposal.member(node_id) is not None:
            self._greetings[node_id] = (identity, greeting)
            self.decision = self._decide()
        return self.decision

    def note_pinned(self) -> Decision:
        """The membership of Pin is durable, and will be for as long as this directory exists."""
        assert isinstance(self.decision, Pin)
        self._pinned = self.decision.members
        self.decision = self._decide()
        return self.decision

    def _meet_founded(self, source: int, greeting: Greeting) -> Decision:
        if self._pinned is not None and group_of(self._pinned) == greeting.group:
            return Found(self._pinned, greeting.group)
        founder = greeting.members.member(self._node_id)
        if founder is not None and founder.identity == self._identity:
            return Wait(
                (),
                f"node {source} says that this directory founded group {greeting.group.hex()}, "
                f"which it has not: it was restored from a copy, or the one of node {source} is "
                f"damaged; start with an empty directory, and have it added",
            )
        return Outside(source, greeting.group)

    def _decide(self) -> Decision:
        if self._proposal.member(self._node_id) is None:
            return Wait(())
        others = self._proposal.peers(self._node_id)
        if self._pinned is None:
            missing = [node_id for node_id in others if node_id not in self._greetings]
        else:
            missing = [node_id for node_id in others if not self._has_pinned(node_id)]
        problem = next(filter(None, map(self._problem_with, sorted(self._greetings))), "")
        if missing or problem:
            return Wait(tuple(missing), problem)
        if self._pinned is None:
            return Pin(self._known_members())
        group = group_of(self._pinned)
        assert group != NO_GROUP
        return Found(self._pinned, group)

    def _has_pinned(self, node_id: int) -> bool:
        """Whether the directory that we pinned has pinned the same as we."""
        assert self._pinned is not None
        identity, greeting = self._greetings.get(node_id, (b"", None))
        member = self._pinned.member(node_id)
        return (
            greeting is not None
            and member is not None
            and member.identity == identity
            and greeting.members == self._pinned
        )

    def _known_members(self) -> Membership:
        """Return the proposal with the identities that are known."""
        identities = {node_id: identity for node_id, (identity, _) in self._greetings.items()}
        identities[self._node_id] = self._identity
        return Membership.of_voters(
            replace(member, identity=identities.get(member.node_id, b""))
            for member in self._proposal.members
        )

    def _problem_with(self, source: int) -> str:
        """Return why nothing can be founded together with a node, or ""."""
        identity, greeting = self._greetings[source]
        if _without_identities(greeting.members) != self._proposal:
            return (
                f"node {source} was started with --cluster {show(greeting.members)}, "
                f"node {self._node_id} with --cluster {show(self._proposal)}: "
                f"give all nodes the same, letter by letter"
            )
        has_pinned = greeting.members != self._proposal
        known = self._known_members()
        replaced: set[int] = set()
        if self._pinned is not None:
            known = self._pinned
            replaced |= {source} if not known.recognizes(source, identity) else set()
        if has_pinned:
            theirs = zip(greeting.members.members, known.members, strict=True)
            replaced |= {a.node_id for a, b in theirs if b.identity and a.identity != b.identity}
        if not replaced:
            return ""
        return (
            f"node {source} and node {self._node_id} do not know the same directory of node "
            f"{', '.join(map(str, sorted(replaced)))}: it was replaced while the group was being "
            f"founded; if no node serves clients, start all with empty directories"
        )


def _without_identities(members: Membership) -> Membership:
    return replace(members, members=tuple(replace(m, identity=b"") for m in members.members))


def show(members: Membership) -> str:
    """Return members and addresses as --cluster has them."""
    return ",".join(f"{member.node_id}={member.address}" for member in members.members)
