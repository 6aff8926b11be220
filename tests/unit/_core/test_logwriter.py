"""The native log writer: what it promises, and that it writes what its Python twin writes."""

import errno
import os
import random
import select

import pytest

from kvnode._core.logwriter import LogWriter
from kvnode.base.errors import StorageIOError
from kvnode.storage.disk import OsDisk
from kvnode.storage.log import Entry, SegmentWriter, segment_path
from kvnode.storage.log_recovery import open_replay, recover_log
from tests.sim.log import SimLog

WAIT_S = 20
DISK = OsDisk()


class Log:
    """A log directory with a native writer on it."""

    def __init__(self, directory, *, segment_bytes=1 << 16, id_seed=7, checkpoint=0, **options):
        self.directory = str(directory)
        self.recovered = recover_log(
            DISK,
            self.directory,
            checkpoint_index=checkpoint,
            segment_bytes=segment_bytes,
            id_seed=id_seed,
        )
        self.writer = LogWriter(
            self.directory,
            self.recovered.start,
            segment_bytes=segment_bytes,
            id_seed=id_seed,
            **options,
        )

    def wait(self, done):
        """Wait for a report that satisfies `done(position)`."""
        poll = select.poll()
        poll.register(self.writer.event_fd, select.POLLIN)
        while not done(self.writer.position()):
            assert poll.poll(WAIT_S * 1000), f"no report: {self.writer.position()}"
            os.read(self.writer.event_fd, 8)

    def wait_synced(self, index):
        self.wait(lambda p: p[3] >= index)

    def append(self, first, last, payload=b"payload"):
        for index in range(first, last + 1):
            self.writer.append(1, index, 1000 + index, payload)

    def entries(self, log=None):
        log = log or self.recovered
        return list(open_replay(DISK, self.directory, log, 1, 1 << 62))


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "log"


def test_entries_come_back(directory):
    log = Log(directory)
    log.append(1, 300, bytes(1000))
    log.wait_synced(300)
    assert log.writer.position() == (1, 300, 1, 300, 0)
    assert log.writer.bytes_queued == 0
    log.writer.close()
    again = Log(directory, id_seed=8)
    assert again.entries() == [(1, i, 1000 + i, bytes(1000)) for i in range(1, 301)]
    assert again.recovered.last_index == 300
    again.writer.close()


def test_groups_form_while_a_sync_runs(directory):
    log = Log(directory, segment_bytes=1 << 22)
    log.append(1, 5000)
    log.wait_synced(5000)
    statistics = log.writer.statistics()
    assert statistics["entries"] == 5000
    assert statistics["groups"] < 2500
    assert statistics["syncs"] <= statistics["groups"] + statistics["marks"]
    log.writer.close()


@pytest.mark.parametrize("seed", range(4))
def test_same_bytes_as_the_python_twin(tmp_path, seed):
    rng = random.Random(seed)
    native = Log(tmp_path / "native", segment_bytes=1 << 14, mark_delay_ms=3_600_000)
    twin_directory = str(tmp_path / "twin")
    start = recover_log(
        DISK, twin_directory, checkpoint_index=0, segment_bytes=1 << 14, id_seed=7
    ).start
    twin = SegmentWriter(DISK, twin_directory, start, segment_bytes=1 << 14, id_seed=7)
    for index in range(1, 60):
        payload = rng.randbytes(rng.choice([0, 1, 7, 8, 100, 1000, 5000, 20000]))
        native.writer.append(3, index, index << 16, payload)
        native.wait_synced(index)
        twin.write_group([Entry(3, index, index << 16, payload)])
        twin.sync()
    end = twin.sequence
    assert end > 5
    native.writer.close()
    twin.write_mark()
    twin.close()
    for sequence in range(1, end + 1):
        ours = (tmp_path / "native" / f"{sequence:016x}.seg").read_bytes()
        theirs = (tmp_path / "twin" / f"{sequence:016x}.seg").read_bytes()
        assert ours == theirs, f"segment {sequence}"


def _marks(log):
    return log.writer.statistics()["marks"]


def test_inline_append(directory):
    log = Log(directory)
    done = [log.writer.append_inline(1, i, i, b"x") for i in range(1, 6)]
    if not all(done):
        pytest.skip("this disk's syncs are too slow for inline writing")
    assert log.writer.position() == (1, 5, 1, 5, 0)
    assert log.writer.statistics()["inline_groups"] == 5
    log.wait(lambda _: _marks(log) == 1)
    log.writer.close()
    again = Log(directory, id_seed=8)
    assert [e[1] for e in again.entries()] == [1, 2, 3, 4, 5]
    again.writer.close()


