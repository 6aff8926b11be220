"""Frames: what is sent is received, cut anyhow; damage and lies are errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvnode.base.errors import RemoteProtocolError
from kvnode.raft import messages as m
from kvnode.raft.membership import Member, Membership
from kvnode.server.peers import framing
from kvnode.server.peers.framing import FrameReader, FrameType, Greeting, encode

APPEND = m.Append(1, 2, 5, 10, 4, 5, 12, 11)
MEMBERS = Membership.of_voters([Member(1, b"i" * 16, "a:1"), Member(2, b"", "[::1]:2")])

FRAMES = st.lists(st.tuples(st.sampled_from(FrameType), st.binary(max_size=3000)), max_size=8)


def joined(frames) -> bytes:
    return b"".join(b"".join(encode(kind, [body])) for kind, body in frames)


@given(FRAMES, st.data())
def test_frames_cut_anyhow(frames, data: st.DataObject) -> None:
    stream = joined(frames)
    reader = FrameReader(3000)
    found, at = [], 0
    while at < len(stream):
        step = data.draw(st.integers(1, 4000))
        found += reader.feed(stream[at : at + step])
        at += step
        assert reader.buffered < 3000 + 9
    assert found == frames
    assert reader.buffered == 0


def test_byte_by_byte() -> None:
    reader = FrameReader(100)
    frames = [(FrameType.MESSAGE, b""), (FrameType.IMAGE, b"x" * 100)]
    found = [frame for byte in joined(frames) for frame in reader.feed(bytes([byte]))]
    assert found == frames


def test_pieces_are_not_copied_when_large() -> None:
    block = bytes(1 << 20)
    pieces = encode(FrameType.ENTRIES, framing.entries_parts(APPEND, block))
    assert len(pieces) == 2
    assert pieces[1] is block
    assert encode(FrameType.IMAGE, [block])[1] is block
    assert all(encode(FrameType.ENTRIES, framing.entries_parts(APPEND, b"")))


@given(FRAMES.filter(bool), st.data())
def test_a_changed_byte_is_found(frames, data: st.DataObject) -> None:
    stream = bytearray(joined(frames))
    at = data.draw(st.integers(0, len(stream) - 1))
    stream[at] ^= data.draw(st.integers(1, 255))
    reader = FrameReader(3000)
    try:
        found = reader.feed(bytes(stream))
    except RemoteProtocolError:
        return
    # A length that became larger: the rest is still awaited, and no changed frame was handed out.
    assert reader.buffered
    assert found == frames[: len(found)]


def test_planted_frames_that_are_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = bytearray(joined([(FrameType.MESSAGE, b"body")]))
    stream[-1] ^= 1
    with pytest.raises(RemoteProtocolError, match="damaged"):
        FrameReader(10).feed(bytes(stream))
    crc = int.from_bytes(stream[4:8], "big")
    monkeypatch.setattr(framing.crc32c, "extend", lambda before, data: crc)
    assert FrameReader(10).feed(bytes(stream)) == [(FrameType.MESSAGE, b"bodx")]


def test_a_long_frame_is_refused_by_its_head() -> None:
    with pytest.raises(RemoteProtocolError, match="101 bytes; here they have at most 100"):
        FrameReader(100).feed(joined([(FrameType.MESSAGE, b"x" * 101)])[:9])


@given(st.binary(max_size=200))
def test_any_body_is_a_message_or_an_error(body: bytes) -> None:
    for decode in (framing.decode_entries, framing.decode_message, framing.decode_greeting):
        try:
            decode(body)
        except RemoteProtocolError:
            continue


def test_entries_go_with_their_message() -> None:
    body = b"".join(framing.entries_parts(APPEND, b"block"))
    message = framing.decode_entries(body)
    assert (message, message.payload) == (APPEND, b"block")
    empty = m.Append(1, 2, 5, 10, 4, 5, 10, 10)
    assert framing.decode_entries(b"".join(framing.entries_parts(empty, b""))) == empty


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "a frame of entries of 0 bytes"),
        (b"\0\0\0\5abc", "longer than the frame"),
        (b"".join(framing.entries_parts(APPEND, b"")), r"0 bytes of entries 11\.\.12"),
        (
            b"".join(framing.entries_parts(m.Append(1, 2, 5, 10, 4, 5, 10, 9), b"x")),
            r"1 bytes of entries 11\.\.10",
        ),
    ],
)
def test_wrong_entries(body: bytes, sentence: str) -> None:
    with pytest.raises(RemoteProtocolError, match=sentence):
        framing.decode_entries(body)


def test_a_message_in_the_wrong_frame() -> None:
    with pytest.raises(RemoteProtocolError, match="without its entries"):
        framing.decode_message(framing.message_parts(APPEND)[0])
    vote = framing.message_parts(m.VoteReply(1, 2, 3, True))[0]
    with pytest.raises(RemoteProtocolError, match="without an Append"):
        framing.decode_entries(len(vote).to_bytes(4, "big") + vote)


@given(
    st.binary(min_size=16, max_size=16),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=262),
)
def test_greetings(group: bytes, address: str) -> None:
    greeting = Greeting(group, address, MEMBERS)
    assert framing.decode_greeting(framing.greeting_parts(greeting)[0]) == greeting


def test_a_client_address_cannot_write_into_a_reply() -> None:
    body = framing.greeting_parts(Greeting(bytes(16), "a\r\n+OK", MEMBERS))[0]
    with pytest.raises(RemoteProtocolError, match="not printable"):
        framing.decode_greeting(body)
