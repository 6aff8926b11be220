# cython: boundscheck=False, wraparound=False
from kvnode._core.clock cimport boot_ms, wall_ms


cdef class NodeClock:
    """floor_ms: time starts at or above it (highest time in the data).

    A clock that is set back changes nothing: from the highest time that there was, time runs on at
    the speed of the machine's, so deadlines come neither twice nor late.
    """

    def __cinit__(self, uint64_t floor_ms):
        self.floor_ms = floor_ms
        self.floor_boot_ms = boot_ms()

    cdef uint64_t now(self) noexcept:
        return self.at(wall_ms(), boot_ms())

    cpdef uint64_t at(self, uint64_t wall, uint64_t boot) noexcept:
        """Return the node's time at a moment that two clocks give in ms, and not before others."""
        cdef uint64_t floor = self.floor_ms + (boot - self.floor_boot_ms)
        if wall <= floor:
            return floor
        self.floor_ms = wall
        self.floor_boot_ms = boot
        return wall

    cpdef int raise_to(self, uint64_t ms) noexcept:
        """From now on time is never below `ms`."""
        if ms > self.now():
            self.floor_ms = ms
            self.floor_boot_ms = boot_ms()
        return 0
