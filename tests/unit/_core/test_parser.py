"""The request parser: every row whole, byte by byte, cut in two, and with bytes behind it."""

import pytest

from kvnode._core.parser import Parser
from kvnode.base.errors import RemoteProtocolError
from tests.support.resp import encode

LINE_BYTES_MAX = 64 * 1024
PING = b"*1\r\n$4\r\nPING\r\n"

COMMANDS = [
    # -- arrays of bulk strings
    (PING, [[b"PING"]]),
    (PING * 3, [[b"PING"]] * 3),
    (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", [[b"SET", b"k", b""]]),
    (encode("SET", "k", b"x" * 9), [[b"SET", b"k", b"x" * 9]]),
    (encode("SET", "k", b"x" * 10), [[b"SET", b"k", b"x" * 10]]),
    (encode("SET", "k", b"x" * 99), [[b"SET", b"k", b"x" * 99]]),
    (encode("SET", "k", b"x" * 100), [[b"SET", b"k", b"x" * 100]]),
    (encode("SET", "k", b"x" * 1000), [[b"SET", b"k", b"x" * 1000]]),
    (encode("SET", b"\r\n$1\r\n\0\xff", b"*1\r\n"), [[b"SET", b"\r\n$1\r\n\0\xff", b"*1\r\n"]]),
    (encode(*b"DEL a b c d e f g h i".split()), [b"DEL a b c d e f g h i".split()]),
    (encode(*[b"DEL"] * 9), [[b"DEL"] * 9]),
    (encode(*[b"DEL"] * 17), [[b"DEL"] * 17]),
    (encode(*[b"DEL"] * 130), [[b"DEL"] * 130]),
    # -- what Redis skips in silence
    (b"*0\r\n" + PING, [[b"PING"]]),
    (b"*-1\r\n" + PING, [[b"PING"]]),
    (b"*-9223372036854775808\r\n" + PING, [[b"PING"]]),
    (b"\r\n\n \t\r\n" + PING, [[b"PING"]]),
    # -- what Redis does not look at: the byte behind CR, the two behind a bulk
    (b"*1\rx$4\ryPINGzz" + PING, [[b"PING"]] * 2),
    # -- inline
    (b"PING\r\n", [[b"PING"]]),
    (b"PING\n", [[b"PING"]]),
    (b"PING\r\r\n", [[b"PING"]]),
    (b"  SET\tk \r v  \r\n", [[b"SET", b"k", b"v"]]),
    (
        b"GET a\nGET b\r\n" + PING + b"GET c\n",
        [[b"GET", b"a"], [b"GET", b"b"], [b"PING"], [b"GET", b"c"]],
    ),
    (b'ECHO ""\r\n', [[b"ECHO", b""]]),
    (b"''\n", [[b""]]),
    (b'ECHO "a b" \'c d\' e"f g"\n', [[b"ECHO", b"a b", b"c d", b"ef g"]]),
    (b'ECHO "\\x41\\xfF\\n\\r\\t\\b\\a\\q\\\\\\""\n', [[b"ECHO", b'A\xff\n\r\t\b\aq\\"']]),
    (b'ECHO "\\x4" "\\xg1" "\\x"\n', [[b"ECHO", b"x4", b"xg1", b"x"]]),
    (b"ECHO 'it\\'s' '\\x41\\n'\n", [[b"ECHO", b"it's", b"\\x41\\n"]]),
    (b"ECHO a\\n\\\n", [[b"ECHO", b"a\\n\\"]]),
    (b"\v\fECHO a\vb\fc \v d\n", [[b"ECHO", b"a\vb\fc", b"d"]]),
    (b'ECHO "a"\vb\n', [[b"ECHO", b"a", b"b"]]),
    (b"ECHO a\0b\0\n\0\n", [[b"ECHO", b"a\0b\0"], [b"\0"]]),
    (b"$4\r\nPING\r\n", [[b"$4"], [b"PING"]]),
    (b"x" * (LINE_BYTES_MAX - 1) + b"\r\n", [[b"x" * (LINE_BYTES_MAX - 1)]]),
]

ERRORS = [
    (b"*+1\r\n", "invalid multibulk length"),
    (b"*01\r\n", "invalid multibulk length"),
    (b"*-0\r\n", "invalid multibulk length"),
    (b"*\r\n", "invalid multibulk length"),
    (b"* 1\r\n", "invalid multibulk length"),
    (b"*1 \r\n", "invalid multibulk length"),
    (b"*1a\r\n", "invalid multibulk length"),
    (b"*1\n\r\n", "invalid multibulk length"),
    (b"*\0\r\n", "invalid multibulk length"),
    (b"*2147483648\r\n", "invalid multibulk length"),
    (b"*9223372036854775808\r\n", "invalid multibulk length"),
    (b"*1\r\nPING\r\n", "expected '$', got 'P'"),
    (b"*1\r\n:4\r\n", "expected '$', got ':'"),
    (b"*1\r\n\xff\r\n", "expected '$', got '\xff'"),
    (b"*1\r\n\r\n", "expected '$', got '\r'"),
    (b"*2\r\n$3\r\nGET\r\n*1\r\n", "expected '$', got '*'"),
    (b"*1\r\n$-1\r\n", "invalid bulk length"),
    (b"*1\r\n$\r\n", "invalid bulk length"),
    (b"*1\r\n$00\r\n", "invalid bulk length"),
    (b"*1\r\n$04\r\n", "invalid bulk length"),
    (b"*1\r\n$4x\r\n", "invalid bulk length"),
    (b"*1\r\n$536870913\r\n", "invalid bulk length"),
    (b"*1\r\n$99999999999999999999\r\n", "invalid bulk length"),
    (b'ECHO "abc\r\n', "unbalanced quotes in request"),
    (b"ECHO 'abc\n", "unbalanced quotes in request"),
    (b'ECHO "a"b\n', "unbalanced quotes in request"),
    (b"ECHO 'a'b\n", "unbalanced quotes in request"),
    (b'ECHO "a""b"\n', "unbalanced quotes in request"),
    (b'ECHO "abc\\"\n', "unbalanced quotes in request"),
    (b'ECHO "abc\\\n', "unbalanced quotes in request"),
    (b"ECHO 'abc\\'\n", "unbalanced quotes in request"),
    (b"x" * (LINE_BYTES_MAX + 1), "too big inline request"),
    (b"\0" * (LINE_BYTES_MAX + 1), "too big inline request"),
    (b"x" * (LINE_BYTES_MAX + 1) + b"\n", "too big inline request"),
    (b"*" + b"1" * LINE_BYTES_MAX, "too big mbulk count string"),
    (b"*" + b"1" * LINE_BYTES_MAX + b"\r\n", "too big mbulk count string"),
    (b"*1\r\n$" + b"1" * LINE_BYTES_MAX, "too big bulk count string"),
    (b"*1\r\nx" + b"1" * LINE_BYTES_MAX + b"\r\n", "too big bulk count string"),
]

INCOMPLETE = [
    b"",
    b"*",
    b"*1",
    b"*1\r",
    b"*1\r\n",
    b"*1\r\n$",
    b"*1\r\n$4\r",
    b"*1\r\n$4\r\nPING",
    b"*1\r\n$4\r\nPING\r",
    b"*1\r\nx\r",
    b"*2\r\n$3\r\nGET\r\n",
    b"*2147483647\r\n",
    b"*1\r\n$536870912\r\n",
    b"PING",
    b"PING\r",
    b'ECHO "abc',
    b"x" * LINE_BYTES_MAX,
    b"*" + b"1" * (LINE_BYTES_MAX - 1),
    b"*1\r\n$" + b"1" * (LINE_BYTES_MAX - 1),
]


def label(value):
    text = repr(value)
    return text if len(text) <= 50 else f"{text[:40]}... {len(value)} bytes"


def new_parser():
    parser = Parser()
    parser.authenticated = True
    return parser


def drain(parser):
    commands = []
    while (command := parser.next_command()) is not None:
        commands.append(command)
    return commands


def parse_pieces(parser, pieces):
    """Return the commands, and the error's text if there is one."""
    commands = []
    for piece in pieces:
        parser.feed(piece)
        try:
            while (command := parser.next_command()) is not None:
                commands.append(command)
        except RemoteProtocolError as error:
            return commands, str(error)
    return commands, None


def ways_to_cut(data):
    """Yield the input whole, byte by byte, and cut in two at places near its ends."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for i in {*range(1, min(len(data), 40)), *range(max(len(data) - 40, 1), len(data))}:
        yield [data[:i], data[i:]]


@pytest.mark.parametrize(("data", "commands"), COMMANDS, ids=label)
def test_commands(data, commands):
    for pieces in ways_to_cut(data):
        parser = new_parser()
        assert parse_pieces(parser, pieces) == (commands, None)
        assert parser.pending_bytes == 0


@pytest.mark.parametrize(("data", "commands"), COMMANDS, ids=label)
def test_commands_with_trailing_bytes(data, commands):
    parser = new_parser()
    assert parse_pieces(parser, [data + b"*1\r\n$4\r\nPI", b"NG\r\nQU", b"IT\n"]) == (
        [*commands, [b"PING"], [b"QUIT"]],
        None,
    )


@pytest.mark.parametrize(("data", "error"), ERRORS, ids=label)
def test_errors(data, error):
    error = f"ERR Protocol error: {error}"
    for pieces in ways_to_cut(data):
        assert parse_pieces(new_parser(), pieces) == ([], error)
    assert parse_pieces(new_parser(), [PING + data + PING]) == ([[b"PING"]], error)


@pytest.mark.parametrize("data", INCOMPLETE, ids=label)
def test_incomplete(data):
    for pieces in ways_to_cut(data):
        parser = new_parser()
        assert parse_pieces(parser, pieces) == ([], None)
        assert parser.pending_bytes == len(data)


def test_nothing_is_parsed_after_an_error():
    parser = new_parser()
    parser.feed(b"*x\r\n")
    for _ in range(3):
        with pytest.raises(RemoteProtocolError, match="invalid multibulk length"):
            parser.next_command()
        parser.feed(PING)
    assert parser.error == b"ERR Protocol error: invalid multibulk length"


def test_progress_of_a_header_ends_with_it():
    parser = new_parser()
    pieces = [b"*1\r\n$4\r", b"\nPING\r\n", b"\n", b"*1\r\n$4\r\nPING\r\n"]
    assert parse_pieces(parser, pieces) == ([[b"PING"]] * 2, None)


def test_a_stranger_has_small_limits():
    def answer(data):
        return parse_pieces(Parser(), [data])

    value = b"x" * 16384
    assert answer(encode(*[b"a"] * 10)) == ([[b"a"] * 10], None)
    assert answer(b"*11\r\n") == ([], "ERR Protocol error: unauthenticated multibulk length")
    assert answer(encode(value)) == ([[value]], None)
    assert answer(b"*1\r\n$16385\r\n") == ([], "ERR Protocol error: unauthenticated bulk length")


def test_limits_end_with_authentication():
    parser = Parser()
    parser.feed(PING)
    assert drain(parser) == [[b"PING"]]
    parser.authenticated = True
    parser.feed(encode(*[b"x" * 20000] * 11))
    assert drain(parser) == [[b"x" * 20000] * 11]


def test_proto_max_bulk_len_can_be_set():
    parser = new_parser()
    parser.proto_max_bulk_bytes = 100
    parser.feed(encode(b"x" * 100, b"x" * 101))
    with pytest.raises(RemoteProtocolError, match="invalid bulk length"):
        parser.next_command()


def test_headers_reserve_no_memory():
    parser = new_parser()
    empty = parser.memory_bytes
    parser.feed(b"*2147483647\r\n$536870912\r\nabc")
    assert parser.next_command() is None
    assert parser.memory_bytes <= empty + 1024


def test_memory_follows_what_arrived_and_is_given_back():
    parser = new_parser()
    count = 50_000
    argument = b"$1\r\nx\r\n"
    parser.feed(b"*%d\r\n" % (count + 1))
    for i in range(count):
        parser.feed(argument)
        if i % 1000 == 0:
            assert parser.next_command() is None
            received = (i + 1) * len(argument)
            assert parser.memory_bytes <= 8 * received + 4096
    parser.feed(argument + PING)
    assert parser.next_command() == [b"x"] * (count + 1)
    assert drain(parser) == [[b"PING"]]
    assert parser.memory_bytes - parser.capacity_bytes <= 16 * 1024


def test_an_incomplete_command_is_not_scanned_again():
    """Scanned from its start for each byte, this would take hours."""
    parser = new_parser()
    arguments = [b"a%d" % i for i in range(40_000)]
    commands, error = parse_pieces(parser, (bytes([b]) for b in encode(*arguments)))
    assert error is None
    assert commands == [arguments]


def test_peek_consumes_nothing():
    parser = new_parser()
    expected = [[b"GET", b"a"], [b"SET", b"b", b"x" * 200], [b"PING"]]
    for command in expected:
        parser.feed(encode(*command))
    parser.feed(b"*1\r\n$4\r\nPI")
    before = parser.pending_bytes
    assert parser.peek_commands() == expected
    assert parser.peek_commands() == expected
    assert parser.pending_bytes == before
    assert parser.next_command() == expected[0]
    assert parser.peek_commands() == expected[1:]
    assert drain(parser) == expected[1:]
    assert parser.peek_commands() == []
    parser.feed(b"NG\r\n")
    assert drain(parser) == [[b"PING"]]


@pytest.mark.parametrize(
    "data",
    [
        b"GET a\r\n",
        b"\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*x\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$9223372036854775807\r\n",
        b"*2147483647\r\n$1\r\na\r\n",
        b"*99999999999\r\n",
        b"*1\r\n$4\r\nPING\r",
    ],
)
def test_peek_leaves_the_rest_to_next(data):
    parser = new_parser()
    parser.feed(PING + data + PING)
    commands = parser.peek_commands()
    assert commands[:1] == [[b"PING"]]
    assert commands == [[b"PING"]] or data.endswith(b"PING\r")
    assert parser.memory_bytes <= 4096
