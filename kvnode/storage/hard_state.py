"""What a Raft node must not forget: its term, its vote, and whose directory this is.

One file with the same 68 bytes twice, in two pages. A change is written and synced to the first,
then to the second, and only then used. So at any time at least one copy is whole: a crash in
between leaves the old state or the new one, and damage to one copy is healed from the other.
Falling back to an *older* state is never possible: that could be a second vote in one term.

Layout (big-endian; on disk: DO NOT CHANGE), at byte 0 and at byte 4096:
    0 magic "KVNODHST"   8 version u32   12 zero u32   16 changes so far u64   24 node id u64
    32 term u64          40 vote u64 (0 = none)        48 identity, 16 bytes
    64 CRC-32C of bytes 0..64
"""

import struct
from dataclasses import dataclass, replace

from kvnode._core import crc32c
from kvnode.base.errors import CorruptionError, FormatError
from kvnode.storage.disk import Disk

MAGIC = b"KVNODHST"
VERSION = 1
COPY_OFFSETS = (0, 4096)
IDENTITY_BYTES = 16

_COPY = struct.Struct(">8sIIQQQQ16s")
_CRC = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class StoredState:
    """Contents of the file."""

    node_id: int
    identity: bytes  # random, made with the directory; the membership knows it
    term: int = 0
    vote: int = 0  # node id, 0 = none
    changes: int = 0


def encode_copy(state: StoredState) -> bytes:
    body = _COPY.pack(
        MAGIC, VERSION, 0, state.changes, state.node_id, state.term, state.vote, state.identity
    )
    return body + _CRC.pack(crc32c.extend(0, body))


def decode_copy(path: str, data: bytes) -> StoredState | None:
    """Return None for a damaged copy. Raises FormatError when a newer kvnode wrote it."""
    body, crc = data[: _COPY.size], data[_COPY.size : _COPY.size + _CRC.size]
    if len(body) < _COPY.size or crc != _CRC.pack(crc32c.extend(0, body)) or body[:8] != MAGIC:
        return None
    _, version, _, changes, node_id, term, vote, identity = _COPY.unpack(body)
    if version > VERSION:
        raise FormatError(f"{path}: format {version}; this kvnode reads up to {VERSION}")
    return StoredState(node_id, identity, term, vote, changes)


class HardStateFile:
    """The file, open. `state` is what is durable."""

    def __init__(self, disk: Disk, path: str) -> None:
        """Open an existing file; what it says is durable afterwards.

        Raises CorruptionError when both copies are damaged, FormatError, StorageIOError.
        """
        self._disk = disk
        self._file = disk.open(path)
        copies = [
            copy
            for offset in COPY_OFFSETS
            if (copy := decode_copy(path, disk.read(self._file, _COPY.size + _CRC.size, offset)))
        ]
        if not copies:
            disk.close(self._file)
            raise CorruptionError(
                f"{path}: both copies are damaged. This node no longer knows how it voted. Restore "
                "the data directory from a backup; in a cluster remove the node and add it anew"
            )
        self.state = max(copies, key=lambda copy: copy.changes)
        # The newer copy may be in the page cache only; nobody may act on it before it is synced.
        self._write(self.state)

    def store(self, term: int, vote: int) -> None:
        """Make (term, vote) durable; only then may they be acted on. Raises StorageIOError."""
        assert term > self.state.term or (term == self.state.term and self.state.vote in (0, vote))
        state = replace(self.state, term=term, vote=vote, changes=self.state.changes + 1)
        self._write(state)
        self.state = state

    def close(self) -> None:
        self._disk.close(self._file)

    def _write(self, state: StoredState) -> None:
        for offset in COPY_OFFSETS:
            self._disk.pwrite(self._file, encode_copy(state), offset)
            self._disk.fdatasync(self._file)


def create_hard_state(disk: Disk, path: str, node_id: int, identity: bytes) -> HardStateFile:
    """Make the file for a new data directory; it has its name only once it is whole."""
    assert len(identity) == IDENTITY_BYTES
    tmp = path + ".tmp"
    file = disk.open(tmp, create=True)
    disk.truncate(file, 0)
    for offset in COPY_OFFSETS:
        disk.pwrite(file, encode_copy(StoredState(node_id, identity)), offset)
    disk.fdatasync(file)
    disk.close(file)
    disk.rename(tmp, path)
    disk.fsync_dir(path.rpartition("/")[0] or ".")
    return HardStateFile(disk, path)
