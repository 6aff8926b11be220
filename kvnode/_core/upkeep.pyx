# cython: boundscheck=False, wraparound=False
"""What the storage layer's background work needs of the tip: meta records, expiry, trash.

Every function does a bounded piece of work, between batches, on the sequencer's thread.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from typing import NamedTuple

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libcpp.vector cimport vector
from kvnode._core.bytes cimport ASSERT, Slice, get_be64, put_be64
from kvnode._core.deltas cimport Meta
from kvnode._core cimport trash
from kvnode._core.keys cimport (
    CHUNK_KEY_BYTES, EXPIRY_PREFIX_BYTES, HEAD_PREFIX_BYTES, K_DATABASE, K_EXPIRY, K_FIELD, K_HEAD,
    K_GENERATION, K_PENDING, K_TRASH, put_chunk_key, put_expiry_prefix, put_hashed_prefix, put_head_prefix)
from kvnode._core.records cimport HAS_DEADLINE, HAS_ROW
from kvnode._core.tip cimport (
    DATABASES_MAX, E_DIRTY, E_FLUSHING, T_CHUNKED, T_NONE, Collection, Deadline, Entry, HeadData,
    Segment, Table, Tip, Version, bucket_of, free_table, sweep_dying, get_head_data, head_data, is_collection,
    kind_of_parts, next_bucket, open_envelope, put_record_value, read_delta, record_value_bytes,
    version_at)

from kvnode.base.errors import CorruptionError

cdef enum:
    TRASH_KEY_BYTES = 9
    AHEAD_MS = 100              # after which the deadline of a field without a head is looked at again

TRASH_COLLECTION = <int>trash.TRASH_COLLECTION


# -- meta records -------------------------------------------------------------------------------

def meta_value(Tip tip not None, bytes key not None):
    """Return the newest value of a meta record, None if it has none."""
    cdef Table* table
    cdef Slice rest
    cdef uint64_t hash
    cdef Entry* e = tip.locate(key, len(key), &table, &rest, &hash)
    if e == NULL or table != tip.meta or e.newest.type == T_NONE:
        return None
    return PyBytes_FromStringAndSize(e.newest.data, e.newest.length)


def database_generations(Tip tip not None):
    """Return the generation id of each database, None where it has none yet."""
    return [tip.databases[i].id if tip.databases[i] != NULL else None
            for i in range(DATABASES_MAX)]


def generation_at(Tip tip not None, uint8_t database, uint64_t commit_ts):
    """Return the generation id of a database as a pin sees it, 0 if it had none."""
    cdef char key[2]
    cdef Entry* e
    cdef Version* v = NULL
    key[0] = K_DATABASE
    key[1] = <char>database
    e = tip.find(tip.meta, tip.hash_key(key, 2), key, 2)
    if e != NULL:
        v = version_at(e, commit_ts)
    return 0 if v == NULL else get_be64(v.data)


def head_key(Tip tip not None, uint64_t generation, bytes user_key not None):
    """Return the record key of a head."""
    cdef char p[HEAD_PREFIX_BYTES]
    put_head_prefix(p, generation, tip.hash_key(user_key, len(user_key)))
    return PyBytes_FromStringAndSize(p, HEAD_PREFIX_BYTES) + user_key


# -- stored heads -------------------------------------------------------------------------------

def stored_deadline(bytes envelope not None):
    """Return (row_at, expire_at) of a stored head, ms, 0 = none. Raises CorruptionError."""
    cdef uint64_t commit_ts
    cdef uint64_t row_at
    cdef size_t at = open_envelope(envelope, &commit_ts, &row_at)
    cdef const char* p = PyBytes_AS_STRING(envelope) + at
    cdef size_t n = <size_t>PyBytes_GET_SIZE(envelope) - at
    if n < 2 or (p[1] & HAS_DEADLINE and n < 10):
        raise CorruptionError(f"stored head of {n} bytes")
    return row_at, get_be64(p + 2) if p[1] & HAS_DEADLINE else 0


def stored_commit_ts(bytes envelope not None):
    """Return the commit_ts of a stored version. Raises CorruptionError."""
    cdef uint64_t commit_ts
    cdef uint64_t row_at
    open_envelope(envelope, &commit_ts, &row_at)
    return commit_ts


def stored_value(bytes envelope not None):
    """Return the value of a stored version. Raises CorruptionError."""
    cdef uint64_t commit_ts
    cdef uint64_t row_at
    return envelope[open_envelope(envelope, &commit_ts, &row_at):]


def history_version(bytes row not None):
    """Return (commit_ts of the version that replaced it, envelope) of a history row."""
    if len(row) < 17:
        raise CorruptionError(f"history row of {len(row)} bytes")
    return get_be64(PyBytes_AS_STRING(row)), row[8:]


def stored_chunks(bytes envelope not None):
    """Return (value id, length) of a stored head in chunks, None for another."""
    cdef uint64_t commit_ts
    cdef uint64_t row_at
    cdef size_t at = open_envelope(envelope, &commit_ts, &row_at)
    cdef const char* p = PyBytes_AS_STRING(envelope) + at
    cdef size_t n = <size_t>PyBytes_GET_SIZE(envelope) - at
    if n < 2 or p[0] != T_CHUNKED:
        return None
    at = 10 if p[1] & HAS_DEADLINE else 2
    if n != at + 16:
        raise CorruptionError(f"stored head of {n} bytes")
    return get_be64(p + at), get_be64(p + at + 8)


class StoredCollection(NamedTuple):
    """What a stored head says of its collection. kind: of its elements' records."""

    id: int
    kind: int
    length: int


