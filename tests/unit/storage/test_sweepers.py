"""Expired heads, trash and history, one sequence of events at a time."""

import pytest

from kvnode._core.keys import kind_bounds
from kvnode._core.pinned import NEWEST, UNKNOWN, record_at
from kvnode._core.upkeep import TRASH_COLLECTION
from kvnode.base import limits
from tests.support.storage_rig import CHUNKED, Rig, put, string_value, trash_key, u64

SET = 5  # ValueType of entries.pxd


def rows(rig, kind):
    return rig.engine.scan_keys(*kind_bounds(ord(kind)), limit=1 << 20)


def go_cold(rig):
    rig.sync()
    rig.checkpoint()
    rig.tip.evict(0, 1_000_000)
    rig.tip.evict(0, 1_000_000)


def run_expiry(rig, steps=30):
    rig.expiry.rewind()
    for _ in range(steps):
        rig.step_expiry()
        rig.writer.run()
        rig.reader.run()


def run_trash(rig, steps=60):
    for _ in range(steps):
        rig.step_trash()
        rig.writer.run()
        rig.sync()


# -- expiry ---------------------------------------------------------------------------------------


def test_expired_heads_leave_the_disk_untouched_by_anybody():
    check_expiry(Rig())


def test_a_store_that_loses_expiry_rows_is_noticed():
    rig = Rig()
    write = rig.engine.write

    def lossy(rows, *, sync=False):
        write([row for row in rows if row[0][:1] != b"X" or row[1] is None], sync=sync)

    rig.engine.write = lossy
    with pytest.raises(AssertionError):
        check_expiry(rig)


def test_a_sweeper_that_looks_at_memory_only_is_noticed():
    rig = Rig()
    rig.expiry.rewind = lambda: None
    with pytest.raises(AssertionError):
        check_expiry(rig)


def check_expiry(rig):
    count = 2 * limits.EXPIRY_ROWS_PER_READ + 1
    rig.write({b"k%d" % i: string_value(b"1", rig.now_ms + 1000 + i) for i in range(count)})
    rig.write({b"stays": string_value(b"1")})
    go_cold(rig)
    assert len(rows(rig, "X")) == count
    run_expiry(rig)
    assert len(rig.state) == count + 1
    rig.now_ms += 1000 + count
    run_expiry(rig)
    assert len(rig.state) == 1
    go_cold(rig)
    assert rows(rig, "H") == [rig.key(b"stays")]
    run_expiry(rig)
    assert rows(rig, "X") == []


def test_a_deadline_in_memory_needs_no_checkpoint():
    rig = Rig()
    rig.write({b"k": string_value(b"1", rig.now_ms + 5)})
    rig.now_ms += 4
    rig.step_expiry()
    assert rig.state
    rig.now_ms += 1
    rig.step_expiry()
    assert not rig.state


def test_a_deadline_that_moved_out_is_filed_again():
    """Hard case 30: the row is a hint; one for each key, and it follows when it is found early."""
    for is_cold in (False, True):
        rig = Rig()
        first = rig.now_ms + 1000
        rig.write({b"k": string_value(b"1", first)})
        rig.sync()
        rig.checkpoint()
        rig.write({b"k": string_value(b"2", first + 5000)})
        if is_cold:
            go_cold(rig)
        rig.sync()
        assert [row[1:9] for row in rows(rig, "X")] == [u64(first)]
        rig.now_ms = first
        run_expiry(rig)
        assert [row[1:9] for row in rows(rig, "X")] == [u64(first + 5000)]
        go_cold(rig)
        rig.now_ms = first + 5000
        run_expiry(rig)
        assert not rig.state


def test_a_deadline_that_was_taken_back_leaves_no_row():
    rig = Rig()
    rig.write({b"k": string_value(b"1", rig.now_ms + 1000)})
    rig.sync()
    rig.checkpoint()
    rig.write({b"k": string_value(b"2")})
    rig.sync()
    rig.now_ms += 1000
    run_expiry(rig)
    assert rows(rig, "X") == []
    rig.write({b"k": string_value(b"3", rig.now_ms + 2000)})
    go_cold(rig)
    assert [row[1:9] for row in rows(rig, "X")] == [u64(rig.now_ms + 2000)]


def test_a_row_stays_while_the_deletion_is_not_durable():
    rig = Rig()
    rig.write({b"k": string_value(b"1", rig.now_ms + 1000)})
    rig.sync()
    rig.checkpoint()
    rig.write({b"k": None})
    rig.now_ms += 1000
    run_expiry(rig)
    assert len(rows(rig, "X")) == 1
    rig.sync()
    run_expiry(rig)
    assert rows(rig, "X") == []


def test_deadlines_in_memory_go_when_rows_cover_them():
    rig = Rig()
    rig.write({b"k%d" % i: string_value(b"1", rig.now_ms + 10**6) for i in range(100)})
    assert rig.tip.statistics()["deadlines"] == 100
    rig.sync()
    rig.checkpoint()
    assert rig.tip.statistics()["deadlines"] == 0


def test_an_idle_sweeper_does_not_read():
    rig = Rig()
    rig.write({b"k": string_value(b"1", rig.now_ms + 1000)})
    go_cold(rig)
    run_expiry(rig)
    for _ in range(10):
        rig.step_expiry()
        assert len(rig.reader) == 0
    rig.now_ms += 1000
    rig.step_expiry()
    assert len(rig.reader) == 1


