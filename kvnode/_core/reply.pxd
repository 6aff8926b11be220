"""Reply writer: every RESP2/RESP3 reply form, appended to a session's output buffer.

The small forms are inline: they are called per command. `Reply` is one object per session; the
same object serves native handlers (inline functions below) and Python handlers (its methods).
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy
from kvnode._core.buffer cimport Buffer, buffer_append, buffer_reserve
from kvnode._core.bytes cimport DECIMAL_BYTES_MAX, format_i64, format_u64


cdef class Reply:
    cdef Buffer out         # bytes not yet sent
    cdef public int proto   # 2 or 3
    cdef uint64_t errors    # error replies written, ever: dispatch compares before and after
    cdef size_t error_at    # offset in out of the last error reply

    cdef int number(self, double value) except -1
    cdef int verbatim_text(self, const char* data, size_t n) except -1


cdef inline int reply_raw(Reply r, const char* data, size_t n) except -1:
    return buffer_append(&r.out, data, n)


cdef inline int reply_prefix(Reply r, char kind, int64_t n) except -1:
    """A type byte, a decimal and CRLF: the head of bulks and aggregates, and the integer reply."""
    cdef char* p
    cdef size_t used
    if r.out.capacity - r.out.len < DECIMAL_BYTES_MAX + 3:
        buffer_reserve(&r.out, DECIMAL_BYTES_MAX + 3)
    p = r.out.data + r.out.len
    p[0] = kind
    if 0 <= n < 10:
        p[1] = <char>(48 + n)
        used = 2
    else:
        used = 1 + format_i64(p + 1, n)
    p[used] = 13
    p[used + 1] = 10
    r.out.len += used + 2
    return 0


cdef inline int reply_ok(Reply r) except -1:
    return buffer_append(&r.out, b"+OK\r\n", 5)


cdef inline int reply_integer(Reply r, int64_t n) except -1:
    return reply_prefix(r, 58, n)


cdef inline int reply_bulk(Reply r, const char* data, size_t n) except -1:
    cdef char* p
    if r.out.capacity - r.out.len < n + DECIMAL_BYTES_MAX + 5:
        buffer_reserve(&r.out, n + DECIMAL_BYTES_MAX + 5)
    reply_prefix(r, 36, <int64_t>n)
    p = r.out.data + r.out.len
    memcpy(p, data, n)
    p[n] = 13
    p[n + 1] = 10
    r.out.len += n + 2
    return 0


cdef inline int reply_null(Reply r) except -1:
    """The absent value: RESP2's null bulk, RESP3's null."""
    if r.proto == 2:
        return buffer_append(&r.out, b"$-1\r\n", 5)
    return buffer_append(&r.out, b"_\r\n", 3)


cdef inline int reply_null_array(Reply r) except -1:
    if r.proto == 2:
        return buffer_append(&r.out, b"*-1\r\n", 5)
    return buffer_append(&r.out, b"_\r\n", 3)


cdef inline int reply_array(Reply r, int64_t n) except -1:
    return reply_prefix(r, 42, n)


cdef inline int reply_map(Reply r, int64_t n) except -1:
    """Head of a map of `n` pairs (in RESP2 an array of 2n)."""
    if r.proto == 2:
        return reply_prefix(r, 42, 2 * n)
    return reply_prefix(r, 37, n)


cdef inline int reply_set(Reply r, int64_t n) except -1:
    return reply_prefix(r, 42 if r.proto == 2 else 126, n)


cdef inline int reply_simple(Reply r, const char* data, size_t n) except -1:
    """A status line; `data` holds no CR or LF."""
    buffer_reserve(&r.out, n + 3)
    buffer_append(&r.out, b"+", 1)
    buffer_append(&r.out, data, n)
    return buffer_append(&r.out, b"\r\n", 2)


cdef inline int reply_error(Reply r, const char* data, size_t n) except -1:
    """An error line without its '-'; CR and LF inside become spaces."""
    cdef size_t i
    cdef size_t at
    r.errors += 1
    r.error_at = r.out.len
    buffer_reserve(&r.out, n + 3)
    buffer_append(&r.out, b"-", 1)
    at = r.out.len
    buffer_append(&r.out, data, n)
    for i in range(at, r.out.len):
        if r.out.data[i] == 13 or r.out.data[i] == 10:
            r.out.data[i] = 32
    return buffer_append(&r.out, b"\r\n", 2)
