"""In a group nothing leaves before leadership was confirmed after its request had arrived (I2b)."""

import sys

import pytest

from kvnode._core.dispatch import Command
from kvnode._core.serving import unblock
from kvnode.base.errors import InvariantError
from tests.support.leader import Leader, ask
from tests.support.local import UNCERTAIN, pipeline

OK = b"+OK\r\n"
PONG = b"+PONG\r\n"
ONE = b"$1\r\n1\r\n"
WAIT = 2  # an Outcome of dispatch.pxd
LARGE = 3 << 20  # bytes of a string that leaves in steps
POP = b"*2\r\n$1\r\nq\r\n$1\r\n1\r\n"


@pytest.fixture
def node():
    node = Leader()
    ask(node, "SET", "old", "1")
    node.finish()
    return node


def settle(node, *commands):
    """Run commands to their end; return the replies."""
    session = node.session()
    session.feed(pipeline(*commands))
    replies = b""
    todo = [session]
    while todo:
        node.run_pass(*todo)
        node.finish()
        replies += session.take()
        todo = node.sequencer.take_ready()
    return replies


def test_a_read_waits_for_a_confirmation(node):
    session = ask(node, "GET", "old")
    assert session.take() == b""
    assert session.held
    assert node.sequencer.unconfirmed() == node.sequencer.passes
    node.confirm()
    assert session.take() == ONE
    assert not session.held
    assert node.sequencer.unconfirmed() == 0


def test_a_group_of_one_needs_none(node):
    node.sequencer.is_alone = True
    assert ask(node, "GET", "old").take() == ONE
    assert node.sequencer.unconfirmed() == 0


def test_a_confirmation_of_an_earlier_pass_is_not_enough(node):
    first = ask(node, "GET", "old")
    earlier = node.sequencer.passes
    second = ask(node, "GET", "old")
    node.confirm(earlier)
    assert (first.take(), second.take()) == (ONE, b"")
    assert node.sequencer.unconfirmed() == earlier + 1
    node.confirm(earlier)
    assert second.take() == b""
    node.confirm(earlier + 1)
    assert second.take() == ONE


def test_a_confirmation_of_a_pass_that_still_reads_is_refused(node):
    node.sequencer.begin(node.clock.now_ms)
    with pytest.raises(InvariantError):
        node.sequencer.confirm(node.sequencer.passes)
    node.sequencer.end()
    node.sequencer.confirm(node.sequencer.passes)
    with pytest.raises(InvariantError):
        node.sequencer.confirm(node.sequencer.passes + 1)


def test_a_commit_confirms_the_pass_of_its_batch(node):
    writer, reader = node.session(), node.session()
    writer.feed(pipeline(("SET", "a", "1")))
    reader.feed(pipeline(("GET", "old")))
    node.run_pass(writer, reader)
    later = ask(node, "GET", "old")
    node.agree()
    assert (writer.take(), reader.take(), later.take()) == (OK, ONE, b"")
    node.confirm()
    assert later.take() == ONE


def test_a_batch_that_will_commit_makes_a_round_needless(node):
    ask(node, "GET", "old")
    ask(node, "SET", "a", "1")
    assert node.sequencer.unconfirmed() == 0
    ask(node, "GET", "old")
    assert node.sequencer.unconfirmed() == node.sequencer.passes
    node.agree()
    assert node.sequencer.unconfirmed() == node.sequencer.passes


def test_a_batch_that_was_closed_early_confirms_the_pass_before(node):
    """Sessions of the pass were read after it."""
    before = ask(node, "GET", "old")
    early, late = node.session(), node.session()
    node.sequencer.begin(node.clock.now_ms)
    early.feed(pipeline(("SET", "old", "2"), ("GET", "old")))
    node.sequencer.serve(early)
    node.sequencer.propose_empty()
    late.feed(pipeline(("GET", "old")))
    node.sequencer.serve(late)
    node.sequencer.end()
    node.agree()
    assert (before.take(), early.take(), late.take()) == (ONE, b"", b"")
    node.confirm()
    assert (early.take(), late.take()) == (OK + b"$1\r\n2\r\n", b"$1\r\n2\r\n")


def test_an_entry_between_two_passes_confirms_the_pass_before(node):
    session = ask(node, "GET", "old")
    node.sequencer.propose_empty()
    assert node.sequencer.unconfirmed() == 0
    node.agree()
    assert session.take() == ONE


def test_a_read_of_an_uncommitted_write_waits_for_both(node):
    ask(node, "SET", "a", "1")
    reader = ask(node, "GET", "a")
    node.confirm()
    assert reader.take() == b""
    node.agree()
    assert reader.take() == ONE
    ask(node, "SET", "a", "1")
    reader = ask(node, "GET", "a")
    node.agree()
    assert reader.take() == b""
    node.confirm()
    assert reader.take() == ONE


def test_output_leaves_in_order(node):
    session = node.session()
    node.run(session, pipeline(("GET", "old")))
    assert node.run(session, pipeline(("PING",))) == b""
    node.run(session, pipeline(("SET", "a", "1")))
    node.run(session, pipeline(("GET", "old")))
    node.agree()
    assert session.take() == ONE + PONG + OK
    node.confirm()
    assert session.take() == ONE


@pytest.mark.parametrize(
    "words", [("PING",), ("ECHO", "1"), ("CLIENT", "ID"), ("SELECT", "1"), ("NONE",), ("GET",)]
)
def test_what_looks_at_no_data_waits_for_nothing(node, words):
    assert ask(node, *words).take() != b""
    assert node.sequencer.unconfirmed() == 0


