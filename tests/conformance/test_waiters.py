"""Clients that wait on lists and sorted sets: the same wake-ups on redis-server and kvnode.

The programs are random, from seeds.

A step is over when everybody it served has been served; so both servers see the same order, and
what each client gets after each step must be the same.

redis-server 7.0 gives a client that waits on several keys the one that got data first, later
versions and kvnode run its command again. So either clients wait on several keys, or a transaction
gives several keys data.
"""

import random
import re
import time

import pytest

from tests.support.process import ServerProcess
from tests.support.resp import encode

CLIENTS = 5
STEPS = 60
KEYS = ("a", "b", "c")
SECONDS_MAX = 5.0
CLIENT = re.compile(rb"id=(\d+) .* flags=(\S+) .* cmd=(\S+)")


class Crowd:
    """Clients of one server, and one that never waits."""

    def __init__(self, server: ServerProcess) -> None:
        self.control = server.connect(SECONDS_MAX)
        self.control.call("FLUSHALL")
        self.clients = [server.connect(SECONDS_MAX) for _ in range(CLIENTS)]
        self.ids = [client.call("CLIENT", "ID") for client in self.clients]
        self.waiting: dict[int, list[str]] = {}  # client -> its command, in order of arrival

    def states(self) -> dict[int, tuple[bool, bytes]]:
        """Return of each client whether it waits, and its last command."""
        lines = self.control.call("CLIENT", "LIST").splitlines()
        found = [CLIENT.search(line) for line in lines]
        by_id = {int(m[1]): (b"b" in m[2], m[3]) for m in found if m is not None}
        return {i: by_id[id] for i, id in enumerate(self.ids)}

    def run(self, who: int | None, commands: list[list[str]]) -> dict[int | None, object]:
        """Take a step; return what each client got."""
        got: dict[int | None, object] = {}
        if who is None:
            self.control.send(b"".join(encode(*words) for words in commands))
            got[None] = [self.control.receive() for _ in commands]
        elif who not in self.waiting:
            [words] = commands
            self.begin(who, words)
        states = self.states()
        for i in sorted(self.waiting):
            if not states[i][0]:
                got[i] = self.clients[i].receive()
                self.clients[i].call("PING")
                del self.waiting[i]
        return got

    def begin(self, who: int, words: list[str]) -> None:
        """Send a command that may wait; return once it has begun."""
        name = words[0].lower().encode()
        self.clients[who].send(encode(*words))
        self.waiting[who] = words
        deadline = time.monotonic() + SECONDS_MAX
        while self.states()[who][1] != name:
            assert time.monotonic() < deadline, f"{name!r} never ran"

    def close(self) -> None:
        for connection in (self.control, *self.clients):
            connection.close()


class SortedSets:
    """Commands on sorted sets."""

    def wait(self, draw: random.Random, keys: list[str]) -> list[str]:
        if draw.random() < 0.3:
            end = draw.choice(("MIN", "MAX"))
            return ["BZMPOP", "0", str(len(keys)), *keys, end, "COUNT", str(draw.randint(1, 3))]
        return [draw.choice(("BZPOPMIN", "BZPOPMAX")), *keys, "0"]

    def give(self, draw: random.Random, key: str, number: int) -> list[str]:
        members = range(draw.randint(1, 4))
        scored = ((str(draw.randint(0, 9)), f"{number}.{m}") for m in members)
        return ["ZADD", key, *(word for pair in scored for word in pair)]

    def other(self, draw: random.Random) -> list[str]:
        source, target = draw.choices(KEYS, k=2)
        return draw.choice(
            (
                ["DEL", source],
                ["ZADD", "other", "1", f"m{draw.randrange(100)}", "2", "n"],
                ["RENAME", "other", target],
                ["COPY", "other", target, "REPLACE"],
                ["ZUNIONSTORE", target, "2", "other", source],
                ["SADD", "set", "x", "y"],
                ["ZUNIONSTORE", target, "1", "set"],
            )
        )


