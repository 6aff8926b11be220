"""The handshake: who is let in, who is not, and what both are told."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvnode.base.limits import HANDSHAKE_RECORD_BYTES_MAX
from kvnode.server.peers import handshake as module
from kvnode.server.peers.handshake import (
    MAGIC,
    AcceptorHandshake,
    DialerHandshake,
    Handshake,
    HandshakeError,
    LinkKind,
)
from tests.unit.server.peers.pairs import SECRET, acceptor, dialer, feed, own, random_bytes, talk

GROUP, OTHER_GROUP = b"g" * 16, b"h" * 16
HEAD_BYTES = 14


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize("kind", LinkKind)
def test_two_nodes_know_each_other(step: int, kind: LinkKind) -> None:
    a, b = dialer(own(1, GROUP), 2, kind), acceptor(own(2))
    assert talk(a, b, step) == ("", "")
    assert a.peer is not None
    assert b.peer is not None
    assert (a.peer.node_id, a.peer.identity, a.peer.group) == (2, b"\2" * 16, bytes(16))
    assert (b.peer.node_id, b.peer.identity, b.peer.group) == (1, b"\1" * 16, GROUP)
    assert a.peer.kind is b.peer.kind is kind
    assert a.peer.link == b.peer.link != 0


def test_what_comes_behind_the_handshake_is_kept() -> None:
    a, b = dialer(own(1), 2), acceptor(own(2))
    proof = a.receive(b.receive(a.begin()))
    a.receive(b.receive(proof + b"early") + b"frames")
    assert (a.rest, b.rest) == (b"frames", b"early")


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        (dialer(own(1), 2, secret=b"x" * 16), acceptor(own(2)), "the secrets differ"),
        (dialer(own(1), 2, secret=b""), acceptor(own(2)), "the secrets differ"),
        (dialer(own(1), 3), acceptor(own(2)), "this is node 2, not node 3"),
        (dialer(own(2), 2), acceptor(own(2)), "both ends are node 2"),
        (dialer(own(1, GROUP), 2), acceptor(own(2, OTHER_GROUP)), "belongs to group 6868"),
    ],
)
def test_who_does_not_belong_is_refused_and_both_hear_why(
    a: DialerHandshake, b: AcceptorHandshake, sentence: str
) -> None:
    errors = talk(a, b)
    assert sentence in errors[0]
    assert sentence in errors[1]
    assert a.peer is b.peer is None


def test_an_acceptor_without_the_secret_is_refused() -> None:
    """It skips its own check: the dialer finds out."""
    a, b = dialer(own(1), 2), acceptor(own(2), secret=b"wrong" * 4)
    b._check_proof = lambda proof: None  # type: ignore[method-assign]
    errors = talk(a, b)
    assert "the secrets differ" in errors[0]
    assert a.peer is None


def test_another_node_answers() -> None:
    a, b = dialer(own(1), 2), acceptor(own(3))
    hello = bytearray(a.begin())
    struct.pack_into(">Q", hello, HEAD_BYTES + 16, 3)  # as if it had asked for node 3
    with pytest.raises(HandshakeError, match="node 3 answers there, not node 2"):
        a.receive(b.receive(bytes(hello)))


def test_versions_that_do_not_go_together() -> None:
    a, b = dialer(own(1), 2), acceptor(own(2))
    hello = MAGIC + struct.pack(">H", 9) + a.begin()[10:]
    answer, error = feed(b, hello, 1)
    assert error.startswith("node 2 speaks version 1 of the protocol between nodes, the other one")
    with pytest.raises(HandshakeError, match="refused: node 2 speaks version 1"):
        a.receive(answer)
    newer = dialer(own(1), 2)
    newer.begin()
    with pytest.raises(HandshakeError, match="refused: node 2 speaks version 1"):
        newer.receive(MAGIC + struct.pack(">H", 9) + answer[10:])  # its refusal looks the same


def test_something_else_answers() -> None:
    with pytest.raises(HandshakeError, match="no kvnode node") as caught:
        dialer(own(1), 2).receive(b"-ERR unknown command\r\n")
    assert caught.value.answer == b""
    with pytest.raises(HandshakeError, match="no kvnode node"):
        acceptor(own(1)).receive(b"P")


def test_a_long_record_is_refused_by_its_head() -> None:
    head = MAGIC + struct.pack(">HBBH", 1, 1, 0, HANDSHAKE_RECORD_BYTES_MAX)
    with pytest.raises(HandshakeError, match="before it is known who sends it"):
        acceptor(own(1)).receive(head)


def test_a_refusal_cannot_write_into_a_terminal() -> None:
    text = b"\x1b[2J\xff\n"
    record = MAGIC + struct.pack(">HBBH", 1, 3, 0, len(text)) + text
    with pytest.raises(HandshakeError) as caught:
        dialer(own(1), 2).receive(record)
    assert str(caught.value) == "refused: ?[2J??"


# -- attacks ------------------------------------------------------------------------------------


def reflect(step: int) -> bool:
    """Whether somebody who has no secret is let in by sending back what comes."""
    a = dialer(own(1), 2)
    data = a.begin()
    hello = bytearray(data)
    struct.pack_into(">QQ", hello, HEAD_BYTES + 8, 2, 1)
    hello[-1] ^= 1  # another nonce
    for answer in (bytes(hello), None):
        try:
            data = a.receive(answer if answer is not None else data)
        except HandshakeError:
            break
    return a.peer is not None


def replay(other: DialerHandshake) -> bool:
    """Whether a recorded dialer is let in again by another acceptor."""
    recorded, b = dialer(own(1), 2), acceptor(own(2), seed=2)
    hello = recorded.begin()
    proof = recorded.receive(b.receive(hello))
    b.receive(proof)
    assert b.peer is not None
    again = acceptor(own(2), seed=3)
    with suppress(HandshakeError):
        again.receive(hello)
        again.receive(proof)
    return again.peer is not None


def splice() -> bool:
    """Whether a proof for a link of one kind opens one of another."""
    a, b = dialer(own(1), 2, LinkKind.IMAGE), acceptor(own(2))
    hello = bytearray(a.begin())
    hello[HEAD_BYTES] = LinkKind.RAFT
    answer = bytearray(b.receive(bytes(hello)))
    answer[HEAD_BYTES] = LinkKind.IMAGE
    with suppress(HandshakeError):
        b.receive(a.receive(bytes(answer)))
    return b.peer is not None


def test_proofs_are_of_no_use_elsewhere() -> None:
    assert not reflect(1)
    assert not replay(dialer(own(1), 2))
    assert not splice()


def without_role(self: Handshake, *, of_dialer: bool, hellos: bytes) -> bytes:
    return PROOF(self, of_dialer=True, hellos=hellos)


def without_hellos(self: Handshake, *, of_dialer: bool, hellos: bytes) -> bytes:
    return PROOF(self, of_dialer=of_dialer, hellos=b"")


PROOF = Handshake._proof


def test_planted_a_proof_that_says_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attack works on a weaker handshake, so the test above means something."""
    monkeypatch.setattr(Handshake, "_proof", without_role)
    assert reflect(1)
    monkeypatch.setattr(Handshake, "_proof", without_hellos)
    assert replay(dialer(own(1), 2))
    assert splice()


