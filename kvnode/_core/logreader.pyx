"""Reading of log segments. What is damage and what a torn tail is decided by storage/log.py."""

from kvnode.base.errors import CorruptionError

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stddef cimport size_t

cdef extern from "log_format.hpp" namespace "kvnode" nogil:
    enum: LOG_ENTRY
    char LOG_MEMBERSHIP
    size_t LOG_HEADER_BYTES
    size_t LOG_RECORD_HEADER_BYTES

    cppclass LogHead:
        uint32_t length
        uint8_t kind
        uint64_t term, index, commit_ts, synced

    uint32_t log_seed(uint64_t segment_id)
    bint log_is_header(const char* p, size_t offset, uint32_t seed)
    bint log_is_head(const char* segment, size_t n, size_t offset, uint32_t seed)
    bint log_is_whole(const char* record, uint32_t chain)
    LogHead log_get_head(const char* record)
    size_t log_record_bytes(size_t payload)
    uint64_t log_find_synced(const char* segment, size_t n, size_t offset, uint32_t seed)


cdef class SegmentReader:

    def __init__(self, bytes data not None, uint64_t segment_id, limit=None):
        self.data = data
        self.bytes_at = data
        self.limit = len(data) if limit is None else min(<size_t>limit, <size_t>len(data))
        self.seed = self.chain = log_seed(segment_id)
        self.offset = LOG_HEADER_BYTES

    cdef bint next(self, LogRecord* out) noexcept nogil:
        cdef const char* p = self.bytes_at + self.offset
        cdef LogHead head
        if not log_is_head(self.bytes_at, self.limit, self.offset, self.seed):
            return False
        if not log_is_whole(p, self.chain):
            return False
        head = log_get_head(p)
        out.kind = head.kind
        out.term = head.term
        out.index = head.index
        out.commit_ts = head.commit_ts
        out.synced = head.synced
        out.offset = self.offset
        out.payload = p + LOG_RECORD_HEADER_BYTES
        out.length = head.length
        self.chain = get_chain(p)
        self.offset += log_record_bytes(head.length)
        return True

    def __iter__(self):
        return self

    def __next__(self):
        cdef LogRecord r
        if not self.next(&r):
            raise StopIteration
        return r.offset, r.kind, r.term, r.index, r.commit_ts, r.synced, r.payload[:r.length]

    def skip(self):
        """Walk on to the end; return (highest synced offset stated, runs, last commit_ts, memberships).

        runs: [(offset, term, first_index, last_index)], one for each stretch of entries of one term
        with consecutive indexes. memberships: [(offset, index, payload)] of entries that are one.
        `offset` is then where the last whole record ends.
        """
        cdef LogRecord r
        cdef uint64_t synced = 0, commit_ts = 0
        cdef uint64_t run_term = 0, run_first = 0, run_last = 0
        cdef size_t run_offset = 0
        cdef list runs = []
        cdef list memberships = []
        while self.next(&r):
            synced = max(synced, r.synced)
            commit_ts = r.commit_ts
            if r.kind != LOG_ENTRY:
                continue
            if r.length and r.payload[0] == LOG_MEMBERSHIP:
                memberships.append((r.offset, r.index, r.payload[:r.length]))
            if run_offset == 0 or r.term != run_term or r.index != run_last + 1:
                if run_offset:
                    runs.append((run_offset, run_term, run_first, run_last))
                run_offset, run_term, run_first = r.offset, r.term, r.index
            run_last = r.index
        if run_offset:
            runs.append((run_offset, run_term, run_first, run_last))
        return synced, runs, commit_ts, memberships

    def go_on(self, size_t limit):
        """Let the walk go on up to `limit`."""
        self.limit = min(limit, <size_t>len(self.data))

    def find_synced(self):
        """Return the highest synced offset that any record header behind `offset` states, or 0.

        Headers are found at every multiple of 8, so damage does not hide what stands after it.
        """
        cdef uint64_t found
        with nogil:
            found = log_find_synced(self.bytes_at, self.limit, self.offset, self.seed)
        return found


