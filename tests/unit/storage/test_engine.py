"""The contract of Engine, on both implementations, and what is LevelDB's own."""

import glob
import os
from itertools import pairwise

import pytest

from kvnode.base import limits
from kvnode.base.errors import CorruptionError, DirectoryInUseError, StorageIOError
from kvnode.storage.engine import EngineOptions, compaction_ranges, options_for
from kvnode.storage.leveldb import LevelDBEngine
from kvnode.storage.memory import MemoryEngine


@pytest.fixture(params=["memory", "leveldb"])
def engine(request, tmp_path):
    opened = MemoryEngine() if request.param == "memory" else LevelDBEngine(str(tmp_path / "db"))
    yield opened
    opened.close()


def rows(*keys):
    return [(key, b"value of " + key) for key in keys]


def test_get_many_tells_absent_from_empty(engine):
    engine.write([(b"a", b""), (b"b\0", b"\xff\0"), (b"", b"empty key")])
    assert engine.get_many([b"b\0", b"a", b"missing", b""]) == [b"\xff\0", b"", None, b"empty key"]
    assert engine.get_many([]) == []


def test_write_replaces_and_deletes_in_order(engine):
    engine.write([(b"a", b"1"), (b"a", b"2"), (b"b", b"1"), (b"b", None), (b"gone", None)])
    assert engine.scan(b"", None, 10) == [(b"a", b"2")]
    engine.write([(b"a", None), (b"a", b"3")], sync=True)
    assert engine.get_many([b"a", b"b"]) == [b"3", None]


def test_scan_is_ordered_by_unsigned_bytes_and_half_open(engine):
    engine.write(rows(b"\xff", b"a", b"b", b"b\0", b"c"))
    assert engine.scan_keys(b"", None, 10) == [b"a", b"b", b"b\0", b"c", b"\xff"]
    assert engine.scan_keys(b"a", b"b\0", 10) == [b"a", b"b"]
    assert engine.scan(b"b", b"\xff", 2) == rows(b"b", b"b\0")
    assert engine.scan(b"b", b"b", 2) == []
    assert engine.scan(b"c", b"a", 2) == []


def test_snapshot_does_not_change(engine):
    engine.write(rows(b"a", b"b"))
    with engine.snapshot() as snapshot:
        engine.write([(b"a", b"new"), (b"b", None), (b"c", b"new")])
        assert snapshot.get_many([b"a", b"c"]) == [b"value of a", None]
        assert snapshot.scan(b"", None, 10) == rows(b"a", b"b")
    assert engine.scan_keys(b"", None, 10) == [b"a", b"c"]


def test_compaction_changes_no_row(engine):
    engine.write(rows(*[b"k%03d" % i for i in range(100)]))
    engine.compact_memtable()
    engine.write([(b"k%03d" % i, None) for i in range(50)])
    for lo, hi in compaction_ranges(engine, b"", b"\xff", 1000):
        engine.compact_range(lo, hi)
    assert engine.scan_keys(b"", None, 100) == [b"k%03d" % i for i in range(50, 100)]
    assert engine.statistics().table_files >= 0


def test_compaction_ranges_cover_what_there_is():
    engine = MemoryEngine()
    engine.write([(b"H" + i.to_bytes(8, "big"), bytes(100)) for i in range(64)])
    ranges = list(compaction_ranges(engine, b"A", b"Z", 1000))
    assert len(ranges) > 6
    assert sum(engine.approximate_bytes(*r) for r in ranges) == engine.approximate_bytes(b"A", b"Z")
    assert all(a[1] <= b[0] for a, b in pairwise(ranges))


# -- what a crash may take ------------------------------------------------------------------------


def test_a_crash_takes_what_no_sync_covers():
    engine = MemoryEngine(log_file_bytes=1)  # every batch begins a log file
    engine.write(rows(b"a"))
    engine.write(rows(b"b"), sync=True)
    engine.write(rows(b"c"))
    after = engine.crash(lambda file, batch: False)
    assert after.scan_keys(b"", None, 10) == [b"b"]
    with pytest.raises(StorageIOError):
        engine.write(rows(b"late"))


