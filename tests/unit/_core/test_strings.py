"""What the transcripts cannot show of the string handlers: chunks, parking, events, costs."""

import random

import pytest

from tests.support.prompt_node import PromptNode
from tests.support.resp import ErrorReply, encode

CHUNK = 16 << 10
MAX = 512 << 20
TOO_LONG = ErrorReply("ERR string exceeds maximum allowed size (proto-max-bulk-len)")


@pytest.fixture
def node():
    return PromptNode()


@pytest.fixture
def ask(node):
    return node.client().ask


@pytest.mark.parametrize("size", [32767, 32768, 32769, 3 * CHUNK, 3 * CHUNK + 1])
@pytest.mark.parametrize("is_cold", [False, True])
def test_pieces_of_a_large_string(node, ask, size, is_cold):
    data = random.Random(size).randbytes(size)
    ask("SET", "k", data)
    for start, end in [(0, 0), (CHUNK - 1, CHUNK), (1, size - 2), (size - 1, size), (size, -1)]:
        if is_cold:
            node.checkpoint()
            node.evict()
        assert ask("GETRANGE", "k", start, end) == data[start : end + 1 if end >= 0 else size]
    assert ask("GET", "k") == data
    assert node.parks > 0 or not is_cold


def test_a_change_costs_what_it_touches(node, ask):
    """SETRANGE and APPEND of a long string log a chunk or two, and read no more from the disk."""
    ask("SETRANGE", "k", MAX - 1, "z")
    assert ask("STRLEN", "k") == MAX
    assert sum(len(payload) for _, payload in node.entries) < 1000 + CHUNK
    node.checkpoint()
    node.evict()
    node.entries.clear()
    ask("SETRANGE", "k", 5 * CHUNK - 2, "1234")
    assert sum(len(payload) for _, payload in node.entries) < 1000 + 2 * CHUNK
    assert ask("GETRANGE", "k", 5 * CHUNK - 3, 5 * CHUNK + 2) == b"\x001234\0"
    assert ask("GETRANGE", "k", MAX - 3, MAX) == b"\0\0z"
    assert node.tip.statistics()["bytes"] < 10 * CHUNK


def test_no_string_grows_past_the_limit(ask):
    ask("SETRANGE", "k", MAX - 1, "z")
    assert ask("APPEND", "k", "x") == TOO_LONG
    assert ask("SETRANGE", "k", MAX - 1, "xx") == TOO_LONG
    assert ask("SETRANGE", "k", (1 << 63) - 1, "x") == TOO_LONG
    assert ask("SETRANGE", "other", MAX, "x") == TOO_LONG
    assert ask("EXISTS", "other") == 0
    assert ask("APPEND", "k", "") == MAX


def test_a_replaced_large_string_goes_to_the_trash(node, ask):
    """Its chunks are no part of the key any more; RENAME and a deadline keep them."""
    data = b"x" * 100_000
    ask("SET", "k", data)
    node.entries.clear()
    ask("RENAME", "k", "l")
    ask("PEXPIRE", "l", 1000)
    ask("PERSIST", "l")
    assert not any(b"\x01\x09T" in payload for _, payload in node.entries)
    assert ask("GET", "l") == data
    for command in [("SET", "l", "1"), ("DEL", "l"), ("GETDEL", "l"), ("RENAME", "m", "l")]:
        ask("SET", "l", data)
        ask("SET", "m", "2")
        node.entries.clear()
        ask(*command)
        assert any(b"\x01\x09T" in payload for _, payload in node.entries), command


def test_a_command_parks_before_it_changes_anything(node, ask):
    for key in ("a", "b", "c"):
        ask("SET", key, key)
    node.checkpoint()
    node.evict()
    written = len(node.entries)
    assert ask("MSETNX", "new", 1, "c", 2) == 0
    assert ask("GET", "new") is None
    assert len(node.entries) == written
    assert node.parks == 1, "one fetch for all keys of a command"


class Events(list):
    def __call__(self, event_class, event, key, db):
        self.append((event.decode(), key.decode(), db))


