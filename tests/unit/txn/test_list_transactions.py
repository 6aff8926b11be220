"""Lists in optimistic transactions: what conflicts with what, and blind appends."""

import pytest

from kvnode._core import invariants
from kvnode._core.keys import ITEM
from kvnode._core.list_reads import TABLE
from tests.reference.serial import BLIND
from tests.sim.node import SimNode
from tests.support.contents import contents
from tests.support.resp import encode
from tests.support.scripts import Running, run_program


def paused(node: SimNode, *script) -> Running:
    """Run a script up to the point where it would commit."""

    def steps():
        replies = []
        for words in script:
            replies.append((yield words))
        return replies

    run = Running(node, steps)
    run.open()
    run_program(node)
    assert not run.is_ended
    return run


def run_beside(node, *words):
    """Run a command of another client in a pass in which no transaction goes on."""
    session = node.session()
    session.feed(encode(*words))
    node.run_pass(lambda: node.sequencer.serve(session))


def conflict(node, script, changes) -> bool:
    """Whether a script runs twice when others do something between its reads and its commit."""
    run = paused(node, *script)
    for words in changes:
        run_beside(node, *words)
    run.finish()
    invariants.check(node.tip)
    return run.program.starts > 1


WRITE = ("SET", "result", "x")
PUSHES = [("RPUSH", "l", "x"), ("LPUSH", "l", "x")]


