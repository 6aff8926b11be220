"""EXEC past the step budget: undone, and run as a transaction beside the sequencer."""

from collections.abc import Callable

import pytest

from kvnode.base.limits import MIB
from kvnode.txn import optimistic
from tests.sim.node import SimNode, new_node
from tests.support.resp import ErrorReply, decode_all, encode
from tests.support.scripts import S_WAITING, finish

S_PARKED = 1  # SessionState of session.pxd
STEPS_MAX = 20
NAMES = 300


def small(steps_max: int | None = STEPS_MAX) -> SimNode:
    return new_node(steps_max=steps_max)


@pytest.fixture
def node():
    return small()


def multi(*commands: tuple[object, ...]) -> bytes:
    """The requests of a MULTI up to its EXEC."""
    return b"".join(encode(*words) for words in [("MULTI",), *commands, ("EXEC",)])


def run(node: SimNode, *commands: tuple[object, ...]) -> object:
    """Run a MULTI to its end; return what EXEC answers."""
    session = node.session()
    return decode_all(node.settle(session, multi(*commands)))[-1]


def begin(node: SimNode, *commands: tuple[object, ...], watch: str | None = None):
    """A MULTI whose EXEC waits."""
    session = node.session()
    if watch:
        node.settle(session, encode("WATCH", watch))
    session.feed(multi(*commands))
    node.serve(session)
    while session.state == S_PARKED:
        node.step_threads()
        node.serve()
    assert session.state == S_WAITING
    node.sync()
    session.take()
    return session


MANY = [("INCR", "n")] * (STEPS_MAX + 1)
MIXED = [
    ("SET", "a", "1"),
    ("LPUSH", "a", "x"),  # an error: the others stay
    ("RPUSH", "list", *range(30)),
    ("BLPOP", "list", "0"),
    ("BLPOP", "nothing", "0"),  # as one that does not wait
    ("SELECT", "3"),
    ("SET", "in-three", "1"),
    ("SORT", "list", "STORE", "sorted"),
    ("SADD", "set", *range(25)),
    ("SUNIONSTORE", "union", "set", "set"),
    ("SMEMBERS", "union"),
    ("UNKNOWN-TYPE", "x"),
    ("GET", "in-three"),
    ("DBSIZE",),
    ("KEYS", "*"),
    ("PING", "x"),
    ("LCS", "in-three", "in-three"),
    *MANY,
]


def sorted_lists(value: object) -> object:
    if isinstance(value, list):
        items = [sorted_lists(item) for item in value]
        return sorted(items) if all(isinstance(item, bytes) for item in items) else items
    return str(value) if isinstance(value, ErrorReply) else value


def test_many_commands_run_beside_the_others(node, client):
    session = begin(node, *MANY)
    other = node.session()
    other.feed(encode("GET", "n"))
    node.serve(other)
    assert decode_all(other.take()) == [None]
    assert decode_all(finish(node, session))[-1] == list(range(1, 22))
    assert client("GET", "n") == b"21"
    assert node.jobs.transactions.committed == 1


def test_replies_and_effects_are_those_of_one_step():
    commands = [words for words in MIXED if words[0] != "UNKNOWN-TYPE"]
    replies, states = [], []
    for steps_max in (None, STEPS_MAX):
        node = small(steps_max)
        session = node.session()
        got = decode_all(node.settle(session, multi(*commands) + encode("DBSIZE")))
        replies.append([sorted_lists(reply) for reply in got])
        states.append(node.settle(session, encode("KEYS", "*") + encode("GET", "n")))
        assert session.db == 3
        assert node.jobs.transactions.committed == (steps_max is not None)
        node.check()
    assert replies[0] == replies[1]
    assert sorted(states[0].split()) == sorted(states[1].split())


@pytest.mark.parametrize(
    ("change", "expected"),
    [(("SET", "watched", "2"), None), (("SET", "other", "2"), "replies"), (("FLUSHALL",), None)],
)
@pytest.mark.parametrize("is_writing", [False, True])
def test_what_it_watches_counts_up_to_its_commit(node, client, change, expected, is_writing):
    client("SET", "watched", "1")
    session = begin(node, *(MANY if is_writing else [("GET", "n")] * 30), watch="watched")
    other = node.session()
    other.feed(encode(*change))
    node.serve(other)
    reply = decode_all(finish(node, session))[-1]
    assert (reply is None) == (expected is None)
    assert client("EXISTS", "n") == (is_writing and expected is not None)
    assert client("SET", "watched", "3") == b"OK"
    assert decode_all(node.settle(session, encode("MULTI") + encode("EXEC")))[-1] == []


def test_a_watched_key_that_expires_meanwhile_counts(node, client):
    client("SET", "watched", "1", "PX", "50")
    session = begin(node, *MANY, watch="watched")
    node.now_ms += 100
    assert decode_all(finish(node, session))[-1] is None


def test_commands_about_the_node_keep_it_in_one_step(node):
    assert run(node, *MANY, ("TIME",))[20] == 21
    assert run(node, *MANY, ("UNWATCH",))[-1] == b"OK"
    assert node.jobs.transactions.started == 0


def test_it_is_discarded_with_the_client(node, client):
    session = begin(node, *MANY)
    node.close_session(session)
    node.serve()
    assert client("EXISTS", "n") == 0
    assert not node.jobs.transactions


