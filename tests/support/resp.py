"""A small blocking RESP2 and RESP3 client: exactly what was sent, exactly what was answered.

It has no opinion about commands: it frames what is sent, and returns each reply as the raw bytes or
as a parsed value. Errors are values (`ErrorReply`), since a pipeline goes on behind them.
"""

import math
import socket
from collections.abc import Callable

from kvnode.base.resp import encode
from tests.reference.numbers import double_text

RECEIVE_BYTES = 256 * 1024
LENGTH_KINDS = b"$=!"  # a length line, then so many bytes
# How many replies lie inside, for each unit of the count.
COUNT_FACTORS = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}

Reply = object  # bytes | int | float | bool | list | dict | None | ErrorReply


class ErrorReply(Exception):
    """An error that the server answered. `receive` returns it; `call` raises it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ErrorReply) and self.args == other.args

    def __hash__(self) -> int:
        return hash(self.args)

    @property
    def code(self) -> str:
        """First word of the line."""
        return str(self).split(" ", 1)[0]


class Push(list):
    """A RESP3 push message."""


class Status(bytes):
    """A simple string, told apart from a bulk string by its class only."""


class ReplySet(list):
    """A RESP3 set, its members in the order in which they were sent."""


class NullArray(list):
    """An absent array, which RESP2 tells apart from an absent string."""


class ReplyPairs(list):
    """Pairs: one flat array in RESP2, an array of arrays in RESP3."""


class ScoredPairs(ReplyPairs):
    """(member, score) pairs."""


class ReplyStream:
    """Replies cut out of a stream of bytes.

    transmit: sends bytes.   receive_some: returns the next bytes, b"" at the end of the stream.
    Both are given, so that the same reader serves a socket and a node without one.
    """

    def __init__(
        self, transmit: Callable[[bytes], None], receive_some: Callable[[], bytes]
    ) -> None:
        self._transmit = transmit
        self._receive_some = receive_some
        self._buffer = b""
        self._at = 0

    def send(self, data: bytes) -> None:
        """Send bytes as they are, for example encoded commands."""
        self._transmit(data)

    def call(self, *arguments: bytes | str | int) -> Reply:
        """Send one command and return its reply. Raises ErrorReply."""
        self.send(encode(*arguments))
        reply = self.receive()
        if isinstance(reply, ErrorReply):
            raise reply
        return reply

    def receive(self) -> Reply:
        """Return the next reply as a value."""
        return decode(self.receive_raw())

    def receive_raw(self) -> bytes:
        """Return the bytes of exactly one reply. Raises ConnectionResetError at the end."""
        start = self._at
        self._origin = start
        outstanding = 1
        while outstanding:
            line = self._line()
            kind, rest = line[:1], line[1:]
            outstanding -= 1
            if kind in COUNT_FACTORS:
                outstanding += COUNT_FACTORS[kind] * max(int(rest), 0)
                outstanding += kind == b"|"  # an attribute precedes the reply that it describes
            elif kind in LENGTH_KINDS:
                if int(rest) >= 0:
                    self._skip(int(rest) + 2)
            elif kind not in b"+-:_#,(" or not kind:
                raise ValueError(f"not a reply: {line[:80]!r}")
        raw = self._buffer[self._origin : self._at]
        self._buffer = self._buffer[self._at :]
        self._at = 0
        return raw

    def at_end(self) -> bool:
        """Wait for the end of the stream. Returns False when bytes arrive instead."""
        if self._at < len(self._buffer):
            return False
        try:
            data = self._receive_some()
        except ConnectionError:
            return True
        self._buffer += data
        return not data

    def _fill(self) -> None:
        data = self._receive_some()
        if not data:
            raise ConnectionResetError("closed by the server")
        self._buffer += data

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n", self._at)) < 0:
            self._fill()
        line = self._buffer[self._at : end]
        self._at = end + 2
        return line

    def _skip(self, count: int) -> None:
        if len(self._buffer) - self._at < count:
            parts = [self._buffer]
            missing = count - (len(self._buffer) - self._at)
            while missing > 0:
                data = self._receive_some()
                if not data:
                    raise ConnectionResetError("closed by the server")
                parts.append(data)
                missing -= len(data)
            self._buffer = b"".join(parts)
        self._at += count


class Connection(ReplyStream):
    """One connection over loopback. Raises OSError when the server is gone."""

    def __init__(self, port: int, *, timeout_s: float = 20.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(self.socket.sendall, lambda: self.socket.recv(RECEIVE_BYTES))

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; also from another thread."""
        self.socket.close()


