"""Hashes, sets and sorted sets larger than memory: scans and draws among writes, checkpoints,
sweeps, evictions and restarts, against what the commands so far have led to.

A scan returns each element that was there all the time, with a value that it had when it was
returned, and none that was never there. A draw returns elements that are there, each at most once
unless repeats were asked for. KVNODE_COLD_SEEDS=200 runs longer.
"""

import os
import random
from collections.abc import Callable

import pytest

from kvnode.storage import fetch
from kvnode.storage.fetch import HASH_END, ElementRange
from tests.sim.node import SimNode, new_node

SEEDS = int(os.environ.get("KVNODE_COLD_SEEDS", "4"))
STEPS = 40
NAMES = 3000  # half of them are there: more than a page, and than a table's first growth
CACHE_BYTES = 48 * 1024  # of about 250 KB that each collection takes in memory
SCANS = {"h": "HSCAN", "s": "SSCAN", "z": "ZSCAN"}
DRAWS = {"h": "HRANDFIELD", "s": "SRANDMEMBER", "z": "ZRANDMEMBER"}
WITH_VALUES = {"h": ("WITHVALUES",), "s": (), "z": ("WITHSCORES",)}

Contents = dict[bytes, bytes]  # of one collection; a set's values are empty


class Storm:
    """A node with a small cache, and what its collections hold."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.node: SimNode = new_node(seed, cache_bytes=CACHE_BYTES)
        self.contents: dict[str, Contents] = {key: {} for key in SCANS}
        self.version = 0
        for key in SCANS:
            self.add(key, NAMES // 2)
        self.node.checkpoint()
        self.node.evict()

    def ask(self, *words: bytes | str | int) -> object:
        """Run one command; then memory is bounded, as the reactor does it."""
        reply = self.node.ask(*words)
        assert not isinstance(reply, Exception), words
        self.node.tip.evict(CACHE_BYTES, 1 << 20)
        return reply

    # -- writes ---------------------------------------------------------------------------------

    def names(self, most: int) -> list[bytes]:
        return [b"n%d" % self.rng.randrange(NAMES) for _ in range(most)]

    def add(self, key: str, count: int) -> None:
        self.version += 1
        value = b"" if key == "s" else b"%d" % self.version
        new = dict.fromkeys(self.names(count), value)
        pairs = {
            "h": lambda name: (name, value),
            "s": lambda name: (name,),
            "z": lambda name: (value, name),
        }
        words = [word for name in new for word in pairs[key](name)]
        command = {"h": "HSET", "s": "SADD", "z": "ZADD"}[key]
        assert self.ask(command, key, *words) == len(new.keys() - self.contents[key].keys())
        self.contents[key] |= new

    def remove(self, key: str, count: int) -> None:
        gone = set(self.names(count))
        command = {"h": "HDEL", "s": "SREM", "z": "ZREM"}[key]
        assert self.ask(command, key, *gone) == len(gone & self.contents[key].keys())
        self.drop(key, gone)

    def drop(self, key: str, names: set[bytes]) -> None:
        kept = self.contents[key]
        self.contents[key] = {name: value for name, value in kept.items() if name not in names}

    def pop(self, count: int) -> None:
        popped = self.ask("SPOP", "s", count)
        assert len(set(popped)) == len(popped) == min(count, len(self.contents["s"]))
        assert set(popped) <= self.contents["s"].keys()
        self.drop("s", set(popped))

    # -- reads ----------------------------------------------------------------------------------

    def draw(self, key: str) -> None:
        held = self.contents[key]
        count = self.rng.choice([1, 5, 60, 200, 257, 1000, NAMES])
        chosen = self.pairs(key, self.ask(DRAWS[key], key, count, *WITH_VALUES[key]))
        assert len(chosen) == min(count, len(held))
        assert chosen.items() <= held.items()
        repeated = self.ask(DRAWS[key], key, -count)
        assert len(repeated) == (count if held else 0)
        assert set(repeated) <= held.keys()

    def pairs(self, key: str, flat: list[bytes]) -> Contents:
        """Return the elements of a reply; each must be there once."""
        if key == "s":
            found = dict.fromkeys(flat, b"")
            assert len(found) == len(flat)
            return found
        found = dict(zip(flat[::2], flat[1::2], strict=True))
        assert len(found) == len(flat) // 2
        return found

    def scan(self, key: str) -> None:
        stays = set(self.contents[key])
        seen: set[bytes] = set()
        cursor, count = b"0", self.rng.choice([10, 100, 700, 5000])
        while True:
            cursor, flat = self.ask(SCANS[key], key, cursor, "COUNT", count)
            page = self.pairs(key, flat)
            assert page.items() <= self.contents[key].items()
            seen |= page.keys()
            if cursor == b"0":
                break
            if self.rng.random() < 0.3:
                self.step(may_scan=False)
                stays &= self.contents[key].keys()
        assert stays <= seen

    def lengths(self) -> None:
        for key, command in (("h", "HLEN"), ("s", "SCARD"), ("z", "ZCARD")):
            assert self.ask(command, key) == len(self.contents[key])

    # -- steps ----------------------------------------------------------------------------------

    def step(self, *, may_scan: bool = True) -> None:
        rng, key = self.rng, self.rng.choice("hsz")
        steps: list[tuple[int, Callable[[], object]]] = [
            (3, lambda: self.add(key, rng.choice([1, 20, 300]))),
            (3, lambda: self.remove(key, rng.choice([1, 20, 300]))),
            (1, lambda: self.pop(rng.choice([1, 20, 100]))),
            (3, lambda: self.draw(key)),
            (3 * may_scan, lambda: self.scan(key)),
            (1, self.lengths),
            (5, self.disturb),
        ]
        weights, actions = zip(*steps, strict=True)
        rng.choices(actions, weights)[0]()
        self.node.check()

    def disturb(self) -> None:
        """Let something happen that no client asked for."""
        rng, node = self.rng, self.node
        kind = rng.randrange(6)
        if kind == 0:
            node.checkpoint()
        elif kind == 1:
            node.evict()
        elif kind == 2:
            self.node = rng.choice([node.crash, node.kill])()
        elif kind == 3:
            node.upkeep(rng.randrange(10), calls=rng.randrange(3))  # a part of a checkpoint
        elif kind == 4:
            node.replica.request_checkpoint(lambda _: None)
        else:
            node.tip.evict(rng.randrange(CACHE_BYTES), rng.choice([100, 1 << 20]))


def run(*seeds: int) -> None:
    for seed in seeds:
        storm = Storm(seed)
        for _ in range(STEPS):
            storm.step()
        for key in SCANS:
            storm.scan(key)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_scans_and_draws_fit_the_contents(seed: int) -> None:
    run(seed)


def lose_a_row(found: ElementRange) -> ElementRange:
    return ElementRange(found.id, found.rows[1:], found.next_hash, found.is_done)


def go_too_far(found: ElementRange) -> ElementRange:
    next_hash = found.next_hash + (1 << 56)
    is_done = found.is_done or next_hash >= HASH_END
    return ElementRange(found.id, found.rows, 0 if is_done else next_hash, is_done)


@pytest.mark.parametrize("bug", [lose_a_row, go_too_far])
def test_a_planted_bug_is_found(bug: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    read = fetch.read_elements
    monkeypatch.setattr(fetch, "read_elements", lambda *words: bug(read(*words)))
    with pytest.raises(AssertionError):
        run(*range(SEEDS))
