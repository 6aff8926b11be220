"""Random commands on sorted sets, small and large, while records are flushed, evicted and made cold
and transactions park half-way: every reply is the model's, where luck decides a possible one.
"""

import pytest

from tests.property.storm import Bug, Words, is_found, kept, lost
from tests.property.storm import Storm as ModelStorm
from tests.support.resp import ErrorReply, NullArray, Reply, ScoredPairs

SEEDS = 30
STEPS = 120
KEYS = (b"z", b"y", b"big", b"large")
LARGE = 700  # members: past the limits of the compact form, and a tree of more than one level
EQUAL = b"equal"  # all of its members have one score: ranges of bytes have a meaning there
PLAIN = b"plain"  # a set, for unions
NAMES = tuple(b"m%d" % i for i in range(LARGE))
SCORES = (b"0", b"1", b"-1", b"2.5", b"1e3", b"inf", b"-inf", b"-0")


class Storm(ModelStorm):
    """Sorted sets."""

    def settled(self, reply: Reply, words: Words) -> object:
        return settled(reply)

    # -- words ----------------------------------------------------------------------------------

    def key(self) -> bytes:
        return self.rng.choice(KEYS)

    def names(self, key: bytes, most: int) -> list[bytes]:
        """Return names of members: of a large set from many, of others from few."""
        span = LARGE if key in (b"big", b"large") else 12
        return [NAMES[self.rng.randrange(span)] for _ in range(self.rng.randint(1, most))]

    def score(self) -> bytes:
        rng = self.rng
        return rng.choice(SCORES) if rng.random() < 0.2 else b"%d" % rng.randrange(-40, 40)

    def pairs(self, key: bytes, most: int) -> list[bytes]:
        return [word for name in self.names(key, most) for word in (self.score(), name)]

    def rank(self) -> int:
        return self.rng.randrange(-40, 40)

    def end(self) -> bytes:
        return self.rng.choice([b"", b"", b"("]) + self.score()

    def name_end(self) -> bytes:
        rng = self.rng
        return rng.choice([b"-", b"+", b"[" + rng.choice(NAMES), b"(" + rng.choice(NAMES)])

    def some(self, *options: Words) -> Words:
        """Return one of the options, or none."""
        return self.rng.choice([(), *options])

    def limit(self) -> Words:
        rng = self.rng
        return self.some(("LIMIT", rng.choice([0, 1, 7, 50, -1]), rng.choice([0, 1, 20, -1])))

    def write(self) -> Words:
        rng, key = self.rng, self.key()
        draw: list[Words] = [
            ("ZADD", key, *self.pairs(key, 200)),
            ("ZADD", key, *self.pairs(key, 200)),
            ("ZADD", key, *self.pairs(key, 5)),
            ("ZADD", key, *self.some(("NX",), ("XX",), ("GT",), ("LT", "CH")), *self.pairs(key, 9)),
            ("ZADD", key, *self.some(("NX",), ("GT",)), "INCR", self.score(), *self.names(key, 1)),
            ("ZADD", EQUAL, *(w for name in self.names(b"big", 40) for w in (b"0", name))),
            ("ZINCRBY", key, self.score(), *self.names(key, 1)),
            ("ZREM", key, *self.names(key, 30)),
            ("ZREMRANGEBYRANK", key, self.rank(), self.rank()),
            ("ZREMRANGEBYSCORE", key, self.end(), self.end()),
            ("ZREMRANGEBYLEX", EQUAL, self.name_end(), self.name_end()),
            (rng.choice(["ZPOPMIN", "ZPOPMAX"]), key, rng.choice([0, 1, 3, 60])),
            ("ZMPOP", 2, key, self.key(), rng.choice(["MIN", "MAX"]), "COUNT", rng.choice([1, 9])),
            ("SADD", PLAIN, *self.names(b"big", 30)),
            ("COPY", key, b"y", "REPLACE") if key != b"y" else ("EXISTS", key),
            ("RENAME", key, self.key()) if rng.random() < 0.2 else ("TYPE", key),
            ("DEL", key) if rng.random() < 0.3 else ("TYPE", key),
            ("PEXPIRE", key, rng.choice([5, 5005])) if rng.random() < 0.3 else ("PTTL", key),
        ]
        return rng.choice(draw)

    def read(self) -> Words:
        rng, key = self.rng, self.key()
        scored, reverse = self.some(("WITHSCORES",)), self.some(("REV",))
        draw: list[Words] = [
            ("ZRANGE", key, self.rank(), self.rank(), *scored, *reverse),
            ("ZRANGE", key, self.end(), self.end(), "BYSCORE", *reverse, *self.limit(), *scored),
            ("ZRANGE", EQUAL, self.name_end(), self.name_end(), "BYLEX", *reverse, *self.limit()),
            ("ZCOUNT", key, self.end(), self.end()),
            ("ZLEXCOUNT", EQUAL, self.name_end(), self.name_end()),
            ("ZRANK", key, *self.names(key, 1), *self.some(("WITHSCORE",))),
            ("ZREVRANK", key, *self.names(key, 1), *self.some(("WITHSCORE",))),
            ("ZMSCORE", key, *self.names(key, 20)),
            ("ZSCORE", key, *self.names(key, 1)),
            ("ZCARD", key),
        ]
        return rng.choice(draw)

    def combination(self) -> Words:
        """Return a command on two sets; of more, the order of sums of infinite scores decides."""
        rng = self.rng
        inputs = (2, self.key(), rng.choice([*KEYS, PLAIN, EQUAL]))
        aggregate = self.some(("AGGREGATE", "MIN"), ("AGGREGATE", "MAX"))
        weighted = *self.some(("WEIGHTS", 2, -1)), *aggregate
        draw: list[Words] = [
            (rng.choice(["ZUNION", "ZINTER"]), *inputs, *weighted, *self.some(("WITHSCORES",))),
            ("ZDIFF", *inputs, *self.some(("WITHSCORES",))),
            (rng.choice(["ZUNIONSTORE", "ZINTERSTORE"]), self.key(), *inputs, *weighted),
            ("ZDIFFSTORE", self.key(), *inputs),
            ("ZINTERCARD", *inputs, *self.some(("LIMIT", rng.randrange(50)))),
            ("ZRANGESTORE", self.key(), self.key(), self.rank(), self.rank(), *self.some(("REV",))),
        ]
        return rng.choice(draw)

    def words(self) -> Words:
        return self.rng.choices([self.write, self.read, self.combination], [5, 4, 2])[0]()

    # -- steps ----------------------------------------------------------------------------------

    def step(self) -> None:
        steps = [self.command, self.draw, self.scan, self.transaction, self.disturb]
        self.rng.choices(steps, [10, 2, 1, 3, 3])[0]()

    def members(self, key: bytes) -> dict[bytes, float]:
        """Return what the model has at a key."""
        return dict(self.told(("ZRANGE", key, 0, -1, "WITHSCORES")))

    def draw(self) -> None:
        """Ask for members at random."""
        key, count = self.key(), self.rng.choice([1, 3, 50, 10_000])
        members = self.members(key)
        flat = self.client.ask("ZRANDMEMBER", key, count, "WITHSCORES")
        chosen = {name: float(score) for name, score in zip(flat[::2], flat[1::2], strict=True)}
        assert len(chosen) == len(flat) // 2 == min(count, len(members))
        assert chosen.items() <= members.items()
        repeated = self.client.ask("ZRANDMEMBER", key, -count)
        assert len(repeated) == (count if members else 0)
        assert set(repeated) <= set(members)

    def scan(self) -> None:
        """Walk a set with removals in between: what was there throughout is returned."""
        key = self.key()
        before, cursor = self.members(key), b"0"
        seen: dict[bytes, float] = {}
        while True:
            cursor, page = self.client.ask("ZSCAN", key, cursor, "COUNT", 20)
            seen |= {name: float(score) for name, score in zip(page[::2], page[1::2], strict=True)}
            if cursor == b"0":
                break
            if self.rng.random() < 0.3:
                self.disturb(passes_time=False)
            words = ("ZREM", key, *self.names(key, 5))
            assert self.client.ask(*words) == self.told(words)
        assert self.members(key).items() <= seen.items() <= before.items()

    def disturb(self, *, passes_time: bool = True) -> None:
        """Let something happen that no client asked for."""
        if not self.disturb_storage(self.rng.randrange(4 if passes_time else 3)):
            self.node.clock.advance(self.rng.choice([10, 30]))  # never just to a deadline


def settled(reply: Reply) -> object:
    """Return a reply with scores as numbers, and pairs as RESP2 lists them."""
    if isinstance(reply, NullArray) or reply is None:
        return None
    if isinstance(reply, ErrorReply):
        return str(reply)
    if isinstance(reply, ScoredPairs):
        return [settled(item) for pair in reply for item in pair]
    if isinstance(reply, list):
        return [settled(item) for item in reply]
    if isinstance(reply, bytes) and reply not in NAMES:
        try:
            return float(reply)
        except ValueError:
            return reply
    return reply


def run(storm: Storm) -> None:
    for _ in range(STEPS):
        storm.step()
    for key in (*KEYS, EQUAL):
        storm.ask(("ZRANGE", key, 0, -1, "WITHSCORES"))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_replies_are_the_models(seed: int) -> None:
    run(Storm(seed))


@pytest.mark.parametrize("bug", [lost(b"M"), kept(b"M"), lost(b"H")])
def test_a_planted_bug_is_found(bug: Bug) -> None:
    assert is_found(bug, Storm, run, SEEDS)
