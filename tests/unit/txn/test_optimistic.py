"""Optimistic transactions: what they see, what they conflict with, and how they end."""

import pytest

from kvnode._core import invariants
from kvnode.base.limits import OPTIMISTIC_TRIES_MAX
from tests.sim.node import SimNode
from tests.support.contents import contents
from tests.support.resp import decode_all, encode
from tests.support.scripts import (
    S_READY,
    S_WAITING,
    Running,
    finish,
    run_program,
    step,
)


def paused(node: SimNode, script) -> Running:
    """Run a script up to the point where it would commit."""
    run = Running(node, script)
    run.open()
    run_program(node)
    assert not run.is_ended
    return run


def transfer():
    amount = yield "GET", "a"
    yield "SET", "b", amount
    return (yield "GET", "b")


def test_it_reads_its_own_writes_and_commits(node, client):
    client("SET", "a", "5")
    run = Running(node, transfer)
    assert run.finish() == b"+done\r\n"
    assert run.program.result == b"5"
    assert client("GET", "b") == b"5"
    assert node.tip.statistics()["pins"] == 0


def test_nothing_of_it_is_in_the_tip_before_it_commits(node, client):
    client("MSET", "a", "5", "b", "0")
    run = Running(node, transfer)
    run.open()
    before = invariants.dump(node.tip)
    run_program(node)
    assert invariants.dump(node.tip) == before
    run.finish()


def conflict(node, client, script, *changes) -> bool:
    """Whether a script runs twice when others do something between its reads and its commit."""
    run = paused(node, script)
    before = node.jobs.transactions.conflicts
    for change in changes:
        run_beside(node, *change)
    run.finish()
    assert run.program.starts == 1 + node.jobs.transactions.conflicts - before
    return run.program.starts > 1


def run_beside(node, *words):
    """Run a command of another client in a pass in which no transaction goes on."""
    session = node.session()
    session.feed(encode(*words))
    node.run_pass(lambda: node.sequencer.serve(session))


def read(*words):
    def script():
        reply = yield words
        yield "SET", "result", "x"
        return reply

    return script


def commands(*script):
    def steps():
        reply = None
        for words in script:
            reply = yield words
        return reply

    return steps


SETUP = (
    ("MSET", "s", "1", "other", "1"),
    ("SADD", "set", "a", "b", "c"),
    ("ZADD", "zset", "1", "a", "2", "b"),
    ("HSET", "hash", "f", "1", "g", "1"),
)


