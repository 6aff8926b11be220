"""Rarer paths and bounds: what a naive build does slowly, or not quite as Redis does."""

import pytest

from tests.sim.node import new_node
from tests.support.contents import operations
from tests.support.local import S_PARKED, LocalNode, pipeline

OK = b"+OK\r\n"


@pytest.fixture
def node():
    return LocalNode()


def test_hard_case_17_the_newest_version_lies_under_the_bare_key(node):
    """Overwrites replace, deletions delete, and nothing is left behind."""
    client = node.client()
    for i in range(20):
        for name in ("a", "b", "c"):
            client.call("SET", name, i)
        node.checkpoint()
    client.call("DEL", "b")
    node.checkpoint()
    assert [key[17:] for key in node.engine.scan_keys(b"H", b"I", 100)] in (
        [b"a", b"c"],
        [b"c", b"a"],
    )
    assert node.engine.scan_keys(b"Y", b"Z", 100) == []


def test_hard_case_18_a_record_on_its_way_to_the_store_is_in_one_of_the_two(node):
    """The reader's rows are from before the slice, its look at the tip from after the eviction."""
    client = node.client()
    for i in range(30):
        client.call("SET", f"k{i}", i)
    node.cool()
    client.call("SET", "moving", "1")
    session = node.session()
    assert node.run(session, pipeline(("SCAN", "0", "COUNT", "1000"))) == b""
    fetch = node.begin_fetch()
    node.read(fetch)
    node.cool()
    node.end_fetch(fetch)
    node.run_pass()
    assert b"$6\r\nmoving\r\n" in session.take()


def test_hard_case_19_a_large_value_is_written_in_bounded_entries(node):
    """Published by one head; a batch closes at its limit, never inside an EXEC."""
    session = node.session()
    size = 20 << 20
    node.settle(session, pipeline(("SET", "big", b"x" * size)))
    node.settle(session, pipeline(("COPY", "big", "copy")))
    assert max(len(payload) for _, payload in node.entries) < 6 << 20
    assert node.settle(session, pipeline(("STRLEN", "copy"))) == b":%d\r\n" % size


def test_hard_case_22_nothing_of_an_undone_exec_acts(node):
    """Records, counts, ids, trash, events and marks: gone, and there once when it ran."""
    events = []
    node.view.on_event = lambda *event: events.append(event[1:])
    client = node.client()
    client.call("SET", "cold", "1")
    client.call("SET", "big", b"x" * 40_000)
    node.cool()
    client.call("SELECT", 1)
    client.call("SET", "warm", "1")
    watcher = node.client()
    watcher.call("SELECT", 1)
    watcher.call("WATCH", "warm")
    session = node.session()
    commands = [("SET", "warm", "2"), ("SET", "new", b"y" * 40_000), ("FLUSHDB",)]
    commands += [("SET", "after", "1"), ("SELECT", 0), ("DEL", "big"), ("MOVE", "cold", 1)]
    node.settle(session, pipeline(("SELECT", 1), ("MULTI",), *commands))
    before, first_id, entries = node.dump(), node.view.first_unused_id, len(node.entries)
    events.clear()
    session.feed(pipeline(("EXEC",)))
    node.run_pass(session)
    rounds = 0
    while session.state == S_PARKED:
        assert node.dump() == before
        assert (node.view.first_unused_id, len(node.entries)) == (first_id, entries)
        assert (events, watcher.session.cas_dirty) == ([], False)
        node.fetch()
        before = node.dump()
        node.run_pass()
        rounds += 1
    assert rounds
    node.commit()
    assert session.take() == b"*7\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n:1\r\n:1\r\n"
    assert watcher.session.cas_dirty
    names = [name for name, _, _ in events]
    assert names.count(b"set") == 3
    assert names.count(b"del") == names.count(b"move_to") == 1


def test_hard_case_22_what_came_before_an_undone_exec_in_its_batch_stays(node):
    client = node.client()
    client.call("SELECT", 1)
    client.call("SET", "cold", "1")
    node.cool()
    session = node.session()
    session.feed(
        pipeline(
            ("SET", "k", "1"),
            ("MULTI",),
            ("INCR", "k"),
            ("SELECT", 1),
            ("INCR", "cold"),
            ("EXEC",),
            ("PING",),
        )
    )
    node.run_pass(session)
    assert session.state == S_PARKED
    assert [v[4] for v in node.versions(b"k")] == [b"1"]
    node.fetch()
    node.run_pass()
    node.commit()
    assert session.take() == OK * 2 + b"+QUEUED\r\n" * 3 + b"*3\r\n:2\r\n+OK\r\n:2\r\n+PONG\r\n"


@pytest.mark.parametrize("is_cold", [False, True])
def test_hard_case_27_cursors_are_small_and_lose_nothing_under_churn(node, is_cold):
    client = node.client()
    for i in range(200):
        client.call("SET", f"stays{i}", i)
    seen, cursor, step = set(), b"0", 0
    while True:
        if is_cold:
            node.cool()
        cursor, page = client.call("SCAN", cursor, "COUNT", 7)
        assert int(cursor) < 1 << 53
        seen.update(page)
        for i in range(5):
            client.call("SET", f"churn{step}-{i}", 1)
            client.call("DEL", f"churn{step - 1}-{i}")
        step += 1
        if cursor == b"0":
            break
    assert step > 10
    assert seen >= {b"stays%d" % i for i in range(200)}