def test_lost_leadership_ends_it_and_its_multi(node, client):
    session = begin(node, *MANY)
    node.run_pass(lambda: node.jobs.transactions.end_all(b"UNAVAILABLE the node leads no more"))
    node.sync()
    assert session.take().endswith(b"-UNAVAILABLE the node leads no more\r\n")
    assert not session.in_multi
    assert client("EXISTS", "n") == 0


@pytest.fixture
def cold(node, client):
    """A database of which nothing is in memory."""
    for i in range(NAMES):
        client("SET", b"name-%d" % i, "x")
    client("SET", "short", "x", "PX", "50")
    node.checkpoint()
    node.evict()
    node.tip.set_resident(node.tip.current_generation(0), False)
    node.now_ms += 100
    return client


def test_keys_in_an_exec_on_a_database_larger_than_memory(node, cold):
    reply = run(
        node,
        ("DEL", "name-1"),
        ("SET", "made", "1"),
        ("SET", "name-2", "2"),
        ("KEYS", "*"),
        ("KEYS", "m*"),
        ("SET", "made-too", "1"),
        ("KEYS", "made*"),
    )
    expected = {b"name-%d" % i for i in range(NAMES)} - {b"name-1"} | {b"made"}
    assert len(reply[3]) == len(expected)
    assert set(reply[3]) == expected
    assert reply[4] == [b"made"]
    assert sorted(reply[6]) == [b"made", b"made-too"]
    assert node.jobs.transactions.committed == 1
    node.check()


def test_keys_conflict_with_new_names_only(node, cold):
    session = begin(node, ("KEYS", "name-1*"), ("SET", "made", "1"))
    other = node.session()
    other.feed(encode("SET", "name-7", "new"))
    node.serve(other)
    finish(node, session)
    assert node.jobs.transactions.conflicts == 0


def calls_of(node: SimNode, *commands: tuple[object, ...]) -> int:
    """Return how many calls beside the sequencer a MULTI takes."""
    submitted = 0
    submit = node.reader.submit

    def count(work: Callable[[], object], completion: Callable[..., None]) -> None:
        nonlocal submitted
        submitted += 1
        submit(work, completion)

    node.reader.submit = count
    run(node, *commands)
    return submitted


GETS = [("GET", f"name-{i}") for i in range(NAMES)]


def test_what_is_in_memory_takes_no_thread(node, client):
    for i in range(NAMES):
        client("SET", f"name-{i}", "x")
    assert calls_of(node, *GETS) == 2  # one runs it, one frees its memory


def test_what_is_not_is_read_for_many_commands_at_once(node, cold):
    assert calls_of(node, *GETS) <= 6
    assert node.jobs.transactions.committed == 1


def test_who_asks_for_many_ranks_reads_the_set(node, client):
    """A search of the order takes as long as reading a few hundred members."""
    members = [word for i in range(3000) for word in (i, f"m{i}")]
    client("ZADD", "zset", *members)
    ranks = [("ZRANK", "zset", f"m{i}") for i in range(NAMES)]
    assert calls_of(node, *ranks) < NAMES // 3
    assert run(node, *ranks) == list(range(NAMES))
    assert run(node, ("ZREM", "zset", "m7"), *ranks)[8:] == [None, *range(7, NAMES - 1)]
    node.check()


def test_what_another_database_has_is_not_read_in_this_one(node, cold):
    commands = [("GET", "name-1"), *MANY, ("SELECT", 1), ("GET", "name-2"), ("SET", "name-3", "y")]
    session = begin(node, *commands)
    other = node.session()
    other.feed(encode("SET", "name-3", "new"))
    node.serve(other)
    finish(node, session)
    assert node.jobs.transactions.committed == 1
    assert node.jobs.transactions.conflicts == 0


# -- memory ---------------------------------------------------------------------------------------


@pytest.fixture
def tight(monkeypatch):
    monkeypatch.setattr(optimistic, "TRANSACTIONS_MEMORY_SHARE", 0)
    monkeypatch.setattr(optimistic, "TRANSACTIONS_MEMORY_BYTES_MIN", MIB)


BIG = [("APPEND", f"k{i}", "x" * 30_000) for i in range(30)]  # 0.9 MB


def test_memory_is_bounded(node, client, tight):
    assert len(run(node, *BIG)) == 30
    reply = run(node, *BIG, *[("SADD", "s", *range(i, i + 500)) for i in range(0, 5000, 500)])
    assert str(reply).startswith("ERR the transaction needs more memory")
    assert client("EXISTS", "s") == 0
    assert client("STRLEN", "k0") == 30_000
    assert node.jobs.transactions.failed == 1
    assert node.jobs.transactions.memory_bytes == 0
    node.step_threads()
    assert node.tip.statistics()["pins"] == 0


def test_replies_count_as_memory(node, client, tight):
    client("SET", "k", "x" * 30_000)
    assert str(run(node, *[("GET", "k")] * 50)).startswith("ERR the transaction needs more memory")


def test_those_that_crowd_each_other_run_one_after_the_other(node, client, tight):
    sessions = [
        begin(node, *[(*words[:1], words[1] + n, *words[2:]) for words in BIG]) for n in "abcd"
    ]
    replies = dict.fromkeys(sessions, b"")
    for _ in range(200):
        node.step_threads()
        node.sync()
        node.serve()
        for session in sessions:
            replies[session] += session.take()
    assert all(len(decode_all(reply)[-1]) == 30 for reply in replies.values())
    assert [client("STRLEN", f"k0{n}") for n in "abcd"] == 4 * [30_000]
    assert node.jobs.transactions.failed == 0
    assert not node.jobs.transactions
