"""What a system of this design has to show of its collections; each test names its check.

Each is also run on something that does not have it: a model with a fault, commands that are lost
on the way, a replay or a store that loses records; it must fail there.

Others have files of their own: checks 3 and 9 on small cases at every interleaving in
tests/property/test_interleavings.py, check 5's million elements in
tests/unit/_core/test_large_sets.py, check 12's deadlines that nobody touches in
tests/unit/storage/test_sweepers.py and test_field_expiry.py.
"""

import random
from collections.abc import Callable, Iterable

import pytest

from kvnode._core import upkeep
from kvnode.storage import recovery
from kvnode.storage.engine import Row
from kvnode.storage.snapshot import SnapshotReader
from tests.conformance.model_server import Fault, ModelServer
from tests.conformance.test_checkers import lose, on
from tests.hardcases.test_data import ask, begin_checkpoint
from tests.sim.node import SimNode, new_node
from tests.support import planted, snapshots
from tests.support.local import LocalNode, pipeline
from tests.support.resp import ErrorReply, decode_all, encode

START_MS = 1_700_000_000_000
CLIENTS, PUSHES = 32, 25
STABLE, CHURNED = 200, 200
SCANS = {"HSCAN": "HSET", "SSCAN": "SADD", "ZSCAN": "ZADD"}


class FaultyNode:
    """The model in a node's place, with a fault."""

    def __init__(self, fault: Fault) -> None:
        self._server = ModelServer(lambda: START_MS, fault)

    def client(self) -> "FaultyNode":
        self._stream = self._server.connect()
        return self

    def ask(self, *words: bytes | str | int) -> object:
        self._stream.send(encode(*words))
        return self._stream.receive()

    def cool(self) -> None:
        """It has no memory to forget."""


def test_check_1_clients_that_push_to_one_list_never_try_again():
    """32 clients RPUSH one list: no conflicts, all elements once, each client's in its order."""
    check_1(pipeline)


@pytest.mark.parametrize(
    "arrive",
    [lambda *sent: pipeline(*sent[:-1]), lambda *sent: pipeline(*sent, *sent[:1])],
    ids=["one is lost", "one comes twice"],
)
def test_check_1_notices(arrive: Callable[..., bytes]):
    with pytest.raises(AssertionError):
        check_1(arrive)


def test_check_1_notices_another_order():
    with pytest.raises(AssertionError):
        check_1(lambda *sent: pipeline(*reversed(sent)))


def check_1(arrive: Callable[..., bytes]) -> None:
    node = new_node()
    draw = random.Random(1)
    sessions = [node.session() for _ in range(CLIENTS)]
    left = [[f"{client}:{i}" for i in range(PUSHES)] for client in range(CLIENTS)]
    while any(left):
        ready = draw.sample(range(CLIENTS), 8)
        for client in ready:
            batch, left[client] = left[client][:3], left[client][3:]
            sessions[client].feed(arrive(*[("RPUSH", "l", element) for element in batch]))
        node.serve(*[sessions[client] for client in ready])
        node.sync()
    (found,) = decode_all(ask(node, ("LRANGE", "l", 0, -1)))
    assert len(found) == CLIENTS * PUSHES
    for client in range(CLIENTS):
        own = [name for name in found if name.startswith(b"%d:" % client)]
        assert own == [b"%d:%d" % (client, i) for i in range(PUSHES)]
    counters = node.jobs.transactions.statistics()
    assert counters["transactions_started"] == counters["transactions_refused_tries"] == 0


@pytest.mark.parametrize("is_cold", [False, True])
def test_check_2_an_emptied_list_is_gone(is_cold):
    """LPOP until empty: no key, no type, any type may take the name, without the old deadline."""
    check_2(LocalNode(), is_cold=is_cold)


@pytest.mark.parametrize(
    "fault",
    [
        on(b"EXISTS", 1),
        on(b"TYPE", b"list"),
        on(b"SET", None),
        on(b"HSET", ErrorReply("WRONGTYPE Operation against a key")),
        on(b"TTL", 100),
    ],
)
def test_check_2_notices(fault: Fault):
    with pytest.raises(AssertionError):
        check_2(FaultyNode(fault), is_cold=True)


def check_2(node: LocalNode | FaultyNode, *, is_cold: bool) -> None:
    client = node.client()
    client.ask("RPUSH", "k", "a", "b")
    client.ask("EXPIRE", "k", 100)
    if is_cold:
        node.cool()
    assert [client.ask("LPOP", "k") for _ in range(3)] == [b"a", b"b", None]
    assert client.ask("EXISTS", "k") == 0
    assert client.ask("TYPE", "k") == b"none"
    assert client.ask("SET", "k", "v", "NX") == b"OK"
    client.ask("DEL", "k")
    assert client.ask("HSET", "k", "f", "v") == 1
    assert client.ask("TTL", "k") == -1


def test_check_4_many_deltas_that_are_not_folded():
    """5,000 deltas in LevelDB: LLEN answers, and one fetch brings what it needs."""
    check_4()


