"""Sequences of events around the loss of a leadership that would tell clients what is not so."""

import pytest

from tests.support.leader import RETRY, UNBLOCKED, UNCERTAIN, Leader, ask, error
from tests.support.local import S_CLOSING

NULL_ARRAY = b"*-1\r\n"
POP = b"*2\r\n$1\r\nq\r\n$1\r\n1\r\n"


@pytest.fixture
def node():
    return Leader()


def test_hard_case_04_no_ok_for_a_write_that_was_overwritten(node):
    """The message that replaces the entry also says that its index is committed."""
    writer = ask(node, "SET", "x", "1")
    reader = ask(node, "GET", "x")
    node.commit()
    index = node.sequencer.last_index
    assert not node.step_down()
    node.sequencer.on_stable = lambda term, stable: index
    node.log.set_synced(2, index)
    node.sequencer.log_moved()
    assert writer.take() == error(UNCERTAIN)
    assert reader.take() == error(RETRY)
    assert writer.state == reader.state == S_CLOSING


def test_hard_case_24_a_waiter_that_is_tried_again_counts_as_newly_arrived(node):
    """A confirmation that began before it was woken says nothing about what woke it."""
    waiter = ask(node, "BLPOP", "q", "0")
    began = node.sequencer.passes
    ask(node, "RPUSH", "q", "1")
    node.confirm(began)
    assert waiter.take() == b""
    node.agree()
    assert waiter.take() == POP


def test_hard_case_24_a_waiter_that_times_out_counts_as_newly_arrived(node):
    """Meanwhile another leader may have given the key data."""
    waiter = ask(node, "BLPOP", "q", "1")
    began = node.sequencer.passes
    node.clock.advance(1000)
    node.run_pass()
    node.confirm(began)
    assert waiter.take() == b""
    node.confirm()
    assert waiter.take() == NULL_ARRAY


def test_hard_case_24_waiters_of_a_lost_leader(node):
    """Those not served got nothing, of those served nobody knows."""
    served, unserved = ask(node, "BLPOP", "q", "0"), ask(node, "BLPOP", "r", "0")
    ask(node, "RPUSH", "q", "1")
    node.step_down()
    assert served.take() == error(UNCERTAIN)
    assert unserved.take() == error(UNBLOCKED)
    assert served.state == unserved.state == S_CLOSING
