"""EXEC: whole or not at all, in one batch; undone without a trace when a record is missing."""

import pytest

from tests.support.local import S_PARKED, S_READY, LocalNode, pipeline

COLD_BIG = b"c" * 100_000


def loaded_node():
    """Return a node with keys in databases 0 and 1, big ones and one with a deadline."""
    node = LocalNode()
    client = node.client()
    for db in (0, 1):
        client.call("SELECT", db)
        for i in range(10):
            client.call("SET", f"k{i}", f"{db}-{i}")
        client.call("SET", "big", COLD_BIG)
        client.call("SET", "timed", "1", "PX", 100_000)
    return node


def warm_up(node):
    client = node.client()
    client.call("SELECT", 2)
    client.call("SET", "warm", "1")
    return node


def cold_node():
    """Return the same node, what it has is cold; only database 2 is in memory."""
    node = loaded_node()
    node.cool()
    return warm_up(node)


@pytest.fixture
def node():
    return cold_node()


def run_exec(node, *commands, db=2):
    """Queue commands on a new session and run EXEC alone in a pass; return the session."""
    session = node.session()
    node.settle(session, pipeline(("SELECT", db), ("MULTI",), *commands))
    session.feed(pipeline(("EXEC",)))
    node.run_pass(session)
    return session


def finish(node):
    for _ in range(20):
        node.fetch()
        node.run_pass()
        node.commit()


def test_an_exec_is_one_reply(node):
    session = run_exec(node, ("SET", "a", "1"), ("FOO",))
    assert session.take() == b"-EXECABORT Transaction discarded because of previous errors.\r\n"
    session = run_exec(node, ("SET", "a", "x"), ("INCR", "a"), ("GET", "a"))
    node.commit()
    assert session.take() == (
        b"*3\r\n+OK\r\n-ERR value is not an integer or out of range\r\n$1\r\nx\r\n"
    )


# Each parks in the middle: what it lacks is not among the keys of its own database.
MIDDLE = {
    "select": [("SET", "a", "1"), ("DEL", "warm"), ("SELECT", 1), ("INCR", "n"), ("GET", "k1")],
    "move": [("SET", "k1", "1"), ("MOVE", "k1", 1)],
    "copy": [("SET", "k2", "1"), ("COPY", "k2", "k2", "DB", 0, "REPLACE")],
    "chunks": [("SET", "a", "1"), ("SELECT", 0), ("GET", "k1"), ("GETRANGE", "big", 5, 9)],
    "append": [("APPEND", "warm", "2"), ("SELECT", 1), ("SETRANGE", "big", 20_000, "x" * 40_000)],
    "flushdb": [("FLUSHDB",), ("SET", "a", "1"), ("SELECT", 1), ("GET", "k1")],
    "flushall": [("SELECT", 1), ("SET", "a", "1"), ("GET", "k1"), ("FLUSHALL",), ("SET", "b", 1)],
    "swapdb": [("SWAPDB", 1, 2), ("SET", "z", "1"), ("GET", "k1"), ("SELECT", 1), ("GET", "warm")],
    "swap twice": [("SWAPDB", 0, 1), ("SWAPDB", 1, 2), ("SELECT", 1), ("SELECT", 0), ("GET", "k3")],
    "flush and swap": [("FLUSHDB",), ("SWAPDB", 2, 1), ("SET", "k1", "1"), ("GET", "k2")],
    "scan": [("SET", "a", "1"), ("SELECT", 1), ("SCAN", 0, "COUNT", 3)],
    "two scans": [
        ("SET", "a", 1),
        ("SELECT", 1),
        ("SCAN", 0, "COUNT", 50),
        ("SELECT", 0),
        ("SCAN", 0, "COUNT", 50),
    ],
    "random": [("SET", "a", 1), ("SELECT", 1), ("RANDOMKEY",), ("SELECT", 0), ("RANDOMKEY",)],
    "rename": [("SELECT", 1), ("RENAME", "k1", "k2"), ("SET", "big", "1"), ("RENAME", "k5", "big")],
    "expire": [("PEXPIRE", "warm", 5), ("SELECT", 1), ("PERSIST", "timed"), ("PEXPIRE", "k1", 9)],
    "large": [("SET", "a", "x" * 50_000), ("SELECT", 1), ("COPY", "big", "b2"), ("GET", "k9")],
}


