"""What optimistic transactions have to get right, on a simulated node."""

import pytest

from kvnode._core import invariants
from tests.sim.node import new_node
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
    assert node.jobs.transactions.committed == 1


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
