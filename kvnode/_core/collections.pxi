# The collections of the tip: what of them is in memory, how their metadata follow from deltas, how
# they are attached to their heads, flushed, evicted and swept. Included by tip.pyx.

cdef enum:
    UNSEEN_KEY_BYTES = 33           # of note_unseen(): id, low, high, folded
    SWEPT_ITEMS_PER_FLUSH = 512     # positions that one flush of a list's head may sweep
    SWEPT_ITEMS_PER_DELTA = 256     # that the application of a delta may
    FOLD_DELTAS = 8                 # unfolded deltas past which one that is applied folds some
    WHOLE_SHARE = 8                 # a collection under 1/8 of the cache leaves memory as a whole
    PREFIX_OF_PLACED = 9            # PLACED_PREFIX_BYTES, for array bounds


cdef int64_t UNSEEN = INT64_MIN     # on disk, as `low` of a head: see Collection.unseen


# -- in memory ----------------------------------------------------------------------------------

cdef int free_collections(Tip tip) except -1:
    """The tip ends."""
    while tip.clock_collection != NULL:
        tip.free_collection(tip.clock_collection)
    return 0


cdef int free_parts(Tip tip, Table* table) noexcept:
    if table == NULL:
        return 0
    tip.bytes -= table.bytes
    if table.entries == 0:
        free_table(table)
    else:                       # of a workspace: it ends on another thread, see attempt.py
        with nogil:
            free_table(table)
    return 0


cdef uint8_t kind_of_parts(uint8_t type) noexcept nogil:
    """The RecordKind of a collection's elements."""
    if type == T_LIST:
        return K_ITEM
    return K_FIELD if type == T_HASH else K_MEMBER


cdef Table* part_table(Collection* c, uint8_t kind, bint resident) except NULL:
    cdef Table* table = new_table(kind, c.id, resident)
    table.owner = c
    return table


cdef int set_type(Tip tip, Collection* c, uint8_t type, bint resident) except -1:
    """The type of a collection is known now."""
    c.type = type
    if c.elements == NULL:
        c.elements = part_table(c, kind_of_parts(type), resident)
        c.stored |= not resident
    if type == T_ZSET and c.order == NULL:
        order_members(tip, c)
    return 0


cdef Table* claims_of(Tip tip, Collection* c) except NULL:
    """Return the table of a list's claims."""
    if c.claims == NULL:
        c.claims = part_table(c, K_CLAIM, c.elements.resident)
    return c.claims


cdef int locate_part(Tip tip, const char* key, size_t n, Table** table, Slice* rest,
                     uint64_t* hash) except -1:
    """locate() for an element or a claim."""
    cdef size_t prefix = record_prefix(key[0])
    cdef Collection* c
    if n < prefix or (prefix == PLACED_PREFIX_BYTES and n != prefix + POSITION_BYTES):
        raise CorruptionError(f"record key of {n} bytes")
    rest.data = key + prefix
    rest.len = n - prefix
    hash[0] = position_hash(rest.data) if prefix == PLACED_PREFIX_BYTES else get_be64(key + 9)
    table[0] = NULL
    c = tip.collection(get_be64(key + 1))
    if c != NULL:
        table[0] = c.claims if key[0] == K_CLAIM else c.elements
        if table[0] != NULL and table[0].kind != key[0]:
            raise CorruptionError(f"collection {c.id} has elements of two kinds")
    return 0


cdef bint is_fresh(Tip tip, uint64_t id) noexcept nogil:
    """Whether a collection is made by the entry that is being applied: all of it is in memory."""
    return id >= tip.fresh_from


cdef Table* stub_for(Tip tip, const char* key, size_t n) except NULL:
    """Make room for an element or claim that an entry wrote, of a collection that is not in memory."""
    cdef uint64_t id = get_be64(key + 1)
    cdef Collection* c = tip.collection(id)
    if c == NULL:
        c = tip.new_collection(id, T_NONE, False)
    if key[0] == K_ITEM or key[0] == K_CLAIM:
        set_type(tip, c, T_LIST, is_fresh(tip, id))
        return claims_of(tip, c) if key[0] == K_CLAIM else c.elements
    if c.elements == NULL:
        c.elements = part_table(c, key[0], is_fresh(tip, id))
        c.stored |= not c.elements.resident
    if key[0] == K_FIELD:
        c.type = T_HASH
    return c.elements


