# cython: boundscheck=False, wraparound=False
"""Operations of a log entry's payload, as bytes."""

from libc.string cimport memcpy
from kvnode._core.buffer cimport buffer_reserve
from kvnode._core.bytes cimport VARINT_BYTES_MAX, put_be64, put_varint
from kvnode._core.deltas cimport META_BYTES_MAX, put_meta
from kvnode._core.keys cimport DELTA_KEY_BYTES, put_delta_key, record_prefix
from kvnode._core.tip cimport (
    T_NONE, is_collection, put_record_key, put_record_value, record_value_bytes)

cdef enum:
    OP_PUT = 1              # operations of a payload; on disk: DO NOT CHANGE
    OP_DELETE = 2
    HEAD_VALUE_BYTES_MAX = 256      # of a collection's head


cdef int encode_write(Buffer* out, Entry* e, Version* v) except -1:
    """Append the operation that gives a record a value, or deletes it."""
    cdef size_t key_len = record_prefix(e.table.kind) + e.key_len
    cdef size_t value_len
    cdef char head[HEAD_VALUE_BYTES_MAX]
    cdef char* p
    value_len = 0 if v.type == T_NONE else record_value_bytes(v)
    buffer_reserve(out, 1 + 2 * VARINT_BYTES_MAX + key_len + value_len)
    p = out.data + out.len
    p[0] = OP_DELETE if v.type == T_NONE else OP_PUT
    p += 1
    p += put_varint(p, key_len)
    p += put_record_key(e, p)
    if is_collection(v.type):       # of varying length, which stands before it
        value_len = put_record_value(v, head)
        p += put_varint(p, value_len)
        memcpy(p, head, value_len)
        p += value_len
    elif v.type != T_NONE:
        p += put_varint(p, value_len)
        p += put_record_value(v, p)
    out.len = p - out.data
    return 0


cdef int encode_delta(Buffer* out, Collection* c, uint64_t commit_ts, const Meta* sum) except -1:
    """Append the delta record of a collection: generation u64, the sum, the user key."""
    cdef char meta[META_BYTES_MAX]
    cdef size_t meta_len = put_meta(meta, sum)
    cdef Entry* head = c.head
    cdef size_t n = 8 + meta_len + head.key_len
    cdef char* p
    buffer_reserve(out, 1 + 2 * VARINT_BYTES_MAX + DELTA_KEY_BYTES + n)
    p = out.data + out.len
    p[0] = OP_PUT
    p += 1
    p += put_varint(p, DELTA_KEY_BYTES)
    p += put_delta_key(p, c.id, commit_ts)
    p += put_varint(p, n)
    put_be64(p, head.table.id)
    memcpy(p + 8, meta, meta_len)
    memcpy(p + 8 + meta_len, head.key, head.key_len)
    out.len = p + n - out.data
    return 0
