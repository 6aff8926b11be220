"""Random commands on hashes and sets, small and large, while records are flushed, evicted and made
cold, time passes and transactions park: every reply is the model's, where luck decides a possible
one.
"""

from collections.abc import Sequence

import pytest

from tests.property.storm import Bug, Words, is_found, kept, lost
from tests.property.storm import Storm as ModelStorm
from tests.support.resp import Reply, ReplyPairs

SEEDS = 30
STEPS = 120
SETS = (b"s", b"t", b"big")
HASHES = (b"h", b"g", b"large")
LARGE = 700  # members: past every limit of the compact forms


class Storm(ModelStorm):
    """Hashes and sets."""

    def settled(self, reply: Reply, words: Words) -> object:
        return settled(reply, words)

    # -- words ----------------------------------------------------------------------------------

    def names(self, key: bytes, most: int) -> list[bytes]:
        """Return names of elements: of a large collection from many, of others from few."""
        span = LARGE if key in (b"big", b"large") else 12
        return [b"%d" % self.rng.randrange(span) for _ in range(self.rng.randint(1, most))]

    def set_words(self) -> Words:
        rng = self.rng
        key, other = rng.choice(SETS), rng.choice(SETS)
        draw: list[Words] = [
            ("SADD", key, *self.names(key, 200)),
            ("SADD", key, *self.names(key, 5), "text"),
            ("SREM", key, *self.names(key, 30)),
            ("SMOVE", key, other, *self.names(key, 1)),
            ("SMEMBERS", key),
            ("SCARD", key),
            ("SMISMEMBER", key, *self.names(key, 5)),
            ("SUNION", key, other),
            ("SINTER", key, other),
            ("SDIFF", key, other),
            ("SUNIONSTORE", rng.choice(SETS), key, other),
            ("SINTERSTORE", rng.choice(SETS), key, other),
            ("SDIFFSTORE", rng.choice(SETS), key, other),
            ("SINTERCARD", 2, key, other, "LIMIT", rng.randrange(50)),
            ("COPY", key, other, "REPLACE") if key != other else ("EXISTS", key),
            ("DEL", key) if rng.random() < 0.3 else ("TYPE", key),
            ("PEXPIRE", key, rng.choice([5, 5005])) if rng.random() < 0.3 else ("PTTL", key),
        ]
        return rng.choice(draw)

    def hash_words(self) -> Words:
        rng = self.rng
        key, other = rng.choice(HASHES), rng.choice(HASHES)
        names = self.names(key, 40)
        fields = ("FIELDS", len(names), *names)
        draw: list[Words] = [
            ("HSET", key, *(word for name in names for word in (name, rng.randrange(1000)))),
            ("HSET", key, *(word for name in names for word in (name, rng.randrange(1000)))),
            ("HSETNX", key, names[0], "n"),
            ("HDEL", key, *names),
            ("HMGET", key, *names),
            ("HGETALL", key),
            ("HKEYS", key),
            ("HVALS", key),
            ("HLEN", key),
            ("HINCRBY", key, names[0], rng.randint(-9, 9)),
            ("HPEXPIRE", key, rng.choice([0, 5, 25, 5005]), *fields),
            ("HPEXPIRE", key, rng.choice([5, 25, 5005]), rng.choice(["NX", "XX", "GT"]), *fields),
            ("HPERSIST", key, *fields),
            ("HPTTL", key, *fields),
            ("HGETEX", key, "PX", rng.choice([5, 25, 5005]), *fields),
            ("HGETDEL", key, *fields),
            ("COPY", key, other, "REPLACE") if key != other else ("EXISTS", key),
            ("RENAME", key, other) if rng.random() < 0.2 else ("TYPE", key),
        ]
        return rng.choice(draw)

    def words(self) -> Words:
        return self.set_words() if self.rng.random() < 0.5 else self.hash_words()

    # -- steps ----------------------------------------------------------------------------------

    def step(self) -> None:
        steps = [self.command, self.draw, self.scan, self.transaction, self.disturb]
        self.rng.choices(steps, [10, 3, 2, 3, 3])[0]()

    def draw(self) -> None:
        """Ask for elements at random; what SPOP took leaves the model too."""
        rng = self.rng
        key, count = rng.choice(SETS), rng.choice([1, 3, 50, 10_000])
        if rng.random() < 0.4:
            key = rng.choice(HASHES)
            fields = self.told(("HGETALL", key))
            reply = self.client.ask("HRANDFIELD", key, count, "WITHVALUES")
            pairs = dict(zip(reply[::2], reply[1::2], strict=True))
            assert len(pairs) == min(count, len(fields)) == len(reply) // 2
            assert pairs.items() <= fields.items()
            return
        members = set(self.told(("SMEMBERS", key)))
        repeated = self.client.ask("SRANDMEMBER", key, -count)
        assert len(repeated) == (count if members else 0)
        assert set(repeated) <= members
        chosen = self.client.ask(rng.choice(["SRANDMEMBER", "SPOP"]), key, count)
        assert len(set(chosen)) == len(chosen) == min(count, len(members))
        assert set(chosen) <= members
        left = set(self.client.ask("SMEMBERS", key))
        if left != members:
            assert left == members - set(chosen)
            self.told(("SREM", key, *chosen))

    def scan(self) -> None:
        """Walk a collection with changes in between: what was there throughout is returned."""
        name, key = self.rng.choice([("SSCAN", k) for k in SETS] + [("HSCAN", k) for k in HASHES])
        whole = ("SMEMBERS", key) if name == "SSCAN" else ("HKEYS", key)
        before, seen, cursor = set(self.told(whole)), set(), b"0"
        touched: set[bytes] = set()
        while True:
            cursor, page = self.client.ask(name, key, cursor, "COUNT", 20)
            seen |= set(page if name == "SSCAN" else page[::2])
            if cursor == b"0":
                break
            if self.rng.random() < 0.3:
                self.disturb()
            removed = self.names(key, 5)
            touched |= set(removed)
            words = ("SREM" if name == "SSCAN" else "HDEL", key, *removed)
            assert self.client.ask(*words) == self.told(words)
        still = before & set(self.told(whole))
        assert still - touched <= seen
        assert seen <= before

    def disturb(self) -> None:
        """Let something happen that no client asked for."""
        if not self.disturb_storage(self.rng.randrange(4)):
            self.pass_time()

    def pass_time(self) -> None:
        self.node.clock.advance(self.rng.choice([10, 10, 30]))  # never just to a deadline
        self.node.expire()
        for key in HASHES:  # those whose deadlines only storage knows go when they are met
            self.client.ask("HKEYS", key)


def settled(reply: Reply, words: Sequence[bytes | str | int]) -> object:
    """Return a reply without the order that nobody promises."""
    if isinstance(reply, dict):
        reply = [part for pair in reply.items() for part in pair]
    if isinstance(reply, ReplyPairs) or not isinstance(reply, list | set | frozenset):
        return reply if not isinstance(reply, Exception) else str(reply)
    if words[0] == "HGETALL":
        flat = list(reply)
        return sorted(zip(flat[::2], flat[1::2], strict=True))
    unordered = ("SMEMBERS", "SUNION", "SINTER", "SDIFF", "HKEYS", "HVALS")
    return sorted(reply) if words[0] in unordered else list(reply)


def run(storm: Storm) -> None:
    for _ in range(STEPS):
        storm.step()
    for key in (*SETS, *HASHES):
        storm.ask(("SMEMBERS", key) if key in SETS else ("HGETALL", key))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_replies_are_the_models(seed: int) -> None:
    run(Storm(seed))


@pytest.mark.parametrize("bug", [lost(b"F"), kept(b"F"), lost(b"M"), kept(b"M"), lost(b"H")])
def test_a_planted_bug_is_found(bug: Bug) -> None:
    assert is_found(bug, Storm, run, SEEDS)
