"""Record keys for the storage layer: built and read here, beside the forms that native code uses."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from kvnode._core.bytes cimport get_be32, get_be64, put_be32, put_be64

from kvnode.base.errors import CorruptionError

CHUNK = <int>K_CHUNK
DATABASE = <int>K_DATABASE
GENERATION = <int>K_GENERATION
HEAD = <int>K_HEAD
LOCAL = <int>K_LOCAL
COUNTER = <int>K_COUNTER
LIBRARY = <int>K_LIBRARY
PENDING = <int>K_PENDING
REQUEST = <int>K_REQUEST
SCRIPT = <int>K_SCRIPT
TRASH = <int>K_TRASH
EXPIRY = <int>K_EXPIRY
FIELD_EXPIRY = <int>K_FIELD_EXPIRY
HISTORY = <int>K_HISTORY
DELTA = <int>K_DELTA
ITEM = <int>K_ITEM
CLAIM = <int>K_CLAIM
MEMBER = <int>K_MEMBER
SCORE = <int>K_SCORE
OWNER = <int>K_OWNER
PARTS = (<int>K_FIELD, <int>K_MEMBER, <int>K_ITEM, <int>K_CLAIM, <int>K_DELTA, <int>K_SCORE,
         <int>K_OWNER)

cdef enum:
    HISTORY_EXTRA = 13      # bytes that a history key adds to a record's: its own kind, u32, u64


def kind_bounds(uint8_t kind):
    """Return (lo, hi) of all keys of a kind."""
    return bytes((kind,)), bytes((kind + 1,))


def local_key(bytes name not None):
    """Return the key of one of this node's own facts."""
    return b"L" + name


def head_start(uint64_t generation, uint64_t hash):
    """Return the lowest key of the heads of `generation` from `hash` on."""
    cdef char p[HEAD_PREFIX_BYTES]
    put_head_prefix(p, generation, hash)
    return PyBytes_FromStringAndSize(p, HEAD_PREFIX_BYTES)


def head_end(uint64_t generation):
    """Return a key above all heads of `generation` and below those of the next."""
    return head_start(generation + 1, 0)[:9]


def split_head(bytes key not None):
    """Return (generation, hash, user key) of a head's key. Raises CorruptionError."""
    cdef const char* p = PyBytes_AS_STRING(key)
    cdef size_t n = PyBytes_GET_SIZE(key)
    if n < HEAD_PREFIX_BYTES or p[0] != K_HEAD:
        raise CorruptionError(f"head key {key[:40]!r}")
    return get_be64(p + 1), get_be64(p + 9), key[HEAD_PREFIX_BYTES:]


def expiry_key(uint8_t kind, uint64_t expire_at_ms, uint64_t owner, bytes name not None):
    """Return the key of the expiry row of a head or field. owner: generation or collection id."""
    cdef char p[EXPIRY_PREFIX_BYTES]
    put_expiry_prefix(p, kind, expire_at_ms, owner)
    return PyBytes_FromStringAndSize(p, EXPIRY_PREFIX_BYTES) + name


def expiry_start(uint8_t kind, uint64_t expire_at_ms):
    """Return the lowest key of the expiry rows of a kind from a deadline on."""
    cdef char p[EXPIRY_PREFIX_BYTES]
    put_expiry_prefix(p, kind, expire_at_ms, 0)
    return PyBytes_FromStringAndSize(p, 9)


def split_expiry(bytes key not None):
    """Return (deadline ms, generation or collection id, user key or field) of an expiry row.

    Raises CorruptionError.
    """
    cdef const char* p = PyBytes_AS_STRING(key)
    cdef size_t n = PyBytes_GET_SIZE(key)
    if n < EXPIRY_PREFIX_BYTES or (p[0] != K_EXPIRY and p[0] != K_FIELD_EXPIRY):
        raise CorruptionError(f"expiry key {key[:40]!r}")
    return get_be64(p + 1), get_be64(p + 9), key[EXPIRY_PREFIX_BYTES:]


