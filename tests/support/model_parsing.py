"""How the model reads arguments: integers, deadlines and options, and what it says of bad ones."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.support.model_keyspace import DATABASES_COUNT
from tests.support.resp import ErrorReply

LLONG_MAX = 2**63 - 1
LLONG_MIN = -(2**63)
INTEGER = re.compile(rb"0|-?[1-9][0-9]*")
SYNTAX_ERROR = "ERR syntax error"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"
QUOTED_BYTES_MAX = 128  # of an unknown command's name, and of its arguments together


NOT_IN_RANGE = f"ERR value is out of range, value must between {-LLONG_MAX} and {LLONG_MAX}"


class CommandFailure(Exception):
    """A command that answers with an error line."""

    @property
    def reply(self) -> ErrorReply:
        """The error as a client reads it."""
        return ErrorReply(str(self))

    @property
    def plain(self) -> str:
        """The text without its ERR."""
        return str(self).removeprefix("ERR ")


@dataclass(frozen=True)
class ExpireFlags:
    """Conditions of EXPIRE and its kin."""

    is_nx: bool
    is_xx: bool
    is_gt: bool
    is_lt: bool


@dataclass
class Options:
    """Options of SET and GETEX. duration: the unit's word and the amount as sent."""

    is_nx: bool = False
    is_xx: bool = False
    is_get: bool = False
    is_keepttl: bool = False
    is_persist: bool = False
    duration: tuple[bytes, bytes] | None = None

    def deadline_ms(self, now_ms: int, command: str) -> int | None:
        """Return the deadline that the options ask for. Raises CommandFailure."""
        if self.duration is None:
            return None
        word, amount = self.duration
        unit_ms = 1000 if word.startswith(b"ex") else 1
        return to_deadline_ms(amount, unit_ms, 0 if word.endswith(b"at") else now_ms, command)


@dataclass
class Scan:
    """Options of SCAN and its kin."""

    pattern: bytes = b"*"
    is_novalues: bool = False


def parse_integer(data: bytes, text: str = NOT_AN_INTEGER) -> int:
    """Return a signed 64-bit integer in its only spelling. Raises CommandFailure(text)."""
    if not INTEGER.fullmatch(data) or not LLONG_MIN <= int(data) <= LLONG_MAX:
        raise CommandFailure(text)
    return int(data)


def parse_random_count(data: bytes) -> int:
    """Return how many random elements are wanted; the smallest number of all is refused."""
    number = parse_integer(data)
    if number == LLONG_MIN:
        raise CommandFailure(NOT_IN_RANGE)
    return number


def parse_scan(words: Sequence[bytes], *, is_absent: bool, has_novalues: bool = False) -> Scan:
    """Return the options behind the cursor, which is 0. An absent key reads none of them."""
    scan = Scan()
    if not re.fullmatch(rb"[0-9]{1,19}", words[0]):
        raise CommandFailure("ERR invalid cursor")
    rest = [] if is_absent else [*words[1:]]
    while rest:
        word = rest.pop(0).lower()
        if word == b"match" and rest:
            scan.pattern = rest.pop(0)
        elif word == b"count" and rest:
            if parse_integer(rest.pop(0)) < 1:
                raise CommandFailure("ERR syntax error")
        elif word == b"novalues":
            if not has_novalues:
                raise CommandFailure("ERR NOVALUES option can only be used in HSCAN")
            scan.is_novalues = True
        else:
            raise CommandFailure("ERR syntax error")
    return scan


def parse_database(data: bytes) -> int:
    """Return a database number as MOVE and COPY read it."""
    number = parse_integer(data)
    if not 0 <= number < DATABASES_COUNT:
        raise CommandFailure("ERR DB index is out of range")
    return number


def to_deadline_ms(
    amount: bytes, unit_ms: int, base_ms: int, command: str, *, is_negative_allowed: bool = False
) -> int:
    """Return base + amount. Raises CommandFailure when it does not fit 64 bits."""
    number = parse_integer(amount)
    deadline_ms = number * unit_ms + base_ms
    is_valid = LLONG_MIN <= number * unit_ms <= LLONG_MAX and deadline_ms <= LLONG_MAX
    if not is_valid or (number <= 0 and not is_negative_allowed):
        raise CommandFailure(f"ERR invalid expire time in '{command}' command")
    return deadline_ms


def parse_expire_flags(words: Sequence[bytes]) -> ExpireFlags:
    """Return the flags. Raises CommandFailure for unknown ones and impossible combinations."""
    for word in words:
        if word.lower() not in (b"nx", b"xx", b"gt", b"lt"):
            raise CommandFailure(f"ERR Unsupported option {word.decode('latin-1')}")
    given = {word.lower() for word in words}
    if b"nx" in given and len(given) > 1:
        raise CommandFailure("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {b"gt", b"lt"} <= given:
        raise CommandFailure("ERR GT and LT options at the same time are not compatible")
    return ExpireFlags(*(flag in given for flag in (b"nx", b"xx", b"gt", b"lt")))


def parse_set_options(words: Sequence[bytes]) -> Options:
    """Return the options of SET. Raises CommandFailure."""
    options = Options()
    rest = [*words]
    while rest:
        word = rest.pop(0).lower()
        if word == b"nx" and not options.is_xx:
            options.is_nx = True
        elif word == b"xx" and not options.is_nx:
            options.is_xx = True
        elif word == b"get":
            options.is_get = True
        elif word == b"keepttl" and options.duration is None:
            options.is_keepttl = True
        else:
            _take_duration(options, word, rest)
    return options


def parse_getex_options(words: Sequence[bytes]) -> Options:
    """Return the options of GETEX. Raises CommandFailure."""
    options = Options()
    rest = [*words]
    while rest:
        word = rest.pop(0).lower()
        if word == b"persist" and options.duration is None:
            options.is_persist = True
        else:
            _take_duration(options, word, rest)
    return options


def _take_duration(options: Options, word: bytes, rest: list[bytes]) -> None:
    """Take a deadline; the same word may come twice, the last one counts."""
    is_known = word in (b"ex", b"px", b"exat", b"pxat") and bool(rest)
    is_other = options.duration is not None and options.duration[0] != word
    if not is_known or is_other or options.is_keepttl or options.is_persist:
        raise CommandFailure("ERR syntax error")
    options.duration = (word, rest.pop(0))


def unknown_command(arguments: Sequence[bytes]) -> str:
    """Return the text for a command that does not exist; it quotes as C prints strings."""
    quoted = b""
    for argument in arguments[1:]:
        if len(quoted) < QUOTED_BYTES_MAX:
            room = QUOTED_BYTES_MAX - len(quoted)
            quoted += b"'%s' " % argument.split(b"\0")[0][:room]
    name = arguments[0].split(b"\0")[0][:QUOTED_BYTES_MAX]
    text = b"ERR unknown command '%s', with args beginning with: %s" % (name, quoted)
    return text.replace(b"\r", b" ").replace(b"\n", b" ").decode("latin-1")


def glob_expression(pattern: bytes) -> re.Pattern[bytes]:
    """Translate a glob whose classes are closed and whose escapes are complete."""
    parts = []
    for token in re.findall(rb"\\.|\[[^\]]*\]|.", pattern, re.DOTALL):
        if token in (b"*", b"?"):
            parts.append(b".*" if token == b"*" else b".")
        elif token[:1] == b"[" and len(token) > 1:
            parts.append(token)
        else:
            parts.append(re.escape(token[-1:]))
    return re.compile(b"".join(parts), re.DOTALL)