def decode(raw: bytes) -> Reply:
    """Return the value of exactly one reply. Raises ValueError when it is anything else."""
    value, end = _decode_at(raw, 0)
    if end != len(raw):
        raise ValueError(f"bytes after the reply: {raw[end : end + 80]!r}")
    return value


def decode_all(raw: bytes) -> list[Reply]:
    """Return the values of any number of complete replies, or of commands as clients send them."""
    values = []
    at = 0
    while at < len(raw):
        value, at = _decode_at(raw, at)
        values.append(value)
    return values


def _decode_at(raw: bytes, at: int) -> tuple[Reply, int]:
    end = raw.index(b"\r\n", at)
    kind, rest = raw[at : at + 1], raw[at + 1 : end]
    at = end + 2
    if kind in SCALARS:
        return SCALARS[kind](rest), at
    size = int(rest)
    if size < 0:
        return None, at
    if kind in LENGTH_KINDS:
        data = raw[at : at + size]
        return (ErrorReply(data.decode("latin-1")) if kind == b"!" else data), at + size + 2
    items = []
    for _ in range(size * COUNT_FACTORS[kind]):
        item, at = _decode_at(raw, at)
        items.append(item)
    if kind == b"|":
        return _decode_at(raw, at)
    if kind == b"%":
        return dict(zip(items[::2], items[1::2], strict=True)), at
    return {b"*": list, b"~": ReplySet, b">": Push}[kind](items), at


def split_array(raw: bytes) -> list[bytes]:
    """Return the bytes of each element of an array. Raises ValueError for anything else."""
    end = raw.index(b"\r\n")
    if raw[:1] != b"*":
        raise ValueError(f"not an array: {raw[:80]!r}")
    at = end + 2
    items = []
    for _ in range(max(int(raw[1:end]), 0)):
        start = at
        _, at = _decode_at(raw, at)
        items.append(raw[start:at])
    return items


def encode_reply(value: Reply, protocol: int = 2) -> bytes:
    """Return the bytes of a reply; the inverse of `decode` for what RESP2 can say."""
    if value is None:
        return b"$-1\r\n" if protocol == 2 else b"_\r\n"
    if isinstance(value, ErrorReply):
        return b"-%s\r\n" % str(value).encode("latin-1")
    if isinstance(value, Status):
        return b"+%s\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%s\r\n" % (len(value), value)
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, float):
        text = double_text(value) if math.isfinite(value) else str(value).encode()
        return encode_reply(text) if protocol == 2 else b",%s\r\n" % text
    if isinstance(value, NullArray):
        return b"*-1\r\n" if protocol == 2 else b"_\r\n"
    if isinstance(value, ReplyPairs):
        value = [list(pair) for pair in value]
        if protocol == 2:
            value = [item for pair in value for item in pair]
    if isinstance(value, dict):
        flat = b"".join(encode_reply(x, protocol) for pair in value.items() for x in pair)
        return (b"*%d\r\n" % (2 * len(value)) if protocol == 2 else b"%%%d\r\n" % len(value)) + flat
    assert isinstance(value, list), f"no reply: {value!r}"
    kind = b"~" if protocol == 3 and isinstance(value, ReplySet) else b"*"
    return b"%s%d\r\n" % (kind, len(value)) + b"".join(
        encode_reply(item, protocol) for item in value
    )


SCALARS: dict[bytes, Callable[[bytes], Reply]] = {
    b"+": Status,
    b"-": lambda rest: ErrorReply(rest.decode("latin-1")),
    b":": int,
    b"_": lambda _: None,
    b"#": lambda rest: rest == b"t",
    b",": float,
    b"(": int,
}
