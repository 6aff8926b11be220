# cython: boundscheck=False, wraparound=False
"""The end of an optimistic transaction: what a workspace has read is compared with the tip, and what
it wrote becomes a part of the open batch. One pass, on the sequencer.

A head is compared by its identity (of a collection type, id and deadline; of a string its
commit_ts), an element by its commit_ts, metadata by value if they were read; what was read whole has
to be unchanged. Present or absent decides: that something came and went again is no conflict.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy
from libcpp.unordered_map cimport unordered_map
from libcpp.vector cimport vector
from kvnode._core.bytes cimport ASSERT, get_be32, get_be64, put_be64
from kvnode._core.collection cimport Element, put_element, remove_element
from kvnode._core.deltas cimport Meta
from kvnode._core.encoding cimport note_member, note_size
from kvnode._core.entries cimport (
    DATABASES_MAX, T_CHUNKED, T_LIST, T_NONE, T_SET, Collection, Entry, Table, Version, head_data,
    is_collection, surely_absent)
from kvnode._core.keys cimport K_CHUNK, K_HEAD, K_TRASH
from kvnode._core.list_commit cimport (
    appends_hold, list_holds, move_ends, put_appends, put_placed)
from kvnode._core.publish cimport Publication
from kvnode._core.sequencer cimport Sequencer
from kvnode._core.serving cimport serve_waiters
from kvnode._core.session cimport Session
from kvnode._core.stream cimport keep_chunks
from kvnode._core.tip cimport Tip
from kvnode._core.trash cimport TRASH_GENERATION
from kvnode._core.view cimport N_MESSAGE, Head, View, Write
from kvnode._core.workspace cimport (
    CHECK_ABSENCES, CHECK_DATABASES, CHECK_EMPTY, CHECK_IDENTITY, CHECK_LENGTHS, CHECK_NAMES,
    CHECK_VALUES, CHECK_WHOLE, PRIVATE_IDS, Workspace, base_of, checks)

cdef enum:
    ENTRIES_AT_ONCE = 4096      # of a table, looked at together

COMMITTED, CONFLICT, MISSING = range(3)

cdef enum Verdict:
    V_COMMITTED = 0
    V_CONFLICT = 1
    V_MISSING = 2               # records have to be fetched first: view.take_missing()


def is_stale(Sequencer sequencer not None, Workspace work not None):
    """Whether a transaction would conflict if it was committed now. In a pass."""
    cdef View view = sequencer.view
    cdef int verdict
    view.enter(None)
    verdict = validate(view, work)
    view.clear_missing()
    return verdict == V_CONFLICT


def commit(Sequencer sequencer not None, Session session not None, Workspace work not None,
           Publication publication=None, also=None):
    """Let the transaction of a waiting session take effect. In a pass.

    publication: has written its large collections; None: they are carried over here.
    also(): adds to its effects, in their batch.
    Returns (COMMITTED, None); or with nothing done (CONFLICT, None), or (MISSING, record keys that
    have to be fetched first).
    """
    cdef View view = sequencer.view
    cdef int verdict
    sequencer.join_pass(session)
    verdict = validate(view, work)
    if verdict == V_COMMITTED:
        Effects(view, work, publication).apply()
        if also is not None:
            also()
        view.finish_command()
        if not view.signalled.empty():
            serve_waiters(sequencer, session)
        sequencer.note_effects(session)
        sequencer.bound_batch()
    keys = view.take_missing()
    return verdict, keys if verdict == V_MISSING else None


# -- what was read ------------------------------------------------------------------------------

cdef int validate(View view, Workspace work) except -1:
    cdef Tip tip = work.tip
    cdef Table* table
    cdef Collection* c
    cdef int verdict = V_COMMITTED
    cdef bint missing = False
    cdef int db
    cdef size_t i
    for db in range(DATABASES_MAX):
        if is_used(work, db) and view.tip.databases[db].id != work.generations[db] \
                and checks(work, CHECK_DATABASES):
            return V_CONFLICT
    for i in range(tip.generations.size()):
        if tip.generations[i].id < PRIVATE_IDS:
            verdict = max(verdict, check_heads(view, work, tip.generations[i]))
            if verdict == V_CONFLICT:
                return verdict
    if verdict != V_COMMITTED:
        return verdict
    c = tip.clock_start
    while c != NULL:
        if c.id < PRIVATE_IDS:
            verdict = max(verdict, check_collection(view, work, c))
            if verdict == V_CONFLICT:
                return verdict
        c = c.next if c.next != tip.clock_start else NULL
    if not appends_hold(view, work, &missing):
        return V_CONFLICT
    return max(verdict, find_chunks(view, work), V_MISSING if missing else V_COMMITTED)


cdef bint is_used(Workspace work, int db) noexcept:
    """Whether the transaction has looked into a database of its snapshot, or replaced it."""
    cdef Table* table = work.tip.generation(work.generations[db])
    return table.entries > 0 or work.tip.databases[db] != table or table.id in work.scanned


cdef int check_heads(View view, Workspace work, Table* table) except -1:
    cdef Table* main = view.tip.generation(table.id)
    cdef vector[Entry*] entries
    cdef uint64_t at = 0
    cdef bint done = table.entries == 0
    cdef Entry* e
    cdef int verdict = V_COMMITTED
    if table.id in work.scanned and main.keys_changed > work.start_ts \
            and checks(work, CHECK_NAMES):
        return V_CONFLICT
    while not done:
        entries.clear()
        work.tip.scan_next(table, at, &entries, ENTRIES_AT_ONCE, &at, &done)
        for e in entries:
            verdict = max(verdict, check_record(view, work, main, e))
            if verdict == V_CONFLICT:
                return verdict
    return verdict


cdef int check_record(View view, Workspace work, Table* main, Entry* e) except -1:
    """Compare a head, or an element by its name, with the tip's."""
    cdef Version* base = base_of(e)
    cdef Entry* found = view.tip.find(main, e.hash, e.key, e.key_len)
    cdef Version* v = NULL
    cdef bint was_absent = base.type == T_NONE or base.commit_ts > work.start_ts
    cdef bint is_gone       # (one that was not installed was absent from a whole collection)
    if found == NULL and not is_known(main, e):
        view.miss(main.kind, main, e.hash, e.key, e.key_len)
        return V_MISSING
    if found != NULL and found.newest.type != T_NONE:
        v = found.newest
    is_gone = was_absent or (base.expire_at and base.expire_at <= work.view.now_ms)
    if v == NULL and is_gone:
        return V_COMMITTED
    if was_absent:
        return V_CONFLICT if checks(work, CHECK_ABSENCES) else V_COMMITTED
    if is_collection(base.type):
        if v != NULL and v.type == base.type and head_data(v).id == head_data(base).id \
                and v.expire_at == base.expire_at:
            return V_COMMITTED
        return V_CONFLICT if checks(work, CHECK_IDENTITY) else V_COMMITTED
    if v != NULL and v.commit_ts == base.commit_ts:
        return V_COMMITTED
    return V_CONFLICT if checks(work, CHECK_VALUES) else V_COMMITTED


