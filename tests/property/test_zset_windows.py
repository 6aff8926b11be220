"""The storm of test_zsets on sets that are seldom resident: small pages, and few members evicted.

After each step LevelDB's score rows are those of its members, and no member is missing where the
tip takes the order to be complete.
"""

import pytest

from kvnode.storage import parts
from tests.property.storm import Bug, Words, is_found, kept, lost
from tests.property.test_zsets import SEEDS, STEPS, Storm, run
from tests.support.score_rows import check_score_rows, check_windows

PAGES = (1, 2, 4, 16)  # members
REACH = (8, 40, 1000)


@pytest.fixture(autouse=True)
def few_are_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """With their head, that is."""
    monkeypatch.setattr(parts, "SMALL_COLLECTION_ELEMENTS", 2)


class WindowStorm(Storm):
    """windows: how many were there, over all steps. pages: of score rows that were read."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.windows = self.pages = 0
        self.node.tip.page_members = self.rng.choice(PAGES)
        self.node.tip.reach_members = self.rng.choice(REACH)

    def step(self) -> None:
        super().step()
        check_score_rows(self.node.engine)
        self.windows += check_windows(self.node.tip, self.node.engine)
        self.pages = self.node.score_pages

    def read(self) -> Words:
        """Draw more of what lies near the ends than the other storm does."""
        rng, key = self.rng, self.key()
        first, last = sorted((rng.randrange(30), rng.randrange(30)))
        near: list[Words] = [
            ("ZRANGE", key, first, last, "WITHSCORES"),
            ("ZREVRANGE", key, first, last),
            ("ZRANGE", key, -1 - last, -1 - first),
            ("ZRANGEBYSCORE", key, "-inf", self.end(), "LIMIT", 0, 10),
            ("ZREVRANGEBYSCORE", key, self.end(), "-inf", "LIMIT", rng.randrange(3), 10),
            ("ZCOUNT", key, self.end(), "+inf"),
            ("ZCOUNT", key, "-inf", self.end()),
        ]
        return rng.choice(near) if rng.random() < 0.5 else super().read()

    def disturb(self, *, passes_time: bool = True) -> None:
        rng, node = self.rng, self.node
        if rng.random() < 0.4:
            super().disturb(passes_time=passes_time)
            return
        node.checkpoint(records=rng.choice([3, 50, 1000]))
        node.tip.evict(0, rng.choice([5, 50, 500]))
        node.check()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_replies_are_the_models(seed: int) -> None:
    run(WindowStorm(seed))


@pytest.mark.parametrize("bug", [lost(b"Z"), kept(b"Z")])
def test_a_planted_bug_is_found(bug: Bug) -> None:
    assert is_found(bug, WindowStorm, run, SEEDS)


def test_the_storm_reads_pages() -> None:
    pages = windows = 0
    for seed in range(5):
        storm = WindowStorm(seed)
        for _ in range(STEPS):
            storm.step()
        pages += storm.pages
        windows += storm.windows
    assert pages > 50
    assert windows > 50
