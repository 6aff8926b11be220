"""Record keys: the bytes under which records stand in the log and in LevelDB.

Order-preserving and self-delimiting: a kind byte, fixed-width big-endian parts, and at the end at
most one variable part (a length prefix stands before every variable part that something follows).
docs/FORMATS.md lists them. On disk: DO NOT CHANGE.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from kvnode._core.bytes cimport get_be32, get_be64, put_be32, put_be64

cdef enum RecordKind:
    K_CHUNK = 67            # 'C' value id u64, chunk number u32
    K_DATABASE = 68         # 'D' database u8
    K_GENERATION = 71       # 'G' generation u64
    K_HEAD = 72             # 'H' generation u64, hash u64, user key
    K_LOCAL = 76            # 'L' name: this node's own facts, never in the log
    K_COUNTER = 78          # 'N' name
    K_SCRIPT = 83           # 'S' reserved
    K_TRASH = 84            # 'T' generation or value id u64
    K_EXPIRY = 88           # 'X' expire_at u64, generation u64, user key
    K_HISTORY = 89          # 'Y' kind, fixed part, rest length u32, rest, inverted commit_ts u64

cdef enum:
    HEAD_PREFIX_BYTES = 17
    CHUNK_KEY_BYTES = 13   # in the tip the key is without its kind byte
    EXPIRY_PREFIX_BYTES = 17
    RECORD_PREFIX_BYTES_MAX = 17


cdef inline size_t put_head_prefix(char* p, uint64_t generation, uint64_t hash) noexcept nogil:
    p[0] = K_HEAD
    put_be64(p + 1, generation)
    put_be64(p + 9, hash)
    return HEAD_PREFIX_BYTES


cdef inline size_t put_chunk_key(char* p, uint64_t value_id, uint32_t number) noexcept nogil:
    p[0] = K_CHUNK
    put_be64(p + 1, value_id)
    put_be32(p + 9, number)
    return CHUNK_KEY_BYTES


cdef inline size_t put_expiry_prefix(char* p, uint64_t expire_at, uint64_t generation) noexcept nogil:
    p[0] = K_EXPIRY
    put_be64(p + 1, expire_at)
    put_be64(p + 9, generation)
    return EXPIRY_PREFIX_BYTES