@pytest.mark.parametrize("name", MIDDLE)
def test_a_parked_exec_leaves_nothing(node, name):
    before, entries = node.dump(), len(node.entries)
    session = run_exec(node, *MIDDLE[name])
    assert session.state == S_PARKED
    assert session.take() == b""
    assert node.dump() == before
    assert len(node.entries) == entries
    assert session.db == 2


@pytest.mark.parametrize("name", MIDDLE)
def test_a_parked_exec_does_not_disturb_its_batch(name):
    """Entry and tip are those of a node to which the EXEC was never sent."""
    found = []
    for sends_exec in (False, True):
        node = cold_node()
        writer, parked = node.session(), node.session()
        node.settle(parked, pipeline(("SELECT", 2), ("MULTI",), *MIDDLE[name]))
        node.settle(writer, pipeline(("SELECT", 2)))
        writer.feed(pipeline(("SET", "a", "0"), ("INCR", "warm"), ("SET", "other", "y" * 40_000)))
        if sends_exec:
            parked.feed(pipeline(("EXEC",)))
        node.run_pass(writer, parked)
        assert parked.state == (S_PARKED if sends_exec else S_READY)
        found.append((node.dump(), node.entries))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", MIDDLE)
def test_a_parked_exec_runs_when_its_records_are_there(node, name):
    """It answers as on a node that has everything in memory."""
    warm = warm_up(loaded_node())
    expected = run_exec(warm, *MIDDLE[name])
    warm.commit()
    session = run_exec(node, *MIDDLE[name])
    finish(node)
    replies = session.take(), expected.take()
    if name in ("scan", "random"):  # cursors and choices depend on where records lie
        assert replies[0][:4] == replies[1][:4] == b"*%d\r\n" % len(MIDDLE[name])
    else:
        assert replies[0] == replies[1]
    assert node.visible() == warm.visible()
    assert (session.db, session.in_multi) == (expected.db, False)


def test_declared_keys_are_fetched_at_once(node):
    session = run_exec(
        node, ("MSET", "k1", "1", "k2", "2"), ("GET", "k3"), ("DEL", "k1", "none"), db=0
    )
    keys = {key[17:] for key in node.fetch()}
    assert keys == {b"k1", b"k2", b"k3", b"none"}
    node.run_pass()
    node.commit()
    assert session.take() == b"*3\r\n+OK\r\n$3\r\n0-3\r\n:1\r\n"


def test_ids_of_an_undone_exec_are_given_out_once(node):
    """An id names one generation or value for ever, also after an EXEC that was undone twice."""
    session = run_exec(node, *MIDDLE["flushdb"])
    other = node.client()
    other.call("SELECT", 5)
    other.call("SET", "x", "1")
    other.call("FLUSHDB")
    other.call("SET", "y", "z" * 40_000)
    finish(node)
    assert session.take() == b"*4\r\n+OK\r\n+OK\r\n+OK\r\n$3\r\n1-1\r\n"
    ids = list(node.dump()["tables"])
    assert len(ids) == len(set(ids))
    assert other.call("GET", "y") == b"z" * 40_000


def test_expiry_inside_an_exec(node):
    session = node.session()
    node.settle(session, pipeline(("SELECT", 2), ("SET", "t", "1", "PX", "50")))
    node.settle(session, pipeline(("MULTI",), ("GET", "t"), ("SET", "n", "1"), ("PTTL", "t")))
    node.clock.advance(50)
    node.run(session, pipeline(("EXEC",)))
    node.commit()
    assert session.take() == b"*3\r\n$-1\r\n+OK\r\n:-2\r\n"
    assert node.visible().counts[2] == (2, 0)


def test_an_expired_key_in_a_parked_exec_is_deleted_by_its_last_run(node):
    client = node.client()
    client.call("SELECT", 2)
    client.call("SET", "t", "1", "PX", 50)
    node.clock.advance(50)
    before = node.dump()
    session = run_exec(node, ("GET", "t"), ("SELECT", 1), ("GET", "k1"))
    assert node.dump() == before
    finish(node)
    assert session.take() == b"*3\r\n$-1\r\n+OK\r\n$3\r\n1-1\r\n"
    assert client.call("DBSIZE") == 1
