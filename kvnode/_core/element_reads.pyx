# cython: boundscheck=False, wraparound=False
"""Elements of a collection at a pin, for readers beside the sequencer: what memory has, LevelDB's rows
without what memory knows better, and both as a reply.
"""

from typing import NamedTuple

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libcpp.vector cimport vector
from kvnode._core.arguments cimport WRONGTYPE
from kvnode._core.bytes cimport get_be64
from kvnode._core.entries cimport (
    E_DIRTY, E_FLUSHING, T_HASH, T_LIST, T_NONE, T_SET, T_ZSET, V_WIDER_ENCODING, Collection, Entry,
    HeadData, Version, is_collection)
from kvnode._core.keys cimport (
    K_FIELD, K_SCORE, RECORD_PREFIX_BYTES_MAX, SCORE_PREFIX_BYTES, record_prefix)
from kvnode._core.records cimport (
    HAS_DEADLINE, envelope_of, get_head_data, open_envelope, put_record_key)
from kvnode._core.reply cimport Reply, reply_array, reply_bulk
from kvnode._core.sortable cimport double_of_order
from kvnode._core.tables cimport version_at
from kvnode._core.tip cimport Tip

from kvnode._core.upkeep import stored_collection, stored_deadline
from kvnode.base.errors import CorruptionError

cdef enum:
    PLACED_AT = 9           # where the score stands in the key of a score row

LIST, HASH, SET, ZSET = T_LIST, T_HASH, T_SET, T_ZSET
WRONG_TYPE = <bytes>WRONGTYPE       # what commands on another type answer

# What of each element is shown.
NAMES = 1
VALUES = 2                  # of fields; NAMES | VALUES: both in turn
ITEMS = 4
SCORES = 8                  # NAMES | SCORES: members, each with its score


class PinnedHead(NamedTuple):
    """What a stored head says. kind: of its elements' records, 0: it is a string."""

    type: int
    kind: int
    id: int
    length: int
    head: int
    tail: int
    holes: int
    expire_at: int
    may_expire: bool        # a field of the hash may have a deadline


def pinned_head(bytes envelope not None):
    """Return the PinnedHead of a head's envelope, its base being that of the pin."""
    cdef uint64_t commit_ts
    cdef uint64_t row_at
    cdef size_t at = open_envelope(envelope, &commit_ts, &row_at)
    cdef const char* p = PyBytes_AS_STRING(envelope) + at
    cdef size_t n = <size_t>PyBytes_GET_SIZE(envelope) - at
    cdef size_t data_at
    cdef HeadData data
    _, expire_at = stored_deadline(envelope)
    data_at = 10 if p[1] & HAS_DEADLINE else 2
    if not is_collection(<uint8_t>p[0]):
        return PinnedHead(p[0], 0, 0, 0, 0, 0, 0, expire_at, False)
    kind = stored_collection(envelope).kind
    get_head_data(p + data_at, n - data_at, &data)
    return PinnedHead(p[0], kind, data.id, data.base.length, data.base.head, data.base.tail,
                      data.base.holes, expire_at,
                      p[0] == T_HASH and p[1] & V_WIDER_ENCODING != 0)


def unsettled(Tip tip not None, uint8_t kind, uint64_t id, uint64_t from_hash, size_t limit,
              uint64_t commit_ts, uint32_t epoch):
    """Return the elements in memory that a state of LevelDB since begin_fetch() may not have.

    As the pin `commit_ts` sees them: ([(record key, envelope, or None: absent)], where the next ones
    begin, or None: nowhere). Those of which memory does not know what the pin sees are left out. In
    an order of their own, about `limit` looked at. Call before end_fetch(epoch).
    """
    cdef Collection* c = tip.collection(id)
    cdef vector[Entry*] entries
    cdef uint64_t next_hash = 0
    cdef bint done = False
    cdef list found = []
    cdef Entry* e
    cdef Version* v
    if c == NULL or c.elements == NULL or c.elements.kind != kind or c.elements.entries == 0:
        return found, None
    tip.scan_next(c.elements, from_hash, &entries, limit, &next_hash, &done)
    for e in entries:
        if e.flags & (E_DIRTY | E_FLUSHING) == 0 and e.clean_since < epoch and not c.died:
            continue        # (what is dirty of a dead collection never gets into LevelDB)
        v = version_at(e, commit_ts)
        if v == NULL or v.commit_ts == 0:       # (an absence that was fetched speaks of now)
            continue
        found.append((record_key(e), None if v.type == T_NONE else envelope_of(e, v)))
    return found, None if done else next_hash


