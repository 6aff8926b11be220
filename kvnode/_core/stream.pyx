# cython: boundscheck=False, wraparound=False
"""Replies with large strings: their parts, the steps, and what overwrites keep for them."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy, memset
from kvnode._core.buffer cimport Buffer, buffer_append, buffer_reserve
from kvnode._core.bytes cimport ASSERT, get_be64
from kvnode._core.dispatch cimport AGAIN, DONE, PARK
from kvnode._core.reply cimport reply_prefix
from kvnode._core.session cimport S_CLOSING, S_READY, S_STREAMING, Session
from kvnode._core.strvalue cimport CHUNK_BYTES
from kvnode._core.view cimport FOUND, MISS


cdef class Part:
    """A span of a string that a reply has still to get."""


cdef class Stream:
    """A reply that leaves in steps."""

    def __cinit__(self):
        self.parts = []


# -- for the command that replies ---------------------------------------------------------------

cdef bint is_streamed(View view, uint64_t n, Reply reply) except -1:
    """Whether `n` bytes of a string in chunks become a part instead of being copied at once."""
    cdef Session session = view.session
    if session is None or session.reply is not reply:
        return False
    return session.stream is not None \
        or reply.out.len - session.out_head + n > STREAM_BYTES_MIN


cdef int open_part(View view, const Version* v, uint64_t start, uint64_t n, Reply reply) except -1:
    """Answer bytes [start, start + n) of a string in chunks, as they are now; returns DONE."""
    cdef Session session = view.session
    cdef Part part = Part()
    if session.stream is None:
        session.stream = Stream()
    part.stream = session.stream
    part.value_id = get_be64(v.data)
    part.at = start
    part.end = start + n
    part.kept = {}
    reply_prefix(reply, 36, <int64_t>n)
    part.place = reply.out.len
    buffer_append(&reply.out, b"\r\n", 2)
    part.stream.parts.append(part)
    view.readers.setdefault(part.value_id, []).append(part)
    return DONE


# -- steps --------------------------------------------------------------------------------------

cdef class Streams:
    """The replies of a node that leave in steps, and their share of each pass."""

    def __cinit__(self):
        self.sessions = {}

    cdef int open_pass(self) except -1:
        self.left = STREAM_PASS_BYTES
        self.deferred = 0
        return 0

    cdef int begin(self, Session session, list ready) except -1:
        """The command is done: what it wrote behind its first part waits for the parts before."""
        cdef Reply reply = session.reply
        cdef Stream stream = session.stream
        cdef Part part = stream.parts[0]
        cdef size_t first = part.place
        stream.text = PyBytes_FromStringAndSize(reply.out.data + first, reply.out.len - first)
        reply.out.len = first
        for part in stream.parts:
            part.place -= first
        stream.ends_session = session.state == S_CLOSING
        session.state = S_STREAMING
        self.sessions[session] = None
        return self.refill(session, ready)

    cdef bint may_step(self, Session session, list ready) except -1:
        """Whether a session out of `ready` may take a step in this pass; else see refill()."""
        cdef Stream stream = session.stream
        stream.is_queued = False
        if session.unsent() >= STREAM_STEP_BYTES:
            return False
        if self.left <= 0:
            stream.is_queued = True
            ready.insert(self.deferred, session)    # before those that had their step
            self.deferred += 1
            return False
        return True

    cdef int step(self, View view, Session session, list ready) except -1:
        """Add a step of its reply to a session's output: DONE, AGAIN or PARK."""
        cdef Stream stream = session.stream
        cdef size_t before = session.reply.out.len
        cdef int outcome = DONE if stream.is_lost else add_step(view, stream, &session.reply.out)
        self.left -= session.reply.out.len - before
        if outcome == AGAIN:
            self.refill(session, ready)
        elif outcome == DONE:
            session.state = S_CLOSING if stream.is_lost or stream.ends_session else S_READY
            if stream.is_lost:
                session.close_reason = "client-output-buffer-limit"
            self.end(view, session)
        return outcome

    cdef int refill(self, Session session, list ready) except -1:
        """Let a session take its next step once little of its output is left to send."""
        cdef Stream stream = session.stream
        if session.state == S_STREAMING and not stream.is_queued \
                and session.unsent() < STREAM_STEP_BYTES:
            stream.is_queued = True
            ready.append(session)
        return 0

    cdef int refill_all(self, list ready) except -1:
        """The same for all sessions, where nobody watches what they send (tests, simulation)."""
        cdef Session session
        for session in self.sessions:
            self.refill(session, ready)
        return 0

    cdef int end(self, View view, Session session) except -1:
        """A reply is whole, or given up."""
        close(view, session.stream)
        session.stream = None
        self.sessions.pop(session, None)
        return 0

    cdef list fail(self, View view):
        """Give up all replies: their clients are in the middle of a string. Returns the sessions."""
        cdef list sessions = list(self.sessions)
        cdef Session session
        for session in sessions:
            self.end(view, session)
            session.state = S_CLOSING
        return sessions


