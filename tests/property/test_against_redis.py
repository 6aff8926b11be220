"""Parser, number texts and globs against a real redis-server, where one is installed."""

import random

import pytest

from kvnode._core.glob import matches
from kvnode._core.numbers import add_texts, parse_double_text
from kvnode._core.parser import Parser
from kvnode.base.errors import RemoteProtocolError
from tests.property.test_numbers import random_decimal
from tests.support import process
from tests.support.resp import ErrorReply, encode
from tests.unit._core.test_numbers import REFUSED
from tests.unit._core.test_parser import COMMANDS, ERRORS

SUMS = 3000
PATTERNS = 400
ODD_NUMBERS = [
    *REFUSED,
    *(b"+5", b".5", b"5.", b"0x1p3", b"0x.8", b"inf", b"-INF", b"+Infinity", b"1e400", b"1e-400"),
    *(b"4e-320", b"1e4000", b"-1e4932", b"1e5000", b"1e-4000", b"1e-5000", b"-0", b"1e-20"),
    *(b"0" * 300 + b"5", b"0" * 5118 + b"1", b"0" * 5119 + b"1", b"0." + b"3" * 400),
]
NOT_A_FLOAT = ErrorReply("ERR value is not a valid float")
NOT_FINITE = ErrorReply("ERR increment would produce NaN or Infinity")


@pytest.fixture(scope="module")
def redis():
    if process.redis_server_path() is None:
        pytest.skip("redis-server is not installed")
    with process.running("redis") as server:
        yield server


def pipeline(server, commands):
    """Send all commands at once; return their replies, errors as values."""
    connection = server.connect()
    try:
        connection.send(b"".join(encode(*command) for command in commands))
        return [connection.receive() for _ in commands]
    finally:
        connection.close()


def expected_sum(a, b):
    """Return what INCRBYFLOAT must answer."""
    total = add_texts(a, b)
    if total is None:
        return NOT_A_FLOAT
    return NOT_FINITE if total in (b"inf", b"-inf", b"nan") else total


def sum_differences(server, pairs, expected):
    """Return the pairs that redis-server adds up to something else."""
    commands = [c for a, b in pairs for c in (("SET", "s", a), ("INCRBYFLOAT", "s", b))]
    totals = pipeline(server, commands)[1::2]
    return [pair for pair, total in zip(pairs, totals, strict=True) if expected(*pair) != total]


def random_pairs():
    rng = random.Random(6)
    return [(random_decimal(rng), random_decimal(rng)) for _ in range(SUMS)]


def test_sums(redis):
    odd = [pair for x in ODD_NUMBERS for pair in ((x, b"1"), (b"1", x), (x, x))]
    assert sum_differences(redis, random_pairs() + odd, expected_sum) == []


def test_a_planted_bug_in_sums_is_found(redis):
    def in_doubles(a, b):
        return b"%.17g" % (float(a) + float(b))

    assert sum_differences(redis, random_pairs(), in_doubles)


def test_doubles(redis):
    rng = random.Random(7)
    texts = ODD_NUMBERS + [random_decimal(rng) for _ in range(500)]
    commands = [
        c for t in texts for c in (("DEL", "z"), ("ZADD", "z", t, "m"), ("ZSCORE", "z", "m"))
    ]
    replies = pipeline(redis, commands)
    for i, text in enumerate(texts):
        added, score = replies[3 * i + 1 : 3 * i + 3]
        value = parse_double_text(text)
        if value is None:
            assert added == NOT_A_FLOAT, text
        else:
            assert float(score) == value, text


def test_globs(redis):
    rng = random.Random(8)
    texts = sorted(
        {bytes(rng.choices(b"abABc]-\\\x80\xff", k=rng.randrange(5))) for _ in range(200)}
    )
    alphabet = b"abAB*?[]^-\\\x80\xff"
    patterns = [b"**", b"[^", b"[", b"[\x01-\xff]*", b"[a-", b"\\", b"*\\"]
    patterns += [bytes(rng.choices(alphabet, k=rng.randrange(1, 8))) for _ in range(PATTERNS)]
    patterns = [pattern for pattern in patterns if pattern != b"*"]
    pipeline(redis, [("FLUSHALL",), *(("SET", text, "") for text in texts)])
    replies = pipeline(redis, [("KEYS", pattern) for pattern in patterns])
    for pattern, keys in zip(patterns, replies, strict=True):
        assert sorted(keys) == [text for text in texts if matches(pattern, text)], pattern


def first_reply_to(server, data):
    connection = server.connect()
    try:
        connection.send(data)
        return connection.receive_raw()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("data", "error"), [row for row in ERRORS if b"\0" not in row[0] and len(row[0]) < 1000]
)
def test_protocol_errors(redis, data, error):
    parser = Parser()
    parser.authenticated = True
    parser.feed(data)
    with pytest.raises(RemoteProtocolError):
        parser.next_command()
    line = parser.error.replace(b"\r", b" ")  # as every error line is cleaned when it is written
    assert first_reply_to(server=redis, data=data) == b"-" + line + b"\r\n", error


@pytest.mark.parametrize(
    ("data", "commands"), [row for row in COMMANDS if b"\0" not in row[0] and len(row[0]) < 5000]
)
def test_commands(redis, data, commands):
    """Redis finds as many commands, and the same word behind ECHO."""
    connection = redis.connect()
    try:
        connection.send(data + encode("ECHO", "end"))
        replies = [connection.receive() for _ in range(len(commands) + 1)]
    finally:
        connection.close()
    assert replies[-1] == b"end"
    for command, reply in zip(commands, replies, strict=False):
        if command[0] == b"ECHO" and len(command) == 2:
            assert reply == command[1]
