# cython: boundscheck=False, wraparound=False
"""Commands that walk a hash, set or sorted set in hash order: HSCAN, SSCAN, ZSCAN.

Cursors are those of SCAN, with the same guarantee. A small collection comes as a whole, as from
Redis, where it has no order of hashes.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libcpp.vector cimport vector
from kvnode._core.arguments cimport refuse
from kvnode._core.bytes cimport DECIMAL_BYTES_MAX, format_u64
from kvnode._core.collection cimport (
    Walk, close_collection, expire_field, need_all, next_of, open_collection, outcome_of, walk_all)
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.element_pages cimport elements_in
from kvnode._core.numbers cimport DOUBLE_BYTES_MAX, format_double
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_array, reply_bulk
from kvnode._core.scan cimport CURSOR_SHIFT, Filter, name_matches, parse_cursor, parse_scan
from kvnode._core.sortable cimport double_of_order
from kvnode._core.tip cimport (
    T_HASH, T_SET, T_ZSET, V_LARGE_ENCODING, Collection, Entry, score_order)
from kvnode._core.view cimport ABSENT, FOUND, L_READ, Head, View


cdef int collect_all(View view, Collection* c, vector[Entry*]* out) except -1:
    cdef vector[Entry*] due
    cdef Walk walk
    cdef Entry* e
    walk_all(view, c, &walk)
    walk.expired = &due
    e = next_of(view, &walk)
    while e != NULL:
        out.push_back(e)
        e = next_of(view, &walk)
    for e in due:
        expire_field(view, c, e)
    return 0


cdef int reply_score(Entry* e, Reply reply) except -1:
    cdef char text[DOUBLE_BYTES_MAX]
    return reply_bulk(reply, text, format_double(text, double_of_order(score_order(e.newest))))


cdef int reply_page(uint64_t cursor, vector[Entry*]* found, const Filter* filter, uint8_t type,
                    Reply reply) except -1:
    """Answer the cursor and those of the elements that pass the filter."""
    cdef char digits[DECIMAL_BYTES_MAX]
    cdef vector[Entry*] passed
    cdef Entry* e
    cdef bint pairs = type != T_SET and not filter.names_only
    for e in found[0]:
        if name_matches(filter, e.key, e.key_len):
            passed.push_back(e)
    reply_array(reply, 2)
    reply_bulk(reply, digits, format_u64(digits, cursor))
    reply_array(reply, <int64_t>passed.size() * (2 if pairs else 1))
    for e in passed:
        reply_bulk(reply, e.key, e.key_len)
        if pairs and type == T_HASH:
            reply_bulk(reply, e.newest.data, e.newest.length)
        elif pairs:
            reply_score(e, reply)
    return DONE


cdef int scan(View view, Args* args, uint8_t type, Reply reply) except -1:
    cdef vector[Entry*] found
    cdef Filter filter
    cdef Head head
    cdef Collection* c
    cdef int64_t count
    cdef uint64_t cursor
    cdef uint64_t following = 0
    cdef int outcome
    filter.names_only = False
    if not parse_cursor(&args.v[2], &cursor):
        return refuse(reply, b"ERR invalid cursor")
    outcome = open_collection(view, &args.v[1], type, L_READ, &head, &c, reply)
    if outcome == ABSENT:
        return reply_page(0, &found, &filter, type, reply)
    if outcome != FOUND:
        return outcome_of(outcome)
    if not parse_scan(args, 3, type, &filter, &count, reply):
        return DONE
    if not head.version.flags & V_LARGE_ENCODING:
        if need_all(view, c):
            return PARK
        collect_all(view, c, &found)
    elif cursor >> (64 - CURSOR_SHIFT) == 0 and elements_in(
            view, c, cursor << CURSOR_SHIFT, count, &found, &following) == PARK:
        return PARK
    close_collection(view, &head, c, &args.v[1])
    return reply_page(following >> CURSOR_SHIFT, &found, &filter, type, reply)


cdef int cmd_hscan(View view, Args* args, Reply reply) except -1:
    return scan(view, args, T_HASH, reply)


cdef int cmd_sscan(View view, Args* args, Reply reply) except -1:
    return scan(view, args, T_SET, reply)


cdef int cmd_zscan(View view, Args* args, Reply reply) except -1:
    return scan(view, args, T_ZSET, reply)


HANDLERS = {
    "hscan": native(cmd_hscan),
    "sscan": native(cmd_sscan),
    "zscan": native(cmd_zscan),
}
