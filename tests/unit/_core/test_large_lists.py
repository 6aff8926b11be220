"""Lists that are not in memory, or too long for what one step may look at."""

import pytest

from kvnode._core import invariants
from tests.sim.node import new_node
from tests.support.contents import contents
from tests.support.local import LocalNode
from tests.support.resp import encode
from tests.support.scripts import S_WAITING, ask, finish

MANY = 50_100  # past STEPS_MAX
WAVES = [b"%d" % (i % 3) for i in range(MANY)]


def items_in_memory(tip) -> tuple[int, bool]:
    """How many items of the one list are in memory, and whether these are known to be all."""
    tables = invariants.dump(tip)["tables"]
    (table,) = (table for (kind, _), table in tables.items() if kind == ord("I"))
    return len(table["entries"]), table["resident"]


@pytest.fixture
def cold():
    node = LocalNode()
    node.check = lambda: None  # a look at every item, after every step
    node.client().call("RPUSH", "l", *range(6000))
    node.cool()
    node.cool()
    return node


@pytest.mark.parametrize(("first", "items"), [(5, 1024), (5, 1025), (3000, 2999)])
def test_a_range_that_is_not_in_memory_is_read_and_nothing_else(cold, first, items):
    expected = [b"%d" % (first + i) for i in range(items)]
    assert cold.client().call("LRANGE", "l", first, first + items - 1) == expected
    assert items_in_memory(cold.tip) == (items, False)
    assert cold.client().call("LRANGE", "l", first, first + items - 1) == expected


def test_who_wants_half_of_a_list_has_all_of_it_read(cold):
    assert len(cold.client().call("LRANGE", "l", 10, 3009)) == 3000
    assert items_in_memory(cold.tip) == (6000, True)


@pytest.mark.parametrize("pop", ["LPOP", "RPOP"])
def test_a_pop_of_many_items_reads_these_and_some_more(cold, pop):
    expected = [b"%d" % i for i in (range(2000) if pop == "LPOP" else range(5999, 3999, -1))]
    assert cold.client().call(pop, "l", 2000) == expected
    read_ahead = 64
    assert items_in_memory(cold.tip)[0] <= 2000 + read_ahead
    assert cold.client().call("LLEN", "l") == 4000


def test_the_same_inside_an_exec(cold):
    client = cold.client()
    for words in (("MULTI",), ("LRANGE", "l", 100, 1299), ("LPOP", "l", 1100), ("EXEC",)):
        reply = client.ask(*words)
    assert reply == [[b"%d" % i for i in range(100, 1300)], [b"%d" % i for i in range(1100)]]
    assert items_in_memory(cold.tip)[0] <= 1300 + 64


def test_a_range_reads_no_more_than_the_holes_beside_it():
    node = LocalNode()
    node.check = lambda: None
    client = node.client()
    client.call("RPUSH", "l", *([b"hole" if 500 < i < 4500 else i for i in range(9000)]))
    assert client.ask("LREM", "l", 0, "hole") == 3999
    node.cool()
    node.cool()
    expected = [b"%d" % i for i in (*range(400, 501), *range(4500, 5999))]
    assert client.call("LRANGE", "l", 400, 1999) == expected
    entries, is_resident = items_in_memory(node.tip)
    assert not is_resident
    assert len(expected) <= entries <= len(expected) + 64
    invariants.check(node.tip)


@pytest.fixture
def node():
    node = new_node()
    for at in range(0, MANY, 10_000):
        ask(node, node.session(), "RPUSH", "l", *WAVES[at : at + 10_000])
    return node


@pytest.fixture
def client(node):
    session = node.session()
    return lambda *words: ask(node, session, *words)


def by_transaction(node) -> int:
    return node.jobs.transactions.committed


