"""What a follower does with heads that it has not in memory, and how leadership begins."""

import random

import pytest

from kvnode._core.keys import COUNTER, DELTA, ITEM, kind_bounds
from kvnode.base.errors import CorruptionError, InvariantError
from kvnode.storage.memory import MemoryEngine
from tests.sim.disk import SimDisk
from tests.sim.follower import FollowerNode
from tests.sim.node import SimNode, new_node
from tests.support.resp import encode

ALL = 1 << 30
MEMBERSHIP = b"\x03who is in the group"


def new_follower() -> FollowerNode:
    return FollowerNode(SimDisk(), MemoryEngine(), random.Random(1))


def follow(node: FollowerNode, leader: SimNode) -> None:
    """Receive and apply all that the leader has."""
    leader.sync()
    term = leader.sequencer.term
    first = node.received + 1
    last = leader.sequencer.committed
    node.receive([(term, i, *leader.entries[i]) for i in range(first, last + 1)])
    node.apply(last)


def store(node: FollowerNode) -> None:
    """All is in LevelDB, nothing but meta records in memory."""
    for _ in range(2):
        node.checkpoint()
        node.evict()


def rows(node: FollowerNode, kind: int) -> int:
    return len(node.engine.scan_keys(*kind_bounds(kind), ALL))


@pytest.mark.parametrize("command", [("PEXPIRE", "l", 10**9), ("RENAME", "l", "other")])
def test_popped_items_of_a_list_whose_head_was_not_seen_leave_no_rows(command):
    leader, node = new_node(), new_follower()
    leader.ask("RPUSH", "l", *range(1000))
    follow(node, leader)
    store(node)
    assert rows(node, ITEM) == 1000
    leader.ask("LPOP", "l", 600)  # a delta, of what is not in memory here
    leader.ask("RPOP", "l", 300)
    follow(node, leader)
    store(node)
    assert rows(node, DELTA) == 2
    leader.ask(*command)  # a head, with what the leader has still to sweep
    follow(node, leader)
    store(node)
    assert rows(node, ITEM) == 100
    assert rows(node, DELTA) == 0
    node.check()
    node.lead()
    assert node.ask("LRANGE", command[-1] if command[0] == "RENAME" else "l", 0, -1) == [
        b"%d" % i for i in range(600, 700)
    ]


def test_what_was_not_seen_is_looked_for_after_a_restart():
    leader, node = new_node(), new_follower()
    leader.ask("RPUSH", "l", *range(1000))
    follow(node, leader)
    store(node)
    leader.ask("LPOP", "l", 900)
    leader.ask("PEXPIRE", "l", 10**9)
    follow(node, leader)
    node = node.kill()
    node.apply(len(node.unapplied))
    store(node)
    assert rows(node, ITEM) == 100


def test_a_queue_is_swept_in_memory_as_it_is_applied():
    leader, node = new_node(), new_follower()
    leader.ask("RPUSH", "q", *range(10))
    follow(node, leader)
    before = node.tip.bytes
    for i in range(3000):
        leader.ask("RPUSH", "q", i)
        leader.ask("LPOP", "q")
    follow(node, leader)
    assert node.tip.bytes < before + 3000
    node.check()


def test_a_membership_moves_positions_and_nothing_else():
    node = new_follower()
    node.sequencer.apply(1, 1, 100, MEMBERSHIP)
    node.sequencer.apply(1, 2, 101, b"")
    assert (node.sequencer.applied, node.sequencer.durable_index) == (2, 2)
    assert node.tip.watermark == node.tip.durable == 101
    assert node.tip.statistics()["records"] == 0


@pytest.mark.parametrize(
    "entry",
    [
        (1, 1, 20, b""),  # again
        (1, 3, 20, b""),  # a gap
        (0, 2, 20, b""),  # a term that falls
        (1, 2, 10, b""),  # time that stands still
        (1, 2, 20, b"\x04"),  # no such operation
        (1, 2, 20, b"\x01\x00\x00"),  # no key
        (1, 2, 20, b"\x01\x09P" + bytes(8) + b"\x00"),  # pending, and no type
        (1, 2, 20, b"\x01\x04Nids\x01x"),
    ],
)
def test_entries_that_cannot_follow_are_refused(entry):
    sequencer = new_follower().sequencer
    sequencer.apply(1, 1, 10, b"")
    with pytest.raises(CorruptionError):
        sequencer.apply(*entry)