@pytest.mark.parametrize(
    ("words", "changes", "expected"),
    [
        # strings, by commit_ts
        (("GET", "s"), [("SET", "s", "2")], True),
        (("GET", "s"), [("SET", "s", "1")], True),
        (("GET", "s"), [("EXPIRE", "s", "100")], True),
        (("GET", "s"), [("DEL", "s")], True),
        (("GET", "s"), [("DEL", "s"), ("SET", "s", "1")], True),
        (("GET", "s"), [("SET", "other", "2")], False),
        (("GET", "s"), [("DEL", "other")], False),
        (("GET", "s"), [("RENAME", "s", "t")], True),
        (("GET", "s"), [("RENAME", "other", "s")], True),
        (("GET", "s"), [("MOVE", "s", "1")], True),
        # absences
        (("GET", "none"), [("SET", "none", "1")], True),
        (("GET", "none"), [("SADD", "none", "1")], True),
        (("GET", "none"), [("SET", "none", "1"), ("DEL", "none")], False),
        (("GET", "none"), [("RENAME", "other", "none")], True),
        # databases
        (("GET", "s"), [("FLUSHALL",)], True),
        (("GET", "none"), [("FLUSHDB",)], True),
        (("GET", "s"), [("SWAPDB", "0", "1")], True),
        (("GET", "s"), [("SWAPDB", "2", "1")], False),
        # elements
        (("SISMEMBER", "set", "a"), [("SADD", "set", "x")], False),
        (("SISMEMBER", "set", "a"), [("SREM", "set", "b")], False),
        (("SISMEMBER", "set", "a"), [("SREM", "set", "a")], True),
        (("SISMEMBER", "set", "x"), [("SADD", "set", "x")], True),
        (("SISMEMBER", "set", "x"), [("SADD", "set", "x"), ("SREM", "set", "x")], False),
        (("SADD", "set", "x"), [("SADD", "set", "y")], False),
        (("SADD", "set", "x"), [("SADD", "set", "x")], True),
        (("SREM", "set", "a"), [("SREM", "set", "b")], False),
        (("SREM", "set", "a"), [("SREM", "set", "b", "c")], True),
        (("SREM", "set", "a", "b", "c"), [("SADD", "set", "d")], True),
        # identity of collections: hard case 7
        (("SISMEMBER", "set", "a"), [("DEL", "set")], True),
        (("SISMEMBER", "set", "a"), [("DEL", "set"), ("SADD", "set", "a", "b", "c")], True),
        (("SISMEMBER", "set", "a"), [("EXPIRE", "set", "100")], True),
        (("SISMEMBER", "set", "a"), [("RENAME", "set", "t")], True),
        (("SISMEMBER", "set", "a"), [("RENAME", "set", "t"), ("RENAME", "t", "set")], False),
        (("TYPE", "set"), [("SADD", "set", "d")], False),
        (("EXISTS", "set"), [("SREM", "set", "a")], False),
        # lengths, by value
        (("SCARD", "set"), [("SADD", "set", "d")], True),
        (("SCARD", "set"), [("SADD", "set", "d"), ("SREM", "set", "a")], False),
        (("SCARD", "set"), [("SADD", "set", "a")], False),
        # all elements
        (("SMEMBERS", "set"), [("SADD", "set", "d"), ("SREM", "set", "a")], True),
        (("SMEMBERS", "set"), [("SADD", "other-set", "d")], False),
        # sorted sets and hashes
        (("ZADD", "zset", "1", "x"), [("ZADD", "zset", "2", "y")], False),
        (("ZADD", "zset", "1", "a"), [("ZADD", "zset", "2", "a")], True),
        (("ZINCRBY", "zset", "1", "a"), [("ZINCRBY", "zset", "1", "b")], False),
        (("ZSCORE", "zset", "a"), [("ZADD", "zset", "5", "a")], True),
        (("ZRANGE", "zset", "0", "0"), [("ZADD", "zset", "5", "c")], True),
        (("ZCARD", "zset"), [("ZADD", "zset", "5", "a")], False),
        (("HSET", "hash", "f", "1"), [("HSET", "hash", "h", "2")], False),
        (("HGET", "hash", "f"), [("HSET", "hash", "f", "1")], True),
        (("HGETALL", "hash"), [("HSET", "hash", "f", "1")], True),
        (("HLEN", "hash"), [("HSET", "hash", "f", "1")], False),
        # all names
        (("DBSIZE",), [("SET", "new", "1")], True),
        (("DBSIZE",), [("SET", "s", "2")], False),
        (("KEYS", "*"), [("DEL", "s")], True),
        (("SCAN", "0"), [("SET", "new", "1")], True),
    ],
)
def test_what_conflicts(node, client, words, changes, expected):
    for command in SETUP:
        client(*command)
    assert conflict(node, client, read(*words), *changes) is expected
    invariants.check(node.tip)


def test_adds_to_a_hot_set_never_conflict(node, client):
    """Only the same member would: the length and the base follow from the elements."""
    client("SADD", "hot", "0")

    def add(member):
        def script():
            return (yield "SADD", "hot", member)

        return script

    runs = [Running(node, add(f"t{i}")) for i in range(10)]
    for run in runs:
        run.open()
    run_program(node)
    for i in range(10):
        run_beside(node, "SADD", "hot", f"p{i}")
    for run in runs:
        run.finish()
    assert node.jobs.transactions.conflicts == 0
    assert client("SCARD", "hot") == 21
    assert len(client("SMEMBERS", "hot")) == 21


def test_a_fold_conflicts_with_nobody(node, client):
    client("SADD", "hot", "0")
    run = paused(node, read("SISMEMBER", "hot", "0"))
    for i in range(100):
        run_beside(node, "SADD", "hot", str(i))
        node.sync()
    node.replica.request_checkpoint(lambda ok: None)
    for _ in range(20):
        node.background()
        node.writer.step()
    run.finish()
    assert run.program.starts == 1


