"""Nothing leaves a session before every entry that it wrote or saw is committed (I2)."""

import sys

import pytest

from kvnode._core.dispatch import Command
from kvnode.base.errors import StorageIOError
from tests.support.local import S_CLOSED, S_CLOSING, UNCERTAIN, LocalNode, pipeline

OK = b"+OK\r\n"
NULL = b"$-1\r\n"


@pytest.fixture
def node():
    node = LocalNode()
    assert node.settle(node.session(), pipeline(("SET", "old", "1"))) == OK
    return node


def ask(node, *words):
    """Run one command on a new session; return the session and what may leave at once."""
    session = node.session()
    return session, node.run(session, pipeline(words))


def test_a_write_is_answered_after_its_commit(node):
    session, now = ask(node, "SET", "a", "1")
    assert now == b""
    assert session.held
    node.commit()
    assert session.take() == OK
    assert not session.held


def test_a_read_of_something_else_is_not_held(node):
    ask(node, "SET", "a", "1")
    assert ask(node, "GET", "old")[1] == b"$1\r\n1\r\n"
    assert ask(node, "GET", "none")[1] == NULL
    assert ask(node, "PING")[1] == b"+PONG\r\n"


@pytest.mark.parametrize(
    ("write", "read", "reply"),
    [
        (("SET", "a", "1"), ("GET", "a"), b"$1\r\n1\r\n"),
        (("SET", "a", "1"), ("EXISTS", "none", "a"), b":1\r\n"),
        (("SET", "a", "1"), ("DBSIZE",), b":2\r\n"),
        (("SET", "a", "1"), ("SETNX", "a", "2"), b":0\r\n"),
        (("SET", "a", "x"), ("INCR", "a"), b"-ERR value is not an integer or out of range\r\n"),
        (("SET", "a", "1"), ("KEYS", "b"), b"*0\r\n"),
        (("SET", "a", "1"), ("RENAMENX", "old", "a"), b":0\r\n"),
        (("DEL", "old"), ("GET", "old"), NULL),
        (("DEL", "old"), ("RANDOMKEY",), NULL),
        (("DEL", "old"), ("SCAN", "0"), b"*2\r\n$1\r\n0\r\n*0\r\n"),
        (("DEL", "old"), ("RENAME", "old", "b"), b"-ERR no such key\r\n"),
        (("PEXPIRE", "old", "1000"), ("PTTL", "old"), b":1000\r\n"),
        (("FLUSHALL",), ("GET", "old"), NULL),
        (("FLUSHALL",), ("DBSIZE",), b":0\r\n"),
        (("FLUSHDB",), ("FLUSHDB",), OK),
        (("FLUSHDB",), ("FLUSHALL",), OK),
        (("SWAPDB", "0", "1"), ("GET", "old"), NULL),
        (("SWAPDB", "0", "1"), ("DBSIZE",), b":0\r\n"),
        (("RENAME", "old", "new"), ("GET", "old"), NULL),
        (("MOVE", "old", "1"), ("COPY", "old", "x"), b":0\r\n"),
    ],
)
def test_a_read_of_an_uncommitted_write_is_held(node, write, read, reply):
    """Presence, absence, errors and refusals: whatever the answer depends on."""
    ask(node, *write)
    session, now = ask(node, *read)
    assert now == b""
    node.commit()
    assert session.take() == reply


def test_a_read_in_the_pass_of_the_write_is_held(node):
    writer, reader = node.session(), node.session()
    writer.feed(pipeline(("SET", "a", "1")))
    reader.feed(pipeline(("GET", "a")))
    node.run_pass(writer, reader)
    assert (writer.take(), reader.take()) == (b"", b"")
    node.commit()
    assert (writer.take(), reader.take()) == (OK, b"$1\r\n1\r\n")


def test_a_read_before_the_write_in_one_pass_is_not_held(node):
    reader, writer = node.session(), node.session()
    reader.feed(pipeline(("GET", "a")))
    writer.feed(pipeline(("SET", "a", "1")))
    node.run_pass(reader, writer)
    assert (reader.take(), writer.take()) == (NULL, b"")


def test_a_hold_ends_with_its_own_entry(node):
    first, _ = ask(node, "SET", "a", "1")
    second, _ = ask(node, "SET", "b", "2")
    reader, _ = ask(node, "GET", "a")
    node.commit(1)
    assert (first.take(), second.take(), reader.take()) == (OK, b"", b"$1\r\n1\r\n")
    node.commit(1)
    assert second.take() == OK


def test_a_committed_version_under_an_uncommitted_one_is_not_shown(node):
    ask(node, "SET", "old", "2")
    reader, now = ask(node, "GET", "old")
    assert now == b""
    node.commit()
    assert reader.take() == b"$1\r\n2\r\n"


def test_output_of_an_open_pass_does_not_leave(node):
    """Its end says what that waits for; a descriptor may be writable before."""
    session = node.session()
    session.feed(pipeline(("GET", "old"), ("SET", "a", "1")))
    node.sequencer.begin(node.clock.now_ms)
    node.sequencer.serve(session)
    assert session.take() == b""
    node.sequencer.end()
    assert session.take() == b""
    node.commit()
    assert session.take() == b"$1\r\n1\r\n" + OK


def test_output_leaves_in_order(node):
    session = node.session()
    assert node.run(session, pipeline(("GET", "old"))) == b"$1\r\n1\r\n"
    assert node.run(session, pipeline(("SET", "a", "1"), ("GET", "old"))) == b""
    assert node.run(session, pipeline(("GET", "old"), ("PING",))) == b""
    assert node.run(session, pipeline(("SET", "b", "1"))) == b""
    assert node.run(session, pipeline(("PING",))) == b""
    node.commit(1)
    assert session.take() == OK + b"$1\r\n1\r\n"
    node.commit(1)
    assert session.take() == b"$1\r\n1\r\n+PONG\r\n" + OK + b"+PONG\r\n"
    assert not session.held


