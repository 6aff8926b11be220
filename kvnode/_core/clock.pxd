"""The machine's clocks, for measuring how long something took. Inlined into every module."""

from libc.stdint cimport uint64_t
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec

cdef extern from "time.h" nogil:
    int CLOCK_BOOTTIME


cdef inline uint64_t monotonic_micros() noexcept nogil:
    """Microseconds since some moment."""
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <uint64_t>t.tv_sec * 1000000 + <uint64_t>t.tv_nsec // 1000


cdef inline uint64_t boot_ms() noexcept nogil:
    """Milliseconds since some moment, those of a suspended machine as well."""
    cdef timespec t
    clock_gettime(CLOCK_BOOTTIME, &t)
    return <uint64_t>t.tv_sec * 1000 + <uint64_t>t.tv_nsec // 1000000


cdef inline uint64_t wall_ms() noexcept nogil:
    """Milliseconds since 1970, by a clock that may be set back."""
    cdef timespec t
    clock_gettime(CLOCK_REALTIME, &t)
    return <uint64_t>t.tv_sec * 1000 + <uint64_t>t.tv_nsec // 1000000