def test_no_write_skew(node, client):
    """GET a, SET b against GET b, SET a."""
    client("MSET", "a", "1", "b", "2")

    def copy(source, target):
        def script():
            value = yield "GET", source
            yield "SET", target, value

        return script

    runs = [Running(node, copy("a", "b")), Running(node, copy("b", "a"))]
    for run in runs:
        run.open()
    run_program(node)
    for run in runs:
        run.finish()
    assert client("GET", "a") == client("GET", "b")
    assert sorted(run.program.starts for run in runs) == [1, 2]


def test_expiry_is_judged_by_the_snapshot(node, client):
    """Hard case 9: the clock of an idle node stands still, that of a fence does not."""
    client("SET", "k", "v", "PX", "1000")
    node.now_ms += 5000
    run = Running(node, read("GET", "k"))
    run.finish()
    assert run.program.result is None
    client("SET", "k", "v", "PX", "1000")
    run = paused(node, read("GET", "k"))
    node.now_ms += 5000
    run_beside(node, "GET", "k")  # deletes it
    run.finish()
    assert run.program.result is None
    assert run.program.starts == 2


def test_what_the_same_client_sent_before_is_seen(node, client):
    """Hard case 9: the watermark may be below it, the fence is not."""
    session = node.session()
    session.feed(encode("SET", "k", "1"))
    node.run_pass(lambda: node.sequencer.serve(session))
    run = Running(node, read("GET", "k"), session)
    assert run.finish() + run.finish() == b"+OK\r\n+done\r\n"
    assert run.program.result == b"1"


def test_one_fence_and_one_snapshot_a_try(node, client):
    before = node.sequencer.entries
    run = Running(node, transfer)
    run.open()
    run_program(node)
    assert node.sequencer.entries == before + 1
    assert len(run.program.start_ts) == 1
    run_beside(node, "SET", "a", "x")
    run.finish()
    assert len(run.program.start_ts) == run.program.starts == 2


def test_a_refused_commit_leaves_nothing(node, client):
    client("MSET", "a", "1", "s", "1")
    client("SADD", "set", "x")

    def script():
        yield "GET", "a"
        yield "SADD", "set", "y"
        yield "SADD", "new", "y"
        yield "SET", "s", "2"
        yield "RENAME", "set", "other"

    run = paused(node, script)
    run_beside(node, "SET", "a", "2")
    node.sync()
    before = invariants.dump(node.tip)
    step(node)
    assert node.jobs.transactions.conflicts == 1
    assert invariants.dump(node.tip) == before
    run.finish()
    assert set(client("SMEMBERS", "other")) == {b"x", b"y"}


def starve(node, run, *words, tries=20):
    """Write between the reads and the commit of each try, while it has no reservation."""
    for _ in range(tries):
        run_beside(node, *words)
        node.sync()
        step(node)
        node.sync()
        step(node)
        run_program(node)
        if run.is_ended or node.jobs.transactions.reservations:
            return


def test_a_reservation_ends_starvation(node, client):
    client("SET", "a", "0")
    run = Running(node, transfer)
    run.open()
    run_program(node)
    starve(node, run, "INCR", "a")
    assert node.jobs.transactions.reservations == 1
    writer, other, reader = node.session(), node.session(), node.session()
    writer.feed(encode("INCR", "a") + encode("INCR", "a"))
    other.feed(encode("SET", "else", "1"))
    reader.feed(encode("GET", "a"))
    node.run_pass(lambda: [node.sequencer.serve(s) for s in (writer, other, reader)])
    node.sync()
    assert writer.take() == b"", "it writes what is reserved"
    assert other.take() == b"+OK\r\n"
    assert reader.take() != b""
    assert run.finish() == b"+done\r\n"
    assert node.settle(writer, encode("GET", "b")).startswith(b":")
    assert run.program.starts == OPTIMISTIC_TRIES_MAX + 1


def test_an_exec_and_a_flush_wait_for_a_reservation(node, client):
    client("SET", "a", "0")
    run = Running(node, transfer)
    run.open()
    run_program(node)
    starve(node, run, "INCR", "a")
    sessions = [node.session() for _ in range(3)]
    sessions[0].feed(encode("MULTI") + encode("SET", "a", "x") + encode("EXEC"))
    sessions[1].feed(encode("FLUSHALL"))
    sessions[2].feed(encode("MULTI") + encode("SET", "z", "x") + encode("EXEC"))
    node.run_pass(lambda: [node.sequencer.serve(s) for s in sessions])
    node.sync()
    assert [s.state for s in sessions] == [S_WAITING, S_WAITING, S_READY]
    run.finish()
    for session in sessions[:2]:
        assert node.settle(session, encode("PING")).endswith(b"+PONG\r\n")
    assert client("DBSIZE") in (0, 1)


