"""Elements of a hash, set or sorted set in hash order, in memory as a whole or not.

Of one that is not resident, a range of hashes is fetched, as for SCAN: see scan. Its rows become
entries, and until the command has run the range is complete in memory.
"""

from libc.stdint cimport int64_t, uint64_t
from libcpp.vector cimport vector
from kvnode._core.tip cimport Collection, Entry
from kvnode._core.view cimport View


cdef enum:
    PAGE_ROWS = 64              # of a page from which one element is drawn
    PAGE_DRAWS_MAX = 256        # elements that are drawn from pages; for more all are read
    LARGE_DRAWS_MAX = 4096      # the same of a collection that the cache cannot hold


cdef int elements_in(View view, Collection* c, uint64_t from_hash, int64_t count,
                     vector[Entry*]* out, uint64_t* next_hash) except -1
cdef bint is_paged(View view, Collection* c, int64_t draws) noexcept
cdef int draw_page(View view, Collection* c, int64_t draws, vector[Entry*]* pool) except -1