NEW_SET = [("new", "k", 0), ("set", "k", 0)]
EVENTS = [
    ("SET k 1", NEW_SET),
    ("SET k 1 EX 10", [*NEW_SET, ("expire", "k", 0)]),
    ("SET k 1 XX", []),
    ("SETNX k 1", NEW_SET),
    ("SETEX k 10 1", [*NEW_SET, ("expire", "k", 0)]),
    ("GETSET k 1", NEW_SET),
    ("MSET k 1 k 2", [*NEW_SET, ("set", "k", 0)]),
    ("INCR k", [("new", "k", 0), ("incrby", "k", 0)]),
    ("DECRBY x 2", [("incrby", "x", 0)]),
    ("INCRBYFLOAT x 1.5", [("incrbyfloat", "x", 0)]),
    ("APPEND k v", [("new", "k", 0), ("append", "k", 0)]),
    ("APPEND x 1", [("append", "x", 0)]),
    ("SETRANGE k 1 v", [("new", "k", 0), ("setrange", "k", 0)]),
    ("SETRANGE x 1 v", [("setrange", "x", 0)]),
    ("GETDEL x", [("del", "x", 0)]),
    ("GETEX x EX 10", [("expire", "x", 0)]),
    ("GETEX x EXAT 1", [("del", "x", 0)]),
    ("GETEX t PERSIST", [("persist", "t", 0)]),
    ("GETEX x PERSIST", []),
    ("DEL x k t", [("del", "x", 0), ("del", "t", 0)]),
    ("UNLINK x", [("del", "x", 0)]),
    ("EXPIRE x 10", [("expire", "x", 0)]),
    ("EXPIRE x -1", [("del", "x", 0)]),
    ("EXPIRE x 10 XX", []),
    ("PERSIST t", [("persist", "t", 0)]),
    ("RENAME x k", [("new", "k", 0), ("rename_from", "x", 0), ("rename_to", "k", 0)]),
    ("RENAME x x", []),
    ("RENAMENX x t", []),
    ("MOVE x 3", [("new", "x", 3), ("move_from", "x", 0), ("move_to", "x", 3)]),
    ("COPY x k DB 2", [("new", "k", 2), ("copy_to", "k", 2)]),
    ("GET e", [("expired", "e", 0)]),
    ("SET e 1", [("expired", "e", 0), ("new", "e", 0), ("set", "e", 0)]),
    ("FLUSHALL", []),
]


@pytest.mark.parametrize(("command", "expected"), EVENTS, ids=[case[0] for case in EVENTS])
def test_keyspace_events(node, ask, command, expected):
    ask("SET", "x", "1")
    ask("SET", "t", "1", "EX", "100")
    ask("SET", "e", "1", "PX", "10")
    node.clock.advance(20)
    node.view.on_event = events = Events()
    ask(*command.split())
    assert events == expected


@pytest.mark.parametrize(
    ("commands", "encoding"),
    [
        ("SET k 1", b"int"),
        ("SET k 01", b"embstr"),
        ("SET k " + "x" * 44, b"embstr"),
        ("SET k " + "x" * 45, b"raw"),
        ("APPEND k 1", b"int"),
        ("SET k 1; APPEND k 2", b"raw"),
        ("SET k 1; APPEND k 2; INCR k", b"int"),
        ("SETRANGE k 0 1", b"raw"),
        ("INCRBYFLOAT k 2", b"embstr"),
        ("SET k 1; APPEND k 2; COPY k l; RENAME l k; EXPIRE k 9", b"raw"),
        ("SETRANGE k 40000 1", b"raw"),
    ],
)
def test_encodings(node, ask, commands, encoding):
    for command in commands.split("; "):
        ask(*command.split())
    node.checkpoint()
    node.evict()
    assert ask("OBJECT", "ENCODING", "k") == encoding


def test_compare_and_set(ask):
    """SET ... IFEQ and IFNE of Redis 8.4."""
    assert ask("SET", "k", "1", "IFEQ", "0") is None
    assert ask("EXISTS", "k") == 0
    assert ask("SET", "k", "1", "IFNE", "0") == b"OK"
    assert ask("SET", "k", "2", "IFEQ", "1", "GET") == b"1"
    assert ask("SET", "k", "3", "IFEQ", "1", "GET") == b"2"
    assert ask("SET", "k", "3", "IFNE", "2") is None
    large = b"x" * 40_000
    ask("SET", "k", large)
    assert ask("SET", "k", "4", "IFEQ", large[:-1] + b"y") is None
    assert ask("SET", "k", "4", "IFEQ", large) == b"OK"
    for bad in (("IFEQ",), ("IFEQ", "1", "NX"), ("XX", "IFNE", "1")):
        assert ask("SET", "k", "1", *bad) == ErrorReply("ERR syntax error")


def test_a_long_lcs_is_a_job_and_answers_the_same(node):
    rng = random.Random(1)
    a, b = (bytes(rng.choices(b"ab", k=2000)) for _ in range(2))
    connection = node.client()
    connection.ask("MSET", "a", a, "b", b)
    whole = connection.ask("LCS", "a", "b")
    connection.session.feed(b"LCS a b\r\n")
    node.run_pass(connection.session)
    ((session, _),) = node.sequencer.take_jobs()
    assert session.waiting.run() == b"$%d\r\n%s\r\n" % (len(whole), whole)
    at = 0
    for byte in whole:
        at = a.index(byte, at) + 1
    at = 0
    for byte in whole:
        at = b.index(byte, at) + 1


