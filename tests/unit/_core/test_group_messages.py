"""Messages of a leader of a group: they wait for its confirmation, and end with its leadership."""

import pytest

from kvnode._core.session import Session
from tests.support.leader import RETRY, Leader, ask, error
from tests.support.local import pipeline

S_CLOSING = 3
MESSAGE = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n"


@pytest.fixture
def node() -> Leader:
    return Leader()


def subscriber(node: Leader, *channels: str) -> Session:
    session = ask(node, "SUBSCRIBE", *(channels or ("c",)))
    node.finish()
    session.take()
    return session


def test_a_message_waits_for_a_confirmation(node: Leader) -> None:
    session = subscriber(node)
    publisher = ask(node, "PUBLISH", "c", "m")
    assert (session.take(), publisher.take()) == (b"", b"")
    assert not node.sequencer.has_unsynced()  # there is no entry to wait for
    node.confirm()
    assert (session.take(), publisher.take()) == (MESSAGE, b":1\r\n")


def test_a_confirmation_of_an_earlier_pass_is_not_enough(node: Leader) -> None:
    session = subscriber(node)
    earlier = node.sequencer.passes
    ask(node, "PUBLISH", "c", "m")
    node.confirm(earlier)
    assert session.take() == b""
    node.confirm()
    assert session.take() == MESSAGE


def test_a_message_waits_for_the_write_before_it(node: Leader) -> None:
    session = subscriber(node)
    publisher = node.session()
    publisher.feed(pipeline(("SET", "a", "1"), ("PUBLISH", "c", "m")))
    node.run_pass(publisher)
    node.confirm(node.sequencer.passes - 1)
    assert session.take() == b""
    node.commit()
    assert session.take() == b""
    node.agree()  # confirms as well
    assert session.take() == MESSAGE


def test_a_confirmation_of_a_subscription_waits(node: Leader) -> None:
    session = ask(node, "SUBSCRIBE", "c")
    assert session.take() == b""
    node.confirm()
    assert session.take() == b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"


def test_subscribers_are_closed_when_leadership_ends(node: Leader) -> None:
    session = subscriber(node, "c", "d")
    other = ask(node, "GET", "a")
    node.finish()
    other.take()
    node.step_down()
    assert (session.state, session.take()) == (S_CLOSING, b"")
    assert session.channels == 0
    assert node.view.pubsub.clients == 0
    assert other.state != S_CLOSING


def test_a_message_that_was_held_is_not_told(node: Leader) -> None:
    session = subscriber(node)
    ask(node, "PUBLISH", "c", "m")
    node.step_down()
    assert (session.state, session.take()) == (S_CLOSING, error(RETRY))
    assert node.view.pubsub.clients == 0


def test_a_message_of_a_pass_that_does_not_end_is_not_told(node: Leader) -> None:
    session = subscriber(node)
    publisher = node.session()
    publisher.feed(pipeline(("PUBLISH", "c", "m")))
    node.sequencer.begin(node.clock.now_ms)
    node.sequencer.serve(publisher)
    node.step_down()
    assert session.take() == error(RETRY)
