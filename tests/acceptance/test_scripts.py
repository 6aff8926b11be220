"""What a system of this design has to show of scripts; each test names its check.

Check 7's EVAL on a follower waits for followers. Histories of many scripts are in
tests/property/test_histories.py.
"""

import os
from collections.abc import Callable

import pytest

from kvnode.txn import optimistic
from tests.sim.interleave import COMMANDS
from tests.sim.node import SimNode, new_node
from tests.sim.orders import Order, orders
from tests.support.resp import decode_all, encode
from tests.support.scripts import ask

ORDERS = int(os.environ.get("KVNODE_ORDERS", "60"))
ALL_ORDERS = 0
# One step each: a client sends its script, the log syncs, a thread ends a call, a pass.
ACTORS = ("a", "b", "ss", "tt", "pp")
CROSSED = "local v = redis.call('get', KEYS[1]) redis.call('set', KEYS[2], v .. ARGV[1]) return v"
SPIN = "for i = 1, 3000 do end "
SERIAL = {(b"0y", b"0yx"): "ba", (b"0xy", b"0x"): "ab"}  # (a, b) at the end: the order
VALUES = 4  # a check of a commit, see Check of workspace.pxd


@pytest.fixture
def client() -> Callable:
    node = new_node(commands=COMMANDS)
    session = node.session()
    return lambda *words: ask(node, session, *words)


# -- check 7 ---------------------------------------------------------------------------------------


def test_check_7_lpop_takes_so_many(client):
    client("RPUSH", "l", *range(25))
    assert client("LPOP", "l", 10) == [b"%d" % i for i in range(10)]
    assert client("EVAL", "return #redis.call('lpop', KEYS[1], 10)", 1, "l") == 10
    assert client("LLEN", "l") == 5


def test_check_7_a_range_of_scores_with_a_limit(client):
    client("ZADD", "z", *(word for i in range(10) for word in (i, f"m{i}")))
    words = ("ZRANGE", "z", "2", "(9", "BYSCORE", "LIMIT", "1", "3")
    assert client(*words) == [b"m3", b"m4", b"m5"]
    text = "return redis.call(unpack(ARGV))"
    assert client("EVAL", text, 0, *words) == [b"m3", b"m4", b"m5"]


def test_check_7_watch(client):
    client("SET", "a", "1")
    client("WATCH", "a")
    client("EVAL", "return redis.call('incr', KEYS[1])", 1, "a")
    client("MULTI")
    client("SET", "a", "lost")
    assert client("EXEC") is None
    assert client("GET", "a") == b"2"


def test_check_7_the_cache_of_scripts(client):
    sha = client("SCRIPT", "LOAD", "return ARGV[1]")
    assert client("SCRIPT", "EXISTS", sha, "0" * 40) == [1, 0]
    assert client("EVALSHA", sha, 0, "x") == b"x"
    assert client("EVALSHA", sha.upper(), 0, "x") == b"x"
    client("SCRIPT", "FLUSH")
    assert str(client("EVALSHA", sha, 0, "x")).startswith("NOSCRIPT")


def test_check_7_expire_zincrby_and_time_in_a_script(client):
    """Time stands still inside of a script, and deadlines are made from it."""
    text = """
        local before = redis.call('time')
        redis.call('set', 'k', 'v')
        redis.call('expire', 'k', 100)
        local score = redis.call('zincrby', 'z', '1.5', 'm')
        for i = 1, 1000 do end
        local after = redis.call('time')
        local deadline = redis.call('pexpiretime', 'k')
        local ms = before[1] * 1000 + math.floor(before[2] / 1000)
        return {before[1] == after[1] and before[2] == after[2], score, deadline - ms}
    """
    assert client("EVAL", text, 0) == [1, b"1.5", 100_000]


def test_check_7_cmsgpack_round_trip(client):
    text = """
        local value = {1, -1, 2^40, 1.5, 'text', true, false, {a = {b = 'c'}}, string.rep('x', 300)}
        local packed = cmsgpack.pack(value)
        redis.call('set', KEYS[1], packed)
        local back = cmsgpack.unpack(redis.call('get', KEYS[1]))
        for i = 1, 7 do if back[i] ~= value[i] then return {err = 'ERR ' .. i} end end
        return {back[8].a.b, #back[9], cmsgpack.pack(back[5]) == cmsgpack.pack('text')}
    """
    assert client("EVAL", text, 1, "packed") == [b"c", 300, 1]


# -- check 8 ---------------------------------------------------------------------------------------


class World:
    """Two clients with scripts that read what the other writes. are_long: which run beside."""

    def __init__(self, are_long: tuple[bool, bool]) -> None:
        self.node: SimNode = new_node(commands=COMMANDS)
        scripts = self.node.view.scripts
        scripts.budget_micros = 1 << 40
        scripts.here.set_budget(0, grant=2000, grants=0)
        self.setup = self.node.session()
        ask(self.node, self.setup, "MSET", "a", "0", "b", "0")
        long_a, long_b = ((SPIN if is_long else "") + CROSSED for is_long in are_long)
        self.words = {
            "a": encode("EVAL", long_a, 2, "a", "b", "x"),
            "b": encode("EVAL", long_b, 2, "b", "a", "y"),
        }
        self.sessions = {name: self.node.session() for name in "ab"}
        self.replies: dict[str, object] = {}
        self.sent: list[str] = []
        self.answered_before: set[str] = set()  # "ab": a had its reply when b was sent

    def step(self, name: str) -> None:
        if name in "ab":
            self.answered_before |= {other + name for other in self.replies}
            self.sessions[name].feed(self.words[name])
            self.node.serve(self.sessions[name])
        elif name == "s":
            self.node.sync()
        elif name == "t":
            self.node.step_threads(1)
        else:
            self.node.serve()
        self.look()

    def look(self) -> None:
        for name, session in self.sessions.items():
            for reply in decode_all(session.take()):
                self.replies[name] = reply

    def finish(self) -> str:
        """Return the serial order in which they took effect. Raises KeyError if it was none."""
        for _ in range(100):
            self.node.step_threads()
            self.node.sync()
            self.node.serve()
            self.look()
            if len(self.replies) == 2:
                break
        end = tuple(ask(self.node, self.setup, "MGET", "a", "b"))
        return SERIAL[end]


def run(order: Order, are_long: tuple[bool, bool]) -> None:
    world = World(are_long)
    for name in order:
        world.step(name)
    first, second = took_effect = world.finish()
    assert world.answered_before <= {took_effect}, "against real time"
    assert world.replies[first] == b"0"
    assert world.replies[second] == (b"0x" if first == "a" else b"0y")


def run_all(limit: int, are_long: tuple[bool, bool]) -> None:
    for order in orders(ACTORS, limit):
        try:
            run(order, are_long)
        except BaseException as error:
            error.add_note("".join(order))
            raise


BOTH = [(False, False), (False, True), (True, False), (True, True)]


@pytest.mark.parametrize("are_long", BOTH)
def test_check_8_no_write_skew_in_any_order(are_long):
    """GET a, SET b against GET b, SET a, on and beside the sequencer."""
    run_all(ORDERS, are_long)


@pytest.mark.parametrize("are_long", BOTH[1:])
def test_check_8_write_skew_is_noticed(monkeypatch, are_long):
    """A commit that does not look at what was read makes it."""
    made = optimistic.Attempt

    def attempt(*args: object) -> optimistic.Attempt:
        one = made(*args)
        one.workspace.left_out = VALUES
        return one

    monkeypatch.setattr(optimistic, "Attempt", attempt)
    with pytest.raises(KeyError):
        run_all(ALL_ORDERS, are_long)
