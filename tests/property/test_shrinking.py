"""Tables grow and shrink while scans are under way: what is there throughout is returned.

Hard case 27, under the changes that move entries between buckets, segments and places of the
directory; the invariants are checked after each pass.
"""

import random

import pytest

from tests.support.local import LocalNode

SEEDS = 6
LASTING = 60
COMING = 1500  # others, at most


class Storm:
    """A database and a set with names that stay, and others that come and go in crowds."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.node = LocalNode()
        self.client = self.node.client()
        self.lasting = {b"lasting%d" % i for i in range(LASTING)}
        self.others: dict[str, set[bytes]] = {"SCAN": set(), "SSCAN": set()}
        self.add("SCAN", self.lasting)
        self.add("SSCAN", self.lasting)

    def add(self, kind: str, names: set[bytes]) -> None:
        if kind == "SCAN":
            self.client.ask("MSET", *(word for name in sorted(names) for word in (name, b"v")))
        else:
            self.client.ask("SADD", "set", *sorted(names))

    def remove(self, kind: str, names: set[bytes]) -> None:
        if kind == "SCAN":
            assert self.client.ask("DEL", *sorted(names)) == len(names)
        else:
            assert self.client.ask("SREM", "set", *sorted(names)) == len(names)

    def step(self) -> None:
        rng, kind = self.rng, self.rng.choice(["SCAN", "SSCAN"])
        others = self.others[kind]
        match rng.randrange(7):
            case 0 | 1:
                names = {b"%d" % i for i in rng.sample(range(COMING), rng.randint(1, COMING))}
                self.add(kind, names)
                others |= names
            case 2 | 3:
                gone = set(rng.sample(sorted(others), rng.randint(0, len(others))))
                if gone:
                    self.remove(kind, gone)
                others -= gone
            case 4:
                self.pop()
            case 5:
                self.node.checkpoint(records=rng.choice([50, 1000]))
            case 6:
                self.node.tip.evict(rng.choice([0, 200_000]), rng.choice([10, 300, 5000]))
                self.node.check()

    def pop(self) -> None:
        """SPOP takes what stays as well: it is put back."""
        popped = set(self.client.ask("SPOP", "set", self.rng.randint(0, 300)))
        assert popped <= self.lasting | self.others["SSCAN"]
        self.others["SSCAN"] -= popped
        if popped & self.lasting:
            self.add("SSCAN", popped & self.lasting)
            self.touched |= popped

    def scan(self, kind: str) -> None:
        self.touched: set[bytes] = set()
        ever = self.lasting | self.others[kind] | {b"set"}
        seen: list[bytes] = []
        cursor = b"0"
        while True:
            words = ("SCAN", cursor) if kind == "SCAN" else ("SSCAN", "set", cursor)
            cursor, names = self.client.ask(*words, "COUNT", self.rng.choice([5, 20, 100]))
            seen += names
            ever |= self.others[kind]
            if cursor == b"0":
                break
            self.step()
            ever |= self.others[kind]
        lasting = self.lasting - (self.touched if kind == "SSCAN" else set())
        assert lasting <= set(seen) <= ever
        assert all(seen.count(name) == 1 for name in lasting)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_stays_is_returned(seed: int) -> None:
    storm = Storm(seed)
    for kind in ("SCAN", "SSCAN") * 2:
        storm.scan(kind)
    assert set(storm.client.ask("SMEMBERS", "set")) == storm.lasting | storm.others["SSCAN"]
    assert storm.client.ask("DBSIZE") == 1 + LASTING + len(storm.others["SCAN"])