cdef extern from *:
    """
    static inline uint32_t kv_log_chain(const char* record) { return kvnode::load_be32(record + 4); }
    """
    uint32_t get_chain "kv_log_chain"(const char* record) noexcept nogil


cdef class SegmentCursor:

    def __init__(self, uint64_t segment_id, offset=None, chain=None):
        self.seed = log_seed(segment_id)
        self.chain = self.seed if chain is None else chain
        self.offset = LOG_HEADER_BYTES if offset is None else offset

    def take(self, bytes data not None, size_t start, list entries not None, uint64_t first,
             uint64_t last, uint64_t term, size_t bytes_max):
        cdef const char* p = data
        cdef size_t left = len(data)
        cdef size_t size
        if not start <= self.offset <= start + left:
            raise ValueError(f"bytes from {start} on, for a walk at {self.offset}")
        p += self.offset - start
        left -= self.offset - start
        cdef uint64_t wanted = first + <uint64_t>len(entries)
        cdef LogHead head
        for *_, payload in entries:
            bytes_max -= min(<size_t>len(payload), bytes_max)
        while wanted <= last:
            if left < LOG_RECORD_HEADER_BYTES:
                return LOG_RECORD_HEADER_BYTES
            if not log_is_header(p, self.offset, self.seed):
                return 0
            head = log_get_head(p)
            size = log_record_bytes(head.length)
            if left < size:
                return size
            if not log_is_whole(p, self.chain):
                return 0
            if head.kind == LOG_ENTRY and head.index == wanted and head.term == term:
                if entries and head.length > bytes_max:
                    break
                entries.append((term, wanted, head.commit_ts,
                                p[LOG_RECORD_HEADER_BYTES:LOG_RECORD_HEADER_BYTES + head.length]))
                bytes_max -= min(<size_t>head.length, bytes_max)
                wanted += 1
            self.chain = get_chain(p)
            self.offset += size
            p += size
            left -= size
        return -1


cdef class LogReplay:

    def __init__(self, load, spans, uint64_t first_index, uint64_t last_index):
        self.load = load
        self.spans = iter(spans)
        self.first_index = first_index
        self.last_index = last_index

    cdef bint load_next(self) except -1:
        """Open the next segment; False when there is none."""
        for self.sequence, end, self.runs in self.spans:
            if not self.runs:
                continue
            self.end = end
            segment_id, data = self.load(self.sequence)
            self.reader = SegmentReader(data, segment_id, end)
            self.run = -1
            self.next_run_offset = self.runs[0][0]
            return True
        return False

    cdef bint advance(self, size_t offset) except -1:
        """Make the run that holds `offset` the current one."""
        while offset >= self.next_run_offset:
            self.run += 1
            self.run_last_index = self.runs[self.run][1]
            if self.run + 1 < len(self.runs):
                self.next_run_offset = self.runs[self.run + 1][0]
            else:
                self.next_run_offset = self.end
        return True

    cdef int next(self, LogRecord* out) except -1:
        while True:
            if self.reader is None and not self.load_next():
                return 0
            if not self.reader.next(out):
                if self.reader.offset != self.end:
                    raise CorruptionError(
                        f"log segment {self.sequence:016x} changed under our feet at byte "
                        f"{self.reader.offset}: a record that was whole at start is not any more")
                self.reader = None
                continue
            if out.kind != LOG_ENTRY:
                continue
            if out.offset >= self.next_run_offset:
                self.advance(out.offset)
            if out.index <= self.run_last_index and self.first_index <= out.index <= self.last_index:
                return 1

    def __iter__(self):
        return self

    def __next__(self):
        cdef LogRecord r
        if not self.next(&r):
            raise StopIteration
        return r.term, r.index, r.commit_ts, r.payload[:r.length]