cdef int learn_type(Tip tip, Collection* c, const Version* v) except -1:
    """An entry brings a member: whether of a set or of a sorted set is told by its data."""
    if c.type == T_NONE and v.type != T_NONE:
        set_type(tip, c, T_ZSET if v.length == SCORE_BYTES else T_SET, c.elements.resident)
    return 0


cdef int begin_pending(Tip tip, uint64_t id, const char* value, size_t n) except -1:
    """From this entry on a collection is written ahead of its head: nothing of it was before."""
    if n == 0 or (is_collection(<uint8_t>value[0]) and n != 1):
        raise CorruptionError("pending record")
    if is_collection(<uint8_t>value[0]) and tip.collection(id) == NULL:
        tip.new_collection(id, <uint8_t>value[0], True).stored = tip.mixed_until != 0
    return 0


# -- metadata -----------------------------------------------------------------------------------

cdef Meta meta_at(Tip tip, Collection* c, uint64_t commit_ts) noexcept nogil:
    """Return the metadata of a ready collection as of `commit_ts`, -1: at the tip.

    Also while a batch is open: of that there is no delta yet.
    """
    cdef Meta m = c.meta
    if commit_ts != <uint64_t>-1:
        undo_open(tip, c, &m)
        deltas_undo(&c.deltas, commit_ts, &m)
    return m


cdef void undo_open(Tip tip, Collection* c, Meta* m) noexcept nogil:
    """Take away what the open batch did; after a savepoint a collection has one more change."""
    cdef size_t slot = c.slot
    cdef size_t before = tip.changes.size()
    while slot < before and tip.changes[slot].collection == c:
        meta_subtract(m, &tip.changes[slot].sum)
        before = slot
        slot = tip.changes[slot].slot_before


cdef uint64_t oldest_reader(Tip tip) noexcept nogil:
    """Return the lowest commit_ts that anybody may read from now on."""
    if tip.pins.size() and tip.pins[0] < tip.durable:
        return tip.pins[0]
    return tip.durable


cdef int fold(Tip tip, Collection* c) except -1:
    """Forget the deltas of a ready collection that nobody needs; bound what remains."""
    deltas_fold(&c.deltas, oldest_reader(tip))
    if c.deltas.count > DELTAS_MAX:
        deltas_merge(&c.deltas, tip.pins.data(), tip.pins.size(), tip.durable)
    return 0


cdef int widen(Collection* c, int64_t low, int64_t high) noexcept nogil:
    if low < c.low:
        c.low = low
    if high > c.high:
        c.high = high
    return 0


cdef int make_ready(Tip tip, Collection* c) except -1:
    """Sum up the metadata of a collection whose head is in memory: base plus later deltas."""
    cdef HeadData* d = head_data(c.head.newest)
    cdef uint32_t i
    cdef Meta none
    memset(&none, 0, sizeof(Meta))
    c.meta = d.base
    deltas_sum(&c.deltas, d.folded, <uint64_t>-1, &c.meta)
    c.changed = c.head.newest.commit_ts
    for i in range(c.deltas.count):
        deltas_push(&c.stored_deltas, c.deltas.items[i].commit_ts, &none)
    if c.deltas.count:
        c.changed = max(c.changed, c.deltas.items[c.deltas.count - 1].commit_ts)
        tip.mark_dirty(c.head)      # its base is written again, without them
    deltas_fold(&c.deltas, d.folded)
    widen(c, c.meta.head, c.meta.tail)
    if d.low == UNSEEN:
        c.unseen = True
    else:
        widen(c, d.low, d.high)
    c.ready = True
    return 0


cdef int attach(Tip tip, Entry* e) except -1:
    """A head that names a collection is in memory: its metadata are known from here on."""
    cdef HeadData* d = head_data(e.newest)
    cdef Collection* c = tip.collection(d.id)
    if c == NULL:
        c = tip.new_collection(d.id, e.newest.type, is_fresh(tip, d.id))
    set_type(tip, c, e.newest.type, is_fresh(tip, d.id))
    c.head = e
    if not c.ready:
        make_ready(tip, c)
    return 0


