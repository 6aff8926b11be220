"""Scripts: stopped at any step nothing of them stays; past the budget they run beside others."""

import pytest

from kvnode._core.keys import CLAIM
from kvnode.txn import script as script_program
from tests.sim.node import SimNode
from tests.support.local import LocalNode, pipeline
from tests.support.resp import ErrorReply, decode_all, encode
from tests.support.scripts import LONG, S_WAITING, finish, impatient_node

STOPS_MAX = 2000
PREPARED = (
    ("RPUSH", "list", "a", "b", "c", "d"),
    ("HSET", "hash", "f", "1", "g", "2"),
    ("SADD", "set", "x", "y"),
    ("ZADD", "zset", "1", "m", "2", "n"),
    ("SET", "string", "value"),
    ("SET", "fleeting", "v", "EX", "100"),
    ("SELECT", "1"),
    ("SET", "other", "1"),
    ("SELECT", "0"),
)
SCRIPTS = {
    "strings": "redis.call('set','string','x') redis.call('append','string','y') "
    "redis.call('setrange','new',5,'z') redis.call('incr','n') redis.call('del','string')",
    "lists": "redis.call('rpush','list','e') redis.call('lpop','list') "
    "redis.call('lrem','list',1,'c') redis.call('lpush','fresh','a','b') "
    "redis.call('linsert','list','before','d','q') redis.call('ltrim','list',0,1) "
    "redis.call('del','fresh')",
    "hashes": "redis.call('hset','hash','h','3','f','9') redis.call('hdel','hash','g') "
    "redis.call('hincrby','hash','f',5) redis.call('hset','made','a','b') "
    "redis.call('hpexpire','made',1000,'FIELDS',1,'a')",
    "sets": "redis.call('sadd','set','z') redis.call('srem','set','x') "
    "redis.call('smove','set','to','y') redis.call('sunionstore','union','set','to')",
    "sorted sets": "redis.call('zadd','zset',3,'o') redis.call('zincrby','zset',5,'m') "
    "redis.call('zpopmin','zset') redis.call('zrangestore','copy','zset',0,-1)",
    "keys": "redis.call('rename','list','moved') redis.call('expire','hash',50) "
    "redis.call('persist','fleeting') redis.call('copy','set','twin') "
    "redis.call('move','string',2) redis.call('select',1) redis.call('set','other','2')",
    "databases": "redis.call('set','a','1') redis.call('flushdb') redis.call('set','b','1') "
    "redis.call('swapdb',0,1) redis.call('flushall') redis.call('sadd','c','1')",
    "caught errors": "for i = 1, 3 do redis.pcall('lpush','string',i) redis.call('incr','n') end "
    "pcall(error, 'x') redis.call('set','m','1')",
    "many": "for i = 1, 20 do redis.call('set', 'k' .. i, i) redis.call('rpush', 'l', i) end",
}
BEFORE_IT = (("SET", "same-batch", "1"), ("RPUSH", "list", "same"), ("INCR", "counter"))


def prepared(text: str) -> tuple[LocalNode, bytes]:
    """A node with data of all types, and the name of a script that is cached."""
    node = LocalNode()
    session = node.session()
    replies = decode_all(node.settle(session, pipeline(*PREPARED, ("SCRIPT", "LOAD", text))))
    return node, replies[-1]


def tip_of(node: LocalNode) -> object:
    """The tip, without the tables for claims that lists got when one was looked for."""
    state = node.dump()
    tables = state["tables"]
    state["tables"] = {
        key: table for key, table in tables.items() if key[0] != CLAIM or table["entries"]
    }
    return state


def stopped_after(text: str, grants: int) -> tuple[bool, object, list[tuple[int, bytes]]]:
    """Run a script behind others of its batch, and stop it after so many steps.

    Returns (whether it was stopped, the tip, the log entries).
    """
    node, sha = prepared(text)
    node.view.scripts.here.set_budget(0, grant=1, grants=grants)
    first, second = node.session(), node.session()
    first.feed(pipeline(*BEFORE_IT))
    second.feed(encode("EVALSHA", sha, "0"))
    node.run_pass(first, second)
    is_stopped = second.state == S_WAITING
    if is_stopped:
        assert second.take() == b""
    return is_stopped, tip_of(node), node.entries


def without_it(text: str) -> tuple[object, list[tuple[int, bytes]]]:
    node, _ = prepared(text)
    session = node.session()
    session.feed(pipeline(*BEFORE_IT))
    node.run_pass(session)
    return tip_of(node), node.entries


