"""Scripts among others: fences, write skew, reservations, events, memory."""

import hashlib

import pytest

from tests.sim.node import SimNode, new_node
from tests.support.local import LocalNode, pipeline
from tests.support.resp import ErrorReply, decode_all, encode
from tests.support.scripts import LONG, S_WAITING, finish, impatient_node

DOUBLING = "local t = {1} for i = 1, 60 do t = {t, t} end return t"
HUNGRY = "local t = {} for i = 1, 1e6 do t[i] = string.rep('x', 1e5) .. i end"
MEMORY_BYTES = 16 << 20


@pytest.fixture
def node() -> SimNode:
    return impatient_node()


def begin(node: SimNode, *words: object):
    session = node.session()
    session.feed(encode(*words))
    node.serve(session)
    assert session.state == S_WAITING
    return session


def empty_entries(node: SimNode) -> int:
    return sum(not payload for _, payload in node.entries.values())


def test_one_fence_whatever_it_calls(node, client):
    for i in range(20):
        client("SET", f"k{i}", i)
    before = empty_entries(node)
    text = LONG + "for i = 0, 19 do redis.call('get','k' .. i) end redis.call('set','a','1')"
    finish(node, begin(node, "EVAL", text, "0"))
    assert empty_entries(node) - before == 1


@pytest.mark.parametrize("long", [("a", "b"), ("a",), ()])
def test_no_write_skew(node, client, long):
    """GET a, SET b against GET b, SET a: not both see the other's key absent."""
    text = "local v = redis.call('get',KEYS[1]) {} if not v then redis.call('set',KEYS[2],'1') end"
    sessions = []
    for mine, other in (("a", "b"), ("b", "a")):
        words = ("EVAL", text.format(LONG if mine in long else ""), "2", other, mine)
        if mine in long:
            sessions.append(begin(node, *words))
        else:
            client(*words)
    for session in sessions:
        finish(node, session)
    assert client("EXISTS", "a", "b") == 1


def test_what_misses_often_runs_beside():
    """The third run that lacks a record is the last one on the sequencer."""
    node = new_node()
    session = node.session()
    for i in range(6):
        node.settle(session, encode("SET", f"k{i}", i))
    node.checkpoint()
    node.evict()
    node.tip.set_resident(node.tip.current_generation(0), False)
    text = "local s = 0 for i = 1, 5 do s = s + redis.call('get', KEYS[1] .. i) end return s"
    assert node.settle(session, encode("EVAL", text, "1", "k")) == b":15\r\n"
    assert node.view.scripts.moved == 1
    assert node.jobs.transactions.committed == 1
    assert node.settle(session, encode("EVAL", text, "1", "k")) == b":15\r\n"
    assert node.jobs.transactions.committed == 1 + (node.view.scripts.moved - 1)


def test_a_script_waits_for_the_end_of_a_reservation(node, client):
    dispatch = node.view.dispatch
    dispatch.reserve({b"a"})
    session = node.session()
    text = "redis.call('set','b','1') redis.call('set','a','1') return redis.call('get','b')"
    session.feed(encode("EVAL", text, "0"))
    node.serve(session)
    node.sync()
    assert session.state == S_WAITING
    assert session.take() == b""
    assert client("EXISTS", "b") == 0
    for held in dispatch.end_reservation():
        node.sequencer.resume(held)
    node.serve()
    node.sync()
    assert decode_all(session.take()) == [b"1"]


def test_events_leave_once_and_at_the_end():
    node = LocalNode()
    client = node.client()
    client.ask("SET", "cold", "v")
    node.cool()
    events = []
    node.view.on_event = lambda kind, event, key, db: events.append((event, key))
    session = node.session()
    text = "redis.call('set','a','1') redis.call('append','cold','x') redis.call('del','a')"
    node.run(session, encode("EVAL", text, "0"))
    assert events == []
    node.settle(session)
    assert [event for event in events if event[0] != b"new"] == [
        (b"set", b"a"),
        (b"append", b"cold"),
        (b"del", b"a"),
    ]


def test_events_of_a_script_that_is_stopped_beside(node, client):
    node.view.scripts.beside.set_budget(0, grant=1000, grants=5)
    events = []
    node.view.on_event = lambda kind, event, key, db: events.append((event, key))
    session = node.session()
    text = "redis.call('set','a','1') " + LONG
    session.feed(pipeline(("MULTI",), ("SET", "b", "1"), ("EVAL", text, "0"), ("EXEC",)))
    node.serve(session)
    node.sync()
    session.take()
    finish(node, session)
    assert [event for event in events if event[0] != b"new"] == [(b"set", b"b")]


