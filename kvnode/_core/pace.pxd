"""How much clients may write while LevelDB, or another node, is behind: as much as that gets done.

Without it the node would take writes at full speed until the hard bound of dirty bytes, then none
until LevelDB has caught up: seconds in which nobody gets an answer. Between a soft and the hard
bound the admitted rate follows the checkpoint's, and falls as the room that is left shrinks.
Pure arithmetic: time and counters are arguments.
"""

from libc.stdint cimport int64_t, uint64_t

cdef enum:
    SAMPLE_MICROS = 100_000             # between two looks at what the checkpoint wrote
    AVERAGE_MICROS = 8_000_000          # over which its rate is averaged: about one checkpoint
    KNOWN_MICROS = 1_000_000            # measured: before that nobody is slowed down
    SOFT_PERCENT = 150                  # of the checkpoint's rate that clients get at the soft bound
    BURST_MICROS = 4_000                # of admitted writes that may come at once
    BEHIND_MICROS_MAX = 250_000         # of them that one pass may have to make up for
    STANDSTILL_SECONDS = 10             # in which the room left goes when the checkpoint stands still


cdef class Pace:
    cdef public uint64_t soft_bytes     # dirty bytes from which on clients are slowed down
    cdef public uint64_t hard_bytes     # at which they stop (the reactor's business)
    cdef readonly double rate           # bytes/s that the checkpoint can write
    cdef uint64_t measured_micros       # that `rate` is the average of
    cdef bint slowing
    cdef double allowed                 # `taken` up to which clients may write by now
    cdef uint64_t at_micros             # of the last update
    cdef uint64_t sample_micros         # of the last sample of the checkpoint's rate
    cdef uint64_t sample_flushed

    cdef bint is_behind(self, uint64_t now_micros, uint64_t written, uint64_t needed_from) noexcept
    cdef bint update(self, uint64_t now_micros, uint64_t dirty, uint64_t flushed) noexcept
    cdef void sample(self, uint64_t now_micros, uint64_t dirty, uint64_t flushed) noexcept
    cdef double admitted(self, uint64_t dirty) noexcept
