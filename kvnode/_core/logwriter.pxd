"""The log as the sequencer sees it (LogSink), and the thread that writes it (LogWriter).

Order of life of an entry: submitted (queued in memory), written (in the page cache), synced (on
the disk). Positions are always (term, index): a report about a record that a newer term has
replaced names the old term and is ignored by whoever reads it.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t

cdef extern from "log_writer.hpp" namespace "kvnode" nogil:
    cppclass NativeLogWriter "kvnode::LogWriter"


cdef struct LogReport:
    # The newest entry known to be written, and the newest known to be synced. In mode `always`
    # both move together. `error` is an errno, 0 while all is well; once set it stays.
    uint64_t written_term
    uint64_t written_index
    uint64_t synced_term
    uint64_t synced_index
    int error


cdef class LogSink:
    """Where entries go. One producer: all methods are called on the sequencer's thread.

    The base class refuses entries; LogWriter and PythonSink implement it.
    """

    cdef readonly int event_fd      # readable when a report changed; -1 = none (simulation)

    # Queue one entry; copies `payload`, never blocks. Entries come in log order: index is one more
    # than before, or (a follower replacing a tail) less, with another term.
    cdef int submit(self, uint64_t term, uint64_t index, uint64_t commit_ts,
                    const char* payload, size_t n) except -1

    # Write and sync the entry on this thread if that is cheap: returns 1 when it is done (the
    # report says so already, event_fd is not bumped), 0 when declined: then nothing happened and
    # the caller submits. Also 1 when it failed: report().error says so.
    cdef int try_submit_inline(self, uint64_t term, uint64_t index, uint64_t commit_ts,
                               const char* payload, size_t n) except -1

    cdef void report(self, LogReport* out) noexcept nogil
    cdef void clear_event(self) noexcept nogil          # after event_fd was readable
    cdef size_t queued_bytes(self) noexcept nogil       # submitted, not yet written
    cdef int request_sync(self) except -1               # sync what is submitted so far, any mode


cdef class PythonSink(LogSink):
    """A sink whose subclass is written in Python (simulation, tests): see logwriter.pyi."""

    cdef LogReport state
    cdef public size_t queued


@cython.final
cdef class LogWriter(LogSink):
    """The log on the disk, written by a thread of its own: log_writer.hpp, and logwriter.pyi."""

    cdef NativeLogWriter* native    # NULL once closed
    cdef LogReport last_report      # what report() says once closed

    cdef NativeLogWriter* require_open(self) except NULL
