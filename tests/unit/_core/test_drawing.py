"""Draws are fair, whatever has left the table, and tombstones in their way go."""

import pytest

from kvnode._core.pinned import PRESENT, scan_at
from tests.support.local import LocalNode

MEMBER = ord("M")


@pytest.fixture
def node():
    return LocalNode()


@pytest.fixture
def client(node):
    return node.client()


def fill(client, count: int) -> list[bytes]:
    members = [b"m%d" % i for i in range(count)]
    for first in range(0, count, 5000):
        client.ask("SADD", "s", *members[first : first + 5000])
    return members


def shrink(client, members: list[bytes], left: int, at_once: int = 100) -> list[bytes]:
    """Pop until `left` members are there; return them."""
    gone: set[bytes] = set()
    while len(members) - len(gone) > left:
        gone |= set(client.ask("SPOP", "s", min(at_once, len(members) - len(gone) - left)))
    return [m for m in members if m not in gone]


def chi_square(client, members: list[bytes], per_member: int) -> float:
    """Draw `per_member` times as often as there are members; return chi-square per degree."""
    counts = dict.fromkeys(members, 0)
    left = per_member * len(members)
    while left > 0:
        for member in client.ask("SRANDMEMBER", "s", -min(left, 10_000)):
            counts[member] += 1
        left -= 10_000
    total = sum((n - per_member) ** 2 / per_member for n in counts.values())
    return total / (len(members) - 1)


def entries_of(node) -> int:
    tables = node.dump()["tables"]
    return sum(len(t["entries"]) for (kind, _), t in tables.items() if kind == MEMBER)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 15, 16, 17, 100, 400])
def test_a_small_set_is_drawn_evenly(client, count):
    members = fill(client, count)
    if count == 1:
        assert set(client.ask("SRANDMEMBER", "s", -20)) == set(members)
        return
    # of 1: its deviation is sqrt(2 / degrees of freedom)
    assert abs(chi_square(client, members, 100) - 1) < 4 * (2 / (count - 1)) ** 0.5


@pytest.mark.parametrize("left", [2, 10, 300])
@pytest.mark.parametrize("is_flushed", [False, True])
def test_a_set_that_shrank_is_drawn_evenly(node, client, left, is_flushed):
    members = shrink(client, fill(client, 3000), left)
    if is_flushed:
        node.checkpoint()
    assert sorted(client.ask("SMEMBERS", "s")) == sorted(members)
    assert abs(chi_square(client, members, 100) - 1) < 5 * (2 / (left - 1)) ** 0.5


def test_a_large_set_is_drawn_evenly(client):
    members = fill(client, 6000)
    assert abs(chi_square(client, members, 50) - 1) < 5 * (2 / 5999) ** 0.5


def test_what_is_left_behind_many_tombstones_is_drawn_roughly_evenly(node, client):
    """A pin keeps the tombstones, so that few members are left in each segment."""
    members = fill(client, 6000)
    node.tip.pin()
    members = shrink(client, members, 100)
    assert entries_of(node) == 6000
    # a deviation of 10 % adds 100 * 0.1 ** 2 = 1
    assert chi_square(client, members, 100) < 2


def test_the_last_few_behind_many_tombstones_are_drawn_roughly_evenly(node, client):
    members = fill(client, 40_000)
    node.tip.pin()
    members = shrink(client, members, 30, 20_000)
    # among the next 16: a deviation of 25 % adds 100 * 0.25 ** 2 = 6
    assert chi_square(client, members, 100) < 9


def test_a_planted_bias_is_found(client):
    """The test sees that one member is drawn instead of another."""

    class Biased:
        def ask(self, *words):
            drawn = client.ask(*words)
            return [members[1] if member == members[0] else member for member in drawn]

    members = fill(client, 100)
    assert chi_square(Biased(), members, 100) - 1 > 4 * (2 / 99) ** 0.5


def test_tombstones_that_leveldb_never_saw_go_with_the_draws(node, client):
    shrink(client, fill(client, 5000), 100)
    assert entries_of(node) < 600
    node.checkpoint()
    rows = node.engine.scan(b"M", b"N", 10_000)
    assert len(rows) == 100


def test_tombstones_of_rows_stay_until_they_are_flushed(node, client):
    members = fill(client, 2000)
    node.checkpoint()
    left = shrink(client, members, 100)
    assert entries_of(node) == 2000
    node.checkpoint()
    node.cool()
    assert sorted(client.ask("SMEMBERS", "s")) == sorted(left)


def test_a_member_that_came_back_after_a_flush_and_went_again_stays_away(node, client):
    members = fill(client, 1000)
    node.checkpoint()
    client.ask("SREM", "s", *members[:900])
    node.checkpoint()
    client.ask("SADD", "s", *members[:900])
    left = shrink(client, members, 50)
    node.cool()
    assert sorted(client.ask("SMEMBERS", "s")) == sorted(left)


def test_a_pin_sees_what_was_popped(node, client):
    members = fill(client, 1000)
    pin = node.tip.pin()
    shrink(client, members, 100)
    (collection,) = {id_ for kind, id_ in node.dump()["tables"] if kind == MEMBER}
    rows, following, _ = scan_at(node.tip, MEMBER, collection, 0, 5000, pin, True)
    assert following is None
    assert sum(status == PRESENT for _, _, status, _ in rows) == 1000
    node.tip.unpin(pin)
    client.ask("SRANDMEMBER", "s", -500)
    assert entries_of(node) < 500


def test_a_transaction_that_is_undone_gets_its_tombstones_back(node, client):
    """Draws drop tombstones inside of a transaction, too, which then parks half-way."""
    members = fill(client, 600)
    left = shrink(client, members, 400)
    client.ask("SET", "cold", "v")
    node.cool()
    client.ask("SMEMBERS", "s")
    client.ask("SADD", "s", "x", "y", "z")
    client.ask("SREM", "s", "x", "y")
    client.ask("MULTI")
    client.ask("SRANDMEMBER", "s", -500)
    client.ask("SPOP", "s", 10)
    client.ask("GET", "cold")
    popped = client.ask("EXEC")[1]
    assert sorted([*left, b"z"]) == sorted([*popped, *client.ask("SMEMBERS", "s")])
