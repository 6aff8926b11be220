"""Ends of ranges, row by row, as redis-server reads them."""

import math

import pytest

from kvnode._core.bounds import lex_bound, score_bound


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        (b"1", (1.0, False)),
        (b"(1", (1.0, True)),
        (b"(-1.5e3", (-1500.0, True)),
        (b"inf", (math.inf, False)),
        (b"+INF", (math.inf, False)),
        (b"(-infinity", (-math.inf, True)),
        (b"0x10", (16.0, False)),
        (b"(0x1p-1", (0.5, True)),
        (b" 1", (1.0, False)),
        (b"( 1", (1.0, True)),
        (b"", (0.0, False)),
        (b"(", (0.0, True)),
        (b"1e400", (math.inf, False)),
        (b"-1e400", (-math.inf, False)),
        (b"1e-400", (0.0, False)),
        (b"1\0x", (1.0, False)),
        (b"0" * 300 + b"7", (7.0, False)),
        (b"(" + b"0" * 300 + b"7", (7.0, True)),
    ],
)
def test_score_bounds(text, bound):
    assert score_bound(text) == bound


@pytest.mark.parametrize(
    "text",
    [b"x", b"1x", b"1 ", b"nan", b"(nan", b"((1", b"[1", b"+", b"-", b"(+", b"0" * 300 + b"x"],
)
def test_what_is_no_score_bound(text):
    assert score_bound(text) is None


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        (b"-", ("-", b"")),
        (b"+", ("+", b"")),
        (b"[a", ("[", b"a")),
        (b"(abc", ("(", b"abc")),
        (b"[", ("[", b"")),
        (b"(", ("(", b"")),
        (b"[-", ("[", b"-")),
        (b"[a\0b", ("[", b"a\0b")),
        (b"-\0a", ("-", b"")),
        (b"+\0", ("+", b"")),
    ],
)
def test_lex_bounds(text, bound):
    assert lex_bound(text) == bound


@pytest.mark.parametrize("text", [b"", b"a", b"-a", b"++", b"]a", b"\0", b" [a", b"inf"])
def test_what_is_no_lex_bound(text):
    assert lex_bound(text) is None