@pytest.mark.parametrize("name", SCRIPTS)
def test_stopped_at_any_step_nothing_of_it_stays(name: str) -> None:
    text = SCRIPTS[name]
    tip, entries = without_it(text)
    for grants in range(STOPS_MAX):
        is_stopped, tip_after, entries_after = stopped_after(text, grants)
        if not is_stopped:
            assert entries_after != entries, "the script did nothing"
            break
        assert tip_after == tip
        assert entries_after == entries
    assert 4 < grants < STOPS_MAX - 1


def test_what_stays_of_a_script_is_noticed() -> None:
    """The comparison above finds one write too many."""
    text = SCRIPTS["strings"]
    tip, entries = without_it(text)
    node, _ = prepared(text)
    session = node.session()
    session.feed(pipeline(*BEFORE_IT, ("SET", "string", "x")))
    node.run_pass(session)
    assert tip_of(node) != tip
    assert node.entries != entries


# -- beside the sequencer -------------------------------------------------------------------------


@pytest.fixture
def node() -> SimNode:
    return impatient_node()


def begin(node: SimNode, *words: object):
    """A script that is past its budget, and waits."""
    session = node.session()
    session.feed(encode(*words))
    node.serve(session)
    assert session.state == S_WAITING
    node.sync()
    assert session.take() == b""
    return session


def answer(node: SimNode, session: object) -> object:
    return decode_all(finish(node, session))[-1]


def test_past_the_budget_it_is_undone_and_runs_beside(node, client):
    client("SET", "n", "5")
    text = "redis.call('incr','n') " + LONG + "return redis.call('get','n')"
    session = begin(node, "EVAL", text, "0")
    other = node.session()
    other.feed(encode("GET", "n"))
    node.serve(other)
    assert decode_all(other.take()) == [b"5"]
    assert answer(node, session) == b"6"
    assert client("GET", "n") == b"6"
    assert node.jobs.transactions.committed == 1
    assert node.view.scripts.moved == 1


def test_it_reads_one_snapshot_and_its_own_writes(node, client):
    client("SET", "a", "1")
    text = LONG + "redis.call('set','b',redis.call('get','a')) return redis.call('get','b')"
    session = begin(node, "EVAL", text, "1", "a")
    assert client("SET", "a", "2") == b"OK"
    assert answer(node, session) == b"2"
    assert client("GET", "b") == b"2"


def test_a_conflict_runs_it_again(node, client):
    client("SET", "a", "1")
    text = "local v = redis.call('get','a') " + LONG + "redis.call('set','b',v) return v"
    session = begin(node, "EVAL", text, "0")
    node.sync()
    node.serve()
    for _ in range(10):
        if not node.step_threads(1):
            break
    client("SET", "a", "2")
    assert answer(node, session) == b"2"
    assert client("GET", "b") == b"2"


def test_each_of_many_records_it_lacks_is_read(node, client):
    for i in range(30):
        client("SET", f"k{i}", i)
    text = LONG + "local s = 0 for i = 0, 29 do s = s + redis.call('get', 'k' .. i) end return s"
    assert answer(node, begin(node, "EVAL", text, "0")) == sum(range(30))


def test_a_write_that_fails_keeps_the_others(node, client):
    text = LONG + "redis.call('set','a','1') redis.call('lpush','a','x')"
    reply = answer(node, begin(node, "EVAL", text, "0"))
    assert isinstance(reply, ErrorReply)
    assert str(reply).startswith("WRONGTYPE")
    assert client("GET", "a") == b"1"


def test_its_next_run_begins_beside(node, client):
    text = "redis.call('incr','n') " + LONG
    answer(node, begin(node, "EVAL", text, "0"))
    moved = node.view.scripts.moved
    node.view.scripts.budget_micros = 1  # whatever it takes is long
    answer(node, begin(node, "EVAL", text, "0"))
    answer(node, begin(node, "EVAL", text, "0"))
    assert node.view.scripts.moved <= moved + 1
    assert client("GET", "n") == b"3"


def test_in_multi_the_whole_of_it_runs_beside(node, client):
    text = "redis.call('incr','n') " + LONG + "return redis.call('get','n')"
    session = node.session()
    commands = [("MULTI",), ("INCR", "n"), ("EVAL", text, "0"), ("GET", "n"), ("EXEC",)]
    session.feed(pipeline(*commands))
    node.serve(session)
    assert session.state == S_WAITING
    node.sync()
    session.take()
    assert decode_all(finish(node, session))[-1] == [1, b"2", b"2"]
    assert client("GET", "n") == b"2"


