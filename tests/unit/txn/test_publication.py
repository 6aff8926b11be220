"""Large collections that a transaction makes: written in bounded entries, published with one head,
and swept when that never comes.
"""

import pytest

from kvnode._core import invariants
from kvnode._core.keys import PARTS, PENDING, TRASH, kind_bounds
from kvnode.base.limits import OPTIMISTIC_TRIES_MAX
from kvnode.txn import optimistic
from tests.sim.node import SimNode, new_node
from tests.support import leftovers
from tests.support.contents import contents
from tests.support.resp import decode_all, encode
from tests.support.scripts import Running, ask, run_program, step

SOURCE = 3500  # members: four steps
ENTRY_BYTES_MAX = 64_000  # of an entry with the elements of one step
STEPS = 4
META = 78, 0  # kind and id of the table of meta records


def filled(seed: int = 0) -> SimNode:
    node = new_node(seed)
    session = node.session()
    ask(node, session, "SADD", "source", *[b"member-%d" % i for i in range(SOURCE)])
    ask(node, session, "SET", "target", "old")
    return node


@pytest.fixture
def node():
    return filled()


def store():
    yield "SUNIONSTORE", "target", "source"


def at_commit(node: SimNode, script=store) -> Running:
    """Run a script up to where it would begin to publish."""
    run = Running(node, script)
    run.open()
    run_program(node)
    return run


def pending(node: SimNode) -> list[bytes]:
    """The ids that are pending, as bytes."""
    entries = invariants.dump(node.tip)["tables"][META]["entries"]
    return [
        key[1:] for key, (_, versions) in entries.items() if key[0] == PENDING and versions[0][1]
    ]


def unnamed(node: SimNode) -> set[int]:
    """Collections that have elements, in memory or on disk, and are no key's value."""
    state = invariants.dump(node.tip)
    found = {id_ for kind, id_ in state["tables"] if kind in PARTS and id_}
    return (found | leftovers.unnamed(node.engine)) - set(state["collections"])


def flush(node: SimNode) -> None:
    """Make a checkpoint, while transactions stand still."""
    finished: list[bool] = []
    node.replica.request_checkpoint(finished.append)
    while not finished:
        upkeep(node)


def upkeep(node: SimNode) -> None:
    node.sync()
    node.background()
    node.step_threads()


def settle(node: SimNode) -> None:
    """Let the sweepers do all that they find to do, while transactions stand still."""
    for _ in range(4):
        for _ in range(40):
            upkeep(node)
        flush(node)


def send(node: SimNode, *words: str) -> None:
    """One pass in which another client's command runs; transactions go on at its end."""
    session = node.session()
    session.feed(encode(*words))
    node.serve(session)


def is_swept(node: SimNode) -> bool:
    """Whether nothing is left of what was never published, nor of its records."""
    rows = [node.engine.scan_keys(*kind_bounds(kind), limit=9) for kind in (PENDING, TRASH)]
    return not unnamed(node) and not pending(node) and rows == [[], []]


def target_of(node: SimNode) -> object:
    """What the key holds: a string's bytes, or how many elements."""
    value = contents(node.tip, node.engine).databases[0].get(b"target")
    if value is None or isinstance(value.data, bytes):
        return value and value.data
    return len(value.data[1])


def test_entries_are_bounded_and_others_run_in_between(node, client):
    run = at_commit(node)
    before = max(node.entries)
    others = node.session()
    for _ in range(STEPS - 1):
        others.feed(encode("GET", "target") + encode("DBSIZE") + encode("TOUCH", "source"))
        node.serve(others)
        assert not run.is_ended
        node.check()
        node.sync()
        assert decode_all(others.take()) == [b"old", 2, 1], "nothing of it can be seen"
    step(node)
    node.sync()
    assert run.session.take() == b"+done\r\n"
    assert client("SCARD", "target") == SOURCE
    sizes = [len(payload) for index, (_, payload) in node.entries.items() if index > before]
    assert max(sizes) < ENTRY_BYTES_MAX < sum(sizes)
    assert not pending(node)
    assert node.jobs.transactions.statistics()["transactions_published_bytes"] > sum(sizes) // 2


def every_kind():
    yield "SUNIONSTORE", "set", "source"
    yield "SORT", "source", "ALPHA", "STORE", "list"
    yield "ZUNIONSTORE", "zset", "1", "source"
    yield "ZADD", "zset", "5", "member-7"
    yield "COPY", "zset", "copy"
    for at in range(0, SOURCE, 500):
        yield "HSET", "hash", *[word for i in range(at, at + 500) for word in (b"f%d" % i, b"v")]
    yield "EXPIRE", "hash", "1000"
    yield "SREM", "set", "member-0"
    yield "LPOP", "list", "2"
    yield "RPUSH", "list", "last"
    yield "RENAME", "copy", "renamed"
    yield "COPY", "hash", "other"
    yield "HEXPIRE", "other", "1000", "FIELDS", "1", "f1"
    yield "COPY", "list", "holed"
    yield "LREM", "holed", "2", "member-1002"
    yield "LREM", "holed", "1", "member-1003"
    yield "LPOP", "holed"
    yield "SUNIONSTORE", "gone", "source"
    yield "DEL", "gone"