def test_check_4_notices_a_delta_that_is_lost(monkeypatch: pytest.MonkeyPatch):
    replay, met = recovery._replay, []

    def lose_one(operation: planted.Operation) -> planted.Operation | None:
        met.append(operation[1][:1] == b"E")
        return None if met[-1] and sum(met) == 100 else operation

    def wrong(tip: object, facts: object, entries: Iterable) -> tuple:
        return replay(tip, facts, ((*e[:3], planted.changed(e[3], lose_one)) for e in entries))

    monkeypatch.setattr(recovery, "_replay", wrong)
    with pytest.raises(AssertionError):
        check_4()


def check_4() -> None:
    node = new_node()
    ask(node, ("RPUSH", "l", "first"))
    begin_checkpoint(node)
    while not node.checkpointer.finished:
        node.sync()
        node.step_threads()
        node.background()
    for i in range(5000):
        session = node.session()
        session.feed(pipeline(("RPUSH", "l", i)))
        node.serve(session)
        node.sync()
    node = node.crash()
    assert decode_all(ask(node, ("LLEN", "l"), ("LINDEX", "l", -1))) == [5001, b"4999"]


LARGE = 1500  # elements, of which some are in memory and some are not
RACES = 25
TYPES = {"l": "RPUSH", "h": "HSET", "s": "SADD", "z": "ZADD"}


def test_check_9_a_snapshot_of_large_collections_stays(monkeypatch: pytest.MonkeyPatch):
    """What a pin sees of lists, hashes, sets and sorted sets is the same while writers race."""
    monkeypatch.setattr(snapshots, "ROWS_PER_PAGE", 400)
    check_9(new_node(9))


