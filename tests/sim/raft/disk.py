"""The disk of a simulated Raft node: a log that loses what was not synced, and all the rest.

Writes of the log become durable in order: a crash keeps those before the last sync, and of those
behind it some beginning, which may end within a write.
"""

import random
from dataclasses import dataclass, field

from kvnode.raft.log_terms import LogTerms
from kvnode.raft.membership import Membership, MembershipLog
from kvnode.raft.messages import HardState, Snapshot


@dataclass(frozen=True, slots=True)
class Entry:
    term: int
    value: int  # one of its kind, so that equal positions with different contents are seen
    membership: Membership | None = None


@dataclass(slots=True)
class Disk:
    identity: bytes
    image: Snapshot  # the state that the log continues
    digest: int = 0  # of the image's contents
    hard_state: HardState = field(default_factory=HardState)
    entries: list[Entry] = field(default_factory=list)  # as written; the first is image.index + 1
    durable: list[Entry] = field(default_factory=list)
    unsynced: list[tuple[int, list[Entry]]] = field(default_factory=list)  # (first index, entries)

    @property
    def last_index(self) -> int:
        return self.image.index + len(self.entries)

    def entry(self, index: int) -> Entry:
        return self.entries[index - self.image.index - 1]

    def durable_term(self, index: int) -> int | None:
        """Return the term at `index` that a crash would leave, None if there is nothing."""
        if index <= self.image.index:
            return self.image.term if index == self.image.index else 0
        position = index - self.image.index - 1
        return self.durable[position].term if position < len(self.durable) else None

    def write(self, first: int, entries: list[Entry]) -> None:
        """Entries follow from `first` on, and replace what stands there."""
        self._write(self.entries, first, entries)
        self.unsynced.append((first, entries))

    def sync(self, writes: int) -> None:
        """The first `writes` of what was not synced are durable."""
        for first, entries in self.unsynced[:writes]:
            self._write(self.durable, first, entries)
        del self.unsynced[:writes]

    def crash(self, rng: random.Random) -> None:
        keep = rng.randint(0, len(self.unsynced))
        torn = self.unsynced[keep : keep + 1]
        self.sync(keep)
        for first, entries in torn:
            if part := entries[: rng.randint(0, len(entries))]:
                self._write(self.durable, first, part)
        self.entries, self.unsynced = list(self.durable), []

    def compact(self, image: Snapshot, digest: int) -> None:
        """A checkpoint holds entries up to `image`; they were synced before."""
        count = image.index - self.image.index
        assert len(self.durable) >= count, "a checkpoint of what is not durable"
        assert all(first > image.index for first, _ in self.unsynced)
        del self.entries[:count]
        del self.durable[:count]
        self.image, self.digest = image, digest

    def install(self, image: Snapshot, digest: int) -> None:
        self.image, self.digest = image, digest
        self.entries, self.durable, self.unsynced = [], [], []

    def terms(self) -> LogTerms:
        log = LogTerms([(self.image.index, self.image.term)], self.image.index)
        for index, entry in enumerate(self.entries, self.image.index + 1):
            log.append(entry.term, index, index)
        return log

    def memberships(self) -> MembershipLog:
        return MembershipLog(
            self.image.membership,
            (
                (index, entry.membership)
                for index, entry in enumerate(self.entries, self.image.index + 1)
                if entry.membership is not None
            ),
        )

    def _write(self, log: list[Entry], first: int, entries: list[Entry]) -> None:
        position = first - self.image.index - 1
        assert 0 <= position <= len(log), "a log has no gaps"
        log[position:] = entries


def new_disk(identity: bytes, membership: Membership) -> Disk:
    return Disk(identity, Snapshot(0, 0, 0, membership))
