# cython: boundscheck=False, wraparound=False
"""Delta aggregation: sums of what batches changed of a collection's metadata, and their folding."""

from libc.stdlib cimport free, realloc
from libc.string cimport memmove, memset
from libcpp.vector cimport vector
from kvnode._core.bytes cimport ASSERT, VARINT_BYTES_MAX, get_varint, put_varint


cdef int deltas_push(Deltas* deltas, uint64_t commit_ts, const Meta* sum) except -1:
    """Append the change of the batch `commit_ts`. REQUIRES: it is above all that are there."""
    cdef Delta* grown
    cdef uint32_t capacity
    ASSERT(deltas.count == 0 or deltas.items[deltas.count - 1].commit_ts < commit_ts)
    if deltas.count == deltas.capacity:
        capacity = 2 * deltas.capacity if deltas.capacity else 4
        grown = <Delta*>realloc(deltas.items, capacity * sizeof(Delta))
        if grown == NULL:
            raise MemoryError("deltas")
        deltas.items = grown
        deltas.capacity = capacity
    deltas.items[deltas.count].commit_ts = commit_ts
    deltas.items[deltas.count].sum = sum[0]
    deltas.count += 1
    return 0


cdef void deltas_undo(const Deltas* deltas, uint64_t commit_ts, Meta* meta) noexcept nogil:
    """Take metadata of the tip back to what it was at `commit_ts`."""
    cdef uint32_t i = deltas.count
    while i > 0 and deltas.items[i - 1].commit_ts > commit_ts:
        i -= 1
        meta_subtract(meta, &deltas.items[i].sum)


cdef void deltas_sum(const Deltas* deltas, uint64_t after, uint64_t upto, Meta* sum) noexcept nogil:
    """Add the deltas with after < commit_ts <= upto to `sum`."""
    cdef uint32_t i
    for i in range(deltas.count):
        if after < deltas.items[i].commit_ts <= upto:
            meta_add(sum, &deltas.items[i].sum)


cdef void deltas_fold(Deltas* deltas, uint64_t upto) noexcept nogil:
    """Forget the deltas at or below `upto`: nobody reads the metadata of an earlier time any more."""
    cdef uint32_t n = 0
    while n < deltas.count and deltas.items[n].commit_ts <= upto:
        n += 1
    if n == 0:
        return
    deltas.count -= n
    if deltas.count == 0:
        deltas_free(deltas)
        return
    memmove(deltas.items, deltas.items + n, deltas.count * sizeof(Delta))


cdef void deltas_merge(Deltas* deltas, const uint64_t* readers, size_t n,
                       uint64_t upto) noexcept nogil:
    """Make one of deltas at or below `upto` between which nobody reads.

    readers: commit_ts, ascending. A merged delta carries the highest commit_ts of its parts.
    """
    cdef uint32_t i
    cdef uint32_t kept = 0
    cdef size_t r = 0
    if deltas.count == 0:
        return
    for i in range(1, deltas.count):
        while r < n and readers[r] < deltas.items[kept].commit_ts:
            r += 1
        if deltas.items[i].commit_ts > upto or (r < n and readers[r] < deltas.items[i].commit_ts):
            kept += 1               # a reader stands between the two, or may yet
            deltas.items[kept] = deltas.items[i]
            continue
        meta_add(&deltas.items[kept].sum, &deltas.items[i].sum)
        deltas.items[kept].commit_ts = deltas.items[i].commit_ts
    deltas.count = kept + 1


cdef void deltas_free(Deltas* deltas) noexcept nogil:
    free(deltas.items)
    memset(deltas, 0, sizeof(Deltas))


# -- bytes --------------------------------------------------------------------------------------

cdef inline size_t put_signed(char* p, int64_t v) noexcept nogil:
    """Zigzag: small numbers of both signs are short."""
    return put_varint(p, (<uint64_t>v << 1) ^ <uint64_t>(v >> 63))


cdef inline size_t get_signed(const char* p, size_t room, int64_t* v) noexcept nogil:
    cdef uint64_t u
    cdef size_t n = get_varint(p, room, &u)
    if n:
        v[0] = <int64_t>(u >> 1) ^ -<int64_t>(u & 1)
    return n


cdef size_t put_meta(char* p, const Meta* m) noexcept nogil:
    """Write four zigzag varints at `p` (room for META_BYTES_MAX); return their bytes."""
    cdef size_t n = put_signed(p, m.length)
    n += put_signed(p + n, m.head)
    n += put_signed(p + n, m.tail)
    return n + put_signed(p + n, m.holes)


cdef size_t get_meta(const char* p, size_t room, Meta* m) noexcept nogil:
    """Read put_meta(); return the bytes used, 0 if malformed."""
    cdef int64_t* parts[4]
    cdef size_t at = 0
    cdef size_t n
    cdef int i
    parts[0] = &m.length
    parts[1] = &m.head
    parts[2] = &m.tail
    parts[3] = &m.holes
    for i in range(4):
        n = get_signed(p + at, room - at, parts[i])
        if n == 0:
            return 0
        at += n
    return at


# -- for Python ---------------------------------------------------------------------------------

cdef tuple meta_tuple(const Meta* m):
    return m.length, m.head, m.tail, m.holes


cdef Meta meta_of(parts) except *:
    cdef Meta m
    m.length, m.head, m.tail, m.holes = parts
    return m


cdef class DeltaLog:
    """The metadata of one collection over time: (length, head, tail, holes), each int64.

    The native code keeps one inside each collection; this is the same for tests and tools.
    """

    cdef Meta tip
    cdef Deltas deltas

    def __cinit__(self, base=(0, 0, 0, 0)):
        self.tip = meta_of(base)
        memset(&self.deltas, 0, sizeof(Deltas))

    def __dealloc__(self):
        deltas_free(&self.deltas)

    def __len__(self):
        return self.deltas.count

    def add(self, uint64_t commit_ts, change not None):
        """Change the tip by the sums of one batch. Raises ValueError when time does not grow."""
        cdef Meta sum = meta_of(change)
        if self.deltas.count and self.deltas.items[self.deltas.count - 1].commit_ts >= commit_ts:
            raise ValueError("commit_ts must grow")
        meta_add(&self.tip, &sum)
        deltas_push(&self.deltas, commit_ts, &sum)

    def at(self, uint64_t commit_ts):
        """Return the metadata at `commit_ts`."""
        cdef Meta m = self.tip
        deltas_undo(&self.deltas, commit_ts, &m)
        return meta_tuple(&m)

    def fold(self, uint64_t upto):
        """Forget deltas at or below `upto`: at() is asked for nothing earlier from now on."""
        deltas_fold(&self.deltas, upto)

    def merge(self, readers not None, uint64_t upto):
        """Keep apart, of the deltas up to `upto`, only what the times `readers`, ascending, do."""
        cdef vector[uint64_t] times = readers
        deltas_merge(&self.deltas, times.data(), times.size(), upto)

    @staticmethod
    def encode(change not None):
        """Return the bytes of metadata or of a change: docs/FORMATS.md."""
        cdef char p[4 * VARINT_BYTES_MAX]
        cdef Meta m = meta_of(change)
        return p[:put_meta(p, &m)]

    @staticmethod
    def decode(bytes data not None):
        """Read encode(). Raises ValueError."""
        cdef Meta m
        cdef const char* p = data
        if get_meta(p, len(data), &m) != <size_t>len(data) or not data:
            raise ValueError("metadata")
        return meta_tuple(&m)
