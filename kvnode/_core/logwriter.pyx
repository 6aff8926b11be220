"""The log as the sequencer sees it, and the thread that writes it."""

import os

from kvnode.base.errors import StorageIOError

from libc.stdint cimport uint32_t, uint64_t
from posix.unistd cimport read

cdef extern from "log_writer.hpp" namespace "kvnode" nogil:
    """
    #ifdef KVNODE_DEBUG
    static inline bool kv_arm(kvnode::Failpoints& f, int point, int action, int arg, int after) {
        f.arm(point, action, arg, after);
        return true;
    }
    #else
    static inline bool kv_arm(kvnode::Failpoints&, int, int, int, int) { return false; }
    #endif
    """
    cppclass Failpoints:
        pass
    bint arm_failpoint "kv_arm"(Failpoints& f, int point, int action, int arg, int after)

    cppclass LogPosition:
        uint64_t term, index

    cppclass LogStart:
        uint64_t sequence, segment_id, offset, capacity
        uint32_t chain
        LogPosition last
        uint64_t last_commit_ts

    cppclass LogStatistics:
        LogPosition written, synced
        int error
        uint64_t syncs, sync_ns, sync_ns_max, sync_ns_average
        uint64_t groups, inline_groups, entries, bytes, marks, switches

    cppclass LogSegments:
        void add_closed(uint64_t sequence, uint64_t last_index)
        void cut(uint64_t index)
        int wait_idle()
        size_t closed_count()

    cppclass NativeLogWriter "kvnode::LogWriter":
        NativeLogWriter(const char* directory, uint64_t segment_bytes, uint64_t id_seed, int mode,
                        int mark_delay_ms, const LogStart& start) except +
        int start() except +
        void stop()
        bint submit(uint64_t term, uint64_t index, uint64_t commit_ts, const char* payload, size_t n)
        int submit_inline(uint64_t term, uint64_t index, uint64_t commit_ts, const char* payload,
                          size_t n)
        void request_sync()
        void set_mode(int mode)
        LogStatistics statistics()
        size_t queued_bytes()
        int event_fd()
        LogSegments& segments()
        Failpoints& failpoints()



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


MODES = ("always", "everysec", "no")
FAILPOINTS = ("before_write", "after_write", "before_sync", "after_sync", "segment_switch")
ACTIONS = ("off", "exit", "error", "delay", "skip")


cdef class LogWriter(LogSink):

    def __init__(self, directory, start, *, uint64_t segment_bytes, uint64_t id_seed,
                 str mode="always", int mark_delay_ms=100):
        cdef LogStart native_start
        cdef int error
        native_start.sequence = start.sequence
        native_start.segment_id = start.segment_id
        native_start.offset = start.offset
        native_start.capacity = start.capacity
        native_start.chain = start.chain
        native_start.last.term = start.last_term
        native_start.last.index = start.last_index
        native_start.last_commit_ts = start.last_commit_ts
        if self.native != NULL:
            raise RuntimeError("LogWriter.__init__ called twice")
        self.native = new NativeLogWriter(
            os.fsencode(directory), segment_bytes, id_seed, MODES.index(mode), mark_delay_ms,
            native_start)
        for sequence, last_index in start.closed:
            self.native.segments().add_closed(sequence, last_index)
        error = self.native.start()
        if error:
            raise StorageIOError(f"cannot open the log in {directory}: {os.strerror(error)}")
        self.event_fd = self.native.event_fd()

    def __dealloc__(self):
        if self.native != NULL:
            with nogil:
                self.native.stop()
            del self.native

    cdef NativeLogWriter* require_open(self) except NULL:
        if self.native == NULL:
            raise RuntimeError("the log writer is closed")
        return self.native

    cdef int submit(self, uint64_t term, uint64_t index, uint64_t commit_ts,
                    const char* payload, size_t n) except -1:
        if not self.require_open().submit(term, index, commit_ts, payload, n):
            raise MemoryError(f"log entry of {n} bytes")
        return 0

    cdef int try_submit_inline(self, uint64_t term, uint64_t index, uint64_t commit_ts,
                               const char* payload, size_t n) except -1:
        cdef NativeLogWriter* native = self.require_open()
        with nogil:
            return native.submit_inline(term, index, commit_ts, payload, n)

    cdef void report(self, LogReport* out) noexcept nogil:
        cdef LogStatistics s
        if self.native == NULL:
            out[0] = self.last_report
            return
        s = self.native.statistics()
        out.written_term = s.written.term
        out.written_index = s.written.index
        out.synced_term = s.synced.term
        out.synced_index = s.synced.index
        out.error = s.error

    cdef void clear_event(self) noexcept nogil:
        cdef uint64_t count
        read(self.event_fd, &count, sizeof(count))

    cdef size_t queued_bytes(self) noexcept nogil:
        return 0 if self.native == NULL else self.native.queued_bytes()

    cdef int request_sync(self) except -1:
        self.require_open().request_sync()
        return 0

    def append_inline(self, uint64_t term, uint64_t index, uint64_t commit_ts,
                      bytes payload not None):
        return bool(self.try_submit_inline(term, index, commit_ts, payload, len(payload)))

    def set_mode(self, str mode not None):
        self.require_open().set_mode(MODES.index(mode))

    def cut(self, uint64_t index):
        self.require_open().segments().cut(index)

    def wait_cut(self):
        cdef NativeLogWriter* native = self.require_open()
        cdef int error
        with nogil:
            error = native.segments().wait_idle()
        return error

    def statistics(self):
        cdef LogStatistics s = self.require_open().statistics()
        return {
            "syncs": s.syncs, "sync_ns": s.sync_ns, "sync_ns_max": s.sync_ns_max,
            "sync_ns_average": s.sync_ns_average, "groups": s.groups,
            "inline_groups": s.inline_groups, "entries": s.entries, "bytes": s.bytes,
            "marks": s.marks, "switches": s.switches, "error": s.error,
            "segments": self.native.segments().closed_count() + 1,
        }

    def arm_failpoint(self, str name not None, str action not None, int arg=0, int after=0):
        if not arm_failpoint(self.require_open().failpoints(), FAILPOINTS.index(name),
                             ACTIONS.index(action), arg, after):
            raise RuntimeError("failpoints exist in debug builds only (KVNODE_DEBUG=1)")

    def close(self):
        cdef NativeLogWriter* native = self.native
        if native == NULL:
            return
        with nogil:
            native.stop()
        self.report(&self.last_report)
        self.native = NULL
        self.event_fd = -1
        del native
