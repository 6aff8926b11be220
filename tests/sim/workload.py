"""Random commands on a few keys: every kind of write that strings, collections and keys know."""

import random

KEYS = [b"k%d" % i for i in range(8)]
SETS = [b"s%d" % i for i in range(3)]
HASHES = [b"h%d" % i for i in range(3)]
ZSETS = [b"z%d" % i for i in range(3)]
LISTS = [b"l%d" % i for i in range(3)]
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

    def hash_key(self) -> bytes:
        return self.rng.choice(HASHES)

    def field(self) -> bytes:
        return b"f%d" % self.rng.randrange(6)

    def fields(self) -> tuple[bytes, ...]:
        """Return FIELDS, a number and so many fields."""
        names = [self.field() for _ in range(self.rng.randint(1, 3))]
        return (b"FIELDS", b"%d" % len(names), *names)

    def hash_command(self) -> tuple[bytes | str, ...]:
        """Return a command on hashes whose reply does not depend on an order or on luck."""
        key, field = self.hash_key, self.field
        draw = [
            lambda: ("HSET", key(), field(), self.value(), field(), b"7"),
            lambda: ("HSET", key(), field(), b"7"),
            lambda: ("HSETNX", key(), field(), self.value()),
            lambda: ("HMGET", key(), field(), field(), field()),
            lambda: ("HDEL", key(), field(), field()),
            lambda: ("HINCRBY", key(), field(), b"3"),
            lambda: ("HINCRBYFLOAT", key(), field(), b"0.5"),
            lambda: ("HLEN", key()),
            lambda: ("HPEXPIRE", key(), self.ms(), *self.fields()),
            lambda: ("HPEXPIRE", key(), self.ms(), "GT", *self.fields()),
            lambda: ("HPERSIST", key(), *self.fields()),
            lambda: ("HPEXPIRETIME", key(), *self.fields()),
            lambda: ("HGETEX", key(), "PX", self.ms(), *self.fields()),
            lambda: ("HGETDEL", key(), *self.fields()),
            lambda: ("HSETEX", key(), "FXX", "PX", self.ms(), "FIELDS", b"1", field(), b"x"),
            lambda: ("SET", key(), b"no hash any more"),
            lambda: ("RENAME", key(), key()),
            lambda: ("COPY", key(), key(), "DB", b"%d" % self.rng.randrange(3), "REPLACE"),
            lambda: ("PEXPIRE", key(), self.ms()),
            lambda: ("OBJECT", "ENCODING", key()),
            lambda: ("DEL", key()),
        ]
        return self.rng.choice(draw)()

    def set_command(self) -> tuple[bytes | str, ...]:
        """The same for sets."""
        key = self.set_key
        draw = [
            lambda: ("SADD", key(), *self.members()),
            lambda: ("SADD", key(), *self.members()),
            lambda: ("SREM", key(), *self.members()),
            lambda: ("SMOVE", key(), key(), b"m1"),
            lambda: ("SPOP", key(), b"0"),
            lambda: ("SORT", key(), "ALPHA"),
            lambda: ("SORT", key(), "ALPHA", "GET", "#", "GET", "k*", "GET", "h*->f1"),
            lambda: ("SMISMEMBER", key(), *self.members()),
            lambda: ("SINTERCARD", b"2", key(), key()),
            lambda: ("SINTERSTORE", key(), key(), key()),
            lambda: ("SUNIONSTORE", key(), key(), key()),
            lambda: ("SDIFFSTORE", key(), key(), key()),
            lambda: ("COPY", key(), key(), "REPLACE"),
            lambda: ("OBJECT", "ENCODING", key()),
        ]
        return self.rng.choice(draw)()

    def zset_key(self) -> bytes:
        return self.rng.choice(ZSETS)

    def score(self) -> bytes:
        return self.rng.choice([b"-inf", b"inf", b"0.5", b"%d" % self.rng.randrange(-5, 5)])

    def ranks(self) -> tuple[bytes, bytes]:
        return b"%d" % self.rng.randrange(-4, 4), b"%d" % self.rng.randrange(-4, 4)

    def scores(self) -> tuple[bytes, ...]:
        """Return pairs of score and member."""
        return tuple(word for member in self.members() for word in (self.score(), member))

    def zset_command(self) -> tuple[bytes | str, ...]:
        """The same for sorted sets."""
        key, score = self.zset_key, self.score
        draw = [
            lambda: ("ZADD", key(), *self.scores()),
            lambda: ("ZADD", key(), *self.scores()),
            lambda: ("ZADD", key(), "GT", "CH", *self.scores()),
            lambda: ("ZADD", key(), "XX", *self.scores()),
            lambda: ("ZINCRBY", key(), b"1.5", b"m1"),
            lambda: ("ZREM", key(), *self.members()),
            lambda: ("ZRANGE", key(), b"0", b"-1", "WITHSCORES"),
            lambda: ("ZRANGE", key(), score(), score(), "BYSCORE", "REV"),
            lambda: ("ZRANK", key(), b"m1"),
            lambda: ("ZMSCORE", key(), *self.members()),
            lambda: ("ZPOPMIN", key()),
            lambda: ("ZPOPMAX", key(), b"3"),
            lambda: ("ZMPOP", b"2", key(), key(), "MIN", "COUNT", b"2"),
            lambda: ("ZREMRANGEBYRANK", key(), *self.ranks()),
            lambda: ("ZREMRANGEBYSCORE", key(), score(), score()),
            lambda: ("ZRANGESTORE", key(), key(), *self.ranks()),
            lambda: ("ZUNIONSTORE", key(), b"2", key(), self.set_key()),
            lambda: ("ZINTERSTORE", key(), b"2", key(), key(), "AGGREGATE", "MIN"),
            lambda: ("ZDIFFSTORE", key(), b"2", key(), key()),
            lambda: ("SET", key(), b"no sorted set any more"),
            lambda: ("RENAME", key(), key()),
            lambda: ("COPY", key(), key(), "DB", b"%d" % self.rng.randrange(3), "REPLACE"),
            lambda: ("PEXPIRE", key(), self.ms()),
            lambda: ("OBJECT", "ENCODING", key()),
            lambda: ("DEL", key()),
        ]
        return self.rng.choice(draw)()

    def list_key(self) -> bytes:
        return self.rng.choice(LISTS)

    def elements(self, most: int) -> list[bytes]:
        return [b"e%d" % self.rng.randrange(5) for _ in range(self.rng.randint(1, most))]

    def end(self) -> str:
        return self.rng.choice(["LEFT", "RIGHT"])

    def list_command(self) -> tuple[bytes | str, ...]:
        """The same for lists."""
        rng, key, elements = self.rng, self.list_key, self.elements
        draw = [
            lambda: ("RPUSH", key(), *elements(9)),
            lambda: ("RPUSH", key(), *elements(9)),
            lambda: ("LPUSH", key(), *elements(4)),
            lambda: ("LPOP", key(), b"%d" % rng.randrange(1, 4)),
            lambda: ("RPOP", key()),
            lambda: ("LREM", key(), rng.choice([b"0", b"1", b"-2"]), *elements(1)),
            lambda: ("LREM", key(), rng.choice([b"1", b"-1"]), *elements(1)),
            lambda: ("LINSERT", key(), "BEFORE", *elements(1), b"new"),
            lambda: ("LINSERT", key(), "AFTER", *elements(1), b"new"),
            lambda: ("LTRIM", key(), rng.choice([b"0", b"1", b"-9"]), rng.choice([b"-1", b"-2"])),
            lambda: ("LSET", key(), rng.choice([b"0", b"2", b"-2"]), b"set"),
            lambda: ("LMOVE", key(), key(), self.end(), self.end()),
            lambda: ("LRANGE", key(), b"0", b"-1"),
            lambda: ("LINDEX", key(), b"2"),
            lambda: ("LPOS", key(), *elements(1)),
            lambda: ("RENAME", key(), key()),
            lambda: ("COPY", key(), key(), "DB", b"%d" % rng.randrange(3), "REPLACE"),
            lambda: ("PEXPIRE", key(), self.ms()),
            lambda: ("DEL", key()),
        ]
        return rng.choice(draw)()

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
        if rng.random() < 0.5:
            kinds = [self.hash_command, self.set_command, self.zset_command, self.list_command]
            return rng.choices(kinds, [4, 3, 3, 4])[0]()
        return rng.choice(draw)()

    def script(self) -> list[tuple[bytes | str, ...]]:
        """Return a few commands to be sent at once; what it begins, it ends."""
        commands = [self.one() for _ in range(self.rng.randint(1, 4))]
        if self.rng.random() < 0.3:
            commands = [("MULTI",), *commands, (self.rng.choice(["EXEC", "EXEC", "DISCARD"]),)]
        if self.watches and self.rng.random() < 0.3:
            commands.insert(0, ("WATCH", self.key(), self.key()))
        return commands
