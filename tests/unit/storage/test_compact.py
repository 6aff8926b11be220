"""Deltas that got into LevelDB are folded in the background, and change no sum."""

from kvnode.base.limits import COMPACT_EVERY_MS
from tests.sim.node import SimNode, new_node
from tests.support.contents import contents

SETS = 300
MEMBERS = 3
LATE = 9  # a number as well: a set of numbers that gets another member has its head written


def deltas(node: SimNode) -> int:
    return len(node.engine.scan_keys(b"E", b"F", 1 << 20))


def node_with_deltas(sets: int = SETS) -> SimNode:
    """A node whose sets have members in LevelDB's bases, and one more each as a delta there."""
    node = new_node(1)
    for i in range(sets):
        node.ask("SADD", f"s{i}", *range(MEMBERS))
    node.checkpoint()
    for i in range(sets):
        node.ask("SADD", f"s{i}", LATE)
    node = node.kill()  # the heads are not in memory any more
    node.housekeeping.deltas.step = lambda now_ms: None
    node.checkpoint()
    del node.housekeeping.deltas.step
    return node


def settle(node: SimNode) -> None:
    """Let all background work come to its end."""
    node.upkeep(40, ms=COMPACT_EVERY_MS)
    node.check()


def test_after_a_restart_deltas_reach_the_disk_and_are_summed_on_a_miss():
    node = node_with_deltas(3)
    assert deltas(node) >= 2  # one may have been flushed with its head before
    assert node.ask("SCARD", "s2") == MEMBERS + 1
    assert node.ask("SREM", "s2", LATE, "0") == 2
    assert node.ask("SCARD", "s2") == MEMBERS - 1
    node = node.kill()
    assert node.ask("SCARD", "s2") == MEMBERS - 1


def test_the_writer_that_meets_deltas_folds_them():
    node = node_with_deltas(1)
    node.ask("SCARD", "s0")
    node.checkpoint()
    assert deltas(node) == 0
    node = node.kill()
    assert node.ask("SCARD", "s0") == MEMBERS + 1


def test_the_compactor_folds_what_nobody_touches():
    node = node_with_deltas()
    before = contents(node.tip, node.engine)
    assert deltas(node) >= SETS - 1
    settle(node)
    node.checkpoint()
    assert deltas(node) == 0
    settle(node)
    assert not node.tip.has_delta_rows
    assert contents(node.tip, node.engine) == before
    node = node.kill()
    assert contents(node.tip, node.engine) == before


def test_a_crash_while_folding_loses_no_delta():
    node = node_with_deltas(20)
    before = contents(node.tip, node.engine)
    for seed in range(20):
        for _ in range(seed % 7):
            node.now_ms += COMPACT_EVERY_MS
            node.background()
            node.step_threads(1)
            node.serve()
        if seed % 3 == 0:
            node.checkpoint()
        node = node.crash()
        assert contents(node.tip, node.engine) == before


def test_deltas_of_a_dead_collection_go_with_it():
    node = node_with_deltas(5)
    for i in range(5):
        node.ask("DEL", f"s{i}")
    settle(node)
    node.checkpoint()
    settle(node)
    node.checkpoint()
    settle(node)
    assert deltas(node) == 0
    assert node.engine.scan_keys(b"M", b"N", 10) == []
