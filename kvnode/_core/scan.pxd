"""Cursors and options of SCAN, which HSCAN, SSCAN and ZSCAN share.

A cursor is the top 53 bits of the hash from which to go on: see scan.pyx.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from kvnode._core.bytes cimport Slice
from kvnode._core.glob cimport glob_match
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply
from kvnode._core.view cimport View

cpdef enum:
    CURSOR_SHIFT = 11               # a cursor is hash >> 11: 53 bits
    ALL_NAMES = 0                   # instead of a count, of a range: see walk_snapshot()


cdef struct Filter:
    Slice pattern           # data NULL: every name
    const Slice* type       # NULL: every type
    bint names_only         # NOVALUES


cdef int need_range(View view, tuple wanted) except -1
cdef bint parse_cursor(const Slice* arg, uint64_t* cursor) noexcept nogil
cdef bint parse_scan(const Args* args, int first, uint8_t type, Filter* filter, int64_t* count,
                     Reply reply) except -1


cdef inline bint name_matches(const Filter* filter, const char* name, size_t n) noexcept nogil:
    return filter.pattern.data == NULL \
        or glob_match(filter.pattern.data, filter.pattern.len, name, n, False)
