# cython: boundscheck=False, wraparound=False
"""What commands on ranges of sorted sets ask for, and where it is."""

from typing import NamedTuple

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.math cimport INFINITY
from libc.stdint cimport INT64_MAX, uint64_t
from libcpp.vector cimport vector
from kvnode._core.arguments cimport SYNTAX, is_word, refuse, require_i64
from kvnode._core.bounds cimport (
    LEX_EXCLUSIVE, LEX_HIGHEST, LEX_LOWEST, parse_lex_bound, parse_score_bound)
from kvnode._core.score_windows cimport bound_bytes, bound_of, order_bottom, order_top
from kvnode._core.sortable cimport order_of_double
from kvnode._core.view cimport FOUND, MISS
from kvnode._core.zset_reach cimport reach, reach_end, reach_ranks


# -- from arguments to ranks --------------------------------------------------------------------

cdef Range begin_range(Kind kind, Direction direction) noexcept:
    cdef Range r
    r.kind = kind
    r.direction = direction
    r.scores = False
    r.offset = 0
    r.limit = -1
    r.first = r.last = 0
    return r


cdef bint read_ends(Range* r, const Slice* one, const Slice* other, Reply reply) except -1:
    """Read the ends as stated, for a backward range the higher one first; False after an error."""
    if r.kind == BY_RANK:
        return require_i64(one, &r.first, reply) and require_i64(other, &r.last, reply)
    if r.direction == BACKWARD:
        one, other = other, one
    if r.kind == BY_SCORE:
        if parse_score_bound(one, &r.low_score) and parse_score_bound(other, &r.high_score):
            return True
        refuse(reply, b"ERR min or max is not a float")
        return False
    if parse_lex_bound(one, &r.low_name) and parse_lex_bound(other, &r.high_name):
        return True
    refuse(reply, b"ERR min or max not valid string range item")
    return False


cdef bint read_options(Range* r, const Args* args, int first, bint stored, Reply reply) except -1:
    """Read the options from argument `first` on; False after an error reply."""
    cdef bint limited = False
    cdef int i = first
    while i < args.n:
        if not stored and is_word(&args.v[i], b"WITHSCORES"):
            r.scores = True
        elif i + 2 < args.n and is_word(&args.v[i], b"LIMIT"):
            if not require_i64(&args.v[i + 1], &r.offset, reply) \
                    or not require_i64(&args.v[i + 2], &r.limit, reply):
                return False
            limited = r.limit != -1
            i += 2
        elif r.direction == ANY_WAY and is_word(&args.v[i], b"REV"):
            r.direction = BACKWARD
        elif r.kind == BY_ANY and is_word(&args.v[i], b"BYSCORE"):
            r.kind = BY_SCORE
        elif r.kind == BY_ANY and is_word(&args.v[i], b"BYLEX"):
            r.kind = BY_LEX
        else:
            refuse(reply, SYNTAX)
            return False
        i += 1
    if r.direction == ANY_WAY:
        r.direction = FORWARD
    if r.kind == BY_ANY:
        r.kind = BY_RANK
    if limited and r.kind == BY_RANK:
        refuse(reply, b"ERR syntax error, LIMIT is only supported in combination with either "
                      b"BYSCORE or BYLEX")
        return False
    if r.scores and r.kind == BY_LEX:
        refuse(reply, b"ERR syntax error, WITHSCORES not supported in combination with BYLEX")
        return False
    return True


cdef bint read_range(Range* r, const Args* args, int first, bint stored, Reply reply) except -1:
    """Read two ends from argument `first` on, and options; False after an error reply."""
    return read_options(r, args, first + 2, stored, reply) \
        and read_ends(r, &args.v[first], &args.v[first + 1], reply)


cdef size_t rank_of_score(OrderTree[Entry]* order, const ScoreBound* bound, bint above) noexcept nogil:
    """How many members lie below a bound; above: below it or, unless it excludes them, on it."""
    return order.lower_bound(order_of_double(bound.value) + (above != bound.exclusive), NULL, 0)


cdef size_t rank_of_name(OrderTree[Entry]* order, const LexBound* bound, bint above) noexcept nogil:
    """The same among members that all have one score."""
    cdef size_t rank
    cdef bint there
    if bound.kind == LEX_LOWEST:
        return 0
    if bound.kind == LEX_HIGHEST:
        return order.size()
    there = order.rank_of(order.first().order(), bound.member.data, bound.member.len, &rank)
    return rank + (there and above != (bound.kind == LEX_EXCLUSIVE))


cdef Span between(size_t start, size_t end) noexcept nogil:
    cdef Span span
    span.start = start
    span.count = end - start if end > start else 0
    return span


cdef Span ranks_between(int64_t first, int64_t last, int64_t size) noexcept nogil:
    """The span of ranks that may count from the end."""
    if first < 0:
        first += size
    if last < 0:
        last += size
    first = max(first, <int64_t>0)
    last = min(last, size - 1)
    return between(0, 0) if first > last else between(first, last + 1)


cdef Span span_of(const Range* r, OrderTree[Entry]* order, int64_t size) noexcept nogil:
    """The members in a range. size: of the set; in `order` are those of a range of scores or bytes.

    REQUIRES: there is a member.
    """
    cdef Span span
    cdef uint64_t skipped
    if r.kind == BY_RANK:
        span = ranks_between(r.first, r.last, size)
        if r.direction == BACKWARD and span.count:
            span.start = <size_t>size - span.start - span.count
        return span
    if r.kind == BY_SCORE:
        span = between(rank_of_score(order, &r.low_score, False),
                       rank_of_score(order, &r.high_score, True))
    else:
        span = between(rank_of_name(order, &r.low_name, False),
                       rank_of_name(order, &r.high_name, True))
    if r.offset < 0 or <uint64_t>r.offset >= span.count:
        return between(0, 0)
    span.count -= r.offset
    skipped = span.count - r.limit if 0 <= r.limit < <int64_t>span.count else 0
    span.count -= skipped
    span.start += skipped if r.direction == BACKWARD else r.offset
    return span


