"""Each comparer must notice the fault it exists for, and notations must read back as written."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance import replay
from tests.conformance.differential import Difference, Pair
from tests.conformance.generators import Burst, Script
from tests.conformance.model_server import Fault, ModelServer
from tests.conformance.quoting import escape_line, quote, split_arguments, substitute, unescape_line
from tests.conformance.replay import differences
from tests.conformance.shrink import run_and_shrink
from tests.conformance.transcript import load_all, parse, write
from tests.support.resp import ErrorReply, Status

NOW_MS = 1_700_000_000_000

TRANSCRIPT = """\
== all kinds of comparison
> SET k v
< +OK
> GET k
< $1
< v
> EXPIRE k 100
< :1
@approx 2
> TTL k
< :100
> MSET a 1 b 2
< +OK
@unordered
> KEYS *
< *3
< $1
< b
< $1
< a
< $1
< k
@type
> RANDOMKEY
< $
@match \\$[0-9]\\r\\n[ab0-9]+\\r\\n
> ECHO 77
@save x
> INCR n
< :1
> ECHO ${x}
< $1
< ${x}
@raw
@replies 2
> "*1\\r\\n$4\\r\\nPING\\r\\n*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\na\\r\\n"
< +PONG
< $1
< 1
@eventually
> EXISTS a
< :1
> GET nope
< $-1
> GET
< -ERR wrong number of arguments for 'get' command
"""
SECTION = parse(TRANSCRIPT, "planted")[0]


def on(name: bytes, reply: object) -> Fault:
    """Return a fault that answers `name` with `reply`, or with what `reply` makes of the truth."""

    def fault(call, arguments):
        truth = call(*arguments)
        if arguments[0].upper() != name:
            return truth
        return reply(truth) if callable(reply) else reply

    return fault


def report(fault: Fault | None) -> str:
    """Replay the section on a model with a fault; return what was found."""
    server = ModelServer(lambda: NOW_MS, fault)
    return "\n".join(differences(SECTION, server.connect, skip=lambda _: False))


def test_truth_is_accepted() -> None:
    assert report(None) == ""


@pytest.mark.parametrize(
    ("name", "reply", "where"),
    [
        pytest.param(b"GET", b"w", "GET k", id="a wrong value"),
        pytest.param(b"SET", b"OK", "SET k v", id="a bulk string for a status"),
        pytest.param(b"TTL", 97, "TTL k", id="a deadline that is off"),
        pytest.param(b"TTL", -1, "TTL k", id="no deadline"),
        pytest.param(b"KEYS", [b"a", b"b"], "KEYS", id="a missing key"),
        pytest.param(b"KEYS", [b"a", b"b", b"k", b"k"], "KEYS", id="a key twice"),
        pytest.param(b"KEYS", b"abk", "KEYS", id="no array"),
        pytest.param(b"RANDOMKEY", None, "RANDOMKEY", id="nil for a key"),
        pytest.param(b"RANDOMKEY", 1, "RANDOMKEY", id="another type"),
        pytest.param(b"ECHO", b"x", "ECHO 77", id="no match"),
        pytest.param(b"ECHO", b"2", "ECHO ${x}", id="not what was saved"),
        pytest.param(b"PING", Status(b"PANG"), "PING", id="one reply of a pipeline"),
        pytest.param(b"GET", lambda t: b"" if t is None else t, "GET nope", id="empty for nil"),
        pytest.param(b"EXISTS", 0, "EXISTS a", id="never as expected"),
        pytest.param(
            b"GET",
            lambda t: ErrorReply("ERR") if isinstance(t, ErrorReply) else t,
            "> GET",
            id="a text of an error",
        ),
    ],
)
def test_replay_notices(
    monkeypatch: pytest.MonkeyPatch, name: bytes, reply: object, where: str
) -> None:
    monkeypatch.setattr(replay, "EVENTUALLY_SECONDS_MAX", 0.0)
    assert where in report(on(name, reply))


def test_replay_notices_a_connection_that_stays_open() -> None:
    section = parse("== one\n@closes\n> PING\n< +PONG\n", "planted")[0]

    class Open(ModelServer):
        """Ends of the stream are bytes here: the model always has something more to say."""

        def connect(self, timeout_s: float = 0.0):
            stream = super().connect()
            stream._receive_some = lambda: b"".join(stream._output) or b"+more\r\n"
            return stream

    found = differences(section, Open(lambda: NOW_MS).connect, skip=lambda _: False)
    assert "did not close" in found[0]


SCRIPT = Script(
    (2, 2),
    (
        Burst("a", ((b"SET", b"k", b"5", b"PX", b"5000000"),)),
        Burst("b", ((b"INCR", b"k"), (b"TTL", b"k"), (b"PEXPIRETIME", b"k"))),
        Burst("a", ((b"MSET", b"a", b"1", b"b", b"2"), (b"KEYS", b"*"))),
        Burst("b", ((b"RANDOMKEY",),)),
        Burst("a", ((b"MULTI",), (b"GET", b"k"), (b"TTL", b"k"), (b"KEYS", b"*"), (b"EXEC",))),
        Burst("a", ((b"PERSIST", b"a"), (b"NOSUCH", b"x"), (b"COPY", b"a", b"c"))),
    ),
)


def lose(name: bytes, reply: object) -> Fault:
    """Return a fault that answers `name` well and does nothing."""
    return lambda call, arguments: reply if arguments[0] == name else call(*arguments)


def within_exec(change) -> Fault:
    """Return a fault that changes the replies inside EXEC."""

    def fault(call, arguments):
        truth = call(*arguments)
        return change(truth) if arguments[0] == b"EXEC" and truth else truth

    return fault


def test_pair_accepts_equals() -> None:
    Pair(ModelServer(lambda: NOW_MS), ModelServer(lambda: NOW_MS)).run(SCRIPT)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(on(b"INCR", lambda truth: truth + 1), id="a wrong number"),
        pytest.param(on(b"SET", b"OK"), id="another type"),
        pytest.param(on(b"TTL", lambda truth: truth - 10), id="a deadline that is off"),
        pytest.param(on(b"TTL", -1), id="no deadline"),
        pytest.param(on(b"PEXPIRETIME", lambda truth: truth + 3000), id="a moment that is off"),
        pytest.param(on(b"KEYS", lambda truth: truth[1:]), id="a missing key"),
        pytest.param(on(b"RANDOMKEY", b"nosuchkey"), id="a key that is not there"),
        pytest.param(on(b"NOSUCH", ErrorReply("ERR unknown command")), id="a text of an error"),
        pytest.param(within_exec(lambda truth: [b"7", *truth[1:]]), id="a value in EXEC"),
        pytest.param(within_exec(lambda truth: truth[1:]), id="a reply less in EXEC"),
        pytest.param(within_exec(lambda truth: None), id="an EXEC that did not run"),
        pytest.param(within_exec(lambda t: [t[0], t[1], t[2][1:]]), id="a key less in EXEC"),
        pytest.param(lose(b"COPY", 1), id="a write that is lost"),
        pytest.param(lose(b"SET", Status(b"OK")), id="a first write that is lost"),
    ],
)
def test_pair_notices(fault: Fault) -> None:
    with pytest.raises(Difference) as raised:
        Pair(ModelServer(lambda: NOW_MS), ModelServer(lambda: NOW_MS, fault)).run(SCRIPT)
    assert parse(re.split(r"\n\nin\n\n", str(raised.value))[1], "repro")  # can be pasted


def test_pair_notices_a_deadline_that_is_lost() -> None:
    script = Script((2, 2), (Burst("a", ((b"SET", b"k", b"v"), (b"EXPIRE", b"k", b"1000"))),))
    with pytest.raises(Difference, match="at the end"):
        Pair(ModelServer(lambda: NOW_MS), ModelServer(lambda: NOW_MS, lose(b"EXPIRE", 1))).run(
            script
        )


def test_a_failing_script_gets_shorter() -> None:
    noise = Burst("a", ((b"PING",), (b"GET", b"x")))
    lost = Burst("a", ((b"SET", b"k", b"v"), (b"COPY", b"k", b"c")))
    script = Script((2, 2), (noise,) * 20 + (lost,) + (noise,) * 20)

    def run(candidate: Script) -> None:
        faulty = ModelServer(lambda: NOW_MS, lose(b"COPY", 1))
        Pair(ModelServer(lambda: NOW_MS), faulty).run(candidate)

    with pytest.raises(Difference) as raised:
        run_and_shrink(run, script)
    assert "PING" not in str(raised.value)
    assert "> COPY k c" in str(raised.value)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.integers(1, 200))
def test_quoting_reads_back(data: bytes, count: int) -> None:
    data = data.replace(b"$", b"") + data[:1].replace(b"$", b"") * count
    words = split_arguments(f"{quote(data)} {quote(data)}")
    assert [substitute(word, {}) for word in words] == [data, data]
    line = data.replace(b"\n", b"")
    assert unescape_line(escape_line(line), {}) == line


def test_transcripts_read_back() -> None:
    sections = [section for _, section in load_all()]
    assert parse(write(sections), "all")
    assert write(parse(write(sections), "all")) == write(sections)


def test_every_step_is_recorded() -> None:
    for topic, section in load_all():
        for step in section.steps:
            assert step.lines is not None, f"{topic}:{step.number} {step.command}"


LISTED = Script(
    (2, 3),
    (
        Burst("a", ((b"RPUSH", b"l", b"a", b"b", b"a"), (b"LPOP", b"none", b"1"))),
        Burst("b", ((b"LRANGE", b"l", b"0", b"-1"), (b"LPOS", b"l", b"a"), (b"LLEN", b"l"))),
    ),
)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(on(b"LRANGE", lambda truth: truth[1:] + truth[:1]), id="a wrong order"),
        pytest.param(on(b"LRANGE", lambda truth: truth[1:]), id="a missing element"),
        pytest.param(on(b"LPOP", lambda truth: None), id="a null of the other form"),
        pytest.param(lose(b"RPUSH", 3), id="a list that is lost"),
    ],
)
def test_pair_notices_of_lists(fault: Fault) -> None:
    with pytest.raises(Difference):
        Pair(ModelServer(lambda: NOW_MS), ModelServer(lambda: NOW_MS, fault)).run(LISTED)


SORTED = Script(
    (2, 3),
    (
        Burst("a", ((b"ZADD", b"z", b"1.5", b"a", b"2", b"b"),)),
        Burst("b", ((b"ZSCORE", b"z", b"a"), (b"ZRANGE", b"z", b"0", b"-1"), (b"ZCARD", b"z"))),
    ),
)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(on(b"ZSCORE", lambda truth: truth + 1e-9), id="a score that is off"),
        pytest.param(on(b"ZSCORE", lambda truth: None), id="a score that is missing"),
        pytest.param(on(b"ZRANGE", lambda truth: truth[::-1]), id="a wrong order"),
        pytest.param(on(b"ZRANGE", lambda truth: truth[1:]), id="a missing member"),
        pytest.param(lose(b"ZADD", 2), id="a sorted set that is lost"),
    ],
)
def test_pair_notices_of_sorted_sets(fault: Fault) -> None:
    with pytest.raises(Difference):
        Pair(ModelServer(lambda: NOW_MS), ModelServer(lambda: NOW_MS, fault)).run(SORTED)


def test_pair_takes_other_texts_of_one_score() -> None:
    seventeen_digits = on(b"ZSCORE", lambda truth: b"1.5000")
    script = Script((2, 2), SORTED.bursts)
    Pair(ModelServer(lambda: NOW_MS), ModelServer(lambda: NOW_MS, seventeen_digits)).run(script)
