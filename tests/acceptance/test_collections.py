"""What a system of this design has to show of its collections; each test names its check.

Others have files of their own: checks 3 and 9 at every interleaving in
tests/property/test_interleavings.py, check 5's million elements in
tests/unit/_core/test_large_sets.py, check 12's deadlines that nobody touches in
tests/unit/storage/test_sweepers.py and test_field_expiry.py.
"""

import random

import pytest

from tests.hardcases.test_data import ask, begin_checkpoint
from tests.sim.node import new_node
from tests.support.local import LocalNode, pipeline
from tests.support.resp import decode_all

CLIENTS, PUSHES = 32, 25
STABLE, CHURNED = 200, 200
SCANS = {"HSCAN": "HSET", "SSCAN": "SADD", "ZSCAN": "ZADD"}


def test_check_1_clients_that_push_to_one_list_never_try_again():
    """32 clients RPUSH one list: no conflicts, all elements once, each client's in its order."""
    node = new_node()
    draw = random.Random(1)
    sessions = [node.session() for _ in range(CLIENTS)]
    left = [[f"{client}:{i}" for i in range(PUSHES)] for client in range(CLIENTS)]
    while any(left):
        ready = draw.sample(range(CLIENTS), 8)
        for client in ready:
            batch, left[client] = left[client][:3], left[client][3:]
            sessions[client].feed(pipeline(*[("RPUSH", "l", element) for element in batch]))
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
    node = LocalNode()
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


FOO = b"foo"
NAMES = [b"", b"d|x", FOO, FOO + bytes(8), FOO + b"\xff" * 8, b"H", b"K\0", b"\0", b"\xff\xff"]


def test_check_6_names_do_not_meet():
    """Names that look like records, the empty one, prefixes of each other, binary ones."""
    node = LocalNode()
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
    node = LocalNode()
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
    node = LocalNode()
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
