# cython: boundscheck=False, wraparound=False
"""The tip laid open: a walk that checks every invariant of its structures, and a dump of its state.

Costs as much as the tip is large: for tests, and for digests of a stopped node.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libcpp.pair cimport pair
from libcpp.unordered_map cimport unordered_map
from libcpp.vector cimport vector
from kvnode._core.bytes cimport Slice, get_be32, get_be64, put_be32, put_be64
from kvnode._core.claim_window cimport ClaimWindow, Run
from kvnode._core.keys cimport (
    K_DATABASE, K_FIELD, K_GENERATION, K_HEAD, K_MEMBER, POSITION_BYTES,
    RECORD_PREFIX_BYTES_MAX, get_position, position_hash, put_position)
from kvnode._core.order_tree cimport OrderTree
from kvnode._core.tip cimport (
    COLLECTION_BYTES, DATABASES_MAX, E_BLIND, E_DIRTY, E_FLUSHING, E_GONE, E_STORED, E_USED,
    SCORE_BYTES, SEGMENT_BUCKET_BITS_MAX, SEGMENT_BUCKET_BITS_MIN, T_FIELD, T_LIST, T_NONE, T_RAW,
    T_ZSET, Collection, Entry, Segment, Table, Tip, Version, entry_bytes, grow_segment, head_data,
    is_collection, is_dying, is_sparse, put_record_key, put_record_value, record_value_bytes,
    score_order, segment_of, table_hash, version_bytes)

from kvnode.base.errors import InvariantError


cdef enum:
    ORDER_INVARIANT_ASCENDING = 1   # as order_tree.hpp counts them
    LIST_ITEMS_CHECKED = 4096       # between two runs of claims


include "list_invariants.pxi"
include "table_invariants.pxi"
include "score_invariants.pxi"


cdef struct Totals:
    # Of one table, as counted by the walk.
    uint64_t entries
    uint64_t bytes
    uint64_t dirty_bytes
    int64_t keys
    int64_t volatile_keys


def check(Tip tip not None):
    """Raise InvariantError at the first structure that is not as it should be; between passes."""
    cdef unordered_map[size_t, int] listed
    cdef uint64_t total = 0
    cdef uint64_t dirty = 0
    cdef size_t i
    cdef Table* table
    cdef Totals counted
    check_lists(tip, &listed)
    check_databases(tip)
    check_collections(tip)
    total = tip.collections.size() * COLLECTION_BYTES + index_bytes(tip)
    for table in all_tables(tip):
        check_directory(table)
        counted = check_entries(tip, table, &listed)
        check_totals(tip, table, &counted)
        total += counted.bytes
        dirty += counted.dirty_bytes
    require(listed.empty(), "a dirty list names an entry that no table holds")
    require(total == tip.bytes, f"{tip.bytes} bytes counted, {total} in use")
    require(dirty == tip.dirty_bytes, f"{tip.dirty_bytes} dirty bytes counted, {dirty} in use")
    check_timestamps(tip)


cdef int require(bint condition, str text) except -1:
    if not condition:
        raise InvariantError(text)
    return 0


cdef vector[Table*] all_tables(Tip tip) noexcept:
    """The generations' tables, meta records, chunks, deltas, and those of collections."""
    cdef vector[Table*] tables = tip.generations
    cdef Collection* c = tip.clock_start
    tables.push_back(tip.meta)
    tables.push_back(tip.chunks)
    tables.push_back(tip.delta_rows)
    while c != NULL:
        if c.elements != NULL:
            tables.push_back(c.elements)
        if c.claims != NULL:
            tables.push_back(c.claims)
        c = c.next if c.next != tip.clock_start else NULL
    return tables


cdef int check_collections(Tip tip) except -1:
    """The ring and the map of collections agree; heads and collections name each other."""
    cdef size_t count = 0
    cdef Collection* c = tip.clock_start
    while c != NULL:
        count += 1
        require(tip.collection(c.id) == c, f"collection {c.id} is not found by its id")
        require(c.next.previous == c, "the ring of collections is broken")
        check_collection(tip, c)
        c = c.next if c.next != tip.clock_start else NULL
    require(count == tip.collections.size(), "a collection is not in the ring")
    return 0


