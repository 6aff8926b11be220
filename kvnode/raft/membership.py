"""Who belongs to the group, and how that changes: joint consensus, learners, identities.

A membership is an entry of the log. It holds from the moment at which it is *in* the log, committed
or not (thesis 4.1), so it is known by position, and cutting a log tail takes back what was in it
(hard case 33).

Voters change in two steps (thesis 4.3): the joint membership needs majorities of the old and of the
new voters; when it is committed, the leader leaves it. Changes of learners alone take one step,
since learners never count.

A member has the random identity of its data directory. A node that lost its directory comes back as
somebody else: its votes and acknowledgements do not count (hard case 13).
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from kvnode.base.errors import RetryableError
from kvnode.base.limits import MEMBERS_MAX


class ChangeRefused(RetryableError):
    """Membership or leader cannot be changed so now; the text says why. Nothing was done."""


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """identity: of its data directory, b"" if nobody checks it. address: of its Raft listener."""

    node_id: int
    identity: bytes = b""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Membership:
    """Who is in the group, and in which part.

    Invariant: members are sorted by id, and each is a voter, an outgoing voter or a learner.
    """

    members: tuple[Member, ...] = ()
    voters: frozenset[int] = frozenset()
    outgoing: frozenset[int] = frozenset()  # the old voters, while both sets have to agree
    learners: frozenset[int] = frozenset()
    promotable: frozenset[int] = frozenset()  # learners that become voters once they caught up
    demoted: frozenset[int] = frozenset()  # outgoing voters that become learners

    def __post_init__(self) -> None:
        ids = [member.node_id for member in self.members]
        assert ids == sorted(set(ids)), "members are sorted, each is there once"
        assert set(ids) == self.voters | self.outgoing | self.learners
        assert not self.learners & (self.voters | self.outgoing)
        assert self.promotable <= self.learners
        assert self.demoted <= self.outgoing - self.voters

    @classmethod
    def of_voters(cls, voters: Iterable[int | Member]) -> "Membership":
        """Return a group of voters only, as at its founding."""
        members = sorted(Member(v) if isinstance(v, int) else v for v in voters)
        return cls(tuple(members), frozenset(member.node_id for member in members))

    @property
    def is_joint(self) -> bool:
        return bool(self.outgoing)

    @property
    def quorums(self) -> Sequence[frozenset[int]]:
        """Sets of voters, a majority of each of which must agree."""
        return (self.voters, self.outgoing) if self.outgoing else (self.voters,)

    def is_voter(self, node_id: int) -> bool:
        return node_id in self.voters or node_id in self.outgoing

    def member(self, node_id: int) -> Member | None:
        for member in self.members:
            if member.node_id == node_id:
                return member
        return None

    def recognizes(self, node_id: int, identity: bytes) -> bool:
        """Whether this is a member, and not another directory under its id."""
        member = self.member(node_id)
        return member is not None and member.identity in (b"", identity)

    def peers(self, node_id: int) -> list[int]:
        """Return the ids of all other members."""
        return [member.node_id for member in self.members if member.node_id != node_id]

    def leave_joint(self) -> "Membership":
        """Return the membership that follows a joint one."""
        assert self.is_joint
        learners = self.learners | self.demoted
        return Membership(
            tuple(m for m in self.members if m.node_id in self.voters | learners),
            self.voters,
            learners=learners,
            promotable=self.promotable,
        )


@dataclass(frozen=True, slots=True)
class AddLearner:
    """A new member, which gets the log and does not count; promote: make it a voter in time."""

    member: Member
    promote: bool = False


@dataclass(frozen=True, slots=True)
class Promote:
    """A learner becomes a voter as soon as it has caught up."""

    node_id: int


@dataclass(frozen=True, slots=True)
class Demote:
    """A voter becomes a learner."""

    node_id: int


@dataclass(frozen=True, slots=True)
class Remove:
    node_id: int


Change = AddLearner | Promote | Demote | Remove


def subject(step: Change) -> int:
    """Return the node that a change is about."""
    return step.member.node_id if isinstance(step, AddLearner) else step.node_id


def change(
    old: Membership, changes: Sequence[Change], caught_up: Collection[int] = ()
) -> Membership:
    """Return what `changes` make of a membership that is not joint; joint, if voters change.

    caught_up: learners that may become voters at once, so that nodes can be replaced in one step.
    Raises ChangeRefused.
    """
    assert not old.is_joint
    members = {member.node_id: member for member in old.members}
    voters, learners, promotable = set(old.voters), set(old.learners), set(old.promotable)
    demoted: set[int] = set()
    promised: set[int] = set()  # asked for here, and not possible yet
    if len({subject(step) for step in changes}) < len(changes):
        raise ChangeRefused("a change names each node once")
    for step in changes:
        match step:
            case AddLearner(member, promote):
                if member.node_id in members:
                    raise ChangeRefused(f"node {member.node_id} is a member already")
                if len(members) >= MEMBERS_MAX:
                    raise ChangeRefused(f"a group has at most {MEMBERS_MAX} members")
                members[member.node_id] = member
                learners.add(member.node_id)
                promotable |= {member.node_id} if promote else set()
            case Promote(node_id):
                if node_id not in learners:
                    raise ChangeRefused(f"node {node_id} is not a learner")
                if node_id in caught_up:
                    learners.remove(node_id)
                    promotable.discard(node_id)
                    voters.add(node_id)
                else:
                    promotable.add(node_id)
                    promised.add(node_id)
            case Demote(node_id):
                if node_id not in voters:
                    raise ChangeRefused(f"node {node_id} is not a voter")
                voters.remove(node_id)
                demoted.add(node_id)
            case Remove(node_id):
                if node_id not in voters | learners:
                    raise ChangeRefused(f"node {node_id} is not a member")
                for part in (voters, learners, promotable):
                    part.discard(node_id)
    if promised & promotable and old.voters - voters:
        raise ChangeRefused("learners have to catch up before voters leave for them")
    if not voters:
        raise ChangeRefused("a group has at least one voter")
    outgoing = old.voters if voters != old.voters else frozenset()
    kept = voters | learners | outgoing
    return Membership(
        tuple(sorted(member for member in members.values() if member.node_id in kept)),
        frozenset(voters),
        outgoing,
        frozenset(learners),
        frozenset(promotable),
        frozenset(demoted),
    )


def promote(old: Membership, caught_up: Iterable[int]) -> Membership:
    """Return the joint membership in which learners that have caught up are voters."""
    ready = old.promotable & frozenset(caught_up)
    assert ready
    assert not old.is_joint
    return replace(
        old,
        voters=old.voters | ready,
        outgoing=old.voters,
        learners=old.learners - ready,
        promotable=old.promotable - ready,
    )


class MembershipLog:
    """The membership at each position of the log.

    Invariant: indexes grow strictly; the first one is at or before the log's base.
    """

    def __init__(self, base: Membership, entries: Iterable[tuple[int, Membership]] = ()) -> None:
        """base: as of the log's base. entries: (index, membership) of those in the log."""
        self._entries = [(0, base), *entries]
        assert [index for index, _ in self._entries] == sorted(
            {index for index, _ in self._entries}
        )

    @property
    def current(self) -> Membership:
        return self._entries[-1][1]

    @property
    def index(self) -> int:
        """Where the current membership stands; 0: below the log's base."""
        return self._entries[-1][0]

    def at(self, index: int) -> Membership:
        """Return the membership as of a position of the log, or of its base."""
        return self._entries[bisect_right(self._entries, index, key=lambda e: e[0]) - 1][1]

    def between(self, first: int, last: int) -> tuple[tuple[int, Membership], ...]:
        """Return the entries at first..last."""
        return tuple(entry for entry in self._entries if first <= entry[0] <= last and entry[0])

    def since(self, index: int) -> list[Membership]:
        """Return the membership as of `index`, and all behind it."""
        return [self.at(index), *(m for at, m in self._entries if at > index)]

    def append(self, index: int, membership: Membership) -> None:
        assert index > self.index
        self._entries.append((index, membership))

    def truncate(self, first: int) -> None:
        """Entries from `first` on are gone from the log."""
        while self.index >= first:
            self._entries.pop()
        assert self._entries, "the base is never taken back"

    def cut(self, index: int) -> None:
        """`index` is the new base of the log."""
        self._entries = [(0, self.at(index)), *self.between(index + 1, self.index)]

    def reset(self, membership: Membership) -> None:
        self._entries = [(0, membership)]
