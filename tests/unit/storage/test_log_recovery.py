"""Recovery of the log: torn tails are cut, damage is named, nothing is guessed (hard case 11)."""

import random
import struct
from contextlib import suppress
from types import SimpleNamespace

import pytest

from kvnode._core import crc32c
from kvnode.base.errors import CorruptionError, FormatError, StorageIOError
from kvnode.storage.log import Entry, SegmentWriter, segment_path
from kvnode.storage.log_format import (
    HEADER_BYTES,
    MAGIC,
    RECORD_HEADER_BYTES,
    Header,
    Link,
    decode_header,
    encode_header,
    encode_link,
    encode_record,
    record_bytes,
    seed_of,
)
from kvnode.storage.log_recovery import create_log, open_replay, recover_log
from tests.sim.disk import Fault, SimDisk

DIRECTORY = "/data/log"
SEGMENT_BYTES = 8192


def open_log(disk, *, id_seed=1, checkpoint=0, segment_bytes=SEGMENT_BYTES):
    """Recover and return (recovered, a writer that goes on)."""
    log = recover_log(
        disk, DIRECTORY, checkpoint_index=checkpoint, segment_bytes=segment_bytes, id_seed=id_seed
    )
    writer = SegmentWriter(disk, DIRECTORY, log.start, segment_bytes=segment_bytes, id_seed=id_seed)
    return log, writer


def entry(index, term=1, size=20):
    return Entry(term, index, index << 16, random.Random(index * 1000 + term).randbytes(size))


def replayed(disk, log, first=1, last=1 << 62):
    return [Entry(*e) for e in open_replay(disk, DIRECTORY, log, first, last)]


def flip(disk, path, offset, mask=0x10):
    data = bytearray(disk.contents(path))
    data[offset] ^= mask
    disk.put(path, bytes(data))


def test_bytes_of_a_segment():
    """The format as FORMATS.md has it, byte for byte."""
    block = encode_header(Header(0x0102030405060708, 9, 65536))
    assert len(block) == HEADER_BYTES
    assert block[:44].hex() == (
        MAGIC.hex() + "00000001" + "00000000" + "0102030405060708" + "0000000000000009"
        "0000000000010000" + "5683beb9"
    )
    seed = seed_of(0x0102030405060708)
    link, chain = encode_link(seed, Link(8, 5000, 0xAABBCCDD, 2, 41, 7))
    assert len(link) == 72
    assert link.hex() == (
        "b0b24abd" + "a1216de0"
        "00000014" + "03000000" + "0000000000000002" + "0000000000000029" + "0000000000000007"
        "0000000000001000" + "0000000000000008" + "0000000000001388" + "aabbccdd" + "00000000"
    )
    record, _ = encode_record(
        seed, chain, kind=1, term=2, index=42, commit_ts=8, synced=4168, payload=b"hello"
    )
    assert record.hex() == (
        "f4b75988" + "60dec7ed" + "00000005" + "01000000" + "0000000000000002"
        "000000000000002a" + "0000000000000008" + "0000000000001048" + "68656c6c6f000000"
    )


def test_header_of_a_newer_format_is_refused():
    start = struct.pack(">8sIIQQQ", MAGIC, 2, 0, 1, 1, 8192)
    block = start + struct.pack(">I", crc32c.extend(0, start))
    with pytest.raises(FormatError):
        decode_header("x.seg", block.ljust(HEADER_BYTES, b"\0"))


def test_new_log_is_empty_and_durable():
    disk = SimDisk()
    log, _ = open_log(disk)
    assert (log.first_index, log.last_index, log.terms()) == (1, 0, [(0, 0)])
    disk.crash(random.Random(1))
    log, _ = open_log(disk, id_seed=2)
    assert (log.first_index, log.last_index, log.is_torn) == (1, 0, False)


def test_restarts_without_entries_leave_one_segment():
    disk = SimDisk()
    for id_seed in range(5):
        open_log(disk, id_seed=id_seed)
    assert len(disk.list(DIRECTORY)) == 1


def test_synced_entries_survive_and_are_not_copied_again():
    disk = SimDisk()
    _, writer = open_log(disk)
    writer.write_group([entry(i) for i in range(1, 10)])
    writer.sync()
    writer.write_mark()
    writer.sync()
    disk.crash(random.Random(1))
    log, _ = open_log(disk, id_seed=2)
    assert replayed(disk, log) == [entry(i) for i in range(1, 10)]
    assert log.copied_entries == 0
    assert not log.is_torn


