"""When leadership is lost, what waits is answered, and the sequencer executes nothing more (I6)."""

import pytest

from kvnode._core.dispatch import Command
from kvnode._core.sequencer import Sequencer
from kvnode._core.tip import Tip
from kvnode._core.transactions import Watches, fail_waiting
from kvnode._core.view import View
from kvnode.base.errors import InvariantError
from kvnode.scripting import runtime
from tests.support.leader import RETRY, UNBLOCKED, UNCERTAIN, Leader, ask, error
from tests.support.local import (
    HASH_KEY,
    S_CLOSING,
    S_PARKED,
    S_READY,
    S_WAITING,
    TERM,
    LocalNode,
    pipeline,
)

OK = b"+OK\r\n"
PONG = b"+PONG\r\n"
ONE = b"$1\r\n1\r\n"
LARGE = 3 << 20  # bytes of a string that leaves in steps
WAIT, HELD = 2, 4  # Outcomes of dispatch.pxd


@pytest.fixture
def node():
    node = Leader()
    ask(node, "SET", "old", "1")
    node.finish()
    return node


def successor(node: LocalNode) -> LocalNode:
    """Give the node an empty state, as if it had been built anew, under another sequencer."""
    node.tip = Tip(HASH_KEY, True)
    node.view = View(node.tip, 1)
    node.watches = Watches(node.tip)
    node.view.connect(node.dispatch, node.watches, node)
    runtime.connect(node.view)
    node.sequencer = Sequencer(node.tip, node.view, node.dispatch, node.log, TERM + 1, 0, 0, 0)
    return node


def test_what_the_log_has_synced_before_says_nothing_of_the_next_state(node):
    """Its entries may be others: those under these indexes were replaced."""
    assert node.sequencer.synced > 0
    node.step_down()
    successor(node).sequencer.log_moved()
    assert node.sequencer.synced == node.sequencer.last_index == 0


def test_held_output_of_writers_is_uncertain_and_of_readers_not_done(node):
    writer = ask(node, "SET", "a", "1")
    reader = ask(node, "GET", "a")
    other = ask(node, "GET", "old")
    assert not node.step_down()
    assert writer.take() == error(UNCERTAIN)
    assert reader.take() == other.take() == error(RETRY)
    assert {s.state for s in (writer, reader, other)} == {S_CLOSING}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("FLUSHALL",), UNCERTAIN),
        (("SWAPDB", "0", "1"), UNCERTAIN),
        (("RPUSH", "q", "1"), UNCERTAIN),
        (("RENAME", "old", "new"), UNCERTAIN),
        (("EVAL", "return redis.call('incr', 'a')", "0"), UNCERTAIN),
        (("EVAL", "return redis.call('get', 'old')", "0"), RETRY),
        (("SCRIPT", "LOAD", "return 1"), UNCERTAIN),
        (("DEL", "none"), RETRY),
        (("SETNX", "old", "2"), RETRY),
        (("DBSIZE",), RETRY),
    ],
)
def test_what_counts_is_what_was_done(node, words, line):
    if words[0] == "EVAL":
        ask(node, *words)  # a script is kept when it runs first
        node.finish()
    session = ask(node, *words)
    node.step_down()
    assert session.take() == error(line)


def test_a_read_that_meets_a_deadline_stays_a_read(node):
    ask(node, "SET", "short", "1", "PX", "10")
    node.finish()
    node.clock.advance(20)
    session = ask(node, "GET", "short")
    assert session.held
    node.step_down()
    assert session.take() == error(RETRY)


def test_one_write_among_reads_makes_all_uncertain(node):
    session = node.session()
    node.run(session, pipeline(("SET", "a", "1")))
    node.run(session, pipeline(("GET", "old")))
    node.step_down()
    assert session.take() == error(UNCERTAIN)
    assert session.state == S_CLOSING


def test_a_committed_write_before_a_held_read_was_answered(node):
    session = node.session()
    node.run(session, pipeline(("SET", "a", "1")))
    node.agree()
    session.feed(pipeline(("GET", "old")))
    node.run_pass(session)
    assert node.step_down()
    assert session.take() == OK + error(RETRY)