def test_what_ends_early_in_a_long_list_runs_at_once(node, client):
    assert client("LPOS", "l", "2") == 2
    assert client("LPOS", "l", "2", "MAXLEN", 100, "COUNT", 0) == list(range(2, 100, 3))
    assert client("LREM", "l", 1, "1") == 1
    assert client("LREM", "l", -1, "1") == 1
    assert client("LINSERT", "l", "AFTER", "2", "new") == MANY - 1
    assert client("LRANGE", "l", 0, 3) == [b"0", b"2", b"new", b"0"]
    assert len(client("LPOP", "l", 1000)) == 1000
    assert client("LTRIM", "l", 10, 20) == b"OK"
    assert by_transaction(node) == 0
    node.check()


@pytest.mark.parametrize("is_cold", [False, True])
def test_what_looks_at_all_of_it_runs_as_a_transaction(node, client, is_cold):
    if is_cold:
        node.checkpoint()
        node.evict()
    assert client("LPOS", "l", "none") is None
    assert client("LREM", "l", 0, "none") == 0
    assert client("LINSERT", "l", "BEFORE", "none", "x") == -1
    assert by_transaction(node) == 3
    assert client("LRANGE", "l", 0, -1) == WAVES
    assert client("LREM", "l", 0, "1") == MANY // 3
    assert by_transaction(node) == 4
    node.check()
    expected = [value for value in WAVES if value != b"1"]
    assert client("LRANGE", "l", 0, -1) == expected
    node = node.crash()
    rows = contents(node.tip, node.engine).databases[0][b"l"].data[1]
    assert [row[2] for row in rows] == expected


def test_a_list_of_which_little_is_left_is_written_anew(node, client):
    for _ in range(6):
        client("RPUSH", "m", "a", *["x"] * 10_000, "b")
    assert client("LREM", "m", 0, "x") == 60_000
    assert client("LRANGE", "m", 0, -1) == [b"a", b"b"] * 6
    assert by_transaction(node) == 1
    node.check()
    tables = invariants.dump(node.tip)["tables"]
    assert not [
        kind for (kind, _), table in tables.items() if kind == ord("K") and table["entries"]
    ]


def test_a_rewrite_for_an_insertion_counts_the_whole_list(node, client):
    client("LSET", "l", MANY // 2, "pivot")
    assert client("LINSERT", "l", "BEFORE", "pivot", "new") == MANY + 1
    assert by_transaction(node) == 1
    assert client("LINSERT", "l", "BEFORE", "pivot", "other") == MANY + 2
    assert by_transaction(node) == 1, "beside a gap there is nothing to move"
    middle = client("LRANGE", "l", MANY // 2 - 1, MANY // 2 + 3)
    assert middle[1:4] == [b"new", b"other", b"pivot"]
    node.check()


def test_pops_of_many_run_as_transactions(node, client):
    assert client("LPOP", "l", 50_001) == WAVES[:50_001]
    assert by_transaction(node) == 1
    client("RPUSH", "l", *WAVES)
    assert client("LMPOP", 2, "none", "l", "RIGHT", "COUNT", 60_000)[1][0] == WAVES[-1]
    assert by_transaction(node) == 2
    assert client("EXISTS", "l") == 0
    client("RPUSH", "l", *WAVES)
    assert len(client("BLMPOP", 0, 1, "l", "LEFT", "COUNT", 60_000)[1]) == MANY
    assert by_transaction(node) == 2, "what may wait has its place in the order at once"
    node.check()


def test_others_go_on_beside_it(node, client):
    session = node.session()
    session.feed(encode("LREM", "l", 0, "1"))
    node.serve(session)
    assert session.state == S_WAITING
    other = node.session()
    other.feed(encode("RPUSH", "l", "late", "1"))
    node.run_pass(lambda: node.sequencer.serve(other))
    node.sync()
    assert other.take() == b":%d\r\n" % (MANY + 2)
    removed = int(finish(node, session)[1:])
    assert removed == MANY // 3 + 1
    assert client("LRANGE", "l", -1, -1) == [b"late"]