def test_inline_and_queued_entries_keep_their_order(directory):
    log = Log(directory, segment_bytes=1 << 15)
    rng = random.Random(5)
    for index in range(1, 1500):
        if rng.random() < 0.5 or not log.writer.append_inline(1, index, index, b"abc"):
            log.writer.append(1, index, index, b"abc")
        if rng.random() < 0.1:
            log.wait_synced(index)
    log.writer.close()
    again = Log(directory, id_seed=8)
    assert [e[1] for e in again.entries()] == list(range(1, 1500))
    again.writer.close()


def test_inline_is_declined_when_large(directory):
    log = Log(directory, segment_bytes=1 << 20)
    assert not log.writer.append_inline(1, 1, 1, bytes(1 << 17))
    log.writer.close()


def test_everysec_reports_written_before_synced(directory):
    log = Log(directory, mode="everysec")
    log.append(1, 1)
    log.wait_synced(1)  # the first sync is due at once
    log.append(2, 2)
    log.wait(lambda p: p[1] == 2)
    assert log.writer.position()[3] == 1
    log.writer.sync()
    log.wait_synced(2)
    log.writer.close()


def test_mode_no_syncs_only_when_asked(directory):
    log = Log(directory, mode="no")
    log.append(1, 10)
    log.wait(lambda p: p[1] == 10)
    assert log.writer.position()[3] == 0
    assert log.writer.statistics()["syncs"] == 0
    assert not log.writer.append_inline(1, 11, 11, b"")
    log.writer.sync()
    log.wait_synced(10)
    log.append(11, 11)
    log.writer.set_mode("always")
    log.wait_synced(11)
    log.writer.close()


def test_idle_log_gets_one_mark(directory):
    log = Log(directory)
    log.append(1, 3)
    log.wait(lambda _: _marks(log) == 1)
    assert log.writer.statistics()["syncs"] >= 2
    log.writer.close()
    assert Log(directory, id_seed=8).recovered.copied_entries == 0


def test_cut_deletes_or_keeps_files_for_use_again(directory):
    log = Log(directory, segment_bytes=1 << 14)
    log.append(1, 200, bytes(1000))
    log.wait_synced(200)
    before = len([n for n in os.listdir(directory) if n.endswith(".seg")])
    log.writer.cut(100)
    assert log.writer.wait_cut() == 0
    names = os.listdir(directory)
    assert len([n for n in names if n.endswith(".seg")]) < before - 5
    assert 1 <= len([n for n in names if n.endswith(".old")]) <= 4
    log.append(201, 400, bytes(1000))
    log.wait_synced(400)
    log.writer.close()
    again = Log(directory, id_seed=8, checkpoint=100, segment_bytes=1 << 14)
    assert 1 < again.recovered.first_index <= 101
    assert [e[1] for e in again.entries()] == list(range(again.recovered.first_index, 401))
    again.writer.close()


def test_entry_larger_than_a_segment(directory):
    log = Log(directory, segment_bytes=1 << 14)
    large = random.Random(3).randbytes(100_000)
    log.append(1, 3)
    log.append(4, 4, large)
    log.append(5, 6)
    log.wait_synced(6)
    log.writer.close()
    again = Log(directory, id_seed=8)
    assert [(e[1], len(e[3])) for e in again.entries()][3] == (4, 100_000)
    assert again.entries()[3][3] == large
    again.writer.close()


def test_a_replaced_tail_does_not_come_back(directory):
    log = Log(directory)
    for index in range(1, 11):
        log.writer.append(1, index, index, b"old")
    for index in range(5, 8):
        log.writer.append(2, index, index, b"new")
    log.wait(lambda p: p[2:4] == (2, 7))
    log.writer.close()
    again = Log(directory, id_seed=8)
    assert [(e[0], e[1]) for e in again.entries()] == [(1, i) for i in range(1, 5)] + [
        (2, i) for i in range(5, 8)
    ]
    assert again.recovered.terms() == [(0, 0), (1, 1), (5, 2)]
    again.writer.close()


def test_a_tail_is_replaced_by_an_older_term(directory):
    log = Log(directory)
    for term, index in ((5, 1), (5, 2), (7, 2), (7, 3), (5, 2), (8, 3)):
        log.writer.append(term, index, 10 * term + index, b"%d" % term)
    log.wait(lambda p: p[2:4] == (8, 3))
    log.writer.close()
    again = Log(directory, id_seed=8)
    assert [(e[0], e[1]) for e in again.entries()] == [(5, 1), (5, 2), (8, 3)]
    again.writer.close()