def check_9(node: SimNode, *, holds: bool = True) -> None:
    draw = random.Random(9)

    def add(key: str, first: int, count: int) -> tuple:
        numbers = range(first, first + count)
        paired = [word for i in numbers for word in (i, f"v{first}")]
        return TYPES[key], key, *(paired if key in "hz" else numbers)

    def add_scored(first: int, count: int) -> tuple:
        return "ZADD", "z", *[word for i in range(first, first + count) for word in (first, i)]

    def race() -> tuple:
        first, count = draw.randrange(2 * LARGE), draw.choice([1, 50, 300])
        names = range(first, first + count)
        words: list[tuple] = [
            *(add(key, first, count) for key in "lhs"),
            add_scored(first, count),
            ("LPOP", "l", count),
            ("LREM", "l", 0, first),
            ("LSET", "l", 0, first),
            ("HDEL", "h", *names),
            ("SREM", "s", *names),
            ("ZREM", "z", *names),
            ("ZPOPMIN", "z", count),
            ("RENAME", draw.choice("lhsz"), draw.choice("lhsz")),
            ("DEL", draw.choice("lhsz")),
            ("FLUSHALL",),
        ]
        return draw.choices(words, [5] * (len(words) - 3) + [1, 1, 1])[0]

    ask(node, *[add(key, 0, LARGE) for key in "lhs"], add_scored(0, LARGE))
    node.checkpoint()
    node.tip.evict(node.tip.bytes // 2, 1 << 20)
    pin = node.tip.pin()
    if not holds:
        node.tip.unpin(pin)
    before = contents_at(node, pin)
    assert len(before) == len(TYPES)
    for _ in range(RACES):
        ask(node, *(race() for _ in range(draw.randint(1, 4))))
        for step in draw.sample([node.checkpoint, node.evict, node.background], 2):
            step()
        node.check()
        assert contents_at(node, pin) == before
    if holds:
        node.tip.unpin(pin)


def contents_at(node: SimNode, pin: int) -> dict:
    reader = SnapshotReader(node.tip, node.engine, pin, node.now_ms)
    generation = upkeep.generation_at(node.tip, 0, pin)
    found = {}
    for key in TYPES:
        value = reader.get(upkeep.head_key(node.tip, generation, key.encode()))
        if value is not None:
            found[key] = snapshots.value_at(reader, value)
    return found


def test_check_9_notices_a_pin_that_holds_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(snapshots, "ROWS_PER_PAGE", 400)
    with pytest.raises((AssertionError, KeyError)):
        check_9(new_node(9), holds=False)


def test_check_9_notices_a_store_without_history(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(snapshots, "ROWS_PER_PAGE", 400)
    node = new_node(9)
    write = node.engine.write

    def lossy(rows: Iterable[Row], *, sync: bool = False) -> None:
        write([row for row in rows if row[0][:1] != b"Y"], sync=sync)

    node.engine.write = lossy
    with pytest.raises(AssertionError):
        check_9(node)


FOO = b"foo"
NAMES = [b"", b"d|x", FOO, FOO + bytes(8), FOO + b"\xff" * 8, b"H", b"K\0", b"\0", b"\xff\xff"]


def test_check_6_names_do_not_meet():
    """Names that look like records, the empty one, prefixes of each other, binary ones."""
    check_6(LocalNode())


def longer_is_the_same(call: Callable, words: tuple) -> object:
    """Eight bytes behind a name count for nothing."""
    return call(words[0], words[1].removesuffix(bytes(8)), *words[2:])


def deletes_too_much(call: Callable, words: tuple) -> object:
    """DEL of a name takes those that begin with it."""
    if words[0] == b"DEL" and words[1].endswith(FOO):
        call(b"DEL", *[words[1][:1] + FOO + rest for rest in (bytes(8), b"\xff" * 8)])
        call(b"DEL", b"")
    return call(*words)


@pytest.mark.parametrize(
    "fault",
    [longer_is_the_same, deletes_too_much, on(b"ZRANGE", lambda truth: [*truth, b"foreign"])],
)
def test_check_6_notices(fault: Fault):
    with pytest.raises(AssertionError):
        check_6(FaultyNode(fault))


def check_6(node: LocalNode | FaultyNode) -> None:
    client = node.client()
    for key in NAMES:
        client.ask("RPUSH", b"l" + key, *NAMES)
        client.ask("SADD", b"s" + key, *NAMES)
        for i, name in enumerate(NAMES):
            client.ask("HSET", b"h" + key, name, key + name)
            client.ask("ZADD", b"z" + key, i, name)
    client.ask("RPUSH", b"", b"of the empty key")
    for is_cold in (False, True):
        if is_cold:
            node.cool()
        for key in NAMES:
            assert client.ask("LRANGE", b"l" + key, 0, -1) == NAMES
            assert sorted(client.ask("SMEMBERS", b"s" + key)) == sorted(NAMES)
            assert client.ask("HMGET", b"h" + key, *NAMES) == [key + name for name in NAMES]
            assert client.ask("ZRANGE", b"z" + key, 0, -1) == NAMES
        assert client.ask("LRANGE", b"", 0, -1) == [b"of the empty key"]
    for key in NAMES[1:]:
        client.ask("DEL", b"l" + key, b"s" + key, b"h" + key, b"z" + key)
    assert client.ask("LRANGE", b"l", 0, -1) == NAMES
    assert client.ask("ZCARD", b"z") == len(NAMES)
    assert client.ask("DBSIZE") == 5


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("is_cold", [False, True])
def test_check_10_scans_meet_what_stays(scan, is_cold):
    """A scan of a collection under churn returns all elements that were there from begin to end."""
    check_10(LocalNode(), scan, is_cold=is_cold)


@pytest.mark.parametrize(
    ("scan", "whole"), [("HSCAN", b"HKEYS"), ("SSCAN", b"SMEMBERS"), ("ZSCAN", b"ZRANGE")]
)
def test_check_10_notices_an_element_that_is_left_out(scan: str, whole: bytes):
    def fault(call: Callable, words: tuple) -> object:
        if words[0] != scan.encode():
            return call(*words)
        names = sorted(call(whole, words[1], *((b"0", b"-1") if scan == "ZSCAN" else ())))
        page = [name for name in names if name != b"stable:7"]
        return [b"0", page if scan == "SSCAN" else [word for name in page for word in (name, b"")]]

    with pytest.raises(AssertionError):
        check_10(FaultyNode(fault), scan, is_cold=False)


def check_10(node: LocalNode | FaultyNode, scan: str, *, is_cold: bool) -> None:
    client = node.client()
    draw = random.Random(10)

    def add(name):
        value = {"HSET": (name, "v"), "SADD": (name,), "ZADD": (draw.random(), name)}[SCANS[scan]]
        client.ask(SCANS[scan], "k", *value)

    stable = {b"stable:%d" % i for i in range(STABLE)}
    for name in stable:
        add(name)
    cursor, seen = b"0", set()
    while cursor != b"0" or not seen:
        for _ in range(20):
            name = b"churned:%d" % draw.randrange(CHURNED)
            if draw.random() < 0.5:
                add(name)
            else:
                client.ask({"HSET": "HDEL", "SADD": "SREM", "ZADD": "ZREM"}[SCANS[scan]], "k", name)
        if is_cold:
            node.cool()
        cursor, found = client.ask(scan, "k", cursor, "COUNT", 10)
        seen |= set(found[:: 1 if scan == "SSCAN" else 2])
    assert stable <= seen


def test_check_10_a_flush_is_one_step():
    """FLUSHALL between two passes: a scan afterwards meets nothing old, of any type."""
    check_flush(LocalNode())


def test_check_10_notices_a_flush_that_leaves_something():
    with pytest.raises(AssertionError):
        check_flush(FaultyNode(lose(b"FLUSHALL", b"OK")))


def check_flush(node: LocalNode | FaultyNode) -> None:
    client = node.client()
    client.ask("RPUSH", "l", 1)
    client.ask("HSET", "h", "f", "v")
    client.ask("SADD", "s", 1)
    client.ask("ZADD", "z", 1, "m")
    node.cool()
    assert client.ask("FLUSHALL") == b"OK"
    assert client.ask("SCAN", 0, "COUNT", 100) == [b"0", []]
    assert client.ask("DBSIZE") == 0
    assert client.ask("RPUSH", "l", "new") == 1
    assert client.ask("LRANGE", "l", 0, -1) == [b"new"]
