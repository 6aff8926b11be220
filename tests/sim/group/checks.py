"""What must hold at any time in a simulated group of whole nodes. It sees everything at once.

election safety      one leader per term
log matching         (index, term) names one entry, and one entry before it, in all logs
leader completeness  a new leader has every entry that was committed in an older term
committed            nobody commits another entry at a committed index; commit never goes back
durability           what is committed, a majority has on its disk; a restart finds what was synced
applied              is committed and synced here; a leader begins only when it has applied all
reads                show all that was committed anywhere when they were asked
membership           is what the log says, also after a restart or an image
contents             at equal applied index all nodes show the same as one that did nothing else
store                a hash key that is the group's; invariants of memory
"""

import random
from typing import TYPE_CHECKING

from kvnode._core import invariants
from kvnode._core.tip import Tip
from kvnode.raft.membership import Membership
from kvnode.raft.ready import Role
from kvnode.storage.log import Entry
from tests.sim.group.directory import Home, Stored
from tests.support.contents import Contents, contents

if TYPE_CHECKING:
    from tests.sim.group.node import GroupNode

SHOWN_EVERY = 8  # indexes whose contents are remembered


class Violation(Exception):
    """A rule was broken."""


def require(condition: object, text: str) -> None:
    if not condition:
        raise Violation(text)


class Reference:
    """A node that only applies what is committed."""

    def __init__(self, hash_key: bytes) -> None:
        self.tip = Tip(hash_key, True)
        self.index = 0
        self.shown: dict[int, Contents] = {}

    def apply(self, index: int, entry: Stored) -> None:
        assert index == self.index + 1
        _, commit_ts, payload = entry
        self.tip.durable = commit_ts
        self.tip.apply(payload, commit_ts)
        self.index = index


