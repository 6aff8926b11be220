"""Metadata of collections as sums: what a batch changed is a delta, and the rest follows.

The metadata of a collection at a time T is that at the tip less the deltas after T, or a base, which
says through which commit_ts it was folded, plus the deltas after that up to T. Both give the same
(I8), so a delta may be forgotten as soon as nobody reads before it, and a delta at or below a base's
`folded` is dead wherever it is met: replay may bring it again.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef struct Meta:
    # Of a collection; or the change of one.
    int64_t length          # elements
    int64_t head            # of a list: position of the first element
    int64_t tail            # of a list: position behind the last one
    int64_t holes           # of a list: positions in [head, tail) that are claimed


cdef struct Delta:
    uint64_t commit_ts
    Meta sum


cdef struct Deltas:
    # Strictly ascending in commit_ts.
    Delta* items
    uint32_t count
    uint32_t capacity


cdef enum:
    DELTAS_MAX = 64         # unfolded deltas of a collection past which its next writer folds
    META_BYTES_MAX = 40     # of put_meta()


cdef inline void meta_add(Meta* m, const Meta* d) noexcept nogil:
    m.length += d.length
    m.head += d.head
    m.tail += d.tail
    m.holes += d.holes


cdef inline void meta_subtract(Meta* m, const Meta* d) noexcept nogil:
    m.length -= d.length
    m.head -= d.head
    m.tail -= d.tail
    m.holes -= d.holes


cdef inline bint meta_is_zero(const Meta* m) noexcept nogil:
    return m.length == 0 and m.head == 0 and m.tail == 0 and m.holes == 0


cdef int deltas_push(Deltas* deltas, uint64_t commit_ts, const Meta* sum) except -1
cdef void deltas_undo(const Deltas* deltas, uint64_t commit_ts, Meta* meta) noexcept nogil
cdef void deltas_sum(const Deltas* deltas, uint64_t after, uint64_t upto, Meta* sum) noexcept nogil
cdef void deltas_fold(Deltas* deltas, uint64_t upto) noexcept nogil
cdef void deltas_merge(Deltas* deltas, const uint64_t* readers, size_t n,
                       uint64_t upto) noexcept nogil
cdef void deltas_free(Deltas* deltas) noexcept nogil
cdef size_t put_meta(char* p, const Meta* m) noexcept nogil
cdef size_t get_meta(const char* p, size_t room, Meta* m) noexcept nogil
