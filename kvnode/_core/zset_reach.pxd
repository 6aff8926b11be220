"""Members of a sorted set by place, also while the set is not resident: what a command needs is read.

A handler says which members it needs, by bounds or by rank. FOUND: they are in `c.order`, between
others perhaps, and nothing that belongs between them is missing. MISS: pages of score rows were asked
for, or all members; the handler answers PARK, and asks again when it runs again.

Each page makes a window of the order complete (score_windows.pxd), so every retry has more than the
one before, unless it was evicted meanwhile. Past PAGES_MAX pages for one command, or for members too far
inside to be counted from an end, all members are read if the cache has room for them; else the command
goes on as a transaction beside the sequencer. There, ranks are counted in LevelDB at its pin, and pages
read there as well, as many as it takes; who goes on to ask has all members read, if there is room.
"""

from libc.stdint cimport int64_t
from kvnode._core.score_windows cimport OrderBound
from kvnode._core.tip cimport Collection
from kvnode._core.view cimport View


cdef enum:
    PAGE_ROWS_MAX = 2048    # score rows of one page
    INNER_SHARE = 8         # of a page at an end, where more will be asked for, is read elsewhere
    PAGES_MAX = 1024        # that one command asks for
    REACH_SHARE = 16        # of the cache that the members brought in for one command may take
    MEMBER_BYTES = 128      # of a member in memory, about
    SEARCH_MEMBERS = 256    # that a transaction reads in the time that one search of it takes


cdef int reach(View view, Collection* c, OrderBound low, OrderBound high, int64_t need,
               bint backward) except -1
cdef int reach_end(View view, Collection* c, int64_t need, bint highest) except -1
cdef int reach_ranks(View view, Collection* c, size_t* start, size_t count) except -1
cdef int find_rank(View view, Collection* c, const OrderBound& bound, size_t* rank) except -1
cdef bint rank_is_known(Collection* c, const OrderBound& bound, size_t* rank) except -1
