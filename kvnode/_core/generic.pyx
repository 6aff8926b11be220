# cython: boundscheck=False, wraparound=False
"""Commands on keys of any type: DEL, EXISTS, TYPE and their kin."""

from libc.stdint cimport int64_t
from kvnode._core.arguments cimport N_GENERIC, any_missing, event
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_integer
from kvnode._core.view cimport FOUND, L_NO_TOUCH, L_READ, Head, View


cdef int cmd_del(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef int64_t removed = 0
    cdef int i
    if any_missing(view, args, 1, 1):
        return PARK
    for i in range(1, args.n):
        if view.lookup(args.v[i].data, args.v[i].len, L_NO_TOUCH, &head) == FOUND:
            view.remove(&head)
            event(view, N_GENERIC, b"del", &args.v[i])
            removed += 1
    return reply_integer(reply, removed)


cdef int count_found(View view, Args* args, int flags, Reply reply) except -1:
    cdef Head head
    cdef int64_t count = 0
    cdef int i
    if any_missing(view, args, 1, 1):
        return PARK
    for i in range(1, args.n):
        if view.lookup(args.v[i].data, args.v[i].len, flags, &head) == FOUND:
            count += 1
    return reply_integer(reply, count)


cdef int cmd_exists(View view, Args* args, Reply reply) except -1:
    return count_found(view, args, L_READ | L_NO_TOUCH, reply)


cdef int cmd_touch(View view, Args* args, Reply reply) except -1:
    return count_found(view, args, L_READ, reply)


HANDLERS = {
    "del": native(cmd_del),
    "unlink": native(cmd_del),
    "exists": native(cmd_exists),
    "touch": native(cmd_touch),
}
