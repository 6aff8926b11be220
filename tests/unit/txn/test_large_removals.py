"""Removals of very many elements: what is emptied goes as a whole, of others what is left is kept,
in one step if that is little, else as a transaction that writes it ahead.
"""

import pytest

from kvnode._core import invariants
from kvnode._core.keys import PARTS, PENDING, TRASH, kind_bounds
from tests.sim.node import SimNode, new_node
from tests.support.contents import contents
from tests.support.resp import decode, encode
from tests.support.scripts import S_WAITING, ask, finish

MEMBERS = 6000
STEPS_MAX = 1500
ENTRY_BYTES_MAX = 64_000
LIFE_S = 1000

# Commands on a set or sorted set `k` that remove so many of its elements, lowest or highest first.
ZSET_REMOVALS = {
    "by rank": lambda n: ("ZREMRANGEBYRANK", "k", 0, n - 1),
    "by score": lambda n: ("ZREMRANGEBYSCORE", "k", "-inf", f"({n}"),
    "min": lambda n: ("ZPOPMIN", "k", n),
    "mpop": lambda n: ("ZMPOP", 2, "absent", "k", "MIN", "COUNT", n),
}


def filled(**options: object) -> SimNode:
    node = new_node(steps_max=STEPS_MAX, **options)
    session = node.session()
    for first in range(0, MEMBERS, 1000):
        some = range(first, first + 1000)
        ask(node, session, "ZADD", "k", *[word for i in some for word in (i, f"m{i}")])
        ask(node, session, "SADD", "s", *[f"m{i}" for i in some])
    for key in ("k", "s"):
        ask(node, session, "EXPIRE", key, LIFE_S)
    return node


@pytest.fixture
def node() -> SimNode:
    return filled()


def count_of(reply: object, words: tuple) -> int:
    """How many elements a reply says were removed."""
    if words[0] == "ZMPOP":
        return len(reply[1])
    return reply if isinstance(reply, int) else len(reply) // (2 if words[0] == "ZPOPMIN" else 1)


@pytest.mark.parametrize("kept", [0, 1, 700, 4000, 5500, 5999])
@pytest.mark.parametrize("name", ZSET_REMOVALS)
def test_a_removal_leaves_the_others(node, name, kept):
    session = node.session()
    words = ZSET_REMOVALS[name](MEMBERS - kept)
    written = len(node.entries)
    assert count_of(ask(node, session, *words), words) == MEMBERS - kept
    answers = "POP" in words[0]
    is_long = MEMBERS - kept > STEPS_MAX and (answers or kept * 2 > MEMBERS - kept)
    assert node.jobs.transactions.committed == is_long
    left = [f"m{i}".encode() for i in range(MEMBERS - kept, MEMBERS)]
    assert ask(node, session, "ZRANGE", "k", 0, -1) == left
    assert ask(node, session, "ZCARD", "k") == kept
    assert (ask(node, session, "TTL", "k") > 0) == (kept > 0)
    if kept not in (5500, 5999):  # one by one
        payloads = [payload for _, payload in list(node.entries.values())[written:]]
        assert max(map(len, payloads)) < ENTRY_BYTES_MAX
    if kept:
        assert ask(node, session, "OBJECT", "ENCODING", "k") == b"skiplist"
    invariants.check(node.tip)
    node = node.crash()
    value = contents(node.tip, node.engine).databases[0].get(b"k")
    assert (len(value.data[1]) if value else 0) == kept


@pytest.mark.parametrize("kept", [0, 1, 700, 4000, 5500])
def test_spop_draws_the_same_way(node, kept):
    session = node.session()
    drawn = ask(node, session, "SPOP", "s", MEMBERS - kept)
    assert node.jobs.transactions.committed == (MEMBERS - kept > STEPS_MAX)
    left = ask(node, session, "SMEMBERS", "s")
    assert len(drawn) == len(set(drawn)) == MEMBERS - kept
    assert len(left) == kept
    assert {*drawn, *left} == {f"m{i}".encode() for i in range(MEMBERS)}
    assert (ask(node, session, "TTL", "s") > 0) == (kept > 0)
    invariants.check(node.tip)


def begin(node: SimNode, *words: object):
    """Start a removal that goes on as a transaction, up to where it has to wait."""
    session = node.session()
    session.feed(encode(*words))
    node.serve(session)
    assert session.state == S_WAITING
    return session


@pytest.mark.parametrize(
    ("change", "card", "tries"),
    [
        (("ZADD", "k", "-5", "lowest"), 4001, 1),
        (("ZREM", "k", "m5999"), 3999, 1),
        (("ZADD", "k", "7777", "m5999"), 4000, 1),
        (("PERSIST", "k"), 4000, 1),
        (("SET", "other", "x"), 4000, 0),
    ],
)
def test_who_writes_meanwhile_loses_nothing(node, change, card, tries):
    session = begin(node, "ZREMRANGEBYRANK", "k", 0, 1999)
    node.sync()
    node.step_threads()
    node.serve()
    assert node.jobs.transactions.started == 1
    assert node.jobs.transactions.committed == 0
    ask_at_once(node, *change)
    assert decode(finish(node, session)) == 2000
    assert node.jobs.transactions.conflicts == tries
    assert ask(node, node.session(), "ZCARD", "k") == card


def ask_at_once(node: SimNode, *words: str) -> None:
    """Run a command in a pass of its own; transactions stand still."""
    other = node.session()
    other.feed(encode(*words))
    node.run_pass(lambda: node.sequencer.serve(other))


def test_a_removal_inside_an_exec_is_atomic(node):
    session = node.session()
    for words in (("MULTI",), ("ZREMRANGEBYRANK", "k", 0, 1999), ("ZCARD", "k"), ("EXEC",)):
        reply = ask(node, session, *words)
    assert reply == [2000, 4000]
    assert node.jobs.transactions.committed == 1
    assert ask(node, session, "ZCARD", "k") == 4000


def test_a_crash_leaves_all_or_nothing():
    for syncs in range(1, 12):
        node = filled()
        begin(node, "ZREMRANGEBYRANK", "k", 0, 1999)
        for _ in range(syncs):
            node.sync()
            node.step_threads()
            node.serve()
        node = node.crash()
        session = node.session()
        assert ask(node, session, "ZCARD", "k") in (MEMBERS, MEMBERS - 2000)
        for _ in range(100):
            node.sync()
            node.background()
            node.step_threads()
        invariants.check(node.tip)


def test_of_what_died_nothing_is_left():
    node = filled()
    session = node.session()
    assert ask(node, session, "ZREMRANGEBYRANK", "k", 0, 1999) == 2000
    ask(node, session, "DEL", "s")
    for _ in range(3):
        for _ in range(60):
            node.sync()
            node.background()
            node.step_threads()
        node.checkpoint()
    rows = {kind: len(node.engine.scan_keys(*kind_bounds(kind), limit=1 << 30)) for kind in PARTS}
    assert sum(rows.values()) == 2 * (MEMBERS - 2000)  # members and score rows
    for kind in (PENDING, TRASH):
        assert not node.engine.scan_keys(*kind_bounds(kind), limit=9)
