# cython: boundscheck=False, wraparound=False
"""Sorted-set commands on ranges: ZRANGE and its older names, ZRANGESTORE, ZCOUNT, ZRANK, ZREMRANGEBY*.

Every range, of ranks, scores or bytes, becomes a span of ranks: two descents of the tree. LIMIT and
REV then only move its ends. Of a set that is not resident the tree has not all members: then the ranks
are those within the tree, once what lies in the range is in it.
"""

from libc.math cimport INFINITY
from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libcpp.vector cimport vector
from kvnode._core.arguments cimport SYNTAX, is_word, note_missing, refuse, require_i64
from kvnode._core.bounds cimport (
    LEX_EXCLUSIVE, LEX_HIGHEST, LEX_LOWEST, LexBound, ScoreBound, parse_lex_bound,
    parse_score_bound)
from kvnode._core.bytes cimport Slice
from kvnode._core.collection cimport (
    AS_EMPTY, AS_ZERO, REMOVE_EACH, REMOVE_LATER, WRONG, Element, answer_absent, find_element,
    is_past_budget, outcome_of, plan_removal)
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.order_tree cimport OrderTree
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport (
    Reply, reply_array, reply_integer, reply_null, reply_null_array)
from kvnode._core.score_windows cimport OrderBound, order_bottom, order_top
from kvnode._core.sortable cimport double_of_order, order_of_double
from kvnode._core.tip cimport E_USED, Collection, Entry, score_order
from kvnode._core.view cimport ABSENT, FOUND, L_READ, MISS, Head, View
from kvnode._core.zset cimport (
    Position, drop_span, open_zset, remove_members, reply_member, reply_members_head, score_of,
    store_result)
from kvnode._core.zset_reach cimport (
    find_rank, rank_is_known, reach, reach_end, reach_ranks)

cdef enum:
    LONG_SPAN_SHARE = 4         # a span is copied with its set if it is 1/4 of it or more


cdef enum Kind:
    BY_ANY = 0                  # options say which
    BY_RANK = 1
    BY_SCORE = 2
    BY_LEX = 3


cdef enum Direction:
    ANY_WAY = 0                 # options say which
    FORWARD = 1
    BACKWARD = 2


cdef struct Range:
    Kind kind
    Direction direction
    bint scores                 # WITHSCORES
    int64_t offset              # LIMIT
    int64_t limit               # negative: all
    int64_t first, last         # BY_RANK, counted in the range's direction
    ScoreBound low_score, high_score
    LexBound low_name, high_name


cdef struct Span:
    size_t start                # rank of its lowest member
    size_t count


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


cdef void mark_used(OrderTree[Entry]* order, Span span) noexcept:
    """What was asked for of a large set stays in memory longer than the rest."""
    cdef Position at = order.at(span.start)
    cdef size_t i
    for i in range(span.count):
        at.entry().flags |= E_USED
        at.next()


# -- ZRANGE and its older names -----------------------------------------------------------------

cdef int reply_span(const Range* r, OrderTree[Entry]* order, Span span, Reply reply) except -1:
    cdef Position at
    cdef size_t i
    reply_members_head(reply, <int64_t>span.count, r.scores)
    if span.count == 0:
        return DONE
    at = order.at(span.start if r.direction == FORWARD else span.start + span.count - 1)
    for i in range(span.count):
        reply_member(reply, at.entry(), double_of_order(at.order()), r.scores)
        if r.direction == FORWARD:
            at.next()
        else:
            at.previous()
    return DONE


cdef bint is_long_span(View view, Collection* c, Span span) except -1:
    """Whether a span is past the step budget, and enough of the set to pay for a copy of all of it."""
    return <int64_t>span.count * LONG_SPAN_SHARE >= c.meta.length \
        and is_past_budget(view, <int64_t>span.count)