def stored_collection(bytes envelope not None):
    """Return the StoredCollection of a stored head, None if it is a string."""
    cdef uint64_t commit_ts
    cdef uint64_t row_at
    cdef size_t at = open_envelope(envelope, &commit_ts, &row_at)
    cdef const char* p = PyBytes_AS_STRING(envelope) + at
    cdef size_t n = <size_t>PyBytes_GET_SIZE(envelope) - at
    cdef HeadData data
    if n < 2 or not is_collection(<uint8_t>p[0]):
        return None
    at = 10 if p[1] & HAS_DEADLINE else 2
    if n < at or not get_head_data(p + at, n - at, &data):
        raise CorruptionError(f"stored head of {n} bytes")
    return StoredCollection(data.id, kind_of_parts(<uint8_t>p[0]), data.base.length)


def with_row_at(bytes envelope not None, uint64_t row_at):
    """Return a stored head with a deadline, its expiry row said to be at `row_at`."""
    cdef const char* p = PyBytes_AS_STRING(envelope)
    cdef char place[8]
    ASSERT(PyBytes_GET_SIZE(envelope) >= 17 and p[8] & HAS_ROW)
    put_be64(place, row_at)
    return envelope[:9] + PyBytes_FromStringAndSize(place, 8) + envelope[17:]


# -- expiry -------------------------------------------------------------------------------------

def deadline_due(Tip tip not None, uint64_t now_ms):
    """Whether due_records() has something to take."""
    return tip.deadlines.due(now_ms)


cdef Table* table_of(Tip tip, uint64_t id) noexcept:
    """The heads of a generation, or the elements of a collection: NULL if there are none."""
    cdef Table* table = tip.generation(id)
    cdef Collection* c
    if table != NULL and not table.dead:
        return table
    c = tip.collection(id)
    if c == NULL or not c.ready or c.died:
        return NULL
    return c.elements


cdef bint is_ahead(Tip tip, uint64_t id) noexcept:
    """Whether a collection is written ahead of its head: its fields expire once that is there."""
    cdef char key[9]
    cdef Entry* e
    key[0] = K_PENDING
    put_be64(key + 1, id)
    e = tip.find(tip.meta, tip.hash_key(key, 9), key, 9)
    return e != NULL and e.newest.type != T_NONE


