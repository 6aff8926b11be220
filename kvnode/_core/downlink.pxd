"""The leader's end of an uplink: mirrors of another node's sessions, their input and output.

A mirror runs as any session. What may leave of it goes back in OUTPUT items, as much as its client
can take; what its client has not taken stays in its own buffer here, as that of any slow client.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from kvnode._core.front cimport Mirror, Outlet
from kvnode._core.link_port cimport Port, Reader
from kvnode._core.sequencer cimport Sequencer


cdef enum:
    MIRRORS_MAX = 1 << 17               # of one uplink
    MIRROR_INPUT_BYTES_MAX = 1 << 30    # unparsed, of one session: one command and what follows


cdef class Downlink(Outlet):
    cdef readonly Port port
    cdef Sequencer sequencer
    cdef dict mirrors               # id at the other node -> Mirror
    cdef object new_id              # new_id() -> id for a session
    cdef object on_gone             # on_gone(mirror): it is closed
    cdef bint is_over               # what comes is refused
    cdef list crowded               # mirrors with output for which the link has no room
    cdef uint64_t frames
    cdef public uint64_t output_bytes_max   # of one mirror; 0 = no limit

    cdef int collect_mirror(self, Mirror mirror, bint is_last) except -1
    cdef int put_output(self, Mirror mirror, int flags, size_t n, uint64_t answered) except -1
    cdef int put_returned(self, uint64_t remote, int flags, const char* data, size_t n) except -1
    cdef int give_back(self, Mirror mirror) except -1
    cdef int drop(self, Mirror mirror) except -1
    cdef int take_state(self, Mirror mirror, uint64_t remote, bint is_new, int64_t now_ms,
                        Reader* r) except -1
    cdef int take_input(self, Mirror mirror, uint64_t remote, Reader* r) except -1