def test_two_that_starve_each_other_both_end(node, client):
    """Hard case 20: each reads what the other writes; one reservation at a time."""
    client("MSET", "a", "0", "b", "0")

    def script():
        a = yield "GET", "a"
        b = yield "GET", "b"
        yield "MSET", "a", int(a) + 1, "b", int(b) + 1

    runs = [Running(node, script) for _ in range(6)]
    for _ in range(500):
        if all(run.is_ended for run in runs):
            break
        node.sync()
        step(node)
        run_program(node)
    assert client("GET", "a") == client("GET", "b") == b"6"


def test_lost_leadership_ends_them(node, client):
    client("SET", "a", "1")
    runs = [Running(node, transfer), Running(node, transfer), Running(node, transfer)]
    runs[0].open()
    run_program(node)
    node.run_pass(lambda: node.jobs.transactions.end_all(b"UNAVAILABLE the node leads no more"))
    node.sync()
    assert {run.session.take() for run in runs} == {b"-UNAVAILABLE the node leads no more\r\n"}
    assert not node.jobs.transactions
    node.step_threads()
    assert node.tip.statistics()["pins"] == 0
    assert client("GET", "b") is None


def test_a_closed_client_lets_go(node, client):
    run = Running(node, transfer)
    run.open()
    node.close_session(run.session)
    step(node)
    run_program(node)
    assert node.tip.statistics()["pins"] == 0
    assert not node.jobs.transactions


def test_events_leave_with_the_commit(node, client):
    events = []
    node.view.on_event = lambda *event: events.append(event)
    run = paused(node, commands(("SET", "k", "1"), ("SADD", "set", "m")))
    assert events == []
    run.finish()
    assert [name for _, name, _, _ in events if name != b"new"] == [b"set", b"sadd"]


def test_watches_see_a_commit(node, client):
    watcher = node.session()
    node.settle(watcher, encode("WATCH", "b") + encode("MULTI") + encode("GET", "b"))
    client("SET", "a", "1")
    Running(node, transfer).finish()
    assert node.settle(watcher, encode("EXEC")) == b"*-1\r\n"


def test_databases_are_flushed_and_swapped(node, client):
    client("MSET", "a", "1", "b", "2")

    def script():
        yield "SWAPDB", "0", "1"
        yield "SET", "new", "0"
        yield "SELECT", "1"
        yield "DEL", "b"
        yield "SELECT", "2"
        yield ("FLUSHDB",)
        yield "SET", "two", "2"
        return (yield ("DBSIZE",))

    run = Running(node, script)
    run.finish()
    invariants.check(node.tip)
    assert client("GET", "new") == b"0"
    assert client("GET", "a") is None
    client("SELECT", "1")
    assert client("KEYS", "*") == [b"a"]
    client("SELECT", "2")
    assert client("GET", "two") == b"2"
    node = node.crash()
    assert {db: set(v) for db, v in contents(node.tip, node.engine).databases.items() if v} == {
        0: {b"new"},
        1: {b"a"},
        2: {b"two"},
    }


def test_large_strings_and_collections_are_carried_over(node, client):
    big = b"x" * 100_000
    client("SET", "big", big)

    def script():
        yield "SETRANGE", "big", "50000", "yyy"
        yield "SET", "other", big
        yield "APPEND", "other", "z"
        yield "COPY", "other", "third"
        yield "HSET", "h", "f", "v", "g", "w"
        yield "HEXPIRE", "h", "1000", "FIELDS", "1", "f"
        yield "EXPIRE", "h", "2000"
        yield "COPY", "h", "h2"
        yield "SADD", "gone", "x"
        yield "DEL", "gone"

    Running(node, script).finish()
    invariants.check(node.tip)
    for _ in range(2):
        assert client("GETRANGE", "big", "49999", "50003") == b"xyyyx"
        assert client("GET", "third") == big + b"z"
        assert client("HMGET", "h2", "f", "g") == [b"v", b"w"]
        assert client("HTTL", "h2", "FIELDS", "1", "f") == [1000]
        assert client("TTL", "h2") == 2000
        assert client("EXISTS", "gone") == 0
        node.checkpoint()
        node.evict()
    node = node.crash()
    found = contents(node.tip, node.engine).databases[0]
    assert set(found) == {b"big", b"other", b"third", b"h", b"h2"}
    assert found[b"other"].data == big + b"z"


