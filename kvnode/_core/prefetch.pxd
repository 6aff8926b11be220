"""Memory brought near before it is looked at: its waits overlap with other work, or each other."""

from libc.stdint cimport uint64_t
from kvnode._core.entries cimport Segment, Table, bucket_of, segment_of


cdef extern from *:
    """
    /* Of a function that does nothing but prefetch, gcc drops the calls: to it that is no effect. */
    static inline void kvnode_prefetch_line(const void *address) {
        __asm__ volatile("" : : "r"(address));
        __builtin_prefetch(address);
    }
    """
    void prefetch_line "kvnode_prefetch_line"(const void* address) noexcept nogil


cdef inline void prefetch_bucket(Table* table, uint64_t soon, uint64_t later) noexcept nogil:
    """For entries that come in a known order: the bucket of the hash that comes soon, and the segment
    of a later one, which has to be here before its bucket can be found."""
    cdef Segment* segment = segment_of(table, soon)
    prefetch_line(&segment.buckets[bucket_of(segment, soon)])
    prefetch_line(segment_of(table, later))