def due_records(Tip tip not None, uint64_t now_ms, size_t limit):
    """Take up to `limit` deadlines that are due; return the heads and fields past theirs.

    A list of (generation, user key) and (collection id, field). What has its deadline moved out is
    filed again.
    """
    cdef list found = []
    cdef Deadline due
    cdef Table* table
    cdef Segment* segment
    cdef Entry* e
    while limit > 0 and tip.deadlines.due(now_ms):
        limit -= 1
        due = tip.deadlines.top()
        tip.deadlines.pop()
        table = table_of(tip, due.owner)
        if table == NULL:
            if is_ahead(tip, due.owner):
                tip.deadlines.push(now_ms + AHEAD_MS, due.owner, due.hash)
            continue
        segment = table.directory[0 if table.depth == 0 else due.hash >> (64 - table.depth)]
        e = segment.buckets[bucket_of(segment, due.hash)]
        while e != NULL:
            if e.hash == due.hash and e.newest.expire_at and e.newest.expire_at <= now_ms:
                found.append((table.id, PyBytes_FromStringAndSize(e.key, e.key_len)))
            elif e.hash == due.hash and e.row_at <= now_ms:
                e.row_at = 0
                if e.newest.expire_at:
                    tip.file_deadline(e, e.newest.expire_at)
            e = e.next
    return found


def head_deadline(Tip tip not None, bytes key not None):
    """Return the deadline in ms of a head in memory, by record key.

    0: absent, or without a deadline. -1: what is newest is not durable yet. None: not in memory.
    """
    cdef Table* table
    cdef Slice rest
    cdef uint64_t hash
    cdef Entry* e = tip.locate(key, len(key), &table, &rest, &hash)
    if table == NULL or table.dead:
        return 0
    if e == NULL:
        return 0 if table.resident else None
    if e.newest.commit_ts > tip.durable:
        return -1
    return e.newest.expire_at


def field_key(Tip tip not None, uint64_t id, bytes field not None):
    """Return the record key of a field of the hash `id`."""
    cdef char p[HEAD_PREFIX_BYTES]
    put_hashed_prefix(p, K_FIELD, id, tip.hash_key(field, len(field)))
    return PyBytes_FromStringAndSize(p, HEAD_PREFIX_BYTES) + field


def field_deadline(Tip tip not None, bytes key not None):
    """The same as head_deadline() for a field; None also if its hash is not in memory, -1 also if that
    has no head yet."""
    cdef Table* table
    cdef Slice rest
    cdef uint64_t hash
    cdef Entry* e = tip.locate(key, len(key), &table, &rest, &hash)
    cdef Collection* c = tip.collection(get_be64(PyBytes_AS_STRING(key) + 1))
    if c != NULL and c.died:
        return 0
    if c == NULL or not c.ready:
        return -1 if is_ahead(tip, get_be64(PyBytes_AS_STRING(key) + 1)) else None
    if e == NULL:
        return 0 if c.elements.resident or hash < c.loaded else None
    if e.newest.commit_ts > tip.durable:
        return -1
    return e.newest.expire_at


def refile(Tip tip not None, bytes key not None):
    """The expiry row of a head or field in memory moves to its present deadline; it is written anew."""
    cdef Table* table
    cdef Slice rest
    cdef uint64_t hash
    cdef Entry* e = tip.locate(key, len(key), &table, &rest, &hash)
    ASSERT(e != NULL and e.newest.expire_at != 0)
    if e.row_at != e.newest.expire_at:
        e.row_at = 0
        tip.file_deadline(e, e.newest.expire_at)
        tip.mark_dirty(e)


def forget_row(Tip tip not None, bytes key not None, uint64_t row_at):
    """The expiry row of a head or field at `row_at` is dropped: the next deadline files one again."""
    cdef Table* table
    cdef Slice rest
    cdef uint64_t hash
    cdef Entry* e = tip.locate(key, len(key), &table, &rest, &hash)
    if e != NULL and e.row_at == row_at and e.newest.expire_at == 0:
        e.row_at = 0


# -- trash --------------------------------------------------------------------------------------

