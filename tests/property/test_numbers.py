"""Number texts against exact arithmetic; a planted bug in the twin must be found."""

import random
import struct

from kvnode._core.numbers import add_texts, double_text, parse_double_text
from tests.reference import numbers as reference

CASES = 20_000
SUMS = 5000


def random_double(rng):
    """Return a finite double: any bits, or a short decimal."""
    if rng.random() < 0.5:
        return float(f"{rng.randrange(10**6)}e{rng.randrange(-25, 25)}")
    value = struct.unpack("<d", rng.randbytes(8))[0]
    return value if abs(value) < float("inf") else 1.0


def random_decimal(rng):
    """Return a decimal as a client might write it."""
    digits = str(rng.randrange(10 ** rng.randrange(1, 22)))
    point = rng.randrange(len(digits) + 1)
    exponent = rng.choice(("", "", "", f"e{rng.randrange(-20, 30)}"))
    return f"{rng.choice(('', '-', '+'))}{digits[:point]}.{digits[point:]}{exponent}".encode()


def sum_disagreements(twin):
    """Return the pairs whose sums the twin writes differently."""
    rng = random.Random(4)
    pairs = [(random_decimal(rng), random_decimal(rng)) for _ in range(SUMS)]
    return [pair for pair in pairs if add_texts(*pair) != twin(*pair)]


def test_double_text_equals_its_twin_and_reads_back():
    rng = random.Random(5)
    for _ in range(CASES):
        value = random_double(rng)
        text = double_text(value)
        assert text == reference.double_text(value)
        assert float(text) == value
        assert parse_double_text(text) == value
        assert len(text) <= 25


def test_sums_equal_exact_arithmetic():
    assert sum_disagreements(reference.add_texts) == []


def test_a_planted_bug_is_found(monkeypatch):
    monkeypatch.setattr(reference, "SIGNIFICAND_BITS", 53)
    assert sum_disagreements(reference.add_texts)
