# cython: boundscheck=False, wraparound=False
"""Multi-version memory: tables, entries, version chains, dirty lists, eviction, flush and fetch."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport INT64_MAX, INT64_MIN, UINT64_MAX
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset
from kvnode._core.bytes cimport ASSERT, get_be64, get_varint, put_be64
from kvnode._core.deltas cimport (
    DELTAS_MAX, deltas_fold, deltas_free, deltas_merge, deltas_push, deltas_sum, deltas_undo,
    meta_add, meta_is_zero, meta_subtract)
from kvnode._core.hashing cimport siphash13
from kvnode._core.order_tree cimport OrderTree
from kvnode._core.prefetch cimport prefetch_line
from kvnode._core.score_windows cimport bound_bytes, bound_of, order_bottom, order_top
from kvnode._core.keys cimport (
    CHUNK_KEY_BYTES, DELTA_KEY_BYTES, HEAD_PREFIX_BYTES, K_CHUNK, K_CLAIM, K_COUNTER, K_DATABASE,
    K_DELTA, K_FIELD, K_GENERATION, K_HEAD, K_ITEM, K_MEMBER, K_PENDING, K_SCORE, K_TRASH,
    PLACED_PREFIX_BYTES, POSITION_BYTES, SCORE_PREFIX_BYTES, get_position, put_delta_key,
    put_head_prefix, put_placed_prefix, put_position, put_score_prefix, record_prefix)
from kvnode._core.trash cimport TRASH_COLLECTION, TRASH_GENERATION

from kvnode.base.errors import CorruptionError

cdef enum:
    FLUSH_LOOKS_PER_RECORD = 8  # entries that a slice may pass over, per record it may hold
    NO_FETCH = 0xFFFFFFFF
    FILTER_BYTES_MAX = 64 << 20
    SCAN_BUCKETS_MIN = 1024     # a scan looks at no more buckets, and these for each entry wanted:
    SCAN_BUCKETS_PER_ENTRY = 16 # a table keeps its buckets when its entries go


cdef class Tip:
    """All versions not yet in LevelDB, and a bounded cache of records.

    hash_key: 16 bytes that key the hash of user keys; part of the data.
    resident: the store behind is empty, so what is absent here is absent.
    """

    def __cinit__(self, bytes hash_key not None, bint resident):
        if len(hash_key) != 16:
            raise ValueError("hash_key takes 16 bytes")
        self.k0 = get_be64(PyBytes_AS_STRING(hash_key))
        self.k1 = get_be64(PyBytes_AS_STRING(hash_key) + 8)
        self.fresh_from = UINT64_MAX
        self.meta = new_table(78, 0, True)
        self.chunks = new_table(K_CHUNK, 0, resident)
        self.delta_rows = new_table(K_DELTA, 0, True)
        self.fetch_oldest = NO_FETCH
        self.filter_bytes_max = FILTER_BYTES_MAX
        self.fetches = []
        self.blind = []
        self.page_members, self.reach_members = PAGE_MEMBERS, REACH_MEMBERS

    def __dealloc__(self):
        cdef Table* table
        with nogil:
            for table in self.generations:
                free_table(table)
            free_table(self.meta)
            free_table(self.chunks)
            free_table(self.delta_rows)
        free_collections(self)

    # -- tables ---------------------------------------------------------------------------------

    cdef uint64_t hash_key(self, const char* key, size_t n) noexcept nogil:
        return siphash13(self.k0, self.k1, key, n)

    cdef Table* generation(self, uint64_t id) noexcept:
        """Return the table of heads of generation `id`, or NULL."""
        cdef size_t i
        for i in range(self.generations.size()):
            if self.generations[i].id == id:
                return self.generations[i]
        return NULL

    cdef Table* new_generation(self, uint64_t id, bint resident) except NULL:
        cdef Table* table = new_table(K_HEAD, id, resident)
        self.generations.push_back(table)
        return table

    cdef Table* first_seen(self, uint64_t id) except NULL:
        """Return the table of a generation that the log or a row of LevelDB names; make it if need be.

        Its heads are all in memory if LevelDB had none when this life of the node began.
        """
        cdef Table* table = self.generation(id)
        cdef bint resident = True
        cdef size_t i
        if table != NULL:
            return table
        for i in range(self.stored_generations.size()):
            resident &= self.stored_generations[i] != id
        return self.new_generation(id, resident)

    cdef bint is_current(self, Table* table) noexcept:
        """Whether a database shows a generation: others are dead, or are going to be."""
        cdef int i
        for i in range(DATABASES_MAX):
            if self.databases[i] == table and table != NULL:
                return True
        return False

    cdef void forget_newest_generation(self) noexcept:
        """Take back new_generation(); nothing is in it."""
        ASSERT(self.generations.back().entries == 0)
        free_table(self.generations.back())
        self.generations.pop_back()

    cdef Entry* find(self, Table* table, uint64_t hash, const char* key, size_t n) noexcept nogil:
        """Return the entry of `key`, or NULL."""
        cdef Segment* segment = table.directory[0 if table.depth == 0 else hash >> (64 - table.depth)]
        cdef Entry* e = segment.buckets[bucket_of(segment, hash)]
        while e != NULL:
            if e.hash == hash and e.key_len == n and memcmp(e.key, key, n) == 0:
                return e
            e = e.next
        return NULL

    cdef void prefetch(self, Table* table, const Slice* keys, int n, int step) noexcept nogil:
        """Bring the entries of keys[0:n:step] near, in four waves instead of key by key.

        A lookup waits for memory four times: segment, bucket, entry, version. The waits of one wave
        overlap; only PREFETCH_KEYS_MAX keys are looked at.
        """
        cdef uint64_t hashes[PREFETCH_KEYS_MAX]
        cdef int count = 0
        cdef int i = 0
        while i < n and count < PREFETCH_KEYS_MAX:
            hashes[count] = self.hash_key(keys[i].data, keys[i].len)
            count += 1
            i += step
        self.prefetch_hashes(table, hashes, count)

    cdef void prefetch_hashes(self, Table* table, const uint64_t* hashes, int n) noexcept nogil:
        """The same for up to PREFETCH_KEYS_MAX hashes."""
        cdef Segment* segments[PREFETCH_KEYS_MAX]
        cdef Entry* entries[PREFETCH_KEYS_MAX]
        cdef int i
        for i in range(n):
            segments[i] = table.directory[
                0 if table.depth == 0 else hashes[i] >> (64 - table.depth)]
            prefetch_line(segments[i])
        for i in range(n):
            prefetch_line(&segments[i].buckets[bucket_of(segments[i], hashes[i])])
        for i in range(n):
            entries[i] = segments[i].buckets[bucket_of(segments[i], hashes[i])]
            if entries[i] != NULL:
                prefetch_line(entries[i])
        for i in range(n):
            if entries[i] != NULL:
                prefetch_line(entries[i].newest)

    cdef Entry* insert(self, Table* table, uint64_t hash, const char* key, size_t n) except NULL:
        """Add an entry without versions for `key`, which must be absent; give it one at once."""
        cdef Segment* segment
        cdef Entry* e = <Entry*>malloc(sizeof(Entry) + n)
        cdef size_t b
        if e == NULL:
            raise MemoryError("entry")
        memset(e, 0, sizeof(Entry))
        e.hash = hash
        e.table = table
        e.key_len = <uint32_t>n
        e.flags = E_USED if table.owner == NULL else E_USED | E_GONE
        memcpy(e.key, key, n)
        segment = segment_of(table, hash)
        while segment.count >= (<uint64_t>1 << segment.bucket_bits):
            grow_segment(table, hash)
            segment = segment_of(table, hash)
            if segment.bucket_bits == SEGMENT_BUCKET_BITS_MAX and segment.depth >= 40:
                break       # equal hashes cannot be split apart
        b = bucket_of(segment, hash)
        e.next = segment.buckets[b]
        segment.buckets[b] = e
        segment.count += 1
        segment.live += e.flags & E_GONE == 0
        table.entries += 1
        table.bytes += entry_bytes(n)
        self.work += 1
        self.bytes += entry_bytes(n)
        return e

    cdef int remove(self, Entry* entry) except -1:
        """Drop a clean entry and its versions from memory; its table may shrink."""
        cdef Table* table = entry.table
        cdef uint64_t hash = entry.hash
        cdef Segment* segment = segment_of(table, hash)
        self.take_out(entry)
        if is_sparse(segment.bucket_bits, segment.count) and not is_dying(table):
            shrink_segment(table, hash)
        return 0

    cdef int take_out(self, Entry* entry) except -1:
        """The same for who is at work on the buckets, and lets the table shrink when it is done."""
        cdef Table* table = entry.table
        cdef Segment* segment = segment_of(table, entry.hash)
        cdef Entry** link = &segment.buckets[bucket_of(segment, entry.hash)]
        cdef Version* v
        cdef Version* older
        ASSERT(entry.flags & (E_DIRTY | E_FLUSHING) == 0)
        while link[0] != entry:
            link = &link[0].next
        link[0] = entry.next
        segment.count -= 1
        segment.live -= entry.flags & E_GONE == 0
        table.entries -= 1
        self.work += 1
        table.bytes -= entry_bytes(entry.key_len)
        self.bytes -= entry_bytes(entry.key_len)
        v = entry.newest
        while v != NULL:
            older = v.older
            self.free_version(entry, v)
            v = older
        free(entry)
        return 0

    def set_resident(self, uint64_t id, bint resident):
        """Tests: say whether all heads of generation `id` are in memory (True: LevelDB has none)."""
        cdef Table* table = self.generation(id)
        table.resident = resident
        del table.filter        # it began under another truth
        table.filter = NULL

    def note_stored_generations(self, list ids not None):
        """Before anything is loaded or applied: LevelDB has heads of these generations only."""
        self.stored_generations = ids

    def generation_ids(self):
        """Ids of all generations in memory, dying ones included."""
        return [table.id for table in self.generations]

    def has_databases(self):
        """Whether every database has its generation: False before the first start's own entry."""
        return self.databases[DATABASES_MAX - 1] != NULL

    def database_counts(self):
        """Keys, keys with a deadline and mean time left (not kept: 0) of each database that has any."""
        cdef int db
        return {db: (self.databases[db].keys, max(0, self.databases[db].volatile_keys), 0)
                for db in range(DATABASES_MAX)
                if self.databases[db] != NULL and self.databases[db].keys > 0}

    def current_generation(self, int db):
        """The id of the generation that database `db` shows."""
        return self.databases[db].id

    # -- versions -------------------------------------------------------------------------------

    cdef Version* new_version(self, size_t length) except NULL:
        """Allocate a version with room for `length` bytes; it counts once `adopt` has run."""
        return make_version(length)

    cdef void adopt(self, Entry* entry, Version* version) noexcept:
        """Count the memory of a version that was put into the chain of `entry`."""
        cdef size_t n = version_bytes(version.length)
        self.bytes += n
        entry.table.bytes += n
        if entry.flags & E_DIRTY:
            self.dirty_bytes += n

    cdef void free_version(self, Entry* entry, Version* version) noexcept:
        """Free a version that is out of the chain of `entry`."""
        cdef size_t n = version_bytes(version.length)
        self.bytes -= n
        entry.table.bytes -= n
        if entry.flags & E_DIRTY:
            self.dirty_bytes -= n
        free(version)

    cdef int mark_dirty(self, Entry* entry) except -1:
        cdef Version* v
        if entry.flags & E_DIRTY:
            return 0
        entry.flags |= E_DIRTY
        entry.clean_since = <uint32_t>self.dirty.size()
        self.dirty.push_back(entry)
        self.dirty_bytes += chain_bytes(entry)
        return 0

    cdef int forget_dirty(self, Entry* entry) except -1:
        """Take the dirty mark off an entry that LevelDB is never to see."""
        cdef uint32_t place = entry.clean_since
        if not entry.flags & E_DIRTY:
            return 0
        if place < self.dirty.size() and self.dirty[place] == entry:
            self.dirty[place] = NULL
        else:
            ASSERT(self.flushing[place] == entry)
            self.flushing[place] = NULL
        entry.flags &= ~E_DIRTY
        self.dirty_bytes -= chain_bytes(entry)
        entry.clean_since = self.fetch_epoch
        return 0

    cdef bint is_held(self, Entry* entry) noexcept:
        """Whether an entry cannot be freed just now: LevelDB or another thread is busy with it."""
        if entry.flags & E_FLUSHING:
            return True
        return self.sorting and entry.flags & E_DIRTY != 0 \
            and not (entry.clean_since < self.dirty.size()
                     and self.dirty[entry.clean_since] == entry)

    cdef int free_entry(self, Entry* entry) except -1:
        """Drop an entry, dirty or not, that nobody can ask for any more; not one that is_held()."""
        ASSERT(not self.is_held(entry))
        self.forget_dirty(entry)
        return self.remove(entry)

    cdef bint forget_gone(self, Entry* entry) except -1:
        """Drop the tombstone of an element that LevelDB has no row of, if nobody can miss it.

        REQUIRES: its table is resident, so what is not there is absent all the same.
        """
        if entry.flags & E_STORED or self.is_held(entry) or entry.newest.commit_ts > self.durable:
            return False
        if entry.table.owner.stored and self.fetch_oldest != NO_FETCH:
            return False        # a row that was deleted meanwhile may be on its way
        self.prune(entry)
        if entry.newest.older != NULL:
            return False        # a pin sees it
        self.free_entry(entry)
        return True

    cdef void undirty(self, size_t first) noexcept:
        """Take the entries from `first` on off the dirty list: what made them dirty is undone."""
        cdef size_t i
        for i in range(first, self.dirty.size()):
            if self.dirty[i] != NULL:
                self.dirty[i].flags &= ~E_DIRTY
                self.dirty[i].clean_since = self.fetch_epoch
                self.dirty_bytes -= chain_bytes(self.dirty[i])
        self.dirty.resize(first)

    cdef void prune(self, Entry* entry) noexcept:
        """Free the versions that a newer durable one hides from everybody (I4)."""
        cdef Version* keep = version_at(entry, self.durable)
        cdef Version* v
        cdef Version* older
        cdef size_t i
        if keep == NULL:
            return
        i = self.pins.size()
        v = keep.older
        while v != NULL:
            older = v.older
            while i > 0 and self.pins[i - 1] >= keep.commit_ts:
                i -= 1
            if i > 0 and self.pins[i - 1] >= v.commit_ts:
                keep = v            # the newest version that this pin sees
            else:
                keep.older = older
                self.free_version(entry, v)
            v = older

    def pin(self):
        """Pin a snapshot at the watermark and return its commit_ts; see unpin()."""
        self.pins.push_back(self.watermark)
        return self.watermark

    def unpin(self, uint64_t commit_ts):
        """Release one pin() that returned `commit_ts`."""
        cdef size_t i
        for i in range(self.pins.size()):
            if self.pins[i] == commit_ts:
                self.pins.erase(self.pins.begin() + i)
                self.unpins += 1
                return
        raise ValueError("no such pin")

    # -- records by key: entries, rows of LevelDB ----------------------------------------------------------

    cdef Entry* locate(self, const char* key, size_t n, Table** table, Slice* rest,
                       uint64_t* hash) except? NULL:
        """Find table, key within the table and hash of a record key; return its entry or NULL.

        table[0] is NULL for a head of a generation, or a part of a collection, that is not in
        memory. Raises CorruptionError.
        """
        if n == 0:
            raise CorruptionError("empty record key")
        if key[0] == K_HEAD:
            if n < HEAD_PREFIX_BYTES:
                raise CorruptionError(f"head key of {n} bytes")
            table[0] = self.generation(get_be64(key + 1))
            rest.data = key + HEAD_PREFIX_BYTES
            rest.len = n - HEAD_PREFIX_BYTES
            hash[0] = get_be64(key + 9)
        elif key[0] == K_CHUNK or key[0] == K_DELTA:
            if n != (CHUNK_KEY_BYTES if key[0] == K_CHUNK else DELTA_KEY_BYTES):
                raise CorruptionError(f"chunk or delta key of {n} bytes")
            table[0] = self.chunks if key[0] == K_CHUNK else self.delta_rows
            rest.data = key + 1
            rest.len = n - 1
            hash[0] = self.hash_key(rest.data, rest.len)
        elif record_prefix(key[0]):
            locate_part(self, key, n, table, rest, hash)
        else:
            table[0] = self.meta
            rest.data = key
            rest.len = n
            hash[0] = self.hash_key(key, n)
        if table[0] == NULL:
            return NULL
        return self.find(table[0], hash[0], rest.data, rest.len)

    cdef int put_committed(self, const char* key, size_t n, const char* value, size_t m,
                           bint present, uint64_t commit_ts) except -1:
        return apply_write(self, key, n, value, m, present, commit_ts)

    cdef int side_effect(self, Entry* entry) except -1:
        """Bring what is kept ready-made in line with a database or generation record."""
        cdef Version* v = entry.newest
        cdef Table* table
        note_if_trash(self, entry)
        if v.type == T_NONE:
            return 0
        if entry.key[0] == K_DATABASE and entry.key_len == 2:
            if v.length != 8 or <uint8_t>entry.key[1] >= DATABASES_MAX:
                raise CorruptionError("database record")
            table = self.first_seen(get_be64(v.data))   # its own record may follow
            self.databases[<uint8_t>entry.key[1]] = table
            table.switched = v.commit_ts
        elif entry.key[0] == K_GENERATION and entry.key_len == 9:
            table = self.generation(get_be64(entry.key + 1))
            if table != NULL:
                if v.length != 16:
                    raise CorruptionError("generation record")
                table.keys = <int64_t>get_be64(v.data)
                table.volatile_keys = <int64_t>get_be64(v.data + 8)
                table.logged_keys = table.keys
                table.logged_volatile = table.volatile_keys
        elif entry.key[0] == K_COUNTER:
            if v.length != 8:
                raise CorruptionError("counter record")
            self.next_fresh = get_be64(v.data)
        return 0

    cdef int apply_entry(self, const char* p, size_t n, uint64_t commit_ts) except -1:
        """Apply the payload of a committed entry. Raises CorruptionError.

        What is made in this entry, by its id, is complete in memory from its beginning.
        """
        self.next_fresh = self.fresh_id
        self.fresh_from = self.fresh_id
        apply_payload(self, p, n, commit_ts)
        self.fresh_from = UINT64_MAX
        self.fresh_id = max(self.fresh_id, self.next_fresh)
        self.watermark = commit_ts
        return 0

    def apply(self, bytes payload not None, uint64_t commit_ts):
        """apply_entry() for Python."""
        self.apply_entry(PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), commit_ts)

    def load(self, bytes key not None, bytes envelope not None):
        """Take a meta record (database, generation, counter, trash) from LevelDB at start."""
        cdef uint64_t commit_ts
        cdef uint64_t row_at
        cdef size_t at = open_envelope(envelope, &commit_ts, &row_at)
        cdef Entry* e
        cdef Table* table
        cdef Slice rest
        cdef uint64_t hash
        if key[0] == K_GENERATION and len(key) == 9:
            self.first_seen(get_be64(PyBytes_AS_STRING(key) + 1))
        self.put_raw(self.meta, key, len(key), PyBytes_AS_STRING(envelope) + at, len(envelope) - at,
                     commit_ts)
        e = self.locate(key, len(key), &table, &rest, &hash)
        self.side_effect(e)
        self.settle(e)

    cdef int settle(self, Entry* e) except -1:
        """Take back the dirty mark of an entry that was just read from LevelDB."""
        ASSERT(self.dirty.back() == e)
        self.dirty.pop_back()
        self.dirty_bytes -= chain_bytes(e)
        e.flags &= ~E_DIRTY
        e.flags |= E_STORED
        e.clean_since = self.fetch_epoch
        return 0

    def begin_fetch(self):
        """Start a fetch from LevelDB: what is flushed from now on stays until it ends."""
        self.fetch_epoch += 1
        self.fetches.append(self.fetch_epoch)
        self.fetch_oldest = self.fetches[0]
        return self.fetch_epoch

    def end_fetch(self, uint32_t epoch):
        """End the fetch that begin_fetch() numbered `epoch`."""
        self.fetches.remove(epoch)
        self.fetch_oldest = self.fetches[0] if self.fetches else NO_FETCH

    def install(self, bytes key not None, bytes envelope):
        """Take a fetched record (None: absent), unless the tip has a version of it by now.

        Call between begin_fetch and end_fetch of the fetch that read it.
        """
        cdef Table* table
        cdef Slice rest
        cdef uint64_t hash
        cdef uint64_t commit_ts = 0
        cdef uint64_t row_at = 0
        cdef size_t at = 0
        cdef Version* v
        cdef Entry* e = self.locate(key, len(key), &table, &rest, &hash)
        if table == NULL:
            return False
        if e != NULL:
            if not e.flags & E_DIRTY:
                e.clean_since = self.fetch_epoch    # it stays until the fetch ends, as if taken
            return False
        if envelope is not None:
            at = open_envelope(envelope, &commit_ts, &row_at)
            v = decode_value(table, PyBytes_AS_STRING(envelope) + at, len(envelope) - at, True)
        else:
            v = self.new_version(0)
        v.commit_ts = commit_ts
        e = self.insert(table, hash, rest.data, rest.len)
        e.newest = v
        e.row_at = row_at
        e.clean_since = self.fetch_epoch
        self.adopt(e, v)
        if table.owner != NULL:
            note_presence(e)
        if envelope is not None:
            e.flags |= E_STORED
            if is_collection(v.type):
                attach(self, e)
            elif table.kind == K_MEMBER:
                note_stored_member(self, e)
        return True

    # -- collections ----------------------------------------------------------------------------

    cdef Collection* collection(self, uint64_t id) noexcept:
        """Return the collection `id`, or NULL: nothing of it is in memory."""
        return self.collections.find(id)

    cdef Collection* new_collection(self, uint64_t id, uint8_t type, bint resident) except NULL:
        """Begin to keep a collection. type T_NONE: not known yet. resident: it is complete."""
        cdef Collection* c = <Collection*>calloc(1, sizeof(Collection))
        if c == NULL:
            raise MemoryError("collection")
        c.id = id
        c.used = True
        c.low = INT64_MAX
        c.high = INT64_MIN
        if type != T_NONE:
            set_type(self, c, type, resident)
        else:       # of what is not in memory nothing is known: LevelDB may have all of it
            c.stored = self.mixed_until != 0 or not is_fresh(self, id)
        if self.clock_start == NULL:
            c.next = c.previous = self.clock_start = self.clock_collection = c
        else:
            c.next = self.clock_start
            c.previous = self.clock_start.previous
            c.previous.next = c
            c.next.previous = c
        self.collections.insert(c)
        self.bytes += COLLECTION_BYTES
        return c

    cdef int free_collection(self, Collection* c) except -1:
        """Forget a collection. REQUIRES: none of its entries is in a dirty list."""
        if self.clock_collection == c:
            self.clock_collection = c.next if c.next != c else NULL
            self.clock_hash = 0
        if self.clock_start == c:
            self.clock_start = c.next if c.next != c else NULL
        c.next.previous = c.previous
        c.previous.next = c.next
        self.collections.erase(c)
        free_parts(self, c.elements)
        free_parts(self, c.claims)
        if c.order != NULL and c.order.size() > 0:
            with nogil:         # of a workspace: it ends on another thread, see attempt.py
                del c.order
        else:
            del c.order
        del c.windows
        del c.window
        free(c.place)
        deltas_free(&c.deltas)
        deltas_free(&c.stored_deltas)
        self.bytes -= COLLECTION_BYTES + c.index_bytes
        free(c)
        return 0

    cdef int put_delta(self, const char* key, size_t n, const char* value, size_t m,
                       uint64_t commit_ts) except -1:
        """Take the delta that an entry wrote."""
        cdef uint64_t id
        cdef uint64_t generation
        cdef Meta sum
        cdef Slice name
        cdef Collection* c
        if n != DELTA_KEY_BYTES or get_be64(key + 9) != commit_ts:
            raise CorruptionError("delta key")
        read_delta(value, m, &generation, &sum, &name)
        id = get_be64(key + 1)
        c = self.collection(id)
        if c == NULL:
            c = self.new_collection(id, T_NONE, False)
        if c.ready:
            if commit_ts <= c.changed:
                return 0
            deltas_push(&c.deltas, commit_ts, &sum)
            meta_add(&c.meta, &sum)
            c.changed = commit_ts
            self.mark_dirty(c.head)
            if c.deltas.count > FOLD_DELTAS:
                fold(self, c)
            if c.type == T_LIST:
                widen(c, c.meta.head, c.meta.tail)
                sweep_items(self, c, SWEPT_ITEMS_PER_DELTA, None)
            return 0
        if insert_delta(&c.deltas, commit_ts, &sum):
            self.put_raw(self.delta_rows, key + 1, n - 1, value, m, commit_ts)
        return 0

    cdef int put_raw(self, Table* table, const char* key, size_t n, const char* value, size_t m,
                     uint64_t commit_ts) except -1:
        """Put a committed record that is no head under a key that has no entry yet."""
        cdef Entry* e = self.insert(table, self.hash_key(key, n), key, n)
        cdef Version* v = self.new_version(m)
        memcpy(v.data, value, m)
        v.type = T_RAW
        v.commit_ts = commit_ts
        e.newest = v
        self.adopt(e, v)
        return self.mark_dirty(e)

    def install_delta(self, bytes key not None, bytes envelope not None):
        """Take a delta row from LevelDB, before the head that it belongs to is installed."""
        cdef uint64_t commit_ts
        cdef uint64_t row_at
        cdef size_t at = open_envelope(envelope, &commit_ts, &row_at)
        cdef const char* p = key
        cdef uint64_t generation
        cdef Meta sum
        cdef Slice name
        cdef Collection* c
        if len(key) != DELTA_KEY_BYTES:
            raise CorruptionError("delta key")
        read_delta(PyBytes_AS_STRING(envelope) + at, len(envelope) - at, &generation, &sum, &name)
        c = self.collection(get_be64(p + 1))
        if c == NULL:
            c = self.new_collection(get_be64(p + 1), T_NONE, False)
        if not c.ready:
            insert_delta(&c.deltas, get_be64(p + 9), &sum)

    def begin_load(self, uint64_t id):
        """A page of a collection's elements is about to be read; return (kind, from_hash) or None.

        None: it is not in memory any more, or complete.
        """
        cdef Collection* c = self.collection(id)
        if c == NULL or not c.ready or c.died or c.elements.resident:
            return None
        c.loading = True
        return c.elements.kind, c.loaded

    def end_load(self, uint64_t id, list rows not None, uint64_t from_hash, uint64_t next_hash,
                 bint done):
        """Take a page: rows (key, envelope) of all stored elements in [from_hash, next_hash).

        done: to the end. Call between begin_fetch and end_fetch of the fetch that read it.
        """
        cdef Collection* c = self.collection(id)
        if c == NULL or not c.loading:
            return
        c.loading = False
        if c.loaded != from_hash or c.elements.resident:
            return
        for key, envelope in rows:
            self.install(key, envelope)
        complete_range(c, next_hash, done)

    def install_whole(self, uint64_t id, list rows not None):
        """Take all elements of a collection at once, see end_load()."""
        cdef Collection* c = self.collection(id)
        if c == NULL or not c.ready or c.elements.resident or c.loading:
            return
        for key, envelope in rows:
            self.install(key, envelope)
        complete_range(c, <uint64_t>-1, True)

    def install_claims(self, uint64_t id, list rows not None):
        """Take all claims of a list."""
        cdef Collection* c = self.collection(id)
        if c == NULL or not c.ready or (c.claims != NULL and c.claims.resident):
            return
        if rows or c.claims != NULL or c.meta.holes:
            claims_of(self, c)
            for key, envelope in rows:
                self.install(key, envelope)
            c.claims.resident = True
            c.claims_version += 1

    def stale_deltas(self, size_t limit):
        """Return up to `limit` heads (record keys) that deltas in memory wait for."""
        cdef vector[Entry*] entries
        cdef uint64_t next_hash = 0
        cdef bint done = False
        cdef uint64_t generation
        cdef Meta sum
        cdef Slice name
        cdef Entry* e
        cdef char prefix[HEAD_PREFIX_BYTES]
        cdef list heads = []
        cdef Collection* c
        self.scan_next(self.delta_rows, 0, &entries, limit, &next_hash, &done)
        for e in entries:
            c = self.collection(get_be64(e.key))
            if c == NULL or c.ready:
                continue
            read_delta(e.newest.data, e.newest.length, &generation, &sum, &name)
            put_head_prefix(prefix, generation, self.hash_key(name.data, name.len))
            heads.append(PyBytes_FromStringAndSize(prefix, HEAD_PREFIX_BYTES)
                         + PyBytes_FromStringAndSize(name.data, name.len))
        return heads

    # -- expiry ---------------------------------------------------------------------------------

    def file_deadline_of(self, bytes key not None):
        """Put the deadline of a head (by record key) into the sweeper's queue, if it has one."""
        cdef Table* table
        cdef Slice rest
        cdef uint64_t hash
        cdef Entry* e = self.locate(key, len(key), &table, &rest, &hash)
        if e != NULL and table.kind == K_HEAD and e.newest.expire_at:
            e.row_at = 0
            self.file_deadline(e, e.newest.expire_at)

    cdef int file_deadline(self, Entry* entry, uint64_t expire_at) except -1:
        """One row per key or field, moved only when the deadline comes nearer."""
        if entry.row_at == 0 or expire_at < entry.row_at:
            entry.row_at = expire_at
            self.deadlines.push(expire_at, entry.table.id, entry.hash)
        return 0

    # -- flush ----------------------------------------------------------------------------------

    def begin_checkpoint(self):
        """Take the dirty list as the work of a checkpoint; return how many entries it holds."""
        ASSERT(self.flush_at == self.flushing.size())
        self.flushing.clear()
        self.flush_at = 0
        self.flushing.swap(self.dirty)
        self.deadlines.begin_checkpoint()
        return self.flushing.size()

    def end_checkpoint(self):
        """All of the checkpoint is durable: deadlines filed before it have their rows."""
        ASSERT(self.flush_at == self.flushing.size() and self.in_flight.empty())
        self.deadlines.end_checkpoint()

    def flush_left(self):
        """Entries that the running checkpoint has still to write."""
        return self.flushing.size() - self.flush_at

    def flush_slice(self, size_t records, size_t bytes_max):
        """Return the next slice of the checkpoint: a list of (key, envelope or None).

        Newest durable versions only (I5); older ones that a pin sees go under their history keys.
        At most about `records` rows and `bytes_max` bytes. Write them with_old_rows() of
        take_blind(), and call flushed() when LevelDB has it.
        """
        cdef list rows = []
        cdef Entry* e
        cdef Version* v
        cdef size_t written = 0
        cdef size_t looks = FLUSH_LOOKS_PER_RECORD * records
        cdef uint64_t dirty_bytes = self.dirty_bytes
        ASSERT(self.in_flight.empty())
        self.blind = []
        while self.flush_at < self.flushing.size() and looks > 0:
            if <size_t>len(rows) >= records or written >= bytes_max:
                break
            looks -= 1
            e = self.flushing[self.flush_at]
            self.flush_at += 1
            if e == NULL:
                continue
            ASSERT(e.flags & E_DIRTY != 0)
            self.dirty_bytes -= chain_bytes(e)
            e.flags &= ~E_DIRTY
            e.clean_since = self.fetch_epoch
            if e.table.owner != NULL and is_dead(self, e.table.owner):
                continue        # it is swept from memory, and LevelDB need not know it
            v = version_at(e, self.durable)
            if v != NULL:
                if is_collection(v.type):
                    if not flush_head(self, e, v, rows, &written):
                        self.mark_dirty(e)      # more of it remains for a later slice
                written += self.flush_entry(e, v, rows)
                e.flags |= E_FLUSHING
                self.in_flight.push_back(e)
            if v != e.newest or has_newer_delta(self, e):
                self.mark_dirty(e)
                if e.row_at and e.table.kind != K_MEMBER:
                    self.deadlines.push(e.row_at, e.table.id, e.hash)
        self.flushed_bytes += dirty_bytes - self.dirty_bytes
        return rows

    cdef size_t flush_entry(self, Entry* e, Version* v, list rows) except? 0:
        """Append the rows of one entry; return their bytes."""
        cdef bytes key = PyBytes_FromStringAndSize(NULL, e.key_len + 17)
        cdef size_t n = put_record_key(e, PyBytes_AS_STRING(key))
        cdef size_t written = n
        cdef Version* old
        cdef uint64_t until = v.commit_ts
        cdef Collection* c
        cdef bytes row
        if n != <size_t>PyBytes_GET_SIZE(key):
            key = PyBytes_FromStringAndSize(PyBytes_AS_STRING(key), n)
        self.prune(e)
        if e.table == self.delta_rows and (delta_is_folded(self, e) or delta_is_dead(self, e)):
            return written
        if e.table.kind == K_MEMBER and e.table.owner.type != T_SET:
            written += flush_score(self, e, v, key, rows)
        old = v.older
        while old != NULL and e.table != self.meta:     # those are read at the tip only
            if old.type != T_NONE and not is_collection(old.type):
                # (a collection's head stays in memory while a pin may ask for its past)
                row = history_value(old, until)
                rows.append((history_key(e, old.commit_ts), row))
                written += n + <size_t>PyBytes_GET_SIZE(row)
                self.history_rows += 1
            until = old.commit_ts
            old = old.older
        if v.type == T_NONE or (e.table.dead and v.type != T_CHUNKED and not is_collection(v.type)):
            rows.append((key, None))    # of a dead head only what leads to its parts matters
            e.flags &= ~E_STORED
            return written
        e.flags |= E_STORED
        if e.table.owner != NULL:
            e.table.owner.stored = True
        if v.expire_at:
            self.file_deadline(e, v.expire_at)  # a version after it may have moved the row out
            row = expiry_row(e)
            rows.append((row, expiry_value(e)))
            written += len(row)
        if v.type == T_HASH and v.flags & V_WIDER_ENCODING:
            c = self.collection(head_data(v).id)
            if c != NULL:           # else its death is durable
                c.stored = True     # what dies leaves trash, by which the sweeper finds this row
                rows.append(owner_row(e, c.id))
        row = envelope_of(e, v)
        rows.append((key, row))
        return written + len(row)

    def flushed(self):
        """The last slice is in LevelDB: what did not change since is clean now."""
        cdef Entry* e
        for e in self.in_flight:
            e.flags &= ~E_FLUSHING
            if e.table == self.delta_rows:      # now a walk over LevelDB meets it: see compact.py
                self.has_delta_rows = True
                self.delta_rows_written += 1
            if e.flags & E_DIRTY == 0:
                self.prune(e)
                e.clean_since = self.fetch_epoch
                if e.table == self.delta_rows:
                    self.remove(e)      # read from LevelDB with the head that it belongs to
                elif e.newest.type == T_NONE and e.newest.older == NULL and e.table.resident \
                        and e.flags & E_WATCHED == 0 \
                        and (self.fetch_oldest == NO_FETCH or e.table == self.meta):
                    self.remove(e)      # what is not there is absent all the same
        self.in_flight.clear()

    # -- eviction -------------------------------------------------------------------------------

    def evict(self, uint64_t target_bytes, size_t steps):
        """Drop clean records until `bytes` <= target_bytes; look at about `steps` buckets."""
        cdef size_t tables = self.generations.size() + 1
        cdef Table* table
        cdef uint64_t at
        cdef bint more
        cdef uint64_t dropped = 0
        self.cache_bytes = target_bytes
        while self.bytes > target_bytes and steps > 0:
            if self.clock_table >= tables:
                dropped += self.evict_collections(target_bytes, &steps)
                continue
            table = self.chunks if self.clock_table == self.generations.size() \
                else self.generations[self.clock_table]
            if table.entries == 0:
                self.clock_table += 1
                self.clock_hash = 0
                steps -= 1
                continue
            at = self.clock_hash
            more = next_bucket(segment_of(table, at), &self.clock_hash)
            dropped += evict_bucket(self, table, at, False)
            steps -= 1
            if not more:
                self.clock_table += 1
                self.clock_hash = 0
        self.evicted_records += dropped
        return dropped

    cdef size_t evict_collections(self, uint64_t target_bytes, size_t* steps) except? 0:
        """The collections' part of evict(): small ones leave as a whole, unless used lately.

        A large one that is in use loses what of it is not.
        """
        cdef Collection* c
        cdef Collection* following
        cdef Table* table
        cdef uint64_t at
        cdef bint more
        cdef size_t dropped = 0
        cdef bint whole
        while self.bytes > target_bytes and steps[0] > 0:
            steps[0] -= 1
            c = self.clock_collection
            table = NULL
            if c != NULL and not c.died and not c.loading:
                table = c.elements
                if table == NULL or table.entries == 0:
                    table = c.claims
            whole = table != NULL and leaves_whole(table, target_bytes)
            if table == NULL or table.entries == 0 or (whole and c.used and self.clock_hash == 0):
                self.clock_hash = 0
                if c == NULL:
                    self.clock_table = 0
                    break
                c.used = False
                following = c.next
                if following == self.clock_start:
                    self.clock_table = 0
                release_stub(self, c)
                self.clock_collection = following if not self.collections.empty() else NULL
                if self.clock_table == 0:
                    break
                continue
            at = self.clock_hash
            more = next_bucket(segment_of(table, at), &self.clock_hash)
            dropped += evict_bucket(self, table, at, whole)
            if not more:
                self.clock_hash = 0
                if c.next == self.clock_start:
                    self.clock_table = 0
                    self.clock_collection = self.clock_start
                    break
                self.clock_collection = c.next
        return dropped

    # -- ordered reads --------------------------------------------------------------------------

    cdef Entry* scan_next(self, Table* table, uint64_t from_hash, vector[Entry*]* out,
                          size_t limit, uint64_t* next_hash, bint* done) except? NULL:
        """Append entries with hash >= from_hash in hash order, whole buckets at a time.

        Stops after the bucket in which `limit` is reached, or after many empty ones; next_hash[0]
        is where to go on, done[0] says that the end was reached. Tombstones are included: they hide
        rows of LevelDB.
        """
        cdef Segment* segment
        cdef Entry* e
        cdef uint64_t at = from_hash
        cdef size_t first
        cdef size_t buckets = <size_t>-1
        if limit != <size_t>-1:     # else it goes to the end
            buckets = SCAN_BUCKETS_MIN + SCAN_BUCKETS_PER_ENTRY * limit
        done[0] = False
        while True:
            segment = table.directory[0 if table.depth == 0 else at >> (64 - table.depth)]
            first = out.size()
            e = segment.buckets[bucket_of(segment, at)]
            while e != NULL:
                if e.hash >= from_hash:
                    out.push_back(e)
                e = e.next
            sort_by_hash(out, first)
            self.work += out.size() - first
            if not next_bucket(segment, &at):
                done[0] = True
                return NULL
            buckets -= 1
            if out.size() >= limit or buckets == 0:
                next_hash[0] = at
                return NULL

    cdef uint64_t record_count(self) noexcept:
        cdef uint64_t count = self.meta.entries + self.chunks.entries
        cdef size_t i
        for i in range(self.generations.size()):
            count += self.generations[i].entries
        return count

    def statistics(self):
        """Counters for INFO: a dict of int."""
        return {
            "bytes": self.bytes, "records": self.record_count(), "dirty_bytes": self.dirty_bytes,
            "dirty_records": self.dirty.size() + self.flushing.size() - self.flush_at,
            "evicted": self.evicted_records, "pins": self.pins.size(),
            "deadlines": self.deadlines.size(),
        }


include "eviction.pxi"
include "application.pxi"
include "collections.pxi"
include "scores.pxi"