cdef int attach_committed(Tip tip, Entry* e) except -1:
    """The same for a head that an entry wrote: its base counts."""
    cdef HeadData* d = head_data(e.newest)
    cdef Collection* c = tip.collection(d.id)
    cdef Meta change
    if c == NULL or not c.ready:    # what it says is left to sweep is not of this node
        d.low = d.base.head
        d.high = d.base.tail
        if not is_fresh(tip, d.id) and (c == NULL or c.stored):
            d.low = UNSEEN
    else:
        change = d.base
        meta_subtract(&change, &c.meta)
        if d.folded == e.newest.commit_ts and not meta_is_zero(&change):
            deltas_push(&c.deltas, d.folded, &change)
            c.meta = d.base
            c.changed = d.folded
        if d.folded == e.newest.commit_ts:
            widen(c, d.base.head, d.base.tail)
    return attach(tip, e)


cdef int note_part(Tip tip, Entry* e) except -1:
    """An entry wrote an element."""
    cdef Collection* c = e.table.owner
    cdef int64_t position
    note_presence(e)
    if c.order != NULL:
        reorder(tip, c, e, e.newest.older, e.newest)
    if e.table.kind == K_ITEM:
        position = get_position(e.key)
        widen(c, position, position + 1)
    elif e.table.kind == K_CLAIM:
        c.claims_version += 1
    return 0


cdef int insert_delta(Deltas* deltas, uint64_t commit_ts, const Meta* sum) except -1:
    """Put a delta into its place; False if it is there already."""
    cdef uint32_t i = deltas.count
    while i > 0 and deltas.items[i - 1].commit_ts > commit_ts:
        i -= 1
    if i > 0 and deltas.items[i - 1].commit_ts == commit_ts:
        return False
    deltas_push(deltas, deltas.items[deltas.count - 1].commit_ts + 1 if i < deltas.count
                else commit_ts, sum)
    for k in range(<uint32_t>(deltas.count - 1), i, -1):
        deltas.items[k] = deltas.items[k - 1]
    deltas.items[i].commit_ts = commit_ts
    deltas.items[i].sum = sum[0]
    return True


cdef bint delta_is_folded(Tip tip, Entry* e) noexcept:
    """Whether a delta that waits to be flushed is in the base of its collection's head already."""
    cdef Collection* c = tip.collection(get_be64(e.key))
    if c == NULL or not c.ready:
        return False
    return head_data(c.head.newest).folded >= get_be64(e.key + 8)


cdef bint delta_is_dead(Tip tip, Entry* e) noexcept:
    """Whether the collection of a delta that waits to be flushed is dead for everybody.

    Its rows may be swept already: what is written now would stay.
    """
    cdef char key[9]
    cdef uint64_t id = get_be64(e.key)
    cdef Collection* c = tip.collection(id)
    cdef Entry* trash
    if c != NULL:
        return c.died != 0 and c.died <= oldest_reader(tip)
    key[0] = K_TRASH
    put_be64(key + 1, id)
    trash = tip.find(tip.meta, tip.hash_key(key, 9), key, 9)
    return trash != NULL and trash.newest.type != T_NONE


cdef bint has_newer_delta(Tip tip, Entry* e) noexcept:
    """Whether the collection of a head has changes that are not durable yet."""
    cdef Collection* c
    if not is_collection(e.newest.type):
        return False
    c = tip.collection(head_data(e.newest).id)
    return c != NULL and c.deltas.count > 0 \
        and c.deltas.items[c.deltas.count - 1].commit_ts > tip.durable


# -- flush --------------------------------------------------------------------------------------

cdef bint is_dead(Tip tip, Collection* c) noexcept nogil:
    """Whether the death of a collection is durable."""
    return c.died != 0 and c.died <= tip.durable


cdef bint flush_head(Tip tip, Entry* e, Version* v, list rows, size_t* written) except -1:
    """Bring the base in a head's version up to the durable state, and sweep what lies outside.

    False: there is more to sweep. REQUIRES: v is the version at `tip.durable`.
    """
    cdef HeadData* d = head_data(v)
    cdef Collection* c = tip.collection(d.id)
    cdef char key[DELTA_KEY_BYTES]
    cdef uint32_t i
    cdef bint done = True
    if c == NULL or not c.ready:
        return True
    fold(tip, c)
    d.base = meta_at(tip, c, tip.durable)
    d.folded = tip.durable
    if c.type == T_LIST and c.died == 0:
        done = sweep_items(tip, c, SWEPT_ITEMS_PER_FLUSH, rows)
    d.low = c.low
    d.high = c.high
    if c.unseen and c.died == 0:
        done &= note_unseen(tip, c, e)
        d.low = UNSEEN
    for i in range(c.stored_deltas.count):
        put_delta_key(key, c.id, c.stored_deltas.items[i].commit_ts)
        rows.append((PyBytes_FromStringAndSize(key, DELTA_KEY_BYTES), None))
    written[0] += c.stored_deltas.count * DELTA_KEY_BYTES
    deltas_free(&c.stored_deltas)
    return done


