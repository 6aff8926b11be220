"""WATCH: what makes an EXEC answer null, and what does not."""

import pytest

from tests.support.local import S_PARKED, LocalNode, pipeline

KEEPS = [  # (before the watch, what happens meanwhile)
    ([], []),
    ([("SET", "k", "1")], [("GET", "k")]),
    ([("SET", "k", "1")], [("SET", "other", "1")]),
    ([("SET", "k", "1")], [("SETNX", "k", "2")]),
    ([("SET", "k", "1")], [("PERSIST", "k")]),
    ([("SET", "k", "1")], [("SELECT", 1), ("SET", "k", "1")]),
    ([], [("DEL", "k")]),
    ([], [("FLUSHDB",)]),
    ([("SET", "other", "1")], [("FLUSHDB",)]),
    ([("SET", "other", "1")], [("FLUSHALL",)]),
    ([("SET", "other", "1")], [("SWAPDB", 0, 1)]),
    ([("SET", "other", "1")], [("FLUSHALL",), ("FLUSHALL",), ("SWAPDB", 0, 3)]),
    ([("SET", "k", "1")], [("SWAPDB", 1, 2)]),
    ([("SET", "k", "1")], [("SELECT", 1), ("FLUSHDB",)]),
]
BREAKS = [
    ([], [("SET", "k", "1")]),
    ([], [("SET", "k", "1"), ("DEL", "k")]),
    ([("SET", "k", "1")], [("SET", "k", "1")]),
    ([("SET", "k", "1")], [("DEL", "k")]),
    ([("SET", "k", "1")], [("INCR", "k")]),
    ([("SET", "k", "1")], [("PEXPIRE", "k", 1000)]),
    ([("SET", "k", "1")], [("RENAME", "k", "x")]),
    ([("SET", "x", "1")], [("RENAME", "x", "k")]),
    ([("SET", "k", "1")], [("MOVE", "k", 1)]),
    ([("SET", "k", "1")], [("FLUSHDB",)]),
    ([("SET", "k", "1")], [("FLUSHALL",)]),
    ([("SET", "k", "1")], [("SELECT", 9), ("FLUSHALL",)]),
    ([("SET", "k", "1")], [("SWAPDB", 0, 1)]),
    ([("SELECT", 1), ("SET", "k", "1")], [("SWAPDB", 0, 1)]),
    ([("SELECT", 1), ("SET", "k", "1")], [("SELECT", 1), ("MOVE", "k", 0)]),
    ([("SET", "other", "1")], [("FLUSHDB",), ("SET", "k", "1")]),
    ([("SET", "other", "1")], [("SWAPDB", 0, 1), ("SET", "k", "1")]),
]


@pytest.fixture(params=["one by one", "in one EXEC"])
def as_exec(request):
    return request.param == "in one EXEC"


@pytest.fixture(params=["warm", "cold"])
def is_cold(request):
    return request.param == "cold"


def outcome(before, meanwhile, as_exec, is_cold):
    """Watch `k` after `before`, let another client do `meanwhile`, return what EXEC answers."""
    node = LocalNode()
    watcher, other = node.client(), node.client()
    for words in before:
        other.call(*words)
    other.call("SELECT", 0)
    if is_cold:
        node.cool()
    watcher.call("WATCH", "k")
    if is_cold:
        node.cool()
    if as_exec:
        other.call("MULTI")
    for words in meanwhile:
        other.call(*words)
    if as_exec:
        other.call("EXEC")
    watcher.call("MULTI")
    watcher.call("SET", "done", "1")
    return watcher.call("EXEC")


@pytest.mark.parametrize(("before", "meanwhile"), KEEPS)
def test_what_changes_nothing_keeps_a_watch(before, meanwhile, as_exec, is_cold):
    assert outcome(before, meanwhile, as_exec, is_cold) == [b"OK"]


@pytest.mark.parametrize(("before", "meanwhile"), BREAKS)
def test_a_change_breaks_a_watch(before, meanwhile, as_exec, is_cold):
    assert outcome(before, meanwhile, as_exec, is_cold) is None


def test_a_key_that_came_and_went_after_a_flush_breaks_a_watch(is_cold):
    """Of an EXEC that flushes only the result counts: there nothing was to be seen between."""
    before = [("SET", "other", "1")]
    meanwhile = [("FLUSHDB",), ("FLUSHDB",), ("SET", "k", "1"), ("DEL", "k")]
    assert outcome(before, meanwhile, False, is_cold) is None
    assert outcome(before, meanwhile, True, is_cold) == [b"OK"]


@pytest.fixture
def node():
    return LocalNode()


