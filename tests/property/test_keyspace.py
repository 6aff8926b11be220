"""Random commands on the native handlers and on the naive keyspace: the same answers, however the
records lie: in memory, on the disk behind it, in one batch or rolled back and run again.
"""

import random

import pytest

from kvnode.commands import table
from kvnode.server.local import native_handlers
from tests.reference.keyspace import Keyspace, unordered
from tests.support.local import LocalClient
from tests.support.prompt_node import PromptNode
from tests.support.resp import ErrorReply

STEPS = 1000
DATABASES = 3
KEYS = [b"k%d" % i for i in range(6)]
NUMBERS = [b"0", b"1", b"-1", b"7", b"100", b"-3", b"9223372036854775807", b"-9223372036854775808"]
BAD_NUMBERS = [b"", b" 1", b"01", b"1.5", b"x", b"9223372036854775808"]
SIZES = [0, 1, 5, 44, 45, 16383, 16384, 16385, 32767, 32768, 32769, 49152, 70000]
OFFSETS = [0, 1, 10, 16380, 16384, 32760, 32768, 40000, 65536, 100000]


class Workload:
    """Draws commands; most of them make sense."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def key(self) -> bytes:
        return self.rng.choice(KEYS)

    def number(self) -> bytes:
        return self.rng.choice(BAD_NUMBERS if self.rng.random() < 0.1 else NUMBERS)

    def value(self) -> bytes:
        kind = self.rng.random()
        if kind < 0.3:
            return self.number()
        if kind < 0.7:
            return self.rng.choice([b"", b"abc", b"1.5", b"axbycz", b"embstr" * 8, b"\0\r\n"])
        size = self.rng.choice(SIZES)
        return (self.rng.randbytes(7) * (size // 7 + 1))[:size]

    def milliseconds(self) -> bytes:
        return self.rng.choice([b"1", b"20", b"50", b"100000"])

    def command(self, now_ms: int) -> tuple[str, *tuple[bytes, ...]]:
        rng, key = self.rng, self.key
        draw = [
            lambda: ("GET", key()),
            lambda: ("SET", key(), self.value()),
            lambda: ("SET", key(), self.value(), *self.set_options(now_ms)),
            lambda: ("SETNX", key(), self.value()),
            lambda: ("PSETEX", key(), self.milliseconds(), self.value()),
            lambda: ("GETSET", key(), self.value()),
            lambda: ("GETDEL", key()),
            lambda: ("GETEX", key(), *rng.choice([(), (b"PERSIST",), (b"PX", b"30")])),
            lambda: ("MGET", *[key() for _ in range(rng.randint(1, 8))]),
            lambda: ("MSET", *self.pairs()),
            lambda: ("MSETNX", *self.pairs()),
            lambda: (rng.choice(["INCR", "DECR"]), key()),
            lambda: (rng.choice(["INCRBY", "DECRBY"]), key(), self.number()),
            lambda: ("INCRBYFLOAT", key(), rng.choice([b"0.5", b"-1.25", b"3", b"x"])),
            lambda: ("APPEND", key(), self.value()),
            lambda: ("STRLEN", key()),
            lambda: (rng.choice(["GETRANGE", "SUBSTR"]), key(), self.offset(), self.offset()),
            lambda: ("SETRANGE", key(), self.offset(), self.value()),
            lambda: (rng.choice(["DEL", "UNLINK", "EXISTS", "TOUCH"]), key(), key()),
            lambda: ("TYPE", key()),
            lambda: (rng.choice(["RENAME", "RENAMENX"]), key(), key()),
            lambda: ("COPY", key(), key(), *self.copy_options()),
            lambda: ("MOVE", key(), self.database()),
            lambda: ("PEXPIRE", key(), self.milliseconds(), *self.conditions()),
            lambda: ("PEXPIREAT", key(), b"%d" % (now_ms + rng.randint(-5, 60))),
            lambda: (rng.choice(["PERSIST", "PTTL", "PEXPIRETIME"]), key()),
            lambda: ("KEYS", b"*"),
            lambda: ("SELECT", self.database()),
            lambda: ("SWAPDB", self.database(), self.database()),
            lambda: (rng.choices(["FLUSHDB", "FLUSHALL"], [2, 1])[0],),
        ]
        weights = [3] * 26 + [1, 1, 0.3, 0.2]
        return rng.choices(draw, weights)[0]()

    def offset(self) -> bytes:
        if self.rng.random() < 0.1:
            return self.number()
        return b"%d" % (self.rng.choice(OFFSETS) * self.rng.choice([1, 1, 1, -1]))

    def pairs(self) -> list[bytes]:
        return [x for _ in range(self.rng.randint(1, 4)) for x in (self.key(), self.value())]

    def database(self) -> bytes:
        return b"%d" % self.rng.randrange(DATABASES)

    def conditions(self) -> list[bytes]:
        return self.rng.choice([[], [b"NX"], [b"XX"], [b"GT"], [b"LT"], [b"XX", b"LT"]])

    def copy_options(self) -> list[bytes]:
        options = [b"DB", self.database()] if self.rng.random() < 0.5 else []
        return options + ([b"REPLACE"] if self.rng.random() < 0.5 else [])

    def set_options(self, now_ms: int) -> list[bytes]:
        deadline = self.rng.choice(
            [[], [b"KEEPTTL"], [b"EX", b"1"], [b"PX", b"0"], [b"PX", b"40"],
             [b"PXAT", b"%d" % (now_ms + self.rng.randint(-5, 60))]]
        )  # fmt: skip
        rest = self.rng.choice([[], [b"NX"], [b"XX"], [b"GET"], [b"XX", b"GET"], [b"GET", b"nx"]])
        return deadline + rest


def stir(node: PromptNode, rng: random.Random, model: Keyspace) -> None:
    """Let time pass, and records go to the disk and out of memory."""
    if rng.random() < 0.1:
        node.clock.advance(rng.choice([1, 7, 30]))
        model.now_ms = node.clock.now_ms
    if rng.random() < 0.05:
        node.checkpoint()
    if rng.random() < 0.05:
        node.evict()


def difference(command, expected, actual) -> str | None:
    """Say how an answer is wrong, or None."""
    if command[0] in unordered:
        expected, actual = sorted(expected), sorted(actual)
    if actual == expected:
        return None
    return (
        f"{[part[:60] for part in command]} answered {str(actual)[:200]}, not {str(expected)[:200]}"
    )


def run(seed: int, commands=None, *, steps: int = STEPS) -> str | None:
    """Run one seed; return the first difference, or None."""
    node = PromptNode(commands)
    connection, model = node.client(), Keyspace(node.clock.now_ms)
    workload = Workload(seed)
    for step in range(steps):
        stir(node, workload.rng, model)
        command = workload.command(node.clock.now_ms)
        wrong = difference(command, model.ask(*command), connection.ask(*command))
        if wrong is None and step % 50 == 49:
            wrong = compare_sizes(connection, model)
            node.verify()
        if wrong:
            return f"seed {seed}, step {step}: {wrong}"
    assert node.parks > 0
    return None


def compare_sizes(connection: LocalClient, model: Keyspace) -> str | None:
    """The names by three other ways. A key that expired counts in DBSIZE until a walk meets it."""
    model.ask("EXISTS")
    for db in range(DATABASES):
        connection.ask("SELECT", db)
        names = connection.ask("KEYS", b"*")
        walked = walk(connection)
        counted = connection.ask("DBSIZE")
        if not len(names) == counted == len(walked) or sorted(names) != sorted(walked):
            return f"KEYS {names}, DBSIZE {counted} and SCAN {walked} of {db} differ"
        if sorted(names) != sorted(model.databases[db]):
            return f"database {db} holds {names}"
    connection.ask("SELECT", model.db)
    return None


def walk(connection: LocalClient) -> list[bytes]:
    cursor, names = b"0", []
    while True:
        cursor, some = connection.ask("SCAN", cursor, "COUNT", 2)
        names += some
        if cursor == b"0":
            return names


@pytest.mark.parametrize("seed", range(4))
def test_handlers_answer_as_the_naive_keyspace(seed):
    assert run(seed) is None


@pytest.mark.parametrize("seed", range(3))
def test_transactions_answer_as_their_commands(seed):
    """The same commands in EXEC, over a memory that is emptied: each EXEC runs again and again."""
    node = PromptNode()
    connection, model = node.client(), Keyspace(node.clock.now_ms)
    workload = Workload(seed)
    for _ in range(150):
        stir(node, workload.rng, model)
        drawn = (workload.command(node.clock.now_ms) for _ in range(workload.rng.randint(1, 8)))
        commands = [command for command in drawn if command[0] not in unordered]
        connection.ask("MULTI")
        for command in commands:
            assert connection.ask(*command) == b"QUEUED"
        node.checkpoint()
        node.evict()
        answers = connection.ask("EXEC")
        for command, actual in zip(commands, answers, strict=True):
            assert difference(command, model.ask(*command), actual) is None
    assert node.parks > 150


def forgetful_append(view, args, reply):
    """Planted bug: APPEND answers the length and stores nothing."""
    reply.integer(len(args[2]))


def test_a_planted_bug_is_found():
    commands = table.build(native_handlers() | {"append": forgetful_append})
    assert any(run(seed, commands) for seed in range(2))


def test_errors_are_values_of_the_model():
    assert isinstance(Keyspace(0).ask("INCRBY", b"k", b"x"), ErrorReply)
