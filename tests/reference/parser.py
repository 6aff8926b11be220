"""Naive twin of the request parser: all of the input at once, from its start."""

import re

LINE_BYTES_MAX = 64 * 1024
INT_MAX = 2**31 - 1
CANONICAL = re.compile(rb"0|-?[1-9][0-9]{0,18}")

PLAIN = re.compile(rb"""[^ \t\r\n"']*""")
DOUBLE_QUOTED = re.compile(rb'"((?:\\x[0-9a-fA-F]{2}|\\.|[^"\\])*)"', re.DOTALL)
SINGLE_QUOTED = re.compile(rb"'((?>(?:\\'|[^'])*))'", re.DOTALL)
ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
SPECIAL = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}
SPACES = b" \t\n\v\f\r"


class Broken(Exception):
    """The protocol is broken; holds Redis's words behind "Protocol error: "."""


class Incomplete(Exception):
    """More bytes are needed."""


def parse_number(text: bytes) -> int | None:
    """Return a canonical signed 64-bit decimal, None when it is something else."""
    if not CANONICAL.fullmatch(text):
        return None
    value = int(text)
    return value if -(2**63) <= value < 2**63 else None


def unescape(match: re.Match) -> bytes:
    """Return the byte that an escape in double quotes stands for."""
    if match[1]:
        return bytes([int(match[1], 16)])
    return SPECIAL.get(match[2], match[2])


def split_words(line: bytes) -> list[bytes]:
    """Split an inline command. Raises Broken."""
    words = []
    line = line.lstrip(SPACES)
    while line:
        plain = PLAIN.match(line)
        word, line = plain[0], line[plain.end() :]
        if line[:1] in (b'"', b"'"):
            quoted = (DOUBLE_QUOTED if line[:1] == b'"' else SINGLE_QUOTED).match(line)
            if not quoted or line[quoted.end() : quoted.end() + 1].strip(SPACES):
                raise Broken("unbalanced quotes in request")
            if line[:1] == b'"':
                word += ESCAPE.sub(unescape, quoted[1])
            else:
                word += quoted[1].replace(b"\\'", b"'")
            line = line[quoted.end() :]
        words.append(word)
        line = line.lstrip(SPACES)
    return words


def take_line(data: bytes, at: int, end: bytes, too_long: str) -> bytes:
    """Return the line at `at` without its end. Raises Broken or Incomplete."""
    found = data.find(end, at, at + LINE_BYTES_MAX + 1)
    if found < 0:
        if len(data) - at > LINE_BYTES_MAX:
            raise Broken(too_long)
        raise Incomplete
    if end == b"\r" and found + 2 > len(data):
        raise Incomplete
    return data[at:found]


def take_command(
    data: bytes, at: int, authenticated: bool, bulk_bytes_max: int
) -> tuple[list[bytes], int]:
    """Return the command at `at`, [] for an empty one, and where it ends."""
    if data[at : at + 1] != b"*":
        line = take_line(data, at, b"\n", "too big inline request")
        return split_words(line.removesuffix(b"\r")), at + len(line) + 1
    line = take_line(data, at, b"\r", "too big mbulk count string")
    count = parse_number(line[1:])
    if count is None or count > INT_MAX:
        raise Broken("invalid multibulk length")
    if count > 10 and not authenticated:
        raise Broken("unauthenticated multibulk length")
    at += len(line) + 2
    command = []
    for _ in range(count):
        line = take_line(data, at, b"\r", "too big bulk count string")
        if line[:1] != b"$":
            raise Broken(f"expected '$', got '{chr(data[at])}'")
        length = parse_number(line[1:])
        if length is None or not 0 <= length <= bulk_bytes_max:
            raise Broken("invalid bulk length")
        if length > 16384 and not authenticated:
            raise Broken("unauthenticated bulk length")
        at += len(line) + 2
        if at + length + 2 > len(data):
            raise Incomplete
        command.append(data[at : at + length])
        at += length + 2
    return command, at


def parse(
    data: bytes, *, authenticated: bool = True, bulk_bytes_max: int = 512 * 1024 * 1024
) -> tuple[list[list[bytes]], str | None]:
    """Return the complete commands of `data`, and Redis's error line if one follows them."""
    commands = []
    at = 0
    try:
        while at < len(data):
            command, at = take_command(data, at, authenticated, bulk_bytes_max)
            if command:
                commands.append(command)
    except Incomplete:
        return commands, None
    except Broken as broken:
        return commands, f"ERR Protocol error: {broken}"
    return commands, None
