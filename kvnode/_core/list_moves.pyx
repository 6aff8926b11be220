# cython: boundscheck=False, wraparound=False
"""List commands on several keys: LMOVE, RPOPLPUSH, LMPOP, and what their waiting forms call."""

from libc.stdint cimport int64_t
from libcpp.vector cimport vector
from kvnode._core.arguments cimport SYNTAX, event, refuse
from kvnode._core.bytes cimport Slice
from kvnode._core.collection cimport (
    AS_NULL, WRONG, answer_absent, close_collection, create, is_past_budget)
from kvnode._core.dispatch cimport native
from kvnode._core.items cimport drop_ends, find_ends, open_list, push, room_missing
from kvnode._core.lists cimport pop_found, read_end
from kvnode._core.mpop cimport POP_NOW, POP_ONE, PopForm, open_first, pop_now
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_array, reply_bulk
from kvnode._core.tip cimport T_LIST, Collection, Version
from kvnode._core.view cimport ABSENT, FOUND, MISS, N_LIST, Head, View


cdef int pop_first(View view, Args* args, int first, int end, bint at_tail, int64_t count,
                   PopForm form, Reply reply) except -1:
    """A Popper. Commands that wait if there is nothing run here whatever they take."""
    cdef vector[Version*] items
    cdef Head head
    cdef Collection* c
    cdef Version* v
    cdef int i
    cdef int found = open_first(view, args, first, end, open_list, &head, &c, &i, reply)
    if found != FOUND:
        return found
    count = min(count, c.meta.length)
    if (form == POP_NOW and is_past_budget(view, count)) or find_ends(view, c, at_tail, count, &items):
        return MISS
    reply_array(reply, 2)
    reply_bulk(reply, args.v[i].data, args.v[i].len)
    if form != POP_ONE:
        reply_array(reply, count)
    for v in items:
        reply_bulk(reply, v.data, v.length)
    pop_found(view, &head, c, &args.v[i], at_tail, count)
    return FOUND


LIST_ENDS.type = T_LIST
LIST_ENDS.low = b"LEFT"
LIST_ENDS.high = b"RIGHT"
LIST_ENDS.pop = pop_first


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


cdef int move_now(View view, Args* args, bint from_tail, bint to_tail, Reply reply) except -1:
    cdef int found = move(view, &args.v[1], &args.v[2], from_tail, to_tail, reply)
    return answer_absent(found, AS_NULL, reply)


cdef int cmd_lmove(View view, Args* args, Reply reply) except -1:
    cdef bint from_tail
    cdef bint to_tail
    if not read_end(&args.v[3], &from_tail) or not read_end(&args.v[4], &to_tail):
        return refuse(reply, SYNTAX)
    return move_now(view, args, from_tail, to_tail, reply)


cdef int cmd_rpoplpush(View view, Args* args, Reply reply) except -1:
    return move_now(view, args, True, False, reply)


cdef int cmd_lmpop(View view, Args* args, Reply reply) except -1:
    return pop_now(view, args, &LIST_ENDS, reply)


HANDLERS = {
    "lmove": native(cmd_lmove),
    "rpoplpush": native(cmd_rpoplpush),
    "lmpop": native(cmd_lmpop),
}