cdef int show(View view, Args* args, Kind kind, Direction direction, Reply reply) except -1:
    cdef Range r = begin_range(kind, direction)
    cdef Span span
    cdef Head head
    cdef Collection* c
    cdef int found
    if not read_range(&r, args, 2, False, reply):
        return DONE
    found = open_zset(view, &args.v[1], L_READ, &head, &c, reply)
    if found == FOUND:
        found = find_span(view, &r, c, &span)
    if found != FOUND:
        return answer_absent(found, AS_EMPTY, reply)
    if not c.elements.resident:
        mark_used(c.order, span)
    elif is_long_span(view, c, span):
        return PARK
    return reply_span(&r, c.order, span, reply)


cdef int cmd_zrange(View view, Args* args, Reply reply) except -1:
    return show(view, args, BY_ANY, ANY_WAY, reply)


cdef int cmd_zrevrange(View view, Args* args, Reply reply) except -1:
    return show(view, args, BY_RANK, BACKWARD, reply)


cdef int cmd_zrangebyscore(View view, Args* args, Reply reply) except -1:
    return show(view, args, BY_SCORE, FORWARD, reply)


cdef int cmd_zrevrangebyscore(View view, Args* args, Reply reply) except -1:
    return show(view, args, BY_SCORE, BACKWARD, reply)


cdef int cmd_zrangebylex(View view, Args* args, Reply reply) except -1:
    return show(view, args, BY_LEX, FORWARD, reply)


cdef int cmd_zrevrangebylex(View view, Args* args, Reply reply) except -1:
    return show(view, args, BY_LEX, BACKWARD, reply)


cdef int cmd_zrangestore(View view, Args* args, Reply reply) except -1:
    cdef Range r = begin_range(BY_ANY, ANY_WAY)
    cdef Head head
    cdef Collection* c
    cdef Position at
    cdef Span span = between(0, 0)
    cdef bint missing
    cdef int found
    if not read_range(&r, args, 3, True, reply):
        return DONE
    missing = note_missing(view, &args.v[1])
    found = open_zset(view, &args.v[2], L_READ, &head, &c, reply)
    if found == FOUND:
        found = find_span(view, &r, c, &span)
    if found == WRONG:
        return DONE
    if found == MISS or missing:
        return PARK
    if found == FOUND:
        if c.elements.resident and is_long_span(view, c, span):
            return PARK
        at = c.order.at(span.start)
    return store_result(view, &args.v[1], at, span.count, b"zrangestore", reply)


# -- counts and ranks ---------------------------------------------------------------------------

cdef int count(View view, Args* args, Kind kind, Reply reply) except -1:
    cdef Range r = begin_range(kind, FORWARD)
    cdef Head head
    cdef Collection* c
    cdef size_t members = 0
    cdef int found
    if not read_ends(&r, &args.v[2], &args.v[3], reply):
        return DONE
    found = open_zset(view, &args.v[1], L_READ, &head, &c, reply)
    if found == FOUND:
        found = count_span(view, &r, c, &members)
    if found == MISS or found == WRONG:
        return outcome_of(found)
    return reply_integer(reply, <int64_t>members)


cdef int count_span(View view, const Range* r, Collection* c, size_t* members) except -1:
    """Count the members in a range: FOUND, or MISS (park)."""
    cdef OrderBound low
    cdef OrderBound high
    cdef Span span
    cdef size_t below
    cdef int found
    if not c.elements.resident:
        found = bounds_of(view, r, c, &low, &high)
        if found != FOUND:
            return found
        if rank_is_known(c, low, &below) and rank_is_known(c, high, members):
            members[0] = members[0] - below if members[0] > below else 0
            return FOUND
    found = find_span(view, r, c, &span)
    members[0] = span.count
    return found


cdef int cmd_zcount(View view, Args* args, Reply reply) except -1:
    return count(view, args, BY_SCORE, reply)


cdef int cmd_zlexcount(View view, Args* args, Reply reply) except -1:
    return count(view, args, BY_LEX, reply)


