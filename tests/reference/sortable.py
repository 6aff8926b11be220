"""Naive twins of the sortable numbers, in exact arithmetic."""

import math
from fractions import Fraction

EXPONENT_MIN = -1074  # of the smallest double's unit
SIGNIFICAND = 2**52
INFINITE = 0x7FF << 52


def magnitude(value: float) -> int:
    """Return how many doubles lie between zero and |value|."""
    if math.isinf(value):
        return INFINITE
    units = Fraction(abs(value)) / Fraction(2) ** EXPONENT_MIN
    exponent = max(units.numerator.bit_length() - 53, 0)
    return exponent * SIGNIFICAND + int(units / 2**exponent)


def double_order(value: float) -> int:
    """Return the position of a double among all, zero in the middle of 2^64."""
    assert not math.isnan(value)
    middle = 2**63
    # Both zeros have one position, and the one below stays empty.
    return middle + magnitude(value) if value >= 0 else middle - 1 - magnitude(value)


def integer_order(value: int) -> int:
    """Return the position of a signed 64-bit integer among all."""
    return value + 2**63


def order_double(order: int) -> float:
    """Return the double at a position."""
    middle = 2**63
    if order < middle:
        return -order_double(2 * middle - 1 - order)
    places = order - middle
    if places == INFINITE:
        return math.inf
    exponent, significand = max(places // SIGNIFICAND - 1, 0), places
    if exponent or places >= SIGNIFICAND:
        significand = SIGNIFICAND + places % SIGNIFICAND
    return float(significand * Fraction(2) ** (exponent + EXPONENT_MIN))


def order_integer(order: int) -> int:
    """Return the signed integer at a position."""
    return order - 2**63
