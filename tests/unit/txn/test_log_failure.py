"""The log fails: whoever waits is told that nothing was done, or that nobody knows."""

import pytest

from kvnode.server.node import NOT_DONE, UNCERTAIN
from tests.sim.node import SimNode, new_node
from tests.support.local import S_CLOSING, S_PARKED, S_WAITING, pipeline
from tests.support.resp import encode
from tests.support.scripts import LONG, impatient_node

NOTHING = b"-" + NOT_DONE + b"\r\n"


def fail(node: SimNode) -> None:
    """What the node does when its log cannot be written."""
    node.sequencer.fail_held(UNCERTAIN)
    node.jobs.fail(NOT_DONE, node.sessions.values())


def begin(node: SimNode, *commands: tuple, state: int):
    session = node.session()
    session.feed(pipeline(*commands))
    node.serve(session)
    assert session.state == state
    return session


@pytest.mark.parametrize("words", [("BLPOP", "list", "0"), ("BZPOPMIN", "a", "b", "9")])
def test_who_waits_for_data(words):
    node = new_node()
    session = begin(node, words, state=S_WAITING)
    fail(node)
    assert session.take() == NOTHING
    assert session.state == S_CLOSING


def test_who_waits_for_data_behind_a_write_of_his_own():
    """What was held goes first, and its error ends the connection."""
    node = new_node()
    session = begin(node, ("SET", "a", "1"), ("BLPOP", "list", "0"), state=S_WAITING)
    fail(node)
    assert session.take() == b"-" + UNCERTAIN + b"\r\n"


def test_who_waits_for_records():
    node = new_node()
    node.settle(node.session(), encode("SET", "a", "1"))
    node.checkpoint()
    node.evict()
    session = begin(node, ("GET", "a"), state=S_PARKED)
    fail(node)
    assert session.take() == NOTHING
    assert session.state == S_CLOSING


def test_who_waits_for_the_end_of_a_pause():
    node = new_node()
    node.view.dispatch.gate = lambda session, command: command.name == b"set"
    session = begin(node, ("SET", "a", "1"), state=S_WAITING)
    fail(node)
    assert session.take() == NOTHING


def test_who_waits_for_a_script():
    node = impatient_node()
    session = begin(node, ("EVAL", LONG + "return 1", "0"), state=S_WAITING)
    node.sync()  # its text is cached
    session.take()
    fail(node)
    assert session.take() == NOTHING


def test_in_the_midst_of_a_reply_nothing_is_told():
    """A large hash leaves in parts: an error would be taken for one of its fields."""
    node = new_node(steps_max=8)
    fields = [word for i in range(5000) for word in (f"field{i}", "v" * 200)]
    node.settle(node.session(), encode("HSET", "hash", *fields))
    session = node.session()
    session.feed(encode("HGETALL", "hash"))
    node.serve(session)
    got = b""
    while not got:
        node.step_threads()
        node.sync()
        node.serve()
        got = session.take()
    assert session.state == S_WAITING
    fail(node)
    assert NOT_DONE not in session.take()
    assert session.state == S_CLOSING


def test_who_waits_for_nothing_is_told_nothing():
    node = new_node()
    session = begin(node, ("PING",), state=0)
    assert session.take() == b"+PONG\r\n"
    fail(node)
    assert session.take() == b""
    assert session.state == 0
