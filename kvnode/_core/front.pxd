"""Sessions whose commands run on another node: what this node does with them, and their mirrors there."""

from libc.stdint cimport uint64_t
from kvnode._core.session cimport Session


cdef class Front:
    # What a node that does not serve does with sessions that have input.
    cdef int run(self, Session session) except -1
    cdef bint ends_with_answers(self, Session session) except -1    # its client sends no more


cdef class Outlet:
    # Takes what may leave of sessions that have no socket.
    cdef int collect(self, Session session) except -1


cdef class Mirror(Session):
    # At the leader, the session of a client of another node. Its outlet is told after each pass in
    # which it ran, or some of its output was released.
    cdef Outlet outlet
    cdef readonly uint64_t remote       # number that its node gave it
    cdef readonly uint64_t client       # id of the session at its own node
    cdef uint64_t fed                   # bytes of input, ever
    cdef uint64_t consumed, answered    # of them, as last told
    cdef uint64_t given, taken          # bytes of output: sent to its node, and that its client took
    cdef uint64_t frame                 # number of the last frame that fed it
    cdef uint64_t commands_before       # executed when it was last collected
    cdef bint is_waiting_for_room       # is in its outlet's list
    cdef bint ends                      # its client sends no more
    cdef bint told_blocked              # its node knows that it waits on keys