cdef bint note_unseen(Tip tip, Collection* c, Entry* head) except -1:
    """Have the writer of this slice look for rows of LevelDB that the head tells nothing of.

    An entry has written the head while the one before it was not in memory. False: later, since a
    reader of that time may be there.
    """
    cdef char key[UNSEEN_KEY_BYTES]
    if oldest_reader(tip) < head.newest.commit_ts:
        return False
    key[0] = K_ITEM
    put_be64(key + 1, c.id)
    put_position(key + 9, c.low)
    put_position(key + 17, c.high)
    put_be64(key + 25, tip.durable)
    tip.blind.append(PyBytes_FromStringAndSize(key, UNSEEN_KEY_BYTES))
    return True


def note_seen(Tip tip not None, uint64_t id, bint is_all):
    """The writer has deleted what note_unseen() told it to look for. is_all: there is no more."""
    cdef Collection* c = tip.collection(id)
    if c == NULL or not c.ready or c.died or not c.unseen:
        return
    if is_all:
        c.unseen = False
    tip.mark_dirty(c.head)      # to say so, or to go on


cdef int live_span(Tip tip, Collection* c, int64_t* low, int64_t* high) noexcept nogil:
    """The positions of a list that somebody may read: of the tip and of every older reader."""
    cdef uint64_t oldest = oldest_reader(tip)
    cdef uint32_t i = c.deltas.count
    cdef Meta m = c.meta
    undo_open(tip, c, &m)
    low[0] = min(m.head, c.meta.head)
    high[0] = max(m.tail, c.meta.tail)
    while i > 0 and c.deltas.items[i - 1].commit_ts > oldest:
        i -= 1
        meta_subtract(&m, &c.deltas.items[i].sum)
        if m.head < low[0]:
            low[0] = m.head
        if m.tail > high[0]:
            high[0] = m.tail
    return 0


cdef bint sweep_items(Tip tip, Collection* c, int steps, list rows) except -1:
    """Free popped items that nobody may read any more, at both ends; False: there are more.

    rows: takes the deletions for LevelDB; None: stop at the first item that it may have.
    """
    cdef int64_t low
    cdef int64_t high
    cdef int64_t position
    live_span(tip, c, &low, &high)
    while c.low < low or c.high > high:
        if steps == 0:
            return False
        steps -= 1
        position = c.low if c.low < low else c.high - 1
        if not sweep_item(tip, c, position, rows):
            return False
        if c.low < low:
            c.low += 1
        else:
            c.high -= 1
    return True


cdef bint sweep_item(Tip tip, Collection* c, int64_t position, list rows) except -1:
    cdef char key[PREFIX_OF_PLACED + 8]
    cdef Entry* e
    cdef bint stored
    put_position(key + PLACED_PREFIX_BYTES, position)
    e = tip.find(c.elements, position_hash(key + PLACED_PREFIX_BYTES), key + PLACED_PREFIX_BYTES,
                 POSITION_BYTES)
    stored = e.flags & E_STORED != 0 if e != NULL else not c.elements.resident
    if e != NULL and tip.is_held(e):
        return False
    if stored and rows is None:
        return False
    if e != NULL and rows is not None and e.newest.commit_ts > tip.durable:
        return False        # of the open batch, which has still to be written to the log
    if e != NULL:
        tip.free_entry(e)
    if stored:
        put_placed_prefix(key, K_ITEM, c.id)
        rows.append((PyBytes_FromStringAndSize(key, PLACED_PREFIX_BYTES + POSITION_BYTES), None))
    return True


# -- eviction -----------------------------------------------------------------------------------

cdef bint release_head(Tip tip, Entry* e) except -1:
    """Whether a clean head may leave memory; what is left of its collection goes with it."""
    cdef Version* v = e.newest.older
    cdef Collection* c
    while v != NULL:
        if is_collection(v.type):
            return False        # a pin may ask for its past, of which LevelDB knows nothing
        v = v.older
    if not is_collection(e.newest.type):
        return True
    c = tip.collection(head_data(e.newest).id)
    if c == NULL or c.head != e:
        return True
    fold(tip, c)
    if c.changed > oldest_reader(tip):
        return False        # a reader may ask whether anything has changed since its time
    if c.deltas.count or c.stored_deltas.count or c.loading or c.died or c.elements.entries \
            or (c.claims != NULL and c.claims.entries):
        return False
    tip.free_collection(c)
    return True


