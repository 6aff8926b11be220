"""An image of the store on its way to another node: what it is, and its messages as bytes.

An image is the rows of one LevelDB snapshot, in key order, without those that say something of the
directory or of its pins; and the facts of that same snapshot: its rows hold every effect up to A
and may hold parts of entries up to H (hard case 3). So it is usable once entries up to H have been
applied on it, and its sender keeps its log from A on.

Begin says what comes, each time a link is there; the receiver answers with the number of the chunk
that it wants next, 0 if it has nothing of this image. Chunks are numbered from 0, End has the
number behind the last. An Ack says that everything below a number is written, and lets so many
chunks more than IMAGE_WINDOW_CHUNKS be sent; one behind End that the image is whole and durable.
Either side ends it by Abort.

Messages. Big-endian; between versions: DO NOT CHANGE, count VERSION up.

    0 CRC-32C of all that follows u32   4 version u8   5 kind u8   6 zero u16   8 image id 16 bytes
    24 body

    1 Begin   format of the rows u32, index u64, term u64, commit_ts u64 of A, H u64, next id u64,
              hash key 16 bytes, group id 16 bytes, membership (never empty)
    2 Chunk   number u64, up to IMAGE_CHUNK_BYTES of the rows
    3 End     chunks u64, rows u64, digest u32
    4 Ack     number of the chunk wanted next u64
    5 Abort   the reason, UTF-8

The rows are one sequence of bytes, cut into chunks anywhere; each is

    0 length of the key u32   4 length of the value u32   8 key, value

The digest is the CRC-32C of the CRCs of all chunks, in order.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from kvnode._core import crc32c
from kvnode._core.keys import HISTORY, LOCAL
from kvnode.base.errors import RemoteProtocolError
from kvnode.base.limits import (
    IMAGE_CHUNK_BYTES,
    IMAGE_MEMBERSHIP_BYTES_MAX,
    IMAGE_ROW_BYTES_MAX,
    IMAGE_TEXT_BYTES_MAX,
)
from kvnode.storage.local import (
    FORMAT_VERSION,
    GROUP_BYTES,
    HASH_KEY_BYTES,
    CheckpointRecord,
    Position,
)

VERSION = 1
IMAGE_ID_BYTES = 16

KINDS_LEFT_OUT = (LOCAL, HISTORY)  # facts of the directory; versions that only its own pins see

_CRC = struct.Struct(">I")
_HEADER = struct.Struct(">BBH16s")
_BEGIN = struct.Struct(">IQQQQQ16s16s")
_NUMBER = struct.Struct(">Q")
_END = struct.Struct(">QQI")
_ROW = struct.Struct(">II")

MESSAGE_BYTES_MAX = (
    _CRC.size + _HEADER.size + max(IMAGE_CHUNK_BYTES, IMAGE_MEMBERSHIP_BYTES_MAX) + _BEGIN.size
)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is said of an image."""

    at: Position  # A: it has every effect up to here
    high_water: int  # H: index of the newest entry that any of its rows may be an effect of
    next_id: int  # first unused id of generations and values, as known at A
    hash_key: bytes  # its row keys have hashes made with it
    group: bytes  # id of the group, GROUP_BYTES
    membership: bytes  # of the group as of A, see raft/wire.py; never empty

    @property
    def record(self) -> CheckpointRecord:
        return CheckpointRecord(self.at, self.next_id, self.membership)


@dataclass(frozen=True, slots=True)
class ImageMessage:
    """About one image."""

    image_id: bytes  # random, IMAGE_ID_BYTES


@dataclass(frozen=True, slots=True)
class Begin(ImageMessage):
    """This image follows."""

    facts: ImageFacts


@dataclass(frozen=True, slots=True)
class Chunk(ImageMessage):
    """A piece of the rows. crc: of the message, see make_chunk()."""

    number: int
    data: bytes
    crc: int


@dataclass(frozen=True, slots=True)
class End(ImageMessage):
    """There is no more."""

    chunks: int
    rows: int
    digest: int


@dataclass(frozen=True, slots=True)
class Ack(ImageMessage):
    """Everything below this number is written."""

    wanted: int


@dataclass(frozen=True, slots=True)
class Abort(ImageMessage):
    """The other side need not go on with it."""

    reason: str


_KINDS: dict[type[ImageMessage], int] = {Begin: 1, Chunk: 2, End: 3, Ack: 4, Abort: 5}


def make_chunk(image_id: bytes, number: int, data: bytes) -> Chunk:
    """Return the chunk with its CRC, which digests are made of."""
    head = _head(Chunk, image_id) + _NUMBER.pack(number)
    return Chunk(image_id, number, data, crc32c.extend(crc32c.extend(0, head), data))


def extend_digest(digest: int, chunk: Chunk) -> int:
    """Return the digest of the chunks that `digest` covers, and this one."""
    return crc32c.extend(digest, _CRC.pack(chunk.crc))


def encode(message: ImageMessage) -> bytes:
    """Return the bytes of a message."""
    match message:
        case Chunk(image_id, number, data, crc):
            return b"".join((_CRC.pack(crc), _head(Chunk, image_id), _NUMBER.pack(number), data))
        case Begin(_, facts):
            assert 0 < len(facts.membership) <= IMAGE_MEMBERSHIP_BYTES_MAX
            assert len(facts.group) == GROUP_BYTES
            at = facts.at
            body = _BEGIN.pack(
                FORMAT_VERSION,
                at.index,
                at.term,
                at.commit_ts,
                facts.high_water,
                facts.next_id,
                facts.hash_key,
                facts.group,
            )
            body += facts.membership
        case End(_, chunks, rows, digest):
            body = _END.pack(chunks, rows, digest)
        case Ack(_, wanted):
            body = _NUMBER.pack(wanted)
        case Abort(_, reason):
            body = reason.encode()[:IMAGE_TEXT_BYTES_MAX]
        case _:
            raise AssertionError(message)
    rest = _head(type(message), message.image_id) + body
    return _CRC.pack(crc32c.extend(0, rest)) + rest


