"""What OBJECT ENCODING says of a collection: which of Redis's forms it would have.

Redis keeps a small collection in a compact form and changes it for good when it outgrows that. Here
the form is only told, never used: two flags in the head remember what the collection once was. A list
changes its form back as it shrinks, so nothing is remembered of it: its elements are measured.
"""

from libc.stdint cimport int64_t, uint8_t
from kvnode._core.bytes cimport Slice
from kvnode._core.tip cimport V_LARGE_ENCODING, Collection, Version
from kvnode._core.view cimport Head, View


cdef int mark_head(View view, Head* head, uint8_t flag) except -1
cdef int outgrow(View view, Head* head, Collection* c, size_t longest) except -1
cdef int begin_set(View view, Head* head, const Slice* member, size_t members) except -1
cdef int outgrow_set(View view, Head* head, Collection* c, const Slice* member) except -1
cdef const char* collection_encoding(const Version* v) noexcept nogil
cdef int list_encoding(View view, Head* head, const char** name) except -1


cdef inline int note_size(View view, Head* head, Collection* c, size_t longest) except -1:
    """A hash or sorted set grew, or got a value; `longest` is the longest name or value of it."""
    if not head.version.flags & V_LARGE_ENCODING:
        outgrow(view, head, c, longest)
    return 0


cdef inline int note_member(View view, Head* head, Collection* c, const Slice* member) except -1:
    """A set got a new member."""
    if not head.version.flags & V_LARGE_ENCODING:
        outgrow_set(view, head, c, member)
    return 0
