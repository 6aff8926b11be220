"""The checker of the crash tests: each kind of broken promise must be told from a kept one."""

import pytest

from tests.crash.ledger import Operation, SharedLedger, WriterLedger
from tests.crash.queue_ledger import QueueLedger
from tests.crash.values import HASH, LIST, ZSET, Collection

COUNTER, LEFT, RIGHT = b"counter", b"left", b"right"


def put(key, value):
    return Operation("SET", b"", 1, [(key, lambda _: value)])


def writer(*operations, acknowledged):
    ledger = WriterLedger("w0")
    ledger.operations = list(operations)
    ledger.acknowledged = acknowledged
    return ledger


def test_any_prefix_with_all_acknowledged_is_right():
    ledger = writer(put(b"a", b"1"), put(b"b", b"2"), put(b"a", b"3"), acknowledged=1)
    assert ledger.verify({b"a": b"1"}) == []
    assert ledger.verify({b"a": b"1", b"b": b"2"}) == []
    assert ledger.verify({b"a": b"3", b"b": b"2"}) == []


def test_lost_acknowledged_write_is_found():
    ledger = writer(put(b"a", b"1"), put(b"a", b"2"), acknowledged=2)
    (wrong,) = ledger.verify({b"a": b"1"})
    assert "as after operation 1" in wrong
    assert ledger.verify({}) != []


def test_hole_in_the_order_is_found():
    ledger = writer(put(b"a", b"1"), put(b"b", b"2"), acknowledged=0)
    assert ledger.verify({b"b": b"2"}) != []


def test_half_of_an_operation_is_found():
    both = Operation("MSET", b"", 1, [(LEFT, lambda _: b"1"), (RIGHT, lambda _: b"1")])
    ledger = writer(both, acknowledged=0)
    assert ledger.verify({}) == []
    assert ledger.verify({LEFT: b"1", RIGHT: b"1"}) == []
    assert ledger.verify({LEFT: b"1"}) != []


def test_invented_value_is_found():
    (wrong,) = writer(put(b"a", b"1"), acknowledged=1).verify({b"a": b"7"})
    assert "nobody wrote" in wrong
    assert writer(acknowledged=0).verify({b"z": b"1"}) != []


def test_what_a_reader_saw_is_binding():
    ledger = writer(put(b"a", b"1"), put(b"a", b"2"), acknowledged=0)
    ledger.note_seen(0)
    assert ledger.verify({}) != []
    assert ledger.verify({b"a": b"1"}) == []


def test_what_a_verification_saw_is_binding():
    ledger = writer(put(b"a", b"1"), acknowledged=0)
    ledger.rebase({b"a": b"1"})
    assert ledger.next_sequence == 1
    assert ledger.verify({}) != []


def shared():
    return SharedLedger([COUNTER], [b"x", b"y"], [LEFT, RIGHT])


def test_counter_lies_between_acknowledged_and_sent():
    ledger = shared()
    for _ in range(3):
        ledger.send_increment(COUNTER)
    ledger.acknowledge_increment(COUNTER, 1)
    assert ledger.verify({COUNTER: b"1"}) == []
    assert ledger.verify({COUNTER: b"3"}) == []
    assert ledger.verify({COUNTER: b"4"}) != []
    assert ledger.verify({}) != []
    ledger.see_counter(COUNTER, 2)
    assert ledger.verify({COUNTER: b"1"}) != []
    ledger.acknowledge_increment(COUNTER, 1)
    assert "same reply" in ledger.verify({COUNTER: b"2"})[0]


def test_transfers_keep_the_sum():
    assert shared().verify({b"x": b"-5", b"y": b"5"}) == []
    assert shared().verify({b"x": b"-5"}) != []


def test_pair_is_whole_and_not_older_than_acknowledged():
    ledger = shared()
    ledger.send_pair(b"1", 1.0)
    ledger.settle_pair(b"1", 2.0)
    ledger.send_pair(b"2", 3.0)
    assert ledger.verify({LEFT: b"1", RIGHT: b"1"}) == []
    assert ledger.verify({LEFT: b"2", RIGHT: b"2"}) == []
    assert ledger.verify({LEFT: b"2", RIGHT: b"1"}) != []
    assert ledger.verify({LEFT: b"9", RIGHT: b"9"}) != []
    assert ledger.verify({}) != []
    ledger.settle_pair(b"2", 4.0)
    assert ledger.verify({LEFT: b"1", RIGHT: b"1"}) != []


def test_forgiven_writes_may_be_lost_but_not_by_half():
    ledger = writer(put(b"a", b"1"), put(b"b", b"2"), acknowledged=2)
    ledger.forgive()
    assert ledger.verify({}) == []
    assert ledger.verify({b"b": b"2"}) != []
    both = shared()
    both.send_pair(b"1", 1.0)
    both.settle_pair(b"1", 2.0)
    both.forgive()
    assert both.verify({}) == []
    assert both.verify({LEFT: b"1"}) != []


