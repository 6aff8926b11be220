"""Replies with large strings leave in bounded steps, with the bytes of the command's own moment."""

import pytest

from kvnode._core import upkeep
from tests.sim.node import new_node
from tests.support.local import (
    S_CLOSING,
    S_PARKED,
    S_READY,
    UNCERTAIN,
    LocalNode,
    pipeline,
)

MIB = 1 << 20
STEP_BYTES = MIB // 2
CHUNK_BYTES = 16 << 10
BUFFERED_BYTES_MAX = 2 * STEP_BYTES + 100
S_STREAMING = 5
BIG = b"".join(b"%07d," % i for i in range(5 * MIB // 16)) + b"tail"  # 2.5 MiB
OK = b"+OK\r\n"


@pytest.fixture
def node():
    node = LocalNode()
    put(node, "big", BIG)
    return node


def put(node, key, value):
    assert node.settle(node.session(), pipeline(("SET", key, value))) == OK


def bulk(value):
    return b"$%d\r\n%b\r\n" % (len(value), value)


def start(node, *words):
    """Run one command on a new session, as far as it goes in a pass."""
    session = node.session()
    session.feed(pipeline(words))
    node.run_pass(session)
    return session


def unsent(session):
    return session.output_bytes - (session.stream.kept_bytes if session.stream else 0)


def finish(node, *sessions, between=lambda: None):
    """Take and step until the replies are whole; return them."""
    replies = dict.fromkeys(sessions, b"")
    for _ in range(200):
        node.commit()
        for session in sessions:
            assert unsent(session) <= BUFFERED_BYTES_MAX
            replies[session] += session.take()
        between()
        node.fetch()
        node.run_pass()
        if all(session.state in (S_READY, S_CLOSING) for session in sessions):
            break
    node.commit()
    for session in sessions:
        replies[session] += session.take()
    assert all(session.state in (S_READY, S_CLOSING) for session in sessions)
    assert node.view.readers == {}
    return list(replies.values()) if len(replies) > 1 else replies[sessions[0]]


def sparse(node, key, length):
    """Make a value of zeros that takes one chunk."""
    node.settle(node.session(), pipeline(("SETRANGE", key, length - 1, "\0")))


# -- steps ----------------------------------------------------------------------------------------


def test_no_pass_adds_more_than_a_step(node):
    reader = start(node, "GET", "big")
    node.run_pass()
    seen, passes = [reader.take()], 1
    while ready := node.sequencer.take_ready():
        node.run_pass(*ready)
        seen.append(reader.take())
        passes += 1
    assert b"".join(seen) == bulk(BIG)
    assert max(map(len, seen)) <= STEP_BYTES + 20
    assert passes >= len(BIG) // STEP_BYTES


def test_nothing_is_added_while_the_client_takes_nothing(node):
    sparse(node, "huge", 512 * MIB)
    reader = start(node, "GET", "huge")
    for _ in range(20):
        node.run_pass()
    assert 0 < reader.output_bytes <= BUFFERED_BYTES_MAX
    assert reader.state == S_STREAMING
    node.close(reader)
    assert node.view.readers == {}
    node.run_pass()


def test_the_steps_of_many_sessions_share_a_pass_in_turn(node):
    readers = [start(node, "GET", "big") for _ in range(12)]
    received = [0] * len(readers)
    for _ in range(100):
        for i, reader in enumerate(readers):
            received[i] += len(reader.take())
        node.run_pass()
        assert sum(reader.output_bytes for reader in readers) <= 3 * MIB
        assert max(received) - min(received) <= 2 * STEP_BYTES
        if not any(reader.state for reader in readers):
            break
    assert [n + reader.output_bytes for n, reader in zip(received, readers, strict=True)] == [
        len(bulk(BIG))
    ] * len(readers)


def test_other_sessions_run_between_the_steps(node):
    reader, other = start(node, "GET", "big"), node.session()
    assert node.run(other, pipeline(("PING",))) == b"+PONG\r\n"
    assert reader.state == S_STREAMING
    assert finish(node, reader) == bulk(BIG)


def test_a_value_below_the_bound_is_one_step(node):
    put(node, "small", BIG[: MIB // 2])
    reader = start(node, "GET", "small")
    assert reader.state == S_READY
    assert reader.take() == bulk(BIG[: MIB // 2])


def test_replies_behind_it_keep_their_order(node):
    reader = node.session()
    reader.feed(
        pipeline(("PING",), ("GET", "big"), ("STRLEN", "big"), ("GET", "big"), ("SET", "a", "1"))
    )
    node.run_pass(reader)
    assert finish(node, reader) == b"+PONG\r\n" + bulk(BIG) + b":%d\r\n" % len(BIG) + bulk(BIG) + OK


def test_a_pipeline_fills_no_more_than_its_client_takes(node):
    """Unsent output counts: many strings of half the bound are like one large one."""
    value = BIG[: 300 << 10]
    put(node, "k", value)
    reader = node.session()
    reader.feed(pipeline(*[("GET", "k")] * 30))
    node.run_pass(reader)
    for _ in range(10):
        node.run_pass()
        assert reader.output_bytes <= 2 * MIB
    assert finish(node, reader) == bulk(value) * 30


# -- commands -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "reply", "after"),
    [
        (("GET", "big"), bulk(BIG), bulk(BIG)),
        (("GETEX", "big", "PX", 5000), bulk(BIG), bulk(BIG)),
        (("GETEX", "big", "PXAT", 1), bulk(BIG), b"$-1\r\n"),
        (("GETDEL", "big"), bulk(BIG), b"$-1\r\n"),
        (("GETSET", "big", "new"), bulk(BIG), bulk(b"new")),
        (("SET", "big", "new", "GET"), bulk(BIG), bulk(b"new")),
        (("SET", "big", "new", "GET", "NX"), bulk(BIG), bulk(BIG)),
        (("SET", "big", "new", "GET", "IFEQ", BIG), bulk(BIG), bulk(b"new")),
        (("SET", "big", "new", "GET", "IFEQ", "x"), bulk(BIG), bulk(BIG)),
        (("GETRANGE", "big", 5, -6), bulk(BIG[5:-5]), bulk(BIG)),
        (("SUBSTR", "big", 0, 2_000_000), bulk(BIG[:2_000_001]), bulk(BIG)),
        (
            ("MGET", "small", "big", "none", "big", "small"),
            b"*5\r\n$1\r\ns\r\n" + bulk(BIG) + b"$-1\r\n" + bulk(BIG) + b"$1\r\ns\r\n",
            bulk(BIG),
        ),
    ],
)
@pytest.mark.parametrize("is_cold", [False, True])
def test_every_command_that_answers_strings(node, words, reply, after, is_cold):
    put(node, "small", "s")
    if is_cold:
        node.cool()
    assert finish(node, start(node, *words)) == reply
    assert finish(node, start(node, "GET", "big")) == after


def test_many_middle_sized_strings_of_one_mget_go_in_steps(node):
    value = BIG[: 200 << 10]
    put(node, "k", value)
    reader = start(node, "MGET", *["k"] * 40)
    assert reader.output_bytes <= MIB + 100
    assert finish(node, reader) == b"*40\r\n" + bulk(value) * 40


def test_resp3_says_the_same(node):
    reader = node.session()
    reader.proto = 3
    reader.feed(pipeline(("MGET", "big", "none")))
    node.run_pass(reader)
    assert finish(node, reader) == b"*2\r\n" + bulk(BIG) + b"_\r\n"


@pytest.mark.parametrize("mode", ["OFF", "SKIP"])
def test_a_reply_that_is_not_wanted_is_not_read(node, mode):
    session = node.session()
    session.feed(pipeline(("CLIENT", "REPLY", mode), ("GETDEL", "big"), ("CLIENT", "REPLY", "ON")))
    node.run_pass(session)
    assert node.view.readers == {}
    node.commit()
    assert session.take() == OK
    assert node.run(session, pipeline(("EXISTS", "big"))) == b":0\r\n"


def test_a_transaction_is_one_moment_and_its_reply_goes_in_steps(node):
    session = node.session()
    commands = [("GET", "big"), ("SETRANGE", "big", 100_000, "XX"), ("GET", "big"), ("DEL", "big")]
    commands += [("SET", "big", "new"), ("GET", "big")]
    session.feed(pipeline(("MULTI",), *commands, ("EXEC",)))
    node.run_pass(session)
    assert node.settle(node.session(), pipeline(("GET", "big"))) == bulk(b"new")
    changed = BIG[:100_000] + b"XX" + BIG[100_002:]
    assert finish(node, session) == OK + b"+QUEUED\r\n" * 6 + b"*6\r\n" + bulk(BIG) + (
        b":%d\r\n" % len(BIG) + bulk(changed) + b":1\r\n" + OK + bulk(b"new")
    )


def test_an_undone_transaction_leaves_no_part(node):
    put(node, "cold", "1")
    node.cool()
    session = node.session()
    node.settle(node.session(), pipeline(("STRLEN", "big")))
    commands = [("GET", "big"), ("SETRANGE", "big", 100_000, "XX"), ("SELECT", 1), ("GET", "cold")]
    session.feed(pipeline(("MULTI",), *commands, ("EXEC",)))
    node.run_pass(session)
    assert session.state == S_PARKED
    assert node.view.readers == {}
    reply = finish(node, session)
    assert reply.endswith(bulk(BIG) + b":%d\r\n" % len(BIG) + OK + b"$-1\r\n")


# -- what happens meanwhile -----------------------------------------------------------------------


def changes(node):
    """Change the value all over, one command a call."""
    session = node.session()
    commands = [("SETRANGE", "big", at, b"#" * 50_000) for at in range(0, len(BIG), 40_000)]
    commands += [("APPEND", "big", b"more"), ("SETRANGE", "big", len(BIG) + 100_000, "far")]
    commands += [("COPY", "big", "copy"), ("RENAME", "big", "other"), ("SET", "other", "x")]
    for words in commands:
        node.settle(session, pipeline(words))
        yield
    while True:
        yield


def test_overwrites_between_the_steps_are_not_seen(node):
    work = changes(node)
    reader = start(node, "GET", "big")
    assert finish(node, reader, between=lambda: [next(work) for _ in range(20)]) == bulk(BIG)


def test_each_reply_has_the_bytes_of_its_own_moment(node):
    session, expected, readers = node.session(), [], []
    value = bytearray(BIG)
    for at in range(0, len(BIG), 300_001):
        readers.append(start(node, "GET", "big"))
        expected.append(bulk(bytes(value)))
        value[at : at + 5] = b"-----"
        node.settle(session, pipeline(("SETRANGE", "big", at, "-----")))
    assert finish(node, *readers) == expected


def test_a_step_within_a_chunk_still_needs_it(node):
    reader = start(node, "GETRANGE", "big", 1000, len(BIG) - 1)
    node.run_pass()
    taken = reader.take()
    at = 1000 + len(taken) - len(b"$2620000\r\n")
    assert at % CHUNK_BYTES
    node.settle(node.session(), pipeline(("SETRANGE", "big", at - 3, "######")))
    assert taken + finish(node, reader) == bulk(BIG[1000:])


def test_holes_that_are_filled_between_the_steps_stay_zeros(node):
    sparse(node, "holes", 2 * MIB)
    reader = start(node, "GET", "holes")
    for at in range(0, 2 * MIB, 10_000):
        node.settle(node.session(), pipeline(("SETRANGE", "holes", at, "x")))
    assert finish(node, reader) == bulk(bytes(2 * MIB))


@pytest.mark.parametrize(
    "kill", [("DEL", "big"), ("FLUSHALL",), ("SET", "big", "x"), ("PEXPIRE", "big", 1)]
)
def test_a_dead_value_is_still_sent(node, kill):
    reader = start(node, "GET", "big")
    node.settle(node.session(), pipeline(kill))
    node.clock.advance(10)
    node.settle(node.session(), pipeline(("GET", "big")))
    node.cool()
    assert finish(node, reader, between=node.evict) == bulk(BIG)


def test_chunks_are_fetched_a_step_at_a_time_and_go_again(node):
    node.cool()
    reader = start(node, "GET", "big")
    fetched = [len(node.fetch())]
    received = b""
    for _ in range(100):
        node.run_pass()
        received += reader.take()
        if reader.state == S_PARKED:
            node.evict()
            fetched.append(len(node.fetch()))
        elif reader.state == S_READY:
            break
    assert received + reader.take() == bulk(BIG)
    assert max(fetched) <= STEP_BYTES // CHUNK_BYTES + 1
    assert sum(fetched) >= len(BIG) // CHUNK_BYTES


def test_a_chunk_that_is_overwritten_while_it_is_fetched(node):
    node.cool()
    reader = start(node, "GET", "big")
    node.fetch()
    node.run_pass()
    node.run_pass()
    assert reader.state == S_PARKED
    fetch = node.begin_fetch()
    node.read(fetch)
    writer = start(node, "SETRANGE", "big", 5, "#####")
    node.fetch()
    node.run_pass()
    node.commit()
    assert writer.take() == b":%d\r\n" % len(BIG)
    node.end_fetch(fetch)
    assert finish(node, reader) == bulk(BIG)


@pytest.mark.parametrize("kill", [("DEL", "big"), ("FLUSHALL",)])
def test_the_sweeper_waits_for_the_reply(kill):
    node = new_node()
    session, reader = node.session(), node.session()
    node.settle(session, pipeline(("SET", "big", BIG), ("SET", "other", BIG)))
    node.checkpoint()
    reader.feed(pipeline(("GET", "big")))
    node.serve(reader)
    received = reader.take()
    node.settle(session, pipeline(kill, ("DEL", "other")))

    def sweep():
        for _ in range(4):
            node.checkpoint()
            node.evict()
            for _ in range(60):
                node.background()
                node.step_threads()
                node.sync()

    sweep()
    chunks = node.engine.scan_keys(b"C", b"D", 10_000)
    assert len(chunks) == -(-len(BIG) // CHUNK_BYTES)
    assert not node.housekeeping.trash.has_more
    received += node.settle(reader, b"")
    assert received == bulk(BIG)
    sweep()
    assert node.engine.scan_keys(b"C", b"D", 10_000) == []
    assert upkeep.trash(node.tip, 0, 10_000)[0] == []


# -- bounds and ends ------------------------------------------------------------------------------


def test_more_than_may_be_kept_ends_the_connection(node):
    node.view.kept_bytes_max = MIB
    reader, other = start(node, "GET", "big"), start(node, "GETRANGE", "big", 0, 1_200_000)
    other.take()
    received = reader.take()
    for at in range(0, len(BIG), MIB // 4):
        node.settle(node.session(), pipeline(("SETRANGE", "big", at, b"#" * (MIB // 4))))
        assert reader.output_bytes <= BUFFERED_BYTES_MAX + MIB + (MIB // 2)
    node.close(other)
    received += finish(node, reader)
    assert len(received) < len(BIG)
    assert (reader.state, reader.close_reason) == (S_CLOSING, "client-output-buffer-limit")
    assert bulk(BIG).startswith(received)


def test_what_is_kept_counts_as_output_of_the_client(node):
    reader = start(node, "GET", "big")
    before = reader.output_bytes
    node.settle(node.session(), pipeline(("SETRANGE", "big", MIB, b"#" * MIB)))
    assert reader.output_bytes >= before + MIB
    assert finish(node, reader) == bulk(BIG)


def test_the_beginning_waits_for_what_the_command_saw(node):
    writer = start(node, "APPEND", "big", "!")
    reader = start(node, "GET", "big")
    for _ in range(5):
        node.run_pass()
    assert (reader.take(), writer.take()) == (b"", b"")
    assert 0 < reader.output_bytes <= BUFFERED_BYTES_MAX
    assert finish(node, reader) == bulk(BIG + b"!")


def test_a_deletion_is_committed_before_its_reply_begins(node):
    reader = start(node, "GETDEL", "big")
    node.run_pass()
    assert reader.take() == b""
    assert finish(node, reader) == bulk(BIG)


def test_a_later_uncommitted_overwrite_holds_nothing(node):
    reader = start(node, "GET", "big")
    start(node, "SETRANGE", "big", 0, b"#" * MIB)
    reader.take()
    node.run_pass()
    assert reader.take()


def test_a_held_reply_becomes_an_error_when_leadership_is_lost(node):
    start(node, "APPEND", "big", "!")
    reader = start(node, "GET", "big")
    node.run_pass()
    node.sequencer.fail_held(UNCERTAIN)
    assert reader.take() == b"-" + UNCERTAIN + b"\r\n"
    assert reader.state == S_CLOSING
    node.run_pass()
    assert reader.take() == b""
    assert node.view.readers == {}


def test_half_a_reply_is_no_error_but_an_end_when_leadership_is_lost(node):
    reader = start(node, "GET", "big")
    node.run_pass()
    received = reader.take()
    node.run_pass()
    node.sequencer.take_flushable()
    node.sequencer.fail_held(UNCERTAIN)
    received += reader.take()
    assert reader.state == S_CLOSING
    assert reader in node.sequencer.take_flushable()
    assert bulk(BIG).startswith(received)
    assert len(received) < len(BIG)


def test_a_held_reply_behind_a_sent_half_leaves_that_whole(node):
    """The error takes the place of what is held, never of the rest of a string."""
    reader = node.session()
    reader.feed(pipeline(("GET", "big"), ("SET", "a", "1")))
    node.run_pass(reader)
    received = b""
    while reader.state == S_STREAMING:
        received += reader.take()
        node.run_pass()
    node.sequencer.fail_held(UNCERTAIN)
    assert received + reader.take() == bulk(BIG) + b"-" + UNCERTAIN + b"\r\n"


def test_input_behind_it_is_kept(node):
    reader = start(node, "GET", "big")
    reader.feed(pipeline(("PING",)))
    node.run_pass(reader)
    assert finish(node, reader) == bulk(BIG) + b"+PONG\r\n"
