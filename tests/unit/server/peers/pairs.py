"""Two ends of a handshake in memory, and deterministic random bytes."""

import random
from collections.abc import Callable

from kvnode.server.peers.handshake import (
    AcceptorHandshake,
    DialerHandshake,
    Handshake,
    HandshakeError,
    LinkKind,
    Own,
)

SECRET = b"0123456789abcdef"


def own(node_id: int, group: bytes = bytes(16)) -> Own:
    return Own(node_id, bytes([node_id]) * 16, group)


def random_bytes(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def dialer(
    node: Own,
    target: int,
    kind: LinkKind = LinkKind.RAFT,
    secret: bytes = SECRET,
    seed: int = 1,
) -> DialerHandshake:
    return DialerHandshake(node, secret, random_bytes(seed), target, kind)


def acceptor(node: Own, secret: bytes = SECRET, seed: int = 2) -> AcceptorHandshake:
    return AcceptorHandshake(node, secret, random_bytes(seed))


def feed(side: Handshake, data: bytes, step: int) -> tuple[bytes, str]:
    """Return what a side answers to bytes that come `step` at a time, and its error, or ""."""
    answer = b""
    for at in range(0, len(data), step):
        try:
            answer += side.receive(data[at : at + step])
        except HandshakeError as error:
            return answer + error.answer, str(error)
    return answer, ""


def talk(a: DialerHandshake, b: AcceptorHandshake, step: int = 1000) -> tuple[str, str]:
    """Let two sides talk until they are done; return the errors of both."""
    to_b, errors = a.begin(), ["", ""]
    to_a = b""
    while to_a or to_b:
        if to_b and not errors[1] and b.peer is None:
            to_a, errors[1] = feed(b, to_b, step)
        to_b = b""
        if to_a and not errors[0]:
            to_b, errors[0] = feed(a, to_a, step)
        to_a = b""
    return errors[0], errors[1]