def test_nothing_held_is_nothing_lost(node):
    idle, local = node.session(), node.session()
    node.run(local, pipeline(("PING",)))
    assert node.step_down()
    assert (idle.state, local.state, local.take()) == (S_READY, S_READY, b"")


def test_a_later_commit_releases_nothing(node):
    session = ask(node, "SET", "a", "1")
    last = node.sequencer.last_index
    node.step_down()
    assert session.take() == error(UNCERTAIN)
    node.log.complete()
    node.sequencer.on_stable = lambda term, index: last
    node.sequencer.log_moved()
    assert session.take() == b""
    assert node.sequencer.committed < last


def test_memory_stays_without_effects_of_ones_own(node):
    """An entry that says nothing, as the fence of a term, may be lost."""
    committed = node.sequencer.committed
    node.sequencer.propose_empty()
    assert node.step_down()
    assert not node.sequencer.is_over
    assert (node.sequencer.last_index, node.sequencer.committed) == (committed, committed)


def test_a_committed_entry_that_is_not_synced_stays(node):
    ask(node, "SET", "a", "1")
    node.agree()
    last, durable = node.sequencer.last_index, node.sequencer.durable_index
    assert node.step_down()
    assert (node.sequencer.durable_index, node.sequencer.last_index) == (durable, last)
    node.commit()
    assert node.sequencer.durable_index == last


def test_it_executes_nothing_more(node):
    ask(node, "SET", "a", "1")
    node.step_down()
    assert node.sequencer.is_over
    session = node.session()
    assert node.run(session, pipeline(("PING",))) == b""
    assert session.input_bytes
    with pytest.raises(InvariantError):
        node.sequencer.propose_empty()
    node.sequencer.log_moved()


def test_it_ends_within_a_pass(node):
    """The message that ends it arrives between two sessions."""
    writer, reader, local, late = (node.session() for _ in range(4))
    node.sequencer.begin(node.clock.now_ms)
    writer.feed(pipeline(("SET", "a", "1")))
    reader.feed(pipeline(("GET", "old")))
    local.feed(pipeline(("PING",)))
    late.feed(pipeline(("GET", "old")))
    for session in (writer, reader, local):
        node.sequencer.serve(session)
    entries = node.sequencer.last_index
    assert not node.sequencer.step_down(UNCERTAIN, RETRY, UNBLOCKED)
    node.sequencer.serve(late)
    node.sequencer.end()
    assert writer.take() == error(UNCERTAIN)
    assert reader.take() == error(RETRY)
    assert local.take() == PONG
    assert late.take() == b""
    assert late.input_bytes
    assert node.sequencer.last_index == entries
    assert set(node.sequencer.take_flushable()) == {writer, reader, local}


def test_a_pass_that_only_read_leaves_memory_as_it_is(node):
    node.sequencer.begin(node.clock.now_ms)
    assert node.sequencer.step_down(UNCERTAIN, RETRY, UNBLOCKED)
    node.sequencer.end()
    node.sequencer.serving = True
    session = ask(node, "GET", "old")
    node.confirm()
    assert session.take() == ONE


def test_who_waits_for_keys_is_let_go(node):
    waiter = ask(node, "BLPOP", "q", "0")
    node.finish()
    assert node.step_down()
    assert waiter.take() == error(UNBLOCKED)
    assert waiter.state == S_CLOSING
    assert node.sequencer.waiters.sessions == node.sequencer.waiters.keys == 0


def test_who_was_served_and_not_answered_is_uncertain(node):
    waiter = ask(node, "BLPOP", "q", "0")
    node.finish()
    ask(node, "RPUSH", "q", "1")
    node.step_down()
    assert waiter.take() == error(UNCERTAIN)


def test_a_write_before_the_wait_is_uncertain(node):
    session = node.session()
    node.run(session, pipeline(("SET", "a", "1"), ("BLPOP", "q", "0")))
    node.step_down()
    assert session.take() == error(UNCERTAIN)
    assert session.state == S_CLOSING


def test_a_waiter_that_is_parked_is_let_go(node):
    ask(node, "RPUSH", "q", "1")
    ask(node, "LPOP", "q")
    node.finish()
    waiter = ask(node, "BLMOVE", "q", "old-list", "LEFT", "LEFT", "0")
    ask(node, "RPUSH", "old-list", "1")
    node.finish()
    node.cool()
    ask(node, "RPUSH", "q", "1")
    node.fetch()
    node.run_pass()
    if waiter.state == S_PARKED:
        node.step_down()
        assert waiter.take() == error(UNBLOCKED)