def test_a_crash_takes_nothing_that_was_compacted():
    engine = MemoryEngine(log_file_bytes=1)
    engine.write(rows(b"a", b"b"))
    engine.write([(b"a", None)])
    engine.compact_memtable()
    engine.write(rows(b"c"))
    assert engine.crash(lambda file, batch: False).scan_keys(b"", None, 10) == [b"b"]


# -- LevelDB --------------------------------------------------------------------------------------


def only_log(path):
    (log,) = glob.glob(f"{path}/*.log")
    return log


def overwrite(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def test_second_opener_is_refused_with_a_sentence(tmp_path):
    path = str(tmp_path / "db")
    first = LevelDBEngine(path)
    with pytest.raises(DirectoryInUseError, match="in use by another kvnode"):
        LevelDBEngine(path)
    first.close()
    LevelDBEngine(path).close()


def test_options_are_a_share_within_bounds(tmp_path):
    assert options_for(1).cache_bytes == limits.ENGINE_CACHE_BYTES_MIN
    assert options_for(1 << 50).cache_bytes == limits.ENGINE_CACHE_BYTES_MAX
    assert options_for(512 * limits.MIB).cache_bytes == 32 * limits.MIB
    engine = LevelDBEngine(str(tmp_path / "db"), options_for(512 * limits.MIB))
    engine.write(rows(b"a"))
    engine.close()


def test_compact_memtable_empties_leveldbs_log(tmp_path):
    engine = LevelDBEngine(str(tmp_path / "db"))
    engine.write(rows(*[b"k%04d" % i for i in range(1000)]))
    assert os.path.getsize(only_log(tmp_path / "db")) > 10_000
    engine.compact_memtable()
    assert os.path.getsize(only_log(tmp_path / "db")) == 0
    assert engine.statistics().table_files >= 1
    engine.close()


def test_lost_pages_of_leveldbs_log_are_healed_by_dropping_batches(tmp_path):
    path = str(tmp_path / "db")
    engine = LevelDBEngine(path)
    engine.write(rows(b"kept"))
    engine.compact_memtable()
    for i in range(1000):
        engine.write([(b"k%04d" % i, bytes(200))])
    engine.close()
    overwrite(only_log(path), 100_000, b"\x55" * 100)
    engine = LevelDBEngine(path)
    assert engine.is_healed
    assert engine.get_many([b"kept", b"k0000"]) == [b"value of kept", bytes(200)]
    assert engine.get_many([b"k0999"]) == [bytes(200)]
    assert 0 < len(engine.scan_keys(b"k0", b"k1", 2000)) < 1000
    engine.close()


def test_a_flipped_byte_in_a_table_is_found_by_the_read(tmp_path):
    path = str(tmp_path / "db")
    engine = LevelDBEngine(path, EngineOptions(is_compressed=False))
    engine.write([(b"k%04d" % i, bytes(200)) for i in range(1000)])
    engine.compact_memtable()
    engine.close()
    (table,) = glob.glob(f"{path}/*.ldb")
    overwrite(table, 5_000, b"\x55")
    engine = LevelDBEngine(path)
    with pytest.raises(CorruptionError, match="checksum"):
        engine.scan(b"", None, 2000)
    with pytest.raises(CorruptionError, match="checksum"):
        engine.get_many([b"k%04d" % i for i in range(50)])
    engine.close()


def test_a_damaged_manifest_is_refused(tmp_path):
    path = str(tmp_path / "db")
    engine = LevelDBEngine(path)
    engine.write(rows(b"a"))
    engine.compact_memtable()
    engine.close()
    (manifest,) = glob.glob(f"{path}/MANIFEST-*")
    overwrite(manifest, 20, b"\x55" * 8)
    with pytest.raises(CorruptionError):
        LevelDBEngine(path)