# -- trash ----------------------------------------------------------------------------------------


def test_a_dead_generation_leaves_memory_and_disk():
    rig = Rig()
    rig.write({b"k%d" % i: string_value(b"1") for i in range(3 * limits.SWEEP_ROWS_PER_STEP)})
    rig.write({b"big": CHUNKED, b"due": string_value(b"1", rig.now_ms + 1000)})
    rig.sync()
    rig.checkpoint()
    before = rig.tip.bytes
    rig.flush_database()
    rig.sync()
    rig.step_trash()
    assert rig.trash.wants_checkpoint
    rig.checkpoint()
    assert not rig.trash.wants_checkpoint
    run_trash(rig)
    assert rig.tip.bytes < before / 20
    assert [rows(rig, kind) for kind in "HCX"] == [[], [], []]
    assert len(rows(rig, "T")) == 1  # until the deletions are durable
    rig.checkpoint()
    run_trash(rig)
    rig.checkpoint()
    assert rows(rig, "T") == []
    rig.check_store()


def test_a_value_that_moved_on_outlives_its_old_generation():
    rig = Rig()
    rig.write({b"big": CHUNKED})
    go_cold(rig)
    rig.flush_database(kept=b"big")
    rig.settle()
    rig.check_store()
    assert len(rows(rig, "C")) == 3


def test_trash_waits_for_durability_and_for_pins():
    """Hard case 10: the sweeper does not run ahead of truth."""
    rig = Rig()
    rig.write({b"big": CHUNKED})
    rig.sync()
    rig.checkpoint()
    rig.pin()
    rig.write({b"big": None})
    rig.step_trash()
    assert rig.trash.statistics()["sweeping"] == 0  # not durable
    rig.sync()
    rig.step_trash()
    assert rig.trash.statistics()["sweeping"] == 0  # pinned
    go_cold(rig)
    rig.check_pin(rig.pins[0])
    rig.unpin(0)
    rig.step_trash()
    assert rig.trash.statistics()["sweeping"] == 1


def test_a_value_that_is_being_written_is_no_trash():
    rig = Rig()
    rig.write({b"big": CHUNKED})
    rig.write({b"big": None})
    rig.sync()
    rig.trash._is_staged = lambda dead: True
    rig.step_trash()
    assert rig.trash.statistics()["sweeping"] == 0


def test_chunks_that_never_reached_leveldb_are_not_written():
    rig = Rig()
    rig.write({b"big": CHUNKED})
    rig.write({b"big": string_value(b"small")})
    rig.sync()
    rig.step_trash()
    rig.checkpoint()
    assert rows(rig, "C") == []


# -- history --------------------------------------------------------------------------------------


def test_history_goes_when_its_pins_go():
    """Hard case 17: older versions are kept for pins, and for nobody else."""
    rig = Rig()
    for i in range(3):
        rig.write({b"k": string_value(b"%d" % i)})
        rig.pin()
    rig.write({b"k": string_value(b"last")})
    rig.sync()
    rig.checkpoint()
    assert len(rows(rig, "Y")) == 3
    for left in (2, 1, 0):
        rig.unpin(1 if left == 2 else 0)
        for _ in range(3):
            rig.history.step()
            rig.writer.run()
        assert len(rows(rig, "Y")) == left
        for pin in rig.pins:
            rig.check_pin(pin)


def test_no_history_survives_a_restart():
    rig = Rig()
    count = limits.HISTORY_ROWS_PER_STEP + 1
    rig.write({b"k%d" % i: string_value(b"1") for i in range(count)})
    rig.sync()
    rig.pin()
    rig.write({b"k%d" % i: string_value(b"2") for i in range(count)})
    rig.sync()
    rig.checkpoint()
    assert len(rows(rig, "Y")) == count
    rig.start()
    for _ in range(4):
        rig.history.step()
        rig.writer.run()
    assert rows(rig, "Y") == []
    assert len(rig.writer) == 0


def test_without_pins_nothing_goes_to_the_history():
    rig = Rig()
    for i in range(3):
        rig.write({b"k": string_value(b"%d" % i)})
        rig.sync()
        rig.checkpoint()
    assert rows(rig, "Y") == []
    assert record_at(rig.tip, rig.key(b"k"), NEWEST)[0] != UNKNOWN


# -- dead collections -----------------------------------------------------------------------------


def test_a_dead_collection_is_swept_without_a_look_back():
    """LevelDB steps over deleted rows that come before the first: a place is kept instead."""
    rig = Rig()
    dead, count = 77, 2 * limits.SWEEP_ROWS_PER_STEP + 1
    members = [b"M" + u64(dead) + u64(i) + b"m" for i in range(count)]
    rig.engine.write([(key, b"v") for key in members])
    rig.apply(put(trash_key(dead), bytes((TRASH_COLLECTION, SET))), {})
    rig.sync()
    begins = []
    scan_keys = rig.engine.scan_keys

    def watched(lo, hi, limit):
        begins.append(lo)
        return scan_keys(lo, hi, limit)

    rig.engine.scan_keys = watched
    run_trash(rig)
    assert rows(rig, "M") == []
    step = limits.SWEEP_ROWS_PER_STEP
    assert [lo for lo in begins if lo[:1] == b"M"][:3] == [
        members[0][:9],
        members[step - 1] + b"\0",
        members[2 * step - 1] + b"\0",
    ]
