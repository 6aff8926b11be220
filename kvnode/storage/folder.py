"""The folders of a data directory as an argument: those of LevelDB, those of the log.

A file system changes a name at once, and durably after sync(). A folder that is removed loses its
contents bit by bit, so a crash may leave a part of it.
"""

import os
import shutil
from typing import Protocol

from kvnode.base.errors import StorageIOError
from kvnode.storage.disk import sync_directory


class Folders(Protocol):
    """Folders in one directory, by name. Everything that fails raises StorageIOError."""

    path: str  # of the directory

    def has(self, name: str) -> bool: ...

    def rename(self, old: str, new: str) -> None:
        """Give a folder a name that nothing has."""

    def remove(self, name: str) -> None:
        """Remove a folder with all that is in it; fine if there is none."""

    def sync(self) -> None:
        """Make the names durable."""


class OsFolders:
    """On the machine's file system."""

    def __init__(self, path: str) -> None:
        self.path = path

    def has(self, name: str) -> bool:
        return os.path.isdir(f"{self.path}/{name}")

    def rename(self, old: str, new: str) -> None:
        try:
            os.rename(f"{self.path}/{old}", f"{self.path}/{new}")
        except OSError as error:
            raise StorageIOError(f"rename {self.path}/{old}: {error.strerror}") from error

    def remove(self, name: str) -> None:
        try:
            shutil.rmtree(f"{self.path}/{name}")
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageIOError(f"remove {self.path}/{name}: {error.strerror}") from error

    def sync(self) -> None:
        sync_directory(self.path)
