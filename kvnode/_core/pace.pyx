# cython: boundscheck=False, wraparound=False
"""Backpressure that slows clients down instead of stopping them."""

from libc.stdint cimport UINT64_MAX


cdef class Pace:
    """Decides whether clients have to wait now. Without bounds set, they never have to."""

    def __cinit__(self):
        self.soft_bytes = self.hard_bytes = UINT64_MAX

    cdef bint update(self, uint64_t now_micros, uint64_t dirty, uint64_t flushed) noexcept:
        """Return whether clients have written more than they may by now.

        dirty: bytes not in LevelDB. flushed: bytes that checkpoints have taken in all.
        """
        cdef double taken = <double>dirty + <double>flushed     # written by clients in all
        cdef double rate
        if now_micros - self.sample_micros >= SAMPLE_MICROS:
            self.sample(now_micros, dirty, flushed)
        if dirty <= self.soft_bytes or self.measured_micros < KNOWN_MICROS:
            self.slowing = False
            return False
        rate = self.admitted(dirty)
        if not self.slowing:
            self.slowing = True
            self.allowed = taken
        else:
            self.allowed += rate * <double>(now_micros - self.at_micros) / 1e6
        self.at_micros = now_micros
        self.allowed = min(self.allowed, taken + rate * BURST_MICROS / 1e6)
        self.allowed = max(self.allowed, taken - rate * BEHIND_MICROS_MAX / 1e6)
        return taken > self.allowed

    cdef bint is_behind(self, uint64_t now_micros, uint64_t written, uint64_t needed_from) noexcept:
        """The same for a log of `written` bytes of which another node lacks those from a place on.

        Past the hard bound clients wait, too: else the log would have to be cut beneath that node, and
        its image to begin anew (hard case 33).
        """
        cdef uint64_t behind = written - needed_from if written > needed_from else 0
        return self.update(now_micros, behind, written - behind) or behind > self.hard_bytes

    cdef void sample(self, uint64_t now_micros, uint64_t dirty, uint64_t flushed) noexcept:
        """Take in what the checkpoint wrote since the last sample."""
        cdef uint64_t micros = now_micros - self.sample_micros
        cdef uint64_t flushed_before = min(self.sample_flushed, flushed)     # if it counts anew
        cdef bint is_first = self.sample_micros == 0
        self.sample_micros = now_micros
        self.sample_flushed = flushed
        if dirty <= self.soft_bytes or is_first:
            return          # the checkpoint wrote all there was: that says nothing of what it can
        self.measured_micros = min(self.measured_micros + micros, <uint64_t>AVERAGE_MICROS)
        self.rate += (<double>(flushed - flushed_before) * 1e6 / <double>micros - self.rate) \
            * min(1.0, <double>micros / <double>self.measured_micros)

    cdef double admitted(self, uint64_t dirty) noexcept:
        """Bytes/s that clients may write: SOFT_PERCENT of the checkpoint's at the soft bound,
        less and less towards the hard one."""
        cdef double room = <double>self.hard_bytes - <double>dirty
        cdef double width = <double>self.hard_bytes - <double>self.soft_bytes
        if room <= 0 or width <= 0:
            return 0
        return max(SOFT_PERCENT / 100.0 * self.rate * room / width, room / STANDSTILL_SECONDS)

    # -- for tests ------------------------------------------------------------------------------

    def must_wait(self, uint64_t now_micros, uint64_t dirty, uint64_t flushed):
        """update(), for Python."""
        return self.update(now_micros, dirty, flushed)

    def admitted_rate(self, uint64_t dirty):
        """Bytes/s that clients may write with `dirty` bytes not in LevelDB."""
        return self.admitted(dirty)
