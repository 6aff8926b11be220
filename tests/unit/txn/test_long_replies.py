"""Replies of many elements: that they let go, are bounded, and wait for each other."""

import pytest

from kvnode._core.element_reads import visible
from kvnode.base.errors import InvariantError
from kvnode.base.limits import (
    LONG_REPLIES_OPEN_MAX,
    LONG_REPLY_STALLED_MS,
    LONG_REPLY_UNSENT_BYTES,
    READING_PAGE_BYTES,
)
from kvnode.storage import reading
from tests.sim.node import new_node
from tests.support.local import S_CLOSING, S_READY
from tests.support.resp import decode, encode
from tests.support.scripts import S_WAITING, ask

FIELDS = 3000
VALUE = b"v" * 1000


@pytest.fixture
def node():
    return new_node(steps_max=20, cache_bytes=64 << 20)


@pytest.fixture
def client(node):
    """Its hash has 3 MB."""
    session = node.session()
    fields = [word for i in range(FIELDS) for word in (b"f%d" % i, VALUE)]
    ask(node, session, "HSET", "h", *fields)
    node.checkpoint()
    node.evict()
    return lambda *words: ask(node, session, *words)


def begin(node, *words):
    session = node.session()
    session.feed(encode(*words))
    node.serve(session)
    while session.state not in (S_READY, S_WAITING):
        go_on(node, 1)
    return session


def quickly(node, *words):
    """A command of another client, while replies are on their way."""
    session = begin(node, *words)
    while not (reply := session.take()):
        go_on(node, 1)
    return decode(reply)


def go_on(node, rounds=30):
    for _ in range(rounds):
        node.step_threads()
        node.sync()
        node.serve()


def take_all(node, session):
    data = b""
    while session.state != S_READY or session.output_bytes:
        go_on(node, 1)
        data += session.take()
    return decode(data)


def test_little_is_written_ahead_of_the_client(node, client):
    session = begin(node, "HGETALL", "h")
    go_on(node)
    ahead = session.output_bytes
    most = LONG_REPLY_UNSENT_BYTES + 2 * READING_PAGE_BYTES
    assert LONG_REPLY_UNSENT_BYTES <= ahead < most
    assert node.tip.statistics()["pins"] == 0, "a client that is slow costs no pin"
    go_on(node)
    assert session.output_bytes == ahead
    quickly(node, "DEL", "h")
    for _ in range(10):
        node.background()
        node.checkpoint()
    reply = take_all(node, session)
    assert dict(zip(reply[::2], reply[1::2], strict=True)) == {
        b"f%d" % i: VALUE for i in range(FIELDS)
    }


def test_what_is_being_written_is_kept_and_given_back(node, client):
    node.replica.state._wants_checkpoint = lambda: False
    client("HSET", "h", *[word for i in range(100) for word in (b"f%d" % i, b"new")])
    session = begin(node, "HVALS", "h")
    go_on(node)
    assert 100 * 300 < node.jobs.memory_bytes < 100 * 600
    assert take_all(node, session).count(b"new") == 100
    assert node.jobs.memory_bytes == 0


@pytest.mark.parametrize("rounds", [0, 1, 2, 3, 4, 6, 30])
def test_a_client_that_left_lets_go(node, client, rounds):
    client("HSET", "h", "f1", "new")
    session = begin(node, "HGETALL", "h")
    for _ in range(rounds):
        node.step_threads(1)
        node.sync()
        node.serve()
    node.close_session(session)
    go_on(node)
    assert not node.jobs
    assert node.jobs.memory_bytes == 0
    assert node.tip.statistics()["pins"] == 0
    node.check()


def test_so_many_at_once(node, client):
    sessions = [begin(node, "HKEYS", "h") for _ in range(LONG_REPLIES_OPEN_MAX + 2)]
    fields = {b"f%d" % i for i in range(FIELDS)}
    open_ = 0
    while any(session.state == S_WAITING for session in sessions):
        node.step_threads(1)
        node.sync()
        node.serve()
        open_ = max(open_, sum(job.is_open for job in node.jobs._jobs))
    assert open_ == LONG_REPLIES_OPEN_MAX
    for session in sessions:
        assert set(take_all(node, session)) == fields


def test_a_half_written_reply_ends_without_an_error(node, client):
    """Its client is in the middle of it; one whose reply has not begun is told."""
    begun = begin(node, "HGETALL", "h")
    go_on(node)
    first = begin(node, "HGETALL", "h")
    node.sequencer.fail_held(b"UNCERTAIN")
    node.jobs.fail(b"UNAVAILABLE")
    data = begun.take()
    while data and begun.state != S_CLOSING:
        data += begun.take()
    assert b"UNAVAILABLE" not in data
    assert first.take() == b"-UNAVAILABLE\r\n"
    assert begun.state == first.state == S_CLOSING


def test_replies_in_parts_need_no_fence_of_their_own(node, client):
    """Their moment is a committed entry: no confirmation that is lacking cuts one in two."""
    session = begin(node, "HGETALL", "h")
    go_on(node, 2)
    node.sequencer.is_alone = False
    assert len(take_all(node, session)) == 2 * FIELDS


def test_who_takes_nothing_is_told_apart(node, client):
    slow, dead = begin(node, "HGETALL", "h"), begin(node, "HVALS", "h")
    go_on(node)
    replies = node.jobs.replies
    assert replies.stalled(node.now_ms) == []
    slow.take()
    assert replies.stalled(node.now_ms + LONG_REPLY_STALLED_MS) == []
    assert replies.stalled(node.now_ms + LONG_REPLY_STALLED_MS + 1) == [dead]


