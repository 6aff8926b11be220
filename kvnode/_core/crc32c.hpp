// CRC-32C (Castagnoli, reflected 0x82F63B78; RFC 3720 appendix B.4), incremental.
//
// Two ways to the same number: the SSE4.2 instruction where the processor has it, else a table of
// eight (slicing-by-8). Which one is decided once, when the module is loaded.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace kvnode {

struct Crc32cTable {
    uint32_t t[8][256];
    constexpr Crc32cTable() : t() {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int k = 0; k < 8; k++) c = (c >> 1) ^ (0x82F63B78u & (0u - (c & 1)));
            t[0][i] = c;
        }
        for (uint32_t i = 0; i < 256; i++)
            for (int k = 1; k < 8; k++) t[k][i] = (t[k - 1][i] >> 8) ^ t[0][t[k - 1][i] & 0xFF];
    }
};

inline constexpr Crc32cTable CRC32C_TABLE{};

inline uint32_t crc32c_extend_table(uint32_t crc, const char* data, size_t n) {
    const auto& t = CRC32C_TABLE.t;
    const uint8_t* p = reinterpret_cast<const uint8_t*>(data);
    uint32_t c = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t lo, hi;
        memcpy(&lo, p, 4);      // little-endian: the only byte order we build for
        memcpy(&hi, p + 4, 4);
        lo ^= c;
        c = t[7][lo & 0xFF] ^ t[6][(lo >> 8) & 0xFF] ^ t[5][(lo >> 16) & 0xFF] ^ t[4][lo >> 24] ^
            t[3][hi & 0xFF] ^ t[2][(hi >> 8) & 0xFF] ^ t[1][(hi >> 16) & 0xFF] ^ t[0][hi >> 24];
    }
    for (; n; n--, p++) c = (c >> 8) ^ t[0][(c ^ *p) & 0xFF];
    return ~c;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2")))
inline uint32_t crc32c_extend_sse42(uint32_t crc, const char* data, size_t n) {
    uint64_t c = static_cast<uint32_t>(~crc);
    for (; n >= 8; n -= 8, data += 8) {
        uint64_t v;
        memcpy(&v, data, 8);
        c = _mm_crc32_u64(c, v);
    }
    uint32_t c32 = static_cast<uint32_t>(c);
    for (; n; n--, data++) c32 = _mm_crc32_u8(c32, static_cast<uint8_t>(*data));
    return ~c32;
}

inline bool crc32c_is_accelerated() {
    static const bool has_sse42 = __builtin_cpu_supports("sse4.2");
    return has_sse42;
}

inline uint32_t crc32c_extend(uint32_t crc, const char* data, size_t n) {
    return crc32c_is_accelerated() ? crc32c_extend_sse42(crc, data, n)
                                   : crc32c_extend_table(crc, data, n);
}
#else
inline bool crc32c_is_accelerated() { return false; }

inline uint32_t crc32c_extend(uint32_t crc, const char* data, size_t n) {
    return crc32c_extend_table(crc, data, n);
}
#endif

}  // namespace kvnode
