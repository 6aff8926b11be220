"""How bytes are written in transcripts: redis-cli quoting for commands, one escaped line per CRLF.

Long runs of one byte are written ${x*1000} in both, so that a value of a megabyte stays readable.
"""

import re

RUN_BYTES_MIN = 64  # shorter runs are written out
ESCAPES = {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t", ord("\\"): "\\\\"}
UNESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "b": b"\b", "a": b"\a"}
RUN = re.compile(rb"\$\{(\\x[0-9a-f]{2}|.)\*(\d+)\}", re.DOTALL)
VARIABLE = re.compile(rb"\$\{([a-z]\w*)\}")


class QuotingError(ValueError):
    """A command line with unbalanced quotes."""


def split_arguments(line: str) -> list[bytes]:
    """Split a command line as redis-cli does. Raises QuotingError."""
    arguments = []
    at = 0
    while at < len(line):
        if line[at].isspace():
            at += 1
            continue
        argument, at = _argument(line, at)
        arguments.append(argument)
    return arguments


def _argument(line: str, at: int) -> tuple[bytes, int]:
    parts = []
    while at < len(line) and not line[at].isspace():
        if line[at] in "\"'":
            part, at = _quoted(line, at)
        else:
            part, at = line[at].encode(), at + 1
        parts.append(part)
    return b"".join(parts), at


def _quoted(line: str, at: int) -> tuple[bytes, int]:
    quote = line[at]
    parts = []
    at += 1
    while at < len(line):
        char = line[at]
        if char == quote:
            if at + 1 < len(line) and not line[at + 1].isspace():
                raise QuotingError(f"closing quote not followed by a space: {line}")
            return b"".join(parts), at + 1
        if char == "\\" and quote == '"':
            part, at = _escape(line, at + 1)
        elif char == "\\" and line[at + 1 : at + 2] == "'":
            part, at = b"'", at + 2
        else:
            part, at = char.encode(), at + 1
        parts.append(part)
    raise QuotingError(f"unbalanced quotes: {line}")


def _escape(text: str, at: int) -> tuple[bytes, int]:
    """Decode the escape whose backslash is just before `at`."""
    if re.match(r"x[0-9a-fA-F]{2}", text[at:]):
        return bytes([int(text[at + 1 : at + 3], 16)]), at + 3
    return UNESCAPES.get(text[at], text[at].encode()), at + 1


def substitute(data: bytes, variables: dict[str, bytes]) -> bytes:
    """Replace ${x*1000} by a run and ${name} by the value that was saved as `name`."""

    def run(match: re.Match[bytes]) -> bytes:
        unit = match[1] if len(match[1]) == 1 else bytes([int(match[1][2:], 16)])
        return unit * int(match[2])

    def value(match: re.Match[bytes]) -> bytes:
        return variables[match[1].decode()]

    return RUN.sub(run, VARIABLE.sub(value, data))


def quote(argument: bytes) -> str:
    """Return `argument` as one word that `split_arguments` reads back."""
    if re.fullmatch(rb"[!#%&(-\[\]-~]{1,40}", argument):
        return argument.decode()
    return '"' + escape_line(argument).replace('"', '\\"') + '"'


def escape(data: bytes) -> str:
    """Return `data` in printable ASCII."""
    text = "".join(ESCAPES.get(byte) or _printable(byte) for byte in data)
    return text[:-1] + "\\x20" if text.endswith(" ") else text


def _printable(byte: int) -> str:
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}"


def escape_line(data: bytes) -> str:
    """Return one line of a reply, runs shortened. `unescape_line` reads it back."""
    parts = []
    at = 0
    for match in re.finditer(rb"(.)\1{%d,}" % (RUN_BYTES_MIN - 1), data, re.DOTALL):
        unit = match[1].decode() if match[1].isalnum() else f"\\x{match[1][0]:02x}"
        parts += [_literal(data[at : match.start()]), f"${{{unit}*{len(match[0])}}}"]
        at = match.end()
    return "".join([*parts, _literal(data[at:])])


def _literal(data: bytes) -> str:
    return escape(data).replace("${", "\\x24{")


def unescape_line(text: str, variables: dict[str, bytes]) -> bytes:
    """Return the bytes of one line of a reply."""
    parts = []
    at = 0
    for match in re.finditer(r"\$\{[^}]*\}", text):
        expanded = substitute(match[0].encode(), variables)
        parts += [_unescape(text[at : match.start()]), expanded]
        at = match.end()
    return b"".join([*parts, _unescape(text[at:])])


def _unescape(text: str) -> bytes:
    parts = []
    at = 0
    while at < len(text):
        if text[at] == "\\":
            part, at = _escape(text, at + 1)
        else:
            part, at = text[at].encode(), at + 1
        parts.append(part)
    return b"".join(parts)
