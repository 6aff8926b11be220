# cython: boundscheck=False, wraparound=False
"""Forwarding at the leader: see downlink.pxd."""

from libc.limits cimport INT_MAX
from libc.stdint cimport INT64_MAX
from libc.string cimport memcpy
from kvnode._core.buffer cimport buffer_free
from kvnode._core.bytes cimport put_be32, put_be64
from kvnode._core.link_port cimport (
    ANSWER, END, INPUT, INPUT_WINDOW_BYTES, LAST, OPEN, OUTPUT, OUTPUT_BLOCKED, OUTPUT_CLOSE,
    OUTPUT_IN_MULTI, OUTPUT_PARTIAL, OUTPUT_SUBSCRIBED, OUTPUT_WINDOW_BYTES, PIECE_BYTES, RETURNED,
    RETURNED_IN_MULTI, RETURNED_WATCHING, STATE,
    STATE_ABORTED, STATE_DIRTY, STATE_NO_TOUCH, TAKEN, fail, read_bytes, read_text, read_u32,
    read_u64, read_u8)
from kvnode._core.reply cimport reply_error
from kvnode._core.session cimport (
    S_CLOSED, S_CLOSING, S_PARKED, S_READY, S_STREAMING, S_WAITING, Session)
from kvnode._core.tip cimport DATABASES_MAX

from kvnode._core.messages import OUTPUT_LIMIT

cdef enum:
    CONSUMED_BYTES = INPUT_WINDOW_BYTES // 4    # so much more executed is worth an item


