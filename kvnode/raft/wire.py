"""Messages between nodes as bytes. Big-endian; between versions: DO NOT CHANGE, count VERSION up.

    0 version u8   1 kind u8   2 zero u16   4 source u64   12 target u64   20 term u64   28 body

Bodies are fixed, except for memberships. How messages are framed is the peer link's business. The
entries of an Append follow it as a block, see _core/replicated_log.pyi. The payload of an entry
that changes the membership is one byte, 3, and the membership.

    membership: count u8, then of each member: node id u64, parts u8 (bits: voter, outgoing,
    learner, promotable, demoted), identity length u8, address length u16, identity, address
"""

import struct
from collections.abc import Callable
from typing import Any, TypeVar

from kvnode._core.replicated_log import check_block
from kvnode.base.errors import RemoteProtocolError
from kvnode.base.limits import APPEND_ENTRIES_MAX, MEMBERS_MAX
from kvnode.raft.membership import Member, Membership
from kvnode.raft.messages import (
    Append,
    AppendReject,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    PreVoteReply,
    ReadReply,
    ReadRequest,
    Snapshot,
    SnapshotOffer,
    TimeoutNow,
    Vote,
    VoteReply,
)

VERSION = 1
MEMBERSHIP_ENTRY = b"\x03"  # as LOG_MEMBERSHIP in _core/log_format.hpp. On disk: DO NOT CHANGE

T = TypeVar("T")

_HEADER = struct.Struct(">BBHQQQ")
_MEMBER = struct.Struct(">QBBH")
_SNAPSHOT = struct.Struct(">QQQ")
_APPEND = struct.Struct(">QQQQQH")
_INDEX = struct.Struct(">Q")
_PARTS = ("voters", "outgoing", "learners", "promotable", "demoted")

# kind: class and its body. The numbers are part of the format.
_FIXED: dict[int, tuple[type[Message], struct.Struct, tuple[str, ...]]] = {
    1: (PreVote, struct.Struct(">QQ"), ("last_index", "last_term")),
    2: (PreVoteReply, struct.Struct(">B"), ("granted",)),
    3: (Vote, struct.Struct(">QQB"), ("last_index", "last_term", "is_transfer")),
    4: (VoteReply, struct.Struct(">B"), ("granted",)),
    5: (Heartbeat, struct.Struct(">QQ"), ("committed", "round")),
    6: (HeartbeatReply, struct.Struct(">QQ"), ("round", "match")),
    8: (AppendReply, struct.Struct(">Q"), ("match",)),
    9: (AppendReject, struct.Struct(">QQQ"), ("previous_index", "hint_index", "hint_term")),
    11: (ReadRequest, struct.Struct(">QQ"), ("ticket", "instance")),
    12: (ReadReply, struct.Struct(">QQQQ"), ("ticket", "instance", "index", "time_ms")),
    13: (TimeoutNow, struct.Struct(">"), ()),
}
_FLAGS = ("granted", "is_transfer")
_KINDS: dict[type[Message], int] = {cls: kind for kind, (cls, _, _) in _FIXED.items()}
_KINDS |= {Append: 7, SnapshotOffer: 10}