cdef int add_step(View view, Stream stream, Buffer* out) except -1:
    """Append up to STREAM_STEP_BYTES of the reply to `out`.

    Returns DONE when that was the end, AGAIN, or PARK when chunks must be fetched first.
    """
    cdef Part part
    cdef size_t left = STREAM_STEP_BYTES
    cdef size_t take
    while True:
        part = stream.parts[stream.next_part] if stream.next_part < len(stream.parts) else None
        take = (part.place if part is not None else len(stream.text)) - stream.text_at
        take = min(take, left)
        buffer_append(out, PyBytes_AS_STRING(stream.text) + stream.text_at, take)
        stream.text_at += take
        left -= take
        if left == 0:
            return AGAIN
        if part is None:
            return DONE
        take = min(left, part.end - part.at)
        if lacks_chunks(view, part, part.at + take):
            return PARK
        buffer_reserve(out, take)
        copy_span(view, part, out.data + out.len, take)
        out.len += take
        left -= take
        if part.at == part.end:
            close_part(view, part)
            stream.next_part += 1


cdef bint lacks_chunks(View view, Part part, uint64_t end) except -1:
    """Note the chunks under a part, up to byte `end`, that must be fetched; whether there are any."""
    cdef Version* chunk
    cdef uint64_t number = part.at // CHUNK_BYTES
    cdef bint missing = False
    while number * CHUNK_BYTES < end:
        if (not part.kept or number not in part.kept) \
                and view.chunk(part.value_id, <uint32_t>number, &chunk) == MISS:
            missing = True
        number += 1
    return missing


cdef int copy_span(View view, Part part, char* out, uint64_t n) except -1:
    """Copy the next `n` bytes of a part to `out`. Requires: no chunk of them is missing."""
    cdef Version* chunk
    cdef bytes kept
    cdef const char* data
    cdef uint64_t number
    cdef uint64_t offset
    cdef uint64_t length
    cdef uint64_t have
    cdef uint64_t take
    while n:
        number = part.at // CHUNK_BYTES
        offset = part.at % CHUNK_BYTES
        take = min(CHUNK_BYTES - offset, n)
        kept = part.kept.get(number) if part.kept else None
        data = NULL
        length = 0
        if kept is not None:
            data = PyBytes_AS_STRING(kept)
            length = PyBytes_GET_SIZE(kept)
        elif view.chunk(part.value_id, <uint32_t>number, &chunk) == FOUND:
            data = chunk.data
            length = chunk.length
        have = min(length - offset, take) if length > offset else 0
        if have:
            memcpy(out, data + offset, have)
        memset(out + have, 0, take - have)
        part.at += take
        out += take
        n -= take
        if kept is not None and part.at % CHUNK_BYTES == 0:
            del part.kept[number]
            part.stream.kept_bytes -= PyBytes_GET_SIZE(kept) + KEPT_OVERHEAD_BYTES
    return 0


# -- what others do meanwhile -------------------------------------------------------------------

cdef int keep_chunks(View view, uint64_t value_id, uint64_t first, uint64_t end) except -1:
    """Chunks [first, end) of a value are about to change: its readers get what they hold now.

    Requires: those of them that the value has are in memory. A stream for which more than
    view.kept_bytes_max would be kept is lost, as output that a client does not take.
    """
    cdef Version* chunk
    cdef Part part
    cdef bytes data
    cdef int found
    cdef uint64_t number = first
    cdef list readers = view.readers.get(value_id)
    if readers is None:
        return 0
    while number < end:
        data = None
        for part in readers:
            if number < part.at // CHUNK_BYTES or number * CHUNK_BYTES >= part.end \
                    or number in part.kept:
                continue
            if data is None:
                found = view.chunk(value_id, <uint32_t>number, &chunk)
                ASSERT(found != MISS)
                data = PyBytes_FromStringAndSize(chunk.data, chunk.length) if found == FOUND else b""
            part.kept[number] = data
            part.stream.kept_bytes += PyBytes_GET_SIZE(data) + KEPT_OVERHEAD_BYTES
        number += 1
    for part in list(readers):
        if view.kept_bytes_max and part.stream.kept_bytes > view.kept_bytes_max \
                and not part.stream.is_lost:
            part.stream.is_lost = True
            close(view, part.stream)
    return 0


cdef int close_part(View view, Part part) except -1:
    """A part is copied or given up: its value may change and go."""
    cdef list readers = view.readers[part.value_id]
    readers.remove(part)
    if not readers:
        del view.readers[part.value_id]
    part.kept = None
    return 0


cdef int close(View view, Stream stream) except -1:
    """Give up what is left of a reply."""
    cdef Part part
    while stream.next_part < len(stream.parts):
        part = stream.parts[stream.next_part]
        close_part(view, part)
        stream.next_part += 1
    stream.kept_bytes = 0
    return 0
