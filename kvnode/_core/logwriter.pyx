"""The log as the sequencer sees it, and the thread that writes it."""

from libc.stdint cimport uint64_t


cdef class LogSink:

    def __cinit__(self):
        self.event_fd = -1

    cdef int submit(self, uint64_t term, uint64_t index, uint64_t commit_ts,
                    const char* payload, size_t n) except -1:
        raise NotImplementedError("LogSink.submit")

    cdef int try_submit_inline(self, uint64_t term, uint64_t index, uint64_t commit_ts,
                               const char* payload, size_t n) except -1:
        return 0

    cdef void report(self, LogReport* out) noexcept nogil:
        out.written_term = out.written_index = 0
        out.synced_term = out.synced_index = 0
        out.error = 0

    cdef void clear_event(self) noexcept nogil:
        pass

    cdef size_t queued_bytes(self) noexcept nogil:
        return 0

    cdef int request_sync(self) except -1:
        return 0

    # The same for Python callers: once per batch or event, never per command.

    def append(self, uint64_t term, uint64_t index, uint64_t commit_ts, bytes payload not None):
        """Queue one entry (see LogSink.submit)."""
        self.submit(term, index, commit_ts, payload, len(payload))

    def position(self):
        """Return (written term, written index, synced term, synced index, errno)."""
        cdef LogReport r
        self.report(&r)
        return r.written_term, r.written_index, r.synced_term, r.synced_index, r.error

    def sync(self):
        """Ask for a sync of what was submitted so far."""
        self.request_sync()

    @property
    def bytes_queued(self):
        """Bytes submitted and not yet written."""
        return self.queued_bytes()


cdef class PythonSink(LogSink):

    cdef int submit(self, uint64_t term, uint64_t index, uint64_t commit_ts,
                    const char* payload, size_t n) except -1:
        self.on_submit(term, index, commit_ts, payload[:n])
        return 0

    cdef void report(self, LogReport* out) noexcept nogil:
        out[0] = self.state

    cdef size_t queued_bytes(self) noexcept nogil:
        return self.queued

    cdef int request_sync(self) except -1:
        self.on_request_sync()
        return 0

    def on_submit(self, term, index, commit_ts, payload):
        """Take one entry; the subclass decides when it is written and synced."""
        raise NotImplementedError

    def on_request_sync(self):
        """A checkpoint wants everything synced."""

    def set_written(self, uint64_t term, uint64_t index):
        self.state.written_term = term
        self.state.written_index = index

    def set_synced(self, uint64_t term, uint64_t index):
        self.state.synced_term = term
        self.state.synced_index = index

    def set_error(self, int error):
        self.state.error = error
