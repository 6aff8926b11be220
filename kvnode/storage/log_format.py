"""Bytes of a log segment, written and read in Python: the twin of _core/log_format.hpp.

docs/FORMATS.md, "Log", gives the reasons. Integers are big-endian. On disk: DO NOT CHANGE.
"""

import struct
from dataclasses import dataclass

from kvnode._core import crc32c
from kvnode.base.errors import CorruptionError, FormatError

MAGIC = b"KVNODLOG"
VERSION = 1
HEADER_BYTES = 4096  # of a segment; records begin behind it
RECORD_HEADER_BYTES = 48
ALIGN = 8

ENTRY = 1
MARK = 2
LINK = 3

_HEADER = struct.Struct(">8sIIQQQ")
_CRC = struct.Struct(">I")
_HEAD_TAIL = struct.Struct(">IB3xQQQQ")  # length, kind, term, index, commit_ts, synced
_LINK = struct.Struct(">QQI")
_U64_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Header:
    """The header block of a segment."""

    segment_id: int
    sequence: int
    capacity: int  # bytes of the file when it was made


@dataclass(frozen=True, slots=True)
class Link:
    """The first record of a segment: where its predecessor ends, and the entry before its own."""

    sequence: int  # of the predecessor, 0 = none
    end: int  # offset in the predecessor
    chain: int  # CRC of the predecessor's last record
    term: int
    index: int
    commit_ts: int


def align(size: int) -> int:
    return (size + ALIGN - 1) & -ALIGN


def record_bytes(payload_bytes: int) -> int:
    """Return the bytes that a record takes in its segment."""
    return align(RECORD_HEADER_BYTES + payload_bytes)


def seed_of(segment_id: int) -> int:
    """Return the CRC with which a segment's headers and its chain begin."""
    return crc32c.extend(0, segment_id.to_bytes(8, "big"))


def segment_id_at(id_seed: int, sequence: int) -> int:
    """Return the id of a segment: splitmix64 of one random number per start and its sequence."""
    z = (id_seed + sequence * 0x9E3779B97F4A7C15) & _U64_MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _U64_MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _U64_MASK
    return z ^ (z >> 31)


def encode_header(header: Header) -> bytes:
    start = _HEADER.pack(MAGIC, VERSION, 0, header.segment_id, header.sequence, header.capacity)
    return (start + _CRC.pack(crc32c.extend(0, start))).ljust(HEADER_BYTES, b"\0")


def decode_header(path: str, block: bytes) -> Header:
    """Raise CorruptionError when damaged, FormatError when a newer kvnode wrote it."""
    start = block[: _HEADER.size]
    whole = len(block) == HEADER_BYTES and block[_HEADER.size :] == _CRC.pack(
        crc32c.extend(0, start)
    ).ljust(HEADER_BYTES - _HEADER.size, b"\0")
    if not whole or start[:8] != MAGIC:
        raise CorruptionError(
            f"{path} at byte 0: the header of a log segment is damaged. Restore the file or the "
            "whole data directory from a copy; nothing was changed"
        )
    _, version, _, segment_id, sequence, capacity = _HEADER.unpack(start)
    if version > VERSION:
        raise FormatError(f"{path}: log format {version}; this kvnode reads up to {VERSION}")
    return Header(segment_id, sequence, capacity)


def encode_record(
    seed: int,
    chain: int,
    *,
    kind: int,
    term: int,
    index: int,
    commit_ts: int,
    synced: int,
    payload: bytes = b"",
) -> tuple[bytes, int]:
    """Return the record's bytes and its chain CRC, which seeds the next record."""
    tail = _HEAD_TAIL.pack(len(payload), kind, term, index, commit_ts, synced)
    padding = bytes(record_bytes(len(payload)) - RECORD_HEADER_BYTES - len(payload))
    chain = crc32c.extend(chain, b"".join((tail, payload, padding)))
    head = _CRC.pack(chain) + tail
    return b"".join((_CRC.pack(crc32c.extend(seed, head)), head, payload, padding)), chain


def encode_link(seed: int, link: Link) -> tuple[bytes, int]:
    """Return a segment's first record and its chain CRC."""
    payload = _LINK.pack(link.sequence, link.end, link.chain)
    return encode_record(
        seed,
        seed,
        kind=LINK,
        term=link.term,
        index=link.index,
        commit_ts=link.commit_ts,
        synced=HEADER_BYTES,
        payload=payload,
    )


LINK_RECORD_BYTES = record_bytes(_LINK.size)


def decode_link(term: int, index: int, commit_ts: int, payload: bytes) -> Link:
    """Take a link record apart; its CRCs were checked before."""
    sequence, end, chain = _LINK.unpack(payload)
    return Link(sequence, end, chain, term, index, commit_ts)
