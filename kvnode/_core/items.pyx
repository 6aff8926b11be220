# cython: boundscheck=False, wraparound=False
"""Elements of a list by index, and its ends."""

from libc.stdint cimport uint64_t
from libcpp.algorithm cimport reverse
from kvnode._core.bytes cimport get_be64
from kvnode._core.claims cimport claims_missing, drop_runs_outside, window_of
from kvnode._core.collection cimport (
    Element, change_list, find_item, need_all, old_item_missing, open_collection, put_item)
from kvnode._core.keys cimport (
    K_ITEM, POSITION_BYTES, get_position, position_hash, put_position)
from kvnode._core.prefetch cimport W_BUCKET, W_VERSION, prefetch_wait
from kvnode._core.tip cimport E_USED, PREFETCH_KEYS_MAX, T_LIST, T_NONE, Entry
from kvnode._core.view cimport ABSENT, FOUND, MISS

from typing import NamedTuple

from kvnode.base.errors import InvariantError

cdef enum:
    SPAN_ITEMS = 2048               # positions of a span, at most
    SPAN_GAP = 64                   # positions in it that nobody asked for, in a row
    WHOLE_SHARE = 2                 # who wants 1/2 of a list or more has all of it read
    LIST_READ_AHEAD_ITEMS = 64      # fetched with an item at an end, for the next pops
    WAVE_ITEMS = PREFETCH_KEYS_MAX
    AHEAD_DEPTH_MIN = 6             # of a table: from some 20,000 items on
    ITEMS_AHEAD = 4                 # pushes or pops between the waits for memory of one of them


class ItemSpan(NamedTuple):
    """Items of a list wanted from LevelDB: those with positions in [first, end), as sortable u64."""

    id: int
    first: int
    end: int


cdef int open_list(View view, const Slice* key, int flags, Head* head, Collection** c,
                   Reply reply) except -1:
    """Find the list of a key and its claims: FOUND, ABSENT, MISS (park), or WRONG after an error."""
    cdef int found = open_collection(view, key, T_LIST, flags, head, c, reply)
    if found == FOUND and claims_missing(view, c[0]):
        return MISS
    return found


cdef Place place_of(View view, Collection* c, int64_t index) except *:
    """Where the element at an index is."""
    cdef Place place
    place.window = window_of(view, c)
    place.run = 0
    if place.window == NULL:
        place.position = c.meta.head + index
    else:
        place.position = place.window.position_of(c.meta.head, index, &place.run)
    return place


cdef object lacks_item(Collection* c):
    """The error that ends the process: metadata name an item that is not there."""
    return InvariantError(
        f"the list {c.head.key[:c.head.key_len]!r} (collection {c.id}) lacks an item; its head says: "
        f"{c.meta.length} elements and {c.meta.holes} holes in [{c.meta.head}, {c.meta.tail})")


cdef int item_at(View view, Collection* c, int64_t position, Element* element) except -1:
    """Find the element at a position, where one has to be: FOUND, or MISS (park)."""
    cdef int found = find_item(view, c, position, element)
    if found == ABSENT:
        raise lacks_item(c)
    return found


cdef bint items_missing(View view, Collection* c, Place* place, int64_t n, bint backward,
                        vector[Version*]* found) except -1:
    """Append `n` elements from a place on, which moves behind them; whether any must be fetched.

    The list must have so many. found: NULL when nobody looks at them yet. Waits for main memory
    overlap: see Tip.prefetch.
    """
    cdef char keys[WAVE_ITEMS][8]
    cdef uint64_t hashes[WAVE_ITEMS]
    cdef vector[int64_t] missing
    cdef Entry* e
    cdef int count
    cdef int i
    if n > view.list_fetch_max and n >= c.meta.length // WHOLE_SHARE and need_all(view, c):
        return True
    if found != NULL:
        found.reserve(found.size() + n)
    while n > 0:
        if view.is_private:
            view.breathe(WAVE_ITEMS)
        count = WAVE_ITEMS if n > WAVE_ITEMS else <int>n
        n -= count
        for i in range(count):
            put_position(keys[i], place.position)
            hashes[i] = position_hash(keys[i])
            step(place, backward)
        view.tip.prefetch_hashes(c.elements, hashes, count)
        for i in range(count):
            e = view.tip.find(c.elements, hashes[i], keys[i], POSITION_BYTES)
            if e == NULL and not c.elements.resident:
                missing.push_back(get_position(keys[i]))
                continue
            if e == NULL or e.newest.type == T_NONE:
                raise lacks_item(c)
            if found != NULL:
                e.flags |= E_USED
                found.push_back(e.newest)
    if missing.empty():
        return False
    if backward:
        reverse(missing.begin(), missing.end())
    ask_for_items(view, c, missing)
    return True


