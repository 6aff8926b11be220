"""What is counted: RESP bytes that prepare the data, and bytes that are then repeated."""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass

from bench import scripts

KEYS = 10_000
BIG_KEYS = 100
OPERATIONS = 1_000  # per round
MSET_KEYS = 10
GROUP_SETS = 5
SEED = 20


@dataclass(frozen=True)
class Scenario:
    """`prepare` runs once and is not counted; `round` holds `operations` operations."""

    name: str
    prepare: bytes
    round: bytes
    operations: int
    pieces: int = 1  # reads in which a round arrives: 1,000 are one request each

    def arrivals(self) -> Iterator[bytes]:
        """Yield the round as the socket would deliver it; pieces may cut a request in two."""
        size = -(-len(self.round) // self.pieces)
        for start in range(0, len(self.round), size):
            yield self.round[start : start + size]


def command(*words: bytes) -> bytes:
    """Return one request in RESP."""
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


def key(number: int, prefix: bytes = b"key:") -> bytes:
    """Return a key named as redis-benchmark names it."""
    return prefix + b"%012d" % number


def script_scenarios(picks: list[bytes], value: bytes) -> list[Scenario]:
    """Return those of EVALSHA, and of MULTI and EXEC."""
    loads = b"".join(command(b"SCRIPT", b"LOAD", one.text.encode()) for one in scripts.ALL)

    def call(words: tuple[str, ...]) -> bytes:
        return command(*(os.fsencode(word) for word in words))

    gets = [call(scripts.READ.command(os.fsdecode(name))) for name in picks]
    group = [
        b"".join(command(b"SET", name, value) for name in picks[i : i + GROUP_SETS])
        for i in range(0, OPERATIONS, GROUP_SETS)
    ]
    execs = [command(b"MULTI") + sets + command(b"EXEC") for sets in group]
    return [
        Scenario("EVALSHA, GET", loads, b"".join(gets), OPERATIONS),
        Scenario(
            "EVALSHA, INCR of one",
            b"",
            call(scripts.COUNT.command("script:counter")) * OPERATIONS,
            OPERATIONS,
        ),
        Scenario("EVALSHA, 10 calls", b"", call(scripts.job_command()) * OPERATIONS, OPERATIONS),
        Scenario("MULTI, 5 SETs, EXEC", b"", b"".join(execs), len(execs)),
    ]


def scenarios() -> list[Scenario]:
    """Return all scenarios; the same bytes on every call."""
    draw = random.Random(SEED)
    value, big = b"x" * 64, b"x" * 16_384
    picks = [key(draw.randrange(KEYS)) for _ in range(OPERATIONS)]
    counters = [key(draw.randrange(KEYS), b"counter:") for _ in range(OPERATIONS)]
    bigs = [key(draw.randrange(BIG_KEYS), b"big:") for _ in range(OPERATIONS // 10)]
    loaded = b"".join(command(b"SET", key(number), value) for number in range(KEYS))
    bigs_loaded = b"".join(command(b"SET", key(number, b"big:"), big) for number in range(BIG_KEYS))
    msets = [
        command(b"MSET", *(word for name in picks[i : i + MSET_KEYS] for word in (name, value)))
        for i in range(0, OPERATIONS, MSET_KEYS)
    ]
    members = [key(number, b"element:") for number in range(KEYS)]
    places = draw.sample(range(KEYS), KEYS)
    scored = b"".join(
        command(b"ZADD", b"zset", b"%d" % place, name)
        for name, place in zip(members, places, strict=True)
    )
    zincrs = [
        command(b"ZINCRBY", b"zset", b"%d" % draw.randrange(KEYS), draw.choice(members))
        for _ in range(OPERATIONS)
    ]
    zscores = [command(b"ZSCORE", b"zset", draw.choice(members)) for _ in range(OPERATIONS)]
    zpops = [
        command(b"ZADD", b"zset", b"-1", name) + command(b"ZPOPMIN", b"zset")
        for name in members[: OPERATIONS // 2]
    ]
    some = [draw.choice(members) for _ in range(OPERATIONS)]
    added = b"".join(command(b"SADD", b"set", name) for name in members)
    srems = [
        command(b"SREM", b"set", name) + command(b"SADD", b"set", name)
        for name in some[: OPERATIONS // 2]
    ]
    hsets = b"".join(command(b"HSET", b"hash", name, value) for name in some)
    hgets = b"".join(command(b"HGET", b"hash", name) for name in some)
    pushes = b"".join(command(b"RPUSH", b"list", name) for name in members)
    queue = command(b"RPUSH", b"list", value) + command(b"LPOP", b"list")
    pages = OPERATIONS // 10
    lranges = command(b"LRANGE", b"list", b"0", b"99") * pages
    gets = b"".join(command(b"GET", name) for name in picks)
    sets = b"".join(command(b"SET", name, value) for name in picks)
    return [
        Scenario("PING", b"", command(b"PING") * OPERATIONS, OPERATIONS),
        Scenario("GET", loaded, gets, OPERATIONS),
        Scenario("GET, one a pass", b"", gets, OPERATIONS, pieces=OPERATIONS),
        Scenario("GET, absent", b"", gets.replace(b"key:", b"not:"), OPERATIONS),
        Scenario("SET", b"", sets, OPERATIONS),
        Scenario("SET, one a pass", b"", sets, OPERATIONS, pieces=OPERATIONS),
        Scenario("INCR", b"", b"".join(command(b"INCR", name) for name in counters), OPERATIONS),
        Scenario("MSET of 10", b"", b"".join(msets), len(msets)),
        Scenario(
            "GET of 16 KB", bigs_loaded, b"".join(command(b"GET", name) for name in bigs), len(bigs)
        ),
        Scenario("ZINCRBY", scored, b"".join(zincrs), OPERATIONS),
        Scenario("ZSCORE", b"", b"".join(zscores), OPERATIONS),
        Scenario("ZADD, ZPOPMIN", b"", b"".join(zpops), OPERATIONS),
        Scenario(
            "ZRANGE of 100",
            b"",
            command(b"ZRANGE", b"zset", b"0", b"99") * (OPERATIONS // 10),
            OPERATIONS // 10,
        ),
        Scenario("SREM, SADD", added, b"".join(srems), OPERATIONS),
        Scenario("SCARD", b"", command(b"SCARD", b"set") * OPERATIONS, OPERATIONS),
        Scenario("HSET", b"", hsets, OPERATIONS),
        Scenario("HGET", b"", hgets, OPERATIONS),
        Scenario("RPUSH, LPOP", pushes, queue * (OPERATIONS // 2), OPERATIONS),
        Scenario("LLEN", b"", command(b"LLEN", b"list") * OPERATIONS, OPERATIONS),
        Scenario("LRANGE of 100", b"", lranges, pages),
        *script_scenarios(picks, value),
    ]
