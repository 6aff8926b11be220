"""What optimistic transactions have to get right, on a simulated node."""

import pytest

from kvnode._core import invariants
from tests.sim.node import new_node
from tests.support.local import S_PARKED, S_WAITING
from tests.support.resp import decode_all, encode
from tests.support.scripts import Running, ask, finish, run_program, step

UNAVAILABLE = b"UNAVAILABLE the node leads no more"
MANY = 2500  # elements: three steps of a publication


@pytest.fixture
def node():
    return new_node()


@pytest.fixture
def client(node):
    session = node.session()
    return lambda *words: ask(node, session, *words)


def script(*commands):
    def run():
        last = None
        for words in commands:
            last = yield words
        return last

    return run


def paused(node, *commands) -> Running:
    """A script that is going to commit in the next pass."""
    run = Running(node, script(*commands))
    run.open()
    run_program(node)
    return run


def test_hard_case_4_lost_leadership_ends_transactions_with_their_pins(node, client):
    client("SADD", "source", *range(MANY))
    runs = [paused(node, ("SET", "a", "1")), paused(node, ("SUNIONSTORE", "t", "source"))]
    node.run_pass(lambda: node.jobs.transactions.end_all(UNAVAILABLE))
    node.sync()
    assert b"-UNAVAILABLE" in runs[1].session.take()
    node.step_threads()
    assert node.tip.statistics()["pins"] == 0
    assert client("EXISTS", "t") == 0


@pytest.mark.parametrize("change", [("DEL", "k"), ("FLUSHALL",), ("SWAPDB", "0", "1")])
def test_hard_case_7_a_replaced_collection_is_no_longer_the_one_that_was_read(node, client, change):
    client("RPUSH", "k", "a")
    client("SELECT", "1")
    client("RPUSH", "k", "b")
    client("SELECT", "0")
    run = Running(node, script(("LLEN", "k"), ("SET", "copy", "x")))
    run.open()
    other = node.session()
    other.feed(encode(*change) + encode("RPUSH", "k", "c"))
    node.serve(other)
    run.finish()
    assert run.program.starts == 2


def test_hard_case_9_a_long_read_sees_what_the_same_client_sent_before():
    node = new_node(steps_max=3)
    session = node.session()
    node.settle(session, encode("SADD", "s", "a", "b", "c", "d"))
    replies = node.settle(session, encode("SADD", "s", "e") + encode("SMEMBERS", "s"))
    assert len(decode_all(replies)[-1]) == 5
    assert node.jobs.replies.started == 1


def test_hard_case_19_a_long_exec_is_undone_and_holds_up_nobody():
    node = new_node(steps_max=10)
    session, other = node.session(), node.session()
    commands = [("INCR", "n")] * 11
    session.feed(b"".join(encode(*words) for words in [("MULTI",), *commands, ("EXEC",)]))
    node.serve(session)
    other.feed(encode("GET", "n"))
    node.serve(other)
    assert decode_all(other.take()) == [None], "nothing of it is there"
    session.take()
    assert decode_all(finish(node, session))[-1] == list(range(1, 12))
    node.check()


def test_hard_case_19_a_large_collection_is_many_entries_and_one_head(node, client):
    client("SADD", "source", *range(MANY))
    before = max(node.entries)
    run = paused(node, ("SUNIONSTORE", "target", "source"))
    while not run.is_ended:
        assert client("TYPE", "target") in (b"none", b"set")
        step(node)
        node.sync()
    payloads = [payload for index, (_, payload) in node.entries.items() if index > before]
    heads = [payload for payload in payloads if b"target" in payload]
    assert len(heads) == 1
    assert max(map(len, payloads)) < sum(map(len, payloads)) // 2
    assert client("SCARD", "target") == MANY


def test_hard_case_20_one_reservation_at_a_time(node, client):
    """Two that need each other's keys and are refused each time both end."""
    client("MSET", "a", "0", "b", "0")
    runs = [
        Running(node, script(("INCR", "a"), ("INCR", "b"))),
        Running(node, script(("INCR", "b"), ("INCR", "a"))),
    ]
    for _ in range(200):
        node.step_threads()
        node.sync()
        node.serve()
    assert all(run.is_ended for run in runs)
    assert client("MGET", "a", "b") == [b"2", b"2"]


LONG = "for i = 1, 3000 do end "


@pytest.fixture
def make_long(node):
    """No script may run on the sequencer for long."""
    node.view.scripts.here.set_budget(0, grant=2000, grants=0)


def begin_script(node, text, *keys):
    session = node.session()
    session.feed(encode("EVAL", text, len(keys), *keys))
    node.serve(session)
    return session


def test_hard_case_6_a_script_that_lacks_records_leaves_nothing_and_holds_up_nobody(node, client):
    client("MSET", "a", "1", "b", "2", "c", "3")
    node.checkpoint()
    node.evict()
    text = "redis.call('set','new','1') return redis.call('get','b') .. redis.call('get','c')"
    session = begin_script(node, text, "a")
    assert session.state == S_PARKED
    other = node.session()
    other.feed(encode("PING"))
    node.serve(other)
    assert other.take() == b"+PONG\r\n"
    assert client("EXISTS", "new") == 0
    assert decode_all(finish(node, session)) == [b"23"]