def test_entries_in_the_page_cache_are_made_durable_before_use():
    """Hard case 11a: kill -9 between write and sync, restart, then the power fails."""
    disk = SimDisk()
    _, writer = open_log(disk)
    writer.write_group([entry(1)])
    writer.sync()
    writer.write_group([entry(2)])
    disk.kill()
    log, _ = open_log(disk, id_seed=2)
    assert replayed(disk, log) == [entry(1), entry(2)]
    assert log.copied_entries >= 1
    for seed in range(10):
        copy = disk.copy()
        copy.crash(random.Random(seed))
        assert replayed(copy, open_log(copy, id_seed=3)[0]) == [entry(1), entry(2)]


def test_crash_during_recovery_loses_nothing():
    disk = SimDisk()
    _, writer = open_log(disk)
    writer.write_group([entry(i) for i in range(1, 30)])
    writer.sync()
    writer.write_group([entry(30)])
    writer.sync()
    disk.kill()
    for after in range(12):
        for call in ("fdatasync", "rename", "fsync_dir", "unlink", "truncate", "pwrite"):
            copy = disk.copy()
            copy.faults.append(Fault(call, after=after))
            with suppress(StorageIOError):
                open_log(copy, id_seed=2)
            copy.crash(random.Random(after))
            log, _ = open_log(copy, id_seed=3)
            assert replayed(copy, log) == [entry(i) for i in range(1, 31)], (call, after)


def test_tail_that_was_replaced_stays_replaced():
    """Hard case 11c: a new entry 5 is followed by old records whose CRCs are good."""
    disk = SimDisk()
    _, writer = open_log(disk)
    writer.write_group([entry(i) for i in range(1, 9)])
    writer.sync()
    writer.write_group([entry(5, term=2)])
    writer.sync()
    for id_seed in (2, 3):
        log, writer = open_log(disk, id_seed=id_seed)
        assert replayed(disk, log) == [*(entry(i) for i in range(1, 5)), entry(5, term=2)]
        assert log.terms() == [(0, 0), (1, 1), (5, 2)]
    writer.write_group([entry(6, term=3), entry(7, term=3)])
    writer.sync()
    writer.write_group([entry(4, term=4)])
    writer.sync()
    log, _ = open_log(disk, id_seed=4)
    assert replayed(disk, log) == [*(entry(i) for i in range(1, 4)), entry(4, term=4)]
    assert replayed(disk, log, 2, 3) == [entry(2), entry(3)]


def test_an_older_term_may_replace_a_newer_one():
    """Entry 9 of term 5 was replaced by one of term 7; the leader of term 8 brings it back."""
    disk = SimDisk()
    _, writer = open_log(disk)
    writer.write_group([entry(i, 5) for i in range(1, 10)])
    writer.write_group([entry(9, 7), entry(10, 7)])
    writer.write_group([entry(9, 5), entry(10, 8)])
    writer.sync()
    disk.crash(random.Random(1))
    log, _ = open_log(disk, id_seed=2)
    wanted = [entry(i, 5) for i in range(1, 10)] + [entry(10, 8)]
    assert replayed(disk, log) == wanted
    assert log.terms() == [(0, 0), (1, 5), (10, 8)]
    assert (log.start.last_term, log.last_index) == (8, 10)


@pytest.mark.parametrize(
    ("index", "term"),
    [(9, 4), (9, 7), (7, 5)],  # below its predecessor's term; twice the term that is there
)
def test_what_cannot_replace_is_damage(index, term):
    disk = SimDisk()
    _, writer = open_log(disk)
    writer.write_group([entry(i, 5) for i in range(1, 9)])
    writer.write_group([entry(9, 7), entry(10, 7), entry(index, term)])
    writer.sync()
    disk.crash(random.Random(1))
    before = disk.list(DIRECTORY)
    with pytest.raises(CorruptionError, match=f"entry {index} of term {term} cannot follow"):
        open_log(disk, id_seed=2)
    assert disk.list(DIRECTORY) == before


def test_base_of_a_log_that_went_back_before_it_was_cut():
    """The oldest segment's link names entry 100, which the first entry in it replaced."""
    disk = SimDisk()
    _, writer = open_log(disk)
    writer.write_group([entry(i) for i in range(1, 101)])
    writer._switch_segment(0)
    oldest = writer.sequence
    writer.write_group([entry(i, 2) for i in range(95, 150)])
    writer.write_group([entry(i, 3) for i in range(120, 300)])
    writer.sync()
    writer.cut(130)
    disk.fsync_dir(DIRECTORY)
    disk.crash(random.Random(1))
    log, _ = open_log(disk, id_seed=2, checkpoint=130)
    assert log.segments[0].header.sequence == oldest
    assert (log.base.index, log.base.term, log.first_index) == (95, 2, 96)
    assert log.terms() == [(95, 2), (120, 3)]
    assert replayed(disk, log, 131) == [entry(i, 3) for i in range(131, 300)]
    again, _ = open_log(disk, id_seed=3, checkpoint=130)
    assert again.terms() == log.terms()