@pytest.mark.parametrize(
    ("words", "changes", "expected"),
    [
        # the length, by value
        (("LLEN", "l"), [("RPUSH", "l", "x")], True),
        (("LLEN", "l"), [("RPUSH", "l", "x"), ("LPOP", "l")], False),
        (("LLEN", "l"), [("LSET", "l", "0", "x")], False),
        (("RPUSH", "l", "x"), [("RPUSH", "l", "y")], True),
        (("RPUSH", "l", "x"), [("RPUSH", "l", "y"), ("LPOP", "l")], False),
        (("LPUSHX", "l", "x"), [("LPOP", "l")], True),
        # pops: the end, and the element there
        (("LPOP", "l"), [("RPUSH", "l", "x")], False),
        (("LPOP", "l"), [("RPOP", "l")], False),
        (("LPOP", "l"), [("LPUSH", "l", "x")], True),
        (("LPOP", "l"), [("LPUSH", "l", "x"), ("LPOP", "l")], False),
        (("LPOP", "l"), [("LPOP", "l")], True),
        (("LPOP", "l"), [("LPOP", "l"), ("LPUSH", "l", "a")], True),
        (("LPOP", "l"), [("LSET", "l", "0", "x")], True),
        (("LPOP", "l"), [("LSET", "l", "1", "x")], False),
        (("LPOP", "l"), [("RPOP", "l", "4")], True),
        (("LPOP", "l"), [("LREM", "l", "1", "b")], True),
        (("LPOP", "l", "2"), [("RPOP", "l", "2")], False),
        (("LPOP", "l", "2"), [("RPOP", "l", "3")], True),
        (("LPOP", "l", "2"), [("RPOP", "l", "4")], True),
        (("LPOP", "l", "5"), [("RPUSH", "l", "x")], True),
        (("LPOP", "l", "9"), [("RPUSH", "l", "x")], True),
        (("RPOP", "l"), [("LPUSH", "l", "x")], False),
        (("RPOP", "l"), [("RPUSH", "l", "x")], True),
        (("LPOP", "none"), [("RPUSH", "none", "x")], True),
        (("LPOP", "none"), [("RPUSH", "none", "x"), ("LPOP", "none")], False),
        (("LPOP", "one"), [("RPUSH", "one", "x")], True),
        (("LMPOP", "2", "l", "one", "LEFT"), [("RPUSH", "l", "x")], False),
        (("LMPOP", "2", "l", "one", "LEFT"), [("RPUSH", "one", "x")], False),
        (("LMPOP", "2", "l", "one", "LEFT"), [("LPUSH", "l", "x")], True),
        (("LMPOP", "2", "none", "l", "RIGHT", "COUNT", "2"), [("LPUSH", "l", "x")], False),
        (("LMPOP", "2", "none", "l", "RIGHT"), [("RPUSH", "none", "x")], True),
        (("BLPOP", "l", "0"), [("RPUSH", "l", "x")], False),
        (("BRPOP", "l", "0"), [("RPUSH", "l", "x")], True),
        # moves read nothing where they put
        (("LMOVE", "l", "one", "LEFT", "RIGHT"), [("RPUSH", "l", "x"), *PUSHES], True),
        (("LMOVE", "l", "one", "LEFT", "RIGHT"), [("RPUSH", "l", "x")], False),
        (("LMOVE", "l", "one", "LEFT", "RIGHT"), [("RPUSH", "one", "x")], False),
        (("LMOVE", "l", "one", "LEFT", "RIGHT"), [("LPUSH", "one", "x")], False),
        (("RPOPLPUSH", "l", "one"), [("LPUSH", "l", "x")], False),
        (("RPOPLPUSH", "one", "one"), [("LPUSH", "one", "x")], True),
        (("LMOVE", "l", "l", "LEFT", "RIGHT"), [("LSET", "l", "2", "x")], False),
        # by index
        (("LINDEX", "l", "1"), [("RPUSH", "l", "x")], False),
        (("LINDEX", "l", "1"), [("LPUSH", "l", "x")], True),
        (("LINDEX", "l", "1"), [("LSET", "l", "1", "x")], True),
        (("LINDEX", "l", "1"), [("LSET", "l", "2", "x")], False),
        (("LINDEX", "l", "1"), [("RPOP", "l", "4")], True),
        (("LINDEX", "l", "-1"), [("LPUSH", "l", "x")], False),
        (("LINDEX", "l", "-1"), [("RPUSH", "l", "x")], True),
        (("LINDEX", "l", "9"), [("LSET", "l", "0", "x")], False),
        (("LINDEX", "l", "9"), [("RPUSH", "l", "x")], True),
        (("LINDEX", "l", "1"), [("LINSERT", "l", "AFTER", "c", "x")], False),
        (("LINDEX", "l", "1"), [("LINSERT", "l", "BEFORE", "b", "x")], True),
        (("LINDEX", "l", "1"), [("LREM", "l", "1", "d")], True),
        (("LSET", "l", "1", "new"), [("RPUSH", "l", "x")], False),
        (("LSET", "l", "1", "new"), [("LSET", "l", "1", "x")], False),
        (("LSET", "l", "1", "new"), [("LPOP", "l")], True),
        (("LSET", "l", "1", "new"), [("RPOP", "l", "4")], True),
        (("LSET", "l", "9", "new"), [("RPUSH", "l", "x")], True),
        (("LRANGE", "l", "0", "1"), [("RPUSH", "l", "x"), ("LSET", "l", "2", "x")], False),
        (("LRANGE", "l", "0", "1"), [("LSET", "l", "1", "x")], True),
        (("LRANGE", "l", "0", "1"), [("LPUSH", "l", "x")], True),
        (("LRANGE", "l", "-2", "-1"), [("LPUSH", "l", "x")], False),
        (("LRANGE", "l", "0", "-1"), [("RPUSH", "l", "x")], True),
        (("LRANGE", "l", "0", "99"), [("RPUSH", "l", "x")], True),
        (("LRANGE", "l", "5", "9"), [("RPUSH", "l", "x")], True),
        (("LRANGE", "l", "3", "2"), [("RPUSH", "l", "x")], False),
        (("LTRIM", "l", "0", "1"), [("RPUSH", "l", "x")], True),
        (("LTRIM", "l", "0", "1"), [("LSET", "l", "0", "x")], False),
        # what looks for elements
        (("LPOS", "long", "5"), [("LSET", "long", "90", "5")], False),
        (("LPOS", "long", "5"), [("LSET", "long", "3", "5")], True),
        (("LPOS", "l", "none"), [("LSET", "l", "2", "x")], True),
        (("LREM", "l", "1", "b"), [("LSET", "l", "4", "x")], True),
        (("LINSERT", "l", "AFTER", "b", "x"), [("RPUSH", "l", "x")], True),
        (("SORT", "l", "ALPHA"), [("LSET", "l", "4", "x")], True),
        (("COPY", "l", "m"), [("RPUSH", "l", "x")], True),
        # the identity only
        (("EXISTS", "l"), PUSHES, False),
        (("TYPE", "l"), PUSHES, False),
        (("RENAME", "l", "m"), PUSHES, False),
        (("DEL", "l"), PUSHES, False),
        (("LINDEX", "l", "0"), [("RENAME", "l", "m"), ("RENAME", "m", "l")], False),
        (("LINDEX", "l", "0"), [("DEL", "l"), ("RPUSH", "l", "a")], True),
        (("OBJECT", "ENCODING", "l"), [("RPUSH", "l", "x")], True),
        # with holes in between, everything counts
        (("LINDEX", "holed", "0"), [("RPUSH", "holed", "x")], True),
        (("LPOP", "holed"), [("RPUSH", "holed", "x")], True),
        (("LLEN", "holed"), [("LSET", "holed", "0", "x")], False),
    ],
)
def test_what_conflicts(node, client, words, changes, expected):
    client("RPUSH", "l", *"abcde")
    client("RPUSH", "one", "1")
    client("RPUSH", "long", *range(100))
    client("RPUSH", "holed", *"abc")
    client("LREM", "holed", "1", "b")
    assert conflict(node, [words, WRITE], changes) is expected


