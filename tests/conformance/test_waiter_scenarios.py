"""Cases of waiting that have gone wrong in servers before: redis-server and kvnode must agree.

Clients that wait on several keys are left out where redis-server 7.0 differs, see test_waiters.

A step is one client's command, or a pipeline of the client that never waits; after each step, what
every client got must be the same on both.
"""

import pytest

from tests.conformance.test_waiters import Crowd
from tests.support.process import ServerProcess

Step = tuple[int | None, str]  # client, or None for the one that never waits; commands by ";"

SCENARIOS: dict[str, list[Step]] = {
    "made anew as another type": [
        (0, "BLPOP k 0"),
        (1, "BZPOPMIN k 0"),
        (None, "SET k v"),
        (None, "DEL k;SADD k m"),
        (None, "DEL k;ZADD k 1 m"),
        (None, "ZADD k 2 n;DEL k;RPUSH k a"),
    ],
    "made anew inside of a transaction": [
        (0, "BLPOP k 0"),
        (None, "MULTI;RPUSH k a;DEL k;EXEC"),
        (None, "MULTI;RPUSH k a;DEL k;ZADD k 1 m;EXEC"),
        (None, "MULTI;DEL k;RPUSH k b c;LPOP k;EXEC"),
    ],
    "another type is there": [
        (None, "SET k v"),
        (0, "BLPOP k 0"),
        (1, "BLMOVE k l LEFT LEFT 0"),
        (2, "BZPOPMIN none k 0"),
        (None, "DEL k"),
    ],
    "blocking commands inside of a transaction": [
        (None, "MULTI;BLPOP k 0;BLMOVE k l LEFT RIGHT 0;BRPOPLPUSH k l 0;BZPOPMIN k 0;EXEC"),
        (
            None,
            "MULTI;BLMPOP 0 1 k LEFT;BZMPOP 0 1 k MIN;EXEC",
        ),
        (
            None,
            "MULTI;RPUSH k a b;BLPOP k 0;BLMOVE k l LEFT RIGHT 0;EXEC",
        ),
        (None, "LRANGE l 0 -1;EXISTS k"),
    ],
    "fed inside of a transaction that also takes": [
        (0, "BLPOP k 0"),
        (None, "MULTI;RPUSH k a;BLPOP k 0;EXEC"),
        (None, "MULTI;RPUSH k a b c;LPOP k;EXEC"),
        (None, "LRANGE k 0 -1"),
    ],
    "a chain of moves": [
        (0, "BLMOVE a b LEFT RIGHT 0"),
        (1, "BLMOVE b c LEFT RIGHT 0"),
        (2, "BLPOP c 0"),
        (None, "RPUSH a x y z"),
        (None, "LRANGE a 0 -1;LRANGE b 0 -1;LRANGE c 0 -1"),
    ],
    "a chain whose last link came first": [
        (2, "BLPOP c 0"),
        (1, "BLMOVE b c LEFT RIGHT 0"),
        (0, "BRPOPLPUSH a b 0"),
        (3, "BLPOP b 0"),
        (None, "MULTI;RPUSH b p;RPUSH a x y;EXEC"),
        (None, "LRANGE a 0 -1;LRANGE b 0 -1;LRANGE c 0 -1"),
    ],
    "a ring of moves": [
        (0, "BLMOVE a b LEFT RIGHT 0"),
        (1, "BLMOVE b a LEFT RIGHT 0"),
        (2, "BLMOVE a a LEFT RIGHT 0"),
        (None, "RPUSH a x"),
        (None, "LRANGE a 0 -1;LRANGE b 0 -1"),
    ],
    "a move to another type": [
        (0, "BLMOVE a t LEFT RIGHT 0"),
        (1, "BLPOP a 0"),
        (None, "SET t v"),
        (None, "RPUSH a x"),
        (None, "EXISTS a"),
    ],
    "sorted sets in transactions": [
        (0, "BZPOPMIN z 0"),
        (1, "BZPOPMAX z 0"),
        (2, "BZMPOP 0 1 z MIN COUNT 2"),
        (None, "MULTI;ZADD z 1 a;ZREM z a;EXEC"),
        (None, "MULTI;ZADD z 1 a 2 b 3 c;ZINCRBY z 9 a;EXEC"),
        (None, "ZRANGE z 0 -1 WITHSCORES"),
    ],
    "what creates nothing wakes nobody": [
        (0, "BLPOP k 0"),
        (1, "BZPOPMIN k 0"),
        (None, "LPUSHX k a;RPUSHX k a;ZADD k XX 1 m;ZADD k XX INCR 1 m;LINSERT k BEFORE a b"),
        (None, "ZADD other GT 1 m;ZUNIONSTORE k 1 none;SORT none STORE k;ZRANGESTORE k none 0 -1"),
        (None, "ZADD k NX GT 1 m;ZADD k NX 1 m"),
    ],
    "what brings data besides a push": [
        (0, "BLPOP a 0"),
        (1, "BLPOP b 0"),
        (2, "BZPOPMIN c 0"),
        (3, "BLPOP d 0"),
        (None, "RPUSH src 2 1;RENAME src a"),
        (None, "RPUSH src 2 1;SORT src STORE b"),
        (None, "ZADD zsrc 1 m 2 n;ZRANGESTORE c zsrc 1 1"),
        (None, "COPY src d"),
        (3, "BZPOPMAX c 0"),
        (None, "ZINTERSTORE c 1 zsrc"),
    ],
    "another database": [
        (0, "BLPOP k 0"),
        (None, "SELECT 1;RPUSH k a;SELECT 0"),
        (None, "SELECT 1;MOVE k 0;SELECT 0"),
        (0, "BLPOP k 0"),
        (None, "SELECT 1;RPUSH k b;SWAPDB 0 1;SELECT 0"),
        (1, "BLPOP k 0"),
        (None, "FLUSHALL;RPUSH k c"),
    ],
    "the same key twice": [
        (0, "BLPOP k k 0"),
        (1, "BLPOP k j k 0"),
        (None, "RPUSH k a"),
        (None, "RPUSH k b c"),
        (None, "EXISTS j k"),
    ],
    "unblocked by another client": [
        (0, "BLPOP k 0"),
        (1, "BLPOP k 0"),
        (2, "BLPOP k 0"),
        (None, "CLIENT UNBLOCK {0}"),
        (None, "CLIENT UNBLOCK {1} ERROR"),
        (None, "CLIENT UNBLOCK {1} ERROR;CLIENT UNBLOCK {3}"),
        (None, "RPUSH k a b"),
        (None, "LRANGE k 0 -1"),
    ],
    "timeouts of the same millisecond": [
        (None, "CLIENT PAUSE 1 WRITE"),
        (0, "BLPOP k 0.01"),
        (1, "BZPOPMIN k 0.01"),
        (2, "BLMOVE k l LEFT RIGHT 0.01"),
        (None, "EXISTS k"),
    ],
    "expiry while somebody waits": [
        (None, "RPUSH k a;PEXPIREAT k 1"),
        (0, "BLPOP k 0"),
        (None, "RPUSH src b;PEXPIREAT src 1;RENAME src k"),
        (None, "MULTI;RPUSH k c;PEXPIREAT k 1;EXEC"),
        (None, "RPUSH k d"),
    ],
}


def play(crowd: Crowd, steps: list[Step]) -> list[str]:
    """Return what happened after each step."""
    happened = []
    try:
        for who, text in steps:
            ids = dict(enumerate(crowd.ids))
            commands = [line.split() for line in text.format(*ids.values()).split(";")]
            happened.append(f"{who}> {text}: {crowd.run(who, commands)}")
    finally:
        crowd.close()
    return happened


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_do_the_same(
    name: str, redis_server: ServerProcess, kvnode_server: ServerProcess
) -> None:
    steps = SCENARIOS[name]
    assert play(Crowd(kvnode_server), steps) == play(Crowd(redis_server), steps)
