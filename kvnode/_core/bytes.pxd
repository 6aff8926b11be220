"""Leaf helpers on raw bytes: byte order, varints, decimal integers. Inlined into every module."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #ifdef KVNODE_DEBUG
    #include <stdio.h>
    #include <stdlib.h>
    #define KV_ASSERT(c) do { if (!(c)) { \
        fprintf(stderr, "ASSERT failed: %s (%s:%d)\\n", #c, __FILE__, __LINE__); abort(); } } while (0)
    #else
    #define KV_ASSERT(c) ((void)0)
    #endif
    static inline void kv_put_be64(char *p, uint64_t v) { v = __builtin_bswap64(v); memcpy(p, &v, 8); }
    static inline void kv_put_be32(char *p, uint32_t v) { v = __builtin_bswap32(v); memcpy(p, &v, 4); }
    static inline uint64_t kv_get_be64(const char *p) {
        uint64_t v; memcpy(&v, p, 8); return __builtin_bswap64(v);
    }
    static inline uint32_t kv_get_be32(const char *p) {
        uint32_t v; memcpy(&v, p, 4); return __builtin_bswap32(v);
    }
    """
    void ASSERT "KV_ASSERT"(bint condition) noexcept nogil
    void put_be64 "kv_put_be64"(char* p, uint64_t v) noexcept nogil
    void put_be32 "kv_put_be32"(char* p, uint32_t v) noexcept nogil
    uint64_t get_be64 "kv_get_be64"(const char* p) noexcept nogil
    uint32_t get_be32 "kv_get_be32"(const char* p) noexcept nogil

cdef enum:
    DECIMAL_BYTES_MAX = 21      # sign and 20 digits: the longest int64 or uint64
    VARINT_BYTES_MAX = 10


cdef struct Slice:
    # A borrowed run of bytes; whoever hands it out says how long it stays valid.
    const char* data
    size_t len


cdef inline Slice make_slice(const char* data, size_t length) noexcept nogil:
    cdef Slice s
    s.data = data
    s.len = length
    return s


cdef inline size_t put_varint(char* p, uint64_t v) noexcept nogil:
    """Write `v` as LEB128 at `p` (room for VARINT_BYTES_MAX); return the bytes written."""
    cdef size_t n = 0
    while v >= 0x80:
        p[n] = <char>((v & 0x7F) | 0x80)
        v >>= 7
        n += 1
    p[n] = <char>v
    return n + 1


cdef inline size_t get_varint(const char* p, size_t room, uint64_t* v) noexcept nogil:
    """Read a LEB128 number from at most `room` bytes; return the bytes used, 0 if malformed."""
    cdef uint64_t value = 0
    cdef size_t n = 0
    cdef uint8_t b
    while n < room and n < VARINT_BYTES_MAX:
        b = <uint8_t>p[n]
        value |= (<uint64_t>(b & 0x7F)) << (7 * n)
        n += 1
        if b < 0x80:
            v[0] = value
            return n
    return 0


cdef inline size_t format_u64(char* p, uint64_t v) noexcept nogil:
    """Write `v` in decimal at `p` (room for DECIMAL_BYTES_MAX); return the digits written."""
    cdef char digits[DECIMAL_BYTES_MAX]
    cdef size_t n = 0
    cdef size_t i
    while True:
        digits[n] = <char>(48 + v % 10)
        v = v // 10
        n += 1
        if v == 0:
            break
    for i in range(n):
        p[i] = digits[n - 1 - i]
    return n


cdef inline size_t format_i64(char* p, int64_t v) noexcept nogil:
    """Write `v` in decimal at `p` (room for DECIMAL_BYTES_MAX); return the bytes written."""
    if v >= 0:
        return format_u64(p, <uint64_t>v)
    p[0] = 45
    return 1 + format_u64(p + 1, <uint64_t>0 - <uint64_t>v)


cdef inline bint parse_i64(const char* p, size_t n, int64_t* out) noexcept nogil:
    """Parse a canonical signed decimal as Redis's string2ll does.

    No spaces, no plus sign, no leading zeros, no "-0"; False when anything else or out of range.
    """
    cdef size_t i = 0
    cdef bint negative = False
    cdef uint64_t v = 0
    cdef uint64_t limit
    cdef uint8_t d
    if n == 0 or n > 20:
        return False
    if n == 1 and p[0] == 48:
        out[0] = 0
        return True
    if p[0] == 45:
        negative = True
        i = 1
        if n == 1:
            return False
    d = <uint8_t>(<uint8_t>p[i] - 48)
    if d < 1 or d > 9:
        return False
    limit = (<uint64_t>1 << 63) if negative else ((<uint64_t>1 << 63) - 1)
    while i < n:
        d = <uint8_t>(<uint8_t>p[i] - 48)
        if d > 9:
            return False
        if v > (limit - d) // 10:
            return False
        v = v * 10 + d
        i += 1
    out[0] = <int64_t>(<uint64_t>0 - v) if negative else <int64_t>v
    return True
