"""The native log writer and its recovery on real files: kill -9, disk operations, power loss."""

from random import Random

import pytest

from tests.crash.lives import LIVES, SEED, Lives

pytest.importorskip("kvnode._core.logwriter", reason="the native core is not built")


class LogRun(Lives):
    """Lives of one log. Entries are known by the life that wrote them."""

    module = "tests.crash.log_child"

    def __init__(self, disk, seed, plant=None):
        super().__init__(disk, Random(seed), plant)
        self.checkpoint = 0
        self.acked = 0
        self.known = {}  # index -> life that wrote it, as last recovered
        self.writing_life = 0  # the last one that got as far as writing

    def arguments(self, life):
        return [self.disk.path / "log", life, self.checkpoint, self.random.getrandbits(32)]

    def verify(self, lines, life):
        entries = {int(index): int(who) for _, index, who in lines}
        first = min(entries, default=self.checkpoint + 1)
        last = first + len(entries) - 1
        assert sorted(entries) == list(range(first, last + 1))
        assert first <= self.checkpoint + 1
        assert last >= self.acked, f"lost: acknowledged {self.acked}, recovered up to {last}"
        # Older entries are the ones known before; newer ones were all written by the last life.
        assert all(self.known.get(index, who) == who for index, who in entries.items())
        newer = {who for index, who in entries.items() if index not in self.known}
        assert newer <= {self.writing_life}
        self.known = entries
        self.acked = last
        self.writing_life = life

    def note(self, kind, number):
        if kind == "cut":
            self.checkpoint = number
        else:
            self.acked = number


@pytest.mark.parametrize("seed", range(SEED, SEED + 2))
def test_log_survives(disk, seed):
    run = LogRun(disk, seed)
    run.live_on(LIVES)
    assert run.acked > 0


@pytest.mark.parametrize("plant", ["ignore_fdatasync", "early_fdatasync"])
def test_planted_bug_is_found(disk, plant):
    run = LogRun(disk, SEED, plant)
    with pytest.raises(AssertionError):
        run.live_on(20)
