"""Large arguments travel in bounded entries before their command, which then runs as one whole."""

import pytest

from kvnode._core import upkeep
from tests.support.contents import contents, operations, replay
from tests.support.local import HASH_KEY, LocalNode, pipeline

MIB = 1 << 20
ENTRY_BYTES_MAX = 5 * MIB  # 4 MiB and the last command's own records
BIG = bytes(range(256)) * (10 * MIB // 256) + b"tail"
OK = b"+OK\r\n"


@pytest.fixture
def node():
    return LocalNode()


def passes(node, session, data, limit=20):
    """Run `data` to its end; return what left after each pass and commit."""
    session.feed(data)
    node.run_pass(session)
    node.commit()
    found = [session.take()]
    while (ready := node.sequencer.take_ready()) and len(found) < limit:
        node.run_pass(*ready)
        node.commit()
        found.append(session.take())
    return found


def trash(node):
    return [id_ for id_, _, _ in upkeep.trash(node.tip, 0, 10_000)[0]]


def test_a_large_value_takes_several_entries(node):
    before = len(node.entries)
    session = node.session()
    assert passes(node, session, pipeline(("SET", "big", BIG))) == [b"", b"", OK]
    sizes = [len(payload) for _, payload in node.entries[before:]]
    assert len(sizes) == 3
    assert max(sizes) < ENTRY_BYTES_MAX
    assert node.settle(session, pipeline(("STRLEN", "big"))) == b":%d\r\n" % len(BIG)
    assert node.visible().databases[0][b"big"].data == BIG
    assert contents(replay(node.entries, HASH_KEY)) == node.visible()
    assert trash(node) == []
    assert not node.view.staging


def test_nothing_is_visible_before_the_end(node):
    session, reader = node.session(), node.session()
    session.feed(pipeline(("SET", "big", BIG)))
    node.run_pass(session)
    node.commit()
    assert node.run(reader, pipeline(("EXISTS", "big"), ("DBSIZE",))) == b":0\r\n:0\r\n"
    staged = trash(node)
    assert len(staged) == 1
    assert set(node.view.staging) == set(staged)


def test_a_session_that_closes_halfway_leaves_trash_alone(node):
    session = node.session()
    session.feed(pipeline(("SET", "big", BIG)))
    node.run_pass(session)
    node.commit()
    node.close(session)
    node.run_pass(*node.sequencer.take_ready())
    node.commit()
    assert not node.view.staging
    assert len(trash(node)) == 1
    assert node.visible().databases[0] == {}
    replayed = replay(node.entries, HASH_KEY)
    assert contents(replayed).databases[0] == {}
    replayed.watermark = replayed.durable = node.tip.durable
    assert [id_ for id_, _, _ in upkeep.trash(replayed, 0, 10_000)[0]] == trash(node)


def test_other_sessions_go_on_meanwhile(node):
    session, other = node.session(), node.session()
    session.feed(pipeline(("SET", "big", BIG), ("SET", "after", "1")))
    other.feed(pipeline(("SET", "other", "1")))
    node.run_pass(session, other)
    node.commit()
    assert (session.take(), other.take()) == (b"", OK)
    other.feed(pipeline(("SET", "big", "small")))
    node.run_pass(other, *node.sequencer.take_ready())
    node.commit()
    assert (session.take(), other.take()) == (b"", OK)
    while ready := node.sequencer.take_ready():
        node.run_pass(*ready)
    node.commit()
    assert session.take() == OK * 2
    assert node.visible().databases[0][b"big"].data == BIG


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        (("SET", "old", BIG, "NX"), b"$-1\r\n"),
        (("SET", "new", BIG, "XX"), b"$-1\r\n"),
        (("SETNX", "old", BIG), b":0\r\n"),
        (("SET", "old", BIG, "BAD"), b"-ERR syntax error\r\n"),
        (("SETEX", "new", "0", BIG), b"-ERR invalid expire time in 'setex' command\r\n"),
        (("MSETNX", "new", BIG, "old", "1"), b":0\r\n"),
        (("MSET", "new", BIG, "old"), b"-ERR wrong number of arguments for 'mset' command\r\n"),
    ],
)
def test_a_refused_command_leaves_its_argument_as_trash(node, words, reply):
    client = node.client()
    client.call("SET", "old", "1")
    assert passes(node, client.session, pipeline(words))[-1] == reply
    assert len(trash(node)) == 1
    assert not node.view.staging
    assert set(node.visible().databases[0]) == {b"old"}


