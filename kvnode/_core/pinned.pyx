# cython: boundscheck=False, wraparound=False
"""Reads of the tip at a pin: single records, and pages of a table in the order of LevelDB's rows.

What is read has the form in which LevelDB keeps it, an envelope. A head's base is that of the pin:
the one in its version is only as new as the last time it was written.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy
from libcpp.vector cimport vector
from kvnode._core.bytes cimport Slice, get_be64, put_be64
from kvnode._core.deltas cimport Meta, get_meta, meta_add
from kvnode._core.keys cimport (
    DELTA_KEY_BYTES, K_CLAIM, K_HEAD, K_ITEM, PLACED_PREFIX_BYTES, POSITION_BYTES,
    RECORD_PREFIX_BYTES_MAX, get_position, position_hash, put_position, record_prefix)
from kvnode._core.entries cimport (
    T_NONE, Collection, Entry, HeadData, Table, Version, head_data, is_collection)
from kvnode._core.records cimport (
    HAS_DEADLINE, envelope_of, get_head_data, open_envelope, put_head_data, put_record_key)
from kvnode._core.tables cimport make_version, version_at
from kvnode._core.tip cimport Tip, meta_at

from kvnode._core.upkeep import stored_value
from kvnode.base.errors import CorruptionError

cdef enum:
    HEAD_DATA_BYTES_MAX = 96
    CUT_ENVELOPE_BYTES = 9  # commit_ts, and flags that are none

UNKNOWN, ABSENT, PRESENT = range(3)     # what the tip says of a record at a pin
NEWEST = 0xFFFFFFFFFFFFFFFF             # as a pin: the tip itself


def pins(Tip tip not None):
    """Return the commit_ts of every pin, ascending."""
    return [pin for pin in tip.pins]


def stored_at(Tip tip not None, bytes key not None, uint64_t commit_ts):
    """Return (UNKNOWN | ABSENT | PRESENT, envelope) of a record as a pin sees it."""
    cdef Table* table
    cdef Slice rest
    cdef uint64_t hash
    cdef Version* v
    cdef int status
    cdef Entry* e = tip.locate(key, len(key), &table, &rest, &hash)
    if e == NULL:
        return (ABSENT if table != NULL and knows_past(table) else UNKNOWN), None
    status = status_at(e, commit_ts, &v)
    if status != 2:
        return (ABSENT if knows_past(table) else status), None
    return PRESENT, envelope_at(tip, e, v, commit_ts, True)


def record_at(Tip tip not None, bytes key not None, uint64_t commit_ts):
    """Return (UNKNOWN | ABSENT | PRESENT, value) of a record as a pin sees it."""
    status, envelope = stored_at(tip, key, commit_ts)
    return status, None if envelope is None else stored_value(envelope)


cdef int status_at(Entry* e, uint64_t commit_ts, Version** version) noexcept:
    """Judge a record at a pin: 0 unknown, 1 absent, 2 present with version[0].

    An absence that was fetched (commit_ts 0) speaks of now: an older version that the pin sees may
    be in LevelDB's history.
    """
    cdef Version* v = version_at(e, commit_ts)
    version[0] = v
    if v == NULL or (v.commit_ts == 0 and commit_ts != 0xFFFFFFFFFFFFFFFF):
        return 0
    return 1 if v.type == T_NONE else 2


def scan_at(Tip tip not None, uint8_t kind, uint64_t id, uint64_t from_order, size_t limit,
            uint64_t commit_ts, bint values):
    """Return records of a table in memory from an order on as a pin sees them.

    kind, id: heads of a generation, or elements of a collection. values: else an envelope ends
    behind the deadline. Returns ([(order, record key, UNKNOWN | ABSENT | PRESENT, envelope)], next
    order or None at the end, whether LevelDB has to be asked too). In order; UNKNOWN: LevelDB knows.
    """
    cdef Table* table = table_of(tip, kind, id)
    cdef vector[Entry*] entries
    cdef uint64_t next_order = 0
    cdef bint done = False
    cdef list rows = []
    cdef Entry* e
    cdef Version* v
    cdef uint64_t order
    cdef int status
    if table == NULL:
        return rows, None, True
    if kind == K_ITEM or kind == K_CLAIM:
        scan_positions(tip, table, from_order, limit, &entries, &next_order, &done)
    else:
        tip.scan_next(table, from_order, &entries, limit, &next_order, &done)
    for e in entries:
        status = status_at(e, commit_ts, &v)
        order = get_be64(e.key) if record_prefix(kind) == PLACED_PREFIX_BYTES else e.hash
        rows.append((order, record_key(e), status,
                     envelope_at(tip, e, v, commit_ts, values) if status == 2 else None))
    return rows, None if done else next_order, not knows_past(table)


cdef bint knows_past(Table* table) noexcept:
    """Whether what a table lacks was absent at every pin too.

    A collection that was read from LevelDB as a whole is complete as of now: what a pin saw before
    may be in the history.
    """
    return table.resident and (table.owner == NULL or not table.owner.stored)


cdef Table* table_of(Tip tip, uint8_t kind, uint64_t id) noexcept:
    """The table of a kind of records, or NULL: nothing of it is in memory."""
    cdef Collection* c
    if kind == K_HEAD:
        return tip.generation(id)
    c = tip.collection(id)
    if c == NULL:
        return NULL
    if kind == K_CLAIM:
        return c.claims
    if c.elements == NULL or c.elements.kind != kind:
        return NULL
    return c.elements


cdef int scan_positions(Tip tip, Table* table, uint64_t from_order, size_t limit,
                        vector[Entry*]* entries, uint64_t* next_order, bint* done) except -1:
    """Append what is in memory of a list at up to `limit` positions, see Tip.scan_next()."""
    cdef Collection* c = table.owner
    cdef char key[8]
    cdef Entry* e
    cdef int64_t position
    put_be64(key, from_order)
    position = max(get_position(key), c.low)
    while limit > 0 and position < c.high:
        put_position(key, position)
        e = tip.find(table, position_hash(key), key, POSITION_BYTES)
        if e != NULL:
            entries.push_back(e)
        position += 1
        limit -= 1
    done[0] = position >= c.high
    put_position(key, position)
    next_order[0] = get_be64(key)
    return 0


cdef bytes record_key(Entry* e):
    cdef bytes key = PyBytes_FromStringAndSize(NULL, RECORD_PREFIX_BYTES_MAX + e.key_len)
    return key[:put_record_key(e, PyBytes_AS_STRING(key))]


cdef bytes envelope_at(Tip tip, Entry* e, Version* v, uint64_t commit_ts, bint values):
    cdef char p[CUT_ENVELOPE_BYTES + 10]
    cdef Collection* c
    cdef Version* copy
    if not values:
        put_be64(p, v.commit_ts)
        p[8] = 0
        p[9] = <char>v.type
        p[10] = <char>(v.flags | (HAS_DEADLINE if v.expire_at else 0))
        put_be64(p + 11, v.expire_at)
        return PyBytes_FromStringAndSize(p, 19 if v.expire_at else 11)
    if not is_collection(v.type):
        return envelope_of(e, v)
    c = tip.collection(head_data(v).id)
    if c == NULL or not c.ready:
        return envelope_of(e, v)
    copy = make_version(v.length)
    memcpy(copy, v, 34 + v.length)
    head_data(copy).base = meta_at(tip, c, commit_ts)
    head_data(copy).folded = min(commit_ts, max(c.changed, head_data(v).folded))
    try:
        return envelope_of(e, copy)
    finally:
        free(copy)


# -- heads of LevelDB ---------------------------------------------------------------------------

def head_at(Tip tip not None, bytes envelope not None, list deltas not None, uint64_t commit_ts):
    """Return a collection's head as LevelDB has it with its base brought up to a pin.

    deltas: LevelDB's delta rows of the collection; memory may have others, or all of it by now.
    """
    cdef uint64_t stored_ts
    cdef uint64_t row_at
    cdef size_t at = open_envelope(envelope, &stored_ts, &row_at)
    cdef const char* p = PyBytes_AS_STRING(envelope)
    cdef size_t n = PyBytes_GET_SIZE(envelope)
    cdef char out[HEAD_DATA_BYTES_MAX]
    cdef HeadData data
    cdef Collection* c
    at += 10 if p[at + 1] & HAS_DEADLINE else 2
    if n < at or not get_head_data(p + at, n - at, &data):
        raise CorruptionError(f"stored head of {n} bytes")
    c = tip.collection(data.id)
    if c != NULL and c.ready:
        data.base = meta_at(tip, c, commit_ts)
    else:
        add_deltas(c, deltas, data.folded, commit_ts, &data.base)
    data.folded = commit_ts
    return envelope[:at] + PyBytes_FromStringAndSize(out, put_head_data(&data, out))


cdef int add_deltas(Collection* c, list rows, uint64_t folded, uint64_t upto, Meta* sum) except -1:
    """Add the deltas with folded < commit_ts <= upto, each once: from rows, and from memory."""
    cdef uint64_t commit_ts
    cdef uint64_t row_at
    cdef uint64_t delta_ts
    cdef size_t at
    cdef Meta change
    cdef uint32_t i
    cdef set seen = set()
    for key, envelope in rows:
        at = open_envelope(envelope, &commit_ts, &row_at) + 8      # a generation comes first
        if len(key) != DELTA_KEY_BYTES or <size_t>len(envelope) < at or get_meta(
                PyBytes_AS_STRING(envelope) + at, len(envelope) - at, &change) == 0:
            raise CorruptionError(f"delta of {len(envelope)} bytes")
        delta_ts = get_be64(PyBytes_AS_STRING(key) + 9)
        if folded < delta_ts <= upto:
            seen.add(delta_ts)
            meta_add(sum, &change)
    for i in range(c.deltas.count if c != NULL else 0):
        delta_ts = c.deltas.items[i].commit_ts
        if folded < delta_ts <= upto and delta_ts not in seen:
            meta_add(sum, &c.deltas.items[i].sum)
    return 0
