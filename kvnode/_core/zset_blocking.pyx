# cython: boundscheck=False, wraparound=False
"""Sorted-set pops that wait for members: BZPOPMIN, BZPOPMAX, BZMPOP."""

from kvnode._core.dispatch cimport native
from kvnode._core.mpop cimport pop_or_wait, pop_several_or_wait
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply
from kvnode._core.view cimport View
from kvnode._core.zset_pops cimport ZSET_ENDS


cdef int cmd_bzpopmin(View view, Args* args, Reply reply) except -1:
    return pop_or_wait(view, args, &ZSET_ENDS, False, reply)


cdef int cmd_bzpopmax(View view, Args* args, Reply reply) except -1:
    return pop_or_wait(view, args, &ZSET_ENDS, True, reply)


cdef int cmd_bzmpop(View view, Args* args, Reply reply) except -1:
    return pop_several_or_wait(view, args, &ZSET_ENDS, reply)


HANDLERS = {
    "bzpopmin": native(cmd_bzpopmin),
    "bzpopmax": native(cmd_bzpopmax),
    "bzmpop": native(cmd_bzmpop),
}
