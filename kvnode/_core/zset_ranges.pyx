# cython: boundscheck=False, wraparound=False
"""Sorted-set commands on ranges: ZRANGE and its older names, ZRANGESTORE, ZCOUNT, ZRANK, ZREMRANGEBY*.

What they ask for, and where that is: zset_spans.
"""

from libc.stdint cimport int64_t
from libcpp.vector cimport vector
from kvnode._core.arguments cimport SYNTAX, is_word, note_missing, refuse
from kvnode._core.collection cimport (
    AS_EMPTY, AS_ZERO, REMOVE_EACH, REMOVE_LATER, WRONG, Element, answer_absent, find_element,
    is_past_budget, outcome_of, plan_removal)
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.large_replies cimport is_shown_beside
from kvnode._core.order_tree cimport OrderTree
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport (
    Reply, reply_array, reply_integer, reply_null, reply_null_array)
from kvnode._core.score_windows cimport OrderBound
from kvnode._core.sortable cimport double_of_order
from kvnode._core.tip cimport E_USED, Collection, Entry, score_order
from kvnode._core.view cimport ABSENT, FOUND, L_READ, MISS, Head, View
from kvnode._core.zset cimport (
    Position, drop_span, open_zset, remove_members, reply_member, reply_members_head, score_of,
    store_result)
from kvnode._core.zset_reach cimport find_rank, rank_is_known
from kvnode._core.zset_spans cimport (
    ANY_WAY, BACKWARD, BY_ANY, BY_LEX, BY_RANK, BY_SCORE, FORWARD, Direction, Kind, Range, Span,
    begin_range, between, bounds_of, find_span, read_ends, read_range)

cdef enum:
    LONG_SPAN_SHARE = 4         # a span is copied with its set if it is 1/4 of it or more


# -- what they share ----------------------------------------------------------------------------

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
    if is_shown_beside(view, c, <int64_t>span.count):
        return PARK
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
        if view.is_private:
            found = find_rank(view, c, low, &below)
            if find_rank(view, c, high, members) == MISS or found == MISS:
                return MISS
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
        found = find_rank(view, c, OrderBound(score_order(element.version), args.v[2].data,
                                              args.v[2].len), &before)
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
