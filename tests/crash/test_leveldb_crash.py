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
        self.durable = 0
        self.sent = 0

    def arguments(self, life):
        return [self.disk.path / "leveldb", self.sent + 1, self.random.getrandbits(32)]

    def verify(self, lines, life):
        rows = {int(key): int(number) for _, key, number in lines}
        for key in range(KEYS):
            number = rows.get(key, 0)
            # Numbers up to `durable` with this key: the last of them, or one written since.
            at_least = self.durable - (self.durable - key) % KEYS
            assert max(at_least, 0) <= number <= self.sent
            assert number % KEYS == key or number == 0

    def note(self, kind, number):
        if kind == "sent":
            self.sent = number
        else:
            self.durable = number


@pytest.mark.parametrize("seed", range(SEED, SEED + 2))
def test_leveldb_survives(disk, seed):
    run = LevelDBRun(disk, seed)
    run.live_on(LIVES)
    assert run.durable > 0


@pytest.mark.parametrize("plant", ["ignore_fdatasync", "early_fdatasync"])
def test_planted_bug_is_found(disk, plant):
    run = LevelDBRun(disk, SEED, plant)
    with pytest.raises(AssertionError):
        run.live_on(20)