def test_large_entries_are_applied_as_they_were_made():
    """They are looked at ahead, in waves: of one database and of two, over keys that are there."""
    leader, node = new_node(), new_follower()
    names = [f"k{i}" for i in range(200)]
    leader.ask("MSET", *(word for name in names for word in (name, "old")))
    session = leader.session()
    several = [("SET", name, "new") for name in names[:50]] + [("SELECT", "1")]
    several += [("SET", name, "other") for name in names[:40]] + [("SELECT", "0")]
    several += [("DEL", *names[50:120]), ("RPUSH", "l", *range(90))]
    for words in (("MULTI",), *several, ("EXEC",)):
        leader.settle(session, encode(*words))
    follow(node, leader)
    node.check()
    node.lead()
    expected = [b"new"] * 50 + [None] * 70 + [b"old"] * 80
    assert node.ask("MGET", *names) == expected
    assert node.ask("LLEN", "l") == 90


def test_entries_that_end_early_are_refused_or_end_between_operations():
    leader = new_node()
    for i in range(2):
        leader.ask("MSET", *(f"k{j}" if part == 0 else i for j in range(4) for part in range(2)))
    index = leader.sequencer.committed
    payload = leader.entries[index][1]
    whole = 0
    for end in range(len(payload)):
        sequencer = new_follower().sequencer
        try:
            sequencer.apply(1, 1, 10, payload[:end])
        except CorruptionError:
            continue
        whole += 1
    assert 4 <= whole <= 8


def test_a_leader_applies_nothing():
    leader = new_node()
    leader.sequencer.serving = True
    last = leader.sequencer.last_index
    with pytest.raises(InvariantError):
        leader.sequencer.apply(9, last + 1, 1 << 60, b"")


@pytest.mark.parametrize("late", [0, 1, 3])
def test_own_entries_count_once_those_of_others_are_applied(late):
    leader, node = new_node(), new_follower()
    for i in range(5):
        leader.ask("SET", "k", i)
    leader.sync()
    term, last = leader.sequencer.term, leader.sequencer.committed
    node.receive([(term, i, *leader.entries[i]) for i in range(1, last + 1)])
    node.lead(late)
    assert node.sequencer.committed == node.sequencer.last_index
    assert node.ask("GET", "k") == b"4"
    assert node.view.first_unused_id == leader.view.first_unused_id


def store_ahead(node: FollowerNode, kinds: tuple[int, ...]) -> None:
    """A checkpoint dies when rows of some kinds are in LevelDB, and its record is not."""
    write = node.engine.write

    def of_kinds(rows, sync=False):
        write([row for row in rows if row[0][0] in kinds], sync=sync)

    node.engine.write = of_kinds
    node.checkpoint()
    del node.engine.write


def list_after_restart(*, is_counter_known):
    """Make a list, stop with its id in LevelDB and its checkpoint not; return what it is then."""
    leader, node = new_node(), new_follower()
    leader.ask("SET", "k", 1)
    follow(node, leader)
    node.checkpoint()
    leader.ask("RPUSH", "l", "a", "b")
    follow(node, leader)
    store_ahead(node, (COUNTER,))
    node = node.kill()
    if not is_counter_known:  # as if only the checkpoint said which ids are used
        node.tip.fresh_id = node.checkpointer.last.next_id
    node.apply(ALL)
    store(node)
    leader.ask("RPUSH", "l", "c")
    follow(node, leader)
    node.lead()
    return node.ask("LRANGE", "l", 0, -1)


def test_a_collection_is_not_new_again_whose_id_the_store_knows_already():
    """Else what is evicted of it would be taken for never having been there."""
    assert list_after_restart(is_counter_known=True) == [b"a", b"b", b"c"]
    with pytest.raises(InvariantError, match="lacks an item"):
        list_after_restart(is_counter_known=False)
