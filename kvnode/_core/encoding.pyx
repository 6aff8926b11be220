# cython: boundscheck=False, wraparound=False
"""Which of Redis's forms a collection would have, and when it changes."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy
from libcpp.vector cimport vector
from kvnode._core.bytes cimport parse_i64
from kvnode._core.items cimport Place, items_missing, place_of
from kvnode._core.tip cimport T_HASH, T_SET, V_WIDER_ENCODING, head_data
from kvnode._core.view cimport FOUND, MISS

cdef enum:
    LISTPACK_BYTES = 7              # of one without elements
    LISTPACK_ELEMENT_BYTES_MIN = 2
    LISTPACK_KIB_EXPONENT_MAX = 5   # list-max-listpack-size -1 is 4 KiB, each further one doubles it
    LISTPACK_SAFE_BYTES = 8192      # the limit where the parameter limits the number of elements


cdef int mark_head(View view, Head* head, uint8_t flag) except -1:
    """Set a flag of a collection's head; it stays."""
    cdef Version* old = head.version
    cdef Version* v
    if old.flags & flag:
        return 0
    if old.commit_ts == view.commit_ts and old.slot >= view.savepoint_floor:
        old.flags |= flag       # nobody has seen it, and no rollback comes back to it
        return 0
    v = view.tip.new_version(old.length)
    v.type = old.type
    v.flags = old.flags | flag
    v.expire_at = old.expire_at
    memcpy(v.data, old.data, old.length)
    return view.place(head, v)


cdef int outgrow(View view, Head* head, Collection* c, size_t longest) except -1:
    cdef bint is_hash = c.type == T_HASH
    if c.meta.length > (view.hash_listpack_entries if is_hash else view.zset_listpack_entries) \
            or <int64_t>longest > (
                view.hash_listpack_value if is_hash else view.zset_listpack_value):
        mark_head(view, head, V_LARGE_ENCODING)
    return 0


cdef int begin_set(View view, Head* head, const Slice* member, size_t members) except -1:
    """A set is made of about so many members, `member` being the first of them."""
    cdef int64_t value
    if parse_i64(member.data, member.len, &value) and <int64_t>members <= view.set_intset_entries:
        return 0
    return mark_head(view, head, V_WIDER_ENCODING if <int64_t>members <= view.set_listpack_entries
                     else V_LARGE_ENCODING)


cdef int outgrow_set(View view, Head* head, Collection* c, const Slice* member) except -1:
    cdef int64_t value
    cdef bint narrow = not head.version.flags & V_WIDER_ENCODING
    if narrow and parse_i64(member.data, member.len, &value):
        if c.meta.length > view.set_intset_entries:
            mark_head(view, head, V_LARGE_ENCODING)
        return 0
    if c.meta.length > view.set_listpack_entries or <int64_t>member.len > view.set_listpack_value:
        return mark_head(view, head, V_LARGE_ENCODING)
    return mark_head(view, head, V_WIDER_ENCODING)


cdef const char* collection_encoding(const Version* v) noexcept nogil:
    """What OBJECT ENCODING says. v: the version of the head, of no list."""
    cdef bint large = v.flags & V_LARGE_ENCODING != 0
    cdef bint wider = v.flags & V_WIDER_ENCODING != 0
    if v.type == T_SET:
        return b"hashtable" if large else b"listpack" if wider else b"intset"
    if v.type == T_HASH:
        return b"hashtable" if large else b"listpackex" if wider else b"listpack"
    return b"skiplist" if large else b"listpack"


cdef size_t listpack_element_bytes(const char* data, size_t n) noexcept nogil:
    """Bytes that an element takes in a listpack: its form, itself, and its length from behind."""
    cdef int64_t value
    cdef size_t size
    if parse_i64(data, n, &value):
        if 0 <= value <= 127:
            return 2
        if -4096 <= value <= 4095:
            return 3
        if -32768 <= value <= 32767:
            return 4
        if -8388608 <= value <= 8388607:
            return 5
        return 6 if -2147483648 <= value <= 2147483647 else 10
    size = n + (1 if n < 64 else 2 if n < 4096 else 5)
    return size + (1 if size <= 127 else 2 if size < 16383 else 3 if size < 2097151
                   else 4 if size < 268435455 else 5)


cdef bint fits_listpack(View view, int64_t elements, size_t bytes) noexcept:
    """Whether list-max-listpack-size allows a listpack of so many elements and bytes."""
    cdef int64_t limit = view.list_listpack_size
    if limit < 0:
        return bytes <= <size_t>2048 << min(-limit, LISTPACK_KIB_EXPONENT_MAX)
    return bytes <= LISTPACK_SAFE_BYTES and elements <= max(1, limit)


cdef int list_encoding(View view, Head* head, const char** name) except -1:
    """What OBJECT ENCODING says of a list that lookup() has found: FOUND or MISS.

    As if its elements had been pushed one by one: Redis measures a listpack before each push, and
    the new element without what it will take beside its bytes.
    """
    cdef vector[Version*] found_items
    cdef Collection* c = view.tip.collection(head_data(head.version).id)
    cdef Version* v
    cdef Place place
    cdef size_t bytes = LISTPACK_BYTES
    view.observed = max(view.observed, c.changed)
    name[0] = b"quicklist"
    if not fits_listpack(view, c.meta.length, c.meta.length * LISTPACK_ELEMENT_BYTES_MIN):
        return FOUND
    place = place_of(view, c, 0)
    if items_missing(view, c, &place, c.meta.length, False, &found_items):
        return MISS
    for v in found_items:
        if not fits_listpack(view, c.meta.length, bytes + v.length):
            return FOUND
        bytes += listpack_element_bytes(v.data, v.length)
    name[0] = b"listpack"
    return FOUND
