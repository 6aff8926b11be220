"""Glob patterns, row by row, and patterns that are meant to take for ever."""

import pytest

from kvnode._core.glob import matches

ROWS = [
    # pattern, texts that match, texts that do not
    (b"", [b""], [b"a"]),
    (b"*", [b"a", b"abc"], [b""]),
    (b"**", [b"a"], [b""]),
    (b"a*", [b"a", b"ab"], [b"", b"b"]),
    (b"*a", [b"a", b"ba", b"aa"], [b"ab"]),
    (b"a*b*c", [b"abc", b"a-b-b-c-c"], [b"acb", b"ab"]),
    (b"*ab*", [b"aab", b"abab"], [b"ba"]),
    (b"?", [b"a", b"\xff"], [b"", b"ab"]),
    (b"h?llo", [b"hello", b"hallo"], [b"hllo"]),
    (b"h[ae]llo", [b"hello", b"hallo"], [b"hillo"]),
    (b"h[^e]llo", [b"hallo"], [b"hello", b"hllo"]),
    (b"[a-c]", [b"a", b"b", b"c"], [b"d", b"-"]),
    (b"[c-a]", [b"a", b"b", b"c"], [b"d"]),
    (b"[a-]", [b"a", b"]"], [b"-"]),  # the range up to ], in a class that stays open
    (b"[a-", [b"a", b"-"], [b"b"]),
    (b"[a", [b"a"], [b"b"]),
    (b"[", [], [b"[", b"a"]),
    (b"[^", [b"a"], [b"ab"]),
    (b"x[", [], [b"x", b"x["]),
    (b"[]]", [], [b"]"]),
    (b"[\\]]", [b"]"], [b"\\"]),
    (b"a[\\", [b"a\\"], [b"a"]),
    (b"\\*", [b"*"], [b"a"]),
    (b"\\a", [b"a"], [b"\\a"]),
    (b"\\", [b"\\"], [b"a"]),
    (b"a\\", [b"a\\"], [b"a"]),
    (b"[\x01-\xff]", [b"\xff", b"\0", b"\x01"], [b"\x02", b"\x80", b"a"]),
    (b"[\x80-\xff]", [b"\x80", b"\xc0"], [b"a"]),
    (b"a\0*", [b"a\0b"], [b"ab"]),
]


@pytest.mark.parametrize(("pattern", "hits", "misses"), ROWS)
def test_rows(pattern, hits, misses):
    assert [matches(pattern, text) for text in hits] == [True] * len(hits)
    assert [matches(pattern, text) for text in misses] == [False] * len(misses)


@pytest.mark.parametrize(
    ("pattern", "text", "result"),
    [
        (b"HeL*", b"hElLo", True),
        (b"[A-C]x", b"bX", True),
        (b"[q]", b"Q", True),
        (b"[\\q]", b"Q", False),  # as in Redis: an escaped character in a class has its case
        (b"[Z-a]", b"z", False),
        (b"\xc4", b"\xe4", False),
    ],
)
def test_without_case(pattern, text, result):
    assert matches(pattern, text, nocase=True) is result


def test_patterns_do_not_blow_up():
    text = b"a" * 2000
    assert not matches(b"a*" * 500 + b"b", text)
    assert not matches(b"*?" * 500 + b"[b]", text)
    assert matches(b"*a" * 1500 + b"*", text)
    assert not matches(b"*a" * 2001, text)