class Lists:
    """Commands on lists. Moves wait on one key only: they give several keys data at once."""

    def wait(self, draw: random.Random, keys: list[str]) -> list[str]:
        end = draw.choice(("LEFT", "RIGHT"))
        if draw.random() < 0.3:
            return ["BLMPOP", "0", str(len(keys)), *keys, end, "COUNT", str(draw.randint(1, 3))]
        if len(keys) == 1 and draw.random() < 0.5:
            return ["BLMOVE", keys[0], draw.choice(KEYS), end, draw.choice(("LEFT", "RIGHT")), "0"]
        return [draw.choice(("BLPOP", "BRPOP")), *keys, "0"]

    def give(self, draw: random.Random, key: str, number: int) -> list[str]:
        elements = [f"{number}.{i}" for i in range(draw.randint(1, 4))]
        return [draw.choice(("LPUSH", "RPUSH")), key, *elements]

    def other(self, draw: random.Random) -> list[str]:
        source, target = draw.choices(KEYS, k=2)
        return draw.choice(
            (
                ["DEL", source],
                ["RPUSH", "other", f"e{draw.randrange(100)}", "f"],
                ["RENAME", "other", target],
                ["COPY", "other", target, "REPLACE"],
                ["LMOVE", "other", target, "LEFT", "RIGHT"],
                ["SORT", "other", "ALPHA", "STORE", target],
            )
        )


Words = SortedSets | Lists


def program(seed: int, words: Words) -> list[tuple[int | None, list[list[str]]]]:
    """Return steps: (client, or None for the one that never waits; commands)."""
    draw = random.Random(seed)
    several_keys = seed % 2 == 0
    steps: list[tuple[int | None, list[list[str]]]] = []
    for number in range(STEPS):
        keys = draw.sample(KEYS, draw.randint(2, 3) if several_keys else 1)
        kind = draw.randrange(10)
        if kind < 5:
            steps.append((draw.randrange(CLIENTS), [words.wait(draw, keys)]))
        elif kind < 7:
            steps.append((None, [words.give(draw, draw.choice(KEYS), number)]))
        elif kind == 7:
            given = [draw.choice(KEYS)] * 3 if several_keys else draw.choices(KEYS, k=3)
            gifts = [words.give(draw, key, number * 10 + i) for i, key in enumerate(given)]
            steps.append((None, [["MULTI"], *gifts, ["EXEC"]]))
        else:
            steps.append((None, [words.other(draw)]))
    return steps


class Impatient(Crowd):
    """A planted fault: whoever came first goes to the end of the queue."""

    def run(self, who: int | None, commands: list[list[str]]) -> dict[int | None, object]:
        if who is None and self.waiting:
            first = next(iter(self.waiting))
            self.control.call("CLIENT", "UNBLOCK", self.ids[first])
            self.clients[first].receive()
            self.clients[first].call("PING")
            self.begin(first, self.waiting.pop(first))
        return super().run(who, commands)


def difference(seed: int, words: Words, crowds: tuple[Crowd, Crowd]) -> str | None:
    """Run a program on both; return the first step that differs, None if none does."""
    try:
        for number, (who, commands) in enumerate(program(seed, words)):
            expected, actual = (crowd.run(who, commands) for crowd in crowds)
            if str(actual) != str(expected):
                return f"step {number}: {who}> {commands}\n{expected}\n{actual}"
    finally:
        for crowd in crowds:
            crowd.close()
    return None


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("words", [SortedSets(), Lists()], ids=["zset", "list"])
def test_the_same_clients_are_served(
    seed: int, words: Words, redis_server: ServerProcess, kvnode_server: ServerProcess
) -> None:
    assert difference(seed, words, (Crowd(redis_server), Crowd(kvnode_server))) is None


def test_a_lost_place_is_noticed(redis_server: ServerProcess, kvnode_server: ServerProcess) -> None:
    assert any(
        difference(seed, SortedSets(), (Crowd(redis_server), Impatient(kvnode_server)))
        for seed in range(4)
    )
