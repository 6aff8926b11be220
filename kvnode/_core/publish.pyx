# cython: boundscheck=False, wraparound=False
"""Bounded publication of the large collections of a transaction."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from kvnode._core.bytes cimport ASSERT, get_be64, put_be64
from kvnode._core.entries cimport (
    DATABASES_MAX, T_CHUNKED, T_HASH, T_LIST, T_NONE, V_WIDER_ENCODING, head_data)
from kvnode._core.keys cimport K_PENDING, K_TRASH, get_position
from kvnode._core.records cimport place_of_fields
from kvnode._core.tip cimport Tip, claims_of
from kvnode._core.trash cimport TRASH_COLLECTION
from kvnode._core.view cimport RECORD_OVERHEAD_BYTES, View, Write
from kvnode._core.workspace cimport PRIVATE_IDS


cdef class Publication:
    """What one try of a transaction is going to publish. It ends with end(), whatever comes of it."""

    def __cinit__(self, Sequencer sequencer not None, Workspace work not None):
        cdef Collection* c = work.tip.clock_start
        cdef View view = sequencer.view
        self.sequencer = sequencer
        self.work = work
        self.rest_bytes = work.append_bytes
        while c != NULL:
            if self.is_large(c):
                self.ids[c.id] = view.new_id()
                view.staging[self.ids[c.id]] = None
            c = c.next if c.next != work.tip.clock_start else NULL

    @property
    def is_empty(self):
        """Whether there is no large collection."""
        return self.ids.empty()

    cdef bint is_large(self, Collection* c) noexcept:
        """Whether a collection of the workspace is to be written before it is published.

        Not so a hash that had deadlines in a database that the transaction has flushed: the rows of
        its fields would name a generation that does not exist before the commit.
        """
        cdef int db
        if c.id < PRIVATE_IDS or not c.ready or c.died or c.head == NULL \
                or (c.elements.entries <= PUBLISH_ELEMENTS and c.elements.bytes <= PUBLISH_BYTES):
            return False
        if has_deadlines(c) and c.head.table.id >= PRIVATE_IDS:
            return False
        for db in range(DATABASES_MAX):
            if self.work.tip.databases[db] == c.head.table:
                return True
        return False            # of a database that is flushed by now

    def step(self):
        """Write a bounded part; True once all is written. In a pass, as often as it takes.

        What belongs to these collections is no write of the workspace any more afterwards.
        """
        cdef View view = self.sequencer.view
        cdef Write w
        cdef Collection* c
        cdef size_t looks = 0
        cdef uint64_t elements = self.elements
        cdef uint64_t bytes = self.bytes
        if self.is_ready:
            return True
        if not self.sequencer.batch_open:
            self.sequencer.open_batch()
        view.enter(None)
        if self.at == 0:
            self.note_pending(view)
        while self.at < self.work.view.writes.size():
            if looks == PUBLISH_LOOKS or self.elements - elements >= PUBLISH_ELEMENTS \
                    or self.bytes - bytes >= PUBLISH_BYTES:
                self.sequencer.bound_batch()
                return False
            looks += 1
            self.work.tip.work += 1
            w = self.work.view.writes[self.at]
            self.at += 1
            if w.entry.newest != w.version:
                continue            # written again by a later script of the same EXEC
            c = w.entry.table.owner
            if c != NULL and self.ids.count(c.id):
                self.put(self.ids[c.id], c, w.entry)
                continue
            self.work.view.writes[self.kept] = w
            self.kept += 1
            self.rest_bytes += w.version.length + w.entry.key_len + RECORD_OVERHEAD_BYTES
        self.work.view.writes.resize(self.kept)
        self.is_ready = True
        return True

    def note_pending(self, View view not None):
        """List what begins to be written: it is garbage until its head is there."""
        cdef char key[9]
        cdef char type
        key[0] = K_PENDING
        for pair in self.ids:
            put_be64(key + 1, pair.second)
            type = <char>self.work.tip.collection(pair.first).type
            view.record_put(view.tip.meta, key, 9, &type, 1)

    cdef int put(self, uint64_t id, Collection* c, Entry* e) except -1:
        """Write one element or claim; those removed again, or popped, never were."""
        cdef View view = self.sequencer.view
        cdef Tip tip = view.tip
        cdef Collection* main = tip.collection(id)
        cdef Version* v = e.newest
        cdef Version* copy
        if v.type == T_NONE:
            return 0
        if c.type == T_LIST and not c.meta.head <= get_position(e.key) < c.meta.tail:
            return 0
        if main == NULL:            # the first one, or all others have left memory
            main = tip.new_collection(id, c.type, self.begun.count(id) == 0)
            self.begun.insert(id)
            if has_deadlines(c):
                set_place(main, place_of_fields(c.head.table.id, c.head))
        copy = tip.new_version(v.length)
        copy.type = v.type
        copy.expire_at = v.expire_at
        memcpy(copy.data, v.data, v.length)
        view.put_part(main, main.elements if e.table == c.elements else claims_of(tip, main), NULL,
                      e.hash, e.key, e.key_len, copy)
        self.elements += 1
        self.bytes += v.length + e.key_len + RECORD_OVERHEAD_BYTES
        return 0

    cdef bint has(self, uint64_t id) noexcept:
        """Whether a collection of the workspace is written here."""
        return self.ids.count(id) != 0

    cdef int publish(self, Head* head, Version* wanted) except -1:
        """Make it the value of a key. What that has held lives on, or is buried already."""
        cdef View view = self.sequencer.view
        cdef uint64_t made = head_data(wanted).id
        cdef Collection* c = self.work.tip.collection(made)
        cdef Collection* main = view.tip.collection(self.ids[made])
        cdef char key[9]
        ASSERT(self.is_ready)
        if main == NULL:
            main = view.tip.new_collection(self.ids[made], c.type, False)
        main.meta = c.meta
        if c.type == T_LIST:
            main.low = c.meta.head
            main.high = c.meta.tail
        set_place(main, None)
        view.publish_collection(head, main)
        key[0] = K_PENDING
        put_be64(key + 1, main.id)
        view.record_delete(view.tip.meta, key, 9)
        return 0

    def end(self):
        """Nobody publishes it any more: what is not published by now is garbage."""
        cdef View view = self.sequencer.view
        for pair in self.ids:
            view.staging.pop(pair.second, None)


cdef bint has_deadlines(Collection* c) noexcept:
    """Whether fields of a hash have, or had, deadlines."""
    return c.type == T_HASH and c.head.newest.flags & V_WIDER_ENCODING != 0


cdef int set_place(Collection* c, bytes place) except -1:
    """Say where the head of a hash is going to be; None: it is there."""
    free(c.place)
    c.place = NULL
    if place is not None:
        c.place_bytes = len(place)
        c.place = <char*>malloc(c.place_bytes)
        if c.place == NULL:
            raise MemoryError("place")
        memcpy(c.place, PyBytes_AS_STRING(place), c.place_bytes)
    return 0


def bury_pending(Sequencer sequencer not None, uint64_t id):
    """What is pending under an id will never be published: it is dead from here on. In a pass."""
    cdef View view = sequencer.view
    cdef Entry* e
    cdef Collection* c = view.tip.collection(id)
    cdef char key[9]
    cdef char value[2]
    cdef uint64_t length
    key[0] = K_PENDING
    put_be64(key + 1, id)
    e = view.tip.find(view.tip.meta, view.tip.hash_key(key, 9), key, 9)
    value[0] = TRASH_COLLECTION
    value[1] = e.newest.data[0]
    length = get_be64(e.newest.data + 1) if value[1] == T_CHUNKED else 0
    if not sequencer.batch_open:
        sequencer.open_batch()
    view.enter(None)
    view.record_delete(view.tip.meta, key, 9)
    if value[1] == T_CHUNKED:
        return view.trash_chunks(id, length)
    key[0] = K_TRASH
    view.record_put(view.tip.meta, key, 9, value, 2)
    if c != NULL:
        ASSERT(not c.ready and not c.died)
        c.died = view.commit_ts
        view.killed.push_back(c)