def test_very_large_arguments(node, ask):
    """They reach the log over several passes; until then, and if nothing stores them, trash."""
    data = random.Random(3).randbytes(5 << 20)
    assert ask("SET", "k", data) == b"OK"
    assert ask("GETSET", "k", data[1:]) == data
    assert ask("MSET", "k", data[2:], "l", data[3:]) == b"OK"
    assert ask("SETNX", "k", data) == 0
    assert ask("APPEND", "l", data) == 2 * len(data) - 3
    assert ask("SETRANGE", "l", 5, data) == 2 * len(data) - 3
    node.checkpoint()
    node.evict()
    assert ask("GETRANGE", "l", 0, 4) == data[3:8]
    assert ask("GETRANGE", "l", 5, len(data) + 4) == data
    assert ask("GETRANGE", "l", len(data) + 5, -1) == data[8:]
    assert ask("GET", "k") == data[2:]


def test_what_is_said_of_a_key(node, ask):
    ask("MSET", "n", 9999, "m", 10000, "s", "text", "big", b"x" * 100_000)
    assert [ask("OBJECT", "REFCOUNT", k) for k in "nms"] == [2147483647, 1, 1]
    assert ask("OBJECT", "REFCOUNT", "none") is None
    node.clock.advance(10_500)
    assert ask("OBJECT", "IDLETIME", "n") == 10
    ask("TTL", "n")
    assert ask("OBJECT", "IDLETIME", "n") == 10
    ask("TOUCH", "n")
    assert ask("OBJECT", "IDLETIME", "n") == 0
    assert str(ask("OBJECT", "FREQ", "n")).startswith("ERR An LFU maxmemory policy is not selected")
    assert 60 < ask("MEMORY", "USAGE", "n") < 200
    assert 100_000 < ask("MEMORY", "USAGE", "big", "SAMPLES", "0") < 110_000
    assert ask("MEMORY", "USAGE", "none") is None
    assert ask("MEMORY", "USAGE", "n", "SAMPLES", "-1") == ErrorReply("ERR syntax error")


MIB = 1 << 20
ARGUMENT = b"x" * 6 * MIB
BUILDERS = [  # and what k and the other key are afterwards
    (("COPY", "k", "other"), lambda k: (k, k)),
    (("COPY", "k", "other", "REPLACE"), lambda k: (k, k)),
    (("APPEND", "k", ARGUMENT), lambda k: (k + ARGUMENT, None)),
    (("SETRANGE", "k", 7, ARGUMENT), lambda k: (k[:7] + ARGUMENT + k[7 + 6 * MIB :], None)),
]


def large(size=9 * MIB):
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize(("command", "outcome"), BUILDERS)
@pytest.mark.parametrize("is_cold", [False, True])
def test_a_large_value_is_built_in_bounded_batches(node, ask, command, outcome, is_cold):
    ask("SET", "k", large())
    if is_cold:
        node.checkpoint()
        node.evict()
    node.entries.clear()
    ask(*command)
    assert len(node.entries) > 2
    assert max(len(payload) for _, payload in node.entries) < 5 * MIB
    assert (ask("GET", "k"), ask("GET", "other")) == outcome(large())
    node.verify()


@pytest.mark.parametrize(("command", "outcome"), BUILDERS)
@pytest.mark.parametrize("is_always", [False, True])
def test_a_value_that_changes_while_it_is_built_from(node, ask, command, outcome, is_always):
    """The command takes effect at one point: its source is what others last made of it."""
    ask("SET", "k", large())
    client, other = node.client(), node.session()
    client.session.feed(encode(*command))
    value, passes, reply = large(), 0, b""
    while not reply:
        changes = is_always or passes in (0, 2)
        passes += 1
        other.feed(encode("SETRANGE", "k", passes, "-") if changes else b"")
        node.run_pass(other, client.session)
        if changes:
            value = value[:passes] + b"-" + value[passes + 1 :]
        node.commit()
        reply = client.session.take()
        assert passes < 20
    assert (ask("GET", "k"), ask("GET", "other")) == outcome(value)
    node.verify()


def test_a_build_that_ends_early_is_trash(node, ask):
    ask("SET", "k", large())
    client = node.client()
    client.session.feed(encode("COPY", "k", "other"))
    node.run_pass(client.session)
    assert len(node.view.staging) == 1
    ask("SET", "other", "in the way")
    assert client.ask("PING") == 0, "what COPY answers"
    assert not node.view.staging
    client.session.feed(encode("COPY", "k", "other", "REPLACE"))
    node.run_pass(client.session)
    node.close(client.session)
    assert not node.view.staging
    assert ask("GET", "other") == b"in the way"


@pytest.mark.parametrize(("command", "outcome"), BUILDERS)
def test_a_large_value_in_a_transaction(node, ask, command, outcome):
    ask("SET", "k", large())
    ask("MULTI")
    ask(*command)
    node.checkpoint()
    node.evict()
    ask("EXEC")
    assert not node.view.staging
    assert (ask("GET", "k"), ask("GET", "other")) == outcome(large())
