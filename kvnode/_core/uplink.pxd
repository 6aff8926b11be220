"""Input of sessions on its way to a leader, and what is known of their mirrors there."""

from libc.stdint cimport uint64_t
from kvnode._core.buffer cimport Buffer
from kvnode._core.link_port cimport Port
from kvnode._core.session cimport Session


cdef class Relay:
    # What is kept of a session beside itself.
    cdef Session session
    cdef Uplink uplink              # at which it has a mirror, or None
    cdef uint64_t number            # of that mirror
    cdef uint64_t sent, executed, answered      # bytes of its input since it has that mirror
    cdef Buffer returned            # the end of it, which was not executed
    cdef bint is_returning
    cdef uint64_t relayed, taken    # bytes of output: that came, and that were said to be taken
    cdef bint is_draining           # is in the list of its uplink
    cdef bint is_partial            # what came ends inside of a reply
    cdef bint is_risky              # a command that is owed might have changed something
    cdef bint is_watching           # there, once all is executed
    cdef bint was_dirty             # the mirror was told that its EXEC answers null
    cdef bint is_aborted            # what was refused here makes EXEC fail there
    cdef bint is_expired            # it has waited for a leader long enough
    cdef bint ends                  # the client sends no more: closes when nothing is owed
    cdef bint reads_here            # READONLY
    cdef bint avoids_reads          # no read index was to be had: the leader answers
    cdef uint64_t covered, wanted   # Session.bytes_in when a read index was asked for: the newest
                                    # that was reached, 0 if more has been forwarded since; and that
                                    # is waited for
    cdef int wait
    cdef uint64_t waits             # times that it waited for a leader
    cdef bint is_told               # the leader knows the session
    cdef int told_db, told_proto, told_mode
    cdef bint told_no_touch
    cdef object told_name, told_user

    cdef bint is_owed(self) noexcept


cdef class Uplink:
    # One use of a link: a leadership of the node at its other end.
    cdef readonly Port port
    cdef dict relays                # number -> Relay that has a mirror there
    cdef uint64_t bound             # mirrors ever
    cdef bint is_open               # new input may go there
    cdef list draining              # relays with output that was not said to be taken
    cdef list blocked               # relays that wait for room

    cdef int bind(self, Relay relay) except -1
    cdef int tell(self, Relay relay) except -1
    cdef int emit(self, Relay relay, const char* data, size_t n) except -1
    cdef int put_session(self, Relay relay, int item) except -1
