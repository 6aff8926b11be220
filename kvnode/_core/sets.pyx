# cython: boundscheck=False, wraparound=False
"""Set commands on members: SADD, SREM, SISMEMBER, SMEMBERS and their kin, SMOVE."""

from libc.stdint cimport int64_t
from kvnode._core.arguments cimport any_missing, event
from kvnode._core.bytes cimport Slice
from kvnode._core.collection cimport (
    WRONG, Element, Walk, close_collection, create, elements_missing, find_element, need_walk,
    next_of, open_collection, outcome_of, put_element, remove_element, remove_named, reply_length,
    walk_all)
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.encoding cimport begin_set, note_member
from kvnode._core.large_replies cimport is_shown_beside
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_array, reply_bulk, reply_integer, reply_set
from kvnode._core.tip cimport T_SET, Collection, Entry
from kvnode._core.view cimport ABSENT, FOUND, L_READ, MISS, N_SET, Head, View


cdef int cmd_sadd(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef int64_t added = 0
    cdef int i
    cdef int found = open_collection(view, &args.v[1], T_SET, 0, &head, &c, reply)
    if found == MISS or found == WRONG:
        return outcome_of(found)
    if found == ABSENT:
        c = create(view, &head, T_SET)
        begin_set(view, &head, &args.v[2], args.n - 2)
    elif elements_missing(view, c, args, 2, 1):
        return PARK
    for i in range(2, args.n):
        if find_element(view, c, args.v[i].data, args.v[i].len, &element) == ABSENT:
            put_element(view, c, &element, NULL, 0, 0)
            note_member(view, &head, c, &args.v[i])
            added += 1
    if added:
        event(view, N_SET, b"sadd", &args.v[1])
    return reply_integer(reply, added)


cdef int cmd_srem(View view, Args* args, Reply reply) except -1:
    return remove_named(view, args, T_SET, N_SET, b"srem", reply)


cdef int cmd_scard(View view, Args* args, Reply reply) except -1:
    return reply_length(view, args, T_SET, reply)


cdef int cmd_sismember(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef int found = open_collection(view, &args.v[1], T_SET, L_READ, &head, &c, reply)
    if found == MISS or found == WRONG:
        return outcome_of(found)
    if found == FOUND:
        found = find_element(view, c, args.v[2].data, args.v[2].len, &element)
        if found == MISS:
            return PARK
    return reply_integer(reply, 1 if found == FOUND else 0)


cdef int cmd_smismember(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef int i
    cdef int found = open_collection(view, &args.v[1], T_SET, L_READ, &head, &c, reply)
    if found == MISS or (found == FOUND and elements_missing(view, c, args, 2, 1)):
        return PARK
    if found == WRONG:
        return DONE
    reply_array(reply, args.n - 2)
    for i in range(2, args.n):
        reply_integer(reply, found == FOUND and find_element(
            view, c, args.v[i].data, args.v[i].len, &element) == FOUND)
    return DONE


cdef int cmd_smove(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Head target
    cdef Collection* c
    cdef Collection* d
    cdef Element element
    cdef Element copy
    cdef Slice* member = &args.v[3]
    cdef int there
    cdef int found
    if any_missing(view, args, 1, 1):
        return PARK
    if view.lookup(args.v[1].data, args.v[1].len, 0, &head) == ABSENT:
        return reply_integer(reply, 0)
    found = open_collection(view, &args.v[1], T_SET, 0, &head, &c, reply)
    if found == WRONG:
        return DONE
    there = open_collection(view, &args.v[2], T_SET, 0, &target, &d, reply)
    if there == WRONG:
        return DONE
    found = find_element(view, c, member.data, member.len, &element)
    if there == FOUND:
        if find_element(view, d, member.data, member.len, &copy) == MISS:
            return PARK
    if found == MISS:
        return PARK
    if found == ABSENT or c == d:
        return reply_integer(reply, found == FOUND)
    remove_element(view, c, &element)
    event(view, N_SET, b"srem", &args.v[1])
    close_collection(view, &head, c, &args.v[1])
    if there == ABSENT:
        d = create(view, &target, T_SET)
        begin_set(view, &target, member, 1)
        find_element(view, d, member.data, member.len, &copy)
    if copy.version == NULL:
        put_element(view, d, &copy, NULL, 0, 0)
        note_member(view, &target, d, member)
        event(view, N_SET, b"sadd", &args.v[2])
    else:
        view.change_of(d)       # who watches it is told although nothing changed, as by Redis
    return reply_integer(reply, 1)


cdef int cmd_smembers(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef Walk walk
    cdef Entry* e
    cdef int found = open_collection(view, &args.v[1], T_SET, L_READ, &head, &c, reply)
    if found == ABSENT:
        return reply_set(reply, 0)
    if found != FOUND:
        return outcome_of(found)
    if is_shown_beside(view, c, c.meta.length) or need_walk(view, c):
        return PARK
    reply_set(reply, c.meta.length)
    walk_all(view, c, &walk)
    while True:
        e = next_of(view, &walk)
        if e == NULL:
            return DONE
        reply_bulk(reply, e.key, e.key_len)


HANDLERS = {
    "sadd": native(cmd_sadd),
    "srem": native(cmd_srem),
    "scard": native(cmd_scard),
    "sismember": native(cmd_sismember),
    "smismember": native(cmd_smismember),
    "smove": native(cmd_smove),
    "smembers": native(cmd_smembers),
}
