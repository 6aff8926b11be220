# cython: boundscheck=False, wraparound=False
"""What the handlers of sorted sets share."""

from kvnode._core.arguments cimport N_GENERIC, event
from kvnode._core.bytes cimport put_be64
from kvnode._core.collection cimport (
    KEEP_OTHERS, REMOVE_ALL, create, element_of, keep_only_these, open_collection, put_element,
    remove_element)
from kvnode._core.encoding cimport note_size
from kvnode._core.reply cimport reply_integer
from kvnode._core.sortable cimport SORTABLE_BYTES, order_of_double
from kvnode._core.tip cimport T_ZSET
from kvnode._core.view cimport FOUND, N_ZSET


cdef int open_zset(View view, const Slice* key, int flags, Head* head, Collection** c,
                   Reply reply) except -1:
    """Find the sorted set of a key, see open_collection()."""
    return open_collection(view, key, T_ZSET, flags, head, c, reply)


cdef int put_score(View view, Head* head, Collection* c, Element* element, double score) except -1:
    """Set the score of a member that find_element() has looked for."""
    cdef char data[SORTABLE_BYTES]
    put_be64(data, order_of_double(score))
    put_element(view, c, element, data, SORTABLE_BYTES, 0)
    return note_size(view, head, c, element.key.len)


cdef int remove_members(View view, Head* head, Collection* c, vector[Entry*]* members, bytes name,
                        const Slice* key) except -1:
    """Remove members that are there, not all, and state the event `name`; none: nothing happens."""
    cdef Element element
    cdef Entry* e
    if members.empty():
        return 0
    event(view, N_ZSET, name, key)
    for e in members[0]:
        element = element_of(e)
        remove_element(view, c, &element)
    return 0


cdef int drop_span(View view, Head* head, Collection* c, int how, size_t start, size_t count,
                   bytes name, const Slice* key) except -1:
    """Remove `count` members from a rank on by what it takes to keep the others: REMOVE_ALL, KEEP_OTHERS.

    The set is resident, or all of it goes.
    """
    cdef vector[Entry*] others
    cdef Position at
    event(view, N_ZSET, name, key)
    if how == REMOVE_ALL:
        view.remove(head)
        return event(view, N_GENERIC, b"del", key)
    at = c.order.first()
    while others.size() < start:
        others.push_back(at.entry())
        at.next()
    at = c.order.at(start + count)
    while at.valid():
        others.push_back(at.entry())
        at.next()
    return keep_only_these(view, head, c, &others)


cdef int store_result(View view, const Slice* key, Position at, size_t count, bytes name,
                      Reply reply) except -1:
    """Make `count` members from a position on the value of a key, and answer how many.

    They may come from what is at the key now: it stays in memory until this is committed.
    REQUIRES: a lookup of the key does not miss.
    """
    cdef Head head
    cdef Element element
    cdef Collection* c
    cdef Entry* e
    cdef size_t i
    cdef int found = view.lookup(key.data, key.len, 0, &head)
    if count == 0:
        if found == FOUND:
            view.remove(&head)
            event(view, N_GENERIC, b"del", key)
        return reply_integer(reply, 0)
    c = create(view, &head, T_ZSET)
    for i in range(count):
        e = at.entry()
        element.entry = NULL
        element.version = NULL
        element.hash = e.hash
        element.key.data = e.key
        element.key.len = e.key_len
        put_score(view, &head, c, &element, double_of_order(at.order()))
        at.next()
    event(view, N_ZSET, name, key)
    return reply_integer(reply, <int64_t>count)
