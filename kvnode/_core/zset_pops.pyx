# cython: boundscheck=False, wraparound=False
"""Sorted-set commands that pop: ZPOPMIN, ZPOPMAX, ZMPOP."""

from libc.stdint cimport int64_t
from libcpp.vector cimport vector
from kvnode._core.arguments cimport SYNTAX, refuse
from kvnode._core.bytes cimport Slice, parse_i64
from kvnode._core.collection cimport (
    AS_EMPTY, REMOVE_EACH, REMOVE_LATER, answer_absent, plan_pop)
from kvnode._core.dispatch cimport PARK, native
from kvnode._core.mpop cimport POP_NOW, POP_ONE, PopForm, open_first, pop_now
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_array, reply_bulk
from kvnode._core.tip cimport T_ZSET, Collection, Entry
from kvnode._core.view cimport FOUND, MISS, Head, View
from kvnode._core.zset cimport (
    Position, drop_span, open_zset, remove_members, reply_member, reply_members_head, score_of)
from kvnode._core.zset_reach cimport reach_end


cdef int take(Collection* c, bint highest, int64_t count, vector[Entry*]* members) except -1:
    """Collect up to `count` members from one end."""
    cdef Position at = c.order.last() if highest else c.order.first()
    while at.valid() and <int64_t>members.size() < count:
        members.push_back(at.entry())
        if highest:
            at.previous()
        else:
            at.next()
    return 0


cdef int reply_pairs(vector[Entry*]* members, Reply reply) except -1:
    """Answer members with their scores, each pair an array, in RESP2 too."""
    cdef Entry* e
    reply_array(reply, <int64_t>members.size())
    for e in members[0]:
        reply_array(reply, 2)
        reply_bulk(reply, e.key, e.key_len)
        reply.number(score_of(e.newest))
    return 0


cdef int drop(View view, Head* head, Collection* c, int how, vector[Entry*]* members, bint highest,
              const Slice* key) except -1:
    """Remove the members that take() has collected. how: a Removal."""
    cdef bytes name = b"zpopmax" if highest else b"zpopmin"
    if how == REMOVE_EACH:
        return remove_members(view, head, c, members, name, key)
    return drop_span(view, head, c, how, c.order.size() - members.size() if highest else 0,
                     members.size(), name, key)


cdef int pop(View view, Args* args, bint highest, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef vector[Entry*] members
    cdef Entry* e
    cdef int64_t count = 1
    cdef bint counted = args.n == 3
    cdef int found
    cdef int how
    if args.n > 3:
        return refuse(reply, SYNTAX)
    if counted and (not parse_i64(args.v[2].data, args.v[2].len, &count) or count < 0):
        return refuse(reply, b"ERR value is out of range, must be positive")
    found = open_zset(view, &args.v[1], 0, &head, &c, reply)
    if found == FOUND:
        found = reach_end(view, c, count, highest)
    if found != FOUND:
        return answer_absent(found, AS_EMPTY, reply)
    how = plan_pop(view, c, count, True)
    if how == REMOVE_LATER:
        return PARK
    take(c, highest, count, &members)
    if counted:
        reply_members_head(reply, <int64_t>members.size(), True)
        for e in members:
            reply_member(reply, e, score_of(e.newest), True)
    else:
        reply_array(reply, 2)
        reply_bulk(reply, members[0].key, members[0].key_len)
        reply.number(score_of(members[0].newest))
    return drop(view, &head, c, how, &members, highest, &args.v[1])


cdef int pop_first(View view, Args* args, int first, int end, bint highest, int64_t count,
                   PopForm form, Reply reply) except -1:
    """A Popper."""
    cdef Head head
    cdef Collection* c
    cdef vector[Entry*] members
    cdef int how
    cdef int i
    cdef int found = open_first(view, args, first, end, open_zset, &head, &c, &i, reply)
    if found == FOUND:
        found = reach_end(view, c, count, highest)
    if found != FOUND:
        return found
    how = plan_pop(view, c, count, form == POP_NOW)
    if how == REMOVE_LATER:
        return MISS
    take(c, highest, count, &members)
    reply_array(reply, 3 if form == POP_ONE else 2)
    reply_bulk(reply, args.v[i].data, args.v[i].len)
    if form == POP_ONE:
        reply_bulk(reply, members[0].key, members[0].key_len)
        reply.number(score_of(members[0].newest))
    else:
        reply_pairs(&members, reply)
    drop(view, &head, c, how, &members, highest, &args.v[i])
    return FOUND


ZSET_ENDS.type = T_ZSET
ZSET_ENDS.low = b"MIN"
ZSET_ENDS.high = b"MAX"
ZSET_ENDS.pop = pop_first


cdef int cmd_zpopmin(View view, Args* args, Reply reply) except -1:
    return pop(view, args, False, reply)


cdef int cmd_zpopmax(View view, Args* args, Reply reply) except -1:
    return pop(view, args, True, reply)


cdef int cmd_zmpop(View view, Args* args, Reply reply) except -1:
    return pop_now(view, args, &ZSET_ENDS, reply)


HANDLERS = {
    "zpopmin": native(cmd_zpopmin),
    "zpopmax": native(cmd_zpopmax),
    "zmpop": native(cmd_zmpop),
}
