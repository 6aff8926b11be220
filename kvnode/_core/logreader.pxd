"""Reading of log segments: one walk checks, counts and delivers. Bytes: log_format.hpp."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef struct LogRecord:
    uint8_t kind            # 1 entry, 2 mark, 3 link
    uint64_t term
    uint64_t index
    uint64_t commit_ts
    uint64_t synced         # offset below which all was synced when the record was formed
    size_t offset           # of the record in its segment
    const char* payload     # borrowed: valid until the next call of next()
    size_t length


cdef class SegmentReader:
    """Walk the records of one segment, verifying each against its predecessor."""

    cdef readonly bytes data
    cdef const char* bytes_at
    cdef size_t limit
    cdef uint32_t seed
    cdef readonly uint32_t chain    # CRC of the last whole record: the seed of the next
    cdef readonly size_t offset     # end of the last whole record

    cdef bint next(self, LogRecord* out) noexcept nogil     # False: no whole record here


cdef class SegmentCursor:
    """The same walk through a segment that is still written to, with its bytes read in pieces."""

    cdef uint32_t seed
    cdef readonly uint32_t chain
    cdef readonly size_t offset     # end of the last record that was walked over


cdef class LogReplay:
    """The entries of a log in order, those that a later term replaced left out."""

    cdef object load                # (sequence) -> (segment id, bytes)
    cdef object spans               # iterator of (sequence, end, [(offset, last_index), ...])
    cdef SegmentReader reader
    cdef uint64_t sequence
    cdef size_t end
    cdef list runs
    cdef Py_ssize_t run
    cdef uint64_t run_last_index
    cdef size_t next_run_offset
    cdef uint64_t first_index, last_index

    cdef int next(self, LogRecord* out) except -1           # 1 = an entry, 0 = the end
    cdef bint advance(self, size_t offset) except -1
    cdef bint load_next(self) except -1