def test_every_list_command_is_known(node):
    """Those left out count as having read everything, deliberately."""
    commands = {
        command.name
        for command in node.view.dispatch.commands.values()
        if command.row is not None and command.row.group == "list"
    }
    assert commands - set(TABLE) == {b"lrem", b"linsert"}
    assert set(TABLE) - commands == {b"copy"}


@pytest.mark.parametrize(
    "others", [("RPOP", "l"), ("LPOP", "l"), ("LREM", "l", "1", "b"), ("LTRIM", "l", "0", "0")]
)
def test_a_list_that_would_have_been_empty_in_between_is_another_one(node, client, others):
    """Pop and push again: an element of others kept it alive in the snapshot, and its deadline."""
    client("RPUSH", "l", "a", "b")
    client("EXPIRE", "l", "1000")
    run = paused(node, ("LPOP", "l"), ("RPUSH", "l", "c"), ("TTL", "l"))
    run_beside(node, *others)
    run.finish()
    assert run.program.result[1:] == [1, -1]
    assert client("TTL", "l") == -1


def test_a_collection_that_others_leave_is_not_there_to_be_deleted(node, client):
    client("RPUSH", "l", "a", "b")
    client("SADD", "s", "a", "b")
    run = paused(node, ("LPOP", "l"), ("SREM", "s", "a"), ("DEL", "l", "s"))
    run_beside(node, "RPOP", "l")
    run_beside(node, "SREM", "s", "b")
    run.finish()
    assert run.program.result == [b"a", 1, 0]


def test_an_item_that_was_looked_at_counts_when_the_list_is_read_as_a_whole_later(node, client):
    client("RPUSH", "l", *range(300))
    for index, starts in (("200", 2), ("250", 2), ("100", 1)):
        looks = ("LINDEX", "l", "200"), ("LPOS", "l", "5"), ("LINDEX", "l", "250")
        run = paused(node, *looks, WRITE)
        run_beside(node, "LSET", "l", index, "x")
        run.finish()
        assert run.program.starts == starts


def everything(client, key="l"):
    return client("LRANGE", key, 0, -1)


def test_pops_at_both_ends_and_pushes_take_effect_together(node, client):
    client("RPUSH", "l", *"abcde")
    client("RPUSH", "one", "1")
    run = paused(node, ("LPOP", "l", "2"), ("LMOVE", "l", "one", "LEFT", "RIGHT"), WRITE)
    for words in (("RPUSH", "l", "x"), ("RPOP", "l"), ("RPUSH", "l", "y"), ("LPUSH", "one", "0")):
        run_beside(node, *words)
    run_beside(node, "RPUSH", "one", "2")
    run.finish()
    assert run.program.starts == 1
    assert everything(client) == [b"d", b"e", b"y"]
    assert everything(client, "one") == [b"0", b"1", b"2", b"c"]
    invariants.check(node.tip)


def test_what_is_left_empty_by_two_is_gone(node, client):
    client("RPUSH", "l", "a", "b")
    run = paused(node, ("LPOP", "l"), WRITE)
    run_beside(node, "RPOP", "l")
    run.finish()
    assert run.program.starts == 2
    assert client("EXISTS", "l") == 0