def test_every_kind_is_published_whole(node, client):
    ask_all = [
        (("SCARD", "set"), SOURCE - 1),
        (("SISMEMBER", "set", "member-0"), 0),
        (("LLEN", "list"), SOURCE - 1),
        (("LINDEX", "list", "0"), b"member-10"),
        (("LINDEX", "list", "-1"), b"last"),
        (("ZCARD", "zset"), SOURCE),
        (("ZRANK", "renamed", "member-7"), SOURCE - 1),
        (("HLEN", "hash"), SOURCE),
        (("HGET", "other", "f1"), b"v"),
        (("TTL", "hash"), 1000),
        (("HTTL", "other", "FIELDS", "1", "f1"), [1000]),
        (("EXISTS", "gone", "copy"), 0),
        (("LLEN", "holed"), SOURCE - 4),
        (("LINDEX", "holed", "0"), b"member-100"),
        (("LPOS", "holed", "member-1002"), None),
        (("LPOS", "holed", "member-1004"), 3),
        (("DBSIZE",), 9),
    ]
    run = Running(node, every_kind)
    run.finish()
    assert [client(*words) for words, _ in ask_all] == [expected for _, expected in ask_all]
    node.check()
    tables = invariants.dump(node.tip)["tables"]
    assert all(table["resident"] for (kind, _), table in tables.items() if kind in PARTS[:3])
    node.checkpoint()
    node.evict()
    assert [client(*words) for words, _ in ask_all] == [expected for _, expected in ask_all]
    settle(node)
    assert is_swept(node)
    before = contents(node.tip, node.engine)
    node = node.crash()
    assert contents(node.tip, node.engine) == before


def test_what_is_written_may_leave_memory_before_it_is_published(node, client):
    run = at_commit(node)
    for _ in range(STEPS - 1):
        step(node)
        flush(node)
        node.evict()
        node.check()
    assert not run.is_ended
    run.finish()
    node.check()
    assert client("SCARD", "target") == SOURCE
    assert target_of(node.kill()) == SOURCE


@pytest.mark.parametrize("is_flushed", [False, True])
@pytest.mark.parametrize("how", ["crash", "kill"])
@pytest.mark.parametrize("steps", range(STEPS + 2))
def test_a_crash_at_each_entry_leaves_all_or_nothing(steps, how, is_flushed):
    node = filled(steps)
    run = at_commit(node)
    for i in range(steps):
        step(node)
        node.sync()
        if is_flushed and i == steps - 1:
            flush(node)
    is_published = run.is_ended
    assert is_published == (steps >= STEPS)
    node = node.crash() if how == "crash" else node.kill()
    node.check()
    assert bool(pending(node)) == (0 < steps < STEPS)
    assert target_of(node) == (SOURCE if is_published else b"old")
    settle(node)
    node.check()
    assert is_swept(node)
    node = node.crash()
    assert target_of(node) == (SOURCE if is_published else b"old")
    assert is_swept(node), "nothing comes back by a replay"


def test_a_crash_while_it_is_swept(node):
    at_commit(node)
    for _ in range(2):
        step(node)
    flush(node)
    for rounds in range(12):
        node = node.kill() if rounds % 2 else node.crash()
        for _ in range(rounds):
            node.background()
            node.step_threads(1)
            node.sync()
        if rounds % 3 == 0:
            flush(node)
        node.check()
    settle(node)
    assert is_swept(node)
    assert target_of(node) == b"old"


def lose_leadership(node: SimNode, run: Running) -> None:
    node.run_pass(lambda: node.jobs.transactions.end_all(b"UNAVAILABLE the node leads no more"))


def lose_the_client(node: SimNode, run: Running) -> None:
    node.close_session(run.session)
    step(node)


@pytest.mark.parametrize("end", [lose_leadership, lose_the_client])
def test_what_ends_before_it_is_published_is_swept(node, end):
    run = at_commit(node)
    for _ in range(2):
        step(node)
    node.sync()
    settle(node)
    assert len(pending(node)) == 1, "it is not swept while somebody writes it"
    end(node, run)
    settle(node)
    assert is_swept(node)
    node.check()
    assert target_of(node) == b"old"
    assert not node.jobs.transactions


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("SET", "target", "new"), SOURCE),
        (("DEL", "target"), SOURCE),
        (("EXPIRE", "target", "100"), SOURCE),
        (("SADD", "source", "one-more"), SOURCE + 1),
        (("DEL", "source"), None),
        (("FLUSHALL",), None),
        (("SWAPDB", "0", "1"), None),
    ],
)
def test_what_others_do_meanwhile_makes_it_run_again(node, client, words, expected):
    run = at_commit(node)
    step(node)
    assert pending(node)
    client(*words)
    run.finish()
    assert run.program.starts == 2, "the target's old value, or the source, has changed"
    assert target_of(node) == expected
    assert client("TTL", "target") == (-2 if expected is None else -1)
    settle(node)
    node.check()
    assert is_swept(node)


