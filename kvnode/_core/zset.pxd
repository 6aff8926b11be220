"""What the handlers of sorted sets share: scores in and out, order and ranks, results stored.

A member's data is its score as a sortable number, 8 bytes big-endian. `c.order` has the members that
are in memory by score and name; zset_reach sees to it that those are which a command needs. Its
iterators end with the next write to the same set, so what is to be removed is collected first.

What a command empties goes as a whole, in O(1); of removals that leave little only that is written:
see plan_removal().
"""

from libc.stdint cimport int64_t
from libcpp.vector cimport vector
from kvnode._core.bytes cimport Slice
from kvnode._core.collection cimport Element
from kvnode._core.order_tree cimport OrderTree
from kvnode._core.reply cimport Reply, reply_array, reply_bulk
from kvnode._core.sortable cimport double_of_order
from kvnode._core.tip cimport Collection, Entry, Version, score_order
from kvnode._core.view cimport Head, View

ctypedef OrderTree[Entry].Iterator Position


cdef int open_zset(View view, const Slice* key, int flags, Head* head, Collection** c,
                   Reply reply) except -1
cdef int put_score(View view, Head* head, Collection* c, Element* element, double score) except -1
cdef int remove_members(View view, Head* head, Collection* c, vector[Entry*]* members, bytes name,
                        const Slice* key) except -1
cdef int drop_span(View view, Head* head, Collection* c, int how, size_t start, size_t count,
                   bytes name, const Slice* key) except -1
cdef int store_result(View view, const Slice* key, Position at, size_t count, bytes name,
                      Reply reply) except -1


cdef inline double score_of(const Version* v) noexcept nogil:
    return double_of_order(score_order(v))


cdef inline int reply_members_head(Reply reply, int64_t members, bint scores) except -1:
    """Begin a reply of members: with scores RESP3 nests each pair, RESP2 lists both in turn."""
    return reply_array(reply, members * 2 if scores and reply.proto == 2 else members)


cdef inline int reply_member(Reply reply, const Entry* e, double score, bint scores) except -1:
    """Answer one of them."""
    if scores and reply.proto == 3:
        reply_array(reply, 2)
    reply_bulk(reply, e.key, e.key_len)
    return reply.number(score) if scores else 0
