"""Score rows and windows of sorted sets: each checker finds the fault that is planted for it."""

import pytest

from kvnode._core import invariants
from kvnode._core.keys import SCORE, kind_bounds
from kvnode.base.errors import InvariantError
from kvnode.server.local import HASH_KEY
from tests.support.contents import replay
from tests.support.local import LocalNode
from tests.support.score_rows import check_score_rows, check_windows

MEMBERS = 200


@pytest.fixture
def node():
    """A cold sorted set, of which the ten lowest members are in memory."""
    node = LocalNode()
    node.tip.page_members = 10
    client = node.client()
    client.call("ZADD", "z", *(word for i in range(MEMBERS) for word in (i, f"m{i}")))
    node.cool()
    assert len(client.ask("ZRANGE", "z", 0, 9)) == 10
    return node


def rows(node):
    return node.engine.scan(*kind_bounds(SCORE), 1000)


def test_a_page_is_read_and_no_more(node):
    assert node.score_pages == 1
    assert check_windows(node.tip, node.engine) == 1
    (members,) = (t for (kind, _), t in node.dump()["tables"].items() if kind == ord("M"))
    assert len(members["entries"]) == 10
    assert not members["resident"]


@pytest.mark.parametrize("fault", ["lost", "stale", "older"])
def test_a_wrong_score_row_is_found(node, fault):
    check_score_rows(node.engine)
    key, envelope = rows(node)[50]
    change = {
        "lost": (key, None),
        "stale": (key[:9] + bytes(8) + key[17:], envelope),
        "older": (key, bytes(9)),
    }[fault]
    node.engine.write([change])
    with pytest.raises(AssertionError, match="score rows"):
        check_score_rows(node.engine)


def test_a_member_that_a_window_lacks_is_found(node):
    key, envelope = rows(node)[0]
    node.engine.write([(key + b"unknown", envelope)])
    with pytest.raises(AssertionError, match="unknown"):
        check_windows(node.tip, node.engine)


def test_the_tip_knows_the_score_that_leveldb_has(node):
    (members,) = (t for (kind, _), t in node.dump()["tables"].items() if kind == ord("M"))
    invariants.corrupt(node.tip, "stored score", next(iter(members["entries"])))
    with pytest.raises(InvariantError, match="another score than LevelDB"):
        invariants.check(node.tip)


def test_a_score_row_moves_with_its_member(node):
    client = node.client()
    client.call("ZADD", "z", 1000, "m3")
    client.call("ZINCRBY", "z", 5, "m150")
    client.call("ZREM", "z", "m7", "m170")
    client.call("ZADD", "z", 0, "new")
    node.checkpoint()
    check_score_rows(node.engine)
    assert len(rows(node)) == MEMBERS - 1


def test_members_written_by_a_replay_replace_their_old_rows(node):
    """After a restart the log writes members that are not in memory."""
    client = node.client()
    client.call("ZADD", "z", 1000, "m3", 1001, "m199")
    client.call("ZREM", "z", "m5")
    node.tip = replay(node.entries, HASH_KEY, mixed_until=len(node.entries))
    node.tip.watermark = node.tip.durable
    node.checkpoint()
    check_score_rows(node.engine)
    assert len(rows(node)) == MEMBERS - 1


@pytest.mark.parametrize(
    ("words", "pages"),
    [
        (("ZRANGE", "z", 0, 9), 0),
        (("ZRANGE", "z", 5, 14), 1),
        (("ZREVRANGE", "z", 0, 9), 1),
        (("ZRANGE", "z", -3, -1), 1),
        (("ZPOPMIN", "z", 3), 0),
        (("ZPOPMAX", "z"), 1),
        (("ZRANGEBYSCORE", "z", 100, "+inf", "LIMIT", 0, 5), 1),
        (("ZREVRANGEBYSCORE", "z", 100, "-inf", "LIMIT", 0, 5), 1),
        (("ZRANGEBYSCORE", "z", "-inf", 5), 0),
        (("ZCOUNT", "z", "-inf", "+inf"), 0),
        (("ZCOUNT", "z", 5, "+inf"), 0),
        (("ZCOUNT", "z", 100, 104), 1),
        (("ZREMRANGEBYSCORE", "z", 50, 55), 1),
        (("ZREMRANGEBYRANK", "z", 0, 4), 0),
        (("ZRANK", "z", "m4"), 0),
        (("ZREVRANK", "z", "m4"), 0),
    ],
)
def test_a_command_costs_what_it_returns(node, words, pages):
    calm = LocalNode().client()
    calm.call("ZADD", "z", *(word for i in range(MEMBERS) for word in (i, f"m{i}")))
    assert node.client().ask(*words) == calm.ask(*words)
    assert node.score_pages - 1 == pages
    check_windows(node.tip, node.engine)


def test_a_rank_far_inside_reads_the_whole_set(node):
    client = node.client()
    assert client.ask("ZRANK", "z", "m120") == 120
    (members,) = (t for (kind, _), t in node.dump()["tables"].items() if kind == ord("M"))
    assert members["resident"]


def test_a_rank_inside_a_set_that_the_cache_cannot_hold_takes_a_transaction(node):
    node.tip.evict(4096, 0)  # says how much the cache has
    session = node.session()
    session.feed(b"ZRANK z m120\r\n")
    for _ in range(3):
        node.run_pass(session)
        node.fetch()
    assert [args for _, args in node.sequencer.take_jobs()] == [[b"ZRANK", b"z", b"m120"]]


def test_pages_that_meet_make_a_set_resident(node):
    client = node.client()
    for first in range(0, MEMBERS, 10):
        client.call("ZRANGEBYSCORE", "z", first, first + 10)
    client.call("ZRANGE", "z", -1, -1)
    (members,) = (t for (kind, _), t in node.dump()["tables"].items() if kind == ord("M"))
    assert members["resident"]
