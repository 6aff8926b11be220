"""Who is at the other end of a connection: mutual authentication by a shared secret, sans IO.

    dialer                             acceptor
    HELLO  ------------------------->
           <-------------------------  HELLO
    PROOF  ------------------------->
           <-------------------------  PROOF

A proof is HMAC-SHA256 of the secret over the role of who proves, and over both hellos, byte for
byte. They hold both nonces, both node ids, both identities and the kind of the link, so a proof is
of no use in any other connection, role or direction. Each side closes on the first thing that is
not so, and says why in a REFUSAL. Nothing is secret on the way, and nothing protects what follows:
this keeps strangers and misconfigured nodes out, not somebody who can change packets.

Records, big-endian; the head, and refusals, are the same in all versions: DO NOT CHANGE

    head:     0 magic 8   8 version u16   10 type u8   11 zero u8   12 length of the body u16
    HELLO:    0 kind u8   1 zero 7   8 source u64   16 target u64   24 link u64   32 identity 16
              48 group 16   64 nonce 32
    PROOF:    32 bytes     REFUSAL: why, ASCII

link: given by the acceptor, 0 from the dialer: a name that no other link has. group: 16 zero bytes
before a node belongs to one.
"""

import hashlib
import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from kvnode.base.errors import RemoteProtocolError
from kvnode.base.limits import HANDSHAKE_RECORD_BYTES_MAX

MAGIC = b"KVNODELK"
VERSION = 1
NO_GROUP = bytes(16)
NONCE_BYTES = 32
NODE_ID_MAX = (1 << 63) - 1

_HEAD = struct.Struct(">8sHBBH")
_HELLO = struct.Struct(">B7sQQQ16s16s32s")
_LINK = struct.Struct(">Q")
_ROLES = {True: b"kvnode link: dialer\0", False: b"kvnode link: acceptor\0"}

RandomBytes = Callable[[int], bytes]


class LinkKind(IntEnum):
    """What a connection is for. The numbers are part of the format."""

    RAFT = 1  # small messages, behind which nothing large stands
    BULK = 2  # entries
    IMAGE = 3
    FORWARD = 4  # from a follower to the leader, and back


class _Record(IntEnum):
    HELLO = 1
    PROOF = 2
    REFUSAL = 3


class HandshakeError(RemoteProtocolError):
    """The connection is of no use; the text says why. answer: bytes to send before closing it."""

    def __init__(self, text: str, answer: bytes = b"") -> None:
        super().__init__(text)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Own:
    """What this node tells about itself. identity: of its data directory, 16 bytes."""

    node_id: int
    identity: bytes
    group: bytes = NO_GROUP


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end. link: the connection's name, the same at both ends."""

    node_id: int
    identity: bytes
    group: bytes
    kind: LinkKind
    link: int


@dataclass(frozen=True, slots=True)
class _Hello:
    kind: int
    source: int
    target: int
    link: int
    identity: bytes
    group: bytes
    nonce: bytes

    def encode(self) -> bytes:
        return _record(
            _Record.HELLO,
            _HELLO.pack(
                self.kind,
                bytes(7),
                self.source,
                self.target,
                self.link,
                self.identity,
                self.group,
                self.nonce,
            ),
        )


def _record(kind: _Record, body: bytes) -> bytes:
    return _HEAD.pack(MAGIC, VERSION, kind, 0, len(body)) + body


def _refusal(text: str) -> bytes:
    room = HANDSHAKE_RECORD_BYTES_MAX - _HEAD.size
    return _record(_Record.REFUSAL, text.encode("ascii", "replace")[:room])


def _readable(text: bytes) -> str:
    """Return what a stranger wrote so that it can stand in a log."""
    return "".join(chr(byte) if 0x20 <= byte <= 0x7E else "?" for byte in text)


