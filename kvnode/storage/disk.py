"""The disk as an argument: what the log needs of a file system, and the real one.

A name is durable after `fsync_dir` of its directory, contents after `fdatasync`. Everything that
fails raises StorageIOError and is not tried again: after a failed sync the page cache lies.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from kvnode.base.errors import StorageIOError


class Disk(Protocol):
    """Files by path, open files by number. All sizes and offsets are in bytes."""

    def open(self, path: str, *, create: bool = False) -> int:
        """Open a file for reading and writing; with `create` it is made empty if absent."""

    def close(self, file: int) -> None: ...

    def size(self, file: int) -> int: ...

    def preallocate(self, file: int, size: int) -> None:
        """Reserve blocks so that the file has `size` bytes, zeros where nothing was written."""

    def truncate(self, file: int, size: int) -> None: ...

    def pwrite(self, file: int, data: bytes, offset: int) -> None:
        """Write all of `data`."""

    def read(self, file: int, size: int, offset: int) -> bytes:
        """Read up to `size` bytes; less only at the end of the file."""

    def fdatasync(self, file: int) -> None: ...

    def rename(self, old: str, new: str) -> None: ...

    def unlink(self, path: str) -> None: ...

    def list(self, directory: str) -> list[str]:
        """Return the names in a directory, sorted."""

    def make_dir(self, directory: str) -> None:
        """Make a directory; fine if it exists."""

    def fsync_dir(self, directory: str) -> None: ...


@contextmanager
def _reported(action: str, path: str | int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageIOError(f"{action} {path}: {error.strerror or error}") from error


def sync_directory(path: str) -> None:
    """Make the names in a directory durable. Raises StorageIOError."""
    with _reported("fsync", path):
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class OsDisk:
    """The machine's file system."""

    def __init__(self) -> None:
        self._paths: dict[int, str] = {}

    def open(self, path: str, *, create: bool = False) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        with _reported("open", path):
            file = os.open(path, flags, 0o644)
        self._paths[file] = path
        return file

    def close(self, file: int) -> None:
        os.close(file)
        del self._paths[file]

    def size(self, file: int) -> int:
        with _reported("stat", self._paths[file]):
            return os.fstat(file).st_size

    def preallocate(self, file: int, size: int) -> None:
        with _reported("preallocate", self._paths[file]):
            os.posix_fallocate(file, 0, size)

    def truncate(self, file: int, size: int) -> None:
        with _reported("truncate", self._paths[file]):
            os.ftruncate(file, size)

    def pwrite(self, file: int, data: bytes, offset: int) -> None:
        view = memoryview(data)
        with _reported("write", self._paths[file]):
            while view:
                done = os.pwrite(file, view, offset)
                view, offset = view[done:], offset + done

    def read(self, file: int, size: int, offset: int) -> bytes:
        with _reported("read", self._paths[file]):
            data = os.pread(file, size, offset)
            # One call gives at most 2 GiB, and a signal may cut it short.
            while data and len(data) < size:
                more = os.pread(file, size - len(data), offset + len(data))
                if not more:
                    break
                data += more
        return data

    def fdatasync(self, file: int) -> None:
        with _reported("fdatasync", self._paths[file]):
            os.fdatasync(file)

    def rename(self, old: str, new: str) -> None:
        with _reported("rename", old):
            os.rename(old, new)

    def unlink(self, path: str) -> None:
        with _reported("unlink", path):
            os.unlink(path)

    def list(self, directory: str) -> list[str]:
        with _reported("list", directory):
            return sorted(os.listdir(directory))

    def make_dir(self, directory: str) -> None:
        with _reported("mkdir", directory):
            os.makedirs(directory, exist_ok=True)

    def fsync_dir(self, directory: str) -> None:
        sync_directory(directory)
