# cython: boundscheck=False, wraparound=False
"""Input of sessions on its way to a leader: see uplink.pxd."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy
from kvnode._core.buffer cimport buffer_free
from kvnode._core.bytes cimport put_be32, put_be64
from kvnode._core.link_port cimport (
    FORWARD, INPUT, LAST, OPEN, PIECE_BYTES, STATE, STATE_ABORTED, STATE_DIRTY, STATE_NO_TOUCH, TAKEN,
    TAKEN_BYTES)

FORWARDED = "forward"       # Session.waiting of one that is owed something


cdef class Relay:
    """A session with input for a leader."""

    def __dealloc__(self):
        buffer_free(&self.returned)

    cdef bint is_owed(self) noexcept:
        """Whether some of what was sent is neither answered nor returned, or a message is not whole."""
        return self.sent != self.answered + self.returned.len or self.is_partial


cdef class Uplink:
    """The way to a leader of `term`. number: grows with each use of a link. send: see Port."""

    def __cinit__(self, uint64_t term, uint64_t number, send):
        self.port = Port(FORWARD, term, number, send)
        self.relays = {}
        self.draining = []
        self.blocked = []
        self.is_open = True

    @property
    def is_empty(self):
        """Whether nobody waits for answers from there."""
        return not self.relays

    def flush(self):
        """Give to the link what there is, at the end of a pass."""
        cdef Relay relay
        cdef uint64_t n
        cdef list draining = []
        cdef char* p
        for relay in self.draining:
            if relay.uplink is not self:
                continue
            n = relay.relayed - relay.session.unsent() \
                if relay.relayed > relay.session.unsent() else 0
            if n >= relay.taken + TAKEN_BYTES:
                p = self.port.room(17)
                p[0] = TAKEN
                put_be64(p + 1, relay.number)
                put_be64(p + 9, n - relay.taken)
                relay.taken = n
            relay.is_draining = relay.relayed - relay.taken >= TAKEN_BYTES
            if relay.is_draining:
                draining.append(relay)
        self.draining = draining
        self.port.flush()

    # -- out ------------------------------------------------------------------------------------

    cdef int bind(self, Relay relay) except -1:
        """A session gets a mirror there, with what is sent next."""
        relay.uplink = self
        self.bound += 1
        relay.number = self.bound
        self.relays[relay.number] = relay
        relay.sent = relay.executed = relay.answered = 0
        relay.relayed = relay.taken = 0
        relay.is_told = relay.is_draining = relay.is_partial = relay.is_returning = False
        relay.was_dirty = False
        return 0

    cdef int tell(self, Relay relay) except -1:
        """Bring the mirror up to date. Nothing is owed if there is something to tell."""
        cdef Session session = relay.session
        cdef size_t n
        cdef char* p
        if relay.is_told and relay.told_db == session.db and relay.told_proto == session.reply.proto \
                and relay.told_mode == session.reply_mode and relay.told_name is session.name \
                and relay.told_user is session.user and relay.told_no_touch == session.no_touch \
                and not relay.is_aborted and not session.cas_dirty:
            return 0
        texts = (session.user, session.name, session.addr.encode())
        n = 21 + sum(4 + len(text) for text in texts)
        p = self.port.room(n)
        p[0] = <char>(STATE if relay.is_told else OPEN)
        put_be64(p + 1, relay.number)
        put_be64(p + 9, session.id)
        p[17] = <char>session.db
        p[18] = <char>session.reply.proto
        p[19] = <char>session.reply_mode
        p[20] = <char>((STATE_DIRTY if session.cas_dirty else 0)
                       | (STATE_ABORTED if relay.is_aborted else 0)
                       | (STATE_NO_TOUCH if session.no_touch else 0))
        p += 21
        for text in texts:
            put_be32(p, <uint32_t>len(text))
            memcpy(p + 4, <const char*>text, len(text))
            p += 4 + len(text)
        if session.cas_dirty:
            relay.is_watching = relay.was_dirty = True  # EXEC answers null there, as if it watched
        relay.told_db, relay.told_proto = session.db, session.reply.proto
        relay.told_mode, relay.told_no_touch = session.reply_mode, session.no_touch
        relay.told_name, relay.told_user = session.name, session.user
        relay.is_told = True
        relay.is_aborted = session.cas_dirty = False
        return 0

    cdef int emit(self, Relay relay, const char* data, size_t n) except -1:
        """Put input of a session into frames."""
        cdef size_t part
        cdef char* p
        relay.sent += n
        relay.session.waiting = FORWARDED
        while n:
            part = n if n < PIECE_BYTES else PIECE_BYTES
            p = self.port.room(13 + part)
            p[0] = INPUT
            put_be64(p + 1, relay.number)
            put_be32(p + 9, <uint32_t>part)
            memcpy(p + 13, data, part)
            data += part
            n -= part
        if relay.ends:
            self.put_session(relay, LAST)
        return 0

    cdef int put_session(self, Relay relay, int item) except -1:
        cdef char* p = self.port.room(9)
        p[0] = <char>item
        put_be64(p + 1, relay.number)
        return 0