@pytest.mark.parametrize(
    "words",
    [("GET", "none"), ("DBSIZE",), ("SCAN", "0"), ("EVAL", "return 1", "0")],
)
def test_absence_and_size_wait(node, words):
    ask(node, *words)
    node.finish()  # a script is kept when it runs first
    ask(node, *words)
    assert node.sequencer.unconfirmed() == node.sequencer.passes


def test_a_lease_confirms_at_the_end_of_the_pass(node):
    leases = [False, True]
    node.sequencer.has_lease = lambda: leases.pop(0)
    first = ask(node, "GET", "old")
    assert first.take() == b""
    second = ask(node, "GET", "old")
    assert (first.take(), second.take()) == (ONE, ONE)
    assert leases == []


def test_who_waited_for_a_key_counts_as_newly_arrived(node):
    waiter = ask(node, "BLPOP", "q", "0")
    node.confirm()
    ask(node, "RPUSH", "q", "1")
    node.confirm()
    assert waiter.take() == b""
    node.agree()
    assert waiter.take() == POP


@pytest.mark.parametrize("by_time", [True, False])
def test_a_wait_that_ends_without_data_counts_as_newly_arrived(node, by_time):
    waiter = ask(node, "BLPOP", "q", "1")
    node.confirm()
    node.sequencer.begin(node.clock.now_ms + (1000 if by_time else 0))
    if not by_time:
        assert unblock(node.sequencer, waiter, False)
    node.sequencer.end()
    assert waiter.take() == b""
    assert node.sequencer.unconfirmed() == node.sequencer.passes
    node.confirm()
    assert waiter.take() == b"*-1\r\n"


def test_a_parked_read_waits_for_the_pass_in_which_it_ran(node):
    node.cool()
    session = ask(node, "GET", "old")
    assert node.sequencer.unconfirmed() == 0
    parked = node.sequencer.passes
    node.fetch()
    node.run_pass()
    node.confirm(parked)
    assert session.take() == b""
    node.confirm()
    assert session.take() == ONE


def test_a_reply_in_steps_waits_once(node):
    """Its beginning is held, its steps follow without a confirmation of their own."""
    value = b"v" * LARGE
    assert settle(node, ("SET", "large", value)) == OK
    session = ask(node, "GET", "large")
    node.run_pass(*node.sequencer.take_ready())
    assert session.output_bytes > LARGE // 8
    assert session.take() == b""
    first = node.sequencer.unconfirmed()
    node.confirm(first)
    reply = session.take()
    assert len(reply) > LARGE // 8
    while todo := node.sequencer.take_ready():
        node.run_pass(*todo)
        reply += session.take()
    assert reply == b"$%d\r\n%b\r\n" % (LARGE, value)
    assert node.sequencer.unconfirmed() == 0


def test_the_command_behind_a_reply_in_steps_waits_again(node):
    value = b"v" * LARGE
    settle(node, ("SET", "large", value))
    session = node.session()
    session.feed(pipeline(("GET", "large"), ("GET", "old")))
    node.run_pass(session)
    node.confirm()
    reply = session.take()
    while todo := node.sequencer.take_ready():
        node.run_pass(*todo)
        reply += session.take()
    assert reply == b"$%d\r\n%b\r\n" % (LARGE, value)
    node.confirm()
    assert session.take() == ONE


def test_parts_of_an_answer_wait_for_nothing_but_its_end_does(node):
    """A part is of a moment that is committed, as its fence entry was: see txn/long_reply.py."""
    waits = Command(b"waits", -1, 0, (0, 0, 0), lambda view, args, reply: WAIT)
    node = Leader(commands=[waits])
    session = ask(node, "WAITS")
    for is_last in (False, False, True):
        node.sequencer.begin(node.clock.now_ms)
        node.sequencer.answer(session, lambda reply: reply.integer(1), is_last)
        node.sequencer.end()
        assert session.take() == (b"" if is_last else b":1\r\n")
    node.confirm()
    assert session.take() == b":1\r\n"


def test_waiting_output_is_counted(node):
    assert node.sequencer.fences.bytes == node.sequencer.fences.held == 0
    ask(node, "GET", "old")
    ask(node, "GET", "old")
    assert node.sequencer.fences.bytes > 2 * len(ONE)
    assert node.sequencer.statistics()["held_sessions"] == 2
    node.confirm()
    assert node.sequencer.fences.bytes == node.sequencer.fences.held == 0


def test_fences_let_go_of_their_sessions(node):
    session = node.session()
    node.run(session, pipeline(("PING",)))
    before = sys.getrefcount(session)
    for _ in range(5):
        node.run(session, pipeline(("GET", "old")))
    assert sys.getrefcount(session) == before + 5
    node.confirm(node.sequencer.passes - 2)
    assert sys.getrefcount(session) == before + 2
    node.sequencer.fail_held(UNCERTAIN)
    node.sequencer.take_flushable()
    assert sys.getrefcount(session) == before


def test_what_is_committed_stays_until_it_is_synced(node):
    session = ask(node, "SET", "a", "1")
    durable = node.sequencer.durable_index
    node.agree()
    assert session.take() == OK
    assert node.sequencer.durable_index == durable
    assert node.sequencer.unsynced_bytes > 0
    node.commit()
    assert node.sequencer.durable_index == node.sequencer.last_index
    assert node.sequencer.unsynced_bytes == 0
    assert node.tip.durable == node.tip.watermark


def test_what_is_synced_stays_until_it_is_committed(node):
    session = ask(node, "SET", "a", "1")
    node.commit()
    assert session.take() == b""
    assert node.sequencer.durable_index < node.sequencer.last_index
    node.agree()
    assert session.take() == OK
    assert node.sequencer.durable_index == node.sequencer.last_index


def test_a_commit_past_the_last_entry_is_refused(node):
    with pytest.raises(InvariantError):
        node.sequencer.commit_to(node.sequencer.last_index + 1)
