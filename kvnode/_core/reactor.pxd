"""The reactor: an epoll set of its own around the sessions of a node.

A host (a Trio task) waits until `wait_fd` is readable and calls poll(), which takes everything that
is ready, executes it in one or more passes of the sequencer, and sends what may leave.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libcpp.vector cimport vector
from kvnode._core.buffer cimport Buffer
from kvnode._core.node_clock cimport NodeClock
from kvnode._core.pace cimport Pace
from kvnode._core.sequencer cimport Sequencer
from kvnode._core.session cimport Session

cdef extern from "<sys/epoll.h>" nogil:
    enum: EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLRDHUP
    enum: EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, EPOLL_CLOEXEC
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int maxevents, int timeout)


cdef enum:
    EVENTS_MAX = 512                # of one epoll_wait
    SLOWED_EVENTS_MAX = 16          # while clients are slowed down: passes of a few ms of writes
    ROUNDS_MAX = 1024               # passes of one poll()
    LINGER_MS = 1                   # that poll() waits for more before it returns
    POLL_MICROS_MAX = 5000          # after which poll() returns to the host, unless it is told
    READ_BYTES = 1 << 16            # of one connection in one pass
    READ_BYTES_MIN = 1 << 14
    ACCEPTS_MAX = 64                # connections accepted in one pass
    STALLED_INPUT_BYTES = 1 << 20   # unparsed input of a waiting session after which it is not read
    SPARE_BYTES_MAX = 1 << 20       # larger buffers are not kept for reuse
    EARLY_SEND_BYTES = 1 << 16      # output that waits for nothing leaves before the pass ends
    EVICT_STEPS_MIN = 256           # buckets looked at in one pass
    EVICT_STEPS_MAX = 16384
    RECORD_BYTES = 256              # of a record, as a guess
    WRITE_PASSES = 32               # passes of single writes only before these wait for each other
    LONE_PASSES = 32                # passes with the same lone session before syncs run inline


cdef class Connection:
    cdef int fd
    cdef Session session
    cdef uint32_t interest          # epoll events asked for
    cdef bint closed


cdef class Reactor:
    cdef readonly Sequencer sequencer
    cdef int epoll                  # clients, listeners, log, wake
    cdef int quiet_epoll            # log and wake only: while clients are not read
    cdef readonly int wake_fd       # other threads make it readable
    cdef dict connections           # fd -> Connection: owns them
    cdef vector[void*] by_fd        # the same, borrowed, for the hot path
    cdef dict listeners             # fd -> listening socket's callback argument
    cdef list closed                # connections closed in this pass, kept until its end
    cdef public object on_accept    # on_accept(fd, listener) -> Session or None (refused, closed)
    cdef public object on_close     # on_close(session, reason)
    cdef public object on_wake      # on_wake(): completions of other threads, in a pass
    cdef public object after_pass   # after_pass(): one or several have ended
    cdef readonly Pace pace         # slows clients down before dirty_bytes_max stops them
    cdef readonly Pace catch_up     # while a node that gets an image would fall too far behind
    cdef public uint64_t needed_bytes   # of Sequencer.payload_bytes, from which on it needs the log;
                                        # UINT64_MAX: there is no such node
    cdef readonly bint paused       # clients are not read: node-wide limits
    cdef readonly bint slowed       # because of a Pace: time alone ends it
    cdef public uint64_t dirty_bytes_max        # of records not yet in LevelDB
    cdef public uint64_t unsynced_bytes_max     # of entries not yet synced
    cdef public uint64_t fenced_bytes_max       # of output that waits for a confirmation
    cdef public uint64_t cache_bytes            # the tip evicts clean records above it
    cdef public bint lingers        # poll() may wait a little for more: nobody else waits for the host
    cdef public uint64_t poll_micros_max        # after which poll() returns to the host
    cdef public bint wants_after    # call after_pass() at the end of this pass
    cdef bint is_after_due          # call it when there is nothing more to serve
    cdef public uint64_t output_bytes_max       # of one connection; 0 = no limit
    cdef public uint64_t input_bytes_max
    cdef Buffer spare_input, spare_output
    cdef NodeClock clock
    cdef void* lone                 # the only session of the last passes
    cdef uint32_t lone_passes
    cdef readonly uint32_t write_passes     # the last passes in which each session ran one write
    cdef public uint64_t reads, writes, rounds, polls, bytes_in, bytes_out
    cdef public uint64_t pass_micros_max        # the longest that everybody had to wait for a pass

    cdef bint is_due(self)
    cdef Connection connection_of(self, int fd)
    cdef int watch(self, int epoll, int fd) except -1
    cdef int one_pass(self, epoll_event* events, int n) except -1
    cdef int note_pass(self, uint64_t started) noexcept
    cdef int bound_memory(self) except -1
    cdef int finish_pass(self, bint may_inline) except -1
    cdef int end_passes(self) except -1
    cdef bint serve_ready(self) except? -1
    cdef int read(self, Connection connection) except -1
    cdef int read_again(self, Session session) except -1
    cdef bint may_half_close(self, Session session) except -1
    cdef int run(self, Session session) except -1
    cdef int send(self, Connection connection) except -1
    cdef int flush(self) except -1
    cdef int want(self, Connection connection, uint32_t interest) except -1
    cdef int drop(self, Connection connection, reason) except -1
    cdef int accept(self, int fd) except -1
    cdef int recycle_input(self, Session session) noexcept
    cdef int recycle_output(self, Session session) noexcept
