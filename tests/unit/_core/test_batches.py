"""A pass is a batch is an entry is a commit_ts; entries carry net effects and can be replayed."""

import pytest

from kvnode._core import invariants
from kvnode.base.errors import InvariantError
from tests.support.contents import DELETE, PUT, contents, operations, replay
from tests.support.local import HASH_KEY, LocalNode, pipeline


@pytest.fixture
def node():
    return LocalNode()


def user_keys(payload):
    """Return (operation, user key) of the heads of an entry."""
    return [(op, key[17:]) for op, key, _ in operations(payload) if key[:1] == b"H"]


def new_entries(node, *batches):
    """Run each batch (lists of commands, one per session) in a pass; return the entries."""
    before = len(node.entries)
    for batch in batches:
        sessions = []
        for commands in batch:
            session = node.session()
            session.feed(pipeline(*commands))
            sessions.append(session)
        node.run_pass(*sessions)
    node.commit()
    return node.entries[before:]


def test_all_sessions_of_a_pass_share_one_entry(node):
    ((commit_ts, payload),) = new_entries(
        node, [[("SET", "a", "1"), ("SET", "b", "2")], [("INCR", "c")], [("GET", "a")]]
    )
    assert user_keys(payload) == [(PUT, b"a"), (PUT, b"b"), (PUT, b"c")]
    for key in (b"a", b"b", b"c"):
        assert [v[0] for v in node.versions(key)] == [commit_ts]


def test_a_record_is_logged_once_with_its_last_value(node):
    ((_, payload),) = new_entries(node, [[("INCR", "n")] * 50, [("INCR", "n")] * 50])
    heads = [(key, value) for _, key, value in operations(payload) if key[:1] == b"H"]
    assert len(heads) == 1
    assert heads[0][1].endswith(b"100")


def test_a_record_written_inside_and_outside_an_exec_is_logged_once(node):
    commands = [("INCR", "n"), ("MULTI",), ("INCR", "n"), ("INCR", "n"), ("EXEC",), ("INCR", "n")]
    ((_, payload),) = new_entries(node, [commands])
    assert user_keys(payload) == [(PUT, b"n")]
    assert len(node.versions(b"n")) == 1
    assert node.versions(b"n")[0][4] == b"4"


def test_a_key_that_came_and_went_is_logged_as_deleted(node):
    ((_, payload),) = new_entries(node, [[("SET", "a", "1"), ("DEL", "a")]])
    assert user_keys(payload) == [(DELETE, b"a")]


def test_reads_and_refusals_make_no_entry(node):
    new_entries(node, [[("SET", "a", "x")]])
    assert not new_entries(
        node,
        [[("GET", "a"), ("PING",), ("DBSIZE",), ("KEYS", "*"), ("INCR", "a"), ("SETNX", "a", "1")]],
        [[("MULTI",), ("GET", "a"), ("DEL", "none"), ("EXEC",)]],
        [[("DEL", "none"), ("PERSIST", "a"), ("EXPIRE", "none", "1"), ("FLUSHDB", "BAD")]],
        [[("SELECT", "3"), ("FLUSHDB",)]],
    )


def test_commit_timestamps_grow(node):
    entries = new_entries(node, *[[[("INCR", "n")]] for _ in range(5)])
    stamps = [commit_ts for commit_ts, _ in entries]
    assert stamps == sorted(set(stamps))
    assert node.tip.watermark == node.tip.durable == stamps[-1]


def test_a_large_pass_is_cut_into_bounded_entries(node):
    commands = [("SET", f"k{i}", b"v" * 500_000) for i in range(20)]
    entries = new_entries(node, [commands])
    assert len(entries) > 1
    assert max(len(payload) for _, payload in entries) < (4 << 20) + 600_000


def test_an_exec_is_never_cut(node):
    commands = [("SET", f"k{i}", b"v" * 500_000) for i in range(20)]
    ((_, payload),) = new_entries(node, [[("MULTI",), *commands, ("EXEC",)]])
    assert len(payload) > 20 * 500_000


def test_an_empty_entry_is_a_fence(node):
    index = node.sequencer.propose_empty()
    assert node.entries[-1][1] == b""
    assert node.sequencer.committed == index - 1
    node.commit()
    assert node.sequencer.committed == index
    assert node.tip.watermark == node.entries[-1][0]


def test_a_commit_past_the_log_is_refused(node):
    node.sequencer.on_stable = lambda term, index: index + 1
    node.run(node.session(), pipeline(("SET", "a", "1")))
    with pytest.raises(InvariantError):
        node.commit()


def test_entries_replay_to_the_same_contents(node):
    client = node.client()
    client.call("SET", "a", "1", "PX", 5000)
    client.call("SET", "big", b"x" * 100_000)
    client.call("SETRANGE", "big", 40_000, b"y" * 20_000)
    client.call("SELECT", 1)
    client.call("MSET", "a", 1, "b", 2)
    client.call("SWAPDB", 1, 2)
    client.call("SELECT", 2)
    client.call("COPY", "a", "c", "DB", 3)
    client.call("PEXPIRE", "b", 100)
    client.call("FLUSHDB")
    client.call("SET", "new", 1)
    replayed = replay(node.entries, HASH_KEY)
    assert contents(replayed) == node.visible()
    assert node.visible().counts == dict.fromkeys(range(16), (0, 0)) | {
        0: (2, 1),
        2: (1, 0),
        3: (1, 0),
    }


def test_a_deadline_alone_is_counted_in_the_log(node):
    client = node.client()
    client.call("SET", "a", "1")
    client.call("PEXPIRE", "a", 100)
    assert contents(replay(node.entries, HASH_KEY)).counts[0] == (1, 1)
    client.call("PERSIST", "a")
    assert contents(replay(node.entries, HASH_KEY)).counts[0] == (1, 0)


def test_replay_is_idempotent(node):
    """Entries that were applied already change nothing, in whatever number they come again."""
    client = node.client()
    for i in range(10):
        client.call("SET", f"k{i % 3}", i)
        client.call("DEL", f"k{i % 2}")
    client.call("FLUSHDB")
    client.call("SET", "k1", "x")
    again = replay([*node.entries, *node.entries], HASH_KEY)
    assert contents(again) == node.visible()
    invariants.check(again)


def test_a_generation_comes_before_its_heads(node):
    """Also when the record of its database is written once more, behind them."""
    commands = [("SET", "old", 1), ("FLUSHDB",), ("SET", "new", "1"), ("MULTI",)]
    commands += [("SWAPDB", 0, 1), ("SET", "other", "1"), ("EXEC",)]
    new_entries(node, [commands])
    assert contents(replay(node.entries, HASH_KEY)) == node.visible()
    assert set(node.visible().databases[1]) == {b"new"}
