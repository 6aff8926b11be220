"""Messages: whom they reach, in which state, when they may leave, and what undoes them."""

import pytest

from tests.sim.node import SimNode, new_node
from tests.support.local import S_CLOSING, S_PARKED, S_WAITING, pipeline
from tests.support.resp import decode_all, encode
from tests.support.scripts import LONG, finish, impatient_node


@pytest.fixture
def node() -> SimNode:
    return new_node()


def subscriber(node: SimNode, *words: str, proto: int = 2):
    session = node.session()
    node.settle(session, pipeline(("HELLO", proto), words or ("SUBSCRIBE", "news")))
    return session


def messages(session) -> list:
    """What a subscriber may read by now."""
    return [reply[-1] for reply in decode_all(session.take())]


def run(node: SimNode, *commands: tuple):
    """Let a new client send commands; its session."""
    session = node.session()
    session.feed(pipeline(*commands))
    node.serve(session)
    return session


# -- I2 -----------------------------------------------------------------------------------------


def test_a_message_waits_for_its_batch(node):
    reader = subscriber(node)
    publisher = run(node, ("SET", "a", "1"), ("PUBLISH", "news", "set"))
    assert reader.take() == publisher.take() == b""
    assert reader.held
    node.sync()
    assert messages(reader) == [b"set"]
    assert publisher.take() == b"+OK\r\n:1\r\n"


def test_a_message_without_effects_waits_for_what_its_publisher_wrote_before(node):
    """In a later pass: the publisher's reply stands behind a held one, the message does not."""
    reader = subscriber(node)
    publisher = run(node, ("SET", "a", "1"))
    publisher.feed(encode("PUBLISH", "news", "set"))
    node.serve(publisher)
    assert reader.take() == b""
    node.sync()
    assert messages(reader) == [b"set"]


def test_a_message_waits_for_what_its_publisher_saw(node):
    reader = subscriber(node)
    run(node, ("SET", "a", "1"))
    run(node, ("GET", "a"), ("PUBLISH", "news", "seen"))
    assert reader.take() == b""
    node.sync()
    assert messages(reader) == [b"seen"]


def test_where_nothing_is_uncommitted_a_message_leaves_at_once(node):
    reader = subscriber(node)
    assert run(node, ("PUBLISH", "news", "now")).take() == b":1\r\n"
    assert messages(reader) == [b"now"]


def test_a_released_message_does_not_wait_for_a_later_one(node):
    reader = subscriber(node)
    run(node, ("SET", "a", "1"), ("PUBLISH", "news", "first"))
    run(node, ("SET", "a", "2"), ("PUBLISH", "news", "second"))
    node.sync(1)
    assert messages(reader) == [b"first"]
    node.sync()
    assert messages(reader) == [b"second"]


def test_a_batch_that_is_lost_takes_its_messages_with_it(node):
    reader = subscriber(node)
    run(node, ("SET", "a", "1"), ("PUBLISH", "news", "lost"))
    node.sequencer.fail_held(b"UNCERTAIN")
    assert reader.take() == b"-UNCERTAIN\r\n"


# -- sessions in any state ----------------------------------------------------------------------


def test_a_blocked_client_gets_messages(node):
    reader = subscriber(node, proto=3)
    reader.feed(encode("BLPOP", "list", "0"))
    node.serve(reader)
    assert reader.state == S_WAITING
    run(node, ("PUBLISH", "news", "hello"))
    assert messages(reader) == [b"hello"]
    run(node, ("RPUSH", "list", "x"))
    node.sync()
    assert decode_all(reader.take()) == [[b"list", b"x"]]


def test_a_parked_client_gets_messages(node):
    node.ask("SET", "a", "1")
    reader = subscriber(node, proto=3)
    node.checkpoint()
    node.evict()
    reader.feed(encode("GET", "a"))
    node.serve(reader)
    assert reader.state == S_PARKED
    run(node, ("PUBLISH", "news", "hello"))
    assert messages(reader) == [b"hello"]
    assert node.settle(reader, b"") == b"$1\r\n1\r\n"


def test_a_client_that_is_closing_gets_no_message(node):
    reader = subscriber(node)
    reader.feed(b"*1\r\n$x\r\n")
    node.serve(reader)
    assert reader.state == S_CLOSING
    assert run(node, ("PUBLISH", "news", "hello")).take() == b":1\r\n"
    assert b"hello" not in reader.take()


def test_a_message_follows_a_reply_that_leaves_in_steps(node):
    node.ask("SET", "a", "x" * 5_000_000)
    reader = subscriber(node, proto=3)
    reader.feed(encode("GET", "a"))
    node.serve(reader)
    got = reader.take()
    assert b"\r\n" in got
    assert len(got) < 5_000_000
    run(node, ("PUBLISH", "news", "hello"))
    for _ in range(100):
        node.sync()
        node.serve()
        got += reader.take()
    value, message = decode_all(got)
    assert value == b"x" * 5_000_000
    assert message == [b"message", b"news", b"hello"]


