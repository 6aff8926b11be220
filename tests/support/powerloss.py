"""Power loss: put a dead process's files back to what an honest disk might have kept.

Reads the undo journal of the shim (tests/support/faultfs). Of what was synced nothing is touched.
Of each unsynced write a random part survives, in sectors or in pages; a file's size is one that it
had since its last sync; names in a directory that was not synced go back from some moment on.

Appended bytes exist exactly up to the size that survives, as file systems have it that write data
before the size (ext4, xfs, btrfs). Name changes of one directory are lost in reverse order only.

Strictly, only a sync of the directory makes a name durable. The file systems named above also keep
the name of a new file once the file is synced. LevelDB counts on that: it flushes the record of a
new table before it syncs the directory. So directories that WatchedDirectory.lenient names get it.
"""

import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from random import Random

from tests.support.faultfs import WatchedDirectory

SECTOR_BYTES = 512
PAGE_BYTES = 4096
ENTRY = struct.Struct("=IHHQQQQQ")  # struct entry of shim.h
ENTRY_MAGIC = 0x31304A46
WRITE, TRUNCATE, SYNC, SYNC_FAILED, NAME, DIR_SYNC = range(1, 7)


@dataclass(slots=True, eq=False)
class Entry:
    """One entry of the journal; the fields are those of struct entry in shim.h."""

    position: int
    kind: int
    name: str
    inode: int
    offset: int
    length: int
    size_before: int
    old_at: int  # where the old bytes lie in the journal
    old_bytes: int
    is_doomed: bool = False  # a sync failed on it: later syncs do not cover it
    spared: list[tuple[int, int]] = field(default_factory=list)  # pages that were written again

    @property
    def end(self) -> int:
        """First offset behind the change."""
        return self.offset + self.length if self.kind == WRITE else self.size_before

    @property
    def size_after(self) -> int:
        """File size once the change was done in full."""
        return self.offset if self.kind == TRUNCATE else max(self.size_before, self.end)


@dataclass(slots=True)
class Pending:
    """What no sync covers: changes by inode, name changes by directory, each in order."""

    changes: dict[int, list[Entry]] = field(default_factory=dict)
    names: dict[str, list[Entry]] = field(default_factory=dict)


def read_entries(journal: Path) -> Iterator[Entry]:
    """Yield the entries in order. A cut last one is of an operation that never began."""
    size = journal.stat().st_size if journal.exists() else 0
    if not size:
        return
    with journal.open("rb") as file:
        position = 0
        while position + ENTRY.size <= size:
            file.seek(position)
            header = ENTRY.unpack(file.read(ENTRY.size))
            magic, kind, name_bytes, inode, offset, length, size_before, old_bytes = header
            if magic != ENTRY_MAGIC:
                raise ValueError(f"{journal}: no entry at {position}")
            old_at = position + ENTRY.size + name_bytes
            if old_at + old_bytes > size:
                return
            name = os.fsdecode(file.read(name_bytes))
            yield Entry(position, kind, name, inode, offset, length, size_before, old_at, old_bytes)
            position = old_at + old_bytes


def find_pending(disk: WatchedDirectory) -> Pending:
    """Return what the journal knows to be unsynced."""
    pending = Pending()
    for entry in read_entries(disk.journal):
        if entry.kind in (WRITE, TRUNCATE):
            pending.changes.setdefault(entry.inode, []).append(entry)
        elif entry.kind == NAME:
            pending.names.setdefault(os.path.dirname(entry.name), []).append(entry)
        elif entry.kind == DIR_SYNC:
            directory = "" if entry.name == "." else entry.name
            names = pending.names.get(directory, [])
            names[:] = [change for change in names if change.position >= entry.offset]
        elif entry.kind == SYNC_FAILED:
            for change in pending.changes.get(entry.inode, []):
                if change.kind == WRITE and change.position < entry.offset:
                    change.is_doomed = True
        else:
            changes = pending.changes.get(entry.inode, [])
            changes[:] = _left_after_sync(changes, entry.offset)
            directory = os.path.dirname(entry.name)
            if disk.lenient and fnmatch(directory, disk.lenient):
                names = pending.names.get(directory, [])
                names[:] = _left_after_file_sync(names, entry)
    return pending


def _left_after_file_sync(names: list[Entry], sync: Entry) -> list[Entry]:
    """Return what is left when the sync of a new file kept its name, and what came before it."""
    made = [n.position for n in names if n.inode == sync.inode and n.position < sync.offset]
    return [n for n in names if not made or n.position > max(made)]


