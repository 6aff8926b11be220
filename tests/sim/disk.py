"""A disk in memory that loses what was not synced.

Written pages stay in the page cache until `fdatasync`; names stay there until `fsync_dir`. A crash
keeps, for each 512-byte sector written since the last sync, the durable contents or any later ones,
each sector for itself: that loses, reorders and tears writes. Of the changes to names it keeps any
subset, in order. Faults are injected by call and count.
"""

import errno
import os
import random
from dataclasses import dataclass, field

from kvnode.base.errors import StorageIOError

SECTOR_BYTES = 512


@dataclass(slots=True)
class _File:
    data: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    written: dict[int, list[bytes]] = field(default_factory=dict)  # sector -> contents since sync


@dataclass(slots=True)
class Fault:
    """Makes calls of one kind fail: the first `after` pass, then `count` fail."""

    call: str
    error: int = errno.EIO
    after: int = 0
    count: int = 1 << 30
    path: str = ""  # only for paths that contain it


class SimDisk:
    """Implements kvnode.storage.disk.Disk."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.calls: list[str] = []
        self._names: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._renames: list[tuple[str, str, _File | None]] = []  # (gone, come, file) since sync
        self._open: dict[int, tuple[str, _File]] = {}
        self._next = 3

    # -- Disk -----------------------------------------------------------------------------------

    def open(self, path: str, *, create: bool = False) -> int:
        self._call("open", path)
        if path not in self._names:
            if not create:
                raise StorageIOError(f"open {path}: {os.strerror(errno.ENOENT)}")
            self._names[path] = _File()
            self._renames.append(("", path, self._names[path]))
        self._next += 1
        self._open[self._next] = (path, self._names[path])
        return self._next

    def close(self, file: int) -> None:
        del self._open[file]

    def size(self, file: int) -> int:
        return len(self._open[file][1].data)

    def preallocate(self, file: int, size: int) -> None:
        path, f = self._open[file]
        self._call("preallocate", path)
        if len(f.data) < size:
            self._write(f, bytes(size - len(f.data)), len(f.data))

    def truncate(self, file: int, size: int) -> None:
        path, f = self._open[file]
        self._call("truncate", path)
        del f.data[size:]
        f.data.extend(bytes(size - len(f.data)))

    def pwrite(self, file: int, data: bytes, offset: int) -> None:
        path, f = self._open[file]
        self._call("pwrite", path)
        self._write(f, data, offset)

    def read(self, file: int, size: int, offset: int) -> bytes:
        path, f = self._open[file]
        self._call("read", path)
        return bytes(f.data[offset : offset + size])

    def fdatasync(self, file: int) -> None:
        path, f = self._open[file]
        self._call("fdatasync", path)
        f.durable = bytearray(f.data)
        f.written.clear()

    def rename(self, old: str, new: str) -> None:
        self._call("rename", old)
        self._names[new] = self._names.pop(old)
        self._renames.append((old, new, self._names[new]))

    def rename_folder(self, old: str, new: str) -> None:
        """Rename a folder: one change, durable or not as a whole. What was still to be synced of
        the names in it becomes durable: file systems keep the order of such changes."""
        self._call("rename_folder", old)
        self.fsync_names(old)
        for path in [path for path in self._names if path.startswith(f"{old}/")]:
            self._names[new + path[len(old) :]] = self._names.pop(path)
        self._renames.append((f"{old}/", f"{new}/", None))

    def unlink(self, path: str) -> None:
        self._call("unlink", path)
        del self._names[path]
        self._renames.append((path, "", None))

    def list(self, directory: str) -> list[str]:
        prefix = directory.rstrip("/") + "/"
        inside = (path[len(prefix) :] for path in self._names if path.startswith(prefix))
        return sorted(name for name in inside if "/" not in name)

    def make_dir(self, directory: str) -> None:
        self._call("make_dir", directory)

    def fsync_dir(self, directory: str) -> None:
        self._call("fsync_dir", directory)
        self.fsync_names(directory)

    def fsync_names(self, directory: str) -> None:
        prefix = directory.rstrip("/") + "/"
        left = []
        for gone, come, file in self._renames:
            if (gone or come).startswith(prefix):
                self._apply(self._durable_names, gone, come, file)
            else:
                left.append((gone, come, file))
        self._renames = left

    # -- what tests do to it --------------------------------------------------------------------

    def crash(self, rng: random.Random) -> None:
        """Lose power: what is not durable stays or goes as `rng` has it; all files are closed."""
        keep = rng.random()
        for f in {
            id(f): f for f in (*self._names.values(), *self._durable_names.values())
        }.values():
            for sector, contents in sorted(f.written.items()):
                if rng.random() < keep:
                    at = sector * SECTOR_BYTES
                    if len(f.durable) < at:
                        f.durable.extend(bytes(at - len(f.durable)))
                    f.durable[at : at + SECTOR_BYTES] = rng.choice(contents)
            f.written.clear()
            f.data = bytearray(f.durable)
        for change in self._renames:
            if rng.random() < keep:
                self._apply(self._durable_names, *change)
        self._renames.clear()
        self._names = dict(self._durable_names)
        self._open.clear()
        self.faults.clear()

    def kill(self) -> None:
        """Lose the process: the page cache stays."""
        self._open.clear()
        self.faults.clear()

    def contents(self, path: str) -> bytes:
        return bytes(self._names[path].data)

    def put(self, path: str, data: bytes) -> None:
        """Set a file's contents, cached and durable, as damage on the disk would."""
        f = self._names.setdefault(path, _File())
        self._durable_names[path] = f
        self._renames = [change for change in self._renames if path not in change[:2]]
        f.data, f.durable = bytearray(data), bytearray(data)
        f.written.clear()

    def copy(self) -> "SimDisk":
        """Return a disk with the same cached contents, all durable."""
        other = SimDisk()
        for path, f in self._names.items():
            other.put(path, bytes(f.data))
        return other

    def _write(self, f: _File, data: bytes, offset: int) -> None:
        end = offset + len(data)
        if len(f.data) < end:
            f.data.extend(bytes(end - len(f.data)))
        f.data[offset:end] = data
        for sector in range(offset // SECTOR_BYTES, -(-end // SECTOR_BYTES)):
            at = sector * SECTOR_BYTES
            f.written.setdefault(sector, []).append(bytes(f.data[at : at + SECTOR_BYTES]))

    @staticmethod
    def _apply(names: dict[str, _File], gone: str, come: str, file: _File | None) -> None:
        if gone.endswith("/"):
            for path in [path for path in names if path.startswith(gone)]:
                names[come + path[len(gone) :]] = names.pop(path)
            return
        names.pop(gone, None)
        if come and file is not None:
            names[come] = file

    def _call(self, call: str, path: str) -> None:
        self.calls.append(f"{call} {path}")
        for fault in self.faults:
            if fault.call == call and fault.path in path:
                if fault.after > 0:
                    fault.after -= 1
                elif fault.count > 0:
                    fault.count -= 1
                    raise StorageIOError(f"{call} {path}: {os.strerror(fault.error)}")
