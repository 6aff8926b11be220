"""Large collections that a transaction has made: written under a fresh id in bounded entries, then
published with one head.

A pending record is in the entry of the first element; the batch that publishes the head takes it away.
So a pending record of which nobody knows any more, after a crash for example, names what nobody will
ever publish: the sweeper has it buried. Until it is published a collection is in memory as one
without a head: its elements are ordinary dirty records, flushed and evicted as any, and nothing else
can name it.
"""

from libc.stdint cimport int64_t, uint64_t
from libcpp.unordered_map cimport unordered_map
from libcpp.unordered_set cimport unordered_set
from kvnode._core.entries cimport Collection, Entry, Version
from kvnode._core.sequencer cimport Sequencer
from kvnode._core.view cimport Head
from kvnode._core.workspace cimport Workspace


cdef enum:
    PUBLISH_ELEMENTS = 1000         # of one step: about 1.5 ms
    PUBLISH_BYTES = 1 << 20         # of one step
    PUBLISH_LOOKS = 20000           # writes of the workspace that one step looks at


cdef class Publication:
    cdef Sequencer sequencer
    cdef Workspace work
    cdef unordered_map[uint64_t, uint64_t] ids  # collection id of the workspace -> the real one
    cdef unordered_set[uint64_t] begun          # real ids under which something is written
    cdef size_t at                  # so many writes of the workspace are looked at
    cdef size_t kept                # and so many of these belong to nothing that is written here
    cdef readonly bint is_ready     # all is written but the heads
    cdef readonly uint64_t bytes, elements      # written here
    cdef readonly uint64_t rest_bytes           # of the other writes, about: the last entry's size

    cdef bint is_large(self, Collection* c) noexcept
    cdef int put(self, uint64_t id, Collection* c, Entry* e) except -1
    cdef bint has(self, uint64_t id) noexcept
    cdef int publish(self, Head* head, Version* wanted) except -1
