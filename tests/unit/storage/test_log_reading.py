"""Entries read back from a log that is being written: newest versions, cursors, cuts."""

import os

import pytest

from kvnode._core.logwriter import LogWriter
from kvnode.base.errors import CorruptionError, StorageIOError
from kvnode.base.limits import LOG_CURSORS_MAX, LOG_READ_BYTES
from kvnode.storage.disk import OsDisk
from kvnode.storage.log import Entry, SegmentWriter, segment_path
from kvnode.storage.log_format import Link
from kvnode.storage.log_reading import LogReading
from kvnode.storage.log_recovery import NO_PREDECESSOR, create_log, recover_log
from tests.sim.disk import Fault, SimDisk

DIRECTORY = "/data/log"
SEGMENT_BYTES = 8192
MANY = 1 << 40


def payload(index, term=1):
    return b"%d of %d;" % (index, term) * (index % 7 * 5)


class Log:
    """A log on a simulated disk, with its reader."""

    def __init__(self, base=NO_PREDECESSOR):
        self.disk = SimDisk()
        log = create_log(self.disk, DIRECTORY, segment_bytes=SEGMENT_BYTES, id_seed=1, base=base)
        self.writer = SegmentWriter(
            self.disk, DIRECTORY, log.start, segment_bytes=SEGMENT_BYTES, id_seed=1
        )
        self.reading = LogReading(self.disk, DIRECTORY)

    def write(self, first, last, term=1):
        for i in range(first, last + 1):
            self.writer.write_group([Entry(term, i, i << 16, payload(i, term))])
        self.writer.sync()

    def check(self, first, last, term=1, bytes_max=MANY):
        """Read first..last in as many calls as it takes, and compare; return the calls."""
        calls, at = 0, first
        while at <= last:
            got = self.reading.read(at, last, term, bytes_max)
            assert got == [(term, i, i << 16, payload(i, term)) for i in range(at, at + len(got))]
            assert got
            at += len(got)
            calls += 1
        return calls


def test_entries_are_read_across_segments():
    log = Log()
    log.write(1, 400)
    assert log.writer.sequence > 8
    assert log.check(1, 400) == 1
    assert log.check(390, 400) == 1
    assert log.check(7, 7) == 1


def test_a_call_ends_before_its_bound_but_reads_one():
    log = Log()
    log.write(1, 100)
    got = log.reading.read(1, 100, 1, 200)
    assert sum(len(e[3]) for e in got) <= 200
    assert sum(len(e[3]) for e in got) + len(payload(len(got) + 1)) > 200
    assert [e[1] for e in log.reading.read(6, 100, 1, 0)] == [6, 7]  # 7 is empty
    log.check(1, 100, bytes_max=300)


def test_reading_goes_on_while_the_log_is_written():
    log = Log()
    for i in range(1, 300):
        log.write(i, i)
        log.check(i, i)
    assert log.reading.read(299, 299, 1, MANY)


def test_going_on_costs_what_is_read():
    log = Log()
    log.write(1, 3000)
    calls = log.check(1, 3000, bytes_max=500)
    assert calls > 50
    size = sum(len(log.disk.contents(f"{DIRECTORY}/{n}")) for n in log.disk.list(DIRECTORY))
    assert log.reading.bytes_read < 2 * size


def test_two_readers_in_step_do_not_disturb_each_other():
    log = Log()
    log.write(1, 2000)
    opened = 0
    for first in range(1, 1900, 10):
        for _ in range(2):
            before = len(log.disk.calls)
            assert len(log.reading.read(first, first + 9, 1, MANY)) == 10
            opened = len(log.disk.calls) - before
            assert first == 1 or opened < 30
    assert len(log.reading._places) <= LOG_CURSORS_MAX


def test_the_newest_version_is_read():
    log = Log()
    log.write(1, 200)
    log.write(100, 150, term=2)
    log.write(120, 300, term=3)
    log.check(1, 99, term=1)
    log.check(100, 119, term=2)
    log.check(120, 300, term=3)
    log.check(110, 119, term=2, bytes_max=100)


