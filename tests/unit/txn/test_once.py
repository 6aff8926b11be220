"""KVNODE ONCE: a request that is sent again answers as it did, and does nothing."""

import pytest

from kvnode._core import once
from tests.sim.node import SimNode, new_node
from tests.support.resp import ErrorReply, decode_all, encode
from tests.support.scripts import ask

STEPS_MAX = 20
TOO_LONG = b"x" * (once.REPLY_BYTES_MAX + 1)
BELONGS = "ERR this request id belongs to another command"
TAKES = "ERR KVNODE ONCE takes a command that writes and does not wait"


@pytest.fixture
def node() -> SimNode:
    return new_node(steps_max=STEPS_MAX)


def run(node: SimNode, request_id: object, *words: object) -> object:
    reply = node.ask("KVNODE", "ONCE", request_id, *words)
    return str(reply) if isinstance(reply, ErrorReply) else reply


def twice(node: SimNode, request_id: object, *words: object) -> object:
    """Run a request two times; return its reply."""
    first = run(node, request_id, *words)
    entries = node.sequencer.last_index
    assert run(node, request_id, *words) == first
    assert node.sequencer.last_index == entries
    return first


def test_it_answers_as_it_did(node):
    assert twice(node, "a", "INCR", "n") == 1
    assert twice(node, "b", "INCR", "n") == 2
    assert twice(node, "a", "INCR", "n") == 1
    assert twice(node, "c", "RPUSH", "l", "x", "y") == 2
    assert twice(node, "d", "LPOP", "l") == b"x"
    assert twice(node, "e", "SET", "s", "1") == b"OK"
    assert twice(node, "f", "SET", "s", "2", "NX") is None
    assert twice(node, "g", "SET", "s", "3", "GET") == b"1"
    assert twice(node, "h", "LPOP", "l", "5") == [b"y"]
    assert node.ask("GET", "n") == b"2"


def test_nothing_that_was_not_done_is_remembered(node):
    """A retry of what was refused may be done."""
    node.ask("SET", "s", "text")
    assert run(node, "a", "INCR", "s") == "ERR value is not an integer or out of range"
    assert run(node, "b", "LPUSH", "s", "x").startswith("WRONGTYPE")
    assert run(node, "c", "EVALSHA", "0" * 40, "0").startswith("NOSCRIPT")
    node.ask("SET", "s", "1")
    assert run(node, "a", "INCR", "s") == 2
    assert run(node, "c", "EVAL", "return redis.call('incr', KEYS[1])", 1, "s") == 3


def test_an_error_behind_effects_is_remembered(node):
    script = "redis.call('incr', 'n') return redis.error_reply('MY fault')"
    assert twice(node, "a", "EVAL", script, "0") == "MY fault"
    assert node.ask("GET", "n") == b"1"


def test_an_id_is_of_one_request(node):
    assert run(node, "a", "INCR", "n") == 1
    assert run(node, "a", "INCR", "m") == BELONGS
    assert run(node, "a", "INCRBY", "n", "1") == BELONGS
    session = node.session()
    assert ask(node, session, "SELECT", 1) == b"OK"
    assert str(ask(node, session, "KVNODE", "ONCE", "a", "INCR", "n")) == BELONGS
    assert node.ask("EXISTS", "m") == 0


def test_long_replies_are_not_kept(node):
    node.ask("SET", "s", TOO_LONG)
    assert run(node, "a", "GETDEL", "s") == TOO_LONG
    error = "DONE this request was done before; its reply was too long to be kept"
    assert run(node, "a", "GETDEL", "s") == error
    node.ask("SET", "s", b"x" * (2 << 20))  # leaves in steps
    assert run(node, "b", "SET", "s", "1", "GET") == b"x" * (2 << 20)
    assert run(node, "b", "SET", "s", "1", "GET") == error
    fits = b"y" * (once.REPLY_BYTES_MAX - len("$4096\r\n\r\n"))
    node.ask("SET", "s", fits)
    assert twice(node, "c", "GETDEL", "s") == fits


def test_a_reply_is_of_one_protocol(node):
    assert run(node, "a", "SET", "s", "1", "NX", "GET") is None
    session = node.session()
    node.settle(session, encode("HELLO", "3"))
    reply = ask(node, session, "KVNODE", "ONCE", "a", "SET", "s", "1", "NX", "GET")
    assert str(reply) == "DONE this request was done before; its reply was in another RESP"