@pytest.mark.parametrize(("push", "pop"), [("LPUSH", "LPOP"), ("RPUSH", "RPOP")])
def test_a_stack_uses_the_position_again_that_a_transaction_popped(node, client, push, pop):
    """Hard case 5: nothing says of the position that it is dead once it is live again."""
    client("RPUSH", "l", "m")
    client(push, "l", "a")
    run = paused(node, (pop, "l"), WRITE)
    run.finish()
    assert run.program.result[0] == b"a"
    assert client(push, "l", "b") == 2
    assert client("LINDEX", "l", 0 if push == "LPUSH" else -1) == b"b"
    for _ in range(2):
        node.checkpoint()
        node.evict()
        assert set(everything(client)) == {b"m", b"b"}
        assert client("LLEN", "l") == 2
    invariants.check(node.tip)
    node = node.crash()
    found = contents(node.tip, node.engine).databases[0][b"l"].data[1]
    assert {row[2] for row in found} == {b"m", b"b"}


@pytest.mark.parametrize(("push", "pop"), [("LPUSH", "LPOP"), ("RPUSH", "RPOP")])
def test_a_pop_is_of_the_first_element_at_commit(node, client, push, pop):
    """Hard case 8: others have seen x there, before the transaction took effect."""
    client("RPUSH", "l", "a")
    run = paused(node, (pop, "l"), WRITE)
    run_beside(node, push, "l", "x")
    run.finish()
    assert run.program.result[0] == b"x"
    assert everything(client) == [b"a"]


def test_an_empty_pop_is_of_an_empty_list_at_commit(node, client):
    """Hard case 8."""
    run = paused(node, ("LPOP", "l"), WRITE)
    run_beside(node, "LPUSH", "l", "x")
    run.finish()
    assert run.program.result[0] == b"x"


def test_cold_items_are_fetched_before_a_commit(node, client):
    client("RPUSH", "l", *range(300))
    pin = node.tip.pin()
    run = paused(node, ("LINDEX", "l", "100"), ("LSET", "l", "-100", "new"), ("RPUSH", "l", "x"))
    run_beside(node, "LSET", "l", "7", "changed")
    node.checkpoint()
    node.evict()
    node.tip.set_resident(node.tip.current_generation(0), False)
    run.finish()
    assert run.program.starts == 1
    expected = [b"%d" % i for i in range(300)]
    expected[7], expected[-100] = b"changed", b"new"
    assert everything(client) == [*expected, b"x"]
    node.tip.unpin(pin)
    invariants.check(node.tip)


# -- blind appends: hard case 21 ------------------------------------------------------------------

APPEND = (BLIND, b"RPUSH", b"l", b"t")


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        ("ab", [], "abt"),
        ("ab", [("RPUSH", "l", "x"), ("LPOP", "l")], "bxt"),
        ("ab", [("RPOP", "l")], "at"),
        ("ab", [("LREM", "l", "1", "a")], "bt"),
        ("ab", [("DEL", "l")], "t"),
        ("ab", [("LPOP", "l", "2")], "t"),
        ("ab", [("LPOP", "l", "2"), ("RPUSH", "l", "x")], "xt"),
        ("ab", [("RENAME", "l", "m")], "t"),
        ("ab", [("FLUSHALL",), ("RPUSH", "l", "x")], "xt"),
        ("ab", [("EXPIRE", "l", "100")], "abt"),
        ("", [], "t"),
        ("", [("RPUSH", "l", "x")], "xt"),
        ("", [("SWAPDB", "0", "1"), ("LPUSH", "l", "x")], "xt"),
    ],
)
def test_a_blind_append_commits_at_the_first_try(node, client, before, changes, after):
    if before:
        client("RPUSH", "l", *before)
    run = paused(node, APPEND)
    for words in changes:
        run_beside(node, *words)
    run.finish()
    assert run.program.starts == 1
    assert run.program.result == [None]
    assert everything(client) == [b"%c" % ord(letter) for letter in after]
    invariants.check(node.tip)