def test_an_exec_that_a_watch_stops_waits_for_what_stopped_it(node):
    session = node.session()
    node.settle(session, pipeline(("WATCH", "old"), ("MULTI",), ("SET", "x", "1")))
    ask(node, "SET", "old", "2")
    assert node.run(session, pipeline(("EXEC",))) == b""
    node.commit()
    assert session.take() == b"*-1\r\n"


def test_lost_entries_make_held_replies_uncertain(node):
    """What may leave already is not taken back; what was held is one error, then the end."""
    writer, reader, other = (node.session() for _ in range(3))
    node.run(other, pipeline(("PING",)))
    node.run(writer, pipeline(("SET", "a", "1")))
    writer.feed(pipeline(("SET", "b", "1")))
    reader.feed(pipeline(("GET", "old"), ("GET", "b")))
    node.run_pass(writer, reader)
    node.log.complete(1)
    node.sequencer.log_moved()
    node.sequencer.fail_held(UNCERTAIN)
    assert writer.take() == OK + b"-" + UNCERTAIN + b"\r\n"
    assert reader.take() == b"-" + UNCERTAIN + b"\r\n"
    assert (writer.state, reader.state) == (S_CLOSING, S_CLOSING)
    assert other.state not in (S_CLOSING, S_CLOSED)
    assert set(node.sequencer.take_flushable()) == {writer, reader}


def test_a_closed_session_is_not_written_to(node):
    session, _ = ask(node, "SET", "a", "1")
    node.close(session)
    node.sequencer.fail_held(UNCERTAIN)
    assert session.state == S_CLOSED
    assert session.take() == b""


def test_a_failed_log_releases_nothing(node):
    session, _ = ask(node, "SET", "a", "1")
    node.log.fail(5)
    with pytest.raises(StorageIOError):
        node.sequencer.log_moved()
    assert session.take() == b""
    node.sequencer.fail_held(UNCERTAIN)
    assert session.take() == b"-" + UNCERTAIN + b"\r\n"


def test_relaxed_durability_releases_what_is_written(node):
    node.sequencer.relaxed = True
    session, _ = ask(node, "SET", "a", "1")
    node.log.write()
    node.sequencer.log_moved()
    assert session.take() == OK
    assert node.sequencer.synced < node.sequencer.committed
    assert node.tip.durable < node.tip.watermark
    node.log.sync_written()
    node.sequencer.log_moved()
    assert node.tip.durable == node.tip.watermark


def test_consensus_decides_what_is_committed(node):
    reports = []
    agreed = node.sequencer.committed

    def on_stable(term, index):
        reports.append((term, index))
        return agreed

    node.sequencer.on_stable = on_stable
    first, _ = ask(node, "SET", "a", "1")
    node.commit()
    assert first.take() == b""
    assert reports == [(1, agreed + 1)]
    agreed += 1
    second, _ = ask(node, "SET", "b", "1")
    node.commit()
    assert (first.take(), second.take()) == (OK, b"")
    assert reports == [(1, agreed), (1, agreed + 1)]


def test_a_reply_larger_than_a_passs_budget_goes_on_in_the_next(node):
    value = b"v" * 16_000
    session = node.session()
    node.run(session, pipeline(("SET", "a", value)))
    assert node.run(session, pipeline(*[("GET", "a")] * 100)) == b""
    passes = 1
    while ready := node.sequencer.take_ready():
        node.sequencer.resume(session)
        node.run_pass(*ready)
        passes += 1
    assert passes == 2
    node.commit()
    assert session.take() == OK + b"$16000\r\n%b\r\n" % value * 100


@pytest.mark.parametrize("proto", [2, 3])
def test_client_reply(node, proto):
    session = node.session()
    session.proto = proto
    commands = [
        (("CLIENT", "REPLY", "OFF"), b""),
        (("SET", "a", "1"), b""),
        (("GET", "a"), b""),
        (("CLIENT", "REPLY", "ON"), OK),
        (("CLIENT", "REPLY", "SKIP"), b""),
        (("SET", "a", "2"), b""),
        (("GET", "a"), b"$1\r\n2\r\n"),
    ]
    for words, reply in commands:
        assert node.settle(session, pipeline(words)) == reply, words


def test_a_session_that_waits_is_answered_in_order(node):
    waits = Command(b"waits", -1, 0, (0, 0, 0), lambda view, args, reply: 2)
    ping = Command(b"ping", -1, 0, (0, 0, 0), lambda view, args, reply: reply.simple(b"PONG"))
    node = LocalNode(commands=[waits, ping])
    session = node.session()
    assert node.run(session, pipeline(("PING",), ("WAITS",), ("PING",))) == b"+PONG\r\n"
    assert node.run(session, pipeline(("PING",))) == b""
    node.sequencer.begin(node.clock.now_ms)
    node.sequencer.answer(session, lambda reply: reply.integer(7))
    node.sequencer.end()
    assert session.take() == b":7\r\n"
    node.run_pass()
    assert session.take() == b"+PONG\r\n" * 2


def test_holds_let_go_of_their_sessions(node):
    session = node.session()
    node.run(session, pipeline(("PING",)))  # the view keeps the last session that ran
    before = sys.getrefcount(session)
    for i in range(5):
        node.run(session, pipeline(("SET", f"k{i}", "1")))
    assert sys.getrefcount(session) == before + 5
    node.commit(3)
    node.sequencer.fail_held(UNCERTAIN)
    node.sequencer.take_flushable()
    assert sys.getrefcount(session) == before
