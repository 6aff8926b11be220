# cython: boundscheck=False, wraparound=False
"""The handlers' view of the data: lookups at the tip, writes into the open batch, and its payload."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport UINT64_MAX
from libc.string cimport memcpy, memset
from kvnode._core.breath cimport breathe
from kvnode._core.buffer cimport buffer_append, buffer_append_byte, buffer_free, buffer_reserve
from kvnode._core.bytes cimport ASSERT, get_be64, put_be32, put_be64
from kvnode._core.deltas cimport deltas_push, meta_add, meta_is_zero, meta_subtract
from kvnode._core.keys cimport (
    HEAD_PREFIX_BYTES, K_CHUNK, K_CLAIM, K_COUNTER, K_DATABASE, K_FIELD, K_GENERATION, K_HEAD,
    K_PENDING, K_TRASH, PLACED_PREFIX_BYTES, RECORD_PREFIX_BYTES_MAX, put_hashed_prefix, put_placed_prefix,
    record_prefix)
from kvnode._core.payload cimport encode_delta, encode_write
from kvnode._core.tip cimport (
    DATABASES_MAX, E_USED, E_WATCHED, HEAD_DATA_BYTES, T_CHUNKED, T_LIST, T_NONE, T_RAW, HeadData,
    fold, head_data, is_collection, note_presence, reorder, surely_absent, sweep_items)
from kvnode._core.trash cimport TRASH_CHUNKS, TRASH_COLLECTION, TRASH_GENERATION

from kvnode.base.errors import InvariantError, WorkspaceFullError

cdef enum:
    FOLD_DELTAS = 8         # unfolded deltas of a collection past which its writer looks for some
    SWEPT_ITEMS_PER_BATCH = 256     # popped items of one list that a batch frees
    FREQUENCY_MAX = 255
    LIST_SHIFT_MAX = 4096
    LIST_FETCH_MAX = 1024
    REMOVE_EACH_MAX = 1000
    LIST_RUNS_MAX = 1 << 16


cdef class View:
    """Reads and writes of the commands of one batch.

    tip: the memory that it works on.
    next_id: first unused id; ids of generations and large values are never reused.
    is_private: of a workspace. steps_max: the step budget of a command or EXEC, in elements.
    """

    def __cinit__(self, Tip tip not None, uint64_t next_id, *, bint is_private=False,
                  int64_t steps_max=STEPS_MAX):
        self.tip = tip
        self.is_private = is_private
        self.steps_max = steps_max
        self.bytes_max = UINT64_MAX
        self.next_id = self.logged_next_id = next_id
        self.missing_ranges = []
        self.missing_loads = set()
        self.missing_spans = set()
        self.ranges = {}
        self.staging = {}
        self.readers = {}
        self.events = []
        self.switches = []
        self.expiry_active = True
        self.string_bytes_max = 512 << 20
        self.hash_listpack_entries = self.set_intset_entries = 512
        self.set_listpack_entries = self.zset_listpack_entries = 128
        self.hash_listpack_value = self.set_listpack_value = self.zset_listpack_value = 64
        self.list_listpack_size = -2
        self.databases_count = DATABASES_MAX
        self.list_shift_max = LIST_SHIFT_MAX
        self.list_fetch_max = LIST_FETCH_MAX
        self.remove_each_max = REMOVE_EACH_MAX
        self.list_runs_max = LIST_RUNS_MAX

    def __dealloc__(self):
        self.clear_missing()

    # -- batches and commands -------------------------------------------------------------------

    cdef int open_batch(self, uint64_t now_ms, uint64_t commit_ts) except -1:
        """Begin a batch: its writes carry `commit_ts`, its time is `now_ms` throughout."""
        if self.has_writes():
            raise InvariantError("a batch is open already")
        if commit_ts <= self.commit_ts:
            raise InvariantError("commit_ts must grow")
        self.now_ms = now_ms
        self.commit_ts = commit_ts
        self.batch_bytes = 0
        return 0

    cdef int enter(self, Session session) except -1:
        """Run for `session` from here on."""
        self.session = session
        self.observed = 0
        self.wrote = self.saw_all = False
        self.table = self.tip.databases[session.db if session is not None else 0]
        return 0

    cdef bint has_writes(self) noexcept:
        return not self.writes.empty() or not self.tip.changes.empty()

    cdef bint counts_changed(self) noexcept:
        return self.next_id != self.logged_next_id

    # -- lookups --------------------------------------------------------------------------------

    cdef int lookup(self, const char* key, size_t n, int flags, Head* head) except -1:
        """Find a key of the current database: FOUND, ABSENT, or MISS (noted as missing)."""
        return self.lookup_in(self.table, key, n, flags, head)

    cdef int lookup_in(self, Table* table, const char* key, size_t n, int flags, Head* head) except -1:
        cdef Entry* e
        cdef Version* v
        cdef uint32_t now_s
        head.table = table
        head.key.data = key
        head.key.len = n
        head.hash = self.tip.hash_key(key, n)
        head.version = NULL
        e = self.tip.find(table, head.hash, key, n)
        head.entry = e
        if table.switched > self.observed:
            self.observed = table.switched
        if e == NULL:
            if not surely_absent(table, head.hash):
                self.miss(K_HEAD, table, head.hash, key, n)
                return MISS
            if flags & L_READ:
                self.misses += 1
            return ABSENT
        v = e.newest
        if v.commit_ts > self.observed:
            self.observed = v.commit_ts
        if v.type == T_NONE:
            if flags & L_READ:
                self.misses += 1
            return ABSENT
        head.version = v
        if v.expire_at and v.expire_at <= self.now_ms:
            self.expire(head)
            if flags & L_READ:
                self.misses += 1
            return ABSENT
        if not flags & L_NO_TOUCH:
            e.flags |= E_USED
            now_s = <uint32_t>(self.now_ms // 1000)
            if e.access_s != now_s:
                e.access_s = now_s
            if e.frequency < FREQUENCY_MAX:
                e.frequency += 1
        if flags & L_READ:
            self.hits += 1
        return FOUND

    cdef int expire(self, Head* head) except -1:
        """Delete a head past its deadline: the leader's decision, through the log."""
        cdef bint wrote = self.wrote    # a read that meets it stays a read
        self.remove(head)
        self.wrote = wrote
        self.expired += 1
        return self.notify_in(head.table, N_EXPIRED, b"expired", head.key.data, head.key.len)

    cdef int miss(self, char kind, Table* table, uint64_t hash, const char* key, size_t n) except -1:
        """Note a record that must be fetched before the running command can go on."""
        cdef Buffer b
        b.data = NULL
        b.len = b.capacity = 0
        buffer_reserve(&b, n + RECORD_PREFIX_BYTES_MAX)
        b.len = record_prefix(kind)
        if b.len == HEAD_PREFIX_BYTES:
            put_hashed_prefix(b.data, kind, table.id, hash)
        elif b.len == PLACED_PREFIX_BYTES:
            put_placed_prefix(b.data, kind, table.id)
        else:
            b.data[0] = kind
        buffer_append(&b, key, n)
        self.missing.push_back(b)
        return 0

    cdef int note_if_missing(self, Table* table, const char* key, size_t n) except -1:
        """Note the head of `key` as missing unless it is in memory."""
        cdef uint64_t hash = self.tip.hash_key(key, n)
        if self.tip.find(table, hash, key, n) == NULL and not surely_absent(table, hash):
            self.miss(K_HEAD, table, hash, key, n)
        return 0

    def take_missing(self):
        """Return the record keys noted as missing since the last call."""
        cdef list keys = []
        cdef size_t i
        for i in range(self.missing.size()):
            if self.is_private:
                self.breathe(1)
            keys.append(PyBytes_FromStringAndSize(self.missing[i].data, self.missing[i].len))
            buffer_free(&self.missing[i])
        self.missing.clear()
        return keys

    cdef int clear_missing(self) except -1:
        cdef size_t i
        for i in range(self.missing.size()):
            buffer_free(&self.missing[i])
        self.missing.clear()
        return 0

    # -- writes ---------------------------------------------------------------------------------

    cdef Version* write(self, Head* head, uint8_t type, size_t length, uint64_t expire_at) except NULL:
        """Make a new version of a head in this batch; the caller fills its `length` bytes of data.

        What the key's older value kept in other records goes to the trash.
        """
        cdef Version* v
        if head.version != NULL:
            self.bury(head.version)
        v = self.tip.new_version(length)
        v.type = type
        v.expire_at = expire_at
        self.place(head, v)
        return v

    cdef int place(self, Head* head, Version* v) except -1:
        """Put a version of a head into its chain and keep the counts of its database."""
        cdef Version* old = head.version
        cdef Table* table = head.table
        cdef Entry* e = head.entry
        cdef int keys = (1 if v.type != T_NONE else 0) - (1 if old != NULL else 0)
        if e == NULL:
            e = self.tip.insert(table, head.hash, head.key.data, head.key.len)
            head.entry = e
        if old != NULL and old.expire_at:
            table.volatile_keys -= 1
        if v.type == T_NONE:
            e.row_at = 0        # a later deadline of this name is filed anew
        if v.expire_at:
            table.volatile_keys += 1
            self.tip.file_deadline(e, v.expire_at)
        if is_collection(v.type):
            self.tip.collection(head_data(v).id).head = e
        if keys:
            table.keys += keys
            table.keys_changed = self.commit_ts
        self.push_write(e, v)
        if e.flags & E_WATCHED:
            self.touched.push_back(e)
        if self.awaited_types:
            self.signal(e, v.type)
        head.version = v if v.type != T_NONE else NULL
        return 0

    cdef int push_write(self, Entry* entry, Version* v) except -1:
        """Make `v` the newest version of `entry`, in the open batch."""
        cdef Version* old = entry.newest
        cdef Write w
        v.commit_ts = self.observed = self.commit_ts
        self.wrote = True
        self.batch_bytes += v.length + entry.key_len + RECORD_OVERHEAD_BYTES
        if old != NULL and old.commit_ts == self.commit_ts and old.slot >= self.savepoint_floor:
            v.older = old.older
            v.slot = old.slot
            self.writes[v.slot].version = v
            entry.newest = v
            self.tip.adopt(entry, v)
            self.tip.free_version(entry, old)
            return 0
        v.older = old
        v.slot = <uint32_t>self.writes.size()
        w.entry = entry
        w.version = v
        self.writes.push_back(w)
        entry.newest = v
        self.tip.adopt(entry, v)
        self.tip.mark_dirty(entry)
        if old == NULL or old.commit_ts != self.commit_ts:  # else it was pruned in this batch already
            self.tip.prune(entry)
        return 0

    cdef int write_bytes(self, Head* head, const char* data, size_t n, uint64_t expire_at) except -1:
        """Set a key to an inline string."""
        cdef Version* v = self.write(head, 1, n, expire_at)
        memcpy(v.data, data, n)
        return 0

    cdef int remove(self, Head* head) except -1:
        """Delete a key that `lookup` found."""
        ASSERT(head.version != NULL)
        self.bury(head.version)
        return self.place(head, self.tip.new_version(0))

    cdef int bury(self, Version* old) except -1:
        """List what a value that is about to go keeps in other records for the sweeper."""
        cdef Collection* c
        cdef char key[9]
        cdef char value[2]
        if old.type == T_CHUNKED:
            return self.trash_chunks(get_be64(old.data), get_be64(old.data + 8))
        if not is_collection(old.type):
            return 0
        c = self.tip.collection(head_data(old).id)
        c.died = self.commit_ts
        self.killed.push_back(c)
        key[0] = K_TRASH
        put_be64(key + 1, c.id)
        value[0] = TRASH_COLLECTION
        value[1] = <char>c.type
        return self.record_put(self.tip.meta, key, 9, value, 2)

    cdef int move(self, Head* source, Head* target) except -1:
        """Give the value of `source` to `target` under its own deadline, and delete `source`."""
        cdef Version* old = source.version
        cdef Version* v = self.tip.new_version(old.length)
        v.type = old.type
        v.flags = old.flags
        v.expire_at = old.expire_at
        memcpy(v.data, old.data, old.length)
        if target.version != NULL:
            self.bury(target.version)
        self.place(target, v)
        return self.place(source, self.tip.new_version(0))

    cdef int signal(self, Entry* e, uint8_t type) except -1:
        """A key got a value, or more of it: who waits for one is served once the command has ended."""
        if self.awaited_types & (<uint32_t>1 << type) and (
                self.signalled.empty() or self.signalled.back() != e):
            self.signalled.push_back(e)
        return 0

    cdef int record_put(self, Table* table, const char* key, size_t n,
                        const char* value, size_t m) except -1:
        """Write a record that is no head."""
        cdef uint64_t hash = self.tip.hash_key(key, n)
        cdef Entry* e = self.tip.find(table, hash, key, n)
        cdef Version* v = self.tip.new_version(m)
        v.type = T_RAW
        memcpy(v.data, value, m)
        if e == NULL:
            e = self.tip.insert(table, hash, key, n)
        return self.push_write(e, v)

    cdef int record_delete(self, Table* table, const char* key, size_t n) except -1:
        cdef uint64_t hash = self.tip.hash_key(key, n)
        cdef Entry* e = self.tip.find(table, hash, key, n)
        if e == NULL:
            e = self.tip.insert(table, hash, key, n)
        return self.push_write(e, self.tip.new_version(0))

    # -- collections ----------------------------------------------------------------------------

    cdef Collection* create_collection(self, Head* head, uint8_t type) except NULL:
        """Give a key, absent or to be overwritten, a new and empty collection."""
        if head.version != NULL:
            self.bury(head.version)
        return self.name_collection(head, type)

    cdef Collection* name_collection(self, Head* head, uint8_t type) except NULL:
        """The same, while what the key has held lives on or is buried already."""
        cdef Collection* c = self.tip.new_collection(self.new_id(), type, True)
        c.low = c.high = 0
        self.created.push_back(c)
        self.publish_collection(head, c)
        return c

    cdef int publish_collection(self, Head* head, Collection* c) except -1:
        """Give a collection its first head; its metadata and elements are what it has by now."""
        cdef Version* v = self.tip.new_version(HEAD_DATA_BYTES)
        c.ready = True
        c.changed = self.commit_ts
        memset(v.data, 0, HEAD_DATA_BYTES)
        v.type = c.type
        head_data(v).id = c.id
        return self.place(head, v)

    cdef Change* change_of(self, Collection* c) except NULL:
        """Return the open batch's change of a collection, to be added to; `c.meta` is separate.

        Whoever watches the key is told, and readers wait for this batch from here on.
        """
        cdef Change change
        cdef size_t slot = c.slot
        self.observed = self.commit_ts
        self.wrote = True
        if c.head.flags & E_WATCHED:
            self.touched.push_back(c.head)
        if self.awaited_types:
            self.signal(c.head, c.type)
        if slot >= self.changes_floor and slot < self.tip.changes.size() \
                and self.tip.changes[slot].collection == c:
            return &self.tip.changes[slot]
        memset(&change, 0, sizeof(Change))
        change.collection = c
        change.changed_before = c.changed
        change.slot_before = c.slot
        c.slot = <uint32_t>self.tip.changes.size()
        c.changed = self.commit_ts
        c.used = True
        self.tip.changes.push_back(change)
        return &self.tip.changes.back()

    cdef Entry* put_part(self, Collection* c, Table* table, Entry* entry, uint64_t hash,
                         const char* key, size_t n, Version* v) except NULL:
        """Write an element or a claim of a collection; return its entry.

        entry: NULL if it has none in memory.
        """
        if self.is_private:
            self.breathe(1)
            if self.is_full:
                raise WorkspaceFullError
        if entry == NULL:
            entry = self.tip.insert(table, hash, key, n)
        if c.order != NULL:
            reorder(self.tip, c, entry, entry.newest, v)
        elif table.kind == K_CLAIM:
            c.claims_version += 1
        self.push_write(entry, v)
        note_presence(entry)
        if v.expire_at:
            self.tip.file_deadline(entry, v.expire_at)
        elif v.type == T_NONE and table.kind == K_FIELD:
            entry.row_at = 0
        return entry

    # -- chunks of large strings ----------------------------------------------------------------

    cdef int chunk(self, uint64_t value_id, uint32_t number, Version** version) except -1:
        """Find a chunk: FOUND, ABSENT (it reads as zeros) or MISS."""
        cdef char key[12]
        cdef uint64_t hash
        cdef Entry* e
        put_be64(key, value_id)
        put_be32(key + 8, number)
        hash = self.tip.hash_key(key, 12)
        e = self.tip.find(self.tip.chunks, hash, key, 12)
        version[0] = NULL
        if e == NULL:
            if self.tip.chunks.resident:
                return ABSENT
            self.miss(K_CHUNK, self.tip.chunks, hash, key, 12)
            return MISS
        e.flags |= E_USED
        if e.newest.commit_ts > self.observed:
            self.observed = e.newest.commit_ts
        if e.newest.type == T_NONE:
            return ABSENT
        version[0] = e.newest
        return FOUND

    cdef int write_chunk(self, uint64_t value_id, uint32_t number, const char* data, size_t n) except -1:
        cdef char key[12]
        put_be64(key, value_id)
        put_be32(key + 8, number)
        return self.record_put(self.tip.chunks, key, 12, data, n)

    cdef int publish_chunks(self, Head* head, uint64_t value_id, uint64_t length,
                            uint64_t expire_at) except -1:
        """Make the chunks written under `value_id` the value of a key."""
        cdef Version* v
        cdef Version* old = head.version
        if old != NULL and old.type == T_CHUNKED and get_be64(old.data) == value_id:
            v = self.tip.new_version(16)
            v.type = T_CHUNKED
            v.expire_at = expire_at
            put_be64(v.data, value_id)
            put_be64(v.data + 8, length)
            return self.place(head, v)
        v = self.write(head, T_CHUNKED, 16, expire_at)
        put_be64(v.data, value_id)
        put_be64(v.data + 8, length)
        return 0

    cdef int trash_chunks(self, uint64_t value_id, uint64_t length) except -1:
        """List the chunks of a dead value for the sweeper."""
        cdef char key[9]
        cdef char value[9]
        key[0] = K_TRASH
        put_be64(key + 1, value_id)
        value[0] = TRASH_CHUNKS
        put_be64(value + 1, length)
        return self.record_put(self.tip.meta, key, 9, value, 9)

    cdef int begin_value(self, uint64_t value_id, uint64_t length, session) except -1:
        """Chunks are going to be written before a head names them: they are garbage until then."""
        cdef char key[9]
        cdef char value[9]
        self.staging[value_id] = session
        key[0] = K_PENDING
        put_be64(key + 1, value_id)
        value[0] = T_CHUNKED
        put_be64(value + 1, length)
        return self.record_put(self.tip.meta, key, 9, value, 9)

    cdef bint is_begun(self, uint64_t value_id) noexcept:
        """Whether a value begun here may still be written: no other leader has buried it meanwhile."""
        cdef char key[9]
        cdef Entry* e
        key[0] = K_PENDING
        put_be64(key + 1, value_id)
        e = self.tip.find(self.tip.meta, self.tip.hash_key(key, 9), key, 9)
        return e != NULL and e.newest.type != T_NONE

    cdef int end_value(self, uint64_t value_id) except -1:
        """A head is going to name the value: it lives."""
        cdef char key[9]
        key[0] = K_PENDING
        put_be64(key + 1, value_id)
        return self.record_delete(self.tip.meta, key, 9)

    cdef uint64_t new_id(self) except 0:
        cdef uint64_t id = self.next_id
        self.next_id += 1
        return id

    # -- databases ------------------------------------------------------------------------------

    cdef int flush_database(self, int db) except -1:
        """Empty a database: a new generation takes its place, the old one goes to the trash."""
        cdef Table* old = self.tip.databases[db]
        cdef Table* table
        cdef char key[9]
        cdef char value[9]
        if old.switched > self.observed:
            self.observed = old.switched    # it may be empty because it was flushed just now
        if old.entries == 0 and old.resident:
            return 0
        table = self.create_generation()
        key[0] = K_TRASH
        put_be64(key + 1, old.id)
        value[0] = TRASH_GENERATION
        self.record_put(self.tip.meta, key, 9, value, 1)
        return self.point_database(db, table)

    cdef Table* create_generation(self) except NULL:
        """Begin a generation. Its record comes first in the batch: replay puts its heads there."""
        cdef Table* table = self.tip.new_generation(self.new_id(), True)
        table.keys_changed = self.commit_ts
        self.put_counts(table)
        return table

    cdef int swap_databases(self, int a, int b) except -1:
        cdef Table* table = self.tip.databases[a]
        self.point_database(a, self.tip.databases[b])
        return self.point_database(b, table)

    cdef int point_database(self, int db, Table* table) except -1:
        cdef char key[2]
        cdef char value[8]
        cdef uint64_t old_id = table.id
        if self.tip.databases[db] != NULL:
            old_id = self.tip.databases[db].id
        key[0] = K_DATABASE
        key[1] = <char>db
        put_be64(value, table.id)
        self.record_put(self.tip.meta, key, 2, value, 8)
        self.tip.databases[db] = table
        table.switched = self.commit_ts
        self.switches.append((db, old_id, table.id))
        if self.session is not None:
            self.table = self.tip.databases[self.session.db]
        return 0

    def create_databases(self):
        """First start on an empty store: give every database its generation."""
        cdef int db
        for db in range(DATABASES_MAX):
            if self.tip.databases[db] == NULL:
                self.point_database(db, self.create_generation())

    cdef uint64_t draw(self) noexcept:
        """A number that looks random but follows from the batch: handlers have no other source."""
        cdef char seed[16]
        self.draws += 1
        put_be64(seed, self.commit_ts)
        put_be64(seed + 8, self.draws)
        return self.tip.hash_key(seed, 16)

    # -- effects beside records -----------------------------------------------------------------

    cdef int notify(self, int event_class, bytes event, const char* key, size_t n) except -1:
        """State the keyspace event of a change; it leaves when the batch is committed."""
        if self.on_event is not None:
            self.events.append((event_class, event, PyBytes_FromStringAndSize(key, n),
                                self.session.db if self.session is not None else 0))
        return 0

    cdef int notify_in(self, Table* table, int event_class, bytes event, const char* key,
                       size_t n) except -1:
        """The same for a key of any database, not always the session's: MOVE, the sweeper."""
        cdef int db
        if self.on_event is not None:
            for db in range(DATABASES_MAX):
                if self.tip.databases[db] == table:
                    self.events.append((event_class, event, PyBytes_FromStringAndSize(key, n), db))
        return 0

    cdef int finish_command(self) except -1:
        """The command ended: its marks and events count from here on."""
        cdef size_t i
        cdef Entry* e
        if not self.touched.empty():
            for i in range(self.touched.size()):
                e = self.touched[i]
                self.watches.touch(e.table.id, PyBytes_FromStringAndSize(e.key, e.key_len))
            self.touched.clear()
        if self.switches:
            for switch in self.switches:
                if self.watches is not None:
                    self.watches.switch(*switch)
                if self.awaited_types:
                    self.waiters.switch(switch[0])
            self.switches.clear()
        if self.events:
            for event in self.events:
                (self.on_message if event[0] == N_MESSAGE else self.on_event)(*event)
            self.events.clear()
        return 0

    # -- savepoints -----------------------------------------------------------------------------

    cdef Savepoint savepoint(self) noexcept:
        """Remember where the batch stands; give it to rollback() or to release()."""
        cdef Savepoint mark
        mark.writes = self.writes.size()
        mark.touched = self.touched.size()
        mark.signalled = self.signalled.size()
        mark.events = len(self.events)
        mark.floor = self.savepoint_floor
        mark.dirty = self.tip.dirty.size()
        mark.generations = self.tip.generations.size()
        mark.changes = self.tip.changes.size()
        mark.changes_floor = self.changes_floor
        mark.created = self.created.size()
        mark.killed = self.killed.size()
        self.changes_floor = self.tip.changes.size()
        mark.next_id = self.next_id
        mark.batch_bytes = self.batch_bytes
        self.savepoint_floor = self.writes.size()
        return mark

    cdef int rollback(self, Savepoint* mark) except -1:
        """Undo every write since `mark`, and end the savepoint.

        Entries that it created go: a blind write (of a chunk) does not know what LevelDB has.
        """
        cdef Write w
        cdef Version* older
        self.tip.undirty(mark.dirty)
        while self.writes.size() > mark.writes:
            w = self.writes.back()
            self.writes.pop_back()
            older = w.version.older
            ASSERT(w.entry.newest == w.version)
            self.uncount(w.entry, w.version, older)
            if older == NULL:
                self.tip.remove(w.entry)
                continue
            w.entry.newest = older
            if w.entry.table.owner != NULL:
                note_presence(w.entry)
            self.tip.free_version(w.entry, w.version)
        self.unmake(mark)
        while self.tip.generations.size() > mark.generations:
            self.tip.forget_newest_generation()
        self.touched.resize(mark.touched)
        self.signalled.resize(mark.signalled)
        del self.events[mark.events:]
        self.switches.clear()
        self.next_id = mark.next_id
        self.batch_bytes = mark.batch_bytes
        self.savepoint_floor = mark.floor
        self.changes_floor = mark.changes_floor
        return 0

    cdef int unmake(self, Savepoint* mark) except -1:
        """Undo what happened to collections since `mark`; their elements are undone already."""
        cdef Change* change
        while self.tip.changes.size() > mark.changes:
            change = &self.tip.changes.back()
            meta_subtract(&change.collection.meta, &change.sum)
            change.collection.changed = change.changed_before
            change.collection.slot = change.slot_before
            self.tip.changes.pop_back()
        while self.killed.size() > mark.killed:
            self.killed.back().died = 0
            self.killed.pop_back()
        while self.created.size() > mark.created:
            self.tip.free_collection(self.created.back())
            self.created.pop_back()
        return 0

    cdef void end_savepoint(self, Savepoint* mark) noexcept:
        """Keep what was written since `mark`."""
        self.savepoint_floor = mark.floor
        self.changes_floor = mark.changes_floor

    cdef int uncount(self, Entry* e, Version* dropped, Version* now) except -1:
        """Set the counts of a database back by one undone write. now: NULL = there was no entry."""
        cdef Table* table = e.table
        cdef bint present = now != NULL and now.type != T_NONE
        if table == self.tip.meta:
            if e.key[0] == K_DATABASE and present:
                self.tip.databases[<uint8_t>e.key[1]] = self.tip.generation(get_be64(now.data))
                if self.session is not None:
                    self.table = self.tip.databases[self.session.db]
            return 0
        if table.owner != NULL and table.owner.order != NULL:
            reorder(self.tip, table.owner, e, dropped, now)
        elif table.kind == K_CLAIM:
            table.owner.claims_version += 1
        if present and now.expire_at:
            self.tip.file_deadline(e, now.expire_at)
        if table.kind != K_HEAD:
            return 0
        if present and is_collection(now.type):
            self.tip.collection(head_data(now).id).head = e
        table.keys += (1 if present else 0) - (1 if dropped.type != T_NONE else 0)
        table.volatile_keys += (1 if present and now.expire_at else 0) \
            - (1 if dropped.expire_at else 0)
        return 0

    def connect(self, dispatch, watches, node=None):
        """Give handlers what they need beside the data."""
        self.dispatch = dispatch
        self.watches = watches
        self.node = node

    cdef void breathe(self, uint32_t steps) noexcept:
        """Steps of a command that holds up other threads for as long as it takes: let them run."""
        if breathe(&self.breath, steps):
            self.is_full = self.tip.bytes > self.bytes_max

    cdef int adopt_settings(self, View other) except -1:
        """Take over what CONFIG SET and DEBUG have told another view."""
        self.expiry_active = other.expiry_active
        self.string_bytes_max = other.string_bytes_max
        self.databases_count = other.databases_count
        self.hash_listpack_entries = other.hash_listpack_entries
        self.hash_listpack_value = other.hash_listpack_value
        self.zset_listpack_entries = other.zset_listpack_entries
        self.zset_listpack_value = other.zset_listpack_value
        self.set_listpack_entries = other.set_listpack_entries
        self.set_listpack_value = other.set_listpack_value
        self.set_intset_entries = other.set_intset_entries
        self.list_listpack_size = other.list_listpack_size
        self.list_shift_max = other.list_shift_max
        self.list_fetch_max = other.list_fetch_max
        self.remove_each_max = other.remove_each_max
        self.list_runs_max = other.list_runs_max
        return 0

    def select(self, int db):
        """Make `db` the database of the running session, for this and the following commands."""
        if not 0 <= db < DATABASES_MAX:
            raise ValueError("database out of range")
        self.session.db = db
        self.table = self.tip.databases[db]

    @property
    def first_unused_id(self):
        """The id that the next generation or large value will get."""
        return self.next_id

    def set_next_id(self, uint64_t next_id):
        """After replay: continue above every id in use."""
        self.next_id = self.logged_next_id = next_id

    # -- the batch's payload --------------------------------------------------------------------

    cdef int encode_batch(self, Buffer* out) except -1:
        """Append the net effects of the batch to `out` and end it.

        One operation a record, its last value: see payload. Applied by tip.apply_entry.
        """
        cdef size_t i
        cdef Write w
        cdef Version* v
        cdef Version* older
        self.write_counts()
        if not self.tip.changes.empty():
            self.encode_changes(out)
        for i in range(self.writes.size()):
            w = self.writes[i]
            v = w.version
            if w.entry.newest != v:
                continue        # written again after a savepoint: the later write is logged
            if is_collection(v.type):
                self.refresh_base(v)
            encode_write(out, w.entry, v)
            while v.older != NULL and v.older.commit_ts == self.commit_ts:
                older = v.older
                v.older = older.older
                self.tip.free_version(w.entry, older)
        self.writes.clear()
        self.savepoint_floor = 0
        self.end_changes()
        self.created.clear()
        for i in range(self.killed.size()):
            self.tip.dying.push_back(self.killed[i])
        self.killed.clear()
        return 0

    cdef int refresh_base(self, Version* v) except -1:
        """A head that goes into the log carries its collection's metadata as of this batch's end."""
        cdef HeadData* d = head_data(v)
        cdef Collection* c = self.tip.collection(d.id)
        d.base = c.meta
        d.folded = self.commit_ts
        d.low = c.low
        d.high = c.high
        return 0

    cdef int encode_changes(self, Buffer* out) except -1:
        """Append the delta of each collection that the batch changed.

        One delta a collection, whatever number of commands changed it. A collection whose head the
        batch writes needs none: the base says it.
        """
        cdef size_t i
        cdef Change* change
        cdef Collection* c
        cdef Meta sum
        for i in range(self.tip.changes.size()):
            change = &self.tip.changes[i]
            c = change.collection
            sum = change.sum
            memset(&change.sum, 0, sizeof(Meta))    # from here on the delta says it
            if c.slot != i:         # changed again after a savepoint
                meta_add(&self.tip.changes[c.slot].sum, &sum)
                continue
            if meta_is_zero(&sum):
                continue
            deltas_push(&c.deltas, self.commit_ts, &sum)
            if c.died:
                continue
            if c.head.newest.commit_ts != self.commit_ts:
                encode_delta(out, c, self.commit_ts, &sum)
            self.tip.mark_dirty(c.head)
            if c.deltas.count > FOLD_DELTAS:
                fold(self.tip, c)
        return 0

    cdef int end_changes(self) except -1:
        """The batch is encoded: popped items may be freed, also those that it wrote itself."""
        cdef size_t i
        cdef Collection* c
        for i in range(self.tip.changes.size()):
            c = self.tip.changes[i].collection
            if c.type == T_LIST and c.slot == i and not c.died:
                sweep_items(self.tip, c, SWEPT_ITEMS_PER_BATCH, None)
        self.tip.changes.clear()
        self.changes_floor = 0
        return 0

    cdef int write_counts(self) except -1:
        """Put the key counts and the id counter that this batch changed into it."""
        cdef size_t i
        cdef Table* table
        cdef char value[8]
        for i in range(self.tip.generations.size()):
            table = self.tip.generations[i]
            if not table.dead and (table.logged_keys != table.keys
                                   or table.logged_volatile != table.volatile_keys):
                self.put_counts(table)
        if self.next_id != self.logged_next_id:
            put_be64(value, self.next_id)
            self.record_put(self.tip.meta, b"Nids", 4, value, 8)
            self.logged_next_id = self.next_id
        return 0

    cdef int put_counts(self, Table* table) except -1:
        """Write the record of a generation: its counts."""
        cdef char key[9]
        cdef char value[16]
        key[0] = K_GENERATION
        put_be64(key + 1, table.id)
        put_be64(value, <uint64_t>table.keys)
        put_be64(value + 8, <uint64_t>table.volatile_keys)
        table.logged_keys = table.keys
        table.logged_volatile = table.volatile_keys
        return self.record_put(self.tip.meta, key, 9, value, 16)