cdef int rank(View view, Args* args, Direction direction, const char* arity_error,
              Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef size_t before = 0
    cdef bint scores = args.n > 3
    cdef int found
    if args.n > 4:
        return refuse(reply, arity_error)
    if scores and not is_word(&args.v[3], b"WITHSCORE"):
        return refuse(reply, SYNTAX)
    found = open_zset(view, &args.v[1], L_READ, &head, &c, reply)
    if found == FOUND:
        found = find_element(view, c, args.v[2].data, args.v[2].len, &element)
    if found == FOUND:
        found = find_rank(view, c, score_order(element.version), args.v[2].data, args.v[2].len,
                          &before)
    if found == ABSENT:
        return reply_null_array(reply) if scores else reply_null(reply)
    if found != FOUND:
        return outcome_of(found)
    if direction == BACKWARD:
        before = <size_t>c.meta.length - 1 - before
    if not scores:
        return reply_integer(reply, <int64_t>before)
    reply_array(reply, 2)
    reply_integer(reply, <int64_t>before)
    return reply.number(score_of(element.version))


cdef int cmd_zrank(View view, Args* args, Reply reply) except -1:
    return rank(view, args, FORWARD,
                b"ERR wrong number of arguments for 'zrank' command", reply)


cdef int cmd_zrevrank(View view, Args* args, Reply reply) except -1:
    return rank(view, args, BACKWARD,
                b"ERR wrong number of arguments for 'zrevrank' command", reply)


# -- removals -----------------------------------------------------------------------------------

cdef int remove_range(View view, Args* args, Kind kind, bytes name, Reply reply) except -1:
    cdef Range r = begin_range(kind, FORWARD)
    cdef Head head
    cdef Collection* c
    cdef vector[Entry*] members
    cdef Position at
    cdef Span span
    cdef int found
    cdef int how
    if not read_ends(&r, &args.v[2], &args.v[3], reply):
        return DONE
    found = open_zset(view, &args.v[1], 0, &head, &c, reply)
    if found == FOUND:
        found = find_span(view, &r, c, &span)
    if found != FOUND:
        return answer_absent(found, AS_ZERO, reply)
    how = plan_removal(view, c, <int64_t>span.count, True)
    if how == REMOVE_LATER:
        return PARK
    if how != REMOVE_EACH:
        drop_span(view, &head, c, how, span.start, span.count, name, &args.v[1])
        return reply_integer(reply, <int64_t>span.count)
    at = c.order.at(span.start)
    members.reserve(span.count)
    while members.size() < span.count:
        members.push_back(at.entry())
        at.next()
    remove_members(view, &head, c, &members, name, &args.v[1])
    return reply_integer(reply, <int64_t>members.size())


cdef int cmd_zremrangebyrank(View view, Args* args, Reply reply) except -1:
    return remove_range(view, args, BY_RANK, b"zremrangebyrank", reply)


cdef int cmd_zremrangebyscore(View view, Args* args, Reply reply) except -1:
    return remove_range(view, args, BY_SCORE, b"zremrangebyscore", reply)


cdef int cmd_zremrangebylex(View view, Args* args, Reply reply) except -1:
    return remove_range(view, args, BY_LEX, b"zremrangebylex", reply)


HANDLERS = {
    "zrange": native(cmd_zrange),
    "zrevrange": native(cmd_zrevrange),
    "zrangebyscore": native(cmd_zrangebyscore),
    "zrevrangebyscore": native(cmd_zrevrangebyscore),
    "zrangebylex": native(cmd_zrangebylex),
    "zrevrangebylex": native(cmd_zrevrangebylex),
    "zrangestore": native(cmd_zrangestore),
    "zcount": native(cmd_zcount),
    "zlexcount": native(cmd_zlexcount),
    "zrank": native(cmd_zrank),
    "zrevrank": native(cmd_zrevrank),
    "zremrangebyrank": native(cmd_zremrangebyrank),
    "zremrangebyscore": native(cmd_zremrangebyscore),
    "zremrangebylex": native(cmd_zremrangebylex),
}
