"""The node's time: the wall clock, but it never goes back, and never stands still."""

from libc.stdint cimport uint64_t


cdef class NodeClock:
    cdef uint64_t floor_ms          # time was that
    cdef uint64_t floor_boot_ms     # at this moment of the machine

    cdef uint64_t now(self) noexcept
    cpdef uint64_t at(self, uint64_t wall, uint64_t boot) noexcept
    cpdef int raise_to(self, uint64_t ms) noexcept
