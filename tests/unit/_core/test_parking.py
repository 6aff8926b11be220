"""Commands that lack a record wait for it without a trace; what is fetched never hides a write."""

import pytest

from tests.support.local import S_PARKED, S_READY, LocalNode, pipeline

OK = b"+OK\r\n"


def loaded(keys=20):
    """Return a node whose keys k0, k1, ... are cold."""
    node = LocalNode()
    client = node.client()
    for i in range(keys):
        client.call("SET", f"k{i}", f"v{i}")
    node.cool()
    return node


@pytest.fixture
def node():
    return loaded()


def park(node, *commands):
    session = node.session()
    assert node.run(session, pipeline(*commands)) == b""
    assert session.state == S_PARKED
    return session


def names(keys):
    return sorted(key[17:] for key in keys)


def test_a_cold_key_is_fetched(node):
    session = park(node, ("GET", "k1"))
    assert names(node.fetch()) == [b"k1"]
    assert session.state == S_READY
    node.run_pass()
    assert session.take() == b"$2\r\nv1\r\n"


def test_an_absence_is_fetched_once(node):
    session = park(node, ("SETNX", "none", "1"))
    assert names(node.fetch()) == [b"none"]
    node.run_pass()
    node.commit()
    assert session.take() == b":1\r\n"
    assert node.client().call("DBSIZE") == 21
    session = park(node, ("EXISTS", "none2"))
    node.fetch()
    node.run_pass()
    assert session.take() == b":0\r\n"
    assert node.run(session, pipeline(("EXISTS", "none2"))) == b":0\r\n"


def test_a_parked_command_leaves_no_trace(node):
    before, entries = node.dump(), len(node.entries)
    park(node, ("MSET", "new", "1", "k1", "2"), ("SET", "x", "1"))
    park(node, ("RENAME", "k1", "k2"))
    park(node, ("COPY", "k1", "k2", "REPLACE"))
    assert node.dump() == before
    assert len(node.entries) == entries


def test_all_that_a_command_misses_is_asked_for_at_once(node):
    park(node, ("MGET", "k1", "k2", "none", "k3"))
    assert names(node.fetch()) == [b"k1", b"k2", b"k3", b"none"]


def test_a_fetch_serves_the_pipeline_behind(node):
    session = park(
        node, ("GET", "k1"), ("MSET", "k2", "a", "k3", "b"), ("PING",), ("DEL", "k4", "k5")
    )
    assert names(node.fetch()) == [b"k1", b"k2", b"k3", b"k4", b"k5"]
    node.run_pass()
    node.commit()
    assert session.take() == b"$2\r\nv1\r\n" + OK + b"+PONG\r\n:2\r\n"


def test_commands_behind_a_parked_one_wait(node):
    session = park(node, ("GET", "k1"), ("PING",))
    assert node.run(session, pipeline(("PING",))) == b""
    node.fetch()
    node.run_pass()
    assert session.take() == b"$2\r\nv1\r\n+PONG\r\n+PONG\r\n"


def test_other_sessions_go_on(node):
    park(node, ("GET", "k1"))
    assert node.run(node.session(), pipeline(("PING",))) == b"+PONG\r\n"


def test_one_fetch_serves_all_sessions_of_a_pass(node):
    sessions = [node.session() for _ in range(3)]
    for i, session in enumerate(sessions):
        session.feed(pipeline(("GET", f"k{i}")))
    node.run_pass(*sessions)
    assert names(node.fetch()) == [b"k0", b"k1", b"k2"]
    node.run_pass()
    assert [s.take() for s in sessions] == [b"$2\r\nv%d\r\n" % i for i in range(3)]


def test_a_closed_session_is_not_resumed(node):
    session = park(node, ("SET", "k1", "x"))
    node.close(session)
    node.fetch()
    node.run_pass()
    assert node.client().call("GET", "k1") == b"v1"


def test_what_is_fetched_does_not_replace_what_was_written(node):
    """Two fetches of one key: the write of the first session survives the second's result."""
    writer = park(node, ("SET", "k1", "new"))
    first = node.begin_fetch()
    node.read(first)
    reader = park(node, ("GET", "k1"))
    second = node.begin_fetch()
    node.read(second)
    node.end_fetch(first)
    node.run_pass()
    node.end_fetch(second)
    node.run_pass()
    node.commit()
    assert (writer.take(), reader.take()) == (OK, b"$3\r\nnew\r\n")


@pytest.mark.parametrize("write", [("SET", "none", "new"), ("DEL", "k1")])
def test_a_late_fetch_never_hides_a_flushed_write(node, write):
    """Hard case 6: written, committed and flushed while a fetch was on its way, and evicted only
    when that has ended: the old state that it read is not taken.
    """
    key = write[1]
    slow_session = park(node, ("GET", key))
    slow = node.begin_fetch()
    node.read(slow)
    writer = park(node, write)
    node.fetch()
    node.run_pass()
    node.commit()
    assert writer.take() in (OK, b":1\r\n")
    node.checkpoint()
    node.evict()
    assert node.versions(key.encode()) != []
    node.end_fetch(slow)
    node.run_pass()
    assert slow_session.take() == (b"$3\r\nnew\r\n" if write[0] == "SET" else b"$-1\r\n")
    node.evict()
    assert node.versions(key.encode()) == []
    assert node.client().call("GET", key) == (b"new" if write[0] == "SET" else None)


