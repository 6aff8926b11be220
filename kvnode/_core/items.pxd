"""Elements of a list by index: where they are, reading many of them, and the ends.

A dense list has index i at position head + i; in one with holes the claim window knows. A reader
walks with a Place, which passes dead runs in one step.
"""

from libc.stdint cimport int64_t
from libcpp.vector cimport vector
from kvnode._core.bytes cimport Slice
from kvnode._core.claim_window cimport ClaimWindow
from kvnode._core.collection cimport Element
from kvnode._core.reply cimport Reply
from kvnode._core.tip cimport Collection, Version
from kvnode._core.view cimport Head, View


cdef struct Place:
    int64_t position
    size_t run              # the runs before it
    ClaimWindow* window     # NULL: no holes


cdef int open_list(View view, const Slice* key, int flags, Head* head, Collection** c,
                   Reply reply) except -1
cdef Place place_of(View view, Collection* c, int64_t index) except *
cdef int item_at(View view, Collection* c, int64_t position, Element* element) except -1
cdef bint items_missing(View view, Collection* c, Place* place, int64_t n, bint backward,
                        vector[Version*]* found) except -1
cdef bint find_ends(View view, Collection* c, bint at_tail, int64_t n,
                    vector[Version*]* found) except -1
cdef bint room_missing(View view, Collection* c, int64_t n, bint at_tail) except -1
cdef int push(View view, Collection* c, const char* data, size_t n, bint at_tail) except -1
cdef int keep_only(View view, Collection* c, int64_t start, int64_t length) except -1
cdef int drop_ends(View view, Collection* c, bint at_tail, int64_t n) except -1


cdef inline void step(Place* place, bint backward) noexcept nogil:
    """Move to the next element, or the one before."""
    if backward:
        place.position -= 1
        if place.run and place.window.at(place.run - 1).start \
                + place.window.at(place.run - 1).count > place.position:
            place.run -= 1
            place.position = place.window.at(place.run).start - 1
        return
    place.position += 1
    if place.window != NULL and place.run < place.window.size() \
            and place.window.at(place.run).start == place.position:
        place.position += place.window.at(place.run).count
        place.run += 1