def test_hard_case_9_a_long_script_judges_deadlines_by_its_own_time(node, client, make_long):
    """Nothing was written for an hour; the fence's time is now."""
    client("SET", "k", "v", "EX", 600)
    node.now_ms += 3_600_000
    session = begin_script(node, LONG + "return redis.call('exists','k')", "k")
    assert session.state == S_WAITING
    assert decode_all(finish(node, session)) == [0]


@pytest.mark.parametrize("flags", ["", "#!lua flags=blind-appends\n"])
def test_hard_case_21_only_blind_appends_commit_at_the_first_try(node, client, make_long, flags):
    client("RPUSH", "l", "a")
    session = begin_script(node, flags + LONG + "redis.call('rpush', KEYS[1], 'mine')", "l")
    assert session.state == S_WAITING
    node.sync()
    node.serve()
    node.step_threads()
    client("RPUSH", "l", "others")
    finish(node, session)
    assert client("LRANGE", "l", 0, -1) == [b"a", b"others", b"mine"]
    assert node.jobs.transactions.conflicts == (0 if flags else 1)


@pytest.mark.parametrize("is_long", [False, True])
def test_hard_case_22_an_error_keeps_what_was_written_and_a_kill_does_not(node, client, is_long):
    if is_long:
        node.view.scripts.here.set_budget(0, grant=2000, grants=0)
    text = (LONG if is_long else "") + "redis.call('set', KEYS[1], '1') error('late')"
    assert "late" in str(client("EVAL", text, 1, "kept"))
    assert client("GET", "kept") == b"1"
    waiting, watching = node.session(), node.session()
    node.settle(watching, encode("WATCH", "killed"))
    waiting.feed(encode("BLPOP", "pushed", 0))
    node.serve(waiting)
    node.view.scripts.here.set_budget(0, grant=2000, grants=0)
    text = "redis.call('set','killed','1') redis.call('rpush','pushed','1') while true do end"
    session = begin_script(node, text)
    assert session.state == S_WAITING
    assert client("SCRIPT", "KILL") == b"OK"
    assert b"killed by user" in finish(node, session)
    assert client("EXISTS", "killed", "pushed") == 0
    assert waiting.state == S_WAITING
    assert not watching.cas_dirty


@pytest.mark.parametrize("is_long", [False, True])
def test_hard_case_23_who_only_reads_writes_only_deletions(node, client, is_long):
    if is_long:
        node.view.scripts.here.set_budget(0, grant=1, grants=0)
    text = "return redis.call('get', KEYS[1])"
    sha = client("SCRIPT", "LOAD", text)
    client("SET", "there", "v")
    client("SET", "gone", "v", "PX", 10)
    session = node.session()

    def effects(key):
        before = max(node.entries)
        commands = [("MULTI",), ("GET", key), ("EVALSHA_RO", sha, 1, key), ("EXEC",)]
        replies = decode_all(node.settle(session, b"".join(encode(*words) for words in commands)))
        payloads = [payload for index, (_, payload) in node.entries.items() if index > before]
        return replies[-1], [payload for payload in payloads if payload]

    assert effects("there") == ([b"v", b"v"], [])
    node.now_ms += 10
    replies, payloads = effects("gone")
    assert replies == [None, None]
    assert len(payloads) == (0 if is_long else 1), "a transaction leaves it to the sweeper"
    assert client("DBSIZE") == (2 if is_long else 1)


def test_hard_case_32_what_a_watch_minds(node, client):
    watcher = node.session()

    def outcome(before, *meanwhile):
        client("FLUSHALL")
        for words in before:
            client(*words)
        node.now_ms += 100
        node.settle(watcher, encode("WATCH", "k"))
        for words in meanwhile:
            client(*words)
        return decode_all(node.settle(watcher, encode("MULTI") + encode("EXEC")))[-1]

    assert outcome([], ("FLUSHALL",)) == [], "absent before and after"
    assert outcome([], ("SWAPDB", 0, 1)) == []
    assert outcome([("SET", "k", "v")], ("SET", "k", "v")) is None, "the same value"
    assert outcome([("SET", "k", "v")], ("FLUSHALL",)) is None
    assert outcome([("SET", "k", "v", "PX", 50)], ("GET", "k")) == [], "past its deadline at WATCH"
    script = "return redis.call('set', KEYS[1], ARGV[1])"
    assert outcome([("SET", "k", "v")], ("EVAL", script, 1, "k", "v")) is None


def test_hard_case_31_ids_of_a_try_are_its_own(node, client):
    """A refused try takes no id that a later entry could name; what it wrote is dead."""
    client("SADD", "source", *range(MANY))
    run = paused(node, ("SUNIONSTORE", "target", "source"))
    step(node)
    other = node.session()
    other.feed(encode("SADD", "source", "more"))
    node.serve(other)
    run.finish()
    assert run.program.starts == 2
    invariants.check(node.tip)
    node = node.crash()
    assert ask(node, node.session(), "SCARD", "target") == MANY + 1
    invariants.check(node.tip)
