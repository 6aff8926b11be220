"""Glob matching against its naive twin; a planted bug in the twin must be found."""

import itertools
import random

from kvnode._core.glob import matches
from tests.reference import glob as reference

ALPHABET = b"ab*?[]^-\\AB\x80\xff"
CASES = 20_000


def disagreements(twin, cases):
    """Return the (pattern, text, nocase) on which the native matcher and the twin differ."""
    rng = random.Random(3)
    found = []
    for _ in range(cases):
        pattern = bytes(rng.choices(ALPHABET, k=rng.randrange(9)))
        text = bytes(rng.choices(b"abABc]-\\\x80\xff", k=rng.randrange(7)))
        nocase = rng.random() < 0.3
        if matches(pattern, text, nocase) != twin(pattern, text, nocase):
            found.append((pattern, text, nocase))
    return found


def test_glob_equals_its_twin():
    assert disagreements(reference.matches, CASES) == []


def test_all_short_patterns_equal_the_twin():
    texts = [b"", b"a", b"-", b"]", b"ab", b"a-", b"aba"]
    for length in range(5):
        for codes in itertools.product(b"a*[]^-\\", repeat=length):
            pattern = bytes(codes)
            for text in texts:
                assert matches(pattern, text) == reference.matches(pattern, text), (pattern, text)


def test_a_planted_bug_is_found(monkeypatch):
    monkeypatch.setattr(reference, "signed", lambda byte: byte)
    assert disagreements(reference.matches, CASES)
    monkeypatch.undo()
    assert disagreements(lambda p, t, n: reference.matches(p, t, False), CASES)