# -- anything at all ----------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=300), max_size=20), st.booleans(), st.booleans())
def test_garbage_is_refused_in_bounded_memory(
    parts: list[bytes], is_dialer: bool, has_magic: bool
) -> None:
    side = dialer(own(1), 2) if is_dialer else acceptor(own(2))
    answer = b""
    for number, part in enumerate(parts):
        try:
            answer = side.receive((MAGIC if has_magic and not number else b"") + part)
        except HandshakeError as error:
            answer = error.answer
            break
        assert len(side._input) < HANDSHAKE_RECORD_BYTES_MAX
    assert side.peer is None
    assert len(answer) <= HANDSHAKE_RECORD_BYTES_MAX


@given(st.data())
def test_any_changed_byte_keeps_both_apart(data: st.DataObject) -> None:
    """Whatever is changed on the way, nobody takes the other for somebody else."""
    a, b = dialer(own(1), 2), acceptor(own(2))
    which = data.draw(st.integers(0, 3), label="record")
    record, sides = a.begin(), [b, a, b, a]
    for number, side in enumerate(sides):
        if number == which:
            at = data.draw(st.integers(0, len(record) - 1), label="byte")
            changed = bytearray(record)
            changed[at] ^= data.draw(st.integers(1, 255), label="bits")
            record = bytes(changed)
        try:
            record = side.receive(record)
        except HandshakeError:
            break
    assert a.peer is None
    assert (b.peer is None) == (which < 3)


@given(st.binary(min_size=1, max_size=64))
def test_cut_short_is_not_an_end(tail: bytes) -> None:
    a, b = dialer(own(1), 2), acceptor(own(2))
    hello = a.begin()
    for end in range(len(hello)):
        assert acceptor(own(2)).receive(hello[:end]) == b""
    b.receive(hello)
    assert b.peer is None
    answer, error = feed(b, module._record(module._Record.PROOF, tail), 3)
    assert error
    assert answer
    assert b.peer is None


def test_the_secret_may_be_long() -> None:
    secret = random_bytes(9)(4096)
    a, b = dialer(own(1), 2, secret=secret), acceptor(own(2), secret=secret)
    assert talk(a, b) == ("", "")
    assert SECRET not in a.begin()
