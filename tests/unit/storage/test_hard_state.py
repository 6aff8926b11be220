"""Term and vote on the disk: never older than what was acted on."""

import random
import struct
from contextlib import suppress

import pytest

from kvnode._core import crc32c
from kvnode.base.errors import CorruptionError, FormatError, StorageIOError
from kvnode.storage.hard_state import COPY_OFFSETS, HardStateFile, create_hard_state
from tests.sim.disk import Fault, SimDisk

PATH = "/data/raft-state"
IDENTITY = bytes(range(16))


def test_state_survives():
    disk = SimDisk()
    create_hard_state(disk, PATH, 1, IDENTITY).store(3, 2)
    disk.crash(random.Random(0))
    state = HardStateFile(disk, PATH).state
    assert (state.node_id, state.identity, state.term, state.vote) == (1, IDENTITY, 3, 2)


def test_bytes_of_a_copy():
    disk = SimDisk()
    create_hard_state(disk, PATH, 1, IDENTITY).store(3, 2)
    for offset in COPY_OFFSETS:
        copy = disk.contents(PATH)[offset : offset + 68]
        assert copy.hex() == (
            b"KVNODHST".hex() + "00000001" + "00000000" + "0000000000000001" + "0000000000000001"
            "0000000000000003" + "0000000000000002" + IDENTITY.hex() + "3b54f9c0"
        )


def test_crash_at_every_step_of_a_change():
    """Either state may be there afterwards, but never the old one once store() returned."""
    for seed in range(60):
        rng = random.Random(seed)
        disk = SimDisk()
        stored = create_hard_state(disk, PATH, 1, IDENTITY)
        stored.store(1, 1)
        disk.faults.append(Fault(rng.choice(["pwrite", "fdatasync"]), after=rng.randrange(3)))
        returned = False
        with suppress(StorageIOError):
            stored.store(2, 1)
            returned = True
        disk.crash(rng)
        term = HardStateFile(disk, PATH).state.term
        assert term == 2 or (term == 1 and not returned)
        # What was read once stays.
        disk.crash(rng)
        assert HardStateFile(disk, PATH).state.term == term


def test_one_damaged_copy_is_healed():
    disk = SimDisk()
    create_hard_state(disk, PATH, 1, IDENTITY).store(5, 1)
    data = disk.contents(PATH)
    for start in COPY_OFFSETS:
        for offset in range(68):
            bad = bytearray(data)
            bad[start + offset] ^= 1
            disk.put(PATH, bytes(bad))
            assert HardStateFile(disk, PATH).state.term == 5
            assert disk.contents(PATH) == data


def test_two_damaged_copies_are_refused():
    disk = SimDisk()
    create_hard_state(disk, PATH, 1, IDENTITY)
    disk.put(PATH, bytes(5000))
    with pytest.raises(CorruptionError, match="both copies"):
        HardStateFile(disk, PATH)


def test_newer_format_is_refused():
    body = struct.pack(">8sIIQQQQ16s", b"KVNODHST", 2, 0, 0, 1, 0, 0, IDENTITY)
    disk = SimDisk()
    disk.put(PATH, body + struct.pack(">I", crc32c.extend(0, body)))
    with pytest.raises(FormatError):
        HardStateFile(disk, PATH)


def test_half_made_file_is_made_again():
    for seed in range(10):
        disk = SimDisk()
        disk.faults.append(Fault("rename"))
        with suppress(StorageIOError):
            create_hard_state(disk, PATH, 1, IDENTITY)
        disk.crash(random.Random(seed))
        assert create_hard_state(disk, PATH, 1, IDENTITY).state.term == 0


def test_second_vote_in_a_term_is_our_bug():
    disk = SimDisk()
    stored = create_hard_state(disk, PATH, 1, IDENTITY)
    stored.store(3, 2)
    with pytest.raises(AssertionError):
        stored.store(3, 1)
    with pytest.raises(AssertionError):
        stored.store(2, 2)
