"""Memory brought near before it is looked at: its waits overlap with other work, or each other."""

from libc.stdint cimport uint64_t
from kvnode._core.entries cimport Entry, Segment, Table, bucket_of, segment_of


cdef extern from *:
    """
    /* Of a function that does nothing but prefetch, gcc drops the calls: to it that is no effect. */
    static inline void kvnode_prefetch_line(const void *address) {
        __asm__ volatile("" : : "r"(address));
        __builtin_prefetch(address);
    }
    """
    void prefetch_line "kvnode_prefetch_line"(const void* address) noexcept nogil


cdef enum Wait:             # of a lookup for main memory, one after the other
    W_SEGMENT = 0
    W_BUCKET = 1
    W_ENTRY = 2
    W_VERSION = 3


cdef inline void prefetch_wait(Table* table, uint64_t hash, int wait) noexcept nogil:
    """Begin one of the waits of a lookup that comes later; those before it should be over."""
    cdef Segment* segment = segment_of(table, hash)
    cdef Entry* e
    if wait == W_SEGMENT:
        prefetch_line(segment)
        return
    if wait == W_BUCKET:
        prefetch_line(&segment.buckets[bucket_of(segment, hash)])
        return
    e = segment.buckets[bucket_of(segment, hash)]   # the first is the one, as a rule
    if e != NULL:
        prefetch_line(e if wait == W_ENTRY else <void*>e.newest)