cdef int check_collection(Tip tip, Collection* c) except -1:
    cdef uint32_t i
    cdef Version* v
    require(c.elements == NULL or c.elements.owner == c, "elements name another collection")
    require(c.claims == NULL or c.claims.owner == c, "claims name another collection")
    for i in range(c.deltas.count):
        require(i == 0 or c.deltas.items[i - 1].commit_ts < c.deltas.items[i].commit_ts,
                f"deltas of collection {c.id} are not in order")
    if c.died or not c.ready:
        return 0
    v = c.head.newest
    require(is_collection(v.type) and head_data(v).id == c.id,
            f"the head of collection {c.id} names another")
    require(v.type == c.type, f"collection {c.id} and its head differ in type")
    require(c.meta.length > 0, f"collection {c.id} is alive and empty")
    require(head_data(v).folded <= c.changed or head_data(v).folded <= tip.durable
            or v.commit_ts == head_data(v).folded, f"base of collection {c.id} is ahead")
    if c.type == T_LIST:
        require(c.meta.tail - c.meta.head - c.meta.holes == c.meta.length,
                f"list {c.id}: {c.meta.length} items in [{c.meta.head}, {c.meta.tail})")
        require(c.low <= c.meta.head and c.meta.tail <= c.high, f"list {c.id} is swept too far")
        check_list(tip, c)
    elif c.elements.resident:
        require(live_elements(c) == c.meta.length,
                f"collection {c.id}: {live_elements(c)} elements, length {c.meta.length}")
        require(c.windows == NULL, f"sorted set {c.id} is complete, and in part")
    require(c.type != T_ZSET or c.order != NULL, f"sorted set {c.id} has no order")
    if c.order != NULL:
        check_order(tip, c)
    return 0


cdef int64_t live_elements(Collection* c) noexcept:
    """How many elements are there, of those in memory."""
    cdef size_t i = 0
    cdef size_t b
    cdef int64_t count = 0
    cdef Segment* segment
    cdef Entry* e
    while i < <size_t>1 << c.elements.depth:
        segment = c.elements.directory[i]
        for b in range(<size_t>1 << segment.bucket_bits):
            e = segment.buckets[b]
            while e != NULL:
                count += e.newest.type != T_NONE
                e = e.next
        i += <size_t>1 << (c.elements.depth - segment.depth)
    return count


cdef int check_lists(Tip tip, unordered_map[size_t, int]* listed) except -1:
    """Every dirty or flushing entry is listed once; listed[entry]: the flags that say so."""
    cdef Entry* e
    cdef size_t i
    for i in range(tip.dirty.size()):
        if tip.dirty[i] != NULL:
            note(listed, tip.dirty[i], E_DIRTY)
            require(tip.dirty[i].clean_since == i, "a dirty entry names another place")
    for i in range(tip.flush_at, tip.flushing.size()):
        if tip.flushing[i] != NULL:
            note(listed, tip.flushing[i], E_DIRTY)
            require(tip.flushing[i].clean_since == i, "a dirty entry names another place")
    for e in tip.in_flight:
        note(listed, e, E_FLUSHING)
    return 0


cdef int note(unordered_map[size_t, int]* listed, Entry* e, int flag) except -1:
    cdef size_t address = <size_t>e
    require(listed[0][address] & flag == 0, "an entry is in the dirty lists twice")
    listed[0][address] |= flag
    return 0


