// Bytes of a log segment: the header block and the records. docs/FORMATS.md, "Log", is the same in
// prose, with the reasons; kvnode/storage/log_format.py is the same in Python. On disk: DO NOT CHANGE.
//
//   header block (4096 bytes, written and synced before the segment is used; offsets in bytes)
//     0 magic "KVNODLOG"   8 version u32   12 zero u32   16 segment id u64   24 sequence u64
//     32 capacity u64      40 CRC-32C of bytes 0..40     44.. zero
//   record (starts at a multiple of 8, zero padding to the next)
//     0 header CRC u32: bytes 4..48, seeded with the segment's seed
//     4 chain CRC u32: bytes 8..end with padding, seeded with the predecessor's chain CRC
//     8 payload length u32   12 kind u8, three zeros   16 term u64   24 index u64
//     32 commit_ts u64       40 synced u64: offset below which all was synced when this was formed
//     48 payload
//   seed = CRC-32C of the eight bytes of the segment id; also the chain's start.
//   Integers are big-endian.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "crc32c.hpp"

namespace kvnode {

inline constexpr char LOG_MAGIC[9] = "KVNODLOG";
inline constexpr uint32_t LOG_VERSION = 1;
inline constexpr size_t LOG_HEADER_BYTES = 4096;        // of a segment
inline constexpr size_t LOG_RECORD_HEADER_BYTES = 48;
inline constexpr size_t LOG_ALIGN = 8;
inline constexpr uint32_t LOG_PAYLOAD_BYTES_MAX = 1u << 30;

enum LogKind : uint8_t {
    LOG_ENTRY = 1,      // a Raft entry
    LOG_MARK = 2,       // nothing but its `synced`; term, index, commit_ts of the entry before it
    LOG_LINK = 3,       // first record of a segment: payload names the predecessor's end
};

inline constexpr char LOG_MEMBERSHIP = 3;   // first byte of an entry's payload that is a membership

// Payload of a link: predecessor's sequence u64 (0 = none), its end offset u64, chain CRC there u32.
inline constexpr size_t LOG_LINK_BYTES = 20;

struct LogHead {        // the decoded record header
    uint32_t header_crc, chain_crc, length;
    uint8_t kind;
    uint64_t term, index, commit_ts, synced;
};

inline void store_be32(char* p, uint32_t v) { v = __builtin_bswap32(v); memcpy(p, &v, 4); }
inline void store_be64(char* p, uint64_t v) { v = __builtin_bswap64(v); memcpy(p, &v, 8); }
inline uint32_t load_be32(const char* p) { uint32_t v; memcpy(&v, p, 4); return __builtin_bswap32(v); }
inline uint64_t load_be64(const char* p) { uint64_t v; memcpy(&v, p, 8); return __builtin_bswap64(v); }

inline size_t log_record_bytes(size_t payload) {
    return (LOG_RECORD_HEADER_BYTES + payload + LOG_ALIGN - 1) & ~(LOG_ALIGN - 1);
}

inline uint32_t log_seed(uint64_t segment_id) {
    char id[8];
    store_be64(id, segment_id);
    return crc32c_extend(0, id, 8);
}

inline void log_put_header(char* block, uint64_t id, uint64_t sequence, uint64_t capacity) {
    memset(block, 0, LOG_HEADER_BYTES);
    memcpy(block, LOG_MAGIC, 8);
    store_be32(block + 8, LOG_VERSION);
    store_be64(block + 16, id);
    store_be64(block + 24, sequence);
    store_be64(block + 32, capacity);
    store_be32(block + 40, crc32c_extend(0, block, 40));
}

// Everything of a record but `synced` and the CRCs, which are known only when it is written.
inline void log_put_record(char* p, uint8_t kind, uint64_t term, uint64_t index, uint64_t commit_ts,
                           const char* payload, size_t n) {
    store_be32(p + 8, static_cast<uint32_t>(n));
    p[12] = static_cast<char>(kind);
    p[13] = p[14] = p[15] = 0;
    store_be64(p + 16, term);
    store_be64(p + 24, index);
    store_be64(p + 32, commit_ts);
    if (n) memcpy(p + LOG_RECORD_HEADER_BYTES, payload, n);
    const size_t end = LOG_RECORD_HEADER_BYTES + n;
    memset(p + end, 0, log_record_bytes(n) - end);
}

// Make the record final; return its chain CRC, the seed of the next one.
inline uint32_t log_seal_record(char* p, uint32_t seed, uint32_t chain, uint64_t synced) {
    store_be64(p + 40, synced);
    const size_t bytes = log_record_bytes(load_be32(p + 8));
    chain = crc32c_extend(chain, p + 8, bytes - 8);
    store_be32(p + 4, chain);
    store_be32(p, crc32c_extend(seed, p + 4, LOG_RECORD_HEADER_BYTES - 4));
    return chain;
}

inline LogHead log_get_head(const char* p) {
    LogHead h;
    h.header_crc = load_be32(p);
    h.chain_crc = load_be32(p + 4);
    h.length = load_be32(p + 8);
    h.kind = static_cast<uint8_t>(p[12]);
    h.term = load_be64(p + 16);
    h.index = load_be64(p + 24);
    h.commit_ts = load_be64(p + 32);
    h.synced = load_be64(p + 40);
    return h;
}

// Whether the 48 bytes at `p` are a record header, written for `offset` of this segment: what it says
// can be believed, whether or not its payload and its predecessors are whole.
inline bool log_is_header(const char* p, size_t offset, uint32_t seed) {
    if (p[12] < LOG_ENTRY || p[12] > LOG_LINK) return false;    // cheap, and true of zeros
    if (load_be32(p) != crc32c_extend(seed, p + 4, LOG_RECORD_HEADER_BYTES - 4)) return false;
    return load_be32(p + 8) <= LOG_PAYLOAD_BYTES_MAX && load_be64(p + 40) <= offset;
}

// The same at `offset`, with room for the payload behind it. `n` = bytes of the segment.
inline bool log_is_head(const char* segment, size_t n, size_t offset, uint32_t seed) {
    if (offset + LOG_RECORD_HEADER_BYTES > n) return false;
    const char* p = segment + offset;
    return log_is_header(p, offset, seed) && offset + log_record_bytes(load_be32(p + 8)) <= n;
}

inline bool log_is_whole(const char* p, uint32_t chain) {
    const size_t bytes = log_record_bytes(load_be32(p + 8));
    return load_be32(p + 4) == crc32c_extend(chain, p + 8, bytes - 8);
}

// The highest `synced` that any header at or after `offset` states; 0 if there is none.
inline uint64_t log_find_synced(const char* segment, size_t n, size_t offset, uint32_t seed) {
    uint64_t synced = 0;
    for (; offset + LOG_RECORD_HEADER_BYTES <= n; offset += LOG_ALIGN) {
        if (!log_is_head(segment, n, offset, seed)) continue;
        const uint64_t stated = load_be64(segment + offset + 40);
        if (stated > synced) synced = stated;
    }
    return synced;
}

// Ids of segments to come: from one random number per start of the node, so that no segment, and
// no earlier life of a recycled file, shares an id with another (splitmix64).
inline uint64_t log_segment_id(uint64_t id_seed, uint64_t sequence) {
    uint64_t z = id_seed + sequence * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

}  // namespace kvnode