cdef bint is_known(Table* main, Entry* e) noexcept:
    """Whether the tip knows that a record without an entry is absent."""
    if main.owner == NULL:
        return surely_absent(main, e.hash)
    return main.resident or (main.owner.type != T_LIST and e.hash < main.owner.loaded)


cdef int check_collection(View view, Workspace work, Collection* c) except -1:
    """Compare metadata and elements, as far as they were read."""
    cdef Collection* main = view.tip.collection(c.id)
    cdef Meta base = work.bases[c.id]
    cdef bint is_emptied = c.died and c.meta.length == 0
    cdef bint is_whole = c.elements.resident or c.loaded > 0 or c.windows != NULL
    cdef bint missing = False
    cdef int64_t lowest = work.lowest[c.id]
    if main == NULL or not main.ready or main.died:
        return V_CONFLICT if checks(work, CHECK_IDENTITY) else V_COMMITTED
    if not is_emptied:
        lowest = min(lowest, c.meta.length - base.length)
    if main.meta.length + lowest <= 0 and checks(work, CHECK_EMPTY):
        return V_CONFLICT       # it would have been empty, and gone, and the transaction saw it live
    if c.type == T_LIST:
        if not list_holds(view, work, c, main, &missing):
            return V_CONFLICT
        return V_MISSING if missing else V_COMMITTED
    if (is_emptied or c.id in work.lengths) and main.meta.length != base.length \
            and checks(work, CHECK_LENGTHS):
        return V_CONFLICT
    if is_whole and main.changed > work.start_ts and checks(work, CHECK_WHOLE):
        return V_CONFLICT
    return check_elements(view, work, c, main, is_whole)


cdef int check_elements(View view, Workspace work, Collection* c, Collection* main,
                        bint is_whole) except -1:
    """Compare elements by name. is_whole: nothing changed; those written have to be in memory."""
    cdef vector[Entry*] entries
    cdef uint64_t at = 0
    cdef bint done = c.elements.entries == 0
    cdef Entry* e
    cdef Write w
    cdef size_t i
    cdef int verdict = V_COMMITTED
    if is_whole and c.changed <= work.start_ts:
        return V_COMMITTED      # nor has the transaction written any
    if is_whole and c.elements.entries > work.view.writes.size():
        work.tip.work += work.view.writes.size()
        for i in range(work.view.writes.size()):    # only what it is going to do needs a look
            w = work.view.writes[i]
            if w.entry.table == c.elements and w.entry.newest == w.version:
                verdict = max(verdict, check_record(view, work, main.elements, w.entry))
                if verdict == V_CONFLICT:
                    return verdict
        return verdict
    while not done:
        entries.clear()
        work.tip.scan_next(c.elements, at, &entries, ENTRIES_AT_ONCE, &at, &done)
        for e in entries:
            if is_whole and e.newest.commit_ts <= work.start_ts:
                continue
            verdict = max(verdict, check_record(view, work, main.elements, e))
            if verdict == V_CONFLICT:
                return verdict
    return verdict