cdef bint release_stub(Tip tip, Collection* c) except -1:
    """Forget a collection whose head is not in memory, if LevelDB has all that was known of it."""
    cdef char key[DELTA_KEY_BYTES]
    cdef uint32_t i
    if c.head != NULL or c.died or tip.fetch_oldest != NO_FETCH or (c.elements != NULL and c.elements.entries) \
            or (c.claims != NULL and c.claims.entries):
        return False
    for i in range(c.deltas.count):
        put_delta_key(key, c.id, c.deltas.items[i].commit_ts)
        if tip.find(tip.delta_rows, tip.hash_key(key + 1, DELTA_KEY_BYTES - 1), key + 1,
                    DELTA_KEY_BYTES - 1) != NULL:
            return False
    tip.free_collection(c)
    return True


cdef int count_indexes(Tip tip, Collection* c) noexcept nogil:
    """The order, window or filter of a collection has changed: its memory counts."""
    cdef size_t bytes = 0
    if c.order != NULL:
        bytes += c.order.bytes()
    if c.window != NULL:
        bytes += c.window.bytes()
    if c.elements != NULL and c.elements.filter != NULL:
        bytes += c.elements.filter.bytes()
    tip.bytes += bytes - c.index_bytes
    c.index_bytes = bytes
    return 0


cdef int note_part_evicted(Tip tip, Entry* e) except -1:
    """An element or a claim leaves memory: its table is not complete any more."""
    cdef Table* table = e.table
    cdef bint was_resident = table.resident
    table.resident = False
    if table.kind == K_CLAIM:
        table.owner.claims_version += 1
        return 0
    table.owner.loaded = 0
    if table.kind != K_ITEM:
        note_name_evicted(tip, table, e.hash, was_resident)
    if table.owner.order != NULL:
        note_member_evicted(tip, table.owner, e, was_resident)
    return 0


cdef uint64_t live_elements(Table* table) noexcept nogil:
    """Elements in memory, without tombstones."""
    cdef uint64_t live = 0
    cdef uint64_t at = 0
    while True:
        live += segment_of(table, at).live
        at = segment_after(segment_of(table, at), at)
        if at == 0:
            return live


