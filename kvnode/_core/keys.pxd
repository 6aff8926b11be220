"""Record keys: the bytes under which records stand in the log and in LevelDB.

Order-preserving and self-delimiting: a kind byte, fixed-width big-endian parts, and at the end at
most one variable part (a length prefix stands before every variable part that something follows).
docs/FORMATS.md lists them. On disk: DO NOT CHANGE.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from kvnode._core.bytes cimport get_be32, get_be64, put_be32, put_be64

cdef enum RecordKind:
    K_CHUNK = 67            # 'C' value id u64, chunk number u32
    K_DATABASE = 68         # 'D' database u8
    K_DELTA = 69            # 'E' collection id u64, commit_ts u64
    K_FIELD = 70            # 'F' collection id u64, hash u64, field of a hash
    K_GENERATION = 71       # 'G' generation u64
    K_HEAD = 72             # 'H' generation u64, hash u64, user key
    K_ITEM = 73             # 'I' collection id u64, position of a list (sortable i64)
    K_CLAIM = 75            # 'K' collection id u64, position of a list (sortable i64)
    K_LOCAL = 76            # 'L' name: this node's own facts, never in the log
    K_MEMBER = 77           # 'M' collection id u64, hash u64, member of a set or sorted set
    K_COUNTER = 78          # 'N' name
    K_OWNER = 79            # 'O' collection id u64: in LevelDB only, see records.owner_row
    K_PENDING = 80          # 'P' collection id u64: written, and not published yet
    K_REQUEST = 82          # 'R' id that a client has given to a request
    K_SCRIPT = 83           # 'S' SHA1 of a cached script's text
    K_TRASH = 84            # 'T' generation, value or collection id u64
    K_LIBRARY = 85          # 'U' name of a library of functions
    K_FIELD_EXPIRY = 87     # 'W' expire_at u64, collection id u64, field of a hash
    K_EXPIRY = 88           # 'X' expire_at u64, generation u64, user key
    K_HISTORY = 89          # 'Y' kind, fixed part, rest length u32, rest, inverted commit_ts u64
    K_SCORE = 90            # 'Z' collection id u64, score (sortable double), member of a sorted set

cdef enum:
    HEAD_PREFIX_BYTES = 17
    HASHED_PREFIX_BYTES = 17    # fields and members
    PLACED_PREFIX_BYTES = 9     # items and claims; in the tip their key is the position
    POSITION_BYTES = 8
    DELTA_KEY_BYTES = 17
    SCORE_PREFIX_BYTES = 17     # in LevelDB only: no record, it follows from its member's
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


cdef inline size_t put_expiry_prefix(char* p, char kind, uint64_t expire_at,
                                     uint64_t owner) noexcept nogil:
    """owner: generation of a head, or collection id of a field."""
    p[0] = kind
    put_be64(p + 1, expire_at)
    put_be64(p + 9, owner)
    return EXPIRY_PREFIX_BYTES


cdef inline size_t put_hashed_prefix(char* p, char kind, uint64_t id, uint64_t hash) noexcept nogil:
    """The key of a head, a field or a member, up to its name."""
    p[0] = kind
    put_be64(p + 1, id)
    put_be64(p + 9, hash)
    return HASHED_PREFIX_BYTES


cdef inline size_t put_placed_prefix(char* p, char kind, uint64_t id) noexcept nogil:
    """The key of an item or a claim, up to its position."""
    p[0] = kind
    put_be64(p + 1, id)
    return PLACED_PREFIX_BYTES


cdef inline size_t put_score_prefix(char* p, uint64_t id, uint64_t order) noexcept nogil:
    """The key of a score row, up to the member."""
    p[0] = K_SCORE
    put_be64(p + 1, id)
    put_be64(p + 9, order)
    return SCORE_PREFIX_BYTES


cdef inline size_t put_delta_key(char* p, uint64_t id, uint64_t commit_ts) noexcept nogil:
    p[0] = K_DELTA
    put_be64(p + 1, id)
    put_be64(p + 9, commit_ts)
    return DELTA_KEY_BYTES


cdef inline void put_position(char* p, int64_t position) noexcept nogil:
    """A list position as bytes that sort like the number."""
    put_be64(p, <uint64_t>position ^ (<uint64_t>1 << 63))


cdef inline int64_t get_position(const char* p) noexcept nogil:
    return <int64_t>(get_be64(p) ^ (<uint64_t>1 << 63))


cdef inline uint64_t position_hash(const char* p) noexcept nogil:
    """The hash of a position's bytes. No client chooses positions, so it needs no key."""
    return get_be64(p) * 0x9E3779B97F4A7C15UL


cdef inline size_t record_prefix(char kind) noexcept nogil:
    """How many bytes of a record key stand before what the tip finds it by; 0: none of a table."""
    if kind == K_HEAD or kind == K_FIELD or kind == K_MEMBER:
        return HEAD_PREFIX_BYTES
    if kind == K_ITEM or kind == K_CLAIM:
        return PLACED_PREFIX_BYTES
    if kind == K_CHUNK:
        return 1
    return 0
