"""Scans and draws of collections larger than memory: rows read, guarantee, progress, fairness."""

import random

import pytest

from kvnode.storage import fetch
from kvnode.storage.memory import MemoryEngine
from tests.support.prompt_node import PromptNode

COUNT = 2000


class Spy:
    """Counts the rows that an engine returns to scans."""

    def __init__(self, engine) -> None:
        self._engine = engine
        self.rows = 0

    def scan(self, lo, hi, limit):
        rows = self._engine.scan(lo, hi, limit)
        self.rows += len(rows)
        return rows

    def __getattr__(self, name):
        return getattr(self._engine, name)


@pytest.fixture
def node():
    node = PromptNode()
    client = node.client()
    for first in range(0, COUNT, 1000):
        span = range(first, first + 1000)
        client.ask("SADD", "s", *(b"m%d" % i for i in span))
        client.ask("HSET", "h", *(word for i in span for word in (b"m%d" % i, b"v%d" % i)))
        client.ask("ZADD", "z", *(word for i in span for word in (i, b"m%d" % i)))
    node.cool()
    node.engine = Spy(node.engine)
    return node


@pytest.fixture
def client(node):
    return node.client()


MEMBERS = {b"m%d" % i for i in range(COUNT)}


@pytest.mark.parametrize(
    ("name", "key", "width"), [("SSCAN", "s", 1), ("HSCAN", "h", 2), ("ZSCAN", "z", 2)]
)
@pytest.mark.parametrize("is_evicting", [False, True])
def test_a_step_reads_its_count(node, client, name, key, width, is_evicting):
    seen, cursor = [], b"0"
    while True:
        before = node.engine.rows
        cursor, page = client.ask(name, key, cursor, "COUNT", 50)
        assert node.engine.rows - before <= 50 + 1
        seen += page[::width]
        if cursor == b"0":
            break
        if is_evicting:
            node.cool()
    assert sorted(seen) == sorted(MEMBERS)


def test_the_cursor_holds_in_another_life(node, client):
    cursor, first = client.ask("SSCAN", "s", 0, "COUNT", 1000)
    node.cool()
    client.ask("SMEMBERS", "s")  # resident now
    rest = []
    while cursor != b"0":
        cursor, page = client.ask("SSCAN", "s", cursor, "COUNT", 1000)
        rest += page
    assert sorted(first + rest) == sorted(MEMBERS)


@pytest.mark.parametrize(
    "words",
    [("SRANDMEMBER", "s"), ("SPOP", "s"), ("HRANDFIELD", "h"), ("ZRANDMEMBER", "z"),
     ("SRANDMEMBER", "s", 20), ("SPOP", "s", 20), ("HRANDFIELD", "h", -20, "WITHVALUES")],
)  # fmt: skip
def test_a_draw_reads_a_page_or_few(node, client, words):
    for _ in range(20):
        node.cool()
        before = node.engine.rows
        reply = client.ask(*words)
        assert reply
        assert node.engine.rows - before <= 2 * (64 + 4 * 20)


def test_what_was_popped_is_not_drawn_again(node, client):
    gone: set[bytes] = set()
    for i in range(60):
        popped = set(client.ask("SPOP", "s", 20))
        assert len(popped) == 20
        assert not popped & gone
        assert popped <= MEMBERS
        gone |= popped
        assert client.ask("SCARD", "s") == COUNT - len(gone)
        if i % 7 == 0:
            node.cool()
    assert set(client.ask("SMEMBERS", "s")) == MEMBERS - gone


def test_a_page_of_tombstones_is_not_the_end(node, client):
    """Most rows are removed, and LevelDB does not know it yet."""
    left = set(random.Random(1).sample(sorted(MEMBERS), 600))
    client.ask("SREM", "s", *sorted(MEMBERS - left))
    node.evict()
    for _ in range(30):
        assert set(client.ask("SRANDMEMBER", "s", 10)) <= left
        node.evict()


def test_draws_reach_every_element_about_evenly(node, client):
    counts = dict.fromkeys(MEMBERS, 0)
    for _ in range(400):
        node.cool()
        for member in client.ask("SRANDMEMBER", "s", -250):
            counts[member] += 1
    shares = sorted(counts.values())
    assert sum(shares) == 100_000
    assert shares[0] > 0
    assert shares[-1] < 150  # 50 are expected


def test_a_page_does_not_make_the_collection_resident(node, client):
    client.ask("SSCAN", "s", 0, "COUNT", 10_000)
    before = node.engine.rows
    client.ask("SCARD", "s")
    client.ask("SSCAN", "s", 0, "COUNT", 100)
    assert node.engine.rows > before


def test_expired_fields_are_left_out_and_deleted(node, client):
    client.ask("HPEXPIRE", "h", 5, "FIELDS", 100, *(b"m%d" % i for i in range(100)))
    node.cool()
    node.clock.advance(10)
    seen, cursor = [], b"0"
    while True:
        cursor, page = client.ask("HSCAN", "h", cursor, "COUNT", 500, "NOVALUES")
        seen += page
        if cursor == b"0":
            break
    assert sorted(seen) == sorted(MEMBERS - {b"m%d" % i for i in range(100)})
    assert client.ask("HLEN", "h") == COUNT - 100


def test_a_transaction_draws_and_scans(node, client):
    client.ask("MULTI")
    client.ask("SPOP", "s", 5)
    client.ask("SSCAN", "s", 0, "COUNT", 10)
    client.ask("SRANDMEMBER", "s")
    client.ask("HSCAN", "h", 0)
    popped, (_, page), drawn, _ = client.ask("EXEC")
    assert len(set(popped)) == 5
    assert len(page) >= 10
    assert drawn in MEMBERS - set(popped)
    assert client.ask("SCARD", "s") == COUNT - 5


def test_the_end_of_a_group_is_read_with_it():
    """Elements whose cursor is the same come in one reply, at the end of the hashes too."""
    top = (1 << 64) - 1
    engine = MemoryEngine()
    keys = [
        b"M" + (7).to_bytes(8) + h.to_bytes(8) + n for h, n in [(5, b"a"), (6, b"b"), (top, b"c")]
    ]
    engine.write([(key, b"e") for key in keys])
    part = fetch.read_elements(engine, 7, 0, 1, ord("M"))
    assert [key for key, _ in part.rows] == keys[:2]
    assert (part.next_hash, part.is_done) == (1 << 11, False)
    rest = fetch.read_elements(engine, 7, part.next_hash, 1, ord("M"))
    assert rest == fetch.ElementRange(7, [(keys[2], b"e")], 0, True)