def test_hard_case_27_a_cursor_holds_across_a_restart():
    node = new_node()
    node.settle(node.session(), pipeline(*[("SET", f"k{i}", i) for i in range(100)]))
    session = node.session()
    reply = node.settle(session, pipeline(("SCAN", 0, "COUNT", 30)))
    cursor = reply.split(b"\r\n")[2]
    seen = set(reply.split(b"\r\n")[4:])
    node = node.crash()
    reply = node.settle(node.session(), pipeline(("SCAN", cursor, "COUNT", 1000)))
    assert reply.startswith(b"*2\r\n$1\r\n0\r\n")
    seen |= set(reply.split(b"\r\n")[4:])
    assert seen >= {b"k%d" % i for i in range(100)}


def test_hard_case_28_a_read_waits_only_for_what_it_names(node):
    client = node.client()
    client.call("MSET", "a", 1, "b", 2)
    writer, reader = node.session(), node.session()
    node.run(writer, pipeline(("SET", "a", "3")))
    assert node.run(reader, pipeline(("GET", "b"), ("PING",))) == b"$1\r\n2\r\n+PONG\r\n"
    assert node.run(reader, pipeline(("GET", "a"))) == b""
    first = node.sequencer.last_index
    node.run(writer, pipeline(("SET", "b", "3")))
    assert node.sequencer.last_index == first + 1
    node.commit(1)
    assert reader.take() == b"$1\r\n3\r\n"


def test_hard_case_28_a_key_that_is_gone_still_names_the_entry_that_took_it(node):
    client = node.client()
    client.call("SET", "a", "1")
    node.run(node.session(), pipeline(("DEL", "a")))
    reader = node.session()
    assert node.run(reader, pipeline(("GET", "a"))) == b""
    node.commit()
    assert reader.take() == b"$-1\r\n"
    node.checkpoint()
    assert node.versions(b"a") == []
    assert node.run(reader, pipeline(("GET", "a"))) == b"$-1\r\n"


def test_hard_case_29_uncommitted_and_unflushed_bytes_are_counted(node):
    """Backpressure stops reading; what it measures must be there and drain by itself."""
    session = node.session()
    for i in range(50):
        node.run(session, pipeline(("SET", f"k{i}", b"v" * 10_000)))
    held = node.sequencer.statistics()
    assert held["unsynced_bytes"] > 500_000
    assert held["held_sessions"] == 50
    assert node.tip.dirty_bytes > 500_000
    node.commit()
    assert node.sequencer.statistics()["unsynced_bytes"] == 0
    assert node.sequencer.statistics()["held_sessions"] == 0
    node.checkpoint()
    assert node.tip.dirty_bytes == 0


def test_hard_case_30_renewing_a_deadline_writes_no_row_each_time(node):
    """A session store renews a TTL on each access: one hint stays, and is filed again once."""
    client = node.client()
    client.call("SET", "s", "x", "PX", 1000)
    for _ in range(50):
        node.clock.advance(100)
        client.call("PEXPIRE", "s", 1000)
        node.checkpoint()
    assert len(node.engine.scan_keys(b"X", b"Y", 100)) == 1
    assert node.tip.statistics()["deadlines"] <= 2


def test_hard_case_30_a_part_of_a_large_string_costs_what_it_touches(node):
    """The head of a string in chunks has a fixed size, and an absent chunk is zeros."""
    session = node.session()
    size = 256 << 20
    node.settle(session, pipeline(("SETRANGE", "s", size - 1, "x")))
    assert len(node.entries[-1][1]) < 40_000
    node.settle(session, pipeline(("SETRANGE", "s", 1000, "y")))
    assert len(node.entries[-1][1]) < 2000
    reply = node.settle(session, pipeline(("GETRANGE", "s", 990, 1005), ("STRLEN", "s")))
    assert reply == b"$16\r\n%b\r\n:%d\r\n" % (bytes(10) + b"y" + bytes(5), size)


def test_hard_case_31_ids_are_given_out_once():
    """Over undone commands and restarts: a generation or value never gets the id of another."""
    sim = new_node()
    session = sim.session()
    sim.settle(session, pipeline(("SET", "a", b"x" * 40_000), ("FLUSHDB",), ("SET", "b", "1")))
    used = _ids(sim.entries.values())
    for _ in range(3):
        first_id = sim.view.first_unused_id
        assert first_id > max(used)
        sim = sim.crash()
        assert sim.view.first_unused_id >= first_id
        sim.settle(
            sim.session(), pipeline(("SET", "c", b"y" * 40_000), ("FLUSHDB",), ("SET", "d", 1))
        )
        new = _ids(list(sim.entries.values())[-2:]) - used
        assert min(new) >= first_id
        used |= new


def _ids(entries):
    """Return the ids of generations and values that entries write to."""
    keys = [key for _, payload in entries for _, key, _ in operations(payload)]
    return {int.from_bytes(key[1:9]) for key in keys if key[:1] in (b"C", b"G")}


def test_hard_case_32_flushall_does_not_break_a_watch_on_an_absent_key(node):
    watcher, other = node.client(), node.client()
    other.call("SET", "other", "1")
    watcher.call("WATCH", "absent")
    other.call("FLUSHALL")
    watcher.call("MULTI")
    assert watcher.call("EXEC") == []


def test_hard_case_32_a_set_to_the_same_value_breaks_a_watch(node):
    watcher, other = node.client(), node.client()
    other.call("SET", "k", "1")
    watcher.call("WATCH", "k")
    other.call("SET", "k", "1")
    watcher.call("MULTI")
    assert watcher.call("EXEC") is None


def test_hard_case_32_the_removal_of_a_key_that_had_expired_at_watch_does_not(node):
    watcher, other = node.client(), node.client()
    other.call("SET", "k", "1", "PX", 10)
    node.clock.advance(10)
    watcher.call("WATCH", "k")
    assert other.call("EXISTS", "k") == 0
    watcher.call("MULTI")
    assert watcher.call("EXEC") == []