@pytest.mark.parametrize("is_synced", [False, True])
def test_a_segment_stays_until_the_link_behind_it_is_durable(is_synced):
    """A checkpoint of all that it holds ends just when the next one was begun."""
    disk = SimDisk()
    _, writer = open_log(disk)
    writer.write_group([entry(i) for i in range(1, 101)])
    writer.sync()
    writer._switch_segment(0)
    writer.write_group([entry(101)])
    if is_synced:
        writer.sync()
    writer.cut(100)
    assert len(disk.list(DIRECTORY)) == (1 if is_synced else 2)
    disk.fsync_dir(DIRECTORY)
    disk.crash(SimpleNamespace(random=lambda: 1.0))  # nothing stays of what is not durable
    log, _ = open_log(disk, id_seed=2, checkpoint=100)
    assert log.last_index == (101 if is_synced else 100)


def test_before_a_base_nothing_is_replaced():
    disk = SimDisk()
    disk.make_dir(DIRECTORY)
    base = Link(0, 0, 0, 1, 100, 100 << 16)
    start = create_log(disk, DIRECTORY, segment_bytes=SEGMENT_BYTES, id_seed=1, base=base).start
    writer = SegmentWriter(disk, DIRECTORY, start, segment_bytes=SEGMENT_BYTES, id_seed=1)
    writer.write_group([entry(100, 2)])
    writer.sync()
    with pytest.raises(CorruptionError, match="entry 100 of term 2 cannot follow"):
        open_log(disk, id_seed=2, checkpoint=100)


@pytest.mark.parametrize("count", [0, 5, 400])
def test_a_log_with_the_base_of_an_image_recovers(count):
    disk = SimDisk()
    base = Link(0, 0, 0, 4, 1000, 1000 << 16)
    start = create_log(disk, DIRECTORY, segment_bytes=SEGMENT_BYTES, id_seed=1, base=base).start
    writer = SegmentWriter(disk, DIRECTORY, start, segment_bytes=SEGMENT_BYTES, id_seed=1)
    wanted = [entry(i, 5) for i in range(1001, 1001 + count)]
    writer.write_group(wanted)
    writer.sync()
    for life in range(2, 5):
        disk.crash(random.Random(life))
        log, writer = open_log(disk, id_seed=life, checkpoint=1000)
        assert replayed(disk, log) == wanted
        assert log.terms() == [(1000, 4)] + [(1001, 5)] * bool(count)
        assert (log.first_index, log.last_index) == (1001, 1000 + count)
        wanted.append(entry(1001 + count, 5))
        count += 1
        writer.write_group(wanted[-1:])
        writer.sync()
    with pytest.raises(CorruptionError, match="begins after entry 1000"):
        open_log(disk, id_seed=9, checkpoint=999)


def test_memberships_are_found():
    def membership(index, term=1):
        return Entry(term, index, index << 16, b"\x03%d" % index)

    disk = SimDisk()
    _, writer = open_log(disk)
    writer.write_group([membership(1), *(entry(i) for i in range(2, 200)), membership(200)])
    writer.sync()
    writer.write_group([entry(i) for i in range(201, 205)])
    writer.write_group([membership(205), membership(206)])
    writer.sync()
    writer.write_group([membership(206, 2)])
    disk.kill()
    log, writer = open_log(disk, id_seed=2)
    assert log.memberships(0) == [(i, b"\x03%d" % i) for i in (1, 200, 205, 206)]
    assert log.memberships(200) == log.memberships(0)[2:]
    writer.write_group([entry(205, 3)])
    writer.sync()
    log, _ = open_log(disk, id_seed=3)
    assert [index for index, _ in log.memberships(0)] == [1, 200]


def test_impossible_order_is_damage():
    for bad in (entry(7), entry(3), entry(6, term=0)):
        disk = SimDisk()
        _, writer = open_log(disk)
        writer.write_group([entry(i) for i in range(1, 6)])
        writer.write_group([bad])
        writer.sync()
        with pytest.raises(CorruptionError, match="cannot follow"):
            open_log(disk, id_seed=2)


def long_log(segments=4):
    """Return a disk with a synced log of several segments, and the last index."""
    disk = SimDisk()
    _, writer = open_log(disk)
    index = 0
    while writer.sequence < segments:
        index += 1
        writer.write_group([entry(index, size=200)])
        writer.sync()
    return disk, index