cdef int ask_for_items(View view, Collection* c, vector[int64_t]& positions) except -1:
    """Have the items at these positions, in ascending order, read."""
    cdef char key[POSITION_BYTES]
    cdef int64_t first = positions.front()
    cdef int64_t end = first
    cdef int64_t position
    if <int64_t>positions.size() <= view.list_fetch_max:
        for position in positions:
            put_position(key, position)
            view.miss(K_ITEM, c.elements, position_hash(key), key, POSITION_BYTES)
        return 0
    for position in positions:
        if position - end > SPAN_GAP or position - first >= SPAN_ITEMS:
            ask_for_span(view, c, first, end)
            first = position
        end = position + 1
    return ask_for_span(view, c, first, end)


cdef int ask_for_span(View view, Collection* c, int64_t first, int64_t end) except -1:
    cdef char low[POSITION_BYTES]
    cdef char high[POSITION_BYTES]
    put_position(low, first)
    put_position(high, end)
    view.missing_spans.add(ItemSpan(c.id, get_be64(low), get_be64(high)))
    return 0


cdef bint find_ends(View view, Collection* c, bint at_tail, int64_t n,
                    vector[Version*]* found) except -1:
    """Append the `n` elements at an end, from the end on; whether any must be fetched."""
    cdef Place place = place_of(view, c, c.meta.length - 1 if at_tail else 0)
    cdef int64_t ahead = min(c.meta.length - n, LIST_READ_AHEAD_ITEMS)
    if not items_missing(view, c, &place, n, at_tail, found):
        return False
    if ahead > 0:
        items_missing(view, c, &place, ahead, at_tail, NULL)
    return True


cdef bint room_missing(View view, Collection* c, int64_t n, bint at_tail) except -1:
    """Whether old items where `n` elements are to be pushed must be fetched first: they are asked for."""
    cdef int64_t position = c.meta.tail if at_tail else c.meta.head - 1
    cdef bint missing = False
    if c.elements.resident:
        return False
    while n > 0 and (c.unseen or c.low <= position < c.high):     # beyond, nothing ever was
        missing |= old_item_missing(view, c, position)
        position += 1 if at_tail else -1
        n -= 1
    return missing


cdef void prefetch_ahead(Collection* c, int64_t position, bint backward, int last) noexcept nogil:
    """Bring near what is looked up next if it goes on from a position, up to the wait `last`.

    Each of the waits is begun ITEMS_AHEAD lookups after the one before.
    """
    cdef char key[8]
    cdef int wait
    if c.elements.depth < AHEAD_DEPTH_MIN:
        return      # it is in the processor's caches
    for wait in range(last, -1, -1):
        position += -ITEMS_AHEAD if backward else ITEMS_AHEAD
        put_position(key, position)
        prefetch_wait(c.elements, position_hash(key), wait)


cdef int push(View view, Collection* c, const char* data, size_t n, bint at_tail) except -1:
    """Add an element at an end. REQUIRES: room_missing() was false."""
    prefetch_ahead(c, c.meta.tail if at_tail else c.meta.head - 1, not at_tail, W_BUCKET)
    if at_tail:
        put_item(view, c, c.meta.tail, data, n)
        return change_list(view, c, 1, 0, 1, 0)
    put_item(view, c, c.meta.head - 1, data, n)
    return change_list(view, c, 1, -1, 0, 0)


cdef int keep_only(View view, Collection* c, int64_t start, int64_t length) except -1:
    """Remove all but `length` elements from index `start` on: the ends move, no item is touched."""
    cdef int64_t head
    cdef int64_t tail
    cdef int64_t holes
    if length == 0:     # its claims die with it
        return change_list(view, c, -c.meta.length, c.meta.tail - c.meta.head, 0, -c.meta.holes)
    head = place_of(view, c, start).position
    tail = place_of(view, c, start + length - 1).position + 1
    holes = drop_runs_outside(view, c, head, tail)
    return change_list(view, c, length - c.meta.length, head - c.meta.head, tail - c.meta.tail,
                       -holes)


cdef int drop_ends(View view, Collection* c, bint at_tail, int64_t n) except -1:
    """Remove `n` elements at an end; see keep_only()."""
    if n == 1:      # the next pop is likely to follow
        prefetch_ahead(c, c.meta.tail - 1 if at_tail else c.meta.head, at_tail, W_VERSION)
    return keep_only(view, c, 0 if at_tail else n, c.meta.length - n)
