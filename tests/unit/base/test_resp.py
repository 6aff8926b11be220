"""The reader of replies: whole, in pieces, and what is none."""

import pytest

from kvnode.base.errors import RemoteProtocolError
from kvnode.base.limits import REPLY_BYTES_MAX, REPLY_DEPTH_MAX
from kvnode.base.resp import NOT_YET, ErrorReply, ReplyReader, encode

REPLIES = [
    (b"+OK\r\n", b"OK"),
    (b":-5\r\n", -5),
    (b"$3\r\na\r\n\r\n", b"a\r\n"),
    (b"$0\r\n\r\n", b""),
    (b"$-1\r\n", None),
    (b"*-1\r\n", None),
    (b"*0\r\n", []),
    (b"*2\r\n*1\r\n:1\r\n$1\r\nx\r\n", [[1], b"x"]),
]


def test_encode() -> None:
    assert encode("SET", b"k\xff", 5) == b"*3\r\n$3\r\nSET\r\n$2\r\nk\xff\r\n$1\r\n5\r\n"


@pytest.mark.parametrize(("data", "value"), REPLIES)
def test_replies(data: bytes, value: object) -> None:
    whole = ReplyReader()
    whole.feed(data + b"+more\r\n")
    assert whole.next_reply() == value
    assert whole.next_reply() == b"more"
    assert whole.next_reply() is NOT_YET
    pieces = ReplyReader()
    for i in range(len(data)):
        assert pieces.next_reply() is NOT_YET
        pieces.feed(data[i : i + 1])
    assert pieces.next_reply() == value


def test_an_error_is_a_value() -> None:
    reader = ReplyReader()
    reader.feed(b"-TRYAGAIN no leader\r\n")
    error = reader.next_reply()
    assert isinstance(error, ErrorReply)
    assert (str(error), error.code) == ("TRYAGAIN no leader", "TRYAGAIN")


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 200\r\n", b"\r\n", b":x\r\n", b"*1\r\n" * (REPLY_DEPTH_MAX + 2)]
)
def test_what_is_no_reply(data: bytes) -> None:
    reader = ReplyReader()
    reader.feed(data)
    with pytest.raises(RemoteProtocolError):
        reader.next_reply()


def test_a_reply_is_bounded() -> None:
    reader = ReplyReader()
    reader.feed(bytes(REPLY_BYTES_MAX))
    with pytest.raises(RemoteProtocolError):
        reader.feed(b"x")
