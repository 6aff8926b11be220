"""Random commands on a few keys: every kind of write that strings, sets and keys know."""

import random

KEYS = [b"k%d" % i for i in range(8)]
SETS = [b"s%d" % i for i in range(3)]
SIZES = [0, 1, 5, 100, 32_768, 32_769, 50_000]
OFFSETS = [0, 3, 16_384, 30_000, 40_000]


RARE = (("FLUSHDB",), ("FLUSHALL",), ("SWAPDB", "0", "1"), ("SWAPDB", "1", "2"))


class Workload:
    """Draws commands. watches: whether WATCH is among them. rare: commands that come seldom."""

    def __init__(
        self,
        rng: random.Random,
        *,
        watches: bool = False,
        rare: tuple[tuple[str, ...], ...] = RARE,
    ) -> None:
        self.rng = rng
        self.watches = watches
        self.rare = rare

    def key(self) -> bytes:
        return self.rng.choice(KEYS)

    def set_key(self) -> bytes:
        return self.rng.choice(SETS)

    def members(self) -> list[bytes]:
        return [b"m%d" % self.rng.randrange(12) for _ in range(self.rng.randint(1, 6))]

    def value(self) -> bytes:
        size = self.rng.choice(SIZES)
        return (b"%d" % self.rng.randrange(1000)) if size < 5 else self.rng.randbytes(1) * size

    def ms(self) -> bytes:
        return self.rng.choice([b"1", b"30", b"5000"])

    def one(self) -> tuple[bytes | str, ...]:
        """Return one command."""
        rng, key = self.rng, self.key
        draw = [
            lambda: ("GET", key()),
            lambda: ("MGET", key(), key(), key()),
            lambda: ("SET", key(), self.value()),
            lambda: ("SET", key(), self.value(), "PX", self.ms()),
            lambda: ("SET", key(), self.value(), "GET"),
            lambda: ("SETNX", key(), self.value()),
            lambda: ("MSET", key(), self.value(), key(), self.value()),
            lambda: ("INCR", key()),
            lambda: ("APPEND", key(), self.value()),
            lambda: ("SETRANGE", key(), b"%d" % rng.choice(OFFSETS), self.value()),
            lambda: ("GETRANGE", key(), b"%d" % rng.choice(OFFSETS), b"-1"),
            lambda: ("SADD", self.set_key(), *self.members()),
            lambda: ("SADD", self.set_key(), *self.members()),
            lambda: ("SREM", self.set_key(), *self.members()),
            lambda: ("SCARD", self.set_key()),
            lambda: ("SISMEMBER", self.set_key(), b"m1"),
            lambda: ("SET", self.set_key(), b"no set any more"),
            lambda: ("RENAME", self.set_key(), self.set_key()),
            lambda: ("PEXPIRE", self.set_key(), self.ms()),
            lambda: ("DEL", self.set_key()),
            lambda: ("MOVE", self.set_key(), b"%d" % rng.randrange(3)),
            lambda: ("DEL", key(), key()),
            lambda: ("EXISTS", key(), key()),
            lambda: ("RENAME", key(), key()),
            lambda: ("RENAMENX", key(), key()),
            lambda: ("COPY", key(), key(), "DB", b"%d" % rng.randrange(3), "REPLACE"),
            lambda: ("MOVE", key(), b"%d" % rng.randrange(3)),
            lambda: ("PEXPIRE", key(), self.ms()),
            lambda: ("PERSIST", key()),
            lambda: ("PTTL", key()),
            lambda: ("SELECT", b"%d" % rng.randrange(3)),
        ]
        if self.rare and rng.random() < 0.04:
            return rng.choice(self.rare)
        return rng.choice(draw)()

    def script(self) -> list[tuple[bytes | str, ...]]:
        """Return a few commands to be sent at once; what it begins, it ends."""
        commands = [self.one() for _ in range(self.rng.randint(1, 4))]
        if self.rng.random() < 0.3:
            commands = [("MULTI",), *commands, (self.rng.choice(["EXEC", "EXEC", "DISCARD"]),)]
        if self.watches and self.rng.random() < 0.3:
            commands.insert(0, ("WATCH", self.key(), self.key()))
        return commands
