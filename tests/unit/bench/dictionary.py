"""A target for the instruction counter: a dict behind just enough RESP."""

from collections.abc import Callable


def connect() -> Callable[[bytes], bytes]:
    """Return feed() of an empty dictionary."""
    held: dict[bytes, bytes] = {}
    rest = b""

    def execute(words: list[bytes]) -> bytes:
        name = words[0]
        if name == b"GET":
            value = held.get(words[1])
            return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)
        if name in (b"SET", b"MSET"):
            held.update(zip(words[1::2], words[2::2], strict=True))
        if name == b"INCR":
            held[words[1]] = b"%d" % (int(held.get(words[1], b"0")) + 1)
        return b"+OK\r\n"

    def feed(data: bytes) -> bytes:
        nonlocal rest
        lines = (rest + data).split(b"\r\n")
        replies, start = [], 0
        while start < len(lines) and lines[start].startswith(b"*"):
            end = start + 1 + 2 * int(lines[start][1:])
            if end >= len(lines):
                break
            replies.append(execute(lines[start + 2 : end : 2]))
            start = end
        rest = b"\r\n".join(lines[start:])
        return b"".join(replies)

    return feed