cdef Totals check_entries(Tip tip, Table* table, unordered_map[size_t, int]* listed) except *:
    """Check each entry of a table, take it off `listed`, and return what was counted."""
    cdef Totals counted
    cdef size_t i = 0
    cdef size_t b
    cdef uint64_t in_segment
    cdef uint64_t live
    cdef Segment* segment
    cdef Entry* e
    counted.entries = counted.bytes = counted.dirty_bytes = 0
    counted.keys = counted.volatile_keys = 0
    while i < <size_t>1 << table.depth:
        segment = table.directory[i]
        in_segment = live = 0
        for b in range(<size_t>1 << segment.bucket_bits):
            e = segment.buckets[b]
            while e != NULL:
                in_segment += 1
                live += e.flags & E_GONE == 0
                require(e.table == table, "an entry names another table")
                require(table.depth == 0 or table.directory[e.hash >> (64 - table.depth)] == segment,
                        "an entry is in the wrong segment")
                require((e.hash << segment.depth) >> (64 - segment.bucket_bits) == b,
                        "an entry is in the wrong bucket")
                require(table_hash(tip, table, e.key, e.key_len) == e.hash,
                        "an entry has the wrong hash")
                require(tip.find(table, e.hash, e.key, e.key_len) == e, "a key has two entries")
                check_entry(tip, e, listed, &counted)
                e = e.next
        require(in_segment == segment.count, "a segment miscounts its entries")
        require(live == segment.live, "a segment miscounts its live entries")
        counted.entries += in_segment
        i += <size_t>1 << (table.depth - segment.depth)
    return counted


cdef int check_entry(Tip tip, Entry* e, unordered_map[size_t, int]* listed,
                     Totals* counted) except -1:
    cdef size_t address = <size_t>e
    cdef int flags = e.flags & (E_DIRTY | E_FLUSHING)
    cdef int in_lists = 0
    cdef uint64_t size
    if listed.count(address):
        in_lists = listed[0][address]
        listed.erase(address)
    require(flags == in_lists, f"flags {flags} of an entry, {in_lists} by the dirty lists")
    require((e.flags & E_GONE != 0) == (e.table.owner != NULL and e.newest.type == T_NONE),
            "an element is marked as gone and is there, or the other way round")
    size = entry_bytes(e.key_len) + check_chain(tip, e)
    counted.bytes += size
    if e.flags & E_DIRTY:
        counted.dirty_bytes += size
    if flags == 0:
        require(e.newest.commit_ts <= tip.durable, "a clean entry has a version that is not durable")
        require(e.table.kind != K_MEMBER or e.table.owner.died or e.row_at == stored_order(e),
                "a clean member has another score than LevelDB")
    if e.newest.type != T_NONE:
        counted.keys += 1
    if e.newest.expire_at:
        counted.volatile_keys += 1
        require(0 < e.row_at <= e.newest.expire_at, "no expiry row at or before a deadline")
    return 0


cdef uint64_t check_chain(Tip tip, Entry* e) except? 0:
    """Check the versions of an entry; return their bytes."""
    cdef uint64_t size = 0
    cdef Version* v = e.newest
    require(v != NULL, "an entry has no version")
    while v != NULL:
        size += version_bytes(v.length)
        require(v.older == NULL or v.older.commit_ts < v.commit_ts,
                "versions of a record do not grow older down the chain")
        if v.type == T_NONE:
            require(v.length == 0 and v.expire_at == 0, "a tombstone has a value")
        elif e.table.kind == K_HEAD:
            require(v.type != T_RAW, "a head is a raw record")
        elif e.table.kind == K_FIELD:
            require(v.type == T_FIELD, "a field has another type")
        else:
            require(v.type == T_RAW and v.expire_at == 0, "a record that is no head has a type")
        v = v.older
    return size


cdef int check_totals(Tip tip, Table* table, Totals* counted) except -1:
    require(table.entries == counted.entries,
            f"table {table.id}: {table.entries} entries counted, {counted.entries} there")
    require(table.bytes == counted.bytes,
            f"table {table.id}: {table.bytes} bytes counted, {counted.bytes} in use")
    if table.kind != K_HEAD or table.dead:
        return 0
    if table.resident:
        require(table.keys == counted.keys,
                f"generation {table.id}: {table.keys} keys counted, {counted.keys} there")
        require(table.volatile_keys == counted.volatile_keys,
                f"generation {table.id}: {table.volatile_keys} keys with a deadline counted, "
                f"{counted.volatile_keys} there")
    require(table.keys >= counted.keys and table.volatile_keys >= counted.volatile_keys,
            f"generation {table.id} counts fewer keys than are in memory")
    require(table.volatile_keys <= table.keys, f"generation {table.id}: more deadlines than keys")
    return check_logged(tip, table)