def test_an_older_term_may_come_back():
    log = Log()
    log.write(1, 9, term=5)
    log.write(9, 9, term=7)
    log.write(9, 9, term=5)
    log.write(10, 10, term=8)
    log.check(9, 9, term=5)
    log.check(10, 10, term=8)


def test_a_tail_is_replaced_behind_a_cursor():
    log = Log()
    log.write(1, 100)
    log.check(1, 50)
    log.write(51, 90, term=2)
    log.check(51, 90, term=2)
    log.write(30, 120, term=3)
    log.check(30, 120, term=3)


def test_what_was_cut_is_not_there():
    log = Log()
    log.write(1, 300)
    log.check(1, 20)
    log.writer.cut(200)
    for first in (1, 100):
        assert log.reading.read(first, first, 1, MANY) == []
    log.check(201, 300)


def test_a_log_with_a_base_has_nothing_before():
    log = Log(Link(0, 0, 0, 4, 1000, 1000 << 16))
    log.write(1001, 1100, term=5)
    log.check(1001, 1100, term=5)
    assert log.reading.read(1000, 1000, 4, MANY) == []
    assert log.reading.read(5, 5, 4, MANY) == []


def test_entries_behind_a_cut_place_of_a_log_that_went_back():
    """The oldest segment left begins, by its link, behind entries that it holds."""
    log = Log()
    log.write(1, 100)
    log.writer._switch_segment(0)  # so that the next one begins with what goes back
    oldest = log.writer.sequence
    log.write(95, 200, term=2)
    log.writer.cut(100)
    assert log.writer._closed[0][0] == oldest
    log.check(95, 200, term=2)
    assert log.reading.read(94, 94, 1, MANY) == []


def test_large_entries_take_one_read_more():
    log = Log()
    log.write(1, 3)
    large = os.urandom(3 * LOG_READ_BYTES)
    log.writer.write_group([Entry(1, 4, 4 << 16, large), Entry(1, 5, 5 << 16, b"")])
    log.writer.sync()
    assert log.reading.read(4, 5, 1, 0) == [(1, 4, 4 << 16, large), (1, 5, 5 << 16, b"")]


def test_damage_is_told():
    log = Log()
    log.write(1, 300)
    path = segment_path(DIRECTORY, 3)
    data = bytearray(log.disk.contents(path))
    data[5000] ^= 1
    log.disk.put(path, bytes(data))
    got = log.reading.read(1, 300, 1, MANY)
    assert 1 < len(got) < 300
    with pytest.raises(CorruptionError, match=r"0003\.seg .* not readable"):
        log.reading.read(len(got) + 1, 300, 1, MANY)


def test_a_read_that_fails_is_told():
    log = Log()
    log.write(1, 10)
    log.disk.faults.append(Fault("read"))
    with pytest.raises(StorageIOError):
        log.reading.read(1, 10, 1, MANY)


def test_beside_the_native_writer(tmp_path):
    """Files are cut, used again and made ahead meanwhile."""
    disk, directory = OsDisk(), str(tmp_path / "log")
    start = recover_log(disk, directory, checkpoint_index=0, segment_bytes=1 << 14, id_seed=7).start
    writer = LogWriter(directory, start, segment_bytes=1 << 14, id_seed=7)
    reading = LogReading(disk, directory)
    at = 1
    for i in range(1, 1501):
        writer.append(1, i, i << 16, payload(i))
        if i % 100 == 0:
            while writer.position()[3] < i:
                os.sched_yield()
            while at <= i - 50:
                got = reading.read(at, i, 1, 3000)
                assert got == [(1, k, k << 16, payload(k)) for k in range(at, at + len(got))]
                assert got
                at += len(got)
            writer.cut(at - 20)
            assert writer.wait_cut() == 0
    assert at > 1400
    assert reading.read(1, 1, 1, MANY) == []
    writer.close()
