"""Naive twins of number texts, in exact arithmetic."""

import math
import re
from fractions import Fraction

SIGNIFICAND_BITS = 64  # of an x87 long double
DECIMAL = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def double_text(value: float) -> bytes:
    """Return a finite double as Redis 7.4 writes it."""
    if value == 0:
        return b"-0" if math.copysign(1, value) < 0 else b"0"
    if abs(value) <= 2**62 and value == int(value):
        return b"%d" % int(value)
    mantissa, _, power = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = int(power or 0) - len(fraction)
    exponent += len(digits) - len(digits.rstrip("0"))
    digits = digits.rstrip("0")
    first = exponent + len(digits) - 1  # power of ten of the first digit
    if exponent >= 0 and first < len(digits) + 7:
        text = digits + "0" * exponent
    elif exponent < 0 and (exponent > -7 or abs(first) < 4):
        padded = digits.rjust(1 - exponent, "0")
        text = f"{padded[:exponent]}.{padded[exponent:]}"
    else:
        text = digits[0] + ("." + digits[1:] if digits[1:] else "") + f"e{first:+d}"
    return (("-" if value < 0 else "") + text).encode()


def round_to_even(value: Fraction) -> int:
    """Return the nearest integer, of two the even one."""
    return round(value)


def to_long_double(value: Fraction) -> Fraction:
    """Return the nearest long double of the normal range."""
    if value == 0:
        return value
    shift = SIGNIFICAND_BITS - 1 - (math.floor(abs(value)).bit_length() - 1)
    if abs(value) < 1:
        shift = SIGNIFICAND_BITS - 1
        while abs(value) * 2**shift < 2 ** (SIGNIFICAND_BITS - 1):
            shift += 1
    scale = Fraction(2) ** shift
    return Fraction(round_to_even(value * scale)) / scale


def add_texts(a: bytes, b: bytes) -> bytes | None:
    """Return the sum as INCRBYFLOAT writes it, None unless both are plain decimals."""
    if not DECIMAL.fullmatch(a) or not DECIMAL.fullmatch(b):
        return None
    exact = to_long_double(Fraction(a.decode())) + to_long_double(Fraction(b.decode()))
    places = round_to_even(to_long_double(exact) * 10**17)
    whole, fraction = divmod(abs(places), 10**17)
    text = f"{whole}.{fraction:017d}".rstrip("0").rstrip(".")
    return ("-" + text if places < 0 else text).encode()
