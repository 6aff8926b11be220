# cython: boundscheck=False, wraparound=False
"""Bytes of records: keys, values, and the rows under which LevelDB keeps them."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.stdlib cimport free
from libc.string cimport memcpy
from kvnode._core.bytes cimport get_be64, put_be32, put_be64
from kvnode._core.deltas cimport get_meta, put_meta
from kvnode._core.entries cimport HEAD_DATA_BYTES, T_RAW, Collection, head_data, is_collection
from kvnode._core.keys cimport (
    EXPIRY_PREFIX_BYTES, HEAD_PREFIX_BYTES, K_CHUNK, K_CLAIM, K_DELTA, K_EXPIRY, K_FIELD,
    K_FIELD_EXPIRY, K_HEAD, K_HISTORY, K_ITEM, K_MEMBER, K_OWNER, PLACED_PREFIX_BYTES,
    put_expiry_prefix, put_hashed_prefix, put_placed_prefix, record_prefix)
from kvnode._core.tables cimport make_version

from kvnode.base.errors import CorruptionError

cdef enum:
    HEAD_DATA_BYTES_MAX = 16 + 2 * 40


cdef size_t put_record_key(Entry* entry, char* p) noexcept nogil:
    """Write the record key of `entry` at `p` (room for RECORD_PREFIX_BYTES_MAX + key_len)."""
    cdef size_t n = 0
    cdef char kind = entry.table.kind
    if kind == K_HEAD or kind == K_FIELD or kind == K_MEMBER:
        n = put_hashed_prefix(p, kind, entry.table.id, entry.hash)
    elif kind == K_ITEM or kind == K_CLAIM:
        n = put_placed_prefix(p, kind, entry.table.id)
    elif kind == K_CHUNK or kind == K_DELTA:
        p[0] = kind
        n = 1
    memcpy(p + n, entry.key, entry.key_len)
    return n + entry.key_len


cdef size_t record_value_bytes(Version* v) noexcept nogil:
    """At least the bytes that put_record_value() writes."""
    if v.type == T_RAW:
        return v.length
    if is_collection(v.type):
        return 2 + (8 if v.expire_at else 0) + HEAD_DATA_BYTES_MAX
    return 2 + (8 if v.expire_at else 0) + v.length


cdef size_t put_record_value(Version* v, char* p) noexcept nogil:
    """Write the value of a version that is no tombstone; return its bytes."""
    cdef size_t n = 0
    if v.type != T_RAW:
        p[0] = <char>v.type
        p[1] = <char>v.flags
        n = 2
        if v.expire_at:
            p[1] = <char>(v.flags | HAS_DEADLINE)
            put_be64(p + 2, v.expire_at)
            n = 10
    if is_collection(v.type):
        return n + put_head_data(head_data(v), p + n)
    memcpy(p + n, v.data, v.length)
    return n + v.length


cdef size_t put_head_data(const HeadData* d, char* p) noexcept nogil:
    """Write what a collection's head says: id u64, folded u64, base, and low and high as a Meta."""
    cdef Meta span
    cdef size_t n = 16
    put_be64(p, d.id)
    put_be64(p + 8, d.folded)
    n += put_meta(p + n, &d.base)
    span.length = span.holes = 0
    span.head = d.low
    span.tail = d.high
    return n + put_meta(p + n, &span)


cdef bint get_head_data(const char* p, size_t n, HeadData* d) noexcept nogil:
    """Read put_head_data(); False if malformed."""
    cdef Meta span
    cdef size_t used
    cdef size_t more
    if n < 16:
        return False
    d.id = get_be64(p)
    d.folded = get_be64(p + 8)
    used = get_meta(p + 16, n - 16, &d.base)
    if used == 0:
        return False
    more = get_meta(p + 16 + used, n - 16 - used, &span)
    d.low = span.head
    d.high = span.tail
    return more != 0 and 16 + used + more == n


cdef Version* decode_value(Table* table, const char* value, size_t n, bint present) except NULL:
    """Build a version from the value of a record (see put_record_value)."""
    cdef Version* v
    cdef size_t at = 0
    if not present:
        return make_version(0)
    if table.kind == K_HEAD or table.kind == K_FIELD:
        if n < 2 or (value[1] & HAS_DEADLINE and n < 10):
            raise CorruptionError(f"head value of {n} bytes")
        at = 10 if value[1] & HAS_DEADLINE else 2
    if at and is_collection(<uint8_t>value[0]):
        v = make_version(HEAD_DATA_BYTES)
        if not get_head_data(value + at, n - at, head_data(v)):
            free(v)
            raise CorruptionError(f"head of a collection of {n} bytes")
    else:
        v = make_version(n - at)
        memcpy(v.data, value + at, n - at)
    v.type = T_RAW
    if at:
        v.type = <uint8_t>value[0]
        v.flags = <uint8_t>value[1] & ~HAS_DEADLINE
        if at == 10:
            v.expire_at = get_be64(value + 2)
    return v


