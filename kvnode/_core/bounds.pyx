"""The public form of the range ends, for tests."""

from kvnode._core.bytes cimport make_slice


def score_bound(bytes text not None):
    """Return (score, whether it is excluded), None if `text` is no end of a range of scores."""
    cdef ScoreBound bound
    cdef Slice arg = make_slice(text, len(text))
    return (bound.value, bool(bound.exclusive)) if parse_score_bound(&arg, &bound) else None


def lex_bound(bytes text not None):
    """Return ("-" | "[" | "(" | "+", member), None if `text` is no end of a range of members."""
    cdef LexBound bound
    cdef Slice arg = make_slice(text, len(text))
    if not parse_lex_bound(&arg, &bound):
        return None
    return "-[(+"[<int>bound.kind], bound.member.data[:bound.member.len]
