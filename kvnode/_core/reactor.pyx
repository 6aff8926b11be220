# cython: boundscheck=False, wraparound=False
"""Sockets of the clients: read, run, send. The only native module that talks to the network."""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memset
from libc.stdint cimport UINT64_MAX
from posix.types cimport off_t
from posix.unistd cimport close
from kvnode._core.buffer cimport Buffer, buffer_free
from kvnode._core.clock cimport monotonic_micros
from kvnode._core.front cimport Mirror
from kvnode._core.messages cimport is_past_limit
from kvnode._core.node_clock cimport NodeClock
from kvnode._core.pace cimport Pace
from kvnode._core.parser cimport Parser
from kvnode._core.tip cimport Tip
from kvnode._core.session cimport (
    S_CLOSED, S_CLOSING, S_PARKED, S_READY, S_STREAMING, S_WAITING, Session)
from kvnode._core.stream cimport Stream

from kvnode._core.messages import OUTPUT_LIMIT

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd_read(int fd, uint64_t* value)
    int eventfd_write(int fd, uint64_t value)

cdef extern from "<sys/socket.h>" nogil:
    enum: MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_NONBLOCK, SOCK_CLOEXEC
    ssize_t recv(int fd, void* buf, size_t n, int flags)
    ssize_t send(int fd, const void* buf, size_t n, int flags)
    int accept4(int fd, void* address, void* length, int flags)

cdef class Connection:
    """A client's socket and its session."""


