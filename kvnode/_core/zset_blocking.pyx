# cython: boundscheck=False, wraparound=False
"""Sorted-set pops that wait for members: BZPOPMIN, BZPOPMAX, BZMPOP."""

from libc.stdint cimport int64_t, uint64_t
from kvnode._core.blocking cimport NULL_ARRAY, done_or_wait, require_timeout
from kvnode._core.dispatch cimport DONE, native
from kvnode._core.mpop cimport POP_NESTED, POP_ONE, PopForm
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply
from kvnode._core.tip cimport T_ZSET
from kvnode._core.view cimport View
from kvnode._core.zset_pops cimport pop_first, read_mpop


cdef int pop_or_wait(View view, Args* args, int first, int end, bint highest, int64_t count,
                     PopForm form, uint64_t deadline_ms, Reply reply) except -1:
    """Pop from the first of the keys args[first:end] that has members, or wait for one of them."""
    cdef int found = pop_first(view, args, first, end, highest, count, form, reply)
    return done_or_wait(view, args, found, first, end, T_ZSET, deadline_ms, NULL_ARRAY, reply)


cdef int bzpop(View view, Args* args, bint highest, Reply reply) except -1:
    cdef int end = args.n - 1
    cdef uint64_t deadline_ms
    if not require_timeout(view, &args.v[end], &deadline_ms, reply):
        return DONE
    return pop_or_wait(view, args, 1, end, highest, 1, POP_ONE, deadline_ms, reply)


cdef int cmd_bzpopmin(View view, Args* args, Reply reply) except -1:
    return bzpop(view, args, False, reply)


cdef int cmd_bzpopmax(View view, Args* args, Reply reply) except -1:
    return bzpop(view, args, True, reply)


cdef int cmd_bzmpop(View view, Args* args, Reply reply) except -1:
    cdef uint64_t deadline_ms
    cdef int64_t count
    cdef bint highest
    cdef int end
    if not read_mpop(args, 2, &end, &highest, &count, reply) \
            or not require_timeout(view, &args.v[1], &deadline_ms, reply):
        return DONE
    return pop_or_wait(view, args, 3, end, highest, count, POP_NESTED, deadline_ms, reply)


HANDLERS = {
    "bzpopmin": native(cmd_bzpopmin),
    "bzpopmax": native(cmd_bzpopmax),
    "bzmpop": native(cmd_bzmpop),
}
