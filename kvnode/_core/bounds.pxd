"""Ends of sorted-set ranges as clients state them: "1.5", "(1.5", "-inf"; "[a", "(a", "-", "+"."""

from kvnode._core.bytes cimport Slice
from kvnode._core.numbers cimport parse_lenient_double


cdef struct ScoreBound:
    double value
    bint exclusive


cdef enum LexKind:
    LEX_LOWEST = 0      # "-": below all members
    LEX_INCLUSIVE = 1
    LEX_EXCLUSIVE = 2
    LEX_HIGHEST = 3     # "+": above all members


cdef struct LexBound:
    LexKind kind
    Slice member        # of LEX_INCLUSIVE and LEX_EXCLUSIVE, within the argument


cdef inline bint parse_score_bound(const Slice* arg, ScoreBound* bound) noexcept nogil:
    """Read an end of a range of scores; False if it is none.

    As in Redis it is read more freely than a score is: spaces before it, nothing at all (zero),
    and too large a number (infinite) are allowed.
    """
    bound.exclusive = arg.len > 0 and arg.data[0] == 40
    return parse_lenient_double(arg.data + bound.exclusive, arg.len - bound.exclusive, &bound.value)


cdef inline bint parse_lex_bound(const Slice* arg, LexBound* bound) noexcept nogil:
    """Read an end of a range of members; False if it is none."""
    cdef char first = arg.data[0] if arg.len > 0 else 0
    bound.member.data = arg.data
    bound.member.len = 0
    if first == 43 or first == 45:
        if arg.len > 1 and arg.data[1] != 0:    # Redis looks no further than a NUL
            return False
        bound.kind = LEX_HIGHEST if first == 43 else LEX_LOWEST
        return True
    if first != 40 and first != 91:
        return False
    bound.kind = LEX_EXCLUSIVE if first == 40 else LEX_INCLUSIVE
    bound.member.data = arg.data + 1
    bound.member.len = arg.len - 1
    return True
