"""Commands over many elements: no pass does more than a bounded part, whatever their number."""

import pytest

from kvnode.txn import attempt, housekeeping
from tests.sim.node import SimNode, new_node
from tests.support.meter import Meter
from tests.support.resp import encode
from tests.support.scripts import ask

ELEMENTS = 60_000  # past the step budget
PER_COMMAND = 5000
PASS_MAX = 8000  # entries that one pass may touch; ELEMENTS takes many passes
CACHE_BYTES = 1 << 30
ROUNDS = 400  # of housekeeping: enough to sweep all of it


def fill(node: SimNode, command: str, key: str, element) -> None:
    session = node.session()
    for first in range(0, ELEMENTS, PER_COMMAND):
        words = [word for i in range(first, first + PER_COMMAND) for word in element(i)]
        ask(node, session, command, key, *words)


def set_(node: SimNode) -> None:
    fill(node, "SADD", "source", lambda i: [b"member-%d" % i])


def two_sets(node: SimNode) -> None:
    set_(node)
    fill(node, "SADD", "other", lambda i: [b"member-%d" % (i + ELEMENTS // 2)])


def list_(node: SimNode) -> None:
    fill(node, "RPUSH", "source", lambda i: [b"dead" if i % 3 == 0 else b"%d" % (i * 7919 % 65537)])


def numbers(node: SimNode) -> None:
    fill(node, "RPUSH", "source", lambda i: [b"%d" % (i * 7919 % 65537)])


def holed_list(node: SimNode) -> None:
    list_(node)
    ask(node, node.session(), "LREM", "source", "1000", "dead")


def zset(node: SimNode) -> None:
    fill(node, "ZADD", "source", lambda i: [b"%d" % i, b"member-%d" % i])


def hash_(node: SimNode) -> None:
    fill(node, "HSET", "source", lambda i: [b"field-%d" % i, b"value"])


def hash_with_deadlines(node: SimNode) -> None:
    hash_(node)
    for first in range(0, ELEMENTS, PER_COMMAND):
        fields = [b"field-%d" % i for i in range(first, first + PER_COMMAND)]
        ask(node, node.session(), "HEXPIRE", "source", 1000, "FIELDS", len(fields), *fields)


COMMANDS = [
    (set_, ("SUNIONSTORE", "target", "source"), ELEMENTS),
    (two_sets, ("SUNIONSTORE", "target", "source", "other"), ELEMENTS * 3 // 2),
    (two_sets, ("SINTERSTORE", "target", "source", "other"), ELEMENTS // 2),
    (two_sets, ("SDIFFSTORE", "target", "source", "other"), ELEMENTS // 2),
    (two_sets, ("ZINTERSTORE", "target", "2", "source", "other"), ELEMENTS // 2),
    (zset, ("ZUNIONSTORE", "target", "1", "source"), ELEMENTS),
    (numbers, ("SORT", "source", "STORE", "target"), ELEMENTS),
    (list_, ("LREM", "source", "0", "dead"), ELEMENTS // 3),
    (list_, ("LREM", "source", "-15000", "dead"), 15_000),
    (set_, ("COPY", "source", "target"), 1),
    (zset, ("COPY", "source", "target"), 1),
    (holed_list, ("COPY", "source", "target"), 1),
    (hash_with_deadlines, ("COPY", "source", "target"), 1),
    (set_, ("DEL", "source"), 1),
    (holed_list, ("DEL", "source"), 1),
    (hash_, ("UNLINK", "source"), 1),
    (zset, ("SET", "source", "value"), b"OK"),
    (two_sets, ("RENAME", "other", "source"), b"OK"),
    (hash_with_deadlines, ("PEXPIRE", "source", "0"), 1),
    (two_sets, ("FLUSHALL",), b"OK"),
]


def cost(load, words, expected=None) -> int:
    """The most that a pass cost from a command on until all is swept that it has left behind."""
    node = new_node(cache_bytes=CACHE_BYTES)
    load(node)
    meter = Meter(node)
    reply = ask(node, node.session(), *words)
    assert expected is None or reply == expected
    for _ in range(ROUNDS):
        node.background()
        node.step_threads()
        node.sync()
    node.check()
    return meter.worst


@pytest.mark.parametrize(
    ("load", "words", "expected"),
    COMMANDS,
    ids=[f"{words[0]}-{load.__name__}" for load, words, _ in COMMANDS],
)
def test_no_pass_does_more_than_a_part_of_it(load, words, expected):
    assert cost(load, words, expected) <= PASS_MAX


# -- planted: what the meter sees ----------------------------------------------------------------


def test_a_sweep_in_one_go_is_seen(monkeypatch):
    monkeypatch.setattr(housekeeping, "SWEEP_ENTRIES_PER_STEP", ELEMENTS)
    assert cost(set_, ("DEL", "source")) > PASS_MAX


def test_a_collection_that_is_read_in_one_go_is_seen(monkeypatch):
    monkeypatch.setattr(attempt, "LOAD_ROWS_PER_PAGE", ELEMENTS)
    assert cost(set_, ("SUNIONSTORE", "target", "source")) > PASS_MAX


def test_a_commit_in_one_go_is_seen():
    """What is not a new collection is carried over in one pass: an EXEC of as many SET."""
    node = new_node(cache_bytes=CACHE_BYTES)
    session = node.session()
    ask(node, session, "MULTI")
    commands = [encode("SET", b"key-%d" % i, "value") for i in range(ELEMENTS)]
    node.settle(session, b"".join(commands))
    meter = Meter(node)
    assert ask(node, session, "EXEC") == [b"OK"] * ELEMENTS
    assert node.jobs.transactions.committed == 1
    assert meter.worst > PASS_MAX
