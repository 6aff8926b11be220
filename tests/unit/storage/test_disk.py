"""One contract for the real and the simulated disk, and what only the simulated one can do."""

import errno
import os
import random

import pytest

from kvnode.base.errors import StorageIOError
from kvnode.storage.disk import OsDisk
from tests.sim.disk import SECTOR_BYTES, Fault, SimDisk


@pytest.fixture(params=["os", "sim"])
def place(request, tmp_path):
    """A disk and an existing directory on it."""
    disk = OsDisk() if request.param == "os" else SimDisk()
    directory = str(tmp_path / "d") if request.param == "os" else "/d"
    disk.make_dir(directory)
    disk.make_dir(directory)
    return disk, directory


def test_write_and_read(place):
    disk, directory = place
    file = disk.open(f"{directory}/a", create=True)
    disk.pwrite(file, b"hello", 3)
    assert disk.size(file) == 8
    assert disk.read(file, 100, 0) == b"\0\0\0hello"
    assert disk.read(file, 2, 4) == b"el"
    assert disk.read(file, 2, 100) == b""
    disk.fdatasync(file)
    disk.close(file)
    file = disk.open(f"{directory}/a")
    assert disk.read(file, 100, 3) == b"hello"
    disk.close(file)


def test_preallocate_and_truncate(place):
    disk, directory = place
    file = disk.open(f"{directory}/a", create=True)
    disk.pwrite(file, b"x", 0)
    disk.preallocate(file, 1000)
    assert disk.read(file, 2000, 0) == b"x" + bytes(999)
    disk.truncate(file, 10)
    assert disk.size(file) == 10
    disk.close(file)


def test_names(place):
    disk, directory = place
    for name in ("b", "a"):
        disk.close(disk.open(f"{directory}/{name}", create=True))
    assert disk.list(directory) == ["a", "b"]
    disk.rename(f"{directory}/a", f"{directory}/c")
    disk.unlink(f"{directory}/b")
    disk.fsync_dir(directory)
    assert disk.list(directory) == ["c"]


def test_missing_file_is_named(place):
    disk, directory = place
    with pytest.raises(StorageIOError, match=f"open {directory}/none: No such file"):
        disk.open(f"{directory}/none")


def test_crash_keeps_what_was_synced_and_only_sectors_of_the_rest():
    seen = set()
    for seed in range(50):
        disk = SimDisk()
        file = disk.open("/d/a", create=True)
        disk.pwrite(file, b"s" * 3 * SECTOR_BYTES, 0)
        disk.fdatasync(file)
        disk.fsync_dir("/d")
        disk.pwrite(file, b"u" * 2 * SECTOR_BYTES, 0)
        disk.crash(random.Random(seed))
        data = disk.contents("/d/a")
        sectors = [data[n * SECTOR_BYTES : (n + 1) * SECTOR_BYTES] for n in range(3)]
        assert all(len(set(sector)) == 1 for sector in sectors)
        seen.add("".join(chr(sector[0]) for sector in sectors))
    assert seen == {"sss", "uss", "sus", "uus"}


def test_crash_forgets_names_that_were_not_synced():
    seen = set()
    for seed in range(50):
        disk = SimDisk()
        disk.close(disk.open("/d/a", create=True))
        disk.fsync_dir("/d")
        disk.rename("/d/a", "/d/b")
        disk.close(disk.open("/d/c", create=True))
        disk.crash(random.Random(seed))
        seen.add(tuple(disk.list("/d")))
    assert seen == {("a",), ("b",), ("a", "c"), ("b", "c")}


def test_faults_by_call_and_count():
    disk = SimDisk()
    file = disk.open("/d/a", create=True)
    disk.faults.append(Fault("pwrite", errno.ENOSPC, after=1, count=1))
    disk.pwrite(file, b"1", 0)
    with pytest.raises(StorageIOError, match=os.strerror(errno.ENOSPC)):
        disk.pwrite(file, b"2", 0)
    disk.pwrite(file, b"3", 0)
    assert disk.contents("/d/a") == b"3"
