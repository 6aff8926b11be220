"""The checker of the crash tests: each kind of broken promise must be told from a kept one."""

from tests.crash.ledger import Operation, SharedLedger, WriterLedger

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
