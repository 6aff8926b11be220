# cython: boundscheck=False, wraparound=False
"""The registry of sessions that wait on keys, and what a handler calls to wait."""

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF
from cython.operator cimport dereference
from libcpp.algorithm cimport find
from libc.math cimport ceill
from libc.stdint cimport INT64_MAX, int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy
from kvnode._core.arguments cimport refuse
from kvnode._core.bytes cimport ASSERT
from kvnode._core.dispatch cimport BLOCK, DONE, Command, Dispatch
from kvnode._core.numbers cimport parse_long_double
from kvnode._core.reply cimport reply_null, reply_null_array
from kvnode._core.tip cimport T_NONE, Table, Tip, Version, surely_absent

cdef enum:
    MILLISECONDS = 1000     # of a second

cdef uint64_t DATABASE_FACTOR = 0x9E3779B97F4A7C15      # spreads the database over the hash


@cython.no_gc_clear      # the sessions that wait are let go with the view still there
cdef class Waiters:
    """Who waits on which keys. One per node; lives on the sequencer.

    Queues are found by the hash of the key, not by a mark on its entry: a key that is waited on has
    no entry as a rule, and a waiter stays with its database when FLUSHDB or SWAPDB changes the table.
    """

    def __cinit__(self, View view not None):
        self.view = view
        view.waiters = self

    def __dealloc__(self):
        cdef pair[uint64_t, Queue*] item
        cdef Queue* queue
        cdef Queue* chain
        while self.first_waiter() != NULL:
            self.remove(self.first_waiter())
        for item in self.queues:        # empty ones that were ready
            queue = item.second
            while queue != NULL:
                chain = queue.chain
                free(queue)
                queue = chain

    cdef Waiter* first_waiter(self) noexcept:
        cdef pair[uint64_t, Queue*] item
        cdef Queue* queue
        for item in self.queues:
            queue = item.second
            while queue != NULL:
                if queue.first != NULL:
                    return queue.first.waiter
                queue = queue.chain
        return NULL

    # -- queues ---------------------------------------------------------------------------------

    cdef Queue* find(self, int db, uint64_t hash, const char* key, size_t n) noexcept:
        """Return the queue of a key, NULL when nobody waits on it."""
        cdef unordered_map[uint64_t, Queue*].iterator at = self.queues.find(slot(db, hash))
        cdef Queue* queue
        if at == self.queues.end():
            return NULL
        queue = dereference(at).second
        while queue != NULL:
            if queue.hash == hash and queue.db == db and queue.key_len == n \
                    and memcmp(queue.key, key, n) == 0:
                return queue
            queue = queue.chain
        return NULL

    cdef Queue* queue_of(self, int db, const Slice* key) except NULL:
        """Return the queue of a key, a new one if need be."""
        cdef uint64_t hash = self.view.tip.hash_key(key.data, key.len)
        cdef Queue* queue = self.find(db, hash, key.data, key.len)
        if queue != NULL:
            return queue
        queue = <Queue*>malloc(sizeof(Queue) + key.len)
        if queue == NULL:
            raise MemoryError("queue of a key")
        queue.chain = self.queues[slot(db, hash)]
        queue.first = queue.last = NULL
        queue.hash = hash
        queue.db = db
        queue.ready = False
        queue.key_len = key.len
        queue.before = self.newest[db]
        queue.behind = NULL
        if self.newest[db] != NULL:
            self.newest[db].behind = queue
        else:
            self.oldest[db] = queue
        self.newest[db] = queue
        memcpy(queue.key, key.data, key.len)
        self.queues[slot(db, hash)] = queue
        self.keys += 1
        return queue

    cdef int drop(self, Queue* queue) except -1:
        """Free a queue in which nobody stands."""
        cdef uint64_t place = slot(queue.db, queue.hash)
        cdef Queue* before = self.queues[place]
        ASSERT(queue.first == NULL and not queue.ready)
        if before != queue:
            while before.chain != queue:
                before = before.chain
            before.chain = queue.chain
        elif queue.chain != NULL:
            self.queues[place] = queue.chain
        else:
            self.queues.erase(place)
        if queue.before != NULL:
            queue.before.behind = queue.behind
        else:
            self.oldest[queue.db] = queue.behind
        if queue.behind != NULL:
            queue.behind.before = queue.before
        else:
            self.newest[queue.db] = queue.before
        if self.unseen[queue.db] == queue:
            self.unseen[queue.db] = queue.behind
        self.keys -= 1
        free(queue)
        return 0

    # -- waiters --------------------------------------------------------------------------------

    cdef int add(self, Session session, void* command, Args* args, int first, int last,
                 uint32_t types, uint64_t deadline_ms) except -1:
        """Let a session wait on args[first..last], at the end of each queue."""
        cdef Waiter* w = make_waiter(args, last - first + 1)
        cdef Link* link
        cdef Queue* queue
        cdef int i
        w.session = <void*>session
        w.command = command
        w.deadline_ms = deadline_ms
        w.types = types
        self.tickets += 1
        w.ticket = self.tickets
        for i in range(first, last + 1):
            queue = self.queue_of(session.db, &args.v[i])
            if queue.last != NULL and queue.last.waiter == w:
                continue        # the same key twice
            link = &w.links[w.links_count]
            w.links_count += 1
            link.waiter = w
            link.queue = queue
            link.next = NULL
            link.previous = queue.last
            if queue.last != NULL:
                queue.last.next = link
            else:
                queue.first = link
            queue.last = link
        if deadline_ms:
            self.deadlines[pair[uint64_t, uint64_t](deadline_ms, w.ticket)] = w
        Py_INCREF(session)
        session.waiter = w
        self.sessions += 1
        self.view.awaited_types |= types
        return 0

    cdef int remove(self, Waiter* w) except -1:
        """A session waits no longer: its links, its deadline and its arguments go."""
        cdef Session session = <Session>w.session
        cdef Link* link
        cdef Queue* queue
        cdef int i
        if w.stopped:
            self.renew(w)
        for i in range(w.links_count):
            link = &w.links[i]
            queue = link.queue
            if link.previous != NULL:
                link.previous.next = link.next
            else:
                queue.first = link.next
            if link.next != NULL:
                link.next.previous = link.previous
            else:
                queue.last = link.previous
            if queue.first == NULL and not queue.ready:
                self.drop(queue)
        if w.deadline_ms:
            self.deadlines.erase(pair[uint64_t, uint64_t](w.deadline_ms, w.ticket))
        session.waiter = NULL
        session.waiting = None
        self.sessions -= 1
        if self.sessions == 0:
            self.view.awaited_types = 0
        free(w)
        Py_DECREF(session)
        return 0

    # -- keys that got data ---------------------------------------------------------------------

    cdef int make_ready(self, Queue* queue) except -1:
        if not queue.ready:
            queue.ready = True
            self.ready.push_back(queue)
        return 0

    cdef int go_on_with(self, Queue* queue) except -1:
        """The pass ends here: the next one begins with this queue."""
        if queue.ready:         # its own waiters gave it data again
            self.ready.erase(find(self.ready.begin(), self.ready.end(), queue))
        queue.ready = True
        self.ready.push_front(queue)
        return 0

    cdef int renew(self, Waiter* w) except -1:
        """A waiter that was stopped goes on or goes: those behind it get their turn."""
        cdef int i
        w.stopped = False
        for i in range(w.links_count):
            self.make_ready(w.links[i].queue)
        return 0

    cdef int collect(self) except -1:
        """Make the queues ready whose keys the view says got data."""
        cdef size_t i
        for i in range(self.view.signalled.size()):
            self.collect_entry(self.view.signalled[i])
        self.view.signalled.clear()
        return 0

    cdef int collect_entry(self, Entry* e) except -1:
        cdef Queue* queue
        cdef int db
        for db in range(DATABASES_MAX):
            if self.view.tip.databases[db] == e.table:
                queue = self.find(db, e.hash, e.key, e.key_len)
                if queue != NULL:
                    self.make_ready(queue)
        return 0

    def switch(self, int db):
        """A database has another table: any key of it may have got data, unless it is empty."""
        if self.view.tip.databases[db].keys:
            self.unseen[db] = self.oldest[db]

    cdef Queue* next_ready(self) except? NULL:
        """Take the next queue in which somebody stands and whose key may have got data."""
        cdef Queue* queue
        cdef int db
        while not self.ready.empty():
            queue = self.ready.front()
            self.ready.pop_front()
            queue.ready = False
            if queue.first != NULL:
                return queue
            self.drop(queue)
        for db in range(DATABASES_MAX):
            queue = self.unseen[db]
            if queue != NULL:
                self.unseen[db] = queue.behind
                return queue
        return NULL

    cdef bint has_ready(self) noexcept:
        """Whether next_ready() has something to look at."""
        cdef int db
        for db in range(DATABASES_MAX):
            if self.unseen[db] != NULL:
                return True
        return not self.ready.empty()

    cdef bint is_ahead(self, int db, const Slice* key) noexcept:
        """Whether sessions that wait on a key have still to be served, before any other."""
        cdef Queue* queue
        if not self.backlog:
            return False
        queue = self.find(db, self.view.tip.hash_key(key.data, key.len), key.data, key.len)
        return queue != NULL and queue.first != NULL \
            and (queue.ready or self.unseen[db] != NULL)

    cdef Supply supply(self, Queue* queue, Waiter* w) noexcept:
        """Say whether the key of a queue has something for a waiter; nothing is changed by it."""
        cdef Tip tip = self.view.tip
        cdef Table* table = tip.databases[queue.db]
        cdef Entry* e = tip.find(table, queue.hash, queue.key, queue.key_len)
        cdef Version* v
        if e == NULL:
            return S_NOTHING if surely_absent(table, queue.hash) else S_DATA
        v = e.newest
        if v.type == T_NONE or (v.expire_at and v.expire_at <= self.view.now_ms):
            return S_NOTHING
        return S_DATA if w.types & (1 << v.type) else S_OTHER_TYPE

    # -- deadlines ------------------------------------------------------------------------------

    cdef Waiter* next_due(self, uint64_t now_ms) except? NULL:
        """Take the next waiter whose deadline has passed out of the list of deadlines."""
        cdef map[pair[uint64_t, uint64_t], Waiter*].iterator first = self.deadlines.begin()
        cdef Waiter* w
        if self.deadlines.empty() or dereference(first).first.first > now_ms:
            return NULL
        w = dereference(first).second
        self.deadlines.erase(first)
        return w

    cdef uint64_t earliest(self) noexcept:
        """Return the earliest deadline, 0 when there is none."""
        return 0 if self.deadlines.empty() else dereference(self.deadlines.begin()).first.first

    @property
    def timed(self):
        """Of them, those with a deadline that has not passed."""
        return self.deadlines.size()


