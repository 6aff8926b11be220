# cython: boundscheck=False, wraparound=False
"""Sans-IO session of one client: what arrives is fed in, what may leave is taken out."""

from libc.string cimport memcpy
from kvnode._core.buffer cimport buffer_append, buffer_consume, buffer_free
from kvnode._core.bytes cimport Slice
from kvnode._core.parser cimport Args, Parser
from kvnode._core.reply cimport Reply


cdef class Session:
    """One client.

    id: unique and growing. now_ms: time of the connection.
    A reactor fills `parser` and empties `reply`; tests use feed() and take().
    """

    def __cinit__(self, uint64_t id, int64_t now_ms):
        self.parser = Parser()
        self.reply = Reply()
        self.id = id
        self.created_ms = now_ms
        self.active_ms = now_ms
        self.fd = -1
        self.name = b""
        self.user = b"default"
        self.addr = ""
        self.laddr = ""
        self.lib_name = b""
        self.lib_ver = b""
        self.last_command = b"NULL"

    def __dealloc__(self):
        buffer_free(&self.queued)
        buffer_free(&self.behind)

    # -- MULTI ----------------------------------------------------------------------------------

    cdef int queue(self, Args* args, bint may_write) except -1:
        """Keep a command of a MULTI: count u32, then length u64 and bytes of each argument."""
        cdef uint32_t count = <uint32_t>args.n
        cdef uint64_t length
        cdef int i
        buffer_append(&self.queued, <char*>&count, 4)
        for i in range(args.n):
            length = args.v[i].len
            buffer_append(&self.queued, <char*>&length, 8)
            buffer_append(&self.queued, args.v[i].data, length)
        self.queued_count += 1
        self.queued_writes |= may_write
        return 0

    cdef void reset_multi(self) noexcept:
        """Leave MULTI and forget what was queued."""
        self.in_multi = False
        self.exec_aborted = False
        self.queued_count = 0
        self.queued_writes = False
        buffer_free(&self.queued)

    def leave_multi(self):
        """DISCARD's effect, for Python handlers (RESET)."""
        self.reset_multi()

    # -- output ---------------------------------------------------------------------------------

    cdef size_t sendable(self) noexcept:
        """Bytes that may leave now, from reply.out.data + out_head on.

        What is written in a pass waits for its end, which says what it waits for further.
        """
        if self.marks.empty() and not self.in_pass:
            return self.reply.out.len - self.out_head
        if self.released <= self.out_base + self.out_head:
            return 0
        return self.released - self.out_base - self.out_head

    cdef void sent(self, size_t n) noexcept:
        """The next `n` bytes have left."""
        self.out_head += n
        self.bytes_out += n
        if self.out_head == self.reply.out.len:
            self.out_base += self.out_head
            self.out_head = 0
            self.reply.out.len = 0
        elif self.out_head > OUTPUT_COMPACT_BYTES and self.out_head > self.reply.out.len // 2:
            buffer_consume(&self.reply.out, self.out_head)
            self.out_base += self.out_head
            self.out_head = 0

    cdef size_t unsent(self) noexcept:
        return self.reply.out.len - self.out_head

    cdef void open_output(self) noexcept:
        """What is written from here on may be held; what is there already waits for nothing new.

        A hold therefore begins with a whole reply, and drop_held() cuts none in two.
        """
        if self.marks.empty():
            self.released = self.out_base + self.reply.out.len

    cdef void settle_output(self) noexcept:
        """What was just written waits for no more than what stands before it.

        It was the only output of this pass so far: the next part of a reply.
        """
        if self.marks.empty():
            self.released = self.out_base + self.reply.out.len
        else:
            self.marks.back().end = self.out_base + self.reply.out.len

    cdef size_t new_output(self) noexcept:
        """Bytes written since open_output() or the last hold."""
        return self.out_base + self.reply.out.len - (
            self.released if self.marks.empty() else self.marks.back().end)

    cdef int hold(self, uint64_t term, uint64_t index, uint64_t fence) except -1:
        """The output since open_output() waits; 1: the hold is new.

        For the commit of the entry (term, index), if index is not 0; and until leadership is
        confirmed for the pass `fence`, if that is not 0.
        """
        cdef Mark mark
        cdef uint64_t end = self.out_base + self.reply.out.len
        if not self.marks.empty() and self.marks.back().index == index \
                and self.marks.back().fence == fence:
            self.marks.back().end = end
            if self.wrote:
                self.marks.back().wrote = True
            return 0
        if self.marks.empty() and self.released < self.out_base + self.out_head:
            self.released = self.out_base + self.out_head
        mark.end = end
        mark.term = term
        mark.index = index
        mark.fence = fence
        mark.wrote = self.wrote
        self.marks.push_back(mark)
        return 1

    cdef bint release(self, uint64_t index, uint64_t confirmed) noexcept:
        """Entries up to `index` are committed, leadership is confirmed up to the pass `confirmed`.

        True when more output may leave.
        """
        cdef bint any = False
        while not self.marks.empty() and self.marks.front().index <= index \
                and self.marks.front().fence <= confirmed:
            self.released = self.marks.front().end
            self.marks.pop_front()
            any = True
        return any

    cdef bint holds_write(self) noexcept:
        """Whether what waits is of commands that wrote, perhaps."""
        cdef size_t i
        for i in range(self.marks.size()):
            if self.marks[i].wrote:
                return True
        return False

    cdef size_t drop_held(self) noexcept:
        """Take back the output that still waits; return how many bytes it was."""
        cdef size_t keep = self.sendable()
        cdef size_t held
        if self.marks.empty():
            return 0
        held = self.reply.out.len - self.out_head - keep
        self.reply.out.len = self.out_head + keep
        self.marks.clear()
        return held

    @property
    def held(self):
        """Whether output waits for a commit, or for leadership to be confirmed."""
        return not self.marks.empty()

    @property
    def is_blocked(self):
        """Whether it waits on keys, here or at the leader."""
        return self.waiter != NULL or self.is_blocked_there

    @property
    def is_in_transaction(self):
        """Whether a MULTI has begun, here or at the leader."""
        return self.in_multi or self.in_multi_there

    @property
    def input_bytes(self):
        """Unparsed input."""
        return self.parser.pending()

    @property
    def output_bytes(self):
        """Output not yet sent, what follows it, and what is kept for the reply that leaves in steps."""
        return self.unsent() + self.behind.len + (self.stream.kept_bytes if self.stream is not None else 0)

    @property
    def multi_bytes(self):
        """Memory of the commands queued in MULTI."""
        return self.queued.capacity

    @property
    def proto(self):
        """2 or 3."""
        return self.reply.proto

    @proto.setter
    def proto(self, int value):
        self.reply.proto = value

    # -- without a socket -----------------------------------------------------------------------

    def feed(self, bytes data not None):
        """Take bytes from the client."""
        if not data:
            return
        memcpy(self.parser.room(len(data)), <const char*>data, len(data))
        self.parser.advance(len(data))
        self.bytes_in += len(data)

    def take(self):
        """Return the bytes that may leave now and forget them."""
        cdef size_t n = self.sendable()
        cdef bytes data = self.reply.out.data[self.out_head:self.out_head + n] if n else b""
        self.sent(n)
        return data