cdef int check_logged(Tip tip, Table* table) except -1:
    """The counts in the log are those at the tip, or a restart would show others."""
    cdef char key[9]
    cdef Entry* e
    key[0] = K_GENERATION
    put_be64(key + 1, table.id)
    e = tip.find(tip.meta, tip.hash_key(key, 9), key, 9)
    if e == NULL or e.newest.type == T_NONE:
        return 0
    require(<int64_t>get_be64(e.newest.data) == table.keys
            and <int64_t>get_be64(e.newest.data + 8) == table.volatile_keys,
            f"generation {table.id}: its record has other counts than the tip")
    return 0


cdef int check_databases(Tip tip) except -1:
    """Each database has a generation of its own, the one that its record names."""
    cdef char key[2]
    cdef Entry* e
    cdef set used = set()
    cdef set ids = set()
    cdef size_t i
    cdef int db
    for i in range(tip.generations.size()):
        require(tip.generations[i].id not in ids, f"two tables of generation {tip.generations[i].id}")
        ids.add(tip.generations[i].id)
    key[0] = K_DATABASE
    for db in range(DATABASES_MAX):
        if tip.databases[db] == NULL:
            continue
        require(tip.generation(tip.databases[db].id) == tip.databases[db],
                f"database {db} has a table that is not in the list")
        require(not tip.databases[db].dead, f"database {db} has a dead generation")
        require(tip.databases[db].id not in used, f"database {db} shares its generation")
        used.add(tip.databases[db].id)
        key[1] = <char>db
        e = tip.find(tip.meta, tip.hash_key(key, 2), key, 2)
        require(e != NULL and e.newest.type != T_NONE
                and get_be64(e.newest.data) == tip.databases[db].id,
                f"the record of database {db} names another generation")
    return 0


cdef int check_timestamps(Tip tip) except -1:
    cdef size_t i
    require(tip.durable <= tip.watermark, "what is durable is not committed")
    for i in range(tip.pins.size()):
        require(tip.pins[i] <= tip.watermark, "a pin is above the watermark")
        require(i == 0 or tip.pins[i - 1] <= tip.pins[i], "pins are not in order")
    return 0


# -- dump ---------------------------------------------------------------------------------------

def dump(Tip tip not None):
    """Return the state of the tip: all that commands can change, nothing that reading does.

    {"collections": {id: (length, head, tail, holes)}, "databases": [generation id or None],
    "tables": {(kind, id): {"resident", "dead", "keys",
    "volatile_keys", "entries": {record key: (flags, versions)}}}}; versions: newest first,
    (commit_ts, type, flags, expire_at, data), type 0 = a tombstone.
    """
    cdef size_t i
    cdef dict tables = {}
    cdef dict metas = {}
    cdef Collection* c = tip.clock_start
    cdef Table* table
    for table in all_tables(tip):
        tables[table.kind, table.id] = {
            "resident": bool(table.resident), "dead": bool(table.dead), "keys": table.keys,
            "volatile_keys": table.volatile_keys, "entries": dump_entries(tip, table),
        }
    while c != NULL:
        if c.ready:
            metas[c.id] = (c.meta.length, c.meta.head, c.meta.tail, c.meta.holes)
        c = c.next if c.next != tip.clock_start else NULL
    return {
        "collections": metas,
        "databases": [tip.databases[i].id if tip.databases[i] != NULL else None
                      for i in range(DATABASES_MAX)],
        "tables": tables,
    }


cdef dict dump_entries(Tip tip, Table* table):
    cdef vector[Entry*] entries
    cdef dict found = {}
    cdef uint64_t at = 0
    cdef bint done = False
    cdef Entry* e
    cdef Version* v
    while not done:
        tip.scan_next(table, at, &entries, 1 << 16, &at, &done)
    for e in entries:
        versions = []
        v = e.newest
        while v != NULL:
            versions.append((v.commit_ts, v.type, v.flags, v.expire_at, version_data(v)))
            v = v.older
        found[record_key(e)] = (e.flags & ~(E_USED | E_STORED | E_BLIND), versions)
    return found


