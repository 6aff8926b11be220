"""Values of string keys: read and written here alone, whether inline in the head or in chunks.

A string of at most INLINE_BYTES_MAX bytes lies in its head. A longer one lies in chunk records
under a value id; chunk i holds bytes [i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES). An absent chunk, and
what a chunk is shorter than CHUNK_BYTES, reads as zeros. A value never shrinks under its id.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from kvnode._core.bytes cimport get_be64
from kvnode._core.reply cimport Reply, reply_bulk
from kvnode._core.tip cimport T_CHUNKED, T_STRING, Version
from kvnode._core.view cimport Head, View

cdef enum:
    INLINE_BYTES_MAX = 32 << 10     # as in base/limits.py
    CHUNK_BYTES = 16 << 10          # as in base/limits.py
    STRING_BYTES_MAX = 512 << 20    # as in base/limits.py
    BUILD_BYTES_MAX = 4 << 20       # of a value copied in one pass: a batch's worth
    BUILD_RESTARTS_MAX = 3          # then a value that others keep changing is copied in one step
    EMBSTR_BYTES_MAX = 44           # OBJECT ENCODING: a longer string is raw


cdef enum Encoding:         # what OBJECT ENCODING says
    ENCODING_INT = 0
    ENCODING_EMBSTR = 1
    ENCODING_RAW = 2


cdef inline bint is_string(const Version* v) noexcept nogil:
    return v.type == T_STRING or v.type == T_CHUNKED


cdef inline uint64_t string_length(const Version* v) noexcept nogil:
    """Bytes of a string value."""
    return v.length if v.type == T_STRING else get_be64(v.data + 8)


cdef class Build:
    # A large value that a command writes under a fresh id over several passes.
    cdef readonly uint64_t value_id
    cdef uint64_t source_ts     # commit_ts of the version that it is made from, 0 = none
    cdef uint64_t number        # the next chunk
    cdef int restarts


cdef bint need_chunks(View view, const Version* v, uint64_t start, uint64_t end) except -1
cdef int read_span(View view, const Version* v, uint64_t start, uint64_t n, char* out) except -1
cdef int reply_span(View view, const Version* v, uint64_t start, uint64_t n, Reply reply) except -1
cdef bint value_equals(View view, const Version* v, const char* data, size_t n) except -1
cdef int set_chunked(View view, Head* head, const char* data, size_t n,
                     uint64_t expire_at) except -1
cdef int overwrite(View view, Head* head, uint64_t offset, const char* data, size_t n) except -1
cdef int set_deadline(View view, Head* head, uint64_t expire_at) except -1
cdef int copy_value(View view, Head* source, Head* target) except -1
cdef Encoding encoding_of(const Version* v) noexcept nogil


cdef inline int reply_value(View view, const Version* v, Reply reply) except -1:
    """Answer a whole string; DONE, or PARK when chunks must be fetched."""
    if v.type == T_STRING:
        return reply_bulk(reply, v.data, v.length)
    return reply_span(view, v, 0, string_length(v), reply)


cdef inline int set_value(View view, Head* head, const char* data, size_t n, uint64_t expire_at,
                          uint8_t flags) except -1:
    """Set a key to a whole new string; every such write goes through here.

    data: not part of the key's present value. expire_at: ms, 0 = never. flags: VersionFlag.
    """
    cdef Version* v
    if n > INLINE_BYTES_MAX:
        return set_chunked(view, head, data, n, expire_at)
    v = view.write(head, T_STRING, n, expire_at)
    v.flags = flags
    memcpy(v.data, data, n)
    return 0
