"""Messages about images as bytes: what is encoded is decoded, and nothing else is taken."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvnode._core import crc32c
from kvnode.base.errors import RemoteProtocolError
from kvnode.base.limits import IMAGE_CHUNK_BYTES, IMAGE_MEMBERSHIP_BYTES_MAX, IMAGE_TEXT_BYTES_MAX
from kvnode.storage.image import (
    MESSAGE_BYTES_MAX,
    Abort,
    Ack,
    Begin,
    End,
    ImageFacts,
    RowDecoder,
    decode,
    encode,
    encode_rows,
    make_chunk,
)
from kvnode.storage.local import Position

U64 = st.integers(0, 2**64 - 1)
SOME = st.integers(1, 2**64 - 1)
ID = st.binary(min_size=16, max_size=16)


@st.composite
def facts(draw):
    index, high_water = sorted([draw(SOME), draw(SOME)])
    at = Position(index, draw(SOME), draw(U64))
    some_bytes = st.binary(min_size=1, max_size=99)
    return ImageFacts(at, high_water, draw(SOME), draw(ID), draw(ID), draw(some_bytes))


MESSAGES = st.one_of(
    st.builds(Begin, ID, facts()),
    st.builds(make_chunk, ID, U64, st.binary(min_size=1, max_size=999)),
    st.builds(End, ID, U64, U64, st.integers(0, 2**32 - 1)),
    st.builds(Ack, ID, U64),
    st.builds(Abort, ID, st.text("why é", max_size=100)),
)


def sealed(rest: bytes) -> bytes:
    """Return the message with the CRC that it must have."""
    return crc32c.extend(0, rest).to_bytes(4, "big") + rest


@given(MESSAGES)
def test_there_and_back(message):
    assert decode(encode(message)) == message


@given(MESSAGES, st.data())
def test_no_byte_may_change(message, data):
    encoded = bytearray(encode(message))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RemoteProtocolError):
        decode(bytes(encoded))


@given(MESSAGES, st.data())
def test_cut_and_lengthened(message, data):
    encoded = encode(message)
    for other in (
        encoded[: data.draw(st.integers(0, len(encoded) - 1))],
        encoded + data.draw(st.binary(min_size=1, max_size=9)),
    ):
        with pytest.raises(RemoteProtocolError):
            decode(other)


@settings(max_examples=500)
@given(st.binary(max_size=120), st.integers(0, 7), st.sampled_from([0, 1, 1, 1, 2]))
def test_any_bytes_with_a_good_checksum(body, kind, version):
    """What an enemy, or a bug, could send: it is a message, the same bytes again, or refused."""
    data = sealed(bytes([version, kind, 0, 0]) + body)
    try:
        message = decode(data)
    except RemoteProtocolError:
        return
    if not isinstance(message, Abort):
        assert encode(message) == data


def test_bounds():
    image_id = bytes(16)
    largest = encode(make_chunk(image_id, 2**64 - 1, bytes(IMAGE_CHUNK_BYTES)))
    assert decode(largest).number == 2**64 - 1
    assert len(largest) <= MESSAGE_BYTES_MAX
    at = Position(1, 1, 1)
    begin = Begin(
        image_id, ImageFacts(at, 1, 1, image_id, image_id, bytes(IMAGE_MEMBERSHIP_BYTES_MAX))
    )
    assert decode(encode(begin)) == begin
    with pytest.raises(RemoteProtocolError):
        decode(sealed(encode(begin)[4:] + b"x"))
    with pytest.raises(RemoteProtocolError):
        decode(sealed(largest[4:] + b"x"))
    assert len(decode(encode(Abort(image_id, "é" * 999))).reason) <= IMAGE_TEXT_BYTES_MAX


def test_bytes_of_messages():
    """The format: a change of these is a change of VERSION."""
    image_id = bytes(range(16))
    assert encode(Ack(image_id, 5)).hex() == (
        "5726595c01040000000102030405060708090a0b0c0d0e0f0000000000000005"
    )
    assert encode(make_chunk(image_id, 1, b"abc")).hex() == (
        "69c2ead501020000000102030405060708090a0b0c0d0e0f0000000000000001616263"
    )
    facts = ImageFacts(Position(7, 2, 9), 11, 13, bytes(range(16, 32)), bytes(range(32, 48)), b"M")
    assert encode(Begin(image_id, facts)).hex() == (
        "16d27cb9"
        "01010000"
        "000102030405060708090a0b0c0d0e0f"
        "00000002"
        "0000000000000007"
        "0000000000000002"
        "0000000000000009"
        "000000000000000b"
        "000000000000000d"
        "101112131415161718191a1b1c1d1e1f"
        "202122232425262728292a2b2c2d2e2f"
        "4d"
    )


ROWS = st.dictionaries(
    st.binary(min_size=1, max_size=20).filter(lambda key: key[:1] not in (b"L", b"Y")),
    st.binary(max_size=60),
)


@given(ROWS, st.data())
def test_rows_in_pieces(rows, data):
    whole = encode_rows(sorted(rows.items()))
    decoder, got, at = RowDecoder(), [], 0
    while at < len(whole):
        step = data.draw(st.integers(1, 50))
        got += decoder.take(whole[at : at + step])
        at += step
    assert got == sorted(rows.items())
    assert decoder.is_between_rows
    assert decoder.rows == len(rows)


@pytest.mark.parametrize(
    "rows",
    [
        encode_rows([(b"b", b""), (b"a", b"")]),
        encode_rows([(b"b", b""), (b"b", b"")]),
        encode_rows([(b"", b"")]),
        encode_rows([(b"Lidentity", b"x")]),
        encode_rows([(b"Yx", b"x")]),
        b"\xff" * 8,
    ],
)
def test_rows_that_are_refused(rows):
    with pytest.raises(RemoteProtocolError):
        RowDecoder().take(rows)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20))
def test_any_bytes_as_rows(pieces):
    decoder = RowDecoder()
    try:
        rows = [row for piece in pieces for row in decoder.take(piece)]
    except RemoteProtocolError:
        return
    assert encode_rows(rows) == b"".join(pieces)[: len(encode_rows(rows))]