cdef bytes version_data(Version* v):
    """The data of a version; of a collection's head what it says in the log."""
    cdef bytes data
    cdef size_t n
    if not is_collection(v.type):
        return PyBytes_FromStringAndSize(v.data, v.length)
    data = PyBytes_FromStringAndSize(NULL, record_value_bytes(v))
    n = put_record_value(v, PyBytes_AS_STRING(data))
    return data[10 if v.expire_at else 2:n]


# -- planted faults -----------------------------------------------------------------------------

def corrupt(Tip tip not None, str fault not None, bytes key not None):
    """Break one invariant at the record `key`, to show that check() finds it.

    The tip is then good for nothing but check().
    """
    cdef Table* table
    cdef Entry* e = find_record(tip, key)
    cdef Version* v = tip.new_version(0)
    cdef Segment* segment
    table = e.table
    segment = table.directory[0 if table.depth == 0 else e.hash >> (64 - table.depth)]
    v.commit_ts = e.newest.commit_ts
    if fault == "version out of order":
        v.older = e.newest
        e.newest = v
        tip.adopt(e, v)
    elif fault == "clean and not durable":
        e.newest.commit_ts = tip.durable + 1
    elif fault == "dirty flag lost":
        e.flags &= ~E_DIRTY
    elif fault == "listed twice":
        tip.dirty.push_back(e)
    elif fault == "listed and clean":
        tip.dirty.push_back(e)
        e.flags &= ~E_DIRTY
    elif fault == "bytes":
        tip.bytes += 1
    elif fault == "table bytes":
        table.bytes -= 1
    elif fault == "dirty bytes":
        tip.dirty_bytes += 1
    elif fault == "entries":
        table.entries += 1
    elif fault == "segment count":
        segment.count += 1
    elif fault == "live count":
        segment.live -= 1
    elif fault == "gone":
        e.flags ^= E_GONE
        segment.live += -1 if e.flags & E_GONE else 1
    elif fault == "sparse":     # with few entries
        while segment_of(table, e.hash).depth < 2:
            grow_segment(table, e.hash)
    elif fault == "deepest":
        table.deepest += 1
    elif fault == "keys":
        table.keys += 1
    elif fault == "deadlines":
        table.volatile_keys -= 1
    elif fault == "hash":
        e.hash ^= 1
    elif fault == "bucket":
        e.hash ^= <uint64_t>1 << 63
    elif fault == "no expiry row":
        e.row_at = 0
    elif fault == "pin":
        tip.pins.push_back(tip.watermark + 1)
    elif fault == "durable":
        tip.durable = tip.watermark + 1
    elif fault == "database":
        tip.databases[1] = tip.databases[0]
    elif fault == "claim too long":     # at the last claim of a list
        put_be32(e.newest.data, get_be32(e.newest.data) + 1)
    elif fault == "holes":
        table.owner.meta.holes += 1
        table.owner.meta.tail += 1
        table.owner.high += 1
    elif fault == "generation twice":
        tip.new_generation(table.id, True)
    elif fault == "not in order":
        table.owner.order.erase(score_order(e.newest), e.key, e.key_len)
    elif fault == "another score":
        table.owner.order.erase(score_order(e.newest), e.key, e.key_len)
        table.owner.order.insert(score_order(e.newest) + 1, e)
    elif fault == "stored score":
        e.row_at ^= 1
    elif fault == "order":
        table.owner.order.damage(ORDER_INVARIANT_ASCENDING)
    else:
        raise ValueError(fault)


cdef Entry* find_record(Tip tip, bytes key) except NULL:
    """Return the entry of a record key, which must be in memory."""
    cdef Table* table
    cdef Slice rest
    cdef uint64_t hash
    cdef Entry* e = tip.locate(key, len(key), &table, &rest, &hash)
    if e == NULL:
        raise KeyError(key)
    return e


cdef bytes record_key(Entry* e):
    cdef bytes key = PyBytes_FromStringAndSize(NULL, RECORD_PREFIX_BYTES_MAX + e.key_len)
    return key[:put_record_key(e, PyBytes_AS_STRING(key))]
