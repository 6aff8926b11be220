# cython: boundscheck=False, wraparound=False
"""Which of Redis's forms a collection would have, and when it changes."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy
from kvnode._core.bytes cimport parse_i64
from kvnode._core.tip cimport T_HASH, T_LIST, T_SET, V_WIDER_ENCODING


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
    """What OBJECT ENCODING says. v: the version of the head."""
    cdef bint large = v.flags & V_LARGE_ENCODING != 0
    cdef bint wider = v.flags & V_WIDER_ENCODING != 0
    if v.type == T_LIST:
        return b"quicklist" if large else b"listpack"
    if v.type == T_SET:
        return b"hashtable" if large else b"listpack" if wider else b"intset"
    if v.type == T_HASH:
        return b"hashtable" if large else b"listpackex" if wider else b"listpack"
    return b"skiplist" if large else b"listpack"