def trash(Tip tip not None, uint64_t from_hash, size_t limit):
    """Look at about `limit` meta records for trash that may go: dead for everybody, for good.

    Returns ([(id, kind, length in bytes)], where to go on or None at the end). What is written and
    not published yet is among it, as of kind PENDING.
    """
    cdef vector[Entry*] entries
    cdef uint64_t next_hash = 0
    cdef bint done = False
    cdef list found = []
    cdef uint64_t below = tip.durable
    cdef Entry* e
    cdef Version* v
    if tip.pins.size() and tip.pins[0] < below:
        below = tip.pins[0]
    tip.scan_next(tip.meta, from_hash, &entries, limit, &next_hash, &done)
    for e in entries:
        v = e.newest
        if e.key[0] not in (K_TRASH, K_PENDING) or v.type == T_NONE or v.commit_ts > below:
            continue
        if e.key[0] == K_PENDING:
            found.append((get_be64(e.key + 1), <uint8_t>K_PENDING, 0))
            continue
        if e.key_len != TRASH_KEY_BYTES or v.length not in (1, 2, 9):
            raise CorruptionError("trash record")
        if tip.collection(get_be64(e.key + 1)) != NULL:
            continue        # memory goes first: sweep_dying()
        found.append((get_be64(e.key + 1), <uint8_t>v.data[0],
                      get_be64(v.data + 1) if v.length == 9 else 0))
    return found, None if done else next_hash


def drop_trash(Tip tip not None, uint64_t id):
    """All of `id` is swept, for good: forget its trash record, and that of a generation.

    Returns the keys of their rows, to be deleted; None: LevelDB has not got them yet.
    """
    cdef char key[TRASH_KEY_BYTES]
    cdef char kind
    cdef Entry* e
    cdef list keys = []
    put_be64(key + 1, id)
    for kind in (<char>K_TRASH, <char>K_GENERATION):
        key[0] = kind
        e = tip.find(tip.meta, tip.hash_key(key, TRASH_KEY_BYTES), key, TRASH_KEY_BYTES)
        if e == NULL:
            continue
        if e.flags & (E_DIRTY | E_FLUSHING):
            return None
        keys.append(PyBytes_FromStringAndSize(key, TRASH_KEY_BYTES))
    for found in keys:
        tip.remove(tip.find(tip.meta, tip.hash_key(found, TRASH_KEY_BYTES), found, TRASH_KEY_BYTES))
    return keys


def kill_generation(Tip tip not None, uint64_t id):
    """The death of a generation is final: its records in memory may go. False if it has none."""
    cdef Table* table = tip.generation(id)
    if table == NULL:
        return False
    for i in range(DATABASES_MAX):
        if tip.databases[i] == table:
            raise CorruptionError(f"generation {id} is in the trash and in use")
    table.dead = True
    return True


def free_generation(Tip tip not None, uint64_t id, size_t buckets):
    """Free about `buckets` buckets of a killed generation; True when nothing is left of it.

    Entries of which LevelDB does not have the last word stay until a later round.
    """
    cdef Table* table = tip.generation(id)
    cdef Segment* segment
    cdef Entry* e
    cdef Entry* following
    if table == NULL:
        return True
    ASSERT(table.dead)
    while buckets > 0 and table.entries > 0:
        buckets -= 1
        segment = table.directory[
            0 if table.depth == 0 else table.freed_hash >> (64 - table.depth)]
        e = segment.buckets[bucket_of(segment, table.freed_hash)]
        while e != NULL:
            following = e.next
            if e.flags & (E_DIRTY | E_FLUSHING) == 0 and e.clean_since < tip.fetch_oldest:
                kill_collection(tip, e)
                tip.remove(e)
            e = following
        next_bucket(segment, &table.freed_hash)
    if table.entries == 0:
        forget_table(tip, table)
        return True
    return False


