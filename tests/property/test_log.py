"""The log under torn writes, flipped bytes and power loss, against a model of what was promised.

Each property has a planted bug that it must find.
"""

import random

import pytest

from kvnode.base.errors import CorruptionError
from kvnode.storage.log import Entry, SegmentWriter, segment_path
from kvnode.storage.log_format import HEADER_BYTES
from kvnode.storage.log_recovery import open_replay, recover_log
from tests.sim.disk import SimDisk

DIRECTORY = "/data/log"
SEGMENT_BYTES = 8192


def open_log(disk, id_seed, *, writer_class=SegmentWriter, segment_bytes=SEGMENT_BYTES):
    log = recover_log(
        disk, DIRECTORY, checkpoint_index=0, segment_bytes=segment_bytes, id_seed=id_seed
    )
    return log, writer_class(
        disk, DIRECTORY, log.start, segment_bytes=segment_bytes, id_seed=id_seed
    )


def replayed(disk, log):
    return [Entry(*e) for e in open_replay(disk, DIRECTORY, log, 1, 1 << 62)]


def entries(first, count, rng, *, term=1, sizes=(0, 3, 8, 30, 100)):
    return [
        Entry(term, i, i << 16, rng.randbytes(rng.choice(sizes)))
        for i in range(first, first + count)
    ]


def small_log():
    """Return (disk, entries, boundaries): four synced groups and one unsynced, in one segment.

    boundaries: (offset behind a record, entries up to there), and the offset that is synced.
    """
    disk, rng = SimDisk(), random.Random(4)
    _, writer = open_log(disk, 1)
    written, boundaries = [], [(writer.offset, 0)]
    synced = 0
    for group in range(5):
        for e in entries(len(written) + 1, 2, rng):
            writer.write_group([e])
            written.append(e)
            boundaries.append((writer.offset, len(written)))
        if group < 4:
            synced = writer.offset
            writer.sync()
    return disk, written, boundaries, synced


def whole_before(boundaries, offset):
    return max(n for end, n in boundaries if end <= offset)


@pytest.mark.parametrize("filler", [b"\0", b"\xa5"])
def test_torn_at_every_byte(filler):
    """Cut anywhere behind what is stated to be synced: a prefix comes back, nothing else."""
    disk, written, boundaries, synced = small_log()
    path = segment_path(DIRECTORY, 1)
    data = disk.contents(path)
    end = boundaries[-1][0]
    for cut in range(boundaries[0][0], end + 1):
        torn_data = data[:cut] + filler * (end - cut) + data[end:]
        torn = disk.copy()
        torn.put(path, torn_data)
        whole = max(n for end, n in boundaries if torn_data[:end] == data[:end])
        for id_seed in (2, 3):
            log, _ = open_log(torn, id_seed)
            assert replayed(torn, log) == written[:whole], cut
    assert synced < end


def test_each_flipped_byte_is_found_or_torn():
    """No flip changes an entry; one below the stated sync is damage, one behind it cuts there."""
    disk, written, boundaries, synced = small_log()
    path = segment_path(DIRECTORY, 1)
    data = disk.contents(path)
    end = boundaries[-1][0]
    rng = random.Random(6)
    for offset in range(end):
        flipped = bytearray(data)
        flipped[offset] ^= 1 << rng.randrange(8)
        bad = disk.copy()
        bad.put(path, bytes(flipped))
        if offset < synced:
            with pytest.raises(CorruptionError) as caught:
                open_log(bad, 2)
            assert path in str(caught.value)
            assert bad.contents(path) == flipped, "a damaged log must be left as it is"
        else:
            log, _ = open_log(bad, 2)
            got = replayed(bad, log)
            assert got == written[: whole_before(boundaries, offset)], offset


def test_lost_sector_below_the_sync_is_damage():
    """Damage that takes headers and lengths with it does not hide what stands after it."""
    disk, _, _, synced = small_log()
    path = segment_path(DIRECTORY, 1)
    data = disk.contents(path)
    for at in range(HEADER_BYTES, synced - 512, 64):
        bad = disk.copy()
        bad.put(path, data[:at] + bytes(512) + data[at + 512 :])
        with pytest.raises(CorruptionError):
            open_log(bad, 2)


class _ForgetsSync(SegmentWriter):
    """Planted bug: says synced and is not."""

    def sync(self):
        self._synced_offset = self.offset


class _SwitchesUnsynced(SegmentWriter):
    """Planted bug: goes on in a new segment while the old one is not synced."""

    def _switch_segment(self, need):
        self._unsynced = False
        super()._switch_segment(need)


class _TrustsPageCache(SegmentWriter):
    """Planted bug: reports a group when it is written."""


def power_loss_run(seed, writer_class=SegmentWriter, *, early=False):
    """Write, sync and lose power a few times; return what was broken, or None.

    Promised: every reported entry is there, what is there was written, in order, and what was
    once read after a restart stays.
    """
    rng = random.Random(seed)
    disk = SimDisk()
    promised = []
    written = {}
    for life in range(1, 5):
        try:
            log, writer = open_log(disk, seed * 100 + life, writer_class=writer_class)
        except CorruptionError as error:
            return f"life {life}: {error}"
        got = replayed(disk, log)
        if got[: len(promised)] != promised:
            return f"life {life}: reported entries are gone"
        if any(written.get(e.index) != e for e in got):
            return f"life {life}: an entry that nobody wrote"
        promised = got
        current = list(got)
        for _ in range(rng.randrange(1, 30)):
            group = entries(
                len(current) + 1, rng.randrange(1, 4), rng, term=life, sizes=(0, 8, 100, 500)
            )
            writer.write_group(group)
            written.update((e.index, e) for e in group)
            current += group
            if early:
                promised = list(current)
            if rng.random() < 0.7:
                writer.sync()
                promised = list(current)
            if rng.random() < 0.1:
                writer.write_mark()
        if rng.random() < 0.3:
            disk.kill()
        else:
            disk.crash(rng)
    return None


def test_power_loss_keeps_the_promise():
    for seed in range(150):
        assert power_loss_run(seed) is None, f"seed {seed}"


@pytest.mark.parametrize(
    ("writer_class", "early"),
    [(_ForgetsSync, False), (_SwitchesUnsynced, False), (_TrustsPageCache, True)],
)
def test_power_loss_finds_planted_bugs(writer_class, early):
    assert any(power_loss_run(seed, writer_class, early=early) for seed in range(60))
