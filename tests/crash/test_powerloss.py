"""The power-loss harness itself: synced data stays, unsynced data goes, planted bugs lose data.

Each test runs a few lines of Python under the shim and looks at the files after the loss.
"""

import os
import signal
import subprocess
import sys
from random import Random

import pytest

from tests.support.powerloss import PAGE_BYTES, SECTOR_BYTES, find_pending, lose_power

SEEDS = range(16)
PRELUDE = "import os; rw = os.O_RDWR | os.O_CREAT\n"


def run(disk, code, *, expect=0, plant=None):
    """Run code under the shim, in the watched directory."""
    environment = dict(os.environ, **disk.environment(sync_us=0, plant=plant))
    command = [sys.executable, "-I", "-S", "-c", PRELUDE + code]
    done = subprocess.run(
        command, env=environment, cwd=disk.path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == expect, done.stderr
    return done.stdout


def outcomes(disk, durable, code, name, **options):
    """Return what the named file may hold after a power loss.

    durable: synced content of file `a` before code runs.   None among the results: no such file.
    """
    seen = set()
    path = disk.path / name
    for seed in SEEDS:
        for old in disk.path.iterdir():
            old.unlink()
        (disk.path / "a").write_bytes(durable)
        run(disk, code, **options)
        lose_power(disk, Random(seed))
        seen.add(path.read_bytes() if path.exists() else None)
    return seen


OLD = b"old" * 1000


def test_synced_write_always_survives(disk):
    code = "f = os.open('a', rw); os.pwrite(f, b'new', 0); os.fdatasync(f)"
    assert outcomes(disk, OLD, code, "a") == {b"new" + OLD[3:]}


def test_write_after_the_sync_may_go(disk):
    code = "f = os.open('a', rw); os.fdatasync(f); os.pwrite(f, b'new', 0)"
    assert outcomes(disk, OLD, code, "a") == {OLD, b"new" + OLD[3:]}


@pytest.mark.parametrize("plant", ["ignore_fdatasync", "early_fdatasync"])
def test_planted_bug_loses_synced_write(disk, plant):
    code = "f = os.open('a', rw); os.pwrite(f, b'new', 0); os.fdatasync(f)"
    assert OLD in outcomes(disk, OLD, code, "a", plant=plant)


def test_overwrite_is_lost_by_sectors(disk):
    code = "f = os.open('a', rw); os.pwrite(f, b'n' * 16384, 0)"
    seen = outcomes(disk, b"o" * 16384, code, "a")
    assert {b"o" * 16384, b"n" * 16384} < seen
    for content in seen:
        sectors = {content[i : i + SECTOR_BYTES] for i in range(0, 16384, SECTOR_BYTES)}
        assert sectors <= {b"o" * SECTOR_BYTES, b"n" * SECTOR_BYTES}


def test_append_survives_as_prefix(disk):
    code = "f = os.open('a', rw | os.O_APPEND)\nfor i in range(9): os.write(f, b'%d' % i * 1500)"
    whole = OLD + b"".join(b"%d" % i * 1500 for i in range(9))
    seen = outcomes(disk, OLD, code, "a")
    assert {OLD, whole} < seen
    for content in seen:
        assert whole.startswith(content)
        assert (len(content) - len(OLD)) % 1500 == 0 or len(content) % PAGE_BYTES == 0


def test_preallocated_zeros_come_back(disk):
    """Writes are lost in any order: a torn tail may have whole records behind the hole."""
    code = "f = os.open('a', rw)\nfor i in range(8): os.pwrite(f, b'x', i * 4096)"
    seen = outcomes(disk, bytes(8 * 4096), code, "a")
    assert {len(content) for content in seen} == {8 * 4096}
    kept = {content[::4096] for content in seen}
    assert bytes(8) in kept
    assert any(b"\0x" in pages for pages in kept)
    assert any(b"x\0" in pages for pages in kept)


def test_truncation_is_undone_whole(disk):
    code = "f = os.open('a', rw | os.O_TRUNC); os.pwrite(f, b'new', 0)"
    assert outcomes(disk, OLD, code, "a") == {OLD, b"", b"new"}


def test_unsynced_name_may_be_missing(disk):
    code = "f = os.open('b', rw); os.pwrite(f, b'new', 0); os.fsync(f)"
    assert outcomes(disk, OLD, code, "b") == {None, b"new"}
    code += "; os.fsync(os.open('.', os.O_RDONLY))"
    assert outcomes(disk, OLD, code, "b") == {b"new"}


def test_lenient_directory_keeps_the_name_of_a_synced_file(disk):
    """But not the rename that follows."""
    code = "f = os.open('b', rw); os.fsync(f); os.rename('b', 'c')"
    seen = set()
    disk.lenient = "*"
    for seed in SEEDS:
        run(disk, code)
        lose_power(disk, Random(seed))
        seen.add(tuple(sorted(path.name for path in disk.path.iterdir())))
        for path in disk.path.iterdir():
            path.unlink()
    assert seen == {("b",), ("c",)}


def test_rename_is_old_or_new(disk):
    code = """
f = os.open('b', rw); os.pwrite(f, b'new', 0); os.fsync(f)
os.rename('b', 'a')
"""
    assert outcomes(disk, OLD, code, "a") == {OLD, b"new"}
    code += "os.fsync(os.open('.', os.O_RDONLY))"
    assert outcomes(disk, OLD, code, "a") == {b"new"}


def test_removed_file_may_come_back(disk):
    assert outcomes(disk, OLD, "os.unlink('a')", "a") == {OLD, None}
    code = "os.unlink('a'); os.fsync(os.open('.', os.O_RDONLY))"
    assert outcomes(disk, OLD, code, "a") == {None}


def test_failed_sync_is_not_healed_by_the_next(disk):
    disk.set_rules("sync a eio count=1")
    code = """
f = os.open('a', rw); os.pwrite(f, b'new', 0)
try: os.fdatasync(f)
except OSError as error: assert error.errno == 5
else: raise AssertionError
os.fdatasync(f)
"""
    assert outcomes(disk, OLD, code, "a") == {OLD, b"new" + OLD[3:]}
    code += "os.pwrite(f, b'new', 0); os.fdatasync(f)"
    assert outcomes(disk, OLD, code, "a") == {b"new" + OLD[3:]}


def test_unsynced_data_of_a_killed_process_stays_unsynced(disk):
    """The next process reads it from the page cache; that does not make it durable."""
    (disk.path / "a").write_bytes(OLD)
    run(disk, "f = os.open('a', rw); os.pwrite(f, b'new', 0); os.kill(os.getpid(), 9)", expect=-9)
    assert run(disk, "print(os.pread(os.open('a', os.O_RDONLY), 3, 0))") == "b'new'\n"
    assert sum(map(len, find_pending(disk).changes.values())) == 1
    run(disk, "f = os.open('a', rw); os.fdatasync(f)")
    assert sum(map(len, find_pending(disk).changes.values())) == 0


def test_fault_rules(disk):
    disk.set_rules("write log/* enospc after=1 count=1", "write a short", "sync b kill")
    code = """
import errno
os.mkdir('log'); f = os.open('log/1', rw)
assert os.write(f, b'1') == 1
try: os.write(f, b'2')
except OSError as error: assert error.errno == errno.ENOSPC
else: raise AssertionError
assert os.write(f, b'3') == 1
assert os.write(os.open('a', rw), b'1234') == 2
os.fsync(os.open('b', rw))
"""
    run(disk, code, expect=-signal.SIGKILL)
    assert (disk.path / "log/1").read_bytes() == b"13"
