"""RESP2 for who asks a node: commands to bytes, bytes to replies. Sans-IO."""

from kvnode.base.errors import KvnodeError, RemoteProtocolError
from kvnode.base.limits import REPLY_BYTES_MAX, REPLY_DEPTH_MAX

NOT_YET = object()  # the bytes received so far end inside a reply


class ErrorReply(KvnodeError):
    """An error that a node answered. `next_reply` returns it; its text is the whole line."""

    @property
    def code(self) -> str:
        """First word of the line."""
        return str(self).partition(" ")[0]


Reply = bytes | int | list | ErrorReply | None


def encode(*arguments: bytes | str | int) -> bytes:
    """Return one command as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        data = argument if isinstance(argument, bytes) else str(argument).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


class ReplyReader:
    """Replies out of a stream of bytes, which may come in any pieces."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0

    def feed(self, data: bytes) -> None:
        """Take bytes that were received. Raises RemoteProtocolError if a reply is too large."""
        self._data += data
        if len(self._data) > REPLY_BYTES_MAX:
            raise RemoteProtocolError(f"a reply of more than {REPLY_BYTES_MAX} bytes")

    def next_reply(self) -> Reply | object:
        """Return the next reply, or NOT_YET. Raises RemoteProtocolError."""
        self._at = 0
        reply = self._read(REPLY_DEPTH_MAX)
        if reply is not NOT_YET:
            del self._data[: self._at]
        return reply

    def _read(self, depth: int) -> Reply | object:
        line = self._line()
        if line is None:
            return NOT_YET
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return ErrorReply(rest.decode("utf-8", "replace"))
        number = self._number(line, rest)
        if kind == b":":
            return number
        if kind == b"$":
            return self._bulk(number)
        if kind == b"*":
            return self._array(number, depth)
        raise RemoteProtocolError(f"no reply: {line[:80]!r}")

    def _line(self) -> bytes | None:
        end = self._data.find(b"\r\n", self._at)
        if end < 0:
            return None
        line = bytes(self._data[self._at : end])
        self._at = end + 2
        return line

    def _number(self, line: bytes, digits: bytes) -> int:
        try:
            return int(digits)
        except ValueError:
            raise RemoteProtocolError(f"no reply: {line[:80]!r}") from None

    def _bulk(self, size: int) -> Reply | object:
        if size < 0:
            return None
        end = self._at + size
        if len(self._data) < end + 2:
            return NOT_YET
        data = bytes(self._data[self._at : end])
        self._at = end + 2
        return data

    def _array(self, count: int, depth: int) -> Reply | object:
        if count < 0:
            return None
        if depth == 0:
            raise RemoteProtocolError("arrays in arrays in arrays")
        items = []
        for _ in range(count):
            item = self._read(depth - 1)
            if item is NOT_YET:
                return NOT_YET
            items.append(item)
        return items