def test_what_scripts_of_one_exec_write_again_is_published_once(node, client):
    fill = "for i = 1, 3000 do redis.call('hset', 'h', i, ARGV[1]) end "
    session = node.session()
    commands = [("MULTI",), ("EVAL", LONG + fill, "0", "1"), ("EVAL", fill, "0", "2"), ("EXEC",)]
    session.feed(pipeline(*commands))
    node.serve(session)
    node.sync()
    session.take()
    assert decode_all(finish(node, session)) == [[None, None]]
    assert node.jobs.transactions.published_bytes > 0
    assert client("HLEN", "h") == 3000
    fields = client("HGETALL", "h")
    assert len(fields) == 6000
    assert set(fields[1::2]) == {b"2"}


def test_killed_nothing_of_it_stays(node, client):
    text = "redis.call('set','a','1') " + LONG + "redis.call('set','b','1')"
    session = begin(node, "EVAL", text, "0")
    assert client("SCRIPT", "KILL") == b"OK"
    reply = answer(node, session)
    assert str(reply).startswith("ERR Script killed by user with SCRIPT KILL.")
    assert client("EXISTS", "a", "b") == 0
    assert str(client("SCRIPT", "KILL")).startswith("NOTBUSY")
    assert not node.jobs.transactions


def test_killed_in_its_midst(node, client):
    """At each grant of steps of its run, SCRIPT KILL ends it, and nothing stays."""
    beside = node.view.scripts.beside
    text = "redis.call('set','a','1') " + LONG + "redis.call('rpush','l','1')"
    for grants in (0, 1, 5, 50):
        beside.set_budget(0, grant=1000, grants=grants)
        reply = answer(node, begin(node, "EVAL", text, "0"))
        assert str(reply).startswith("ERR Script took longer than it may")
        assert client("EXISTS", "a", "l") == 0
        node.check()


def test_a_stopped_script_in_multi_leaves_the_others(node, client):
    node.view.scripts.beside.set_budget(0, grant=1000, grants=5)
    text = "redis.call('set','a','1') " + LONG
    session = node.session()
    session.feed(pipeline(("MULTI",), ("SET", "b", "1"), ("EVAL", text, "0"), ("EXEC",)))
    node.serve(session)
    node.sync()
    session.take()
    reply = decode_all(finish(node, session))[-1]
    assert reply[0] == b"OK"
    assert str(reply[1]).startswith("ERR Script took longer than it may")
    assert client("EXISTS", "a") == 0
    assert client("GET", "b") == b"1"


def test_it_ends_with_its_client(node, client):
    session = begin(node, "EVAL", "redis.call('set','a','1') " + LONG, "0")
    node.close_session(session)
    node.serve()
    while node.step_threads():
        node.serve()
    assert client("EXISTS", "a") == 0
    assert not node.jobs.transactions
    assert not node.view.scripts.programs


def test_pushes_without_reply_conflict_with_nobody(node, client):
    client("RPUSH", "l", "a")
    text = "#!lua flags=blind-appends\nlocal r = redis.call('rpush', KEYS[1], 'mine') "
    session = begin(node, "EVAL", text + LONG + "return tostring(r)", "1", "l")
    client("RPUSH", "l", "others")
    assert answer(node, session) == b"nil"
    assert client("LRANGE", "l", "0", "-1") == [b"a", b"others", b"mine"]
    assert node.jobs.transactions.conflicts == 0


def test_pushes_without_reply_on_the_sequencer(client):
    text = "#!lua flags=blind-appends\nreturn tostring(redis.call('rpush', KEYS[1], 'x'))"
    assert client("EVAL", text, "1", "l") == b"nil"
    assert client("LLEN", "l") == 1
    client("SET", "s", "v")
    assert str(client("EVAL", text, "1", "s")).startswith("WRONGTYPE")


def test_the_text_of_a_kill_is_one() -> None:
    assert script_program.KILLED.startswith(b"-ERR Script killed by user with SCRIPT KILL.")


def test_in_an_exec_that_stays_in_one_step_a_long_script_is_stopped(node, client):
    session = node.session()
    text = "redis.call('set','a','1') " + LONG
    commands = [("MULTI",), ("SET", "b", "1"), ("EVAL", text, "0"), ("TIME",), ("EXEC",)]
    reply = decode_all(node.settle(session, pipeline(*commands)))[-1]
    assert reply[0] == b"OK"
    assert "inside of this EXEC" in str(reply[1])
    assert len(reply[2]) == 2
    assert client("EXISTS", "a") == 0
    assert client("GET", "b") == b"1"
    assert node.jobs.transactions.started == 0
