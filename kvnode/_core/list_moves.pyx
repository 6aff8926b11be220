# cython: boundscheck=False, wraparound=False
"""List commands on several keys: LMOVE, RPOPLPUSH, LMPOP, and what their waiting forms call."""

from libcpp.vector cimport vector
from kvnode._core.arguments cimport SYNTAX, event, refuse
from kvnode._core.collection cimport WRONG, close_collection, create, is_past_budget
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.items cimport drop_ends, find_ends, open_list, push, room_missing
from kvnode._core.lists cimport pop_found, read_end
from kvnode._core.mpop cimport POP_NESTED, open_first, read_ends
from kvnode._core.reply cimport reply_array, reply_bulk, reply_null, reply_null_array
from kvnode._core.tip cimport T_LIST, Collection, Version
from kvnode._core.view cimport ABSENT, FOUND, MISS, N_LIST, Head


cdef int pop_first(View view, Args* args, int first, int end, bint at_tail, int64_t count,
                   PopForm form, bint may_wait, Reply reply) except -1:
    """Pop up to `count` elements from the first of the keys args[first:end] that has any.

    POP_ONE answers one element. may_wait: the command does if there is none, so it runs here in any
    case; others are parked past their budget.
    """
    cdef vector[Version*] items
    cdef Head head
    cdef Collection* c
    cdef Version* v
    cdef int i
    cdef int found = open_first(view, args, first, end, open_list, &head, &c, &i, reply)
    if found != FOUND:
        return found
    count = min(count, c.meta.length)
    if (not may_wait and is_past_budget(view, count)) or find_ends(view, c, at_tail, count, &items):
        return MISS
    reply_array(reply, 2)
    reply_bulk(reply, args.v[i].data, args.v[i].len)
    if form == POP_NESTED:
        reply_array(reply, count)
    for v in items:
        reply_bulk(reply, v.data, v.length)
    pop_found(view, &head, c, &args.v[i], at_tail, count)
    return FOUND


cdef int move(View view, const Slice* source, const Slice* target, bint from_tail, bint to_tail,
              Reply reply) except -1:
    """Move an element from an end of one list to an end of another, or of the same; answer it."""
    cdef vector[Version*] items
    cdef Head head
    cdef Head target_head
    cdef Collection* c
    cdef Collection* into
    cdef int found = open_list(view, source, 0, &head, &c, reply)
    cdef int target_found
    if found != FOUND:
        return found
    target_found = open_list(view, target, 0, &target_head, &into, reply)
    if target_found == WRONG:
        return WRONG
    if find_ends(view, c, from_tail, 1, &items) or target_found == MISS:
        return MISS
    if target_found == FOUND and room_missing(view, into, 1, to_tail):
        return MISS
    reply_bulk(reply, items[0].data, items[0].length)
    if target_found == ABSENT:
        into = create(view, &target_head, T_LIST)
    drop_ends(view, c, from_tail, 1)
    push(view, into, items[0].data, items[0].length, to_tail)
    event(view, N_LIST, b"rpush" if to_tail else b"lpush", target)
    event(view, N_LIST, b"rpop" if from_tail else b"lpop", source)
    close_collection(view, &head, c, source)
    return FOUND


cdef bint read_mpop(const Args* args, int numkeys, int* end, bint* at_tail, int64_t* count,
                    Reply reply) except -1:
    """Read `numkeys key ... LEFT | RIGHT [COUNT count]`; see mpop."""
    return read_ends(args, numkeys, b"LEFT", b"RIGHT", end, at_tail, count, reply)


cdef int move_now(View view, Args* args, bint from_tail, bint to_tail, Reply reply) except -1:
    cdef int found = move(view, &args.v[1], &args.v[2], from_tail, to_tail, reply)
    if found == MISS:
        return PARK
    return reply_null(reply) if found == ABSENT else DONE


cdef int cmd_lmove(View view, Args* args, Reply reply) except -1:
    cdef bint from_tail
    cdef bint to_tail
    if not read_end(&args.v[3], &from_tail) or not read_end(&args.v[4], &to_tail):
        return refuse(reply, SYNTAX)
    return move_now(view, args, from_tail, to_tail, reply)


cdef int cmd_rpoplpush(View view, Args* args, Reply reply) except -1:
    return move_now(view, args, True, False, reply)


cdef int cmd_lmpop(View view, Args* args, Reply reply) except -1:
    cdef bint at_tail
    cdef int64_t count
    cdef int end
    cdef int found
    if not read_mpop(args, 1, &end, &at_tail, &count, reply):
        return DONE
    found = pop_first(view, args, 2, end, at_tail, count, POP_NESTED, False, reply)
    if found == MISS:
        return PARK
    return reply_null_array(reply) if found == ABSENT else DONE


HANDLERS = {
    "lmove": native(cmd_lmove),
    "rpoplpush": native(cmd_rpoplpush),
    "lmpop": native(cmd_lmpop),
}
