"""Calls made from the command table: keys of each type in each place, too few and too many
arguments, numbers that are none or at the ends of their range.

The replies stand in calls/KIND.txt, one line for each call:

    LPUSH set a => -WRONGTYPE Operation against a key holding the wrong kind of value
    @7.4 LREM list -9223372036854775808 a => -ERR value is out of range

Before each call the keys of SETUP exist and nothing else. A line with a mark is written by hand;
MARKS says what the marks mean. The others are recorded from a redis-server:

    python -m tests.conformance.record_calls
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kvnode.commands.row import Row
from kvnode.commands.syntax import Argument, parse
from kvnode.commands.table import ROWS
from tests.conformance.compare import same_answer
from tests.conformance.quoting import escape_line, quote, split_arguments, unescape_line
from tests.support.resp import ReplyStream, encode

DIRECTORY = Path(__file__).with_name("calls")
MARKS = {
    "7.2": "7.0 answers otherwise, or knows neither command nor option",
    "7.4": "the same of 7.2",
    "8.0": "the same of 7.4",
    "kvnode": "differs on purpose, see docs/COMPATIBILITY.md",
}
WRONG_TYPE = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
# One key of each type, with one element each: then nothing is left to chance.
SETUP: dict[str, tuple[bytes, ...]] = {
    "string": (b"SET", b"string", b"10"),
    "list": (b"RPUSH", b"list", b"a"),
    "hash": (b"HSET", b"hash", b"f", b"5"),
    "set": (b"SADD", b"set", b"m"),
    "sorted-set": (b"ZADD", b"zset", b"1", b"m"),
}
KEYS = {group: words[1] for group, words in SETUP.items()}
READERS = (
    (b"GET", b"string"),
    (b"LRANGE", b"list", b"0", b"-1"),
    (b"HGETALL", b"hash"),
    (b"SMEMBERS", b"set"),
    (b"ZRANGE", b"zset", b"0", b"-1", b"WITHSCORES"),
    (b"DBSIZE",),
)
ABSENT = b"nosuch"
LLONG_MAX = 2**63 - 1
BAD_NUMBERS = (
    *(b"%d" % n for n in (-LLONG_MAX - 2, -LLONG_MAX - 1, -LLONG_MAX, -1, 0)),
    *(b"%d" % n for n in (LLONG_MAX, LLONG_MAX + 1, 1 << 32, 1 << 65)),
    *(b"", b" 1", b"1 ", b"+1", b"01", b"0x10", b"1e3", b"1.5"),
    *(b"nan", b"inf", b"-inf", b"1e400", b"1\x00", b"x"),
)
# What arguments are by name, where the name says more than the type.
VALUES = {
    **dict.fromkeys(("index", "start", "cursor", "offset", "slot"), b"0"),
    **dict.fromkeys(("stop", "end"), b"-1"),
    **dict.fromkeys(("member", "value"), b"m"),
    **dict.fromkeys(("element", "pivot"), b"a"),
    "field": b"f",
    "timeout": b"0.01",
    "increment": b"2",
    "unix-time-seconds": b"33177117420",
    "unix-time-milliseconds": b"33177117420000",
    "seconds": b"1000",
    "milliseconds": b"1000000",
    "by-pattern": b"nosort",
    "get-pattern": b"#",
}
OF_BYTES = ("zlexcount", "zrangebylex", "zrevrangebylex", "zremrangebylex")
VALUES_OF = {
    **{(name, "min"): b"[a" for name in OF_BYTES},
    **{(name, "max"): b"[z" for name in OF_BYTES},
    ("zrangestore", "min"): b"0",
    ("zrangestore", "max"): b"-1",
}
# Numbers that the table calls strings, since they may be something else.
NUMBERS = {("zrange", "start"), ("zrange", "stop"), ("zrangestore", "min"), ("zrangestore", "max")}
# Options that say nothing without another.
COMPANIONS = {
    ("zrange", "limit"): (b"BYSCORE",),
    ("zrangestore", "limit"): (b"BYSCORE",),
    ("lcs", "min-match-len"): (b"IDX",),
    ("lcs", "withmatchlen"): (b"IDX",),
}
# What is only called with a wrong number of arguments.
UNVARIED = {
    "client|kill": "ends connections",
    "client|list": "lists connections",
    "client|pause": "holds up all others",
    "hello": "changes the protocol",
    "lolwut": "a picture",
    "replicaof": "one server alone",
    "slaveof": "one server alone",
    "wait": "waits for replicas",
    "waitaof": "waits for replicas",
    "cluster|countkeysinslot": "no cluster",
    "cluster|getkeysinslot": "no cluster",
    "kvnode|add": "a group of one",
    "kvnode|demote": "a group of one",
    "kvnode|promote": "a group of one",
    "kvnode|remove": "a group of one",
    "kvnode|transfer": "a group of one",
    "memory|usage": "other structures",
    "slowlog|get": "lists what was slow",
}
# Redis is not asked for so many: its reply would take all memory.
ENDLESS = {b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER"}
CURSORS = {b"SCAN": 1, b"SSCAN": 2}


@dataclass(frozen=True)
class Word:
    """One argument of a call, and what of the syntax it stands for; a token stands for nothing."""

    value: bytes
    argument: Argument | None = None


@dataclass(frozen=True)
class Form:
    """A call in one of its forms. fresh: the places of what makes it different from the first."""

    words: tuple[Word, ...]
    fresh: range

    def call(self, at: int = -1, value: bytes = b"") -> tuple[bytes, ...]:
        """Return its words, that at a place replaced."""
        return tuple(value if i == at else word.value for i, word in enumerate(self.words))


def all_rows(rows: Iterable[Row] = ROWS) -> Iterator[Row]:
    """Yield the rows of all commands and subcommands."""
    for row in rows:
        yield row
        yield from all_rows(row.subcommands)


def forms(row: Row) -> Iterator[Form]:
    """Yield a call in its shortest form, and one with each option and each alternative."""
    name = tuple(Word(part) for part in row.name.upper().encode().split(b"|"))
    arguments = parse(row.syntax)
    options = [_forms(row, argument) for argument in arguments]
    shortest = [() if a.is_optional else o[0] for a, o in zip(arguments, options, strict=True)]
    words = sum(shortest, name)
    yield Form(words, range(len(name), len(words)))
    for i, argument in enumerate(arguments):
        for option in options[i] if argument.is_optional else options[i][1:]:
            before, after = sum(shortest[:i], name), sum(shortest[i + 1 :], ())
            extra = tuple(Word(w) for w in COMPANIONS.get((row.name, argument.name), ()))
            yield Form(before + option + extra + after, range(len(before), len(before + option)))


def _forms(row: Row, argument: Argument) -> list[tuple[Word, ...]]:
    """Return what an argument may be, the shortest first."""
    token = (Word(argument.token.encode()),) if argument.token else ()
    if argument.type == "pure-token":
        return [token]
    if argument.type == "oneof":
        return [token + form for inner in argument.arguments for form in _forms(row, inner)]
    if argument.type != "block":
        times = 2 if argument.is_multiple and argument.name in ("key", "weight") else 1
        return [token + (Word(_value(row, argument), argument),) * times]
    parts = [_forms(row, inner) for inner in argument.arguments]
    required = [p[0] for p, a in zip(parts, argument.arguments, strict=True) if not a.is_optional]
    found = [sum(required, token)]
    for inner, part in zip(argument.arguments, parts, strict=True):
        found += [found[0] + form for form in part] if inner.is_optional else []
    return found


def _value(row: Row, argument: Argument) -> bytes:
    if argument.type == "key":
        return KEYS.get(row.group, KEYS["list" if row.name.startswith("sort") else "string"])
    if argument.name == "numkeys":
        return b"2"
    if argument.type == "pattern":
        return VALUES.get(argument.name, b"*")
    default = b"x" if argument.type == "string" else b"1"
    return VALUES_OF.get((row.name, argument.name)) or VALUES.get(argument.name, default)


def of_types() -> Iterator[tuple[bytes, ...]]:
    """Yield calls with a key of each type, and with none, in the place of each key."""
    for row in all_rows():
        for form in forms(row) if row.name not in UNVARIED else ():
            for at in form.fresh:
                argument = form.words[at].argument
                if argument is not None and argument.type == "key":
                    for value in (*KEYS.values(), ABSENT):
                        yield form.call(at, value)


def of_arity() -> Iterator[tuple[bytes, ...]]:
    """Yield calls with too few arguments, and with one more than the shortest form."""
    for row in all_rows():
        form = next(forms(row))
        shortest, names = form.call(), row.name.count("|") + 1
        for count in sorted({names, abs(row.arity) - 1}):
            if names <= count < abs(row.arity):
                yield (*shortest, *[b"x"] * count)[:count]
        if row.arity > 0 or (row.keys and row.group != "pubsub"):  # else it would subscribe
            yield (*shortest, b"x")


def of_numbers() -> Iterator[tuple[bytes, ...]]:
    """Yield calls with each bad number in the place of each number."""
    for row in all_rows():
        for form in forms(row) if row.name not in UNVARIED else ():
            for at in form.fresh:
                argument = form.words[at].argument
                if argument is not None and _is_number(row, argument):
                    for value in BAD_NUMBERS:
                        yield form.call(at, value)


def _is_number(row: Row, argument: Argument) -> bool:
    is_any = argument.type in ("integer", "double", "unix-time")
    return is_any or (row.name, argument.name) in NUMBERS


def is_asked(call: tuple[bytes, ...]) -> bool:
    """Return whether Redis answers a call, and always alike."""
    if call[0] in CURSORS:  # a place in a table whose order is another in each process
        cursor = b"".join(call[CURSORS[call[0]] :][:1])
        return not cursor.isdigit() or int(cursor) == 0
    return call[0] not in ENDLESS or b"%d" % -LLONG_MAX not in call


KINDS: dict[str, Callable[[], Iterator[tuple[bytes, ...]]]] = {
    "types": of_types,
    "arity": of_arity,
    "numbers": of_numbers,
}


@dataclass
class Line:
    """One call with its reply. mark: of MARKS, or none."""

    call: tuple[bytes, ...]
    reply: bytes = b""
    mark: str = ""

    def text(self, reply: bytes | None = None) -> str:
        """Return how it is written, with another reply if one is given."""
        mark = f"@{self.mark} " if self.mark else ""
        words = " ".join(quote(word) for word in self.call)
        shown = escape_line((self.reply if reply is None else reply).removesuffix(b"\r\n"))
        return f"{mark}{words} => {shown}"


def calls(kind: str) -> list[tuple[bytes, ...]]:
    """Return the calls of a kind, each once."""
    return list(dict.fromkeys(KINDS[kind]()))


def load(kind: str) -> list[Line]:
    """Return the lines of a file."""
    lines = []
    for text in (DIRECTORY / f"{kind}.txt").read_text().splitlines():
        words, _, reply = text.partition(" => ")
        mark = words[1:].split(" ")[0] if words.startswith("@") else ""
        call = split_arguments(words.removeprefix(f"@{mark} ") if mark else words)
        lines.append(Line(tuple(call), unescape_line(reply, {}) + b"\r\n", mark))
    return lines


class Desk:
    """Where calls are made, each on the keys of SETUP and nothing else."""

    def __init__(self, stream: ReplyStream) -> None:
        self._stream = stream
        self._is_fresh = False
        self._contents: list[bytes] = []

    def answer(self, call: tuple[bytes, ...]) -> bytes:
        """Return the reply. Raises ValueError if it is an error and something has changed."""
        if not self._is_fresh:
            self._exchange((b"FLUSHALL",), *SETUP.values())
            self._contents = self._exchange(*READERS)
        reply, *contents = self._exchange(call, *READERS)
        self._is_fresh = reply.startswith(b"-")
        if self._is_fresh and contents != self._contents:
            raise ValueError(f"{reply!r}, but something has changed")
        return reply

    def _exchange(self, *commands: tuple[bytes, ...]) -> list[bytes]:
        self._stream.send(b"".join(encode(*command) for command in commands))
        return [self._stream.receive_raw() for _ in commands]


def differences(lines: Iterable[Line], stream: ReplyStream) -> list[str]:
    """Make the calls and return how the replies differ from those written."""
    desk, found = Desk(stream), []
    for line in lines:
        try:
            reply = desk.answer(line.call)
        except (OSError, ValueError) as error:
            found.append(f"{line.text()}\n    {type(error).__name__}: {error}")
            break
        if not same_answer(line.call, line.reply, reply):
            found.append(f"{line.text()}\n    answered {line.text(reply)}")
    return found