cdef bytes record_key(Entry* e):
    cdef bytes key = PyBytes_FromStringAndSize(NULL, RECORD_PREFIX_BYTES_MAX + e.key_len)
    return key[:put_record_key(e, PyBytes_AS_STRING(key))]


def name_of(bytes key not None):
    """Return what tells an element from others of its collection: the end of its record key."""
    return key[prefix_of(key):]


cdef inline size_t prefix_of(bytes key) noexcept:
    cdef char kind = PyBytes_AS_STRING(key)[0]
    return SCORE_PREFIX_BYTES if kind == K_SCORE else record_prefix(kind)


def visible(list rows not None, dict changed, uint64_t commit_ts, uint64_t now_ms):
    """Return those of some rows (key, envelope) that a pin sees.

    changed: has what other places say of a name, or is None. now_ms: fields that are past their
    deadline by then are not there; 0: none is.
    """
    cdef list seen = []
    cdef bytes key
    cdef bytes envelope
    for row in rows:
        key, envelope = row
        if PyBytes_GET_SIZE(envelope) < 9:
            raise CorruptionError(f"stored value of {len(envelope)} bytes")
        if get_be64(PyBytes_AS_STRING(envelope)) > commit_ts \
                or (changed and key[prefix_of(key):] in changed) \
                or (now_ms and is_past(key, envelope, now_ms)):
            continue
        seen.append(row)
    return seen


cdef bint is_past(bytes key, bytes envelope, uint64_t now_ms) except -1:
    cdef const char* p
    cdef size_t n
    if PyBytes_AS_STRING(key)[0] != K_FIELD:
        return False
    n = value_of(envelope, &p)
    return p[1] & HAS_DEADLINE != 0 and get_be64(p + 2) <= now_ms


cdef size_t value_of(bytes envelope, const char** value) except? 0:
    """Find the value of a stored field, type and flags first; return its length."""
    cdef uint64_t commit_ts
    cdef uint64_t row_at
    cdef size_t at = open_envelope(envelope, &commit_ts, &row_at)
    cdef size_t n = <size_t>PyBytes_GET_SIZE(envelope) - at
    value[0] = PyBytes_AS_STRING(envelope) + at
    if n < 2 or (value[0][1] & HAS_DEADLINE and n < 10):
        raise CorruptionError(f"stored field of {n} bytes")
    return n


def show(list rows not None, int contents, int proto):
    """Return elements as the inner part of a reply."""
    cdef Reply out = Reply()
    cdef bytes key
    cdef bytes envelope
    cdef size_t prefix
    cdef const char* p
    cdef uint64_t commit_ts
    cdef uint64_t row_at
    cdef size_t at
    out.proto = proto
    for key, envelope in rows:
        prefix = prefix_of(key)
        if contents & SCORES and proto == 3:
            reply_array(out, 2)
        if contents & NAMES:
            reply_bulk(out, PyBytes_AS_STRING(key) + prefix, PyBytes_GET_SIZE(key) - prefix)
        if contents & VALUES:
            at = value_of(envelope, &p)
            prefix = 10 if p[1] & HAS_DEADLINE else 2
            reply_bulk(out, p + prefix, at - prefix)
        if contents & ITEMS:
            at = open_envelope(envelope, &commit_ts, &row_at)
            reply_bulk(out, PyBytes_AS_STRING(envelope) + at, PyBytes_GET_SIZE(envelope) - at)
        if contents & SCORES:
            out.number(double_of_order(get_be64(PyBytes_AS_STRING(key) + PLACED_AT)))
    return PyBytes_FromStringAndSize(out.out.data, out.out.len)