def test_a_parked_session_goes_on_with_another_sequencer(node):
    node.cool()
    session = ask(node, "GET", "old")
    assert session.state == S_PARKED
    node.step_down()
    assert session.take() == b""
    node = successor(node)
    node.sequencer.take_over([session])
    node.run_pass()
    assert session.take() == b""
    node.sequencer.serving = True
    node.sequencer.begin(node.clock.now_ms)
    node.sequencer.create_databases()
    node.sequencer.end()
    node.commit()
    node.run_pass()
    assert session.take() == b"$-1\r\n"
    assert session.state == S_READY


def test_unread_input_is_kept_until_somebody_serves(node):
    node.step_down()
    session = node.session()
    assert node.run(session, pipeline(("GET", "old"))) == b""
    assert node.run(session, pipeline(("GET", "old"))) == b""
    assert node.sequencer.take_ready() == []
    node.sequencer.serving = True
    node.run_pass()
    node.confirm()
    assert session.take() == ONE * 2


def test_a_closed_session_is_not_kept(node):
    node.step_down()
    session = node.session()
    node.run(session, pipeline(("GET", "old")))
    node.close(session)
    node.sequencer.serving = True
    node.run_pass()
    assert session.take() == b""


def test_watches_are_void(node):
    session = node.session()
    node.run(session, pipeline(("WATCH", "old"), ("MULTI",), ("GET", "old")))
    node.finish()
    session.take()
    node.step_down()
    node.sequencer.serving = True
    node.run(session, pipeline(("EXEC",)))
    node.confirm()
    assert session.take() == b"*-1\r\n"


def test_a_reply_half_sent_ends_without_an_error(node):
    ask(node, "SET", "large", b"v" * LARGE)
    node.run_pass(*node.sequencer.take_ready())
    node.finish()
    session = ask(node, "GET", "large")
    node.confirm()
    assert session.take()
    node.run_pass(*node.sequencer.take_ready())
    node.step_down()
    assert set(session.take()) <= set(b"v")
    assert session.state == S_CLOSING


def test_a_reply_in_steps_that_has_not_begun_becomes_the_error(node):
    ask(node, "SET", "large", b"v" * LARGE)
    node.run_pass(*node.sequencer.take_ready())
    node.finish()
    session = ask(node, "GET", "large")
    node.run_pass(*node.sequencer.take_ready())
    node.step_down()
    assert session.take() == error(RETRY)
    assert session.state == S_CLOSING


def test_what_was_staged_is_forgotten(node):
    session = node.session()
    session.feed(pipeline(("SET", "large", b"v" * (9 << 20))))
    node.run_pass(session)
    assert session.staged is not None
    node.step_down()
    assert session.staged is None
    assert session.state == S_READY
    assert not node.view.staging


def test_commands_beside_the_sequencer_are_for_who_runs_them(node):
    waits = Command(b"waits", -1, 0, (0, 0, 0), lambda view, args, reply: WAIT)
    held = Command(b"held", -1, 0, (0, 0, 0), lambda view, args, reply: HELD)
    node = Leader(commands=[waits, held])
    fresh, begun, paused = (ask(node, "WAITS"), ask(node, "WAITS"), ask(node, "HELD"))
    node.step_down()
    assert {s.state for s in (fresh, begun, paused)} == {S_WAITING}
    fail_waiting(node.sequencer, [fresh], RETRY)
    fail_waiting(node.sequencer, [begun], None)
    assert (fresh.take(), begun.take()) == (error(RETRY), b"")
    assert fresh.state == begun.state == S_CLOSING
    assert set(node.sequencer.take_flushable()) == {fresh, begun}
    node = successor(node)
    node.sequencer.resume(paused)
    assert paused.state == S_READY
    assert paused.input_bytes


def test_a_job_that_nobody_took_is_not_done(node):
    long = Command(b"long", -1, 0, (0, 0, 0), lambda view, args, reply: 3)
    node = Leader(commands=[long])
    session = ask(node, "LONG")
    node.step_down()
    assert session.take() == error(RETRY)
    assert node.sequencer.take_jobs() == []