def _left_after_sync(changes: list[Entry], began: int) -> list[Entry]:
    """Return what a sync that began at this journal position leaves unsynced.

    Of a doomed one the pages that were written again are healed, and the size is durable.
    """
    synced = [c for c in changes if c.position < began and not c.is_doomed]
    doomed = [c for c in changes if c.is_doomed]
    size = max((c.size_after for c in synced + doomed), default=0)
    for change in doomed:
        change.size_before = size
        for later in synced:
            if later.position > change.position:
                low = later.offset - later.offset % PAGE_BYTES
                change.spared.append((low, -(-later.end // PAGE_BYTES) * PAGE_BYTES))
    return [c for c in changes if c.is_doomed or c.position >= began]


def lose_power(disk: WatchedDirectory, random: Random) -> list[str]:
    """Lose a random part of what is unsynced; return what was lost, in words.

    Requires: no watched process is running. What is left counts as durable from now on.
    """
    pending = find_pending(disk)
    lost = []
    paths = _paths_by_inode(disk)
    with disk.journal.open("rb") if disk.journal.exists() else open(os.devnull, "rb") as journal:
        for inode, changes in sorted(pending.changes.items()):
            if changes and inode in paths:
                lost += _FileLoss(paths[inode], changes, journal, random).apply()
    for directory, changes in sorted(pending.names.items()):  # parents first: they may go too
        if changes and (disk.path / directory).is_dir():
            lost += _lose_names(disk, changes, random)
    disk.settle()
    return lost


def _paths_by_inode(disk: WatchedDirectory) -> dict[int, Path]:
    paths = {}
    for base in (disk.state / "inodes", disk.path):
        for folder, _, names in os.walk(base):
            for name in names:
                path = Path(folder, name)
                paths[path.lstat().st_ino] = path
    return paths


class _FileLoss:
    """The loss in one file. changes: its unsynced ones, oldest first."""

    def __init__(self, path: Path, changes: list[Entry], journal, random: Random) -> None:
        self.path = path
        self.changes = changes
        self.journal = journal
        self.random = random
        # Swarm: one file keeps nearly all, another nothing, a third every second sector.
        self.loss_chance = random.choice([0.0, 0.1, 0.5, 0.9, 1.0, 1.0])
        self.unit_bytes = random.choice([SECTOR_BYTES, PAGE_BYTES])

    def apply(self) -> list[str]:
        current = self.path.stat().st_size
        first_lost, size = self._choose_size(current)
        undone = 0
        kept: set[int] = set()  # units whose newer content survived, and so all below it
        with self.path.open("r+b") as file:
            if size > current:
                file.truncate(size)
            for index in range(len(self.changes) - 1, -1, -1):
                change = self.changes[index]
                if change.kind == TRUNCATE:
                    if index >= first_lost:
                        self._restore(file, change, change.offset, change.size_before)
                else:
                    undone += self._undo_write(file, change, kept)
            file.truncate(size)
        if not undone and size == current:
            return []
        return [f"{self.path.name}: size {current} -> {size}, {undone} bytes of writes undone"]

    def _choose_size(self, current: int) -> tuple[int, int]:
        """Return (index of the first change whose effect on the size is lost, surviving size)."""
        count = len(self.changes)
        if self.loss_chance == 1.0:
            return 0, self.changes[0].size_before
        cut = self.random.randint(0, count) if self.loss_chance else count
        if cut == count:
            return cut, current
        change = self.changes[cut]
        size = change.size_before
        if change.size_after - size >= PAGE_BYTES:
            # Write-back reached some page of this append.
            size = min(self.random.randrange(size, change.size_after), current)
            size = max(size - size % PAGE_BYTES, change.size_before)
        return cut, size

    def _undo_write(self, file, change: Entry, kept: set[int]) -> int:
        """Put back the parts of a write that are lost; return how many bytes."""
        undone = 0
        end = min(change.end, change.size_before)  # beyond, the size alone decides
        for unit in range(change.offset // self.unit_bytes, -(-end // self.unit_bytes)):
            if unit in kept:
                continue
            low = max(unit * self.unit_bytes, change.offset)
            high = min((unit + 1) * self.unit_bytes, end)
            is_spared = any(first <= low and high <= last for first, last in change.spared)
            if is_spared or self.random.random() >= self.loss_chance:
                kept.add(unit)
                continue
            self._restore(file, change, low, high)
            undone += high - low
        return undone

    def _restore(self, file, change: Entry, low: int, high: int) -> None:
        first = low - change.offset
        self.journal.seek(change.old_at + first)
        old = self.journal.read(max(0, min(high - low, change.old_bytes - first)))
        file.seek(low)
        file.write(old.ljust(high - low, b"\0"))


def _lose_names(disk: WatchedDirectory, changes: list[Entry], random: Random) -> list[str]:
    """Undo the name changes of one directory from a random one on."""
    cut = random.randint(0, len(changes))
    if 0 < cut < len(changes) and changes[cut - 1].offset:
        cut -= 1  # the two halves of a rename go together
    before: dict[str, int] = {}
    for change in changes[cut:]:
        before.setdefault(change.name, change.size_before)
    paths = _paths_by_inode(disk)
    for inode in before.values():
        kept = disk.state / "inodes" / str(inode)
        if inode and not kept.exists() and paths[inode].is_file():
            os.link(paths[inode], kept)
    lost = []
    for name, inode in before.items():
        path = disk.path / name
        now = path.lstat().st_ino if path.exists() else 0
        if now == inode:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if inode:
            os.link(disk.state / "inodes" / str(inode), path)
        lost.append(f"{name}: {'back to an older file' if inode else 'never created'}")
    return lost