def test_a_write_set_is_bounded(node, client, monkeypatch):
    monkeypatch.setattr("kvnode.txn.optimistic.TRANSACTION_WRITE_BYTES_MAX", 1000)
    assert Running(node, commands(("SET", "k", "x" * 2000))).finish().startswith(b"-ERR")
    assert client("EXISTS", "k") == 0


def cold_at_commit(node, client) -> Running:
    """A transaction that would commit, but what it wrote beside is not in memory any more."""
    for command in SETUP:
        client(*command)
    node.checkpoint()
    run = paused(node, read("SADD", "set", "new"))
    node.evict()
    node.tip.set_resident(node.tip.current_generation(0), False)
    step(node)
    assert not run.is_ended
    return run


def test_cold_keys_are_fetched_before_a_commit(node, client):
    run = cold_at_commit(node, client)
    run.finish()
    assert run.program.starts == 1
    assert client("SCARD", "set") == 4
    invariants.check(node.tip)


def test_what_comes_once_leadership_is_lost_ends_no_commit(node, client):
    run = cold_at_commit(node, client)
    node.sequencer.serving = False
    node.step_threads()
    node.run_pass(node.replica.completions_due)
    assert not run.is_ended
    node.sequencer.serving = True
    run.finish()
    assert client("SCARD", "set") == 4


def test_a_blocked_client_is_served_by_a_commit(node, client):
    waiter = node.session()
    waiter.feed(encode("BZPOPMIN", "zset", "0"))
    node.serve(waiter)
    Running(node, commands(("ZADD", "zset", "1", "a"))).finish()
    assert waiter.take().endswith(b"$1\r\na\r\n$1\r\n1\r\n")
    assert client("EXISTS", "zset") == 0


# -- long commands ------------------------------------------------------------------------------

MANY = 50_001


@pytest.fixture
def large(node, client):
    members = [b"%d" % i for i in range(MANY)]
    for at in range(0, MANY, 10_000):
        client("SADD", "large", *members[at : at + 10_000])
    return client


def test_a_long_read_runs_beside_the_others(node, large):
    session = node.session()
    session.feed(encode("SMEMBERS", "large") + encode("SET", "after", "1"))
    node.serve(session)
    assert session.state == S_WAITING
    other = node.session()
    other.feed(encode("GET", "after"))
    node.serve(other)
    assert other.take() == b"$-1\r\n", "its next command waits"
    reply = b""
    while session.state == S_WAITING:
        reply += finish(node, session)
    members, after = decode_all(reply)
    assert len(set(members)) == MANY
    assert after == b"OK"
    assert large("GET", "after") == b"1"


def test_a_long_store_takes_effect_at_once(node, large):
    large("SADD", "small", "x")
    assert large("SUNIONSTORE", "target", "large", "small") == MANY + 1
    assert large("SCARD", "target") == MANY + 1
    invariants.check(node.tip)
    assert large("COPY", "target", "copy") == 1
    assert large("SORT", "large", "LIMIT", "0", "1") == [b"0"]
    assert large("SORT", "large", "STORE", "sorted") == MANY
    assert large("TYPE", "sorted") == b"list"
    assert node.jobs.transactions.committed == 4
    invariants.check(node.tip)
    node = node.crash()
    databases = contents(node.tip, node.engine).databases
    assert len(databases[0][b"copy"].data[1]) == MANY + 1
    assert [row[2] for row in databases[0][b"sorted"].data[1][:3]] == [b"0", b"1", b"2"]


def test_a_pause_holds_its_commit_and_only_that(node, client):
    client("MSET", "a", "5", "b", "0")
    transactions = node.jobs.transactions
    transactions.is_paused = lambda: True
    writer, reader = paused(node, transfer), paused(node, commands(("GET", "a")))
    for _ in range(3):
        step(node)
    assert reader.is_ended
    assert not writer.is_ended
    assert not transactions.step(lambda session: False)  # nothing to do until the pause ends
    assert contents(node.tip).databases[0][b"b"].data == b"0"
    transactions.is_paused = lambda: False
    assert writer.finish() == b"+done\r\n"
    assert client("GET", "b") == b"5"
