"""Replies in steps against a plain model: each has the bytes of the moment of its command."""

import random

import pytest

from tests.support.local import S_PARKED, S_READY, LocalNode, pipeline

SEEDS = 12
STEPS = 150
NAMES = [b"a", b"b", b"c"]
SIZE_MAX = 1_900_000
READERS = 4
PLANTED_SEEDS = 12  # a node that keeps nothing for its readers must be found within them


class Walk:
    """Random commands, steps, fetches, evictions and commits; at most one command a reader."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.node = LocalNode()
        self.node.check = lambda: None  # of the whole tip, after each step: too slow here
        self.model: dict[bytes, bytearray] = {}
        self.writer = self.node.session()
        self.readers = {self.node.session(): None for _ in range(READERS)}
        self.received = dict.fromkeys(self.readers, b"")

    def run(self) -> None:
        for _ in range(STEPS):
            self.rng.choice((self.write, self.read, self.read, self.take, self.take, self.cool))()
        for _ in range(2000):
            if not any(self.readers.values()):
                break
            self.take()
        assert not any(self.readers.values())
        assert self.node.view.readers == {}

    def write(self) -> None:
        name, rng, model = self.rng.choice(NAMES), self.rng, self.model
        kind = rng.choice(("set", "setrange", "setrange", "append", "del", "rename", "flush"))
        data = rng.randbytes(rng.choice((3, 20_000, 300_000)))
        old = model.get(name, bytearray())
        if kind == "set":
            value = rng.randbytes(rng.randrange(1_100_000, SIZE_MAX))
            words, model[name] = ("SET", name, value), bytearray(value)
        elif kind == "setrange":
            at = rng.randrange(SIZE_MAX)
            words = ("SETRANGE", name, at, data)
            model[name] = old.ljust(at, b"\0")
            model[name][at : at + len(data)] = data
        elif kind == "append" and len(old) < 2 * SIZE_MAX:
            words, model[name] = ("APPEND", name, data), old + data
        elif kind == "rename" and name in model:
            other = rng.choice(NAMES)
            words = ("RENAME", name, other)
            model[other] = model.pop(name)
        elif kind == "flush" and rng.random() < 0.3:
            words = ("FLUSHALL",)
            model.clear()
        else:
            words = ("DEL", name)
            model.pop(name, None)
        self.node.settle(self.writer, pipeline(words))

    def read(self) -> None:
        idle = [reader for reader, expected in self.readers.items() if expected is None]
        if not idle:
            return
        reader, name = self.rng.choice(idle), self.rng.choice(NAMES)
        value = self.model.get(name)
        kind = self.rng.choice(("get", "getrange", "getdel", "mget", "exec"))
        at = self.rng.randrange(SIZE_MAX)
        commands = {
            "get": [("GET", name)],
            "getrange": [("GETRANGE", name, at, -1)],
            "getdel": [("GETDEL", name)],
            "mget": [("MGET", *NAMES)],
            "exec": [("MULTI",), ("GET", name), ("SETRANGE", name, at, "exec"), ("EXEC",)],
        }[kind]
        whole = _bulk(value)
        expected = whole
        if kind == "getrange":
            expected = _bulk((value or b"")[at:])
        elif kind == "getdel":
            self.model.pop(name, None)
        elif kind == "mget":
            expected = b"*3\r\n" + b"".join(_bulk(self.model.get(each)) for each in NAMES)
        elif kind == "exec":
            changed = self.model[name] = bytearray((value or b"").ljust(at, b"\0"))
            changed[at : at + 4] = b"exec"
            queued = b"+OK\r\n" + b"+QUEUED\r\n" * 2
            expected = queued + b"*2\r\n" + whole + b":%d\r\n" % len(changed)
        reader.feed(pipeline(*commands))
        self.node.run_pass(reader)
        while reader.state == S_PARKED and reader.stream is None:  # not at its moment yet
            self.node.fetch()
            self.node.run_pass()
        self.readers[reader] = expected

    def take(self) -> None:
        self.node.commit()
        for reader, expected in self.readers.items():
            if self.rng.random() < 0.5:
                self.received[reader] += reader.take()
            if expected is not None and reader.state == S_READY and not reader.output_bytes:
                assert self.received[reader] == expected
                self.readers[reader], self.received[reader] = None, b""
        self.node.fetch()
        self.node.run_pass()

    def cool(self) -> None:
        if self.rng.random() < 0.3:
            self.node.cool()
        else:
            self.node.evict()


def _bulk(value: bytes | bytearray | None) -> bytes:
    return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_replies_in_steps_equal_the_model(seed: int) -> None:
    Walk(seed).run()


def test_readers_that_are_given_nothing_are_found() -> None:
    """The planted bug: overwrites do not know of the replies under way."""

    class Forgetful(dict):
        def get(self, key, default=None):
            return default

    def run_all() -> None:
        for seed in range(PLANTED_SEEDS):
            walk = Walk(seed)
            walk.node.view.readers = Forgetful()
            walk.run()

    with pytest.raises(AssertionError):
        run_all()