def test_a_replaced_large_value_becomes_trash(node):
    session = node.session()
    for _ in range(2):
        assert passes(node, session, pipeline(("SET", "big", BIG)))[-1] == OK
    assert len(trash(node)) == 1
    passes(node, session, pipeline(("DEL", "big")))
    assert len(trash(node)) == 2


def test_several_large_arguments(node):
    session = node.session()
    words = ("MSET", "a", b"a" * (3 * MIB), "b", b"b", "c", b"c" * (3 * MIB), "d", b"d" * 600_000)
    assert passes(node, session, pipeline(words))[-1] == OK
    found = node.visible().databases[0]
    assert {key: len(value.data) for key, value in found.items()} == {
        b"a": 3 * MIB,
        b"b": 1,
        b"c": 3 * MIB,
        b"d": 600_000,
    }
    assert max(len(payload) for _, payload in node.entries) < ENTRY_BYTES_MAX


def test_equal_arguments_become_values_of_their_own(node):
    session = node.session()
    value = b"v" * MIB
    assert passes(node, session, pipeline(("MSET", "a", value, "b", value)))[-1] == OK
    passes(node, session, pipeline(("SETRANGE", "a", 0, "x")))
    found = node.visible().databases[0]
    assert found[b"a"].data == b"x" + value[1:]
    assert found[b"b"].data == value


def test_sessions_that_stage_together_share_no_entry_beyond_the_limit(node):
    sessions = [node.session() for _ in range(4)]
    before = len(node.entries)
    for i, session in enumerate(sessions):
        session.feed(pipeline(("SET", f"k{i}", BIG)))
    todo = sessions
    while todo:
        node.run_pass(*todo)
        todo = node.sequencer.take_ready()
    node.commit()
    assert [session.take() for session in sessions] == [OK] * 4
    assert max(len(payload) for _, payload in node.entries[before:]) < 2 * ENTRY_BYTES_MAX
    assert len(node.entries) - before >= 8


def test_a_staged_command_may_park(node):
    """Its chunks stay where they are while its key is fetched; the argument moves in memory."""
    client = node.client()
    client.call("SET", "big", "old")
    node.cool()
    session = node.session()
    session.feed(pipeline(("PING",), ("SET", "big", BIG, "GET")))
    replies = b""
    todo = [session]
    for _ in range(20):
        node.run_pass(*todo)
        node.fetch()
        session.feed(pipeline(("PING",)))
        node.commit()
        replies += session.take()
        todo = node.sequencer.take_ready()
        if not todo:
            break
    assert replies.startswith(b"+PONG\r\n$3\r\nold\r\n+PONG\r\n")
    assert node.visible().databases[0][b"big"].data == BIG
    assert trash(node) == []


def test_inside_multi_nothing_is_staged(node):
    session = node.session()
    before = len(node.entries)
    assert passes(node, session, pipeline(("MULTI",), ("SET", "big", BIG)))[-1].endswith(
        b"+QUEUED\r\n"
    )
    assert len(node.entries) == before
    assert passes(node, session, pipeline(("EXEC",))) == [b"*1\r\n+OK\r\n"]
    assert len(node.entries) == before + 1
    heads = [key for _, key, _ in operations(node.entries[-1][1]) if key[:1] == b"H"]
    assert len(heads) == 1


def test_large_keys_are_no_values(node):
    """Only arguments that become values whole are staged."""
    session = node.session()
    assert passes(node, session, pipeline(("GET", BIG)))[-1] == b"$-1\r\n"
    assert passes(node, session, pipeline(("APPEND", "a", BIG)))[-1] == b":%d\r\n" % len(BIG)
    assert trash(node) == []