def attempt(client):
    client.call("MULTI")
    client.call("PING")
    return client.call("EXEC")


def test_own_writes_break_a_watch_too(node):
    client = node.client()
    client.call("WATCH", "k")
    client.call("SET", "k", "1")
    assert attempt(client) is None


def test_exec_discard_and_unwatch_end_watches(node):
    client, other = node.client(), node.client()
    for end in ([("MULTI",), ("EXEC",)], [("MULTI",), ("DISCARD",)], [("UNWATCH",)]):
        client.call("WATCH", "k", "k2")
        other.call("INCR", "k")
        for words in end:
            client.call(*words)
        assert node.watches.counts() == (0, 0)
        assert attempt(client) == [b"PONG"]


def test_a_refused_exec_ends_watches(node):
    client, other = node.client(), node.client()
    client.call("WATCH", "k")
    client.call("MULTI")
    client.ask("NOSUCH")
    assert str(client.ask("EXEC")).startswith("EXECABORT")
    other.call("SET", "k", "1")
    assert attempt(client) == [b"PONG"]


def test_a_closed_session_watches_nothing(node):
    client = node.client()
    client.call("WATCH", "k")
    node.close(client.session)
    assert node.watches.counts() == (0, 0)
    node.client().call("SET", "k", "1")
    assert not client.session.cas_dirty


def test_watches_of_a_name_are_per_database(node):
    clients = [node.client() for _ in range(3)]
    for db, client in enumerate(clients):
        client.call("SELECT", db)
        client.call("WATCH", "k")
    writer = node.client()
    writer.call("SELECT", 1)
    writer.call("SET", "k", "1")
    assert [attempt(client) for client in clients] == [[b"PONG"], None, [b"PONG"]]


def test_two_watchers_of_a_key(node):
    first, second, writer = (node.client() for _ in range(3))
    first.call("WATCH", "k")
    second.call("WATCH", "k")
    first.call("UNWATCH")
    writer.call("SET", "k", "1")
    assert attempt(first) == [b"PONG"]
    assert attempt(second) is None


def test_a_swap_moves_watches_of_absent_keys_to_the_other_table(node):
    """Both watchers still notice a write, each in its own database."""
    first, second, writer = (node.client() for _ in range(3))
    second.call("SELECT", 1)
    first.call("WATCH", "k")
    second.call("WATCH", "k")
    writer.call("SWAPDB", 0, 1)
    second.call("UNWATCH")
    writer.call("SELECT", 1)
    writer.call("SET", "k", "1")
    assert not first.session.cas_dirty
    writer.call("SELECT", 0)
    writer.call("SET", "k", "1")
    assert attempt(first) is None


def test_a_key_that_expires_after_the_watch_breaks_it(node):
    client = node.client()
    client.call("SET", "k", "1", "PX", 100)
    client.call("WATCH", "k")
    node.clock.advance(100)
    assert attempt(client) is None
    assert client.call("EXISTS", "k") == 0


def test_a_key_past_its_deadline_at_the_watch_does_not_break_it(node):
    client, other = node.client(), node.client()
    client.call("SET", "k", "1", "PX", 100)
    node.clock.advance(100)
    client.call("WATCH", "k")
    assert other.call("GET", "k") is None
    assert attempt(client) == [b"PONG"]


def test_a_write_that_is_undone_breaks_no_watch(node):
    """The marks of an EXEC count when it ends, not while it runs."""
    client = node.client()
    client.call("SELECT", 1)
    client.call("SET", "cold", "1")
    node.cool()
    client.call("SELECT", 0)
    client.call("WATCH", "k")
    session = node.session()
    node.run(session, pipeline(("MULTI",), ("SET", "k", 1), ("SELECT", 1), ("GET", "cold")))
    node.run(session, pipeline(("EXEC",)))
    assert session.state == S_PARKED
    assert not client.session.cas_dirty
    node.fetch()
    node.run_pass()
    assert client.session.cas_dirty


def test_watched_records_stay_in_memory(node):
    client = node.client()
    for i in range(50):
        client.call("SET", f"k{i}", "1")
    client.call("WATCH", "k1", "none")
    node.checkpoint()
    assert node.evict() > 0
    entries = node.dump()["tables"][ord("H"), node.dump()["databases"][0]]["entries"]
    assert {key[17:] for key in entries} >= {b"k1", b"none"}
    assert len(entries) == 2
    client.call("UNWATCH")
    node.evict()
    assert node.versions(b"k1") == []


def test_watch_inside_multi_is_refused(node):
    client = node.client()
    client.call("MULTI")
    assert str(client.ask("WATCH", "k")) == "ERR WATCH inside MULTI is not allowed"
    assert client.call("EXEC") == []
