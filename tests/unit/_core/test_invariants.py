"""The walk over the tip finds each fault that is planted, and none in a healthy node."""

import pytest

from kvnode._core import invariants
from kvnode.base.errors import InvariantError
from tests.support.local import LocalNode

FAULTS = {
    "version out of order": "do not grow older",
    "dirty flag lost": "dirty lists",
    "listed twice": "twice",
    "listed and clean": "twice",
    "bytes": "bytes counted",
    "table bytes": "bytes counted",
    "dirty bytes": "dirty bytes counted",
    "entries": "entries counted",
    "segment count": "miscounts",
    "live count": "miscounts its live entries",
    "gone": "marked as gone",
    "sparse": "two segments are sparse",
    "deepest": "as deep as their table",
    "keys": "keys counted",
    "deadlines": "with a deadline counted",
    "hash": "wrong hash",
    "bucket": "wrong",
    "no expiry row": "expiry row",
    "pin": "above the watermark",
    "durable": "not committed",
    "database": "shares",
    "generation twice": "two tables",
}

CLAIM_FAULTS = {
    "claim too long": "should be dead",
    "holes": "claimed, 2 holes",
}

ORDER_FAULTS = {
    "not in order": "has 99 of 100 members",
    "another score": "under another score",
    "order": "order of .* is broken",
}


@pytest.fixture
def node():
    node = LocalNode()
    client = node.client()
    for i in range(100):
        client.call("SET", f"k{i}", i)
    client.call("PEXPIRE", "k1", 5000)
    return node


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(node, fault):
    invariants.check(node.tip)
    invariants.corrupt(node.tip, fault, node.head_key(b"k1"))
    with pytest.raises(InvariantError, match=FAULTS[fault]):
        invariants.check(node.tip)


def test_a_clean_record_must_be_durable(node):
    node.checkpoint()
    invariants.check(node.tip)
    invariants.corrupt(node.tip, "clean and not durable", node.head_key(b"k1"))
    with pytest.raises(InvariantError, match="not durable"):
        invariants.check(node.tip)


def test_a_listed_record_must_be_there(node):
    node.checkpoint()
    invariants.corrupt(node.tip, "listed and clean", node.head_key(b"k1"))
    with pytest.raises(InvariantError, match="dirty lists"):
        invariants.check(node.tip)


@pytest.mark.parametrize("fault", CLAIM_FAULTS)
def test_the_claims_of_a_list_are_its_holes(node, fault):
    client = node.client()
    client.call("RPUSH", "l", *"abcde")
    client.call("LREM", "l", 1, "c")
    tables = node.dump()["tables"]
    (claims,) = (table for (kind, _), table in tables.items() if kind == ord("K"))
    (claim,) = claims["entries"]
    invariants.corrupt(node.tip, fault, claim)
    with pytest.raises(InvariantError, match=CLAIM_FAULTS[fault]):
        invariants.check(node.tip)


@pytest.mark.parametrize("fault", ORDER_FAULTS)
def test_the_order_of_a_sorted_set_is_that_of_its_members(node, fault):
    node.client().call("ZADD", "z", *(word for i in range(100) for word in (i, f"m{i}")))
    tables = node.dump()["tables"]
    (members,) = (table for (kind, _), table in tables.items() if kind == ord("M"))
    member = next(key for key in members["entries"] if key.endswith(b"m50"))
    invariants.corrupt(node.tip, fault, member)
    with pytest.raises(InvariantError, match=ORDER_FAULTS[fault]):
        invariants.check(node.tip)


def test_the_dump_shows_versions_and_counts(node):
    state = node.dump()
    table = state["tables"][ord("H"), state["databases"][0]]
    assert (table["keys"], table["volatile_keys"], table["resident"]) == (100, 1, True)
    (version,) = node.versions(b"k7")
    assert version[1:] == (1, 0, 0, b"7")
    assert node.versions(b"none") == []
