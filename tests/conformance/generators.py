"""Hypothesis strategies for commands: few keys, edge cases as values, every option.

What two correct servers may answer differently is left out: deadlines in the near future, keys
set with a deadline that has passed (they count in DBSIZE until somebody looks), and GT or LT with
a duration (it compares two clocks).
"""

from dataclasses import dataclass

from hypothesis import strategies as st

from tests.conformance.quoting import quote

Command = tuple[bytes, ...]

LONGER_SINCE_72 = frozenset((b"ZRANK", b"ZREVRANK"))  # 7.0 knows no WITHSCORE

LLONG_MAX = 2**63 - 1
LLONG_MIN = -(2**63)
CONNECTIONS = ("a", "b")
TEST = "test"  # the connection of what the test itself does between commands
DATABASES = (0, 1, 2)  # of the sixteen
STRETCHES_MAX = 8
KEYS = (b"a", b"b", b"c", b"", b"k\x00\xff\r\n")
PATTERNS = (b"*", b"?", b"a*", b"[ab]", b"[^a]", b"b", b"", b"\\a", b"[a-b]?*", b"*\n")
TYPES = (b"string", b"STRING", b"hash", b"set", b"list", b"nosuch")
INTEGERS = (0, 1, -1, 2, 10, -5, 100, 2**31, -(2**31), 2**32, 2**53, LLONG_MAX, LLONG_MIN)
NEAR_OVERFLOW = (LLONG_MAX - 1, LLONG_MIN + 1, LLONG_MAX // 2 + 1, LLONG_MIN // 2 - 1)
NOT_INTEGERS = (b"", b"abc", b"1.5", b" 1", b"1 ", b"+1", b"01", b"-0", b"1\x00", b"0x10", b"1e3")
TOO_LARGE = (b"%d" % (LLONG_MAX + 1), b"%d" % (LLONG_MIN - 1), b"1" + b"0" * 30)
FLOATS = (b"0.1", b"1.5", b"-2.25", b"1e3", b"5.0e3", b"3", b".5", b"1e-5", b"0", b"-0", b"1e17")
NOT_FLOATS = (b"inf", b"-inf", b"nan", b"abc", b"", b"1x", b" 1", b"1e5000")
OFFSETS = (0, 1, 2, 5, -1, -2, -5, 100, -100, 16383, 16384, 32768, LLONG_MAX, LLONG_MIN)
LENGTHS = (1, 20, 44, 45, 4096, 16384, 32768, 32769, 40000)
DURATIONS_S = (1000, 5000)
FAR_FUTURE_S = (33177117420, 33177117421, 9000000000)
BAD_DURATIONS = (0, -1, LLONG_MAX, LLONG_MIN, LLONG_MAX // 1000, LLONG_MAX // 1000 + 1)


@dataclass(frozen=True)
class Burst:
    """Commands that one connection sends in one go."""

    connection: str
    commands: tuple[Command, ...]


@dataclass(frozen=True)
class Script:
    """What is sent. protocols: the RESP version that each connection asks for first."""

    protocols: tuple[int, ...]
    bursts: tuple[Burst, ...]

    def text(self) -> str:
        """Return the script in the notation of the transcripts."""
        lines = ["== a difference, shrunk"]
        for name, protocol in zip(CONNECTIONS, self.protocols, strict=True):
            lines += ["@type", f"{name}> HELLO {protocol}"]
        for burst in self.bursts:
            if burst.connection == TEST:
                lines.append("# " + b" ".join(burst.commands[0]).decode())
                continue
            if len(burst.commands) > 1:
                lines.append(f"# the next {len(burst.commands)} were sent together")
            for command in burst.commands:
                words = " ".join(quote(argument) for argument in command)
                lines.append(f"{burst.connection}> {words}")
        return "\n".join(lines)


def _number(value: int) -> bytes:
    return b"%d" % value


keys = st.sampled_from(KEYS)
integers = st.one_of(
    st.sampled_from(INTEGERS).map(_number),
    st.integers(-1000, 1000).map(_number),
    st.sampled_from(NEAR_OVERFLOW).map(_number),
    st.sampled_from(NOT_INTEGERS + TOO_LARGE),
)
floats = st.one_of(st.sampled_from(FLOATS + NOT_FLOATS), integers)
long_values = st.builds(
    lambda unit, length: unit * length, st.sampled_from((b"x", b"\x00")), st.sampled_from(LENGTHS)
)
values = st.one_of(
    st.sampled_from(INTEGERS).map(_number),
    st.sampled_from(FLOATS + NOT_INTEGERS),
    st.binary(max_size=12),
    long_values,
)
offsets = st.one_of(st.sampled_from(OFFSETS).map(_number), integers)
set_offsets = st.one_of(st.integers(0, 60000).map(_number), offsets)
databases = st.one_of(
    st.sampled_from(DATABASES).map(_number), st.sampled_from((b"16", b"-1", b"abc", b""))
)
durations_s = st.one_of(
    st.sampled_from(DURATIONS_S).map(_number),
    st.sampled_from(BAD_DURATIONS).map(_number),
    st.sampled_from(NOT_INTEGERS),
)
durations_ms = st.one_of(
    st.sampled_from(DURATIONS_S).map(lambda value: _number(value * 1000)),
    # A quotient of the largest value in milliseconds is far away, and not refused.
    st.sampled_from((0, -1, LLONG_MAX, LLONG_MIN)).map(_number),
    st.sampled_from(NOT_INTEGERS),
)
deadlines_s = st.sampled_from(FAR_FUTURE_S).map(_number)
deadlines_ms = st.sampled_from(FAR_FUTURE_S).map(lambda value: _number(value * 1000 + 123))
bad_deadlines = st.sampled_from((b"0", b"-1", b"abc", b"", _number(LLONG_MIN)))


def _words(*texts: bytes) -> st.SearchStrategy[Command]:
    return st.sampled_from(texts).map(lambda text: tuple(text.split()))


def _join(*parts: st.SearchStrategy) -> st.SearchStrategy[Command]:
    """Concatenate words: each part gives one argument or a tuple of them."""

    def flatten(drawn: tuple) -> Command:
        words: list[bytes] = []
        for part in drawn:
            words += part if isinstance(part, tuple) else (part,)
        return tuple(words)

    return st.tuples(*parts).map(flatten)


def _command(name: bytes, *parts: st.SearchStrategy) -> st.SearchStrategy[Command]:
    return _join(st.just(name), *parts)


def _some(part: st.SearchStrategy, low: int = 1, high: int = 3) -> st.SearchStrategy[Command]:
    return st.lists(part, min_size=low, max_size=high).map(tuple)


expiry_options = st.one_of(
    _join(st.just(b"EX"), durations_s),
    _join(st.just(b"PX"), durations_ms),
    _join(st.just(b"EXAT"), st.one_of(deadlines_s, bad_deadlines)),
    _join(st.just(b"PXAT"), st.one_of(deadlines_ms, bad_deadlines)),
)
set_options = st.lists(
    st.one_of(
        _words(b"NX", b"XX", b"GET", b"KEEPTTL", b"get", b"PERSIST", b"bogus", b"EX"),
        expiry_options,
    ),
    max_size=3,
).map(lambda options: tuple(word for option in options for word in option))
getex_options = st.one_of(
    st.just(()),
    expiry_options,
    _words(b"PERSIST", b"EXAT 1", b"PXAT 1", b"EX", b"bogus", b"PERSIST EX 1000", b"KEEPTTL"),
)
nx_xx = _words(b"", b"NX", b"XX", b"nx", b"bogus", b"NX XX")
comparisons = _words(b"", b"NX", b"XX", b"GT", b"LT", b"XX GT", b"GT LT", b"NX GT", b"lt")

STRINGS = (
    _command(b"GET", keys),
    _command(b"SET", keys, values),
    _command(b"SET", keys, values),
    _command(b"SET", keys, values, set_options),
    _command(b"SET", keys, values, set_options),
    _command(b"SETNX", keys, values),
    _command(b"SETEX", keys, durations_s, values),
    _command(b"PSETEX", keys, durations_ms, values),
    _command(b"GETSET", keys, values),
    _command(b"GETDEL", keys),
    _command(b"GETEX", keys, getex_options),
    _command(b"MGET", _some(keys)),
    _command(b"MSET", _some(_join(keys, values)).map(lambda p: sum(p, ()))),
    _command(b"MSETNX", _some(_join(keys, values)).map(lambda p: sum(p, ()))),
    _command(b"APPEND", keys, values),
    _command(b"STRLEN", keys),
    _command(b"GETRANGE", keys, offsets, offsets),
    _command(b"SUBSTR", keys, offsets, offsets),
    _command(b"SETRANGE", keys, set_offsets, values),
    _command(b"INCR", keys),
    _command(b"DECR", keys),
    _command(b"INCRBY", keys, integers),
    _command(b"DECRBY", keys, integers),
)
NUMERIC_TAILS = (
    _command(b"INCRBYFLOAT", keys, floats),
    _command(b"LCS", keys, keys, _words(b"", b"LEN", b"IDX", b"IDX WITHMATCHLEN", b"LEN IDX")),
)
GENERIC = (
    _command(b"DEL", _some(keys)),
    _command(b"UNLINK", _some(keys)),
    _command(b"EXISTS", _some(keys)),
    _command(b"TOUCH", _some(keys)),
    _command(b"TYPE", keys),
    _command(b"RENAME", keys, keys),
    _command(b"RENAMENX", keys, keys),
    _command(
        b"COPY", keys, keys, _words(b"", b"REPLACE", b"DB 1", b"DB 0 REPLACE", b"DB x", b"DB 16")
    ),
    _command(b"EXPIRE", keys, durations_s, nx_xx),
    _command(b"PEXPIRE", keys, durations_ms, nx_xx),
    _command(b"EXPIREAT", keys, st.one_of(deadlines_s, bad_deadlines), comparisons),
    _command(b"PEXPIREAT", keys, st.one_of(deadlines_ms, bad_deadlines), comparisons),
    _command(b"PERSIST", keys),
    _command(b"TTL", keys),
    _command(b"PTTL", keys),
    _command(b"EXPIRETIME", keys),
    _command(b"PEXPIRETIME", keys),
)


def around(names: st.SearchStrategy[bytes]) -> tuple[st.SearchStrategy[Command], ...]:
    """Return what happens to keys whatever their type, for the keys of one type."""
    return (
        _command(b"DEL", names),
        _command(b"RENAME", names, names),
        _command(b"COPY", names, names, _words(b"", b"REPLACE")),
        _command(b"EXPIRE", names, st.just(b"5000")),
        _command(b"EXPIRE", names, durations_s, nx_xx),
        _command(b"TTL", names),
        _command(b"PERSIST", names),
        _command(b"TYPE", names),
        _command(b"WATCH", _some(names)),
    )


SCANS = (
    _command(b"SCAN", st.just((b"0", b"COUNT", b"1000"))),
    _command(b"SCAN", st.just((b"0", b"COUNT", b"1000", b"MATCH")), st.sampled_from(PATTERNS)),
    _command(b"SCAN", st.just((b"0", b"COUNT", b"1000", b"TYPE")), st.sampled_from(TYPES)),
    _command(b"SCAN", st.just((b"0", b"COUNT")), integers.filter(lambda n: not n.isdigit())),
)
DATABASE = (
    _command(b"SELECT", databases),
    _command(b"MOVE", keys, databases),
    _command(b"SWAPDB", databases, databases),
)
LISTINGS = (
    _command(b"DBSIZE"),
    _command(b"KEYS", st.sampled_from(PATTERNS)),
    _command(b"RANDOMKEY"),
)
FLUSHES = (
    _command(b"FLUSHDB", _words(b"", b"SYNC", b"ASYNC", b"bogus")),
    _command(b"FLUSHALL", _words(b"", b"SYNC", b"ASYNC")),
)
TRANSACTION = (
    _command(b"MULTI"),
    _command(b"MULTI"),
    _command(b"EXEC"),
    _command(b"EXEC"),
    _command(b"DISCARD"),
    _command(b"WATCH", _some(keys)),
    _command(b"UNWATCH"),
)
# Deadlines that a test's own clock will pass, never meet: the clock moves in tens. Sizes do not
# go with them: an expired key counts until somebody looks at it.
short_ms = st.sampled_from((5, 15, 25)).map(_number)
SHORT_LIVED = (
    _command(b"SET", keys, values, st.just(b"PX"), short_ms),
    _command(b"PEXPIRE", keys, short_ms, comparisons),
    _command(b"GETEX", keys, st.just(b"PX"), short_ms),
    _command(b"PSETEX", keys, short_ms, values),
    _command(b"GET", keys),
    _command(b"EXISTS", _some(keys)),
)
ADVANCES = st.sampled_from((10, 20, 1000)).map(lambda ms: (b"advance", b"%d" % ms))

CONNECTION = (
    _command(b"PING"),
    _command(b"ECHO", values),
    # Redis quotes arguments as C strings; bytes behind a NUL are compared by a transcript.
    _command(b"NOSUCH", _some(values.map(lambda value: value.replace(b"\0", b"0")), 0)),
)


def _weighted(*groups: tuple[int, tuple]) -> st.SearchStrategy[Command]:
    """Draw a group by weight, then one of its commands."""
    choices = [st.one_of(*group) for weight, group in groups for _ in range(weight)]
    return st.sampled_from(choices).flatmap(lambda choice: choice)


# Without their last argument these answer at random, and one of them removes what it picked.
PICKS = frozenset((b"HRANDFIELD", b"SPOP", b"SRANDMEMBER", b"ZRANDMEMBER"))


def _spoiled(command: Command) -> st.SearchStrategy[Command]:
    """Return the command with an argument less or more, or in other letters."""
    longer = command if command[0] in LONGER_SINCE_72 else (*command, b"x")
    shorter = longer if command[0] in PICKS else command[:-1] or longer
    return st.sampled_from((shorter, longer, (command[0].lower(), *command[1:])))


def commands(*groups: tuple[int, tuple]) -> st.SearchStrategy[Command]:
    """Return commands of the weighted groups, one of sixteen with its arguments spoiled."""
    drawn = _weighted(*groups)
    return st.integers(0, 15).flatmap(lambda n: drawn.flatmap(_spoiled) if n == 15 else drawn)


def _watched(command: st.SearchStrategy[Command]) -> st.SearchStrategy[tuple[Burst, ...]]:
    """Return the usual shape of an optimistic transaction: watch, somebody else, commit."""
    some = st.lists(command, min_size=1, max_size=4).map(tuple)

    def build(names: tuple[str, str], watched: Command, others: tuple, queued: tuple) -> tuple:
        mine, theirs = names
        return (
            Burst(mine, ((b"WATCH", *watched),)),
            Burst(theirs, others),
            Burst(mine, ((b"MULTI",), *queued, (b"EXEC",))),
        )

    return st.builds(build, st.permutations(CONNECTIONS).map(tuple), _some(keys), some, some)


def _flat(stretches: list[list[tuple[Burst, ...]]]) -> tuple[Burst, ...]:
    return tuple(burst for stretch in stretches for episode in stretch for burst in episode)


def scripts(
    command: st.SearchStrategy[Command],
    test: st.SearchStrategy[Command] | None = None,
    *,
    least: int = 1,
) -> st.SearchStrategy[Script]:
    """Return scripts for two connections: mostly single commands, some pipelines.

    test: what the test may do in between, say moving a clock.   least: stretches of at least so
    many episodes, and at least so many of them.
    """
    single = st.tuples(command)
    pipeline = st.lists(command, min_size=2, max_size=10).map(tuple)
    burst = st.builds(Burst, st.sampled_from(CONNECTIONS), st.one_of(single, single, pipeline))
    episode = st.integers(0, 7).flatmap(lambda n: _watched(command) if n == 7 else st.tuples(burst))
    if test is not None:
        between = st.builds(Burst, st.just(TEST), st.tuples(test)).map(lambda burst: (burst,))
        episode = st.one_of(episode, episode, episode, between)
    # Lists of lists: longer scripts than one list would give, and still easily shrunk.
    stretch = st.lists(episode, min_size=least, max_size=STRETCHES_MAX)
    episodes = st.lists(stretch, min_size=least, max_size=STRETCHES_MAX)
    protocols = st.tuples(*(st.sampled_from((2, 3)) for _ in CONNECTIONS))
    return st.builds(Script, protocols, episodes.map(_flat))


COMMON_GROUPS = (
    (8, STRINGS),
    (6, GENERIC),
    (2, DATABASE),
    (1, FLUSHES),
    (3, TRANSACTION),
    (1, CONNECTION),
)
MODEL_GROUPS = (*COMMON_GROUPS, (1, LISTINGS))
TIMED_GROUPS = (*COMMON_GROUPS, (6, SHORT_LIVED))
ALL_GROUPS = (*MODEL_GROUPS, (1, NUMERIC_TAILS), (1, SCANS))