@pytest.mark.parametrize("prefix", ["", LONG])
@pytest.mark.parametrize("text", [HUNGRY, f"return (function() {HUNGRY} end)()"])
def test_memory_is_bounded(node, client, prefix, text):
    scripts = node.view.scripts
    scripts.here.memory_max = scripts.beside.memory_max = MEMORY_BYTES
    session = node.session()
    session.feed(encode("EVAL", "redis.call('set','a','1') " + prefix + text, "0"))
    node.serve(session)
    reply = decode_all(finish(node, session) if session.state else node.settle(session, b""))[-1]
    assert str(reply).startswith("ERR Script needs more memory than it may take")
    assert client("EXISTS", "a") == 0
    assert client("EVAL", "return redis.call('ping').ok", "0") == b"PONG"
    node.check()


def test_a_reply_that_never_ends_is_stopped(node, client):
    node.view.scripts.beside.set_budget(0, grant=1000, grants=100)
    reply = decode_all(finish(node, begin(node, "EVAL", DOUBLING, "0")))[-1]
    assert isinstance(reply, ErrorReply)
    assert "took longer than it may" in str(reply)


def test_a_large_reply_is_bounded_by_memory(node, client):
    scripts = node.view.scripts
    scripts.here.memory_max = MEMORY_BYTES
    scripts.here.set_budget(0)
    text = "local s = string.rep('x', 1e6) local t = {} for i = 1, 100 do t[i] = s end return t"
    assert "more memory" in str(client("EVAL", text, "0"))
    assert client("EVAL", "return 1", "0") == 1


def test_sessions_that_wait_are_served_after_the_script():
    node = LocalNode()
    waiting = node.session()
    node.run(waiting, encode("BLPOP", "q", "0"))
    session = node.session()
    text = "redis.call('rpush','q','a') redis.call('lpop','q') redis.call('rpush','q','b')"
    node.run(session, encode("EVAL", text, "0"))
    node.commit()
    assert decode_all(waiting.take()) == [[b"q", b"b"]]
    assert node.client().ask("EXISTS", "q") == 0


def test_a_script_that_pops_does_not_overtake_who_waits():
    """A pass has served as many as it may: a script that pops the rest comes after the others."""
    node = LocalNode()
    node.sequencer.serving_max = 1
    waiting = [node.session() for _ in range(3)]
    for session in waiting:
        node.run(session, encode("BLPOP", "q", "0"))
    pusher, popper = node.session(), node.session()
    pusher.feed(encode("RPUSH", "q", *"abcd"))
    popper.feed(encode("EVAL", "return redis.call('lpop', 'q')", "0"))
    node.run_pass(pusher, popper)
    for _ in range(6):
        node.run_pass()
    node.commit()
    replies = [decode_all(session.take()) for session in waiting]
    assert replies == [[[b"q", b"a"]], [[b"q", b"b"]], [[b"q", b"c"]]]
    assert decode_all(popper.take()) == [b"d"]


@pytest.mark.parametrize("is_long", [False, True])
def test_an_exec_caches_the_texts_that_it_runs(node, is_long):
    """Also one that runs beside the sequencer; from its next command on."""
    client = node.session()
    text = (LONG if is_long else "") + "return 'ran'"
    sha = hashlib.sha1(text.encode()).hexdigest()
    queue = (("EVAL", text, "0"), ("EVALSHA", sha, "0"), ("EVAL", "syntax error", "0"))
    replies = decode_all(node.settle(client, pipeline(("MULTI",), *queue, ("EXEC",))))
    assert replies[-1][:2] == [b"ran", b"ran"]
    assert node.ask("EVALSHA", sha, "0") == b"ran"
    assert node.ask("SCRIPT", "EXISTS", hashlib.sha1(b"syntax error").hexdigest()) == [0]


def test_an_exec_that_is_void_caches_nothing(node):
    client = node.session()
    node.settle(client, pipeline(("WATCH", "a"), ("MULTI",), ("EVAL", LONG, "0")))
    client.feed(encode("EXEC"))
    node.serve(client)
    node.ask("SET", "a", "1")
    assert node.settle(client, b"") in (b"*-1\r\n", b"")
    assert node.ask("SCRIPT", "EXISTS", hashlib.sha1(LONG.encode()).hexdigest()) == [0]