@pytest.mark.parametrize("mode", ["OFF", "SKIP"])
def test_nothing_is_written_where_none_is_wanted(node, client, mode):
    session = node.session()
    session.feed(encode("CLIENT", "REPLY", mode) + encode("HGETALL", "h"))
    session.feed(encode("CLIENT", "REPLY", "ON"))
    node.serve(session)
    data = b""
    while session.state != S_READY or session.input_bytes or node.jobs:
        go_on(node, 1)
        data += session.take()
    assert data == b"+OK\r\n"
    assert node.jobs.replies.started == 1


def test_the_next_commands_come_behind_it(node, client):
    session = node.session()
    session.feed(encode("HKEYS", "h") + encode("HSET", "h", "f1", "x") + encode("PING"))
    node.serve(session)
    data = b""
    while not data.endswith(b"+PONG\r\n"):
        go_on(node, 1)
        data += session.take()
    assert data.startswith(b"*3000\r\n")
    assert data.endswith(b":0\r\n+PONG\r\n")


@pytest.mark.parametrize(
    ("change", "reply"),
    [
        (
            ("SET", "h", "string"),
            b"-WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        (("DEL", "h"), b"*0"),
        (("PEXPIRE", "h", "-1"), b"*0"),
    ],
)
def test_what_the_key_holds_at_the_moment_counts(node, client, change, reply):
    """The command ran past its budget; its moment comes later."""
    session = begin(node, "HKEYS", "h")
    replies = node.jobs.replies
    replies.may_open = lambda: False
    quickly(node, *change)
    assert session.take() == b""
    del replies.may_open
    go_on(node)
    assert session.take() == reply + b"\r\n"


# -- what changes between the moment and the reading ----------------------------------------------


def changed_meanwhile(node, show):
    """The reply to a command whose moment is followed by changes that reach LevelDB at once."""
    session = begin(node, *show)
    node.sync()
    node.serve()  # here is its moment
    assert node.tip.statistics()["pins"] == 1
    held = [node.reader._work.popleft() for _ in range(len(node.reader))]
    assert held
    for words in [
        *[("HSET", "h", b"f%d" % i, "later") for i in range(30)],
        *[("HDEL", "h", b"f%d" % i) for i in range(30, 60)],
        *[("HSET", "h", b"new%d" % i, "later") for i in range(30)],
        *[("ZADD", "z", 5, b"m%d" % i) for i in range(30)],
        *[("ZREM", "z", b"m%d" % i) for i in range(30, 60)],
        *[("ZADD", "z", 5, b"new%d" % i) for i in range(30)],
    ]:
        other = node.session()
        other.feed(encode(*words))
        node.serve(other)
        while not other.take():
            go_on(node, 1)
    node.checkpoint()
    node.evict()
    node.reader._work.extendleft(reversed(held))
    return take_all(node, session)


SHOWS = [("HGETALL", "h"), ("ZRANGE", "z", 0, -1, "WITHSCORES")]


def require_its_moment(node, client):
    scores = [word for i in range(FIELDS) for word in (i % 10, b"m%d" % i)]
    client("ZADD", "z", *scores)
    node.checkpoint()
    node.evict()
    for show in SHOWS:
        node.tip.evict(1000, 1)
        reply = changed_meanwhile(node, show)
        now = dict(zip(reply[::2], reply[1::2], strict=True))
        if show[0] == "HGETALL":
            assert now == {b"f%d" % i: VALUE for i in range(FIELDS)}
        else:
            assert now == {b"m%d" % i: b"%d" % (i % 10) for i in range(FIELDS)}
        client("HSET", "h", *[word for i in range(FIELDS) for word in (b"f%d" % i, VALUE)])
        client("HDEL", "h", *[b"new%d" % i for i in range(30)])
        client("ZADD", "z", *scores)
        client("ZREM", "z", *[b"new%d" % i for i in range(30)])


def test_changes_before_it_reads_are_not_in_it(node, client):
    require_its_moment(node, client)


def test_the_death_of_its_collection_loses_nothing(node, client):
    node.replica.state._wants_checkpoint = lambda: bool(node.replica.state._requests)
    dirty = {b"f%d" % i: b"dirty" for i in range(0, FIELDS, 50)}
    client("HSET", "h", *[word for pair in dirty.items() for word in pair])
    session = begin(node, "HGETALL", "h")
    node.sync()
    node.serve()  # here is its moment
    held = [node.reader._work.popleft() for _ in range(len(node.reader))]
    quickly(node, "DEL", "h")
    node.checkpoint()
    node.evict()
    node.reader._work.extendleft(reversed(held))
    reply = take_all(node, session)
    expected = {b"f%d" % i: VALUE for i in range(FIELDS)} | dirty
    assert dict(zip(reply[::2], reply[1::2], strict=True)) == expected


def newer_rows(rows, changed, commit_ts, now_ms):
    return visible(rows, changed, (1 << 64) - 1, now_ms)


def no_history(row):
    return 0, row


@pytest.mark.parametrize(
    ("place", "bug"), [("visible", newer_rows), ("history_version", no_history)]
)
def test_planted_bugs_there_are_found(node, client, monkeypatch, place, bug):
    monkeypatch.setattr(reading, place, bug)
    with pytest.raises((AssertionError, InvariantError)):
        require_its_moment(node, client)