def test_blind_appends_to_both_ends_keep_their_order(node, client):
    client("RPUSH", "l", "a")
    run = paused(
        node,
        (BLIND, b"RPUSH", b"l", b"1", b"2"),
        (BLIND, b"LPUSH", b"l", b"3", b"4"),
        (BLIND, b"RPUSH", b"l", b"5"),
    )
    run_beside(node, "LPUSH", "l", "x")
    run_beside(node, "RPUSH", "l", "y")
    run.finish()
    assert run.program.starts == 1
    assert b"".join(everything(client)) == b"43xay125"


def test_many_append_to_a_hot_list(node, client):
    runs = [paused(node, (BLIND, b"RPUSH", b"l", b"t%d" % i)) for i in range(8)]
    for i in range(8):
        run_beside(node, "RPUSH", "l", f"p{i}")
    run_beside(node, "LPOP", "l", 3)
    for run in runs:
        run.finish()
    assert node.jobs.transactions.conflicts == 0
    assert client("LLEN", "l") == 13


def test_a_blind_append_to_another_type_is_refused(node, client):
    client("SET", "l", "string")
    run = Running(node, lambda: (yield APPEND))
    run.finish()
    assert str(run.program.result).startswith("WRONGTYPE")
    client("DEL", "l")
    run = paused(node, APPEND, WRITE)
    run_beside(node, "SET", "l", "string")
    run.finish()
    assert run.program.starts == 2
    assert str(run.program.result[0]).startswith("WRONGTYPE")
    assert client("GET", "l") == b"string"


@pytest.mark.parametrize(
    ("script", "changes", "replies", "starts"),
    [
        # what it reads counts, the append still goes to the end
        ([APPEND, ("LINDEX", "l", "0")], [("RPUSH", "l", "x")], [None, b"a"], 2),
        ([("LINDEX", "l", "0"), APPEND], [("RPUSH", "l", "x")], [b"a", None], 1),
        ([APPEND, ("LLEN", "l")], [], [None, 3], 1),
        ([APPEND, ("LLEN", "l")], [("RPUSH", "l", "x")], [None, 4], 2),
        ([APPEND, ("EXISTS", "l")], [("RPUSH", "l", "x")], [None, 1], 1),
        ([APPEND, ("EXISTS", "l")], [("DEL", "l"), ("RPUSH", "l", "x")], [None, 1], 2),
        ([("EXISTS", "l"), APPEND], [("DEL", "l"), ("RPUSH", "l", "x")], [1, None], 2),
        ([APPEND, ("LRANGE", "l", "0", "-1")], [], [None, [b"a", b"b", b"t"]], 1),
        ([APPEND, ("RPOP", "l"), APPEND], [("LPUSH", "l", "x")], [None, b"t", None], 1),
        ([APPEND, ("DBSIZE",)], [], [None, 1], 1),
        ([APPEND, ("SELECT", "1"), ("DBSIZE",), ("SELECT", "0")], [], [None, b"OK", 0, b"OK"], 1),
        ([APPEND, ("PING",), ("SET", "a", "1")], [("DEL", "l")], [None, b"PONG", b"OK"], 1),
        ([APPEND, ("RENAME", "l", "m"), APPEND, ("LLEN", "l")], [], [None, b"OK", None, 1], 1),
        ([APPEND, ("FLUSHDB",), APPEND], [], [None, b"OK", None], 1),
        ([APPEND, ("SWAPDB", "0", "1"), APPEND], [], [None, b"OK", None], 1),
        ([APPEND, ("DEL", "l"), APPEND], [], [None, 1, None], 1),
        ([APPEND, ("SET", "l", "s")], [("RPUSH", "l", "x")], [None, b"OK"], 1),
    ],
)
def test_a_look_at_its_key_ends_the_blindness(node, client, script, changes, replies, starts):
    client("RPUSH", "l", "a", "b")
    run = paused(node, *script)
    for words in changes:
        run_beside(node, *words)
    run.finish()
    assert run.program.result == replies
    assert run.program.starts == starts
    invariants.check(node.tip)


def test_an_append_before_a_flush_is_gone_and_one_after_it_stays(node, client):
    client("RPUSH", "l", "a", "b")
    paused(node, APPEND, ("FLUSHDB",), (BLIND, b"RPUSH", b"l", b"new")).finish()
    assert everything(client) == [b"new"]