def decode(data: bytes) -> ImageMessage:
    """Return the message. Raises RemoteProtocolError: it is damaged, or not one of these."""
    if not _CRC.size + _HEADER.size <= len(data) <= MESSAGE_BYTES_MAX:
        raise RemoteProtocolError(f"a message of an image has {len(data)} bytes")
    (crc,) = _CRC.unpack_from(data)
    if crc != crc32c.extend(0, memoryview(data)[_CRC.size :]):
        raise RemoteProtocolError("a message of an image is damaged: its checksum is another")
    version, kind, zero, image_id = _HEADER.unpack_from(data, _CRC.size)
    if version != VERSION:
        raise RemoteProtocolError(f"an image of version {version}; this kvnode speaks {VERSION}")
    if zero:
        raise RemoteProtocolError("a reserved field is not zero")
    body = data[_CRC.size + _HEADER.size :]
    if kind == _KINDS[Begin]:
        return Begin(image_id, _facts(body))
    if kind == _KINDS[Chunk]:
        if not _NUMBER.size < len(body) <= _NUMBER.size + IMAGE_CHUNK_BYTES:
            raise RemoteProtocolError(f"a chunk of {len(body)} bytes")
        return Chunk(image_id, _NUMBER.unpack_from(body)[0], body[_NUMBER.size :], crc)
    if kind == _KINDS[End]:
        return End(image_id, *_fixed(_END, body))
    if kind == _KINDS[Ack]:
        return Ack(image_id, *_fixed(_NUMBER, body))
    if kind == _KINDS[Abort]:
        return Abort(image_id, body[:IMAGE_TEXT_BYTES_MAX].decode("utf-8", "replace"))
    raise RemoteProtocolError(f"unknown kind of message {kind} about an image")


def _head(kind: type[ImageMessage], image_id: bytes) -> bytes:
    assert len(image_id) == IMAGE_ID_BYTES
    return _HEADER.pack(VERSION, _KINDS[kind], 0, image_id)


def _fixed(layout: struct.Struct, body: bytes) -> tuple[int, ...]:
    if len(body) != layout.size:
        raise RemoteProtocolError(f"{len(body)} bytes where a message has {layout.size}")
    return layout.unpack(body)


def _facts(body: bytes) -> ImageFacts:
    membership = body[_BEGIN.size :]
    if not 0 < len(membership) <= IMAGE_MEMBERSHIP_BYTES_MAX:
        raise RemoteProtocolError(f"the beginning of an image has {len(body)} bytes")
    version, index, term, commit_ts, high_water, next_id, hash_key, group = _BEGIN.unpack_from(body)
    if version != FORMAT_VERSION:
        raise RemoteProtocolError(
            f"an image of rows of format {version}; this kvnode has format {FORMAT_VERSION}"
        )
    if not 0 < index <= high_water or not term or not next_id:
        raise RemoteProtocolError(
            f"an image of entry {index} of term {term}, up to {high_water}, next id {next_id}"
        )
    return ImageFacts(
        Position(index, term, commit_ts), high_water, next_id, hash_key, group, membership
    )


def encode_rows(rows: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the rows as they stand in chunks."""
    parts: list[bytes] = []
    for key, value in rows:
        parts += (_ROW.pack(len(key), len(value)), key, value)
    return b"".join(parts)


class RowDecoder:
    """Takes the pieces of the rows in order, gives rows. Keeps the beginning of one row at most."""

    def __init__(self) -> None:
        self.rows = 0
        self._rest: list[bytes] = []  # of a row that has not come in whole
        self._rest_bytes = 0
        self._needed = _ROW.size  # bytes of it with which one gets further
        self._last_key = b""

    def take(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return the rows that are whole now. Raises RemoteProtocolError."""
        self._rest.append(data)
        self._rest_bytes += len(data)
        if self._rest_bytes < self._needed:
            return []
        data = b"".join(self._rest)
        rows: list[tuple[bytes, bytes]] = []
        at, size, last_key = 0, len(data), self._last_key
        self._needed = _ROW.size
        while size - at >= _ROW.size:
            key_bytes, value_bytes = _ROW.unpack_from(data, at)
            row_bytes = _ROW.size + key_bytes + value_bytes
            if row_bytes > IMAGE_ROW_BYTES_MAX:
                raise RemoteProtocolError(f"a row of {row_bytes} bytes in an image")
            if at + row_bytes > size:
                self._needed = row_bytes
                break
            value_at = at + _ROW.size + key_bytes
            key = data[at + _ROW.size : value_at]
            at += row_bytes
            if key <= last_key:
                raise RemoteProtocolError("rows of an image are not in order")
            if key[0] in KINDS_LEFT_OUT:
                raise RemoteProtocolError("an image has rows that belong to a directory")
            rows.append((key, data[value_at:at]))
            last_key = key
        self._rest = [data[at:]] if at < size else []
        self._rest_bytes = size - at
        self._last_key = last_key
        self.rows += len(rows)
        return rows

    @property
    def is_between_rows(self) -> bool:
        return not self._rest_bytes


assert struct.calcsize("16s") == IMAGE_ID_BYTES == HASH_KEY_BYTES == GROUP_BYTES
