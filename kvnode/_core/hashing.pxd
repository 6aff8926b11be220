"""SipHash-1-3, the keyed hash of user keys (Aumasson and Bernstein, "SipHash: a fast short-input PRF").

Keyed, so that a client cannot choose names that share one value; its key is part of the data.
"""

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #define KV_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
    #define KV_SIPROUND do { \
        v0 += v1; v1 = KV_ROTL(v1, 13); v1 ^= v0; v0 = KV_ROTL(v0, 32); \
        v2 += v3; v3 = KV_ROTL(v3, 16); v3 ^= v2; \
        v0 += v3; v3 = KV_ROTL(v3, 21); v3 ^= v0; \
        v2 += v1; v1 = KV_ROTL(v1, 17); v1 ^= v2; v2 = KV_ROTL(v2, 32); } while (0)
    static inline uint64_t kv_siphash13(uint64_t k0, uint64_t k1, const char *data, size_t n) {
        uint64_t v0 = k0 ^ 0x736f6d6570736575ULL, v1 = k1 ^ 0x646f72616e646f6dULL;
        uint64_t v2 = k0 ^ 0x6c7967656e657261ULL, v3 = k1 ^ 0x7465646279746573ULL;
        uint64_t word, last = ((uint64_t)n) << 56;
        size_t tail = n & 7;
        const char *end = data + (n - tail);
        for (; data != end; data += 8) {
            memcpy(&word, data, 8);
            v3 ^= word; KV_SIPROUND; v0 ^= word;
        }
        for (size_t i = 0; i < tail; i++) last |= ((uint64_t)(uint8_t)data[i]) << (8 * i);
        v3 ^= last; KV_SIPROUND; v0 ^= last;
        v2 ^= 0xff; KV_SIPROUND; KV_SIPROUND; KV_SIPROUND;
        return v0 ^ v1 ^ v2 ^ v3;
    }
    """
    uint64_t siphash13 "kv_siphash13"(uint64_t k0, uint64_t k1, const char* data, size_t n) noexcept nogil
