"""Commands on collections that the cache cannot hold: they end, on pages or as transactions."""

import pytest

from tests.sim.node import new_node
from tests.support.resp import decode_all, encode
from tests.support.scripts import ask

MEMBERS = 6000
CACHE_BYTES = 400_000
ALL = {b"m%d" % i for i in range(MEMBERS)}


@pytest.fixture
def node():
    node = new_node()
    session = node.session()
    ask(node, session, "SADD", "s", *ALL)
    ask(node, session, "ZADD", "z", *[word for name in sorted(ALL) for word in (b"1", name)])
    ask(node, session, "HSET", "h", *[word for name in ALL for word in (name, b"v")])
    ask(node, session, "RPUSH", "l", *sorted(ALL))
    node.checkpoint()
    node.evict()
    return node


@pytest.fixture
def client(node):
    """The cache is small before each command, and while it waits."""
    step = node.step_threads
    node.step_threads = lambda: (step(), node.tip.evict(CACHE_BYTES, 1 << 20))[0]
    session = node.session()

    def call(*words):
        node.tip.evict(CACHE_BYTES, 1 << 20)
        return ask(node, session, *words)

    return call


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("SRANDMEMBER", "s", 300), 300),
        (("HRANDFIELD", "h", 300), 300),
        (("ZRANDMEMBER", "z", 300), 300),
        (("SPOP", "s", 300), 300),
    ],
)
def test_some_hundred_are_drawn_from_pages(node, client, words, count):
    reply = client(*words)
    assert len(set(reply)) == len(reply) == count
    assert set(reply) <= ALL
    assert node.jobs.transactions.started == 0


@pytest.mark.parametrize("command", ["SRANDMEMBER s", "HRANDFIELD h", "ZRANDMEMBER z"])
def test_with_repetition_too(node, client, command):
    reply = client(*command.split(), -300)
    assert len(reply) == 300
    assert 100 < len(set(reply)) <= 300
    assert set(reply) <= ALL


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("SRANDMEMBER", "s", 5000), 5000),
        (("SPOP", "s", 5000), 5000),
        (("LPOS", "l", "none"), None),
        (("SORT", "s", "ALPHA", "LIMIT", 0, 1), 1),
        (("SINTERCARD", 2, "s", "s"), MEMBERS),
        (("ZCOUNT", "z", 1, 1), MEMBERS),
        (("COPY", "s", "copy"), 1),
    ],
)
def test_what_needs_all_is_a_transaction(node, client, words, expected):
    reply = client(*words)
    assert (len(reply) if isinstance(reply, list) else reply) == expected
    assert node.jobs.transactions.committed == 1
    assert client("SCARD", "s") == (MEMBERS - 5000 if words[0] == "SPOP" else MEMBERS)


@pytest.mark.parametrize(
    "words", [("SRANDMEMBER", "s", 5), ("SMEMBERS", "s"), ("SSCAN", "s", 0), ("ZRANK", "z", "m77")]
)
def test_an_exec_with_it_is_a_transaction(node, client, words):
    session = node.session()
    queue = [("MULTI",), ("SET", "key", "1"), words, ("EXEC",)]
    data = node.settle(session, b"".join(encode(*one) for one in queue))
    assert b"\r\n*2\r\n+OK\r\n" in data
    assert node.jobs.transactions.committed == 1


def test_pops_of_many_clients_that_share_pages_are_no_transactions(node):
    """A page that the pops of one pass have emptied sends the next to another place."""
    node.tip.evict(CACHE_BYTES, 1 << 20)
    step = node.step_threads
    node.step_threads = lambda: (step(), node.tip.evict(CACHE_BYTES, 1 << 20))[0]
    sessions = [node.session() for _ in range(8)]
    for session in sessions:
        session.feed(encode("SPOP", "s") * 250)
    popped = []
    for _ in range(20_000):
        node.serve(*sessions)
        node.step_threads()
        node.sync()
        popped += [reply for session in sessions for reply in decode_all(session.take())]
        if len(popped) == 2000:
            break
    assert len(set(popped)) == 2000
    assert set(popped) <= ALL
    assert node.jobs.transactions.started == 0