class _Reader:
    """Takes bytes from the front, and never more than there are."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, layout: struct.Struct) -> tuple[Any, ...]:
        return layout.unpack(self.bytes(layout.size))

    def bytes(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise RemoteProtocolError(f"a message of {len(self._data)} bytes needs {end} or more")
        part, self._at = self._data[self._at : end], end
        return part

    def end(self) -> None:
        if self._at != len(self._data):
            raise RemoteProtocolError(f"{len(self._data) - self._at} bytes behind a message")


def encode(message: Message) -> bytes:
    """Return the bytes of a message; of an Append without its payload."""
    kind = _KINDS[type(message)]
    head = _HEADER.pack(VERSION, kind, 0, message.source, message.target, message.term)
    match message:
        case Append():
            body = _APPEND.pack(
                message.previous_index,
                message.previous_term,
                message.entry_term,
                message.last_index,
                message.committed,
                len(message.memberships),
            )
            parts = [_INDEX.pack(i) + encode_membership(m) for i, m in message.memberships]
            return head + body + b"".join(parts)
        case SnapshotOffer(snapshot=s):
            return (
                head
                + _SNAPSHOT.pack(s.index, s.term, s.high_water)
                + encode_membership(s.membership)
            )
    _, layout, names = _FIXED[kind]
    return head + layout.pack(*(getattr(message, name) for name in names))


def decode(data: bytes) -> Message:
    """Return the message. Raises RemoteProtocolError."""
    return _whole(_decode, data)


def encode_membership(membership: Membership) -> bytes:
    parts = [bytes([len(membership.members)])]
    for member in membership.members:
        bits = sum(
            1 << bit
            for bit, name in enumerate(_PARTS)
            if member.node_id in getattr(membership, name)
        )
        address = member.address.encode()
        parts.append(_MEMBER.pack(member.node_id, bits, len(member.identity), len(address)))
        parts.append(member.identity + address)
    return b"".join(parts)


def decode_membership(data: bytes) -> Membership:
    """Return the membership. Raises RemoteProtocolError."""
    return _whole(_membership, data)


def encode_membership_entry(membership: Membership) -> bytes:
    """Return the payload of the entry that makes this the membership."""
    return MEMBERSHIP_ENTRY + encode_membership(membership)


def decode_membership_entry(payload: bytes) -> Membership:
    """Raises RemoteProtocolError, as it does when the entry is not a membership."""
    if not payload.startswith(MEMBERSHIP_ENTRY):
        raise RemoteProtocolError("an entry that is no membership")
    return decode_membership(payload[1:])


def check_entries(message: Append, block: bytes) -> None:
    """Check that `block` is what the message says: its entries, and memberships among them.

    To be asked before Raft gets the message, since it is to store what it has accepted.
    Raises RemoteProtocolError.
    """
    found = check_block(block, message.previous_index + 1, message.last_index)
    if tuple((index, decode_membership(data)) for index, data in found) != message.memberships:
        raise RemoteProtocolError("a message names other memberships than are in its entries")


def _whole(read: Callable[[_Reader], T], data: bytes) -> T:
    reader = _Reader(data)
    value = read(reader)
    reader.end()
    return value


def _decode(reader: _Reader) -> Message:
    version, kind, zero, source, target, term = reader.take(_HEADER)
    envelope: tuple[int, int, int] = (source, target, term)
    if version != VERSION:
        raise RemoteProtocolError(f"message of version {version}; this kvnode speaks {VERSION}")
    if zero:
        raise RemoteProtocolError("a reserved field is not zero")
    if kind == _KINDS[Append]:
        return _append(reader, envelope)
    if kind == _KINDS[SnapshotOffer]:
        index, index_term, high_water = reader.take(_SNAPSHOT)
        if not 0 < index <= high_water:
            raise RemoteProtocolError("an image ends before it begins")
        snapshot = Snapshot(index, index_term, high_water, _membership(reader))
        return SnapshotOffer(*envelope, snapshot)
    if kind not in _FIXED:
        raise RemoteProtocolError(f"unknown kind of message {kind}")
    cls, layout, names = _FIXED[kind]
    values = list(reader.take(layout))
    for at, name in enumerate(names):
        if name in _FLAGS:
            if values[at] > 1:
                raise RemoteProtocolError(f"{name} is {values[at]}, neither 0 nor 1")
            values[at] = bool(values[at])
    return cls(*envelope, *values)


def _append(reader: _Reader, envelope: tuple[int, int, int]) -> Append:
    after, previous_term, entry_term, last, committed, count = reader.take(_APPEND)
    previous = after
    if not previous <= last <= previous + APPEND_ENTRIES_MAX:
        raise RemoteProtocolError(f"entries {previous + 1}..{last} in one message")
    if not previous_term <= entry_term <= envelope[2]:
        raise RemoteProtocolError("terms of entries do not go back, nor beyond the sender's")
    memberships = []
    for _ in range(count):
        (index,) = reader.take(_INDEX)
        if not previous < index <= last:
            raise RemoteProtocolError(f"a membership at {index}, not among the entries")
        previous = index
        memberships.append((index, _membership(reader)))
    return Append(*envelope, after, previous_term, entry_term, last, committed, tuple(memberships))


def _membership(reader: _Reader) -> Membership:
    count = reader.bytes(1)[0]
    if count > MEMBERS_MAX:
        raise RemoteProtocolError(f"{count} members; there are at most {MEMBERS_MAX}")
    members, parts = [], [set[int]() for _ in _PARTS]
    for _ in range(count):
        node_id, bits, identity_bytes, address_bytes = reader.take(_MEMBER)
        identity = reader.bytes(identity_bytes)
        try:
            address = reader.bytes(address_bytes).decode()
        except UnicodeDecodeError:
            raise RemoteProtocolError("an address is not UTF-8") from None
        members.append(Member(node_id, identity, address))
        if bits >> len(_PARTS):
            raise RemoteProtocolError(f"unknown parts of a member: {bits}")
        for bit, part in enumerate(parts):
            if bits >> bit & 1:
                part.add(node_id)
    try:
        return Membership(tuple(members), *map(frozenset, parts))
    except AssertionError:
        raise RemoteProtocolError("members and their parts do not fit together") from None
