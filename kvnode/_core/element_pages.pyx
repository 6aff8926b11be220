# cython: boundscheck=False, wraparound=False
"""Pages of elements in hash order, for HSCAN and its kin and for draws."""

from libc.stdint cimport int64_t, uint64_t
from libcpp.vector cimport vector
from kvnode._core.collection cimport expire_field, is_live, need_all
from kvnode._core.dispatch cimport DONE, PARK
from kvnode._core.keys cimport K_HEAD
from kvnode._core.large_replies cimport is_too_large
from kvnode._core.scan cimport CURSOR_SHIFT, need_range
from kvnode._core.tip cimport T_NONE, Collection, Entry
from kvnode._core.view cimport View

cdef enum:
    PAGES_MAX = 8               # of one draw; if these have too few elements, all are read
    POOL_MIN = 16               # elements, at least, among which one is drawn
    ROWS_PER_DRAW = 4           # of a page, for each element that is drawn
    ROWS_AT_ONCE = 1024         # which a page has at most: ELEMENT_ROWS_MAX
    POOL_PER_DRAW = 2           # elements, where many are drawn, among which each is
    PAGED_PARTS = 4             # a collection of fewer pages is read as a whole


cdef int elements_in(View view, Collection* c, uint64_t from_hash, int64_t count,
                     vector[Entry*]* out, uint64_t* next_hash) except -1:
    """Append the elements in [from_hash, next_hash[0]), about `count`: DONE or PARK.

    next_hash[0]: 0 when that is the end. Its low CURSOR_SHIFT bits are 0, as those of from_hash.
    """
    cdef vector[Entry*] entries
    cdef Entry* e
    cdef uint64_t mask = ~((<uint64_t>1 << CURSOR_SHIFT) - 1)
    cdef uint64_t known = 0         # up to there all is in memory; 0: to the end
    cdef uint64_t end = 0
    cdef bint done = False
    if not c.elements.resident:
        known = c.loaded & mask
        if from_hash >= known:
            if not may_page(view):
                need_all(view, c)
                return PARK
            found = view.ranges.get((c.id, from_hash, count, c.elements.kind))
            if found is None:
                return need_page(view, c, (c.id, from_hash, count, c.elements.kind))
            known = found[1]
    view.tip.scan_next(c.elements, from_hash, &entries, count, &end, &done)
    end &= mask
    if done:
        end = 0
    if known and (end == 0 or known < end):
        end = known
    next_hash[0] = end
    for e in entries:
        if end and e.hash >= end:
            continue
        if is_live(view, e.newest):
            out.push_back(e)
        elif e.newest.type != T_NONE:
            expire_field(view, c, e)
    return DONE


cdef inline bint may_page(View view) noexcept:
    """Not in a transaction: what all of its commands need has to be in memory at once."""
    return not view.is_private and view.session is not None and not view.session.in_exec


cdef int need_page(View view, Collection* c, tuple wanted) except -1:
    """Park for a page, and for the head: both have to be there when the command runs again."""
    view.miss(K_HEAD, c.head.table, c.head.hash, c.head.key, c.head.key_len)
    return need_range(view, wanted)


cdef bint is_paged(View view, Collection* c, int64_t draws) noexcept:
    """Whether `draws` elements are drawn by draw_page(): cheaper than reading the collection."""
    if c.elements.resident or not may_page(view) or draws > LARGE_DRAWS_MAX:
        return False
    if draws > PAGE_DRAWS_MAX and not is_too_large(view, c):
        return False
    return c.meta.length >= PAGED_PARTS * page_rows(draws)


cdef inline int64_t page_rows(int64_t draws) noexcept nogil:
    return PAGE_ROWS + ROWS_PER_DRAW * draws


cdef int draw_page(View view, Collection* c, int64_t draws, vector[Entry*]* pool) except -1:
    """Append elements from a random hash on, enough to draw `draws` of them: DONE or PARK.

    REQUIRES: is_paged(). An element is in the pool with a chance that the distance of hashes before
    it decides; of PAGE_ROWS elements: 1/n give or take 12 %. Draws of one pass from one collection
    share their pages, so what one pass draws lies close together.
    """
    cdef int64_t rows = page_rows(draws)
    cdef size_t enough = max(draws if draws <= PAGE_DRAWS_MAX else POOL_PER_DRAW * draws,
                             <int64_t>POOL_MIN)
    cdef int pages_max = PAGES_MAX + <int>(POOL_PER_DRAW * enough // ROWS_AT_ONCE)
    cdef uint64_t at
    cdef uint64_t first
    cdef bint has_wrapped = False
    cdef int pages
    cdef list held = [key for key in view.ranges
                      if len(key) == 4 and key[0] == c.id and key[2] == rows]
    if held:        # fetched while it was parked
        at = held[view.draw() % <uint64_t>len(held)][1]
    else:
        at = (view.draw() >> CURSOR_SHIFT) << CURSOR_SHIFT
    first = at
    for pages in range(pages_max):
        if elements_in(view, c, at, rows, pool, &at) == PARK:
            view.missing_ranges.extend(held)
            return PARK
        if has_wrapped and (at == 0 or at > first):
            break               # the page may overlap the first one
        has_wrapped = has_wrapped or at == 0
        if pool.size() >= enough:
            return DONE
    pool.clear()
    if is_too_large(view, c):   # others have drawn these pages empty: another place
        at = (view.draw() >> CURSOR_SHIFT) << CURSOR_SHIFT
        return need_page(view, c, (c.id, at, rows, c.elements.kind))
    need_all(view, c)
    return PARK