cdef int find_span(View view, const Range* r, Collection* c, Span* span) except -1:
    """Find the members in a range of a sorted set: FOUND, or MISS (park)."""
    if c.elements.resident:
        span[0] = span_of(r, c.order, c.meta.length)
        return FOUND
    return find_span_afar(view, r, c, span)


cdef int find_span_afar(View view, const Range* r, Collection* c, Span* span) except -1:
    """The same for a set that is not resident."""
    cdef OrderBound low
    cdef OrderBound high
    cdef int64_t need = INT64_MAX
    cdef int found
    if r.kind == BY_RANK:
        span[0] = span_of(r, c.order, c.meta.length)
        return reach_ranks(view, c, &span.start, span.count)
    if r.offset < 0:
        span[0] = between(0, 0)
        return FOUND
    found = bounds_of(view, r, c, &low, &high)
    if found != FOUND:
        return found
    if r.limit >= 0 and r.offset < INT64_MAX - r.limit:
        need = r.offset + r.limit
    found = reach(view, c, low, high, need, r.direction == BACKWARD)
    if found == FOUND:
        span[0] = span_of(r, c.order, c.meta.length)
    return found


cdef int bounds_of(View view, const Range* r, Collection* c, OrderBound* low,
                   OrderBound* high) except -1:
    """Find where a range of scores or bytes begins and ends: FOUND, or MISS (park)."""
    cdef uint64_t order
    if r.kind == BY_SCORE:
        low[0] = score_end(&r.low_score, False)
        high[0] = score_end(&r.high_score, True)
        return FOUND
    if reach_end(view, c, 1, False) == MISS:    # ranges of bytes are meant for members of one score
        return MISS
    order = c.order.first().order()
    low[0] = name_end(order, &r.low_name, False)
    high[0] = name_end(order, &r.high_name, True)
    return FOUND


cdef OrderBound score_end(const ScoreBound* bound, bint above) noexcept nogil:
    """Where rank_of_score() looks; beyond the highest and lowest numbers is beyond everything."""
    cdef uint64_t order = order_of_double(bound.value) + (above != bound.exclusive)
    if order <= order_of_double(-INFINITY):
        return order_bottom()
    return order_top() if order > order_of_double(INFINITY) else OrderBound(order)


cdef OrderBound name_end(uint64_t order, const LexBound* bound, bint above) noexcept nogil:
    """Where rank_of_name() looks."""
    cdef OrderBound end
    if bound.kind == LEX_LOWEST:
        return order_bottom()
    if bound.kind == LEX_HIGHEST:
        return order_top()
    end = OrderBound(order, bound.member.data, bound.member.len)
    return end.next() if above != (bound.kind == LEX_EXCLUSIVE) else end


# -- for what is shown beside the sequencer -----------------------------------------------------

class ShownRange(NamedTuple):
    """What such a command asks for. count: of ranks from `start` on, the lowest first; None: by bounds.

    By bounds, those with low <= bound < high, without the first `offset` of them, at most `limit` (None:
    all), in the direction of the range.
    """

    is_backward: bool
    scores: bool
    start: int
    count: int | None
    low: bytes
    high: bytes
    offset: int
    limit: int | None


def shown_range(list words not None, int64_t length, bytes lowest not None):
    """Read a command that shows members, of which dispatch has run the handler: its syntax is right.

    length: of the set. lowest: the bound at which its first member stands.
    """
    cdef Kind kind
    cdef Direction direction
    cdef Range r
    cdef vector[Slice] slices
    cdef Slice slice
    cdef Args args
    cdef OrderBound low
    cdef OrderBound high
    cdef Span span
    kind, direction = SHOWN[words[0].lower()]
    r = begin_range(kind, direction)
    for word in words:
        slice.data = PyBytes_AS_STRING(word)
        slice.len = PyBytes_GET_SIZE(word)
        slices.push_back(slice)
    args.n = <int>slices.size()
    args.v = slices.data()
    read_range(&r, &args, 2, False, Reply())
    if r.kind == BY_RANK:
        span = span_of(&r, NULL, length)
        return ShownRange(r.direction == BACKWARD, r.scores, span.start, span.count, b"", b"", 0, None)
    if r.offset < 0:
        return ShownRange(r.direction == BACKWARD, r.scores, 0, 0, b"", b"", 0, None)
    if r.kind == BY_SCORE:
        low = score_end(&r.low_score, False)
        high = score_end(&r.high_score, True)
    else:
        low = name_end(bound_of(lowest).order, &r.low_name, False)
        high = name_end(bound_of(lowest).order, &r.high_name, True)
    return ShownRange(r.direction == BACKWARD, r.scores, 0, None, bound_bytes(low), bound_bytes(high),
                      r.offset, r.limit if r.limit >= 0 else None)


SHOWN = {
    b"zrange": (BY_ANY, ANY_WAY), b"zrevrange": (BY_RANK, BACKWARD),
    b"zrangebyscore": (BY_SCORE, FORWARD), b"zrevrangebyscore": (BY_SCORE, BACKWARD),
    b"zrangebylex": (BY_LEX, FORWARD), b"zrevrangebylex": (BY_LEX, BACKWARD),
}