cdef bytes envelope_of(Entry* e, Version* v):
    """The value under which LevelDB keeps a version: commit_ts, flags, [row_at], value."""
    cdef bint row = v.expire_at != 0
    cdef size_t head = 17 if row else 9
    cdef size_t room = head + record_value_bytes(v)
    cdef bytes data = PyBytes_FromStringAndSize(NULL, room)
    cdef char* p = PyBytes_AS_STRING(data)
    cdef size_t n
    put_be64(p, v.commit_ts)
    p[8] = HAS_ROW if row else 0
    if row:
        put_be64(p + 9, e.row_at)
    n = head + put_record_value(v, p + head)
    return data if n == room else PyBytes_FromStringAndSize(p, n)


cdef bytes history_value(Version* v, uint64_t until):
    """The value of a history row: commit_ts of the version that replaced it, then its envelope."""
    cdef size_t n = record_value_bytes(v)
    cdef bytes data = PyBytes_FromStringAndSize(NULL, 17 + n)
    cdef char* p = PyBytes_AS_STRING(data)
    put_be64(p, until)
    put_be64(p + 8, v.commit_ts)
    p[16] = 0
    put_record_value(v, p + 17)
    return data


cdef size_t open_envelope(bytes envelope, uint64_t* commit_ts, uint64_t* row_at) except 0:
    """Read what stands before the value; return where the value begins."""
    cdef const char* p = PyBytes_AS_STRING(envelope)
    cdef size_t n = PyBytes_GET_SIZE(envelope)
    row_at[0] = 0
    if n < 9 or (p[8] & HAS_ROW and n < 17):
        raise CorruptionError(f"stored value of {n} bytes")
    commit_ts[0] = get_be64(p)
    if p[8] & HAS_ROW:
        row_at[0] = get_be64(p + 9)
        return 17
    return 9


cdef bytes expiry_row(Entry* e):
    """The key of the expiry row of a head or field."""
    cdef bytes row = PyBytes_FromStringAndSize(NULL, EXPIRY_PREFIX_BYTES + e.key_len)
    cdef char* p = PyBytes_AS_STRING(row)
    put_expiry_prefix(p, K_EXPIRY if e.table.kind == K_HEAD else K_FIELD_EXPIRY, e.row_at, e.table.id)
    memcpy(p + EXPIRY_PREFIX_BYTES, e.key, e.key_len)
    return row


cdef bytes expiry_value(Entry* e):
    """Its value: of a field, where the head of its hash was, generation and user key, if known."""
    cdef Collection* c = e.table.owner
    if c == NULL or (c.head == NULL and c.place == NULL):
        return b""
    if c.head == NULL:
        return PyBytes_FromStringAndSize(c.place, c.place_bytes)
    return place_of_fields(c.head.table.id, c.head)


cdef bytes place_of_fields(uint64_t generation, Entry* head):
    """Say where the head of a hash is, or will be."""
    cdef char p[8]
    put_be64(p, generation)
    return PyBytes_FromStringAndSize(p, 8) + PyBytes_FromStringAndSize(head.key, head.key_len)


cdef tuple owner_row(Entry* head, uint64_t id):
    """The row that says under which key a collection's head is."""
    cdef bytes key = PyBytes_FromStringAndSize(NULL, PLACED_PREFIX_BYTES)
    cdef bytes value = PyBytes_FromStringAndSize(NULL, HEAD_PREFIX_BYTES + head.key_len)
    put_placed_prefix(PyBytes_AS_STRING(key), K_OWNER, id)
    put_record_key(head, PyBytes_AS_STRING(value))
    return key, value


cdef bytes history_key(Entry* e, uint64_t commit_ts):
    """K_HISTORY, kind, fixed part, length of the rest u32, the rest, inverted commit_ts."""
    cdef bytes key = PyBytes_FromStringAndSize(NULL, e.key_len + 17 + 13)
    cdef char* p = PyBytes_AS_STRING(key)
    cdef size_t n = 1 + record_prefix(e.table.kind)
    p[0] = K_HISTORY
    put_record_key(e, p + 1)
    put_be32(p + n, e.key_len)
    memcpy(p + n + 4, e.key, e.key_len)
    n += 4 + e.key_len
    put_be64(p + n, ~commit_ts)
    return PyBytes_FromStringAndSize(p, n + 8)


cdef int read_delta(const char* value, size_t n, uint64_t* generation, Meta* sum,
                    Slice* name) except -1:
    """Read the value of a delta record: generation u64, the sum, the user key."""
    cdef size_t used = get_meta(value + 8, n - 8, sum) if n > 8 else 0
    if used == 0:
        raise CorruptionError(f"delta of {n} bytes")
    generation[0] = get_be64(value)
    name.data = value + 8 + used
    name.len = n - 8 - used
    return 0