def test_log_of_many_segments():
    disk, last = long_log()
    log, _ = open_log(disk, id_seed=2)
    assert replayed(disk, log) == [entry(i, size=200) for i in range(1, last + 1)]
    assert [s for s, _ in log.start.closed] == [1, 2, 3]


def test_missing_segment_is_named():
    disk, last = long_log()
    disk.unlink(segment_path(DIRECTORY, 2))
    with pytest.raises(CorruptionError, match="an older segment is missing"):
        open_log(disk, id_seed=2)
    # Once a checkpoint holds all that it held, it is a log that was cut.
    log, _ = open_log(disk, id_seed=2, checkpoint=last - 1)
    assert replayed(disk, log)[-1] == entry(last, size=200)


def test_log_before_its_checkpoint_is_damage():
    disk, last = long_log()
    with pytest.raises(CorruptionError, match="before the checkpoint"):
        open_log(disk, id_seed=2, checkpoint=last + 1)


def test_vanished_log_is_damage():
    with pytest.raises(CorruptionError, match="there is no log"):
        open_log(SimDisk(), checkpoint=10)


def test_end_of_a_full_segment_is_known_from_its_successor():
    """The last record of a segment that has a successor cannot pass for torn."""
    disk, _ = long_log()
    path = segment_path(DIRECTORY, 2)
    end = len(disk.contents(path).rstrip(b"\0"))
    flip(disk, path, end - 3)
    with pytest.raises(CorruptionError, match=r"0002\.seg at byte \d+: a record is damaged"):
        open_log(disk, id_seed=2)


def test_segments_made_ahead_are_removed():
    disk, last = long_log()
    disk.put(segment_path(DIRECTORY, 9), encode_header(Header(5, 9, 8192)) + bytes(4096))
    disk.put(segment_path(DIRECTORY, 10, "tmp"), b"half")
    disk.put(segment_path(DIRECTORY, 1, "old"), b"spare")
    log, _ = open_log(disk, id_seed=2)
    assert log.last_index == last
    assert disk.list(DIRECTORY) == [f"{n:016x}.seg" for n in (1, 2, 3, 10)]


def test_log_after_a_restored_checkpoint():
    disk = SimDisk()
    base = Link(0, 0, 0, 7, 1000, 1000 << 16)
    log = create_log(disk, DIRECTORY, segment_bytes=SEGMENT_BYTES, id_seed=1, base=base)
    writer = SegmentWriter(disk, DIRECTORY, log.start, segment_bytes=SEGMENT_BYTES, id_seed=1)
    writer.write_group([entry(1001, term=7)])
    writer.sync()
    log, _ = open_log(disk, id_seed=2, checkpoint=1000)
    assert log.first_index == 1001
    assert replayed(disk, log) == [entry(1001, term=7)]
    assert log.terms() == [(1000, 7)]


def test_large_tail_gets_a_segment_of_its_size():
    disk = SimDisk()
    _, writer = open_log(disk, segment_bytes=1 << 16)
    writer.write_group([entry(i, size=1000) for i in range(1, 50)])
    disk.kill()
    log, writer = open_log(disk, id_seed=2)
    assert log.copied_entries == 49
    assert log.start.capacity > 50_000
    writer.write_group([entry(50)])
    writer.sync()
    log, _ = open_log(disk, id_seed=3)
    assert log.last_index == 50


def test_record_larger_than_a_segment():
    disk = SimDisk()
    _, writer = open_log(disk)
    large = entry(2, size=50_000)
    writer.write_group([entry(1), large, entry(3)])
    writer.sync()
    log, _ = open_log(disk, id_seed=2)
    assert replayed(disk, log) == [entry(1), large, entry(3)]


def test_residual_hole_is_what_formats_says():
    """The last synced records, without a mark behind them, cannot be told from torn ones."""
    disk = SimDisk()
    _, writer = open_log(disk)
    writer.write_group([entry(1)])
    writer.sync()
    where = writer.offset
    writer.write_group([entry(2)])
    writer.sync()
    unmarked = disk.copy()
    flip(unmarked, segment_path(DIRECTORY, 1), where + RECORD_HEADER_BYTES)
    log, _ = open_log(unmarked, id_seed=2)
    assert log.last_index == 1
    assert log.is_torn
    writer.write_mark()
    writer.sync()
    flip(disk, segment_path(DIRECTORY, 1), where + RECORD_HEADER_BYTES)
    with pytest.raises(CorruptionError, match="was synced"):
        open_log(disk, id_seed=2)
    assert record_bytes(20) == 72