def test_an_append_goes_to_the_database_in_which_it_was_made(node, client):
    client("RPUSH", "l", "a")
    paused(node, ("SELECT", "1"), APPEND, ("SELECT", "0"), ("SET", "x", "1")).finish()
    assert everything(client) == [b"a"]
    client("SELECT", "1")
    assert everything(client) == [b"t"]
    client("SELECT", "0")
    paused(node, ("SWAPDB", "0", "1"), APPEND).finish()
    assert everything(client) == [b"t", b"t"]


def test_blind_appends_are_told_to_who_waits_watches_or_listens(node, client):
    events = []
    node.view.on_event = lambda *event: events.append(event[1:])
    watcher, waiter = node.session(), node.session()
    node.settle(watcher, encode("WATCH", "l") + encode("MULTI") + encode("GET", "a"))
    waiter.feed(encode("BLPOP", "l", "0"))
    node.serve(waiter)
    Running(node, lambda: (yield APPEND)).finish()
    assert waiter.take().endswith(b"$1\r\nt\r\n")
    assert node.settle(watcher, encode("EXEC")) == b"*-1\r\n"
    assert events[:2] == [(b"new", b"l", 0), (b"rpush", b"l", 0)]


def test_a_blind_append_to_a_cold_list_fetches_its_head(node, client):
    client("RPUSH", "l", *range(300))
    client("RPOP", "l")
    run = paused(node, APPEND)
    node.checkpoint()
    node.evict()
    node.tip.set_resident(node.tip.current_generation(0), False)
    run.finish()
    assert run.program.starts == 1
    assert client("LRANGE", "l", -2, -1) == [b"298", b"t"]
    invariants.check(node.tip)


def test_appends_count_as_writes(node, client, monkeypatch):
    monkeypatch.setattr("kvnode.txn.optimistic.TRANSACTION_WRITE_BYTES_MAX", 1000)
    run = Running(node, lambda: (yield (BLIND, b"RPUSH", b"l", b"x" * 2000)))
    assert run.finish().startswith(b"-ERR")
    assert client("EXISTS", "l") == 0


def long_list(node, *, with_hole: bool = False) -> list[bytes]:
    """Make a list, and return its elements."""
    elements = [b"%d" % i for i in range(6000)]
    run_beside(node, "RPUSH", "l", *elements)
    if with_hole:
        run_beside(node, "LREM", "l", "1", "20")
        elements.remove(b"20")
    node.sync()
    return elements


def items_read(run: Running) -> tuple[int, bool]:
    """How many items a transaction has in memory, and whether these are known to be all."""
    tables = invariants.dump(run.transaction.attempt.workspace.tip)["tables"]
    (table,) = (table for (kind, _), table in tables.items() if kind == ITEM)
    return len(table["entries"]), table["resident"]


@pytest.mark.parametrize("is_cold", [False, True])
@pytest.mark.parametrize("with_hole", [False, True])
@pytest.mark.parametrize(
    ("words", "first", "last", "ahead"),
    [
        (("LRANGE", "l", 10, 1509), 10, 1509, 0),
        (("LRANGE", "l", 2000, 4900), 2000, 4900, 0),
        (("LPOP", "l", 1500), 0, 1499, 64),
        (("LINDEX", "l", 5000), 5000, 5000, 0),
    ],
)
def test_a_transaction_reads_of_a_list_only_what_it_needs(
    node, words, first, last, ahead, with_hole, is_cold
):
    elements = long_list(node, with_hole=with_hole)
    if is_cold:
        node.checkpoint()
        node.evict()
    run = paused(node, words, WRITE)
    count = last + 1 - first
    entries, is_resident = items_read(run)
    assert count <= entries <= count + ahead + with_hole
    assert not is_resident
    run.finish()
    (reply, _) = run.program.result
    expected = elements[first : last + 1]
    assert reply == (expected if words[0] != "LINDEX" else expected[0])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("LSET", "l", "700", "x"), True),
        (("LSET", "l", "3500", "x"), False),
        (("RPUSH", "l", "x"), False),
        (("LPOP", "l"), True),
    ],
)
def test_a_span_that_was_read_counts_item_by_item(node, change, expected):
    long_list(node)
    assert conflict(node, [("LRANGE", "l", 10, 1509), WRITE], [change]) is expected