def test_what_was_flushed_before_a_fetch_began_may_go(node):
    client = node.client()
    client.call("SET", "k1", "x")
    node.checkpoint()
    park(node, ("GET", "k2"))
    fetch = node.begin_fetch()
    node.evict()
    assert node.versions(b"k1") == []
    node.end_fetch(fetch)


def test_fetched_records_stay_until_their_command_ran(node):
    session = park(node, ("MGET", "k1", "k2"))
    node.fetch()
    node.evict()
    node.run_pass()
    assert session.take() == b"*2\r\n$2\r\nv1\r\n$2\r\nv2\r\n"


def test_a_fetch_for_a_generation_that_is_gone_is_dropped(node):
    """FLUSHDB while a key's fetch is on its way: its result belongs to no database."""
    session = park(node, ("GET", "k1"))
    fetch = node.begin_fetch()
    node.client().call("FLUSHDB")
    node.end_fetch(fetch)
    node.run_pass()
    assert session.take() == b"$-1\r\n"


def test_a_swapped_database_keeps_its_own_fetches(node):
    session = park(node, ("GET", "k1"))
    fetch = node.begin_fetch()
    client = node.client()
    client.call("SWAPDB", 0, 1)
    node.end_fetch(fetch)
    node.run_pass()
    assert session.take() == b"$-1\r\n"
    client.call("SELECT", 1)
    assert client.call("GET", "k1") == b"v1"


def test_chunks_are_fetched_where_they_are_touched():
    node = LocalNode()
    client = node.client()
    client.call("SET", "big", bytes(range(250)) * 1000)
    node.cool()
    session = park(node, ("GETRANGE", "big", 100_000, 100_009))
    assert names(node.fetch()) == [b"big"]
    node.run_pass()
    (chunk,) = node.fetch()
    assert (chunk[:1], int.from_bytes(chunk[9:])) == (b"C", 100_000 // 16_384)
    node.run_pass()
    assert session.take() == b"$10\r\n%b\r\n" % bytes(range(0, 10))


def scan(client, count):
    found, cursor = [], b"0"
    while True:
        cursor, page = client.call("SCAN", cursor, "COUNT", count)
        found += page
        if cursor == b"0":
            return found


@pytest.mark.parametrize("count", [1, 20, 10_000])
def test_ranges_are_merged_with_the_tip(count):
    node = loaded(300)
    client = node.client()
    for i in range(0, 300, 7):
        client.call("DEL", f"k{i}")
    for i in range(300, 350):
        client.call("SET", f"k{i}", "x")
    expected = [b"k%d" % i for i in range(350) if i >= 300 or i % 7]
    assert sorted(scan(client, count)) == sorted(expected)


@pytest.mark.parametrize("is_early", [True, False])
def test_a_write_during_a_range_fetch_is_seen(is_early):
    """Hard case 18: flushed and evicted between, or newer than the rows: in one of the two."""
    node = loaded(50)
    session = park(node, ("SCAN", "0", "COUNT", "1000"))
    fetch = node.begin_fetch()
    if is_early:
        node.read(fetch)
    client = node.client()
    client.call("SET", "fresh", "1")
    client.call("DEL", "k7")
    node.checkpoint()
    node.evict()
    node.end_fetch(fetch)
    node.run_pass()
    node.commit()
    reply = session.take()
    assert b"fresh" in reply
    assert b"$2\r\nk7\r\n" not in reply
    assert reply.count(b"$") == 1 + 50


def test_a_range_finds_keys_past_their_deadline(node):
    client = node.client()
    client.call("PEXPIRE", "k3", 100)
    node.cool()
    node.clock.advance(100)
    assert b"k3" not in client.call("SCAN", "0", "COUNT", "1000")[1]
    assert client.call("DBSIZE") == 19


def read_calls(node):
    """Return how many commands that only read keys were executed."""
    return sum(c.calls for c in node.dispatch.commands.values() if c.reads_keys)


def test_reads_that_wait_for_the_disk_are_counted_once(node):
    client = node.client()
    client.call("SET", "k0", "new")  # of writes nothing counts, though they are cold
    assert node.sequencer.cold_reads == 0
    client.call("GET", "k1")
    assert node.sequencer.cold_reads == 1
    client.call("GET", "k1")
    client.call("PING")
    assert node.sequencer.cold_reads == 1
    client.call("MGET", "k1", "k2", "k3")
    assert node.sequencer.cold_reads == 2
    assert read_calls(node) == 3


def test_reads_behind_a_parked_one_count_too(node):
    """They are fetched with it, and never park themselves."""
    session = node.session()
    asked = [("GET", f"k{i}") for i in (1, 2, 2, 3)] + [("SET", "k4", "v"), ("GET", "k5")]
    node.settle(session, pipeline(*asked))
    assert node.sequencer.cold_reads == 5  # k2 twice: the second one waited as well
    assert read_calls(node) == 5


def test_a_read_that_parks_again_counts_once():
    node = LocalNode()
    client = node.client()
    client.call("RPUSH", "list", *range(3000))
    node.cool()
    node.evict()
    client.call("LRANGE", "list", 1000, 1100)
    assert node.sequencer.cold_reads == 1


def test_a_session_may_be_fed_nothing(node):
    session = node.session()
    session.feed(b"")
    assert node.run(session, pipeline(("PING",))) == b"+PONG\r\n"