@pytest.mark.parametrize(
    "words",
    [
        ("GET", "k"),
        ("NOSUCH", "k"),
        ("BLPOP", "k", "0"),
        ("MULTI",),
        ("EXEC",),
        ("CONFIG", "SET", "timeout", "1"),
        ("CLIENT", "KILL", "ID", "1"),
        ("SUBSCRIBE", "c"),
        ("KVNODE", "ONCE", "b", "SET", "k", "v"),
        ("FUNCTION", "NOSUCH"),
    ],
)
def test_what_it_does_not_take(node, words):
    assert run(node, "a", *words) == TAKES


def test_wrong_calls(node):
    assert run(node, "a", "INCR") == "ERR wrong number of arguments for 'incr' command"
    assert run(node, "", "INCR", "n") == "ERR a request id has 1 to 64 bytes"
    assert run(node, "x" * 65, "INCR", "n") == "ERR a request id has 1 to 64 bytes"
    assert run(node, "x" * 64, "INCR", "n") == 1
    assert str(node.ask("KVNODE", "ONCE", "a")).startswith("ERR wrong number of arguments")


def test_not_in_transactions_and_scripts(node):
    session = node.session()
    data = b"".join(
        encode(*words)
        for words in [("MULTI",), ("KVNODE", "ONCE", "a", "INCR", "n"), ("INCR", "n"), ("EXEC",)]
    )
    replies = [str(reply) for reply in decode_all(node.settle(session, data))]
    assert replies[1] == "ERR Command not allowed inside a transaction"
    assert replies[3].startswith("EXECABORT")
    script = "return redis.call('KVNODE', 'ONCE', 'a', 'INCR', 'n')"
    assert "This Redis command is not allowed from script" in str(node.ask("EVAL", script, "0"))
    assert node.ask("EXISTS", "n") == 0


def test_pipelines(node):
    session = node.session()
    words = [("KVNODE", "ONCE", request_id, "INCR", "n") for request_id in "aabbca"]
    data = b"".join(encode(*one) for one in words)
    assert decode_all(node.settle(session, data)) == [1, 1, 2, 2, 3, 1]


def test_a_record_is_in_the_entry_of_its_effects(node):
    before = node.sequencer.last_index
    run(node, "a", "INCR", "n")
    assert node.sequencer.last_index == before + 1


def test_it_is_known_after_a_restart(node):
    assert run(node, "a", "INCR", "n") == 1
    node = node.crash()
    assert run(node, "a", "INCR", "n") == 1
    node.checkpoint()
    node = node.crash()
    assert run(node, "a", "INCR", "n") == 1
    assert node.ask("GET", "n") == b"1"


def test_a_cold_key_is_read_first(node):
    node.ask("SET", "n", "5")
    node.checkpoint()
    node.evict()
    assert twice(node, "a", "INCR", "n") == 6


def test_past_the_step_budget(node):
    """It runs beside the sequencer, and its record comes with its effects."""
    node.ask("SADD", "s", *range(STEPS_MAX * 5))
    assert twice(node, "a", "SUNIONSTORE", "t", "s", "s") == STEPS_MAX * 5
    assert node.jobs.transactions.committed == 1
    node.ask("DEL", "t")
    node = node.crash()
    assert run(node, "a", "SUNIONSTORE", "t", "s", "s") == STEPS_MAX * 5
    assert node.ask("EXISTS", "t") == 0


def test_past_the_step_budget_without_effects(node):
    node.ask("SADD", "s", *range(STEPS_MAX * 5))
    assert twice(node, "a", "SINTERSTORE", "t", "s", "none") == 0
    node.ask("SET", "plain", "x")
    assert run(node, "b", "SUNIONSTORE", "t", "s", "plain").startswith("WRONGTYPE")
    node.ask("DEL", "plain")
    assert run(node, "b", "SUNIONSTORE", "t", "s", "plain") == STEPS_MAX * 5


def test_two_tries_of_what_runs_beside(node):
    """The second is under way when the first takes effect."""
    node.ask("SADD", "s", *range(STEPS_MAX * 5))
    data = encode("KVNODE", "ONCE", "a", "SDIFFSTORE", "s", "s", "none")
    sessions = [node.session(), node.session()]
    for session in sessions:
        session.feed(data)
    node.serve(*sessions)
    assert node.jobs.transactions.started == 2
    replies = [node.settle(session, b"") for session in sessions]
    assert replies == [b":100\r\n", b":100\r\n"]
    assert node.jobs.transactions.committed == 2  # one of them without effects


