"""Ranges of sorted sets as commands state them: by rank, score or bytes, with their options.

Every range becomes a span of ranks: two descents of the tree. LIMIT and REV then only move its ends.
Of a set that is not resident the tree has not all members: then the ranks are those within the tree,
once what lies in the range is in it.
"""

from libc.stdint cimport int64_t
from kvnode._core.bounds cimport LexBound, ScoreBound
from kvnode._core.bytes cimport Slice
from kvnode._core.order_tree cimport OrderTree
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply
from kvnode._core.score_windows cimport OrderBound
from kvnode._core.tip cimport Collection, Entry
from kvnode._core.view cimport View


cdef enum Kind:
    BY_ANY = 0                  # options say which
    BY_RANK = 1
    BY_SCORE = 2
    BY_LEX = 3


cdef enum Direction:
    ANY_WAY = 0                 # options say which
    FORWARD = 1
    BACKWARD = 2


cdef struct Range:
    Kind kind
    Direction direction
    bint scores                 # WITHSCORES
    int64_t offset              # LIMIT
    int64_t limit               # negative: all
    int64_t first, last         # BY_RANK, counted in the range's direction
    ScoreBound low_score, high_score
    LexBound low_name, high_name


cdef struct Span:
    size_t start                # rank of its lowest member
    size_t count


cdef Range begin_range(Kind kind, Direction direction) noexcept
cdef bint read_ends(Range* r, const Slice* one, const Slice* other, Reply reply) except -1
cdef bint read_range(Range* r, const Args* args, int first, bint stored, Reply reply) except -1
cdef Span between(size_t start, size_t end) noexcept nogil
cdef int find_span(View view, const Range* r, Collection* c, Span* span) except -1
cdef int bounds_of(View view, const Range* r, Collection* c, OrderBound* low,
                   OrderBound* high) except -1
