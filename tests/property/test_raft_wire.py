"""Raft's messages as bytes: what is encoded is decoded, and nothing else is taken."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvnode._core.replicated_log import encode_block
from kvnode.base.errors import RemoteProtocolError
from kvnode.base.limits import APPEND_ENTRIES_MAX
from kvnode.raft import messages as m
from kvnode.raft.membership import Member, Membership
from kvnode.raft.wire import (
    check_entries,
    decode,
    decode_membership,
    decode_membership_entry,
    encode,
    encode_membership,
    encode_membership_entry,
)

U64 = st.integers(0, 2**64 - 1)
ENVELOPE = (U64, U64, U64)


@st.composite
def memberships(draw):
    ids = draw(st.lists(U64, max_size=9, unique=True))
    text = st.text("host:0123é", max_size=12)
    members = sorted(Member(i, draw(st.binary(max_size=16)), draw(text)) for i in ids)
    parts = {"voters": set(), "outgoing": set(), "learners": set()}
    promotable, demoted = set(), set()
    for i in ids:
        where = draw(st.sampled_from(["voters", "outgoing", "both", "learners"]))
        for part in ("voters", "outgoing") if where == "both" else (where,):
            parts[part].add(i)
        if draw(st.booleans()):
            promotable |= {i} if where == "learners" else set()
            demoted |= {i} if where == "outgoing" else set()
    return Membership(
        tuple(members), *map(frozenset, parts.values()), frozenset(promotable), frozenset(demoted)
    )


@st.composite
def appends(draw):
    previous = draw(st.integers(0, 2**60))
    last = previous + draw(st.integers(0, APPEND_ENTRIES_MAX))
    terms = sorted(draw(st.tuples(U64, U64, U64)))
    indexes = draw(st.sets(st.integers(previous + 1, last), max_size=3)) if last > previous else ()
    entries = tuple((index, draw(memberships())) for index in sorted(indexes))
    return m.Append(
        draw(U64), draw(U64), terms[2], previous, terms[0], terms[1], last, draw(U64), entries
    )


@st.composite
def offers(draw):
    index, high = sorted(draw(st.tuples(st.integers(1, 2**64 - 1), st.integers(1, 2**64 - 1))))
    snapshot = m.Snapshot(index, draw(U64), high, draw(memberships()))
    return m.SnapshotOffer(*(draw(U64) for _ in range(3)), snapshot)


MESSAGES = st.one_of(
    st.builds(m.PreVote, *ENVELOPE, U64, U64),
    st.builds(m.PreVoteReply, *ENVELOPE, st.booleans()),
    st.builds(m.Vote, *ENVELOPE, U64, U64, st.booleans()),
    st.builds(m.VoteReply, *ENVELOPE, st.booleans()),
    st.builds(m.Heartbeat, *ENVELOPE, U64, U64),
    st.builds(m.HeartbeatReply, *ENVELOPE, U64, U64),
    appends(),
    st.builds(m.AppendReply, *ENVELOPE, U64),
    st.builds(m.AppendReject, *ENVELOPE, U64, U64, U64),
    offers(),
    st.builds(m.ReadRequest, *ENVELOPE, U64, U64),
    st.builds(m.ReadReply, *ENVELOPE, U64, U64, U64, U64),
    st.builds(m.TimeoutNow, *ENVELOPE),
)


@settings(max_examples=60, deadline=None)
@given(MESSAGES)
def test_a_message_comes_back(message):
    assert decode(encode(message)) == message


@settings(max_examples=60, deadline=None)
@given(memberships())
def test_a_membership_comes_back(membership):
    assert decode_membership(encode_membership(membership)) == membership


@settings(max_examples=60, deadline=None)
@given(MESSAGES, st.data())
def test_a_part_of_a_message_is_none(message, data):
    whole = encode(message)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(RemoteProtocolError):
        decode(whole[:cut])
    with pytest.raises(RemoteProtocolError, match="behind a message"):
        decode(whole + b"x")


@settings(max_examples=200, deadline=None)
@given(MESSAGES, st.data())
def test_changed_bytes_give_a_message_or_the_error(message, data):
    """And a message that is taken is encoded as it came: there is one way to write each."""
    changed = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        received = decode(bytes(changed))
    except RemoteProtocolError:
        return
    assert encode(received) == bytes(changed)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80))
def test_garbage_gives_the_error(data):
    with pytest.raises(RemoteProtocolError):
        decode(data if data[:1] != b"\x01" else b"\x02" + data)


GOOD = encode(m.Heartbeat(1, 2, 3, 4, 5))
ENTRIES = encode(m.Append(1, 2, 7, 4, 3, 5, 6, 2, ((5, Membership.of_voters([1])),)))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x09" + GOOD[1:], "message of version 9; this kvnode speaks 1"),
        (GOOD[:1] + b"\x63" + GOOD[2:], "unknown kind of message 99"),
        (GOOD[:3] + b"\x01" + GOOD[4:], "a reserved field is not zero"),
        (encode(m.VoteReply(1, 2, 3, True))[:-1] + b"\x02", "granted is 2, neither 0 nor 1"),
        (GOOD[:-1], "a message of 43 bytes needs 44 or more"),
        (encode(m.Append(1, 2, 7, 9, 3, 5, 6, 2)), r"entries 10..6 in one message"),
        (encode(m.Append(1, 2, 4, 4, 3, 5, 6, 2)), "nor beyond the sender's"),
        (ENTRIES.replace(b"\x00\x05\x01", b"\x00\x07\x01"), "a membership at 7"),
        (ENTRIES[:-4] + b"\x20" + ENTRIES[-3:], "unknown parts of a member: 32"),
        (ENTRIES[:-4] + b"\x10" + ENTRIES[-3:], "do not fit together"),
        (encode(m.SnapshotOffer(1, 2, 3, m.Snapshot(5, 1, 4, Membership()))), "an image ends"),
    ],
)
def test_the_error_says_what_is_wrong(data, text):
    with pytest.raises(RemoteProtocolError, match=text):
        decode(data)


def test_layout():
    """Between versions: DO NOT CHANGE."""
    assert encode(m.Vote(1, 2, 3, 4, 5, True)).hex() == (
        "01030000" + f"{1:016x}{2:016x}{3:016x}" + f"{4:016x}{5:016x}01"
    )
    members = Membership.of_voters([Member(7, b"id", "h:1")])
    assert encode_membership(members).hex() == f"01{7:016x}01020003" + b"idh:1".hex()


@given(memberships())
def test_a_membership_is_an_entry(membership):
    payload = encode_membership_entry(membership)
    assert payload == b"\x03" + encode_membership(membership)
    assert decode_membership_entry(payload) == membership
    with pytest.raises(RemoteProtocolError):
        decode_membership_entry(payload[1:])


def test_entries_are_what_their_message_says():
    one, two = Membership.of_voters([1]), Membership.of_voters([1, 2])
    payloads = [b"", encode_membership_entry(one), b"\x01x", encode_membership_entry(two)]
    block = encode_block([(1, 0, 100 + n, payload) for n, payload in enumerate(payloads)])

    def message(first, last, *found):
        return m.Append(1, 2, 7, first - 1, 3, 5, last, 2, found)

    check_entries(message(5, 8, (6, one), (8, two)), block)
    wrong = [
        message(5, 7, (6, one), (8, two)),
        message(6, 9, (7, one)),
        message(5, 8, (6, one)),
        message(5, 8, (6, two), (8, one)),
        message(5, 8),
    ]
    for bad in wrong:
        with pytest.raises(RemoteProtocolError):
            check_entries(bad, block)
    garbage = encode_block([(1, 0, 1, b"\x03\xff")])
    with pytest.raises(RemoteProtocolError, match="members"):
        check_entries(message(5, 5, (5, one)), garbage)