def test_a_large_value_is_written_in_bounded_entries(node):
    value = b"x" * (20 << 20)
    assert run(node, "a", "SET", "k", value) == b"OK"
    sizes = [len(payload) for _, payload in node.entries.values()]
    assert max(sizes) < 5 << 20
    assert run(node, "a", "SET", "k", value) == b"OK"
    assert node.ask("STRLEN", "k") == len(value)


def test_scripts_beside(node):
    node.view.scripts.here.set_budget(0, grant=1000, grants=1)
    script = "for i = 1, 10000 do end redis.call('incr', KEYS[1]) return {1, 'two', {3}}"
    assert twice(node, "a", "EVAL", script, 1, "n") == [1, b"two", [3]]
    assert node.jobs.transactions.committed == 1
    assert node.ask("GET", "n") == b"1"


def test_the_oldest_go_first(node):
    run(node, 0, "INCR", "n")
    requests = node.view.requests
    cost = requests.bytes
    requests.bytes_max = 5 * cost
    for i in range(1, 8):
        run(node, i, "INCR", "n")
    assert (requests.count, requests.dropped) == (5, 3)
    assert requests.bytes == 5 * cost
    assert run(node, 3, "INCR", "n") == 4
    assert run(node, 2, "INCR", "n") == 9  # forgotten: done again
    assert run(node, 4, "INCR", "n") == 5
    assert run(node, 3, "INCR", "n") == 10


def test_their_order_is_known_after_a_restart(node):
    for i in (5, 3, 8, 1):
        run(node, i, "INCR", "n")
    node.checkpoint()
    for i in (7, 2):
        run(node, i, "INCR", "n")
    bytes_ = node.view.requests.bytes
    node = node.crash()
    assert run(node, 5, "INCR", "n") == 1
    assert node.view.requests.bytes == bytes_
    node.view.requests.bytes_max = bytes_
    run(node, 9, "INCR", "n")
    assert [run(node, i, "INCR", "n") for i in (3, 8, 1, 7, 2, 9)] == [2, 3, 4, 5, 6, 7]
    assert run(node, 5, "INCR", "n") == 8


def test_who_waits_is_served(node):
    waiting = node.session()
    waiting.feed(encode("BLPOP", "l", "0"))
    node.serve(waiting)
    assert run(node, "a", "RPUSH", "l", "x") == 1
    assert decode_all(waiting.take()) == [[b"l", b"x"]]


def test_it_waits_for_a_reservation(node):
    """As any write that names what a transaction has reserved, and what names nothing."""
    node.view.dispatch.reserve({b"n"})
    sessions = [node.session() for _ in range(3)]
    for session, words in zip(sessions, [("INCR", "n"), ("FLUSHALL",), ("INCR", "m")], strict=True):
        session.feed(encode("KVNODE", "ONCE", words[0] + words[-1], *words))
    node.serve(*sessions)
    node.sync()
    assert [bool(session.take()) for session in sessions] == [False, False, True]
    for session in node.view.dispatch.end_reservation():
        node.sequencer.resume(session)
    node.serve()
    node.sync()
    assert [session.take() for session in sessions] == [b":1\r\n", b"+OK\r\n", b""]


def test_a_lost_answer_of_the_second_try_is_uncertain(node):
    """It is not true that nothing was done."""
    run(node, "a", "INCR", "n")
    node.sequencer.is_alone = False
    session = node.session()
    session.feed(encode("KVNODE", "ONCE", "a", "INCR", "n"))
    node.serve(session)
    node.sequencer.step_down(b"UNCERTAIN", b"TRYAGAIN", b"UNBLOCKED")
    assert session.take() == b"-UNCERTAIN\r\n"


def test_calls_are_counted(node):
    twice(node, "a", "INCR", "n")
    incr = node.view.dispatch.lookup(b"incr")
    assert (incr.calls, incr.failed) == (1, 0)
    node.ask("SET", "n", "x")
    run(node, "b", "INCR", "n")
    assert (incr.calls, incr.failed) == (2, 1)
    assert node.view.dispatch.errors == {b"ERR": 1}