def history_of(bytes record_key not None, uint64_t commit_ts):
    """Return the history key of a version of a head or chunk.

    Between those for commit_ts and for 0 lie the versions at or before commit_ts, newest first.
    """
    cdef size_t n = PyBytes_GET_SIZE(record_key)
    cdef const char* from_ = PyBytes_AS_STRING(record_key)
    cdef size_t fixed = max(<size_t>1, record_prefix(from_[0]) if n else 0)
    cdef bytes key
    cdef char* p
    if n < fixed:
        raise CorruptionError(f"record key {record_key[:40]!r}")
    key = PyBytes_FromStringAndSize(NULL, n + HISTORY_EXTRA)
    p = PyBytes_AS_STRING(key)
    p[0] = K_HISTORY
    memcpy(p + 1, from_, fixed)
    put_be32(p + 1 + fixed, <uint32_t>(n - fixed))
    memcpy(p + 5 + fixed, from_ + fixed, n - fixed)
    put_be64(p + 5 + n, ~commit_ts)
    return key


def split_history(bytes key not None):
    """Return (record key, commit_ts) of a history key. Raises CorruptionError."""
    cdef const char* p = PyBytes_AS_STRING(key)
    cdef size_t n = PyBytes_GET_SIZE(key)
    cdef size_t fixed
    if n <= HISTORY_EXTRA or p[0] != K_HISTORY:
        raise CorruptionError(f"history key {key[:40]!r}")
    fixed = 1 + max(<size_t>1, record_prefix(p[1]))     # with its own kind
    if n < fixed + 12 or n != fixed + 12 + get_be32(p + fixed):
        raise CorruptionError(f"history key {key[:40]!r}")
    return key[1:fixed] + key[fixed + 4:n - 8], ~get_be64(p + n - 8)


def history_start(uint8_t kind, uint64_t id, uint64_t order):
    """Return the lowest key of the history of a table's records from an order on."""
    cdef char p[4]
    start = order_start(kind, id, order)
    if record_prefix(kind) == HASHED_PREFIX_BYTES:
        return b"Y" + start
    put_be32(p, POSITION_BYTES)
    return b"Y" + start[:PLACED_PREFIX_BYTES] + PyBytes_FromStringAndSize(p, 4) \
        + start[PLACED_PREFIX_BYTES:]


def part_bounds(uint8_t kind, uint64_t id):
    """Return (lo, hi) of the records of a kind that belong to the generation or collection `id`."""
    cdef char p[PLACED_PREFIX_BYTES]
    put_placed_prefix(p, kind, id)
    lo = PyBytes_FromStringAndSize(p, PLACED_PREFIX_BYTES)
    put_be64(p + 1, id + 1)
    return lo, PyBytes_FromStringAndSize(p, PLACED_PREFIX_BYTES)


def order_start(uint8_t kind, uint64_t id, uint64_t order):
    """Return the lowest key of a table's records from an order on, see record_order()."""
    cdef char p[HASHED_PREFIX_BYTES]
    put_hashed_prefix(p, kind, id, order)
    return PyBytes_FromStringAndSize(p, HASHED_PREFIX_BYTES)


def record_order(bytes key not None):
    """Return what orders the records of a table: a hash, or a position as a sortable number.

    Raises CorruptionError.
    """
    if PyBytes_GET_SIZE(key) < PLACED_PREFIX_BYTES + 8:
        raise CorruptionError(f"record key {key[:40]!r}")
    return get_be64(PyBytes_AS_STRING(key) + PLACED_PREFIX_BYTES)


def score_key(bytes member_key not None, bytes score not None):
    """Return the key of the score row of a member, by its record key and its eight bytes of score."""
    if PyBytes_GET_SIZE(member_key) < HASHED_PREFIX_BYTES:
        raise CorruptionError(f"member key {member_key[:40]!r}")
    return b"Z" + member_key[1:PLACED_PREFIX_BYTES] + score + member_key[HASHED_PREFIX_BYTES:]


def score_bound(uint64_t id, bytes bound not None):
    """Return the lowest key of score rows from a bound on: eight sortable bytes, and a name."""
    return part_bounds(K_SCORE, id)[0] + bound


def bound_of_score(bytes key not None):
    """Return the bound at which a score row stands. Raises CorruptionError."""
    if PyBytes_GET_SIZE(key) < SCORE_PREFIX_BYTES:
        raise CorruptionError(f"score key {key[:40]!r}")
    return key[PLACED_PREFIX_BYTES:]