def test_a_message_follows_a_reply_of_many_elements():
    node = new_node(steps_max=8)
    fields = [word for i in range(5000) for word in (f"field{i}", "v" * 200)]
    node.ask("HSET", "hash", *fields)
    reader = subscriber(node, proto=3)
    reader.feed(encode("HGETALL", "hash"))
    node.serve(reader)
    got = b""
    while not got:
        node.step_threads()
        node.sync()
        node.serve()
        got = reader.take()
    run(node, ("PUBLISH", "news", "hello"))
    for _ in range(100):
        node.step_threads()
        node.sync()
        node.serve()
        got += reader.take()
    hash_, message = decode_all(got)
    assert len(hash_) == 5000
    assert message[-1] == b"hello"


def test_its_own_message_follows_the_reply(node):
    reader = subscriber(node, proto=3)
    reply = node.settle(reader, encode("PUBLISH", "news", "mine"))
    assert decode_all(reply) == [1, [b"message", b"news", b"mine"]]


def test_who_is_gone_gets_nothing(node):
    reader = subscriber(node)
    node.close_session(reader)
    assert node.ask("PUBLISH", "news", "hello") == 0
    assert node.ask("PUBSUB", "CHANNELS") == []


# -- EXEC and scripts ---------------------------------------------------------------------------


def test_messages_of_an_exec_come_at_its_end_in_their_order(node):
    reader = subscriber(node)
    queue = [("PUBLISH", "news", "1"), ("SET", "a", "1"), ("PUBLISH", "news", "2")]
    session = run(node, ("MULTI",), *queue, ("EXEC",))
    assert reader.take() == b""
    node.sync()
    assert messages(reader) == [b"1", b"2"]
    assert decode_all(session.take())[-1] == [1, b"OK", 1]


def test_an_exec_that_runs_twice_publishes_once(node):
    """It misses a record, is undone, and runs again."""
    node.ask("SET", "cold", "1")
    reader = subscriber(node)
    node.checkpoint()
    node.evict()
    text = "redis.call('publish', 'news', 'x') return redis.call('get', 'cold')"
    session = run(node, ("MULTI",), ("PUBLISH", "news", "y"), ("EVAL", text, "0"), ("EXEC",))
    assert session.state == S_PARKED
    assert messages(reader) == []
    assert decode_all(node.settle(session, b""))[-1] == [1, b"1"]
    assert messages(reader) == [b"y", b"x"]


@pytest.mark.parametrize("words", [("UNSUBSCRIBE",), ("SUBSCRIBE", "other"), ("PSUBSCRIBE", "*")])
def test_an_exec_that_runs_twice_subscribes_once(node, words):
    node.ask("SET", "cold", "1")
    reader = subscriber(node, proto=3)
    node.checkpoint()
    node.evict()
    text = "return redis.call('get', 'cold')"
    queue = (("MULTI",), words, ("EVAL", text, "0"), ("EXEC",))
    reader.feed(pipeline(*queue))
    node.serve(reader)
    assert reader.state == S_PARKED
    assert node.view.pubsub.names(0) == [b"news"]
    assert (reader.channels, reader.patterns) == (1, 0)
    reply = decode_all(node.settle(reader, b""))[-1]
    count = 0 if words[0] == "UNSUBSCRIBE" else 2
    assert reply[0][0] == words[0].lower().encode()
    assert reply[0][2] == count
    assert reader.channels + reader.patterns == count


def test_a_long_script_publishes_once_when_it_commits():
    node = impatient_node()
    reader = subscriber(node)
    text = "redis.call('publish', 'news', redis.call('incr', 'n')) " + LONG
    session = run(node, ("EVAL", text, "0"))
    assert session.state == S_WAITING
    assert messages(reader) == []
    node.sync()
    node.serve()
    node.step_threads(1)
    node.ask("SET", "n", "10")  # it runs again
    finish(node, session)
    assert messages(reader) == [b"11"]


def test_a_long_script_that_only_publishes():
    node = impatient_node()
    reader = subscriber(node)
    session = run(node, ("EVAL", LONG + "return redis.call('publish', 'news', 'x')", "0"))
    assert decode_all(finish(node, session)) == [1]
    assert messages(reader) == [b"x"]


def test_a_long_exec_publishes_once():
    node = impatient_node()
    reader = subscriber(node)
    queue = [("PUBLISH", "news", "1"), ("EVAL", LONG, "0"), ("PUBLISH", "news", "2")]
    session = run(node, ("MULTI",), *queue, ("EXEC",))
    assert session.state == S_WAITING
    assert messages(reader) == []
    session.take()
    finish(node, session)
    node.sync()
    assert messages(reader) == [b"1", b"2"]


def test_a_script_that_is_killed_publishes_nothing():
    node = impatient_node()
    reader = subscriber(node)
    session = run(node, ("EVAL", "redis.call('publish', 'news', 'x') " + LONG, "0"))
    assert node.ask("SCRIPT", "KILL") == b"OK"
    assert b"killed" in finish(node, session)
    assert messages(reader) == []