class Checks:
    """Of one group."""

    def __init__(self, rng: random.Random, hash_key: bytes, homes: dict[int, Home]) -> None:
        self.rng = rng
        self.homes = homes
        self.hash_key = hash_key
        self.leaders: dict[int, int] = {}
        self.written: dict[tuple[int, int], tuple[int | None, int, bytes]] = {}
        self.committed: list[Stored] = [(0, 0, b"")]
        self.committed_in: list[int] = [0]  # the term, or one after it
        self.memberships: list[tuple[int, Membership]] = []  # from an index on
        self.reference = Reference(hash_key)
        self.compared = 0
        self.executed = 0  # leaderships that served

    @property
    def committed_index(self) -> int:
        return len(self.committed) - 1

    def on_written(self, home: Home, entry: Entry) -> None:
        """Log matching, by induction over all entries ever written."""
        before = home.entries.by_index.get(entry.index - 1)
        previous = None if before is None else before[0]
        known = self.written.get((entry.index, entry.term))
        found = (previous, entry.commit_ts, entry.payload)
        if known is None or known[0] is None:
            self.written[entry.index, entry.term] = found
        require(
            known is None
            or (known[1:] == found[1:] and (None in (known[0], previous) or known[0] == previous)),
            f"log matching at {entry.term}:{entry.index}, node {home.node_id}",
        )

    def started(self, node: "GroupNode", before: dict[int, Stored]) -> None:
        """A restart found the log; before: what was durable."""
        entries = node.home.entries
        at = node.data.facts.checkpoint.at
        first = at.index + 1
        for entry in node.data.found:
            known = self.written.get((entry.index, entry.term))
            require(
                known is not None and known[1:] == (entry.commit_ts, entry.payload),
                f"durability: node {node.node_id} found {entry.term}:{entry.index}, never written",
            )
        if node.data.begins_at_checkpoint:
            return  # an image was put in place, and what stood behind its position went
        for index in sorted(index for index in before if index >= first):
            found = entries.by_index.get(index)
            if found is not None and found[0] > before[index][0]:
                break  # it was being replaced, with all behind it
            require(
                found == before[index],
                f"durability: node {node.node_id} lost {before[index][0]}:{index}, was synced",
            )

    def observe(self, node: "GroupNode") -> None:
        """A node has done something."""
        raft = node.raft
        if node.bugs:
            raise node.bugs[0]
        if raft.role is Role.LEADER:
            self._leads(node)
        self._commits(node)
        self._applies(node)

    def _leads(self, node: "GroupNode") -> None:
        raft = node.raft
        other = self.leaders.setdefault(raft.term, 0)
        if other == node.node_id:
            return
        require(not other, f"election safety: {other} and {node.node_id} lead term {raft.term}")
        self.leaders[raft.term] = node.node_id
        # Who was paused with the votes for it leads a term that is over, and lacks what came after.
        for index in range(max(raft.log.base_index, 1), self.committed_index + 1):
            require(
                self.committed_in[index] >= raft.term
                or raft.log.term(index) == self.committed[index][0],
                f"leader completeness: {node.node_id} lacks {self.committed[index][0]}:{index}",
            )

    def _commits(self, node: "GroupNode") -> None:
        old, new = node.committed_seen, node.raft.committed
        if new == old:
            return
        require(new > old, f"commit of {node.node_id} went back from {old} to {new}")
        node.committed_seen = new
        entries = node.home.entries.by_index
        for index in range(old + 1, new + 1):
            if index <= node.raft.log.base_index:  # of an image, which may not be installed yet
                require(index <= self.committed_index, f"an image of {index}, not committed")
                continue
            entry = entries.get(index)
            if index > self.committed_index:
                require(entry is not None, f"{node.node_id} commits {index}, which it lacks")
                self._first_commit(node, index, entry)
            require(
                entry is None or self.committed[index] == entry,
                f"committed: {node.node_id} has another entry {index}",
            )
        known = next((m for at, m in reversed(self.memberships) if at <= new), None)
        found = node.raft.memberships.at(new)
        require(
            known is None or found == known,
            f"membership: {node.node_id} at {new} has {found}, not {known}",
        )

    def read_asked(self) -> int:
        """A read comes to some node; return what it has to show."""
        return self.committed_index

    def read_served(self, node: "GroupNode", index: int) -> None:
        """A node shows to a read what it has now."""
        replica = node.replica
        require(not node.tip.mixed_until, f"reads: {node.node_id} shows what is not applied yet")
        shown = replica.log.last_index if replica.is_executing else replica.applied
        require(
            shown >= index and replica.raft.log.term(index) in (None, self.committed[index][0]),
            f"reads: {node.node_id} shows {shown}, and {index} was committed",
        )

    def _first_commit(self, node: "GroupNode", index: int, entry: Stored) -> None:
        # By the membership that held, which was this one or one behind it.
        views = node.raft.memberships.since(index)
        require(
            any(self._has_quorum(view, index, entry) for view in views),
            f"durability: {entry[0]}:{index} is committed, and durable at "
            f"{[h.node_id for h in self.homes.values() if self._is_durable(h, index, entry)]}",
        )
        self.committed.append(entry)
        self.committed_in.append(node.raft.term)
        membership = node.raft.memberships.at(index)
        if not self.memberships or self.memberships[-1][1] != membership:
            self.memberships.append((index, membership))
        self.reference.apply(index, entry)
        if index % SHOWN_EVERY == 0 and self.reference.tip.has_databases():
            self.reference.shown[index] = contents(self.reference.tip)

    def _has_quorum(self, membership: Membership, index: int, entry: Stored) -> bool:
        """Who lost its directory may have had it, and cannot vote any more."""
        for voters in membership.quorums:
            owners = [
                voter
                for voter in voters
                if not membership.recognizes(voter, self.homes[voter].identity)
                or self._is_durable(self.homes[voter], index, entry)
            ]
            if len(owners) * 2 <= len(voters):
                return False
        return True

    @staticmethod
    def _is_durable(home: Home, index: int, entry: Stored) -> bool:
        durable = home.durable
        known = durable.by_index.get(index)
        return known == entry or (known is None and index <= home.covered)

    def _applies(self, node: "GroupNode") -> None:
        replica = node.replica
        applied = replica.applied
        if replica.is_executing:
            if not node.has_executed:
                node.has_executed = node.has_ever_executed = True
                self.executed += 1
            return
        node.has_executed = False
        is_early = node.is_sole_voter and not node.has_ever_executed  # what is durable is committed
        require(
            applied <= self.committed_index or is_early,
            f"{node.node_id} applied {applied}: not committed",
        )
        require(
            applied <= max(node.raft.synced_index, node.data.facts.checkpoint.at.index),
            f"{node.node_id} applied {applied}, synced is {node.raft.synced_index}",
        )

    def compare(self, node: "GroupNode") -> None:
        """Compare what a node shows with what it should, if it can be compared now."""
        replica = node.replica
        if node.is_over or node.tip.mixed_until or not node.tip.has_databases():
            return
        invariants.check(node.tip)
        index = replica.applied
        if replica.is_executing:
            sequencer = node.sequencer
            if sequencer.committed != sequencer.last_index:
                return
            index = sequencer.last_index
        if not index or index > self.committed_index:
            return
        if node.data.facts.hash_key != self.hash_key:
            raise Violation(f"store: the hash key of {node.node_id} is not the group's")
        if index == self.reference.index and index not in self.reference.shown:
            self.reference.shown[index] = contents(self.reference.tip)
        expected = self.reference.shown.get(index)
        if expected is None:
            return
        self.compared += 1
        found = contents(node.tip, node.data.engine)
        if found != expected:
            raise Violation(f"contents of {node.node_id} at {index}: {difference(found, expected)}")


def difference(found: Contents, expected: Contents) -> str:
    """Say where two contents differ."""
    for db in found.databases.keys() | expected.databases.keys():
        ours, theirs = found.databases.get(db, {}), expected.databases.get(db, {})
        for key in sorted(ours.keys() | theirs.keys()):
            if ours.get(key) != theirs.get(key):
                return f"{key!r} in {db}: {ours.get(key)!r:.200}, not {theirs.get(key)!r:.200}"
    return f"counts {found.counts}, not {expected.counts}"
