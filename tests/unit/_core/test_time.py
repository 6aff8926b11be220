"""Time: a hybrid clock that only grows, one `now` a batch, and expiry that goes through the log."""

from itertools import pairwise

import pytest

from kvnode._core.upkeep import due_records
from tests.support.contents import DELETE, contents, operations, replay
from tests.support.local import HASH_KEY, START_MS, LocalNode, pipeline

COUNTER_BITS = 16  # of a commit_ts


@pytest.fixture
def node():
    return LocalNode()


def stamps(node):
    return [commit_ts for commit_ts, _ in node.entries]


def test_a_commit_timestamp_begins_with_the_time(node):
    node.settle(node.session(), pipeline(("SET", "a", "1")))
    assert stamps(node)[-1] >> COUNTER_BITS == START_MS
    node.clock.advance(5)
    node.settle(node.session(), pipeline(("SET", "a", "1")))
    assert stamps(node)[-1] >> COUNTER_BITS == START_MS + 5


def test_timestamps_grow_while_the_clock_stands_or_jumps_back(node):
    session = node.session()
    for step in (0, 0, 10, -3_600_000, 0, 5, -1, 3_600_000):
        node.clock.advance(step)
        node.settle(session, pipeline(("INCR", "a")))
    found = stamps(node)
    assert all(earlier < later for earlier, later in pairwise(found))


def test_time_does_not_run_backwards_for_deadlines(node):
    client = node.client()
    client.call("SET", "a", "1", "PX", 1000)
    node.clock.advance(400)
    assert client.call("PTTL", "a") == 600
    node.clock.advance(-300)
    assert client.call("PTTL", "a") == 600


def test_time_stands_still_within_a_batch(node):
    session = node.session()
    node.settle(session, pipeline(("SET", "a", "1", "PX", "1")))
    node.clock.advance(1)
    reader = node.session()
    for each in (session, reader):
        each.feed(pipeline(*[("PTTL", "b"), ("PSETEX", "b", "7", "x"), ("PTTL", "b")] * 100))
    node.run_pass(session, reader)
    node.commit()
    assert session.take() == b":-2\r\n+OK\r\n:7\r\n" + b":7\r\n+OK\r\n:7\r\n" * 99
    assert reader.take() == b":7\r\n+OK\r\n:7\r\n" * 100


def test_expiry_is_a_deletion_in_the_log(node):
    client = node.client()
    client.call("SET", "a", "1", "PX", 100)
    node.clock.advance(99)
    assert client.call("GET", "a") == b"1"
    node.clock.advance(1)
    session = node.session()
    assert node.run(session, pipeline(("GET", "a"))) == b""
    deleted = [(op, key[17:]) for op, key, _ in operations(node.entries[-1][1]) if key[:1] == b"H"]
    assert deleted == [(DELETE, b"a")]
    node.commit()
    assert session.take() == b"$-1\r\n"
    assert contents(replay(node.entries, HASH_KEY)).databases[0] == {}


def test_an_expired_key_is_deleted_once(node):
    client = node.client()
    client.call("SET", "a", "1", "PX", 100)
    node.clock.advance(100)
    client.call("GET", "a")
    entries = len(node.entries)
    assert client.call("EXISTS", "a") == 0
    assert client.call("DBSIZE") == 0
    assert len(node.entries) == entries


def test_a_deadline_in_the_past_is_a_deletion(node):
    client = node.client()
    client.call("SET", "a", "1")
    assert client.call("PEXPIREAT", "a", START_MS - 1) == 1
    assert [op for op, key, _ in operations(node.entries[-1][1]) if key[:1] == b"H"] == [DELETE]
    assert client.call("EXISTS", "a") == 0


def test_the_sweeper_deletes_what_is_due_and_leaves_the_rest(node):
    client = node.client()
    for name, ms in (("a", 100), ("b", 200)):
        client.call("SET", name, "1", "PX", ms)
    client.call("SET", "c", "1")
    node.clock.advance(150)
    generation = node.dump()["databases"][0]
    node.sequencer.begin(node.clock.now_ms)
    stale = node.sequencer.expire_records([(generation, k) for k in (b"a", b"b", b"c", b"none")])
    stale += node.sequencer.expire_records([(999, b"a")])
    node.sequencer.end()
    node.commit()
    assert stale == 4
    assert set(node.visible().databases[0]) == {b"b", b"c"}
    assert node.view.expired == 1


def sweep(node, judge_ms):
    """Take what is due at `judge_ms` and expire it in a pass at the node's time."""
    node.sequencer.begin(node.clock.now_ms)
    node.sequencer.expire_records(due_records(node.tip, judge_ms, 100))
    node.sequencer.end()
    node.commit()


def test_a_name_that_was_swept_is_filed_again_with_its_next_deadline(node):
    client = node.client()
    for _ in range(2):
        client.call("SET", "a", "1", "PX", 10)
        node.clock.advance(20)
        sweep(node, node.clock.now_ms)
        assert node.visible().databases[0] == {}


def test_a_head_that_is_due_by_a_later_clock_only_stays_filed(node):
    client = node.client()
    client.call("SET", "a", "1", "PX", 10)
    node.clock.advance(9)
    sweep(node, node.clock.now_ms + 1)
    assert set(node.visible().databases[0]) == {b"a"}
    node.clock.advance(1)
    sweep(node, node.clock.now_ms)
    assert node.visible().databases[0] == {}


def test_a_parked_command_leaves_its_expired_keys_deleted(node):
    """The marks of such a deletion reach the watchers at once, not with the next command."""
    client, watcher = node.client(), node.client()
    client.call("SET", "cold", "1")
    client.call("SET", "old", "1", "PX", 100)
    watcher.call("WATCH", "old")
    node.cool()
    client.call("PTTL", "old")
    node.clock.advance(100)
    session = node.session()
    assert node.run(session, pipeline(("COPY", "old", "cold"))) == b""
    assert session.state == 1
    assert watcher.session.cas_dirty
    node.fetch()
    node.run_pass()
    node.commit()
    assert session.take() == b":0\r\n"


def test_an_expiry_is_an_event_of_its_own_database(node):
    """Whoever finds the key: a command in its database or in another one, or the sweeper."""
    events = []
    node.view.on_event = lambda event_class, *event: events.append(event)
    client = node.client()
    for db in (1, 2, 3):
        client.call("SELECT", db)
        client.call("SET", "k", "1", "PX", 10)
    client.call("SELECT", 0)
    client.call("SET", "k", "1")
    node.clock.advance(10)
    events.clear()
    client.call("COPY", "k", "k", "DB", 1)
    client.call("SELECT", 2)
    client.call("GET", "k")
    generation = node.dump()["databases"][3]
    node.sequencer.begin(node.clock.now_ms)
    node.sequencer.expire_records([(generation, b"k")])
    node.sequencer.end()
    assert [event for event in events if event[0] == b"expired"] == [
        (b"expired", b"k", db) for db in (1, 2, 3)
    ]