cdef int kill_collection(Tip tip, Entry* e) except -1:
    """The collection of a dead generation's head is dead too."""
    cdef Collection* c
    if not is_collection(e.newest.type):
        return 0
    c = tip.collection(head_data(e.newest).id)
    if c != NULL and c.head == e:
        c.head = NULL
        c.ready = False
        if not c.died:
            c.died = tip.durable
            tip.dying.push_back(c)
    return 0


def sweep_collections(Tip tip not None, size_t steps):
    """Free memory of dead collections, about `steps` entries; True when there is more to free."""
    return bool(sweep_dying(tip, steps))


cdef int forget_table(Tip tip, Table* table) except -1:
    cdef size_t i
    for i in range(tip.generations.size()):
        if tip.generations[i] == table:
            tip.generations.erase(tip.generations.begin() + i)
            tip.clock_table = 0
            tip.clock_hash = 0
            free_table(table)
            return 0
    return 0


def kill_chunks(Tip tip not None, uint64_t value_id, uint32_t first, uint32_t count):
    """Drop chunks of a dead value from memory; what is not flushed yet is flushed as deleted.

    Returns the keys of the other chunks, which LevelDB may have.
    """
    cdef char key[CHUNK_KEY_BYTES]
    cdef list stored = []
    cdef Entry* e
    cdef Version* v
    cdef Version* gone
    cdef Version* older
    cdef uint32_t i
    for i in range(first, first + count):
        put_chunk_key(key, value_id, i)
        e = tip.find(tip.chunks, tip.hash_key(key + 1, 12), key + 1, 12)
        if e == NULL or e.flags & E_DIRTY == 0:
            stored.append(PyBytes_FromStringAndSize(key, CHUNK_KEY_BYTES))
        if e == NULL:
            continue
        if e.flags & (E_DIRTY | E_FLUSHING) == 0:
            tip.remove(e)
            continue
        v = e.newest
        gone = tip.new_version(0)
        gone.commit_ts = v.commit_ts
        while v != NULL:
            older = v.older
            tip.free_version(e, v)
            v = older
        e.newest = gone
        tip.adopt(e, gone)
    return stored


def dead_heads(list rows not None):
    """Judge stored heads of a dead generation, (key, envelope) each.

    Returns ([keys to delete: theirs and their expiry rows'], [(value id, length in bytes)],
    [collection id]).
    """
    cdef list keys = []
    cdef list values = []
    cdef list collections = []
    cdef bytes key
    cdef bytes envelope
    cdef uint64_t commit_ts
    cdef uint64_t row_at
    cdef char p[EXPIRY_PREFIX_BYTES]
    for key, envelope in rows:
        if len(key) < HEAD_PREFIX_BYTES:
            raise CorruptionError(f"head key of {len(key)} bytes")
        keys.append(key)
        open_envelope(envelope, &commit_ts, &row_at)
        if row_at:
            put_expiry_prefix(p, K_EXPIRY, row_at, get_be64(PyBytes_AS_STRING(key) + 1))
            keys.append(PyBytes_FromStringAndSize(p, EXPIRY_PREFIX_BYTES)
                        + key[HEAD_PREFIX_BYTES:])
        value = stored_chunks(envelope)
        if value is not None:
            values.append(value)
        collection = stored_collection(envelope)
        if collection is not None:
            collections.append(collection.id)
    return keys, values, collections


def head_of_delta(Tip tip not None, bytes envelope not None):
    """Return the record key of the head for which a stored delta waits; None: it is in memory.

    Raises CorruptionError.
    """
    cdef uint64_t commit_ts
    cdef uint64_t row_at
    cdef uint64_t generation
    cdef Meta sum
    cdef Slice name
    cdef size_t at = open_envelope(envelope, &commit_ts, &row_at)
    cdef Table* table
    cdef Slice rest
    cdef uint64_t hash
    cdef bytes key
    read_delta(PyBytes_AS_STRING(envelope) + at, len(envelope) - at, &generation, &sum, &name)
    key = head_key(tip, generation, PyBytes_FromStringAndSize(name.data, name.len))
    if tip.locate(key, len(key), &table, &rest, &hash) != NULL \
            or (table != NULL and table.resident):
        return None
    return key
