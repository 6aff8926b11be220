"""Folders of a simulated disk; stores in memory stand in them as files that name them.

A crash treats the names as those of all files, and a folder under removal may come back with a part
of what was in it.
"""

import random

from kvnode.storage.memory import MemoryEngine
from tests.sim.disk import SimDisk

ENGINE_FILE = "CURRENT"  # contents: the number of the store


class SimFolders:
    """Implements kvnode.storage.folder.Folders."""

    def __init__(self, disk: SimDisk, path: str) -> None:
        self.path = path
        self._disk = disk
        self._engines: dict[int, MemoryEngine] = {}

    def has(self, name: str) -> bool:
        return bool(self._disk.list(f"{self.path}/{name}"))

    def rename(self, old: str, new: str) -> None:
        assert self.has(old)
        assert not self.has(new), "a folder with contents is never replaced"
        self._disk.rename_folder(f"{self.path}/{old}", f"{self.path}/{new}")

    def remove(self, name: str) -> None:
        folder = f"{self.path}/{name}"
        for file in self._disk.list(folder):
            if file == ENGINE_FILE:
                self._lose_rows(int(self._disk.contents(f"{folder}/{file}")))
            self._disk.unlink(f"{folder}/{file}")

    def sync(self) -> None:
        self._disk.fsync_dir(self.path)

    def open_engine(self, path: str) -> MemoryEngine:
        """Return the store in a folder, a new one if there is none."""
        file = f"{path}/{ENGINE_FILE}"
        if ENGINE_FILE not in self._disk.list(path):
            number = len(self._engines)
            self._engines[number] = MemoryEngine()
            self._disk.put(file, str(number).encode())
        return self._engines[int(self._disk.contents(file))]

    def crash(self, rng: random.Random) -> None:
        """Lose power."""
        self._disk.crash(rng)
        for number, engine in self._engines.items():
            self._engines[number] = engine.crash(lambda file, batch: rng.random() < 0.5)

    def kill(self) -> None:
        """Lose the process: what was written stays."""
        self._disk.kill()
        for number, engine in self._engines.items():
            self._engines[number] = engine.crash(lambda file, batch: True)

    def _lose_rows(self, number: int) -> None:
        rows = self._engines[number].scan(b"", None, 1 << 30)
        self._engines[number] = MemoryEngine(dict(rows[::2]))
