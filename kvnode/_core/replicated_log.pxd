"""The log of a group: a LogSink around another that keeps the newest entries for its peers."""

from libc.stdint cimport uint64_t

from kvnode._core.logwriter cimport LogSink

cdef extern from "entry_ring.hpp" namespace "kvnode" nogil:
    cppclass EntryRing


cdef class ReplicatedLog(LogSink):
    """What is submitted goes to `inner` and, unless the group is of one, into the ring as well.

    Invariant: the ring's next entry is last_index + 1, so what is in it is in the log.
    """

    cdef readonly LogSink inner
    cdef EntryRing* ring
    cdef bint alone
    cdef readonly uint64_t last_index   # of the log, written or not
    cdef readonly uint64_t last_term
    cdef readonly uint64_t last_ts      # highest commit_ts ever seen, of replaced entries too

    cdef int connect(self, LogSink inner, uint64_t index, uint64_t term,
                     uint64_t commit_ts) except -1
    cdef int check_next(self, uint64_t term, uint64_t index) except -1
    cdef int note(self, uint64_t term, uint64_t index, uint64_t commit_ts, const char* payload,
                  size_t n) except -1