class Handshake:
    """One side of a handshake. `peer` is who proved to be there, None before that.

    Give it what arrives by `receive`; send what it returns. `rest`: bytes behind the handshake.
    """

    def __init__(self, own: Own, secret: bytes, random: RandomBytes) -> None:
        self.peer: Peer | None = None
        self._own = own
        self._secret = secret
        self._nonce = random(NONCE_BYTES)
        self._input = b""
        self._own_hello = b""
        self._their_hello = b""
        self._candidate: Peer | None = None  # who they say they are

    @property
    def rest(self) -> bytes:
        assert self.peer is not None
        return self._input

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the peer; return what to send. Raises HandshakeError."""
        assert self.peer is None, "the handshake is over"
        self._input += data
        answer = b""
        while self.peer is None and (record := self._take()) is not None:
            answer += self._step(*record)
        assert self.peer is not None or len(self._input) < HANDSHAKE_RECORD_BYTES_MAX
        return answer

    def _take(self) -> tuple[int, bytes] | None:
        """Return the next record: its type and all its bytes; None = it is not here yet."""
        prefix = self._input[: len(MAGIC)]
        if not MAGIC.startswith(prefix):
            raise HandshakeError("what answers there is no kvnode node")
        if len(self._input) < _HEAD.size:
            return None
        _, version, kind, zero, length = _HEAD.unpack_from(self._input)
        end = _HEAD.size + length
        if end > HANDSHAKE_RECORD_BYTES_MAX:
            raise self._refuse(f"a record of {end} bytes before it is known who sends it")
        if version != VERSION and kind != _Record.REFUSAL:
            raise self._refuse(
                f"node {self._own.node_id} speaks version {VERSION} of the protocol between nodes, "
                f"the other one version {version}: run versions of kvnode that go together"
            )
        if zero:
            raise self._refuse("a reserved field is not zero")
        if len(self._input) < end:
            return None
        record, self._input = self._input[:end], self._input[end:]
        return kind, record

    def _step(self, kind: int, record: bytes) -> bytes:
        if kind == _Record.REFUSAL:
            raise HandshakeError(f"refused: {_readable(record[_HEAD.size :])}")
        if kind == _Record.HELLO and not self._their_hello:
            hello = self._decode_hello(record)
            self._their_hello = record
            return self._on_hello(hello)
        if kind == _Record.PROOF and self._candidate is not None:
            self._check_proof(record[_HEAD.size :])
            return self._on_proof()
        raise self._refuse(f"a record of type {kind} out of turn")

    def _on_hello(self, hello: _Hello) -> bytes:
        raise NotImplementedError

    def _on_proof(self) -> bytes:
        raise NotImplementedError

    def _decode_hello(self, record: bytes) -> _Hello:
        if len(record) != _HEAD.size + _HELLO.size:
            raise self._refuse(f"a hello of {len(record)} bytes")
        kind, zeros, source, target, link, identity, group, nonce = _HELLO.unpack_from(
            record, _HEAD.size
        )
        own = self._own
        if any(zeros):
            raise self._refuse("a reserved field is not zero")
        if kind not in LinkKind._value2member_map_:
            raise self._refuse(f"unknown kind of link {kind}")
        if not 1 <= source <= NODE_ID_MAX:
            raise self._refuse(f"{source} is no node id: they are 1 to {NODE_ID_MAX}")
        if source == own.node_id:
            raise self._refuse(
                f"both ends are node {source}: two nodes have one id, or an address leads back"
            )
        if target != own.node_id:
            raise self._refuse(f"this is node {own.node_id}, not node {target}")
        if NO_GROUP not in (group, own.group) and group != own.group:
            raise self._refuse(
                f"node {own.node_id} belongs to group {own.group.hex()}, "
                f"node {source} to group {group.hex()}"
            )
        if nonce == self._nonce:
            raise self._refuse("that is our own nonce")
        return _Hello(kind, source, target, link, identity, group, nonce)

    def _hello(self, kind: int, target: int, link: int) -> bytes:
        own = self._own
        hello = _Hello(kind, own.node_id, target, link, own.identity, own.group, self._nonce)
        self._own_hello = hello.encode()
        return self._own_hello

    def _proof(self, *, of_dialer: bool, hellos: bytes) -> bytes:
        return hmac.digest(self._secret, _ROLES[of_dialer] + hellos, hashlib.sha256)

    def _check_proof(self, proof: bytes) -> None:
        if not hmac.compare_digest(proof, self._proof_of_peer()):
            raise self._refuse(
                "the secrets differ: raft-secret-file must have the same contents on all nodes"
            )

    def _proof_of_peer(self) -> bytes:
        raise NotImplementedError

    def _refuse(self, text: str) -> HandshakeError:
        return HandshakeError(text, _refusal(text))


class DialerHandshake(Handshake):
    """Of who opened the connection, to `target`. It sends `begin()` first."""

    def __init__(
        self, own: Own, secret: bytes, random: RandomBytes, target: int, kind: LinkKind
    ) -> None:
        super().__init__(own, secret, random)
        self._target = target
        self._kind = kind

    def begin(self) -> bytes:
        return self._hello(self._kind, self._target, 0)

    def _on_hello(self, hello: _Hello) -> bytes:
        if hello.source != self._target:
            raise self._refuse(f"node {hello.source} answers there, not node {self._target}")
        if hello.kind != self._kind:
            raise self._refuse(f"a link of kind {hello.kind} is not what was asked for")
        self._candidate = Peer(hello.source, hello.identity, hello.group, self._kind, hello.link)
        return _record(
            _Record.PROOF, self._proof(of_dialer=True, hellos=self._own_hello + self._their_hello)
        )

    def _on_proof(self) -> bytes:
        self.peer = self._candidate
        return b""

    def _proof_of_peer(self) -> bytes:
        return self._proof(of_dialer=False, hellos=self._own_hello + self._their_hello)


class AcceptorHandshake(Handshake):
    """Of who accepted the connection; it learns from the hello who that may be."""

    def __init__(self, own: Own, secret: bytes, random: RandomBytes) -> None:
        super().__init__(own, secret, random)
        (self._link,) = _LINK.unpack(random(_LINK.size))

    def _on_hello(self, hello: _Hello) -> bytes:
        if hello.link:
            raise self._refuse("only who accepts a link names it")
        kind = LinkKind(hello.kind)
        self._candidate = Peer(hello.source, hello.identity, hello.group, kind, self._link)
        return self._hello(hello.kind, hello.source, self._link)

    def _on_proof(self) -> bytes:
        self.peer = self._candidate
        return _record(
            _Record.PROOF, self._proof(of_dialer=False, hellos=self._their_hello + self._own_hello)
        )

    def _proof_of_peer(self) -> bytes:
        return self._proof(of_dialer=True, hellos=self._their_hello + self._own_hello)
