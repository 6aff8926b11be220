# cython: boundscheck=False, wraparound=False
"""KVNODE ONCE, and the records of requests that have an id."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libcpp.algorithm cimport sort
from libcpp.pair cimport pair
from libcpp.vector cimport vector
from kvnode._core.arguments cimport refuse
from kvnode._core.blocking cimport Waiters
from kvnode._core.buffer cimport Buffer, buffer_append, buffer_append_byte, buffer_free
from kvnode._core.bytes cimport get_be64, make_slice, put_be64
from kvnode._core.dispatch cimport (
    AGAIN, C_BLOCKING, C_MAY_REPLICATE, C_NO_MULTI, C_WRITE, DONE, HELD, Command, Dispatch, native)
from kvnode._core.keys cimport K_REQUEST
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_error, reply_raw
from kvnode._core.sequencer cimport Sequencer
from kvnode._core.session cimport Session
from kvnode._core.tip cimport T_NONE, Entry, Tip

REPLY_BYTES_MAX = <int>REQUEST_REPLY_BYTES_MAX

cdef enum:
    TIMESTAMP_COUNTER_BITS = 16     # commit_ts = ms << 16 | counter


cdef class Requests:
    """What is known of requests with an id. Made when a leadership meets its first."""

    def __cinit__(self, View view not None):
        self.view = view
        self.bytes_max = REQUESTS_BYTES
        self.restore()

    cdef int restore(self) except -1:
        """Bring the records that there are into their order."""
        cdef vector[Entry*] entries
        cdef vector[pair[uint64_t, string]] found
        cdef uint64_t following = 0
        cdef bint done = False
        cdef Entry* e
        cdef size_t i
        self.view.tip.scan_next(self.view.tip.meta, 0, &entries, <size_t>-1, &following, &done)
        for e in entries:
            if e.key[0] == K_REQUEST and e.newest.type != T_NONE:
                found.push_back(pair[uint64_t, string](
                    e.newest.commit_ts, string(<const char*>e.key, <size_t>e.key_len)))
                self.bytes += e.key_len + e.newest.length + REQUEST_OVERHEAD_BYTES
        sort(found.begin(), found.end())
        for i in range(found.size()):
            self.keys.push_back(found[i].second)
        return 0

    cdef Entry* entry_of(self, string key) except? NULL:
        cdef Tip tip = self.view.tip
        return tip.find(tip.meta, tip.hash_key(key.data(), key.size()), key.data(), key.size())

    cdef const Version* find(self, const Slice* id) except? NULL:
        """The record of an id, or NULL. What was seen of it is waited for."""
        cdef View view = self.view
        cdef Entry* e = self.entry_of(key_of(id))
        if e == NULL:
            return NULL
        if e.newest.commit_ts > view.observed:
            view.observed = e.newest.commit_ts
        return e.newest if e.newest.type != T_NONE else NULL

    cdef int put(self, const Slice* id, uint64_t digest, int proto, const char* text,
                 size_t n) except -1:
        """Record a request in the open batch, with its reply if it is short; drop others for it."""
        cdef View view = self.view
        cdef string key = key_of(id)
        cdef Buffer value
        cdef Entry* e
        value.data = NULL
        value.len = value.capacity = 0
        if n > REQUEST_REPLY_BYTES_MAX:
            n = 0
            proto = 0
        try:
            append_number(&value, digest)
            buffer_append_byte(&value, <char>proto)
            buffer_append(&value, text, n)
            view.record_put(view.tip.meta, key.data(), key.size(), value.data, value.len)
        finally:
            buffer_free(&value)
        self.keys.push_back(key)
        self.bytes += key.size() + REQUEST_HEADER_BYTES + n + REQUEST_OVERHEAD_BYTES
        while self.bytes > self.bytes_max and self.keys.size() > 1:
            key = self.keys.front()
            self.keys.pop_front()
            e = self.entry_of(key)
            self.bytes -= key.size() + e.newest.length + REQUEST_OVERHEAD_BYTES
            self.dropped += 1
            view.record_delete(view.tip.meta, key.data(), key.size())
        return 0

    @property
    def count(self):
        """Records that are kept."""
        return self.keys.size()

    @property
    def oldest_ms(self):
        """The time of the oldest record; 0: there is none."""
        if self.keys.empty():
            return 0
        return self.entry_of(self.keys.front()).newest.commit_ts >> TIMESTAMP_COUNTER_BITS


cdef Requests requests_of(View view):
    if view.requests is None:
        view.requests = Requests(view)
    return view.requests


cdef string key_of(const Slice* id):
    cdef char kind = K_REQUEST
    return string(&kind, 1).append(id.data, id.len)


cdef int append_number(Buffer* out, uint64_t number) except -1:
    cdef char p[8]
    put_be64(p, number)
    return buffer_append(out, p, 8)


# -- what a request is ------------------------------------------------------------------------------

cdef uint64_t digest_word(Tip tip, uint64_t so_far, const char* data, size_t n) noexcept:
    """The digest of a request with one more argument."""
    cdef char p[24]
    put_be64(p, so_far)
    put_be64(p + 8, n)
    put_be64(p + 16, tip.hash_key(data, n))
    return tip.hash_key(p, 24)


cdef uint64_t digest_args(Tip tip, int db, const Args* command) noexcept:
    """What tells the request of an id from others: its database and all its arguments."""
    cdef uint64_t digest = <uint64_t>db
    cdef int i
    for i in range(command.n):
        digest = digest_word(tip, digest, command.v[i].data, command.v[i].len)
    return digest


cdef uint64_t digest_words(Tip tip, int db, list words):
    cdef uint64_t digest = <uint64_t>db
    cdef bytes word
    for word in words:
        digest = digest_word(tip, digest, PyBytes_AS_STRING(word), PyBytes_GET_SIZE(word))
    return digest


cdef int answer_again(View view, const Version* record, uint64_t digest, Reply reply) except -1:
    """Answer a request that was done before: DONE."""
    cdef int proto = record.data[8]
    if get_be64(record.data) != digest:
        return refuse(reply, b"ERR this request id belongs to another command")
    view.wrote = True       # its first try did: should this answer be lost, "not done" would be wrong
    if proto == 0:
        return refuse(reply, b"DONE this request was done before; its reply was too long to be kept")
    if proto != reply.proto:
        return refuse(reply, b"DONE this request was done before; its reply was in another RESP")
    if record.data[REQUEST_HEADER_BYTES] == b"-":
        return reply_error(reply, record.data + REQUEST_HEADER_BYTES + 1,
                           record.length - REQUEST_HEADER_BYTES - 3)
    return reply_raw(reply, record.data + REQUEST_HEADER_BYTES,
                     record.length - REQUEST_HEADER_BYTES)


# -- on the sequencer -------------------------------------------------------------------------------

cdef bint has_to_wait(View view, Dispatch dispatch, Command command, Args* args, int* outcome) except -1:
    """Whether a command would overtake others that wait, as dispatch and pass see it without an id."""
    cdef Waiters waiters = view.waiters
    cdef int i
    if waiters.backlog:
        outcome[0] = AGAIN
        if command.replaces_databases:
            return True
        for i in range(1, args.n):
            if waiters.is_ahead(view.session.db, &args.v[i]):
                return True
    outcome[0] = HELD
    return dispatch.has_reservation and dispatch.hold_back(view.session, command, args)


cdef int cmd_once(View view, Args* args, Reply reply) except -1:
    cdef Dispatch dispatch = view.dispatch
    cdef Requests requests = requests_of(view)
    cdef Slice* id = &args.v[2]
    cdef Args inner
    cdef Command command
    cdef const Version* record
    cdef uint64_t digest
    cdef uint64_t errors = reply.errors
    cdef size_t before = reply.out.len
    cdef size_t events = len(view.events)
    cdef bint had_written = view.wrote
    cdef bint has_effects
    cdef int outcome
    inner.v = args.v + COMMAND_AT
    inner.n = args.n - COMMAND_AT
    if not 0 < id.len <= REQUEST_ID_BYTES_MAX:
        return refuse(reply, b"ERR a request id has 1 to 64 bytes")
    command = dispatch.find(inner.v[0].data, inner.v[0].len)
    if command is not None and command.subcommands is not None and inner.n > 1:
        command = dispatch.subcommand(command, &inner)
    if command is None or command.flags & (C_WRITE | C_MAY_REPLICATE) == 0 \
            or command.flags & (C_BLOCKING | C_NO_MULTI):
        return refuse(reply, b"ERR KVNODE ONCE takes a command that writes and does not wait")
    if (command.arity > 0 and inner.n != command.arity) or inner.n < -command.arity:
        return refuse(reply, b"ERR wrong number of arguments for '" + command.name + b"' command")
    digest = digest_args(view.tip, view.session.db, &inner)
    record = requests.find(id)
    if record != NULL:
        return answer_again(view, record, digest, reply)
    if has_to_wait(view, dispatch, command, &inner, &outcome):
        return outcome
    view.wrote = False
    outcome = dispatch.call(view, command, &inner, reply)
    has_effects = view.wrote or <size_t>len(view.events) > events
    view.wrote |= had_written
    if outcome != DONE:
        return outcome
    command.calls += 1
    if reply.errors != errors:
        command.failed += 1
        if not has_effects:     # nothing was done: it may be tried again
            return DONE
    if view.session.stream is not None:     # more of the reply follows than is written
        return requests.put(id, digest, 0, NULL, 0)
    return requests.put(id, digest, reply.proto, reply.out.data + before, reply.out.len - before)


# -- of a request that runs beside it: see kvnode/txn/once.py -----------------------------------------

def recorded(Sequencer sequencer not None, Session session not None, bytes id not None,
             list words not None):
    """Return the reply to a request that was done meanwhile, or None. In a pass."""
    cdef View view = sequencer.view
    cdef Slice name = make_slice(PyBytes_AS_STRING(id), PyBytes_GET_SIZE(id))
    cdef const Version* record
    cdef Reply reply = Reply()
    sequencer.join_pass(session)
    reply.proto = session.reply.proto
    record = requests_of(view).find(&name)
    if record != NULL:
        answer_again(view, record, digest_words(view.tip, session.db, words), reply)
    sequencer.note_effects(session)
    return reply.out.data[:reply.out.len] if record != NULL else None


def record(Sequencer sequencer not None, Session session not None, bytes id not None,
           list words not None, bytes reply not None):
    """A request takes effect: keep its reply. In the batch of its effects, after recorded()."""
    cdef View view = sequencer.view
    cdef Slice name = make_slice(PyBytes_AS_STRING(id), PyBytes_GET_SIZE(id))
    requests_of(view).put(&name, digest_words(view.tip, session.db, words), session.reply.proto,
                          PyBytes_AS_STRING(reply), PyBytes_GET_SIZE(reply))
    sequencer.note_effects(session)


def statistics(View view not None, int64_t now_ms):
    """Fields of INFO, on the node that leads."""
    cdef Requests requests = requests_of(view)
    cdef int64_t oldest_ms = requests.oldest_ms
    return {
        "request_ids": requests.count,
        "request_ids_seconds": (now_ms - oldest_ms) // 1000 if oldest_ms else 0,
        "request_ids_dropped": requests.dropped,
    }


HANDLERS = {
    "kvnode_once": native(cmd_once),
}
