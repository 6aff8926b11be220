"""SCAN's guarantee under churn, KEYS, RANDOMKEY: in memory and over LevelDB's rows."""

import random
from itertools import chain

import pytest

from tests.support.prompt_node import PromptNode


@pytest.fixture
def node():
    return PromptNode()


@pytest.fixture
def ask(node):
    return node.client().ask


def fill(ask, count):
    names = [b"key:%d" % i for i in range(count)]
    ask("MSET", *[part for name in names for part in (name, b"v")])
    return names


def scan(ask, *options, between=lambda: None):
    """Walk from 0 to 0; return the names of every reply, and the cursors."""
    cursor, replies, cursors = b"0", [], []
    while not cursors or cursor != b"0":
        cursor, names = ask("SCAN", int(cursor), *options)
        replies.append(names)
        cursors.append(int(cursor))
        between()
    return replies, cursors


def churn(node, ask, rng, lasting):
    """Add and remove other names; move records to the disk and out of memory."""
    for _ in range(30):
        ask("SET", b"other:%d" % rng.randrange(1500), "x")
        ask("DEL", b"other:%d" % rng.randrange(1500))
    ask("APPEND", rng.choice(lasting), "more")
    rng.choice([node.checkpoint, node.evict, lambda: None])()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [2, 10, 100])
def test_what_stays_is_returned_under_churn(node, ask, seed, count):
    rng = random.Random(seed)
    lasting = fill(ask, 500)
    replies, cursors = scan(ask, "COUNT", count, between=lambda: churn(node, ask, rng, lasting))
    seen = [name for names in replies for name in names]
    assert set(lasting) <= set(seen)
    assert all(seen.count(name) == 1 for name in rng.sample(lasting, 20))
    assert cursors[:-1] == sorted(set(cursors[:-1])), "each step goes on"
    assert max(cursors) < 1 << 53
    assert node.parks > 0


@pytest.mark.parametrize("is_cold", [False, True])
def test_a_step_costs_its_count(node, ask, is_cold):
    fill(ask, 5000)
    if is_cold:
        node.checkpoint()
        node.evict()
    replies, _ = scan(ask, "COUNT", 50)
    assert len(replies) > 5000 / (50 + 20)
    assert max(map(len, replies)) < 50 + 20


def test_an_emptied_table_takes_bounded_steps(node, ask):
    """Tombstones hide rows of LevelDB and are looked at; when they go their buckets go too."""
    for start in range(0, 40_000, 4000):
        ask("MSET", *[p for i in range(start, start + 4000) for p in (b"%d" % i, b"v")])
    for start in range(0, 40_000, 4000):
        ask("DEL", *[b"%d" % i for i in range(start, start + 4000)])
    replies, _ = scan(ask, "COUNT", 1000)
    assert not any(replies)
    assert len(replies) > 10
    node.checkpoint()
    assert scan(ask, "COUNT", 1000) == ([[]], [0])


def test_filters(node, ask):
    fill(ask, 100)
    ask("SET", "gone", "1", "PX", 5)
    node.clock.advance(10)
    for _ in range(2):
        replies, _ = scan(ask, "MATCH", "*9*", "COUNT", 7)
        assert sorted(chain(*replies)) == sorted(
            b"key:%d" % i for i in range(100) if b"9" in b"%d" % i
        )
        assert sum(map(len, scan(ask, "TYPE", "StrinG")[0])) == 100
        assert sum(map(len, scan(ask, "TYPE", "list")[0])) == 0
        assert ask("DBSIZE") == 100
        node.checkpoint()
        node.evict()


def test_expired_rows_on_disk_are_deleted_by_the_walk(node, ask):
    """The reply leaves them out, so their deletion is in the log before it."""
    for i in range(20):
        ask("SET", b"k%d" % i, "v", "PX", 5)
    node.checkpoint()
    node.evict()
    node.clock.advance(10)
    replies, _ = scan(ask)
    assert not any(replies)
    assert ask("DBSIZE") == 0
    node.checkpoint()
    assert not node.engine.scan(b"H", b"I", 1)


def test_two_scans_in_one_transaction(node, ask):
    names = fill(ask, 300)
    node.checkpoint()
    node.evict()
    cursor, first = ask("SCAN", 0, "COUNT", 100)
    ask("MULTI")
    ask("SCAN", 0, "COUNT", 100)
    ask("SCAN", cursor, "COUNT", 300)
    ask("RANDOMKEY")
    (_, again), (_, rest), name = ask("EXEC")
    assert again == first
    assert sorted(first + rest) == sorted(names)
    assert name in names


@pytest.mark.parametrize("is_cold", [False, True])
def test_randomkey_draws_every_name(node, ask, is_cold):
    names = fill(ask, 30)
    drawn = set()
    for _ in range(600):
        if is_cold:
            node.checkpoint()
            node.evict()
        drawn.add(ask("RANDOMKEY"))
    assert drawn == set(names)
    ask("FLUSHDB")
    assert ask("RANDOMKEY") is None
    ask("SET", "k", "v", "PX", 1)
    node.clock.advance(5)
    assert ask("RANDOMKEY") is None


@pytest.mark.parametrize("command", ["DBSIZE", "RANDOMKEY", "SCAN 0", "KEYS *", "GET a"])
def test_a_read_waits_for_the_write_it_saw(node, command):
    """Another session's uncommitted write holds the reply (I2)."""
    writer, reader = node.session(), node.session()
    writer.feed(b"SET a 1\r\n")
    reader.feed(command.encode() + b"\r\n")
    node.run_pass(writer, reader)
    assert reader.held
    assert reader.take() == b""
    node.commit()
    assert reader.take() != b""
