"""The request parser against its naive twin, and under bytes that mean nothing.

Each property has a planted bug that it must find.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvnode._core.parser import Parser
from kvnode.base.errors import RemoteProtocolError
from tests.reference import parser as reference
from tests.support.resp import encode

CASES = 6000
BULK_BYTES_MAX = 120
PIECES = [
    *(b"*%d\r\n" % n for n in (-1, 0, 1, 2, 3, 10, 11, 12)),
    *(b"$%d\r\n" % n for n in (-1, 0, 1, 3, 4, 9, 10, 40, 120, 121)),
    *(bytes([b]) for b in b"*$:+-019x \t\v\"'\\\r\n\0"),
    *(b"\r\n", b"GET", b"PING\r\n", b'"a b"', b"'c\\'d'", b'"\\x41\\n"', b"*01\r\n", b"$+1\r\n"),
]


def random_input(rng):
    """Return requests that are right, nearly right, or neither."""
    parts = []
    for _ in range(rng.randrange(1, 8)):
        if rng.random() < 0.5:
            lengths = (rng.choice((0, 1, 2, 3, 9, 10, 120)) for _ in range(rng.randrange(1, 5)))
            parts.append(encode(*(rng.randbytes(n) for n in lengths)))
        else:
            parts += rng.choices(PIECES, k=rng.randrange(1, 6))
    data = bytearray(b"".join(parts))
    if rng.random() < 0.3:
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def random_cuts(rng, data):
    """Cut the input into pieces, often into single bytes."""
    step = rng.choice((1, 4, 30))
    at = 0
    while at < len(data):
        n = rng.randint(1, step)
        yield data[at : at + n]
        at += n


def parse_pieces(pieces, authenticated):
    """Return what the native parser makes of the pieces: commands, and the error or None."""
    parser = Parser()
    parser.authenticated = authenticated
    parser.proto_max_bulk_bytes = BULK_BYTES_MAX
    commands = []
    received = 0
    for piece in pieces:
        parser.feed(piece)
        received += len(piece)
        peeked = parser.peek_commands()
        ready = []
        try:
            while (command := parser.next_command()) is not None:
                ready.append(command)
        except RemoteProtocolError as error:
            return commands + ready, str(error)
        assert ready[: len(peeked)] == peeked
        commands += ready
        assert parser.memory_bytes <= 8 * received + 4096
    return commands, None


def disagreements(parse_twin, cases):
    """Return the inputs of which the native parser and the twin make different things."""
    rng = random.Random(2)
    found = []
    for _ in range(cases):
        data = random_input(rng)
        authenticated = rng.random() < 0.8
        expected = parse_twin(data, authenticated=authenticated, bulk_bytes_max=BULK_BYTES_MAX)
        if parse_pieces(random_cuts(rng, data), authenticated) != expected:
            found.append(data)
    return found


def test_parser_equals_its_twin():
    assert disagreements(reference.parse, CASES) == []


@pytest.mark.parametrize(
    ("name", "bug"),
    [
        ("CANONICAL", reference.re.compile(rb"[+-]?[0-9]+")),
        ("SPACES", b" \t\n\r"),
        ("SPECIAL", {}),
        ("SINGLE_QUOTED", reference.re.compile(rb"'([^']*)'")),
    ],
)
def test_a_planted_bug_is_found(monkeypatch, name, bug):
    monkeypatch.setattr(reference, name, bug)
    assert disagreements(reference.parse, CASES)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    st.lists(st.one_of(st.binary(max_size=30), st.sampled_from(PIECES)), max_size=30),
    st.booleans(),
)
def test_garbage_gives_commands_or_a_protocol_error(pieces, authenticated):
    commands, error = parse_pieces(pieces, authenticated)
    assert all(isinstance(word, bytes) for command in commands for word in command)
    assert all(commands), "an empty command is never handed out"
    assert error is None or error.startswith("ERR Protocol error: ")