cdef Waiter* make_waiter(const Args* args, int keys) except NULL:
    """A waiter with a copy of the arguments, in one piece of memory."""
    cdef size_t size = sizeof(Waiter) + keys * sizeof(Link) + args.n * sizeof(Slice)
    cdef size_t at = size
    cdef Waiter* w
    cdef char* memory
    cdef int i
    for i in range(args.n):
        size += args.v[i].len
    memory = <char*>malloc(size)
    if memory == NULL:
        raise MemoryError("blocked command")
    w = <Waiter*>memory
    w.links = <Link*>(memory + sizeof(Waiter))
    w.links_count = 0
    w.stopped = False
    w.released = NOT_RELEASED
    w.args.n = args.n
    w.args.v = <Slice*>(memory + sizeof(Waiter) + keys * sizeof(Link))
    for i in range(args.n):
        w.args.v[i].data = memory + at
        w.args.v[i].len = args.v[i].len
        memcpy(memory + at, args.v[i].data, args.v[i].len)
        at += args.v[i].len
    return w


cdef inline uint64_t slot(int db, uint64_t hash) noexcept nogil:
    return hash ^ (<uint64_t>db * DATABASE_FACTOR)


# -- for handlers -------------------------------------------------------------------------------

cdef bint require_timeout(View view, const Slice* seconds, uint64_t* deadline_ms,
                          Reply reply) except -1:
    """Read a timeout in seconds as a deadline, 0 = never; False after an error reply."""
    cdef long double value
    if not parse_long_double(seconds.data, seconds.len, &value):
        refuse(reply, b"ERR timeout is not a float or out of range")
        return False
    value = ceill(value * MILLISECONDS)
    if value < 0:
        refuse(reply, b"ERR timeout is negative")
        return False
    if value > <long double>(INT64_MAX - <int64_t>view.now_ms):
        refuse(reply, b"ERR timeout is out of range")
        return False
    deadline_ms[0] = view.now_ms + <uint64_t>value if value > 0 else 0
    return True


cdef int block_on(View view, Args* args, int first, int last, uint32_t types,
                  uint64_t deadline_ms, NullForm form, Reply reply) except -1:
    """Let the running command wait until one of the keys args[first..last] has data; the outcome.

    types: 1 << ValueType of each type that serves it. form: of the null where it may not wait.
    """
    cdef Waiters waiters = view.waiters
    cdef Session session = view.session
    cdef Dispatch dispatch
    cdef Command command
    if waiters.running != NULL:
        return BLOCK        # it keeps its place, and its deadline
    if session.in_exec:
        if form == NULL_ARRAY:
            reply_null_array(reply)
        else:
            reply_null(reply)
        return DONE
    dispatch = view.dispatch
    command = dispatch.find(args.v[0].data, args.v[0].len)
    waiters.add(session, <void*>command, args, first, last, types, deadline_ms)
    return BLOCK
