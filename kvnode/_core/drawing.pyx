# cython: boundscheck=False, wraparound=False
"""Elements of a hash, set or sorted set drawn by chance, at a cost that its size does not change.

Memory is read in a random order here, so each step is one that waits for it: the segment of a random
hash, a line of its buckets, an entry.
"""

from libc.stdint cimport uint64_t
from kvnode._core.bytes cimport ASSERT
from kvnode._core.tip cimport E_GONE, Collection, Entry, Segment, Table, segment_after, segment_of
from kvnode._core.view cimport View

cdef enum:
    FULLEST = 2                 # times the mean: a segment so full is never refused
    SEGMENTS_MAX = 64           # that are refused; then what comes next is taken
    AMONG_MIN = 16              # elements, if there are as many, among which one is drawn then
    CHAIN_EVEN = 4              # elements of a bucket up to which all are as likely as others
    DENSE = 8                   # with elements for 1/8 of its buckets a segment is probed, else counted
    PROBES_MAX = 256            # then it is counted as well
    GONE_PER_DRAW = 32          # tombstones that one draw may drop

cdef extern from *:
    void prefetch_line "__builtin_prefetch"(const void* address) noexcept nogil


cdef struct Draw:
    uint64_t state
    int gone_count
    Entry* gone[GONE_PER_DRAW]  # tombstones that it met


cdef inline uint64_t next_random(Draw* draw) noexcept nogil:
    """splitmix64."""
    cdef uint64_t x
    draw.state += <uint64_t>0x9E3779B97F4A7C15
    x = draw.state
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    return x ^ (x >> 31)


cdef Entry* random_element(View view, Collection* c) except? NULL:
    """Return an element. REQUIRES: not empty, need_all() false, drop_expired() ran.

    All are equally likely, with two exceptions. In a bucket of more than CHAIN_EVEN, as one in 50
    elements is in the fullest of tables, these share the chance of CHAIN_EVEN. And where nearly
    everything is tombstones, so that SEGMENTS_MAX random segments were refused, the draw is among
    AMONG_MIN elements behind a random hash: there an element has 1/n give or take 25 %. None is
    ever left out.

    Tombstones in the way are dropped if nobody needs them.
    """
    cdef Draw draw
    cdef Entry* e
    cdef int i
    draw.state = view.draw()
    draw.gone_count = 0
    e = draw_in(draw_segment(c.elements, <uint64_t>c.meta.length, &draw), &draw)
    if c.elements.resident:
        for i in range(draw.gone_count):
            view.tip.forget_gone(draw.gone[i])
    return e


cdef Segment* draw_segment(Table* table, uint64_t live, Draw* draw) noexcept:
    """Return a segment, as likely as it has a share of the `live` elements.

    One is drawn by a random hash, and kept with a chance in proportion to its density. One with
    FULLEST times the mean is always kept; so in fuller ones, of very small segments, elements are
    a little less likely.
    """
    # live elements of the fullest, by place of the directory
    cdef double full = <double>FULLEST * <double>live / <double>(<uint64_t>1 << table.depth)
    cdef Segment* segment
    cdef uint64_t following = next_random(draw)
    cdef uint64_t hash
    cdef int i
    if table.depth == 0:
        return table.directory[0]
    for i in range(SEGMENTS_MAX):
        hash = following
        following = next_random(draw)
        prefetch_line(segment_of(table, following))
        segment = segment_of(table, hash)
        # (the upper bits have chosen it)
        if <double>(hash & 0xFFFFFFFF) / 4294967296.0 * full \
                * <double>(<uint64_t>1 << (table.depth - segment.depth)) < <double>segment.live:
            return segment
    return segment_among(table, following, draw)


cdef Segment* segment_among(Table* table, uint64_t at, Draw* draw) noexcept:
    """Return the segment of one of the next AMONG_MIN elements, in hash order and round the end."""
    cdef Segment* segment = segment_of(table, at)
    cdef uint64_t first = (at >> (64 - segment.depth)) << (64 - segment.depth) if segment.depth else 0
    cdef uint64_t among = 0
    at = first
    while True:
        among += segment.live
        at = segment_after(segment, at)
        if among >= AMONG_MIN or at == first:
            break
        segment = segment_of(table, at)
    ASSERT(among > 0)
    among = next_random(draw) % among
    at = first
    segment = segment_of(table, at)
    while among >= segment.live:
        among -= segment.live
        at = segment_after(segment, at)
        segment = segment_of(table, at)
    return segment


cdef Entry* draw_in(Segment* segment, Draw* draw) noexcept nogil:
    """Return an element of a segment that has some."""
    cdef uint64_t mask = (<uint64_t>1 << segment.bucket_bits) - 1
    cdef uint64_t random
    cdef uint64_t place
    cdef uint64_t count
    cdef uint64_t b
    cdef int i
    if <uint64_t>segment.live * DENSE > mask:
        for i in range(PROBES_MAX):
            random = next_random(draw)
            count = look(segment.buckets[random & mask], draw)
            place = (random >> 32) % (count if count > CHAIN_EVEN else CHAIN_EVEN)
            if place < count:
                return live_at(segment.buckets[random & mask], place)
    place = next_random(draw) % segment.live
    for b in range(mask + 1):
        count = look(segment.buckets[b], draw)
        if place < count:
            return live_at(segment.buckets[b], place)
        place -= count
    return NULL


cdef inline uint64_t look(Entry* e, Draw* draw) noexcept nogil:
    """Count the elements in a bucket, and note the tombstones."""
    cdef uint64_t count = 0
    while e != NULL:
        if not e.flags & E_GONE:
            count += 1
        else:
            note_gone(e, draw)
        e = e.next
    return count


cdef inline void note_gone(Entry* e, Draw* draw) noexcept nogil:
    """Remember a tombstone, once: a bucket may be looked at again."""
    cdef int i
    for i in range(draw.gone_count):
        if draw.gone[i] == e:
            return
    if draw.gone_count < GONE_PER_DRAW:
        draw.gone[draw.gone_count] = e
        draw.gone_count += 1


cdef inline Entry* live_at(Entry* e, uint64_t place) noexcept nogil:
    """Return the element at a place among those of a bucket."""
    while True:
        if not e.flags & E_GONE:
            if place == 0:
                return e
            place -= 1
        e = e.next
