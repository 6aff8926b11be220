"""Output that waits until leadership is confirmed for the pass in which it was written (I2b).

A leader that was deposed unknown to itself would answer reads from the past. So in a group what a
pass writes leaves only after a quorum confirmed the leadership in a round that began after the pass
had read its input; or after a batch closed behind that input has committed, which is such a round.
"""

from libc.stdint cimport uint64_t
from libcpp.deque cimport deque
from libcpp.vector cimport vector
from kvnode._core.session cimport Session

ctypedef void* Holder        # a Session, as a counted reference

cdef enum:
    FENCE_OVERHEAD_BYTES = 128      # of a session that waits, beside its output, about


cdef struct Fence:
    uint64_t number         # of the pass
    uint64_t bytes          # that wait for it


cdef class Fences:
    cdef readonly uint64_t confirmed        # newest pass whose output may leave
    cdef readonly uint64_t bytes            # that wait
    cdef deque[Fence] waiting               # passes not confirmed that have output, oldest first
    cdef deque[vector[Holder]] holders      # of each: sessions whose output waits
    cdef readonly size_t held               # holders of all

    cdef int add(self, Session session, uint64_t number) except -1
    cdef int confirm(self, uint64_t number, uint64_t committed, list flushable) except -1
    cdef uint64_t newest(self) noexcept
    cdef int take(self, dict sessions) except -1