cdef class Reactor:
    """Serves the sockets of one node.

    sequencer: executes. floor_ms: as of NodeClock.
    wake_fd: an eventfd that other threads write to; on_wake() is called in the pass after.
    """

    def __cinit__(self, Sequencer sequencer not None, uint64_t floor_ms, int wake_fd):
        self.sequencer = sequencer
        self.pace = Pace()
        self.catch_up = Pace()
        self.needed_bytes = UINT64_MAX
        self.connections = {}
        self.listeners = {}
        self.closed = []
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        self.quiet_epoll = epoll_create1(EPOLL_CLOEXEC)
        self.wake_fd = wake_fd
        if self.epoll < 0 or self.quiet_epoll < 0:
            raise OSError(errno, "epoll")
        self.watch(self.epoll, self.wake_fd)
        self.watch(self.quiet_epoll, self.wake_fd)
        if sequencer.log.event_fd >= 0:
            self.watch(self.epoll, sequencer.log.event_fd)
            self.watch(self.quiet_epoll, sequencer.log.event_fd)
        self.clock = NodeClock(floor_ms)
        self.dirty_bytes_max = self.unsynced_bytes_max = self.cache_bytes = UINT64_MAX
        self.fenced_bytes_max = UINT64_MAX
        self.lingers = True
        self.poll_micros_max = POLL_MICROS_MAX

    def __dealloc__(self):
        buffer_free(&self.spare_input)
        buffer_free(&self.spare_output)
        close(self.epoll)
        close(self.quiet_epoll)

    cdef int watch(self, int epoll, int fd) except -1:
        cdef epoll_event event
        event.events = EPOLLIN
        event.data.fd = fd
        if epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0:
            raise OSError(errno, "epoll_ctl")
        return 0

    # -- for the host ---------------------------------------------------------------------------

    @property
    def wait_fd(self):
        """Readable when poll() has something to do."""
        return self.quiet_epoll if self.paused else self.epoll

    def now(self):
        """The node's time in ms; see NodeClock."""
        return self.clock.now()

    def listen(self, int fd, listener):
        """Accept connections on a listening, non-blocking socket."""
        self.listeners[fd] = listener
        self.watch(self.epoll, fd)

    def unlisten(self, int fd):
        """Accept no more on `fd`."""
        if self.listeners.pop(fd, None) is not None:
            epoll_ctl(self.epoll, EPOLL_CTL_DEL, fd, NULL)

    def kill(self, Session session not None, reason):
        """Close a session's connection at once."""
        cdef Connection connection = self.connections.get(session.fd)
        if connection is not None and connection.session is session:
            self.drop(connection, reason)

    def poll(self):
        """Serve everything that is ready; return True when there is more to do at once."""
        has_more = self.serve_ready()
        self.end_passes()
        return has_more

    cdef bint serve_ready(self) except? -1:
        cdef epoll_event events[EVENTS_MAX]
        cdef int n
        cdef int round
        cdef int epoll
        cdef bint idle
        cdef uint64_t started = monotonic_micros()
        self.polls += 1
        for round in range(ROUNDS_MAX):
            if self.slowed:
                self.bound_memory()
            epoll = self.quiet_epoll if self.paused else self.epoll
            idle = not self.is_due() and (
                not self.sequencer.waiters.backlog if self.paused
                else not self.sequencer.wants_pass())
            if self.lingers and self.write_passes > WRITE_PASSES and not self.sequencer.relaxed \
                    and self.sequencer.synced < self.sequencer.last_index:
                # Their replies wait for the sync under way all the same: let writes gather, so that
                # the next sync serves more of them. Its report ends this.
                with nogil:
                    epoll_wait(self.quiet_epoll, events, EVENTS_MAX, LINGER_MS)
            n = epoll_wait(epoll, events, SLOWED_EVENTS_MAX if self.pace.slowing
                           or self.catch_up.slowing else EVENTS_MAX, 0)
            if n == 0 and idle and self.lingers:
                # Linger before going back to the host: its wake costs more than a short request.
                with nogil:
                    n = epoll_wait(epoll, events, EVENTS_MAX, LINGER_MS)
            if n < 0:
                if errno == EINTR:
                    continue
                raise OSError(errno, "epoll_wait")
            if n == 0 and idle and not (self.slowed and self.lingers):
                return False    # where others wait for the host, it looks again: see LINGER_MS
            if n or not idle:
                self.one_pass(events, n)
            if monotonic_micros() - started > self.poll_micros_max:
                break
        return True

    def run_pass(self, work=None):
        """Run one pass outside poll(): `work()` is called inside it; return its result."""
        cdef uint64_t started = monotonic_micros()
        self.sequencer.open_work(self.clock.now())
        result = work() if work is not None else None
        self.finish_pass(False)
        self.note_pass(started)
        self.end_passes()
        if self.sequencer.wants_pass():
            # They run in poll(), which nobody may have called.
            eventfd_write(self.wake_fd, 1)
        return result

    cdef bint is_due(self):
        """Whether the time is over of a session that waits on keys."""
        cdef uint64_t earliest = self.sequencer.waiters.earliest()
        return earliest != 0 and earliest <= self.clock.now()

    def seconds_to_deadline(self):
        """For how long the host may wait for `wait_fd`; None: until it is readable."""
        cdef uint64_t earliest = self.sequencer.waiters.earliest()
        cdef uint64_t now = self.clock.now()
        if self.slowed and (earliest == 0 or earliest > now + LINGER_MS):
            return LINGER_MS / 1000.0
        if earliest == 0:
            return None
        return (earliest - now) / 1000.0 if earliest > now else 0.0

    def adopt(self, Sequencer sequencer not None):
        """Go on with another sequencer, with what there is of connections and sessions.

        In a pass, or between two; in one, the rest of it is the new one's.
        """
        cdef Sequencer old = self.sequencer
        cdef Connection connection
        epoll_ctl(self.epoll, EPOLL_CTL_DEL, old.log.event_fd, NULL)
        epoll_ctl(self.quiet_epoll, EPOLL_CTL_DEL, old.log.event_fd, NULL)
        self.sequencer = sequencer
        if sequencer.log.event_fd >= 0:
            self.watch(self.epoll, sequencer.log.event_fd)
            self.watch(self.quiet_epoll, sequencer.log.event_fd)
        sequencer.take_over([connection.session for connection in self.connections.values()])
        if old.pass_open:
            old.close_pass(False)
            sequencer.open_work(self.clock.now())
        sequencer.flushable += old.take_flushable()
        eventfd_write(self.wake_fd, 1)

    def raise_floor(self, uint64_t ms):
        """From now on the node's time is never below `ms`."""
        self.clock.raise_to(ms)

    def flush_all(self):
        """Send what may leave, outside a pass: the node is about to end."""
        self.flush()

    # -- a pass ---------------------------------------------------------------------------------

    cdef inline Connection connection_of(self, int fd):
        if fd < 0 or <size_t>fd >= self.by_fd.size() or self.by_fd[fd] == NULL:
            return None
        return <Connection>self.by_fd[fd]

    cdef int one_pass(self, epoll_event* events, int n) except -1:
        cdef int i
        cdef int fd
        cdef uint64_t ignored
        cdef Connection connection
        cdef Session session
        cdef list ready
        cdef size_t ran
        cdef uint64_t started = monotonic_micros()
        self.rounds += 1
        self.sequencer.advance()
        self.sequencer.open_pass(self.clock.now())
        for i in range(n):
            fd = events[i].data.fd
            connection = self.connection_of(fd)
            if connection is not None:
                if events[i].events & EPOLLOUT:
                    self.send(connection)
                if events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP) \
                        and not connection.closed:
                    self.read(connection)
            elif fd == self.sequencer.log.event_fd:
                self.sequencer.log.clear_event()
            elif fd == self.wake_fd:
                eventfd_read(fd, &ignored)
                self.on_wake()
            elif fd in self.listeners:
                self.accept(fd)
        if self.sequencer.ready and not self.paused:
            ready = self.sequencer.ready
            self.sequencer.ready = []
            for session in ready:
                self.run(session)
                self.read_again(session)
        self.finish_pass(True)
        return self.note_pass(started)

    cdef int note_pass(self, uint64_t started) noexcept:
        cdef uint64_t took = monotonic_micros() - started
        if took > self.pass_micros_max:
            self.pass_micros_max = took
        return 0

    cdef int finish_pass(self, bint may_inline) except -1:
        cdef list ran = self.sequencer.ran
        cdef bint has_run = len(ran) > 0
        if len(ran) == 1 and <void*>ran[0] == self.lone:
            self.lone_passes += 1
        elif has_run:
            self.lone_passes = 0
            self.lone = <void*>ran[0]
        self.sequencer.close_pass(may_inline and (
            self.lone_passes > LONE_PASSES or self.write_passes > WRITE_PASSES))
        if has_run:
            self.write_passes = self.write_passes + 1 if self.sequencer.single_writes else 0
        self.sequencer.advance()
        self.flush()
        if self.closed:
            self.closed.clear()
        self.bound_memory()
        if self.sequencer.front is not None:
            self.is_after_due = True
        if self.wants_after or self.sequencer.parked or self.sequencer.jobs:
            self.is_after_due = True
            self.end_passes()
        return 0

    cdef int end_passes(self) except -1:
        """Tell the host of passes, of several at once if it can wait: that costs Python."""
        if self.is_after_due:
            self.wants_after = self.is_after_due = False
            self.after_pass()
        return 0

    cdef int bound_memory(self) except -1:
        """Stop or start reading clients at the node-wide limits, and keep the cache in bounds."""
        cdef Tip tip = self.sequencer.tip
        cdef uint64_t unsynced_max = self.unsynced_bytes_max // (2 if self.paused else 1)
        cdef uint64_t steps
        cdef uint64_t now = monotonic_micros()
        cdef bint was_full = self.paused and not self.slowed
        cdef bint full = self.sequencer.unsynced_bytes > unsynced_max \
            or tip.dirty_bytes > self.dirty_bytes_max \
            or self.sequencer.fences.bytes > self.fenced_bytes_max // (2 if self.paused else 1)
        cdef bint is_late = self.pace.update(now, tip.dirty_bytes, tip.flushed_bytes)
        is_late |= self.catch_up.is_behind(now, self.sequencer.payload_bytes, self.needed_bytes)
        self.slowed = is_late and not full
        self.paused = full or self.slowed
        if was_full and not self.paused:
            eventfd_write(self.wake_fd, 1)      # the host waits on `quiet_epoll`
        if tip.bytes > self.cache_bytes:
            steps = EVICT_STEPS_MIN + (tip.bytes - self.cache_bytes) // RECORD_BYTES
            tip.evict(self.cache_bytes, steps if steps < EVICT_STEPS_MAX else EVICT_STEPS_MAX)
        return 0

    cdef int read(self, Connection connection) except -1:
        """Take what a client sent, up to the budget, and run its session."""
        cdef Session session = connection.session
        cdef Parser parser = session.parser
        cdef size_t want = READ_BYTES
        cdef ssize_t n
        if parser.input.capacity == 0 and self.spare_input.capacity:
            parser.input = self.spare_input
            self.spare_input.data = NULL
            self.spare_input.capacity = 0
        if parser.input.capacity == 0:
            want = READ_BYTES_MIN
        n = recv(connection.fd, parser.room(want), want, MSG_DONTWAIT)
        self.reads += 1
        if n <= 0:
            if n < 0 and errno in (EAGAIN, EINTR):
                return 0
            if n == 0 and self.may_half_close(session):
                # half-closed: what it asked for is still sent, once it may leave
                session.close_reason = "client closed the connection"
                return self.want(connection, EPOLLOUT if session.sendable() else 0)
            return self.drop(connection, "client closed the connection" if n == 0 else "read error")
        parser.advance(n)
        session.bytes_in += n
        self.bytes_in += n
        if session.state == S_CLOSING:
            parser.start = parser.scan = parser.input.len   # nothing more of it is executed
            parser.compact()
            return 0
        if session.state != S_STREAMING:    # its steps follow from what it sends, see send()
            self.run(session)
        if connection.closed:
            return 0
        if (session.state != S_READY or not self.sequencer.may_run()) \
                and parser.pending() > STALLED_INPUT_BYTES:
            self.want(connection, connection.interest & ~<uint32_t>EPOLLIN)
        if parser.pending() > self.input_bytes_max and self.input_bytes_max:
            return self.drop(connection, "client-query-buffer-limit")
        return 0

    cdef int read_again(self, Session session) except -1:
        """A session ran that may have been read no more while it could not."""
        cdef Connection connection = self.connection_of(session.fd)
        if connection is not None and session.state == S_READY and self.sequencer.may_run() \
                and not connection.interest & EPOLLIN:
            self.want(connection, connection.interest | EPOLLIN)
        return 0

    cdef bint may_half_close(self, Session session) except -1:
        """A client sends no more: whether it has something to get, after which it is closed."""
        cdef Stream stream = session.stream
        if stream is not None:
            if stream.ends_session:
                return False            # it was told before: now it takes nothing either
            stream.ends_session = True
            return True
        if self.sequencer.front is not None and self.sequencer.front.ends_with_answers(session):
            return True
        if session.output_bytes == 0 or session.state == S_CLOSING:
            return False
        session.state = S_CLOSING
        return True

    cdef int run(self, Session session) except -1:
        cdef Connection connection
        if session.reply.out.capacity == 0 and self.spare_output.capacity:
            session.reply.out = self.spare_output
            self.spare_output.data = NULL
            self.spare_output.capacity = 0
        self.sequencer.run(session)
        self.recycle_input(session)
        if session.reply.out.len == 0 and session.reply.out.capacity:
            self.recycle_output(session)    # it waits: it may be for long
        if session.reply.out.len - session.out_head > EARLY_SEND_BYTES and session.marks.empty() \
                and session.observed <= self.sequencer.tip.watermark and self.sequencer.is_alone:
            session.settle_output()
            # Its buffer serves the next session while it is still in the processor's cache.
            connection = self.connection_of(session.fd)
            if connection is not None:
                self.send(connection)
        return 0

    cdef int recycle_input(self, Session session) noexcept:
        """Keep an empty input buffer for the next reader: an idle connection owns none."""
        cdef Buffer* b = &session.parser.input
        if session.parser.pending() == 0 and b.capacity:
            if self.spare_input.capacity == 0 and b.capacity <= SPARE_BYTES_MAX:
                self.spare_input.data = b.data
                self.spare_input.capacity = b.capacity
                b.data = NULL
                b.len = b.capacity = 0
            else:
                buffer_free(b)
            session.parser.start = 0
            session.parser.scan = 0
        return 0

    cdef int recycle_output(self, Session session) noexcept:
        cdef Buffer* b = &session.reply.out
        if self.spare_output.capacity == 0 and b.capacity <= SPARE_BYTES_MAX:
            self.spare_output.data = b.data
            self.spare_output.capacity = b.capacity
            b.data = NULL
            b.len = b.capacity = 0
        else:
            buffer_free(b)
        return 0

    cdef int flush(self) except -1:
        """Send what the sequencer released."""
        cdef Session session
        cdef Connection connection
        cdef list sessions = self.sequencer.flushable
        if not sessions:
            return 0
        self.sequencer.flushable = []
        for session in sessions:
            connection = self.connection_of(session.fd)
            if connection is not None:
                self.send(connection)
            elif isinstance(session, Mirror):
                (<Mirror>session).outlet.collect(session)
                self.is_after_due = True
        return 0

    cdef int send(self, Connection connection) except -1:
        cdef Session session = connection.session
        cdef size_t n = session.sendable()
        cdef ssize_t done
        if n:
            done = send(connection.fd, session.reply.out.data + session.out_head, n,
                        MSG_DONTWAIT | MSG_NOSIGNAL)
            self.writes += 1
            if done < 0:
                if errno not in (EAGAIN, EINTR):
                    return self.drop(connection, "write error")
                done = 0
            session.sent(done)
            self.bytes_out += done
            if session.state == S_STREAMING:
                self.sequencer.streams.refill(session, self.sequencer.ready)
            elif session.state == S_WAITING:
                self.wants_after = True     # its job may have more to say by now
            if <size_t>done < n:
                self.want(connection, connection.interest | EPOLLOUT)
                if is_past_limit(self.sequencer, session, self.output_bytes_max):
                    return self.drop(connection, OUTPUT_LIMIT)
                return 0
        if connection.interest & EPOLLOUT:
            self.want(connection, connection.interest & ~<uint32_t>EPOLLOUT)
        if session.reply.out.len == 0 and session.reply.out.capacity:
            self.recycle_output(session)
        if session.state == S_CLOSING and session.reply.out.len == session.out_head:
            return self.drop(connection, session.close_reason)
        if session.state == S_READY and not connection.interest & EPOLLIN:
            self.want(connection, connection.interest | EPOLLIN)
        return 0

    cdef int want(self, Connection connection, uint32_t interest) except -1:
        cdef epoll_event event
        if interest == connection.interest:
            return 0
        connection.interest = interest
        event.events = interest
        event.data.fd = connection.fd
        if epoll_ctl(self.epoll, EPOLL_CTL_MOD, connection.fd, &event) < 0:
            raise OSError(errno, "epoll_ctl")
        return 0

    cdef int drop(self, Connection connection, reason) except -1:
        """Close a connection; its session is over."""
        cdef Session session = connection.session
        if connection.closed:
            return 0
        connection.closed = True
        self.closed.append(connection)
        del self.connections[connection.fd]
        self.by_fd[connection.fd] = NULL
        epoll_ctl(self.epoll, EPOLL_CTL_DEL, connection.fd, NULL)
        close(connection.fd)
        session.state = S_CLOSED
        session.fd = -1
        if <void*>session == self.lone:
            self.lone = NULL
        if self.on_close is not None:
            self.on_close(session, reason)
        return 0

    cdef int accept(self, int listening) except -1:
        cdef Connection connection
        cdef Session session
        cdef epoll_event event
        cdef int fd
        cdef int i
        for i in range(ACCEPTS_MAX):
            fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd < 0:
                return 0
            session = self.on_accept(fd, self.listeners[listening])
            if session is None:
                close(fd)
                continue
            session.fd = fd
            connection = Connection()
            connection.fd = fd
            connection.session = session
            connection.interest = EPOLLIN | EPOLLRDHUP
            event.events = connection.interest
            event.data.fd = fd
            if epoll_ctl(self.epoll, EPOLL_CTL_ADD, fd, &event) < 0:
                close(fd)
                continue
            self.connections[fd] = connection
            if self.by_fd.size() <= <size_t>fd:
                self.by_fd.resize(2 * fd + 1, NULL)
            self.by_fd[fd] = <void*>connection
        return 0
