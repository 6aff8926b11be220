"""Words of redis.conf."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvnode.server.config_file import split_words
from kvnode.server.values import quote


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", []),
        (b"  a  b\t c ", [b"a", b"b", b"c"]),
        (b'a "b c" d', [b"a", b"b c", b"d"]),
        (b"a 'b c'", [b"a", b"b c"]),
        (b'a ""', [b"a", b""]),
        (b'a "\\x41\\n\\"\\q"', [b"a", b'A\n"q']),
        (b"a 'it\\'s \\n'", [b"a", b"it's \\n"]),
        (b'a"b"', [b"ab"]),
        (b'"a"b', None),
        (b'"a', None),
        (b"'a", None),
        (b'"a\\', None),
    ],
)
def test_split_words(line: bytes, words: list[bytes] | None) -> None:
    assert split_words(line) == words


@given(st.lists(st.binary(max_size=12), max_size=4))
def test_quoted_words_come_back(words: list[bytes]) -> None:
    line = b" ".join(quote(word) for word in words)
    assert b"\n" not in line
    assert split_words(line) == words
