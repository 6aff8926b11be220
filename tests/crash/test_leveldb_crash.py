"""LevelDB under kill -9 and power loss: what a checkpoint counts on is there afterwards.

Batches since the last compaction of the memtable may be lost, with holes: replay heals those.
"""

from random import Random

import pytest

from tests.crash.leveldb_child import KEYS
from tests.crash.lives import LIVES, SEED, Lives

pytest.importorskip("plyvel", reason="plyvel is not installed")


class LevelDBRun(Lives):
    """Lives of one engine."""

    module = "tests.crash.leveldb_child"

    def __init__(self, disk, seed, plant=None):
        super().__init__(disk, Random(seed), plant)
        disk.lenient = "leveldb"
        (disk.path / "leveldb").mkdir()  # durable: whoever makes it syncs its parent
        self.durable = {}  # key -> number that must not be lost
        self.found = {}  # key -> number when this life began
        self.first = 1  # number with which this life's writes begin
        self.sent = 0

    def arguments(self, life):
        return [self.disk.path / "leveldb", self.sent + 1, self.random.getrandbits(32)]

    def verify(self, lines, life):
        self.found = {int(key): int(number) for _, key, number in lines}
        for key in range(KEYS):
            number = self.found.get(key, key)
            assert number % KEYS == key
            assert number <= self.sent or key not in self.found
            assert number >= self.durable.get(key, 0)
        self.first = self.sent + 1

    def note(self, kind, number):
        if kind == "sent":
            self.sent = number
            return
        # Durable is what was found at the start, and what this life wrote over it.
        self.durable = dict(self.found)
        for written in range(self.first, number + 1):
            self.durable[written % KEYS] = written


@pytest.mark.parametrize("seed", range(SEED, SEED + 2))
def test_leveldb_survives(disk, seed):
    run = LevelDBRun(disk, seed)
    run.live_on(LIVES)
    assert run.durable


@pytest.mark.parametrize("plant", ["ignore_fdatasync", "early_fdatasync"])
def test_planted_bug_is_found(disk, plant):
    run = LevelDBRun(disk, SEED, plant)
    with pytest.raises(AssertionError):
        run.live_on(20)
