# cython: boundscheck=False, wraparound=False
"""List commands that wait for elements: BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH."""

from libc.stdint cimport uint64_t
from kvnode._core.arguments cimport SYNTAX, refuse
from kvnode._core.blocking cimport NULL_BULK, done_or_wait, require_timeout
from kvnode._core.bytes cimport Slice
from kvnode._core.dispatch cimport DONE, native
from kvnode._core.list_moves cimport LIST_ENDS, move
from kvnode._core.lists cimport read_end
from kvnode._core.mpop cimport pop_or_wait, pop_several_or_wait
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply
from kvnode._core.tip cimport T_LIST
from kvnode._core.view cimport View


cdef int move_or_wait(View view, Args* args, bint from_tail, bint to_tail, const Slice* timeout,
                      Reply reply) except -1:
    cdef uint64_t deadline_ms
    cdef int found
    if not require_timeout(view, timeout, &deadline_ms, reply):
        return DONE
    found = move(view, &args.v[1], &args.v[2], from_tail, to_tail, reply)
    return done_or_wait(view, args, found, 1, 2, T_LIST, deadline_ms, NULL_BULK, reply)


cdef int cmd_blpop(View view, Args* args, Reply reply) except -1:
    return pop_or_wait(view, args, &LIST_ENDS, False, reply)


cdef int cmd_brpop(View view, Args* args, Reply reply) except -1:
    return pop_or_wait(view, args, &LIST_ENDS, True, reply)


cdef int cmd_blmpop(View view, Args* args, Reply reply) except -1:
    return pop_several_or_wait(view, args, &LIST_ENDS, reply)


cdef int cmd_blmove(View view, Args* args, Reply reply) except -1:
    cdef bint from_tail
    cdef bint to_tail
    if not read_end(&args.v[3], &from_tail) or not read_end(&args.v[4], &to_tail):
        return refuse(reply, SYNTAX)
    return move_or_wait(view, args, from_tail, to_tail, &args.v[5], reply)


cdef int cmd_brpoplpush(View view, Args* args, Reply reply) except -1:
    return move_or_wait(view, args, True, False, &args.v[3], reply)


HANDLERS = {
    "blpop": native(cmd_blpop),
    "brpop": native(cmd_brpop),
    "blmpop": native(cmd_blmpop),
    "blmove": native(cmd_blmove),
    "brpoplpush": native(cmd_brpoplpush),
}
