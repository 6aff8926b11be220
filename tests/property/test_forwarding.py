"""Forwarding by chance: as a direct client gets it; and each command once, whatever breaks."""

import random
import re
from collections.abc import Callable

import pytest

from tests.support import forwarding_ledger
from tests.support.forwarding import Client, Group
from tests.support.forwarding_ledger import Broken, Storm
from tests.support.resp import encode

STORMS = 100
STORM_STEPS = 700
PLANTED_STORMS = 150
ID = re.compile(rb"(\$2\r\nid\r\n:)\d+")
WORDS = (b"1", b"v", b"10", b"", b"x y", b"3.5")


def command(rng: random.Random, key: bytes) -> bytes:
    """Return a command, in the form in which a client sends it."""
    names = (key + b":a", key + b":b", key + b":l")
    a, b, items = names
    word = rng.choice(WORDS)
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: encode("SET", a, word),
        lambda: encode("GET", a),
        lambda: encode("INCR", a),
        lambda: encode("APPEND", b, word * 50),
        lambda: encode("MGET", a, b),
        lambda: encode("RPUSH", items, word),
        lambda: encode("LRANGE", items, 0, -1),
        lambda: encode("BLPOP", items, items, 1),
        lambda: encode("DEL", *names),
        lambda: encode("SET", b, rng.randbytes(rng.choice((10, 70_000, 600_000)))),
        lambda: encode("STRLEN", b),
        lambda: encode("GETRANGE", b, 0, 100_000),
        lambda: encode("EVAL", "return redis.call('INCRBY', KEYS[1], ARGV[1])", 1, a, word),
        lambda: encode("SELECT", rng.choice((b"0", b"3", b"77"))),
        lambda: encode("HSET", key + b":h", "f", word),
        lambda: encode("HGETALL", key + b":h"),
        lambda: encode("PING"),
        lambda: encode("ECHO", word),
        lambda: encode("CLIENT", "SETNAME", rng.choice((b"bob", b"x y"))),
        lambda: encode("CLIENT", "GETNAME"),
        lambda: encode("CLIENT", "REPLY", rng.choice((b"ON", b"OFF", b"SKIP", b"SKIP"))),
        lambda: encode("HELLO", rng.choice((b"2", b"3", b"4"))),
        lambda: encode("COMMAND", "COUNT"),
        lambda: encode("NOSUCH", word),
        lambda: encode("GET"),
        lambda: encode("CLIENT", "NOSUCH"),
        lambda: encode("WATCH", a, b),
        lambda: encode("UNWATCH"),
        lambda: encode("EXEC"),
        lambda: encode("DISCARD"),
        lambda: encode("RESET"),
        lambda: b"\r\n",
        lambda: b"*0\r\n",
        lambda: b"GET '%b'\r\n" % a,
        lambda: b"get\r\n",
        lambda: transaction(rng, a, b),
        lambda: transaction(rng, a, b),
    )
    return rng.choice(kinds)()


def transaction(rng: random.Random, a: bytes, b: bytes) -> bytes:
    inner = (
        encode("INCR", a),
        encode("GET", b),
        encode("PING"),
        encode("ECHO", "e"),
        encode("SELECT", 3),
        encode("NOSUCH"),
        encode("MULTI"),
        encode("WATCH", a),
        encode("GET"),
    )
    commands = [rng.choice(inner[:4] if rng.random() < 0.8 else inner) for _ in range(3)]
    end = rng.choice(("EXEC", "EXEC", "DISCARD", "RESET"))
    return encode("MULTI") + b"".join(commands) + encode(end)


def cut(rng: random.Random, data: bytes) -> list[bytes]:
    places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(4)))
    return [data[i:j] for i, j in zip((0, *places), (*places, len(data)), strict=True)]


@pytest.mark.parametrize("seed", range(60))
def test_through_followers_as_directly(seed: int) -> None:
    """Clients have keys of their own, so their replies do not depend on each other."""
    rng = random.Random(seed)
    group, direct = Group(2, seed), Group(0, seed)
    clients: list[tuple[Client, Client]] = [
        (group.client(node), direct.client(direct.leader)) for node in group.followers * 2
    ]
    scripts: list[list[bytes]] = []
    for n in range(len(clients)):
        key = b"key-%d" % n
        data = b"".join(command(rng, key) for _ in range(60))
        if rng.random() < 0.3:
            data += rng.choice((b"*1\r\n:5\r\n", encode("QUIT"), b"GET '\r\n"))
        scripts.append(cut(rng, data))
    while any(scripts):
        n = rng.randrange(len(clients))
        if scripts[n]:
            part = scripts[n].pop(0)
            for client in clients[n]:
                client.send(part)
        for _ in range(rng.randrange(6)):
            group.net.deliver(rng.choice(rng.choice(group.net.links)), rng.randrange(3))
            rng.choice(group.nodes).work()
            rng.choice(group.clients).take()
    for each in (group, direct):
        each.settle()
        each.tick(2000)
    for forwarded, own in clients:
        assert ID.sub(rb"\1", forwarded.output) == ID.sub(rb"\1", own.output)
        assert forwarded.is_closed == own.is_closed
    group.check()
    assert group.net.errors == []
    assert len(group.mirrors()) <= len(clients)


def test_each_command_once_whatever_breaks() -> None:
    for seed in range(STORMS):
        storm = Storm(seed)
        storm.run(STORM_STEPS)


@pytest.mark.parametrize(
    "plant",
    [
        forwarding_ledger.obey_old_links,
        forwarding_ledger.send_again,
        forwarding_ledger.answer_too_early,
        forwarding_ledger.run_what_is_returned,
    ],
)
def test_a_planted_bug_is_found(plant: Callable[[Storm], None]) -> None:
    for seed in range(PLANTED_STORMS):
        try:
            Storm(seed, plant).run(STORM_STEPS)
        except Broken:
            return
    raise AssertionError("nobody noticed")