cdef int note_name_evicted(Tip tip, Table* table, uint64_t hash, bint was_resident) except -1:
    """A field or member leaves memory: of a large collection it is kept which are gone.

    So who adds one that is new need not ask LevelDB.
    """
    cdef uint64_t bytes_before = 0
    if table.filter != NULL:
        bytes_before = table.filter.bytes()
    elif was_resident and not leaves_whole(table, tip.cache_bytes):
        begin_filter(table, min(tip.filter_bytes_max, tip.cache_bytes // WHOLE_SHARE))
    else:
        return 0
    add_once(table.filter, hash)
    if table.filter.bytes() != bytes_before:
        count_indexes(tip, table.owner)
    return 0


cdef inline bint leaves_whole(Table* table, uint64_t cache_bytes) noexcept nogil:
    """Whether a collection is small enough to be evicted as a whole."""
    return table.bytes < cache_bytes // WHOLE_SHARE


cdef int complete_range(Collection* c, uint64_t next_hash, bint done) except -1:
    """All elements with an order below `next_hash` are in memory; done: to the end."""
    c.loaded = next_hash
    if done:
        become_resident(c)
    return 0


def install_range(Tip tip not None, uint64_t id, list rows not None):
    """Take rows (key, envelope) of a range of a collection's elements; False: it is not in memory.

    What was read leaves memory before what is used. Call between begin_fetch and end_fetch of the
    fetch that read it: until then the range is complete in memory.
    """
    cdef Collection* c = tip.collection(id)
    cdef Table* table
    cdef Slice rest
    cdef uint64_t hash
    cdef Entry* e
    if c == NULL or not c.ready or c.died:
        return False
    for key, envelope in rows:
        if tip.install(key, envelope):
            e = tip.locate(key, len(key), &table, &rest, &hash)
            e.flags &= ~E_USED
    return True


def install_items(Tip tip not None, uint64_t id, list rows not None, uint64_t first, uint64_t end):
    """Take all stored items (key, envelope) of a list at positions in [first, end), as sortable u64.

    The others are absent. Call between begin_fetch and end_fetch of the fetch that read them.
    """
    cdef Collection* c = tip.collection(id)
    cdef char key[PREFIX_OF_PLACED + 8]
    cdef Entry* e
    cdef uint64_t order
    if not install_range(tip, id, rows):
        return
    put_placed_prefix(key, K_ITEM, id)
    for order in range(first, end):
        put_be64(key + PLACED_PREFIX_BYTES, order)
        e = tip.find(c.elements, position_hash(key + PLACED_PREFIX_BYTES), key + PLACED_PREFIX_BYTES,
                     POSITION_BYTES)
        if e == NULL:
            tip.install(PyBytes_FromStringAndSize(key, PLACED_PREFIX_BYTES + POSITION_BYTES), None)
            e = tip.find(c.elements, position_hash(key + PLACED_PREFIX_BYTES),
                         key + PLACED_PREFIX_BYTES, POSITION_BYTES)
            e.flags &= ~E_USED


# -- death --------------------------------------------------------------------------------------

cdef int note_if_trash(Tip tip, Entry* entry) except -1:
    """If a record says that something is trash, so it is.

    Of a dead generation nothing is complete: LevelDB may have lost heads of it already.
    """
    cdef Version* v = entry.newest
    cdef Table* table
    if entry.key[0] != K_TRASH or entry.key_len != 9:
        return 0
    if v.type != T_NONE and v.length == 0:
        raise CorruptionError("trash record")
    if v.type != T_NONE and v.data[0] == TRASH_GENERATION:
        table = tip.generation(get_be64(entry.key + 1))
        if table != NULL:
            table.resident = False
        return 0
    return note_trash(tip, entry)


cdef int note_trash(Tip tip, Entry* entry) except -1:
    """A trash record was written or taken away: its collection is dead."""
    cdef Version* v = entry.newest
    cdef Collection* c = tip.collection(get_be64(entry.key + 1))
    if c == NULL or c.died or (v.type != T_NONE and v.data[0] != TRASH_COLLECTION):
        return 0
    c.died = v.commit_ts
    tip.dying.push_back(c)
    return 0


cdef bint free_order(Tip tip, Collection* c, size_t* steps) noexcept:
    """Free about steps[0] nodes of the order; False: there are more."""
    cdef bint done
    if c.order == NULL:
        return True
    done = c.order.free_some(steps[0])
    if done:
        del c.order
        c.order = NULL
    else:
        steps[0] = 0
    count_indexes(tip, c)
    return done


cdef bint free_elements(Tip tip, Table* table, size_t* steps) except -1:
    """Free about steps[0] elements of a dead collection; False: there are more."""
    cdef Segment* segment
    cdef Entry* e
    if table == NULL:
        return True
    while table.entries > 0:
        if steps[0] == 0:
            return False
        steps[0] -= 1
        segment = table.directory[
            0 if table.depth == 0 else table.freed_hash >> (64 - table.depth)]
        while True:
            e = segment.buckets[bucket_of(segment, table.freed_hash)]
            if e == NULL:
                break
            if tip.is_held(e):
                return False
            tip.free_entry(e)
            steps[0] -= 1 if steps[0] else 0
        next_bucket(segment, &table.freed_hash)
    return True


cdef int sweep_dying(Tip tip, size_t steps) except -1:
    """Free memory of collections that are dead for everybody; True when there is more to free.

    Of one that never reached LevelDB nothing remains, not even its trash record.
    """
    cdef Collection* c
    cdef uint64_t id
    cdef bint stored
    while not tip.dying.empty():
        c = tip.dying.front()
        if c.died > oldest_reader(tip):
            return False
        if steps == 0 or not free_order(tip, c, &steps) \
                or not free_elements(tip, c.elements, &steps) \
                or not free_elements(tip, c.claims, &steps):
            return steps == 0
        tip.dying.pop_front()
        id = c.id
        stored = c.stored
        tip.free_collection(c)
        if not stored:
            forget_trash(tip, id)
    return False


cdef int forget_trash(Tip tip, uint64_t id) except -1:
    """Take back the trash record of a collection that only memory knew, if only memory has it."""
    cdef char key[9]
    cdef Entry* e
    key[0] = K_TRASH
    put_be64(key + 1, id)
    e = tip.find(tip.meta, tip.hash_key(key, 9), key, 9)
    if e != NULL and e.flags & E_STORED == 0 and not tip.is_held(e) and e.newest.older == NULL \
            and e.newest.commit_ts <= tip.durable:
        tip.free_entry(e)
    return 0
