"""Fields past their deadline leave memory and disk although nobody touches their hash."""

import pytest

from tests.sim.node import SimNode, new_node
from tests.support.contents import contents

FIELDS = 40
LIFE_MS = 5_000


def rows(node: SimNode, kind: bytes) -> int:
    return len(node.engine.scan_keys(kind, bytes([kind[0] + 1]), 1 << 20))


def settle(node: SimNode) -> None:
    """Let all background work come to its end, and storage have the last word."""
    node.upkeep(30, ms=10)
    node.check()
    node.checkpoint()


def node_with_fields(*, kept: int = 1) -> SimNode:
    """A node whose storage has a hash with FIELDS short-lived fields and `kept` others."""
    node = new_node(1)
    for i in range(FIELDS):
        node.ask("HSETEX", "h", "PX", LIFE_MS, "FIELDS", 1, f"f{i}", "v")
    for i in range(kept):
        node.ask("HSET", "h", f"kept{i}", "v")
    node.checkpoint()
    return node


@pytest.mark.parametrize("is_cold", [False, True])
@pytest.mark.parametrize("kept", [0, 1])
def test_untouched_fields_leave_the_disk(is_cold: bool, kept: int) -> None:
    node = node_with_fields(kept=kept)
    assert rows(node, b"F") == FIELDS + kept
    assert rows(node, b"W") == FIELDS
    if is_cold:
        node = node.kill()
    node.now_ms += LIFE_MS
    settle(node)
    node.now_ms += 1
    settle(node)
    assert rows(node, b"F") == kept
    assert rows(node, b"W") == 0
    assert rows(node, b"H") == kept
    assert node.ask("DBSIZE") == kept
    assert node.ask("HLEN", "h") == kept


def test_a_deadline_that_moved_out_has_its_row_filed_anew() -> None:
    node = node_with_fields()
    node.ask("HPEXPIRE", "h", 3 * LIFE_MS, "FIELDS", 2, "f0", "f1")
    node.ask("HPERSIST", "h", "FIELDS", 1, "f2")
    node.checkpoint()
    node = node.kill()
    node.now_ms += LIFE_MS
    settle(node)
    assert node.ask("HLEN", "h") == 4
    node = node.kill()
    node.now_ms += 3 * LIFE_MS
    settle(node)
    settle(node)
    assert rows(node, b"F") == 2
    assert rows(node, b"W") == 0


def test_rows_of_a_dead_hash_lead_nowhere() -> None:
    node = node_with_fields()
    node.ask("DEL", "h")
    node.ask("HSET", "h", "f0", "another")
    node.checkpoint()
    node = node.kill()
    node.now_ms += LIFE_MS
    settle(node)
    settle(node)
    assert rows(node, b"W") == 0
    assert node.ask("HGETALL", "h") == [b"f0", b"another"]


def test_a_renamed_hash_loses_its_fields_when_it_is_met() -> None:
    """The row says where the head was; no more is known of a hash that is not in memory."""
    node = node_with_fields()
    node.ask("RENAME", "h", "g")
    node.checkpoint()
    node = node.kill()
    node.now_ms += LIFE_MS
    settle(node)
    settle(node)
    assert rows(node, b"W") == 0
    assert node.ask("HGETALL", "g") == [b"kept0", b"v"]
    settle(node)
    assert rows(node, b"F") == 1


def test_a_crash_after_expiry_brings_nothing_back() -> None:
    node = node_with_fields()
    node.now_ms += LIFE_MS
    for _ in range(10):
        node.background()
        node.step_threads()
        node.sync()
    node = node.kill()
    assert node.ask("HLEN", "h") == 1
    before = contents(node.tip, node.engine)
    settle(node)
    assert contents(node.tip, node.engine) == before


@pytest.mark.parametrize("is_flushed", [False, True])
@pytest.mark.parametrize("move", [("RENAME", "h", "g"), ("MOVE", "h", 3), ("SWAPDB", 0, 3)])
def test_fields_of_a_hash_that_was_moved_while_cold_leave_the_disk(move, is_flushed: bool) -> None:
    node = node_with_fields()
    node = node.kill()
    assert node.ask(*move) in (1, b"OK")
    if is_flushed:
        node.checkpoint()
    node = node.kill()
    node.now_ms += LIFE_MS
    settle(node)
    node.now_ms += 1
    settle(node)
    assert rows(node, b"F") == 1
    assert rows(node, b"W") == 0


def test_what_says_where_a_hash_is_goes_with_it() -> None:
    node = node_with_fields()
    assert rows(node, b"O") == 1
    node.ask("HSET", "plain", "f", "v")
    node.ask("RENAME", "h", "g")
    node.checkpoint()
    (row,) = node.engine.scan(b"O", b"P", 9)
    assert row[1].endswith(b"g")
    node.ask("DEL", "g")
    settle(node)
    settle(node)
    assert rows(node, b"O") == 0
    assert rows(node, b"F") == 1


@pytest.mark.parametrize("is_stored", [False, True])
@pytest.mark.parametrize("end", [("FLUSHDB",), ("DEL", "h"), ("SET", "h", "v")])
def test_no_row_stays_of_a_hash_that_died(end, is_stored: bool) -> None:
    node = node_with_fields()
    if not is_stored:
        node.ask(*end)
        for i in range(FIELDS):
            node.ask("HSETEX", "g", "PX", LIFE_MS, "FIELDS", 1, f"f{i}", "v")
        node.ask("RENAME", "g", "h")
    node.ask(*end)
    for _ in range(4):
        settle(node)
    assert rows(node, b"O") == 0
    assert rows(node, b"F") == 0
    assert rows(node, b"T") == 0
