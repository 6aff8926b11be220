"""Number texts: the forms of Redis 7.4, row by row."""

import math

import pytest

from kvnode._core.numbers import add_texts, double_text, parse_double_text

DOUBLES = [
    (0.0, b"0"),
    (-0.0, b"-0"),
    (1.0, b"1"),
    (-17.0, b"-17"),
    (3.1, b"3.1"),
    (0.1, b"0.1"),
    (0.1 + 0.2, b"0.30000000000000004"),
    (1e15, b"1000000000000000"),
    (1e17, b"100000000000000000"),
    (2.0**53, b"9007199254740992"),
    (2.0**62, b"4611686018427387904"),
    (-(2.0**62), b"-4611686018427387904"),
    (2.0**63, b"9223372036854776000"),
    (1e20, b"1e+20"),
    (1.2345678901234567e20, b"123456789012345670000"),
    (-1.5e300, b"-1.5e+300"),
    (1.7976931348623157e308, b"1.7976931348623157e+308"),
    (1e-6, b"0.000001"),
    (1.5e-5, b"0.000015"),
    (1e-7, b"1e-7"),
    (0.0012345, b"0.0012345"),
    (0.00012345, b"1.2345e-4"),
    (12345.678901, b"12345.678901"),
    (12345.6789012, b"1.23456789012e+4"),
    (2.2250738585072014e-308, b"2.2250738585072014e-308"),
    (5e-324, b"5e-324"),
    (math.inf, b"inf"),
    (-math.inf, b"-inf"),
    (math.nan, b"nan"),
]


@pytest.mark.parametrize(("value", "text"), DOUBLES)
def test_double_text(value, text):
    assert double_text(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"1", 1.0),
        (b"+5", 5.0),
        (b"-5e-1", -0.5),
        (b".5", 0.5),
        (b"5.", 5.0),
        (b"0x1p3", 8.0),
        (b"inf", math.inf),
        (b"-INF", -math.inf),
        (b"+Infinity", math.inf),
        (b"4e-320", 4e-320),
        (b"0" * 300 + b"5", 5.0),
        (b"0." + b"3" * 5000, 1 / 3),
    ],
)
def test_doubles_that_are_read(text, value):
    assert parse_double_text(text) == value


REFUSED = [
    b"",
    b" 1",
    b"1 ",
    b"\v1",
    b"1\0",
    b"1_0",
    b"1,5",
    b"e5",
    b"--1",
    b"nan",
    b"-nan",
    b"nan(1)",
    b"infinit",
    b"0" * 300 + b"x",
]


@pytest.mark.parametrize("text", [*REFUSED, b"1e400", b"-1e400", b"1e-400"])
def test_doubles_that_are_refused(text):
    assert parse_double_text(text) is None


@pytest.mark.parametrize("text", [*REFUSED, b"1e5000", b"1e-5000", b"0" * 5119 + b"1"])
def test_sums_that_are_refused(text):
    assert add_texts(text, b"1") is None
    assert add_texts(b"1", text) is None


@pytest.mark.parametrize(
    ("a", "b", "total"),
    [
        (b"10.50", b"0.1", b"10.6"),
        (b"5.0e3", b"2.0e2", b"5200"),
        (b"3.0", b"1.000000000000000005", b"4.00000000000000001"),
        (b"1", b"-1", b"0"),
        (b"-1e-30", b"0", b"0"),
        (b"0.00000000000000001", b"0", b"0.00000000000000001"),
        (b"1e25", b"0", b"10000000000000000000000000"),
        (b"0" * 5118 + b"1", b"1", b"2"),
        (b"inf", b"1", b"inf"),
        (b"-inf", b"1", b"-inf"),
        (b"inf", b"-inf", b"nan"),
    ],
)
def test_sums(a, b, total):
    assert add_texts(a, b) == total


def test_the_longest_sum():
    assert len(add_texts(b"-1e4932", b"0")) == 4934
