"""What must hold in every step of a simulated Raft cluster (thesis, figure 3.2 and 6.4).

election safety      one leader per term
log matching         (index, term) names one entry, and one entry before it, in all logs
leader completeness  a new leader has every entry that was committed in an older term
state machine safety nobody commits another entry at a committed index; commit never goes back
durability           what is committed, a majority has on its disk, under the identities that
                     the membership knows
reads                who was told "up to index" gets at least what was committed when it asked
leases               at most one, and its holder knows everything that is committed
"""

from kvnode.raft.core import RaftCore
from kvnode.raft.ready import Role
from tests.sim.raft.disk import Disk, Entry


class Violation(Exception):
    """A rule was broken."""


def require(condition: object, text: str) -> None:
    if not condition:
        raise Violation(text)


def extend(digest: int, entry: Entry) -> int:
    """Return the digest of a state after one more entry."""
    return hash((digest, entry.term, entry.value))


class Checks:
    """Of one cluster. It sees everything at once, which no node does."""

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}
        self.entries: dict[
            tuple[int, int], tuple[int, int]
        ] = {}  # (index, term): value, term before
        self.committed: list[int] = [0]  # term of each index
        self.committed_in: list[int] = [0]  # the term in which it was
        self.digests: list[int] = [0]  # of the state at each index

    @property
    def committed_index(self) -> int:
        return len(self.committed) - 1

    def written(self, disk: Disk, first: int, entries: list[Entry]) -> None:
        """Log matching, by induction over all entries ever written."""
        previous = disk.image.term
        if first > disk.image.index + 1:
            previous = disk.entry(first - 1).term
        for index, entry in enumerate(entries, first):
            known = self.entries.setdefault((index, entry.term), (entry.value, previous))
            require(known == (entry.value, previous), f"log matching at {entry.term}:{index}")
            previous = entry.term

    def leads(self, core: RaftCore) -> None:
        """A node has become the leader."""
        other = self.leaders.setdefault(core.term, core.node_id)
        require(other == core.node_id, f"election safety: {other} and {core.node_id}, {core.term}")
        for index in range(core.log.base_index, self.committed_index + 1):
            require(
                self.committed_in[index] >= core.term
                or core.log.term(index) == self.committed[index],
                f"leader completeness: {core.node_id} lacks {self.committed[index]}:{index}",
            )

    def commits(self, core: RaftCore, disk: Disk, old: int, disks: dict[int, Disk]) -> None:
        """A node's commit index has gone from `old` to what it is."""
        new = core.committed
        if new == old:
            return
        require(new > old, f"{core.node_id}: commit went back from {old} to {new}")
        for index in range(old + 1, new + 1):
            if index <= disk.image.index:
                continue  # installed: its digest is compared
            entry = disk.entry(index)
            if index > self.committed_index:
                self._first_commit(core, index, entry, disks)
            require(
                self.committed[index] == entry.term
                and self.digests[index] == extend(self.digests[index - 1], entry),
                f"state machine safety: {core.node_id} has {entry.term}:{index}",
            )

    def _first_commit(
        self, core: RaftCore, index: int, entry: Entry, disks: dict[int, Disk]
    ) -> None:
        require(
            self.leaders.get(core.term) == core.node_id, f"{core.node_id} commits {index} first"
        )
        membership = core.membership
        for voters in membership.quorums:
            owners = [  # or may have been, before it lost its directory: it cannot vote any more
                node
                for node in voters
                if not membership.recognizes(node, disks[node].identity)
                or disks[node].durable_term(index) in (entry.term, 0)
            ]
            require(len(owners) * 2 > len(voters), f"durability: {entry.term}:{index}: {owners}")
        self.committed.append(entry.term)
        self.committed_in.append(core.term)
        self.digests.append(extend(self.digests[-1], entry))

    def installed(self, index: int, digest: int) -> None:
        require(index <= self.committed_index, f"image of {index}, which is not committed")
        require(digest == self.digests[index], f"image of {index} holds something else")

    def read(self, node: int, asked_at: int, index: int, high_water: int) -> None:
        require(index >= asked_at, f"stale read at {node}: {index}, committed was {asked_at}")
        require(index >= high_water, f"read at {node} of an image that is not whole: {index}")

    def leases(self, cores: list[RaftCore]) -> None:
        holders = [core for core in cores if core.has_lease]
        if len(holders) > 1:
            raise Violation(f"leases of {[core.node_id for core in holders]}")
        if holders and holders[0].committed < self.committed_index:
            raise Violation(f"stale lease of {holders[0].node_id}")

    def step(self, core: RaftCore) -> None:
        """What holds of each node at any time."""
        last = core.log.last_index
        require(core.committed <= last and core.synced_index <= last, "beyond the log")
        is_leader = core.leader == core.node_id
        require(is_leader == (core.role is Role.LEADER), "who leads?")