cdef int find_chunks(View view, Workspace work) except -1:
    """Note chunks that are to be overwritten and are not in memory: a reader may need the old ones."""
    cdef Table* chunks = view.tip.chunks
    cdef vector[Entry*] entries
    cdef uint64_t at = 0
    cdef bint done = work.tip.chunks.entries == 0 or chunks.resident
    cdef Entry* e
    cdef int verdict = V_COMMITTED
    while not done:
        entries.clear()
        work.tip.scan_next(work.tip.chunks, at, &entries, ENTRIES_AT_ONCE, &at, &done)
        for e in entries:
            if e.newest.commit_ts > work.start_ts and get_be64(e.key) < PRIVATE_IDS \
                    and view.tip.find(chunks, e.hash, e.key, e.key_len) == NULL:
                view.miss(K_CHUNK, chunks, e.hash, e.key, e.key_len)
                verdict = V_MISSING
    return verdict


# -- what was written ---------------------------------------------------------------------------

cdef class Effects:
    """Carries the net effects of a workspace over into the open batch of a view.

    Heads first, then what belongs to them. Ids that the workspace made up get real ones.
    """

    cdef View view
    cdef Workspace work
    cdef Publication publication
    cdef unordered_map[uint64_t, Table*] tables         # generation of the workspace -> of the tip
    cdef unordered_map[uint64_t, Collection*] made      # collection id of the workspace -> new one
    cdef unordered_map[uint64_t, uint64_t] values       # the same of values in chunks

    def __cinit__(self, View view not None, Workspace work not None, Publication publication):
        self.view = view
        self.work = work
        self.publication = publication

    cdef int apply(self) except -1:
        cdef size_t i
        cdef Write w
        self.switch_databases()
        self.work.tip.work += 2 * self.work.view.writes.size()
        for i in range(self.work.view.writes.size()):
            w = self.work.view.writes[i]
            if w.entry.newest == w.version and w.entry.table.kind == K_HEAD:
                self.put_head(w.entry)
        for i in range(self.work.view.writes.size()):
            w = self.work.view.writes[i]
            if w.entry.newest != w.version:
                continue
            if w.entry.table == self.work.tip.chunks:
                self.put_chunk(w.entry)
            elif w.entry.table.owner != NULL:
                self.put_part(w.entry)
        self.change_lists()
        put_appends(self.view, self.work)
        for event in self.work.events:      # nobody may listen to those of keys any more
            if event[0] == N_MESSAGE or self.view.on_event is not None:
                self.view.events.append(event)
        self.view.expired += self.work.view.expired
        self.view.expired_fields += self.work.view.expired_fields
        self.view.hits += self.work.view.hits
        self.view.misses += self.work.view.misses
        return 0

    cdef int switch_databases(self) except -1:
        """FLUSHDB and SWAPDB: give databases the generations that they have in the workspace."""
        cdef Tip tip = self.work.tip
        cdef char key[9]
        cdef char value = TRASH_GENERATION
        cdef uint64_t id
        cdef int db
        cdef int other
        for db in range(DATABASES_MAX):
            id = tip.databases[db].id
            self.tables[id] = self.view.create_generation() if id >= PRIVATE_IDS \
                else self.view.tip.generation(id)
        for db in range(DATABASES_MAX):
            id = tip.databases[db].id
            if id == self.work.generations[db]:
                continue
            self.view.point_database(db, self.tables[id])
            id = self.work.generations[db]
            if not self.tables.count(id):       # no database shows it any more
                key[0] = K_TRASH
                put_be64(key + 1, id)
                self.view.record_put(self.view.tip.meta, key, 9, &value, 1)
        return 0

    cdef int put_head(self, Entry* e) except -1:
        """Bring a key to the state that it has in the workspace."""
        cdef Version* wanted = e.newest
        cdef Version* v
        cdef Head head
        cdef Collection* c
        if not self.tables.count(e.table.id):
            return 0            # of a generation that is gone
        head.table = self.tables[e.table.id]
        head.key.data = e.key
        head.key.len = e.key_len
        head.hash = e.hash
        head.entry = self.view.tip.find(head.table, e.hash, e.key, e.key_len)
        head.version = NULL
        if head.entry != NULL and head.entry.newest.type != T_NONE:
            head.version = head.entry.newest
        if head.version == NULL and wanted.type == T_NONE:
            return 0
        if head.version != NULL and self.kills(head.version):
            self.view.bury(head.version)
        if is_collection(wanted.type) and head_data(wanted).id >= PRIVATE_IDS:
            if self.publication is not None and self.publication.has(head_data(wanted).id):
                self.publication.publish(&head, wanted)
            else:
                c = self.view.name_collection(&head, wanted.type)
                self.made[head_data(wanted).id] = c
            v = head.version
            v.expire_at = wanted.expire_at
            v.flags = wanted.flags
            if v.expire_at:
                head.table.volatile_keys += 1
                self.view.tip.file_deadline(head.entry, v.expire_at)
            return 0
        v = self.view.tip.new_version(wanted.length)
        memcpy(v.data, wanted.data, wanted.length)
        v.type = wanted.type
        v.flags = wanted.flags
        if is_collection(v.type) and head.version != NULL and head.version.type == v.type \
                and head_data(head.version).id == head_data(v).id:
            v.flags |= head.version.flags       # it may have outgrown a form meanwhile
        v.expire_at = wanted.expire_at
        if v.type == T_CHUNKED:
            put_be64(v.data, self.value_id(get_be64(v.data)))
        return self.view.place(&head, v)

    cdef bint kills(self, Version* old) except -1:
        """Whether the workspace has listed what an older value keeps in other records as trash."""
        cdef char key[9]
        cdef Tip tip = self.work.tip
        cdef Entry* e
        if old.type == T_CHUNKED:
            put_be64(key + 1, get_be64(old.data))
        elif is_collection(old.type):
            put_be64(key + 1, head_data(old).id)
        else:
            return False
        key[0] = K_TRASH
        e = tip.find(tip.meta, tip.hash_key(key, 9), key, 9)
        return e != NULL and e.newest.type != T_NONE

    cdef uint64_t value_id(self, uint64_t id) except 0:
        """The real id of a value in chunks that a head of the workspace names."""
        if id < PRIVATE_IDS:
            return id
        if not self.values.count(id):
            self.values[id] = self.view.new_id()
        return self.values[id]

    cdef int put_chunk(self, Entry* e) except -1:
        cdef uint64_t id = get_be64(e.key)
        cdef uint32_t number = get_be32(e.key + 8)
        if id >= PRIVATE_IDS:
            if not self.values.count(id):
                return 0        # no key holds this value in the end
            id = self.values[id]
        else:
            keep_chunks(self.view, id, number, number + 1)
        return self.view.write_chunk(id, number, e.newest.data, e.newest.length)

    cdef int put_part(self, Entry* e) except -1:
        """Put or remove an element of a collection that lives."""
        cdef Collection* c = self.real(e.table.owner)
        cdef Element element
        cdef Version* v = e.newest
        if c == NULL:
            return 0
        if c.type == T_LIST:
            return put_placed(self.view, self.work, e.table.owner, c, e)
        element.hash = e.hash
        element.key.data = e.key
        element.key.len = e.key_len
        element.entry = self.view.tip.find(c.elements, e.hash, e.key, e.key_len)
        element.version = NULL
        if element.entry != NULL and element.entry.newest.type != T_NONE:
            element.version = element.entry.newest
        if v.type != T_NONE:
            put_element(self.view, c, &element, v.data, v.length, v.expire_at)
            self.note_growth(c, &element)
        elif element.version != NULL:
            remove_element(self.view, c, &element)
        return 0

    cdef Collection* real(self, Collection* c) except? NULL:
        """The tip's collection for one of the workspace; NULL: it does not live."""
        if c.died:
            return NULL
        if c.id < PRIVATE_IDS:
            return self.view.tip.collection(c.id)
        if self.made.count(c.id):
            return self.made[c.id]
        return NULL

    cdef int change_lists(self) except -1:
        """Give lists their new ends and lengths."""
        cdef Collection* first = self.work.tip.clock_start
        cdef Collection* c = first
        cdef Collection* main
        while c != NULL:
            main = self.real(c)
            if main != NULL and c.type == T_LIST:
                move_ends(self.view, self.work, c, main)
            c = c.next if c.next != first else NULL
        return 0

    cdef int note_growth(self, Collection* c, Element* element) except -1:
        """The elements of others may count for the form that OBJECT ENCODING tells."""
        cdef Head head
        head.table = c.head.table
        head.entry = c.head
        head.version = c.head.newest
        head.hash = c.head.hash
        head.key.data = c.head.key
        head.key.len = c.head.key_len
        if c.type == T_SET:
            return note_member(self.view, &head, c, &element.key)
        return note_size(self.view, &head, c, max(element.key.len, <size_t>element.version.length))
