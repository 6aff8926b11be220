"""What storage still has of collections that memory has seen go: for pins, and for the sweeper."""

import pytest

from kvnode._core import upkeep
from kvnode.storage.snapshot import ORDER_END, SnapshotReader
from tests.support.local import LocalNode

MEMBER, ITEM = ord("M"), ord("I")
TRASH = b"T"


@pytest.fixture
def node() -> LocalNode:
    """A node with a set that has been written to storage and is not in memory."""
    node = LocalNode()
    node.client().call("SADD", "s", "a", "b")
    node.cool()
    node.cool()  # the first one kept what the checkpoint itself still needed
    assert not node.dump()["collections"]
    return node


def test_a_pin_sees_what_was_removed_before_the_set_was_read_as_a_whole(node):
    client = node.client()
    client.call("SCARD", "s")
    (id_,) = node.dump()["collections"]
    commit_ts = node.tip.pin()
    client.call("SREM", "s", "a")
    node.cool()
    assert client.call("SMEMBERS", "s") == [b"b"]
    reader = SnapshotReader(node.tip, node.engine, commit_ts, node.clock.now_ms)
    page = reader.begin_page(MEMBER, id_, 0, 10)
    rows = page.finish(page.read() if page.read is not None else None).rows
    assert sorted(key[17:] for key, _ in rows) == [b"a", b"b"]
    assert page.read is not None
    (member,) = (key for key, _ in rows if key.endswith(b"a"))
    assert reader.get(member) == b""
    node.tip.unpin(commit_ts)


def test_a_set_that_was_read_and_deleted_leaves_word_for_the_sweeper(node):
    client = node.client()
    assert client.call("SISMEMBER", "s", "a") == 1
    client.call("DEL", "s")
    upkeep.sweep_collections(node.tip, 1000)
    node.checkpoint()
    assert list(node.engine.scan(TRASH, b"U", 10))


@pytest.mark.parametrize(
    "changes",
    [
        [("LSET", "l", "-1", "new")],
        [("RPOP", "l"), ("COOL",), ("RPUSH", "l", "new")],
        [("LPOP", "l"), ("COOL",), ("LPUSH", "l", "new")],
        [("RPOP", "l"), ("COOL",), ("LMOVE", "l", "l", "LEFT", "RIGHT")],
        [("LTRIM", "l", "3", "-4"), ("RPUSH", "l", "a", "b"), ("LPUSH", "l", "c", "d")],
        [("LTRIM", "l", "3", "-4"), ("COOL",), ("RPUSH", "l", *"abcdefgh")],
    ],
)
def test_a_pin_sees_items_whose_positions_were_written_again_while_they_were_cold(changes):
    node = LocalNode()
    client = node.client()
    client.call("RPUSH", "l", *range(200))  # too many to be read with their head
    node.cool()
    node.cool()
    client.call("LLEN", "l")
    (id_,) = node.dump()["collections"]
    pin = node.tip.pin()
    before = items_at(node, id_, pin)
    assert len(before) == 200
    for words in changes:
        if words == ("COOL",):
            node.cool()
        else:
            client.call(*words)
    node.cool()
    assert items_at(node, id_, pin) == before
    node.tip.unpin(pin)


def items_at(node: LocalNode, id_: int, pin: int) -> list[tuple[bytes, bytes]]:
    """Return all items of a list, popped ones included, as a pin sees them."""
    reader = SnapshotReader(node.tip, node.engine, pin, node.clock.now_ms)
    rows = []
    at = 0
    while at < ORDER_END:
        pending = reader.begin_page(ITEM, id_, at, 50)
        page = pending.finish(pending.read() if pending.read is not None else None)
        rows += page.rows
        at = page.end
    return sorted(rows)