def test_a_script_that_is_stopped_in_an_exec_takes_its_own_messages_with_it(node):
    reader = subscriber(node)
    node.view.scripts.here.memory_max = 8 << 20
    hungry = (
        "redis.call('publish', 'news', 'x') local t = {} "
        "for i = 1, 1e4 do t[i] = string.rep('x', 1e5) .. i end"
    )
    queue = [("PUBLISH", "news", "1"), ("EVAL", hungry, "0"), ("PUBLISH", "news", "2")]
    replies = decode_all(node.settle(node.session(), pipeline(("MULTI",), *queue, ("EXEC",))))
    assert "memory" in str(replies[-1][1])
    assert messages(reader) == [b"1", b"2"]


def test_a_script_that_fails_keeps_what_it_published(node):
    reader = subscriber(node)
    node.ask("EVAL", "redis.call('publish', 'news', 'x') error('no')", "0")
    assert messages(reader) == [b"x"]


def test_what_one_transaction_publishes_is_bounded(node):
    subscriber(node)
    text = "local s = string.rep('x', 2^20) for i = 1, 100 do redis.call('publish', 'news', s) end"
    assert "publishes too much" in str(node.ask("EVAL", text, "0"))


# -- keyspace events ----------------------------------------------------------------------------


def test_events_are_messages(node):
    node.view.pubsub.set_events(2, names_keys=True, names_events=True)
    reader = subscriber(node, "PSUBSCRIBE", "__key*")
    run(node, ("SET", "a", "1"), ("DEL", "a"))
    assert reader.take() == b""
    node.sync()
    assert decode_all(reader.take()) == [
        [b"pmessage", b"__key*", b"__keyspace@0__:a", b"set"],
        [b"pmessage", b"__key*", b"__keyevent@0__:set", b"a"],
    ]
    node.view.pubsub.set_events(0, names_keys=True, names_events=True)
    assert node.view.on_event is None


def test_events_of_the_sweeper_are_messages(node):
    """Nobody asks for the key: its deletion is the node's own, in a pass without a session."""
    node.view.pubsub.set_events(4, names_keys=False, names_events=True)
    reader = subscriber(node, "SUBSCRIBE", "__keyevent@0__:expired")
    node.ask("SET", "a", "1", "PX", "50")
    node.upkeep(5, ms=1000)
    assert messages(reader) == [b"a"]


def test_events_of_a_long_script_come_once():
    node = impatient_node()
    node.view.pubsub.set_events(2, names_keys=False, names_events=True)
    reader = subscriber(node, "SUBSCRIBE", "__keyevent@0__:set")
    finish(node, run(node, ("EVAL", "redis.call('set', 'a', '1') " + LONG, "0")))
    assert messages(reader) == [b"a"]


# -- bounds -------------------------------------------------------------------------------------


def test_a_receiver_that_takes_nothing_is_closed_at_the_limit(node):
    node.sequencer.message_bytes_max = 10_000
    reader = subscriber(node)
    publisher = node.session()
    publisher.feed(pipeline(*[("PUBLISH", "news", "x" * 1000)] * 20))
    node.serve(publisher)
    assert reader.state == S_CLOSING
    assert 9000 < reader.output_bytes <= 10_000
    assert publisher.take() == b":1\r\n" * 20


def test_the_limit_ends_a_wait_on_keys(node):
    node.sequencer.message_bytes_max = 10_000
    reader = subscriber(node, proto=3)
    reader.feed(encode("BLPOP", "list", "0"))
    node.serve(reader)
    run(node, *[("PUBLISH", "news", "x" * 1000)] * 20)
    assert reader.state == S_CLOSING
    node.ask("RPUSH", "list", "kept")
    assert node.ask("LLEN", "list") == 1


def test_a_pass_writes_so_many_messages(node):
    """With many receivers a pipeline of PUBLISH takes several passes; others run meanwhile."""
    readers = [subscriber(node) for _ in range(10)]
    publisher, other = node.session(), node.session()
    publisher.feed(pipeline(*[("PUBLISH", "news", "x" * 100_000)] * 30))
    node.serve(publisher)
    written = publisher.take().count(b":10\r\n")
    assert 5 < written < 30
    other.feed(encode("PING"))
    node.serve(other)
    assert other.take() == b"+PONG\r\n"
    while written < 30:
        node.serve()
        written += publisher.take().count(b":10\r\n")
    for reader in readers:
        assert len(messages(reader)) == 30


def test_without_replies_there_are_messages_and_confirmations(node):
    """CLIENT REPLY OFF: what is no reply comes all the same."""
    reader = subscriber(node, proto=3)
    words = [("SUBSCRIBE", "other"), ("PUBLISH", "news", "mine"), ("GET", "none")]
    script = ("EVAL", "redis.call('publish', 'other', 'x')", "0")
    reader.feed(pipeline(("CLIENT", "REPLY", "OFF"), *words, script))
    node.serve(reader)
    node.sync()
    assert decode_all(reader.take()) == [
        [b"subscribe", b"other", 2],
        [b"message", b"news", b"mine"],
        [b"message", b"other", b"x"],
    ]
    reader.feed(pipeline(("UNSUBSCRIBE",)))
    node.serve(reader)
    assert len(decode_all(reader.take())) == 2