def test_a_stale_transaction_writes_nothing(node, client):
    run = at_commit(node)
    send(node, "SADD", "source", "one-more")
    assert node.jobs.transactions.conflicts == 1
    assert node.jobs.transactions.published_bytes == 0
    run.finish()
    assert run.program.starts == 2
    assert target_of(node) == SOURCE + 1


def test_retries_are_bounded_and_leave_nothing(node, client):
    run = Running(node, store)
    for i in range(40):
        node.step_threads()
        node.sync()
        step(node)
        if run.is_ended:
            break
        send(node, "SADD", "source", f"x{i}")
    run.finish()
    assert run.program.starts <= OPTIMISTIC_TRIES_MAX + 1, "it has reserved its keys by then"
    settle(node)
    assert is_swept(node)
    assert SOURCE < target_of(node) <= client("SCARD", "source")


def test_two_write_one_after_the_other(node, client):
    def other():
        yield "SUNIONSTORE", "other", "source"

    before = max(node.entries)
    runs = [at_commit(node), at_commit(node, other)]
    while not all(run.is_ended for run in runs):
        step(node)
        node.sync()
    sizes = [len(payload) for index, (_, payload) in node.entries.items() if index > before]
    assert max(sizes) < ENTRY_BYTES_MAX
    assert client("SCARD", "target") == client("SCARD", "other") == SOURCE


def test_it_waits_for_the_disk(node, monkeypatch):
    monkeypatch.setattr(optimistic, "PUBLISH_UNSYNCED_BYTES_MAX", 1)
    run = at_commit(node)
    step(node)
    before = max(node.entries)
    for _ in range(5):
        step(node)
    assert max(node.entries) == before
    run.finish()
    assert target_of(node) == SOURCE


FIELDS = 10  # that have a deadline


def hash_with_deadlines():
    yield "DEL", "target"
    for at in range(0, SOURCE, 500):
        yield "HSET", "target", *[word for i in range(at, at + 500) for word in (b"f%d" % i, b"v")]
    yield "HEXPIRE", "target", "100", "FIELDS", FIELDS, *[b"f%d" % i for i in range(FIELDS)]


@pytest.mark.parametrize("is_flushed", [False, True])
@pytest.mark.parametrize("how", [None, "before", "after"])
def test_fields_expire_though_their_hash_is_published_after_their_deadline(
    node, client, how, is_flushed
):
    run = at_commit(node, hash_with_deadlines)
    step(node)
    node.sync()
    assert pending(node)
    if how == "before":
        node.now_ms += 200_000
    if is_flushed:
        flush(node)
        node.evict()
    for _ in range(20):
        upkeep(node)
    run.finish()
    assert run.program.starts == 1
    assert client("HLEN", "target") == SOURCE
    if how == "after":
        node.now_ms += 200_000
    if is_flushed:
        flush(node)
        node.evict()
    node = node if how is None else node.kill() if is_flushed else node
    for _ in range(60):
        node.now_ms += 100
        upkeep(node)
        node.serve()
    left = SOURCE if how is None else SOURCE - FIELDS
    assert ask(node, node.session(), "HLEN", "target") == left
    node.check()


@pytest.mark.parametrize("steps", range(STEPS + 2))
def test_a_crash_at_each_entry_of_a_hash_with_deadlines(steps):
    node = filled(steps)
    run = at_commit(node, hash_with_deadlines)
    for _ in range(steps):
        step(node)
        node.sync()
    is_published = run.is_ended
    assert is_published == (steps >= STEPS)
    node = node.crash()
    node.check()
    assert target_of(node) == (SOURCE if is_published else b"old")
    settle(node)
    assert is_swept(node)
    if is_published:
        assert ask(node, node.session(), "HTTL", "target", "FIELDS", "1", "f1") == [100]


# -- planted bugs: what the tests above would see ------------------------------------------------


def test_publishing_without_validation_is_seen(node, client, monkeypatch):
    run = at_commit(node)
    run.transaction.attempt.workspace.left_out = 0xFF
    step(node)
    client("SADD", "source", "one-more")
    run.finish()
    assert client("SCARD", "target") != client("SCARD", "source")


def test_a_head_that_does_not_fit_its_elements_is_seen(node):
    run = at_commit(node)
    for _ in range(STEPS - 1):
        step(node)
    for i in range(10):  # most of the elements are written already: these lack in the length
        run.transaction.attempt.run([b"SREM", b"target", b"member-%d" % i])
    step(node)
    with pytest.raises((AssertionError, invariants.InvariantError)):
        node.check()


def test_a_pending_record_that_is_not_swept_is_seen(node, monkeypatch):
    monkeypatch.setattr("kvnode.txn.housekeeping.bury_pending", lambda sequencer, id_: None)
    at_commit(node)
    step(node)
    node.sync()
    node = node.crash()
    settle(node)
    assert not is_swept(node)