def test_a_segment_whose_tail_was_replaced_is_cut_by_the_highest_index_in_it(directory):
    log = Log(directory, segment_bytes=1 << 14)
    log.append(1, 300, bytes(1000))
    for index in range(250, 320):
        log.writer.append(2, index, 10_000 + index, bytes(1000))
    log.wait(lambda p: p[2:4] == (2, 319))
    before = log.writer.statistics()["segments"]
    # Of those that hold 1..260 some hold replaced entries up to 300 as well, or stand behind one.
    log.writer.cut(260)
    assert log.writer.wait_cut() == 0
    assert 0 < log.writer.statistics()["segments"] < before
    log.writer.close()
    again = Log(directory, id_seed=8, checkpoint=260, segment_bytes=1 << 14)
    assert again.recovered.first_index <= 261
    got = [(e[0], e[1]) for e in again.entries() if e[1] > 260]
    assert got == [(2, i) for i in range(261, 320)]
    again.writer.cut(319)
    assert again.writer.wait_cut() == 0
    assert again.writer.statistics()["segments"] == 1
    again.writer.close()


@pytest.mark.parametrize("seed", range(6))
def test_many_lives_of_a_follower(directory, seed):
    """Tails are replaced, the log is cut, the node restarts; each time the log is what it was."""
    rng = random.Random(seed)
    term, cut, log_entries, ts = 1, 0, [], 0
    for life in range(1, 6):
        log = Log(directory, segment_bytes=1 << 13, id_seed=life, checkpoint=cut, mark_delay_ms=0)
        assert log.recovered.last_index == len(log_entries)
        assert [e for e in log.entries() if e[1] > cut] == log_entries[cut:]
        for _ in range(rng.randrange(3, 12)):
            term += 1
            del log_entries[rng.randrange(cut, len(log_entries) + 1) :]
            for _ in range(rng.randrange(1, 60)):
                ts += 1
                entry = (term, len(log_entries) + 1, ts, rng.randbytes(rng.randrange(300)))
                log_entries.append(entry)
                log.writer.append(*entry)
            if rng.random() < 0.5:
                log.wait(lambda p: p[2:4] == log_entries[-1][:2])
                cut = rng.randrange(cut, len(log_entries) + 1)
                log.writer.cut(cut)
        log.writer.close()


def test_failed_write_is_reported_and_final(directory):
    log = Log(directory, segment_bytes=1 << 14)
    log.append(1, 1)
    log.wait_synced(1)
    log.writer.wait_cut()
    # The segment after the next cannot be made: its name is taken by a directory.
    os.mkdir(segment_path(log.directory, 3, "tmp"))
    log.append(2, 100, bytes(1000))
    log.wait(lambda p: p[4] != 0)
    written = log.writer.position()
    assert written[4] == errno.EISDIR
    log.append(101, 102)
    assert log.writer.bytes_queued == 0
    assert not log.writer.append_inline(1, 103, 103, b"")
    log.writer.close()
    assert log.writer.position() == written


def test_open_fails_with_a_sentence(directory):
    log = Log(directory)
    log.writer.close()
    with pytest.raises(StorageIOError, match="cannot open the log"):
        LogWriter(str(directory / "none"), log.recovered.start, segment_bytes=1 << 16, id_seed=1)


def test_closed_writer_refuses(directory):
    log = Log(directory)
    log.writer.close()
    log.writer.close()
    with pytest.raises(RuntimeError):
        log.writer.append(1, 1, 1, b"")


def test_failpoints_in_debug_builds(directory):
    log = Log(directory)
    try:
        log.writer.arm_failpoint("before_sync", "error", errno.EIO, 1)
    except RuntimeError as error:
        log.writer.close()
        pytest.skip(str(error))
    log.append(1, 1)
    log.wait_synced(1)
    log.append(2, 2)
    log.wait(lambda p: p[4] == errno.EIO)
    assert log.writer.position()[3] == 1
    log.writer.close()


def test_simulated_log_completes_when_told():
    log = SimLog()
    for index in (1, 2, 3):
        log.append(1, index, index, b"x")
    assert log.position() == (0, 0, 0, 0, 0)
    log.complete(1)
    assert log.position() == (1, 1, 1, 1, 0)
    log.write(1)
    assert log.position() == (1, 2, 1, 1, 0)
    log.complete()
    assert log.position() == (1, 3, 1, 3, 0)
    log.fail(errno.EIO)
    assert log.position()[4] == errno.EIO


def test_many_lives_with_segments_used_again(directory):
    """Old contents of recycled files, made-ahead segments and restarts never show."""
    rng = random.Random(11)
    index, checkpoint, written = 0, 0, {}
    for life in range(1, 8):
        log = Log(
            directory,
            segment_bytes=1 << 13,
            id_seed=life,
            checkpoint=checkpoint,
            mark_delay_ms=rng.choice([0, 3_600_000]),
        )
        assert log.recovered.last_index == index
        assert log.entries() == [written[i] for i in range(log.recovered.first_index, index + 1)]
        for _ in range(rng.randrange(50, 150)):
            index += 1
            written[index] = (life, index, index << 16, rng.randbytes(rng.randrange(600)))
            log.writer.append(*written[index])
            if rng.random() < 0.05:
                log.wait_synced(index)
                checkpoint = rng.randrange(checkpoint, index)
                log.writer.cut(checkpoint)
        log.writer.close()
