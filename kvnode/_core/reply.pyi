from collections.abc import Collection

class Reply:
    """Writes the replies of one session.

    proto: 2 or 3, the protocol that the client chose by HELLO.
    """

    proto: int

    def ok(self) -> None:
        """+OK"""

    def simple(self, text: bytes) -> None:
        """A status line, for example b"PONG"."""

    def error(self, text: bytes) -> None:
        """An error line, its code first, for example b"ERR syntax error"."""

    def integer(self, value: int) -> None:
        """An integer."""

    def bulk(self, value: bytes | None) -> None:
        """A bulk string; None is the null."""

    def null(self) -> None:
        """The absent value."""

    def null_array(self) -> None:
        """The absent array."""

    def array(self, count: int) -> None:
        """Head of an array; `count` replies follow."""

    def map(self, count: int) -> None:
        """Head of a map; `count` pairs of replies follow."""

    def set(self, count: int) -> None:
        """Head of a set; `count` replies follow."""

    def push(self, count: int) -> None:
        """Head of an out-of-band message (in RESP2 an array)."""

    def double(self, value: float) -> None:
        """A floating point number (in RESP2 a bulk string)."""

    def boolean(self, value: bool) -> None:
        """True or false (in RESP2 1 or 0)."""

    def verbatim(self, text: bytes) -> None:
        """Text for people (in RESP2 a bulk string)."""

    def bulks(self, values: Collection[bytes | None]) -> None:
        """An array of bulk strings."""

    def raw(self, data: bytes) -> None:
        """Bytes that are RESP already."""

    def size(self) -> int:
        """Bytes written and not yet taken."""

    def truncate(self, size: int) -> None:
        """Take back what was written past `size`."""

    def tail(self, start: int) -> bytes:
        """Return the bytes written from offset `start` on."""

    def take(self) -> bytes:
        """Return all bytes written so far and forget them."""