cdef class Downlink(Outlet):
    """What comes over one uplink of another node.

    term, number: of the uplink. send: see Port. new_id() -> int: an id for a session of this node.
    on_gone(mirror): a mirror was closed; its node has to forget it.
    """

    def __cinit__(self, Sequencer sequencer not None, uint64_t term, uint64_t number, send, new_id,
                  on_gone):
        self.port = Port(ANSWER, term, number, send)
        self.sequencer = sequencer
        self.mirrors = {}
        self.crowded = []
        self.new_id = new_id
        self.on_gone = on_gone

    @property
    def sessions(self):
        """The open mirrors."""
        return list(self.mirrors.values())

    def flush(self):
        """Give to the link what there is, at the end of a pass."""
        self.port.flush()

    # -- in -------------------------------------------------------------------------------------

    def receive(self, bytes frame not None, int64_t now_ms):
        """Take a frame: what it feeds runs in the next pass. Raises RemoteProtocolError.

        now_ms: the node's time.
        """
        cdef Reader reader
        cdef int item
        cdef uint64_t remote
        cdef uint64_t n
        cdef Mirror mirror
        self.port.open_frame(frame, &reader)
        self.frames += 1
        while reader.at < reader.end:
            item = read_u8(&reader)
            remote = read_u64(&reader)
            mirror = self.mirrors.get(remote)
            if item == INPUT:
                self.take_input(mirror, remote, &reader)
            elif item == OPEN or item == STATE:
                self.take_state(mirror, remote, item == OPEN, now_ms, &reader)
            elif item == TAKEN:
                n = read_u64(&reader)
                if mirror is not None:
                    if n > mirror.given - mirror.taken:
                        fail("more was taken than given")
                    mirror.taken += n
                    self.collect_mirror(mirror, False)
            elif item == LAST:
                if mirror is not None:
                    mirror.ends = True
                    self.collect_mirror(mirror, False)
            elif item == END:
                if mirror is not None:
                    self.drop(mirror)
            else:
                fail("an unknown item")
        if self.crowded and not self.port.is_full():
            crowded, self.crowded = self.crowded, []
            for mirror in crowded:
                mirror.is_waiting_for_room = False
                self.collect_mirror(mirror, False)

    cdef int take_state(self, Mirror mirror, uint64_t remote, bint is_new, int64_t now_ms,
                        Reader* r) except -1:
        cdef uint64_t client = read_u64(r)
        cdef int db = read_u8(r)
        cdef int proto = read_u8(r)
        cdef int reply_mode = read_u8(r)
        cdef int flags = read_u8(r)
        cdef bytes user = read_text(r)
        cdef bytes name = read_text(r)
        cdef bytes addr = read_text(r)
        if db >= DATABASES_MAX or proto not in (2, 3) or reply_mode > 3:
            fail("a session in no possible state")
        if self.is_over or (mirror is None and not is_new):     # closed here meanwhile
            return 0
        if is_new:
            if mirror is not None:
                fail("a session is opened twice")
            if len(self.mirrors) >= MIRRORS_MAX:
                fail("too many sessions")
            mirror = Mirror(self.new_id(), now_ms)
            mirror.outlet = self
            mirror.remote = remote
            mirror.authenticated = mirror.parser.authenticated = True
            mirror.parser.proto_max_bulk_bytes = INT64_MAX      # its own node has looked
            self.mirrors[remote] = mirror
        mirror.client = client
        mirror.db = db
        mirror.reply.proto = proto
        mirror.reply_mode = reply_mode
        mirror.no_touch = flags & STATE_NO_TOUCH != 0
        if flags & STATE_DIRTY:
            mirror.cas_dirty = True
        if flags & STATE_ABORTED and mirror.in_multi:
            mirror.exec_aborted = True
        mirror.user, mirror.name, mirror.addr = user, name, addr.decode("utf-8", "replace")
        return 0

    cdef int take_input(self, Mirror mirror, uint64_t remote, Reader* r) except -1:
        cdef uint32_t n = read_u32(r)
        cdef const char* data = read_bytes(r, n)
        if mirror is None or self.is_over:
            return self.put_returned(remote, 0, data, n)
        if n == 0:
            return 0
        if mirror.parser.pending() + n > MIRROR_INPUT_BYTES_MAX:
            fail("too much input of one session")
        memcpy(mirror.parser.room(n), data, n)
        mirror.parser.advance(n)
        mirror.bytes_in += n
        mirror.fed += n
        if mirror.frame != self.frames and mirror.state == S_READY:
            mirror.frame = self.frames
            self.sequencer.ready.append(mirror)
        return 0

    # -- out ------------------------------------------------------------------------------------

    cdef int collect(self, Session session) except -1:
        """A mirror ran, or some of its output was released."""
        return self.collect_mirror(<Mirror>session, False)

    cdef int collect_mirror(self, Mirror mirror, bint is_last) except -1:
        """Put what may leave of a mirror into the frame, as much as its client may get.

        is_last: whatever room the link has.
        """
        cdef size_t sendable = mirror.sendable()
        cdef size_t n = OUTPUT_WINDOW_BYTES - (mirror.given - mirror.taken)
        cdef uint64_t executed = mirror.fed - mirror.parser.pending()
        cdef bint is_running = mirror.state == S_WAITING and mirror.waiter == NULL
        cdef bint is_partial
        cdef bint ends
        cdef uint64_t most = self.output_bytes_max if mirror.subscriber == NULL \
            else self.sequencer.message_bytes_max
        if mirror.state == S_CLOSED:
            return 0
        if self.port.is_full() and not is_last:
            if not mirror.is_waiting_for_room:
                mirror.is_waiting_for_room = True
                self.crowded.append(mirror)
            return 0
        if n > sendable:
            n = sendable
        is_partial = n < sendable or mirror.stream is not None or (
            is_running and n > 0 and mirror.commands == mirror.commands_before)
        mirror.commands_before = mirror.commands
        ends = n == mirror.unsent() and (
            mirror.state == S_CLOSING or (mirror.ends and mirror.waiter != NULL))
        if (most and mirror.unsent() - n + mirror.behind.len > most) \
                or (mirror.state == S_CLOSING and mirror.close_reason == OUTPUT_LIMIT):
            ends = is_partial = True    # a slow client, as any other
        if n == mirror.unsent() and mirror.marks.empty() and mirror.stream is None \
                and mirror.waiter == NULL and mirror.state in (S_READY, S_PARKED):
            if executed != mirror.answered or n:
                self.put_output(mirror, 0, n, executed)
        elif n or ends or (mirror.waiter != NULL and not mirror.told_blocked) \
                or executed - mirror.consumed >= CONSUMED_BYTES:
            self.put_output(mirror, (OUTPUT_PARTIAL if is_partial else 0)
                            | (OUTPUT_CLOSE if ends else 0), n, mirror.answered)
        if ends:
            return self.drop(mirror)
        if mirror.state == S_STREAMING:
            self.sequencer.streams.refill(mirror, self.sequencer.ready)
        if mirror.reply.out.len == 0:
            buffer_free(&mirror.reply.out)
        return 0

    cdef int put_output(self, Mirror mirror, int flags, size_t n, uint64_t answered) except -1:
        """Put `n` bytes of output into the frame; flags and counts come true with the last item."""
        cdef size_t part
        cdef char* p
        cdef int state = (OUTPUT_SUBSCRIBED if mirror.subscriber != NULL else 0) \
            | (OUTPUT_IN_MULTI if mirror.in_multi else 0) \
            | (OUTPUT_BLOCKED if mirror.waiter != NULL else 0)
        cdef size_t head = 31 + (12 if mirror.subscriber != NULL else 0)
        mirror.given += n
        mirror.told_blocked = mirror.waiter != NULL
        while True:
            part = n if n < PIECE_BYTES else PIECE_BYTES
            n -= part
            if n == 0:
                mirror.consumed = mirror.fed - mirror.parser.pending()
                mirror.answered = answered
            p = self.port.room(head + part)
            p[0] = OUTPUT
            put_be64(p + 1, mirror.remote)
            p[9] = <char>((flags if n == 0 else OUTPUT_PARTIAL) | state)
            p[10] = <char>mirror.db
            put_be64(p + 11, mirror.consumed)
            put_be64(p + 19, mirror.answered)
            if mirror.subscriber != NULL:
                put_be32(p + 27, <uint32_t>mirror.channels)
                put_be32(p + 31, <uint32_t>mirror.patterns)
                put_be32(p + 35, <uint32_t>mirror.shard_channels)
            put_be32(p + head - 4, <uint32_t>part)
            if part:
                memcpy(p + head, mirror.reply.out.data + mirror.out_head, part)
            mirror.sent(part)
            if n == 0:
                return 0

    cdef int put_returned(self, uint64_t remote, int flags, const char* data, size_t n) except -1:
        cdef size_t part
        cdef char* p
        while True:
            part = n if n < PIECE_BYTES else PIECE_BYTES
            p = self.port.room(14 + part)
            p[0] = RETURNED
            put_be64(p + 1, remote)
            p[9] = <char>flags
            put_be32(p + 10, <uint32_t>part)
            if part:
                memcpy(p + 14, data, part)
            data += part
            n -= part
            if n == 0:
                return 0

    # -- ends -----------------------------------------------------------------------------------

    cdef int drop(self, Mirror mirror) except -1:
        """A mirror is over: its waiter, its watches and what it has on the way go with it."""
        del self.mirrors[mirror.remote]
        mirror.state = S_CLOSED
        self.on_gone(mirror)
        return 0

    def step_down(self, bytes uncertain not None):
        """This leadership is over, and its sequencer has stepped down: give back what did not run.

        uncertain: the error for commands that began, and of which nobody has said how they end.
        """
        cdef Mirror mirror
        for mirror in list(self.mirrors.values()):
            self.collect_mirror(mirror, True)
            if mirror.state == S_CLOSED:
                continue
            if mirror.unsent() or mirror.stream is not None:    # its client takes too little
                self.put_output(mirror, OUTPUT_CLOSE | OUTPUT_PARTIAL, 0, mirror.answered)
            elif mirror.state in (S_READY, S_PARKED):
                self.give_back(mirror)
            else:
                reply_error(mirror.reply, uncertain, len(uncertain))
                self.put_output(mirror, OUTPUT_CLOSE, mirror.unsent(), mirror.answered)
            self.drop(mirror)
        self.is_over = True

    cdef int give_back(self, Mirror mirror) except -1:
        cdef int flags = 0
        if mirror.in_multi:
            flags |= RETURNED_IN_MULTI
        if mirror.watched is not None or mirror.cas_dirty:
            flags |= RETURNED_WATCHING
        return self.put_returned(mirror.remote, flags,
                                 mirror.parser.input.data + mirror.parser.start,
                                 mirror.parser.pending())

    def close(self):
        """The link is closed: nobody waits for what its mirrors do."""
        cdef Mirror mirror
        for mirror in list(self.mirrors.values()):
            self.drop(mirror)
        self.is_over = True

    def refuse(self):
        """What comes is for another leadership."""
        self.is_over = True