def test_lost_element_deadline_or_type_is_found():
    value = Collection(HASH, {b"f": (b"1", True)}, has_deadline=True)
    ledger = writer(put(b"h", value), acknowledged=1)
    assert ledger.verify({b"h": Collection(HASH, {b"f": (b"1", True)}, has_deadline=True)}) == []
    for wrong in (
        Collection(HASH, {b"f": (b"1", False)}, has_deadline=True),
        Collection(HASH, {b"f": (b"1", True)}),
        Collection(HASH, {}),
        Collection(LIST, (b"f",), has_deadline=True),
    ):
        assert ledger.verify({b"h": wrong}) != []


def test_transfers_between_collections_keep_the_sum():
    ledger = SharedLedger([], [], [LEFT, RIGHT], [b"h", b"z"])
    purse = Collection(HASH, {b"p": (b"-5", False)})
    assert ledger.verify({b"h": purse, b"z": Collection(ZSET, {b"p": 5.0})}) == []
    assert ledger.verify({b"h": purse}) != []


A, B, C = b"1:w0:1:", b"2:w0:1:", b"3:w0:1:"


def queue(*pushed, base=()):
    """Books of a queue to which w0 pushed, acknowledged, one element a push."""
    ledger = QueueLedger()
    ledger.rebase(base, {}, {})
    for element in pushed:
        ledger.send_push("w0", [element])
        ledger.acknowledge_push("w0")
    return ledger


def test_kept_queue_is_right():
    ledger = queue(A, B, C)
    ledger.send_pop(1)
    ledger.acknowledge_pop(1, [A])
    assert ledger.verify((B, C), {}, None) == []
    assert ledger.verify((C,), {"c1": (B,)}, None) == []


def test_lost_element_is_found_unless_a_pop_was_open():
    ledger = queue(A, B)
    assert "is lost" in ledger.verify((B,), {}, None)[0]
    ledger = queue(A, B)
    ledger.send_pop(1)
    assert ledger.verify((B,), {}, None) == []
    assert ledger.verify((), {}, None) != []


@pytest.mark.parametrize("observed", [(A, B), (B, B), (C, B), (b"9:w0:1:", B)])
def test_element_that_comes_back_or_twice_or_from_nowhere_is_found(observed):
    ledger = queue(B, base=(A,))
    ledger.send_pop(1)
    ledger.acknowledge_pop(1, [A])
    assert ledger.verify((B,), {}, None) == []
    assert ledger.verify(observed, {}, None) != []


def test_element_popped_twice_is_found():
    ledger = queue(A)
    for _ in range(2):
        ledger.send_pop(1)
        ledger.acknowledge_pop(1, [A])
    assert "popped twice" in ledger.verify((), {}, None)[0]


def test_moved_element_stays_until_its_removal_was_sent():
    ledger = queue(A, B)
    ledger.acknowledge_move(A)
    ledger.send_pop(1)
    assert ledger.verify((B,), {"c1": (A,)}, None) == []
    assert "was moved and is lost" in ledger.verify((B,), {}, None)[0]
    ledger = queue(A, B)
    ledger.acknowledge_move(A)
    ledger.send_removal(A)
    assert ledger.verify((B,), {}, None) == ledger.verify((B,), {"c1": (A,)}, None) == []
    ledger.acknowledge_removal(A)
    assert "is back" in ledger.verify((B,), {"c1": (A,)}, None)[0]


def test_order_is_kept():
    assert "out of order" in queue(A, B).verify((B, A), {}, None)[0]
    ledger = queue(A, B)
    ledger.acknowledge_move(B)
    assert "behind it was taken" in ledger.verify((A,), {"c1": (B,)}, None)[0]


def test_the_tally_says_which_pushes_were_done():
    ledger = queue()
    ledger.send_push("w0", [A])
    ledger.send_push("w0", [B])
    assert ledger.verify((A,), {}, {"w0": 1}) == []
    for observed, tally in (((A, B), 1), ((A,), 2), ((), 1)):
        ledger = queue()
        ledger.send_push("w0", [A])
        ledger.send_push("w0", [B])
        assert ledger.verify(observed, {}, {"w0": tally}) != []
    ledger = queue(A)
    assert "lacks" in ledger.verify((), {}, {"w0": 0})[0]


def test_forgiven_pops_may_be_undone():
    ledger = queue(A, B)
    ledger.send_pop(1)
    ledger.acknowledge_pop(1, [A])
    ledger.forgive()
    assert ledger.verify((A, B), {}, None) == ledger.verify((), {}, None) == []
