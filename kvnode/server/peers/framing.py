"""Frames on an authenticated link, and what is in them. Big-endian; DO NOT CHANGE, see VERSION.

    frame:     0 length of the body u32   4 CRC-32C of type and body u32   8 type u8   9 body
    GREETING   group 16, client address length u16, client address, membership as in raft/wire.py
    MESSAGE    a Raft message
    ENTRIES    length u32 and bytes of an Append, then the block of its entries
    IMAGE      a part of an image, see storage/image.py
    FORWARD    see server/forwarding.py

The version is the one of the handshake (handshake.py). CRCs find damage, not forgery.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from kvnode._core import crc32c
from kvnode.base.errors import RemoteProtocolError
from kvnode.base.limits import ADDRESS_BYTES_MAX, FRAME_BYTES_MAX
from kvnode.raft import wire
from kvnode.raft.membership import Membership
from kvnode.raft.messages import Append, Message
from kvnode.server.peers.handshake import NO_GROUP

_HEAD = struct.Struct(">IIB")
_LENGTH = struct.Struct(">I")
_GREETING = struct.Struct(">16sH")
assert FRAME_BYTES_MAX < 1 << 32


class FrameType(IntEnum):
    GREETING = 1
    MESSAGE = 2
    ENTRIES = 3
    IMAGE = 4
    FORWARD = 5


Frame = tuple[int, bytes]  # type and body

_COPIED_BYTES_MAX = 1024  # costs less than another piece
_CRC_OF_TYPE = [crc32c.extend(0, bytes([number])) for number in range(256)]


@dataclass(frozen=True, slots=True)
class Greeting:
    """What nodes tell each other first.

    group: NO_GROUP before founding. client_address: "host:port" for clients. members: those that
    founded the group, none if this node was not among them; before founding, see founding.py.
    """

    group: bytes
    client_address: str
    members: Membership

    @property
    def is_founded(self) -> bool:
        return self.group != NO_GROUP


def encode(kind: FrameType, parts: Iterable[bytes]) -> list[bytes]:
    """Return the pieces of a frame whose body is made of `parts`. None is empty.

    The head goes with the first part, if that is small.
    """
    pieces = []
    crc = _CRC_OF_TYPE[kind]
    length = 0
    for part in parts:
        if part:
            crc = crc32c.extend(crc, part)
            length += len(part)
            pieces.append(part)
    head = _HEAD.pack(length, crc, kind)
    if pieces and len(pieces[0]) <= _COPIED_BYTES_MAX:
        pieces[0] = head + pieces[0]
    else:
        pieces.insert(0, head)
    return pieces


def message_parts(message: Message) -> list[bytes]:
    return [wire.encode(message)]


def entries_parts(append: Append, block: bytes) -> list[bytes]:
    """Return the parts of the body of an ENTRIES frame; the block is not copied."""
    encoded = wire.encode(append)
    return [_LENGTH.pack(len(encoded)) + encoded, block]


def decode_entries(body: bytes) -> Append:
    """Return the message with its block as payload. Raises RemoteProtocolError."""
    if len(body) < _LENGTH.size:
        raise RemoteProtocolError(f"a frame of entries of {len(body)} bytes")
    (length,) = _LENGTH.unpack_from(body)
    end = _LENGTH.size + length
    if end > len(body):
        raise RemoteProtocolError("the message of a frame of entries is longer than the frame")
    message = wire.decode(body[_LENGTH.size : end])
    if not isinstance(message, Append):
        raise RemoteProtocolError("a frame of entries without an Append")
    block = body[end:]
    if bool(block) != (message.last_index > message.previous_index):
        raise RemoteProtocolError(
            f"{len(block)} bytes of entries {message.previous_index + 1}..{message.last_index}"
        )
    return message.with_payload(block)


def decode_message(body: bytes) -> Message:
    """Return the message. Raises RemoteProtocolError."""
    message = wire.decode(body)
    if isinstance(message, Append):
        raise RemoteProtocolError("an Append without its entries")
    return message


def greeting_parts(greeting: Greeting) -> list[bytes]:
    address = greeting.client_address.encode()
    assert len(address) <= ADDRESS_BYTES_MAX
    head = _GREETING.pack(greeting.group, len(address))
    return [head + address + wire.encode_membership(greeting.members)]


def decode_greeting(body: bytes) -> Greeting:
    """Return the greeting. Raises RemoteProtocolError."""
    if len(body) < _GREETING.size:
        raise RemoteProtocolError(f"a greeting of {len(body)} bytes")
    group, length = _GREETING.unpack_from(body)
    end = _GREETING.size + length
    if length > ADDRESS_BYTES_MAX or end > len(body):
        raise RemoteProtocolError(f"an address of {length} bytes")
    try:
        address = body[_GREETING.size : end].decode("ascii")
    except UnicodeDecodeError:
        raise RemoteProtocolError("a client address is not ASCII") from None
    if not address.isprintable():
        raise RemoteProtocolError("a client address is not printable")
    members = wire.decode_membership(body[end:])
    return Greeting(group, address, members)


class FrameReader:
    """Cuts what arrives into frames. bytes_max: of a body; a longer one is an error at once.

    At most one frame is kept, and only as much of it as has arrived.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._buffer = bytearray()
        self._needed = _HEAD.size  # bytes without which nothing can be done

    @property
    def buffered(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes | memoryview) -> list[Frame]:
        """Return the frames that are complete now. Raises RemoteProtocolError: close the link."""
        if not self._buffer:
            frames, at = self._cut(data)
            self._buffer += memoryview(data)[at:]
            return frames
        self._buffer += data
        if len(self._buffer) < self._needed:
            return []
        frames, at = self._cut(self._buffer)
        if at == len(self._buffer):
            self._buffer = bytearray()  # memory of the largest frame is given back
        else:
            del self._buffer[:at]
        return frames

    def _cut(self, data: bytes | bytearray | memoryview) -> tuple[list[Frame], int]:
        """Return the frames in `data` and where they end."""
        frames: list[Frame] = []
        at, size = 0, len(data)
        with memoryview(data) as view:
            while size - at >= _HEAD.size:
                length, crc, kind = _HEAD.unpack_from(view, at)
                if length > self._bytes_max:
                    raise RemoteProtocolError(
                        f"a frame of {length} bytes; here they have at most {self._bytes_max}"
                    )
                end = at + _HEAD.size + length
                if end > size:
                    self._needed = end - at
                    return frames, at
                body = bytes(view[at + _HEAD.size : end])
                if crc32c.extend(_CRC_OF_TYPE[kind], body) != crc:
                    raise RemoteProtocolError("a frame was damaged on its way")
                frames.append((kind, body))
                at = end
        self._needed = _HEAD.size
        return frames, at
