# cython: boundscheck=False, wraparound=False
"""Commands on several sets: SINTER, SUNION, SDIFF, their STORE forms, SINTERCARD."""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.vector cimport vector
from kvnode._core.arguments cimport (
    N_GENERIC, SYNTAX, any_missing, event, is_word, refuse)
from kvnode._core.blocks cimport Blocks
from kvnode._core.bytes cimport Slice, make_slice, parse_i64
from kvnode._core.collection cimport (
    WRONG, Element, Walk, create, is_past_budget, need_beside, need_walk, next_of, open_collection,
    outcome_of, put_element, walk_all)
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.encoding cimport begin_set, note_member
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_bulk, reply_integer, reply_set
from kvnode._core.tip cimport T_NONE, T_SET, Collection, Entry
from kvnode._core.view cimport ABSENT, FOUND, L_READ, MISS, N_SET, STEPS_PER_WRITE, Head, View

cdef extern from "name_set.hpp" namespace "kvnode" nogil:
    cdef cppclass NameSet:
        cbool add(uint64_t hash, const char* name, uint32_t length)

cdef enum Operation:
    UNION = 0
    INTERSECTION = 1
    DIFFERENCE = 2


# -- combining ----------------------------------------------------------------------------------

cdef int open_sets(View view, Args* args, int first, int end, vector[Collection*]* sets,
                   Reply reply) except -1:
    """Find the sets args[first:end], NULL for an absent one; FOUND or WRONG. None may be missing."""
    cdef Head head
    cdef Collection* c
    cdef int i
    for i in range(first, end):
        if open_collection(view, &args.v[i], T_SET, L_READ, &head, &c, reply) == WRONG:
            return WRONG
        sets.push_back(c)
    return FOUND


cdef int has_member(View view, Collection* c, Entry* e) except -1:
    """Whether a set has the member that is an entry of another: FOUND, ABSENT or MISS (noted)."""
    cdef Entry* found = view.tip.find(c.elements, e.hash, e.key, e.key_len)
    if found != NULL:
        return FOUND if found.newest.type != T_NONE else ABSENT
    if c.elements.resident or e.hash < c.loaded:
        return ABSENT
    view.miss(c.elements.kind, c.elements, e.hash, e.key, e.key_len)
    return MISS


cdef bint unite(View view, vector[Collection*]* sets, Blocks[Entry*]* out) except -1:
    """Append the members that any of the sets has; False: PARK."""
    cdef NameSet met
    cdef Walk walk
    cdef Collection* c
    cdef Entry* e
    cdef bint missing = False
    for c in sets[0]:
        if c != NULL and need_walk(view, c):
            missing = True
    if missing:
        return False
    for c in sets[0]:
        if c == NULL:
            continue
        walk_all(view, c, &walk)
        e = next_of(view, &walk)
        while e != NULL:
            if sets.size() == 1 or met.add(e.hash, e.key, e.key_len):
                out.push_back(e)
            e = next_of(view, &walk)
    return True


cdef bint intersect(View view, vector[Collection*]* sets, int64_t limit,
                    Blocks[Entry*]* out) except -1:
    """Append up to `limit` members that all of the sets have; False: PARK."""
    cdef Walk walk
    cdef Collection* smallest = NULL
    cdef Collection* c
    cdef Entry* e
    cdef int found
    cdef bint missing = False
    for c in sets[0]:
        if c == NULL:
            return True
        if smallest == NULL or c.meta.length < smallest.meta.length:
            smallest = c
    for c in sets[0]:
        missing |= c != smallest and need_beside(view, c, smallest.meta.length)
    if need_walk(view, smallest) or missing:
        return False
    walk_all(view, smallest, &walk)
    e = next_of(view, &walk)
    while e != NULL and <int64_t>out.size() < limit:
        found = FOUND
        for c in sets[0]:
            if c != smallest and found != ABSENT:
                found = has_member(view, c, e)
                missing |= found == MISS
        if found == FOUND:
            out.push_back(e)
        e = next_of(view, &walk)
    return not missing


cdef bint subtract(View view, vector[Collection*]* sets, Blocks[Entry*]* out) except -1:
    """Append the members of the first set that no other has; False: PARK."""
    cdef Walk walk
    cdef Collection* first = sets[0][0]
    cdef Entry* e
    cdef int found
    cdef size_t i
    cdef bint missing = False
    if first == NULL:
        return True
    for i in range(1, sets.size()):
        missing |= sets[0][i] != NULL and need_beside(view, sets[0][i], first.meta.length)
    if need_walk(view, first) or missing:
        return False
    walk_all(view, first, &walk)
    e = next_of(view, &walk)
    while e != NULL:
        found = ABSENT
        for i in range(1, sets.size()):
            if sets[0][i] != NULL and found != FOUND:
                found = has_member(view, sets[0][i], e)
                missing |= found == MISS
        if found == ABSENT:
            out.push_back(e)
        e = next_of(view, &walk)
    return not missing


cdef int combine(View view, Args* args, int first, Operation operation, Blocks[Entry*]* out,
                 Reply reply) except -1:
    """Append the combination of the sets from argument `first` on: FOUND, MISS or WRONG."""
    cdef vector[Collection*] sets
    cdef bint done
    if any_missing(view, args, 1, 1):
        return MISS
    if open_sets(view, args, first, args.n, &sets, reply) == WRONG:
        return WRONG
    if operation == UNION:
        done = unite(view, &sets, out)
    elif operation == INTERSECTION:
        done = intersect(view, &sets, INT64_MAX, out)
    else:
        done = subtract(view, &sets, out)
    return FOUND if done else MISS


# -- results ------------------------------------------------------------------------------------

cdef int show(View view, Args* args, Operation operation, Reply reply) except -1:
    cdef Blocks[Entry*] members
    cdef size_t i
    cdef int found = combine(view, args, 1, operation, &members, reply)
    if found != FOUND:
        return outcome_of(found)
    reply_set(reply, <int64_t>members.size())
    for i in range(members.size()):
        if view.is_private:
            view.breathe(1)
        reply_bulk(reply, members[i].key, members[i].key_len)
    return DONE


cdef int store(View view, Args* args, Operation operation, bytes name, Reply reply) except -1:
    """Make the combination the value of args[1], which may be one of the sets."""
    cdef Blocks[Entry*] members
    cdef Head head
    cdef Element element
    cdef Collection* c
    cdef Entry* e
    cdef Slice member
    cdef size_t i
    cdef int found = combine(view, args, 2, operation, &members, reply)
    if found != FOUND:
        return outcome_of(found)
    if is_past_budget(view, STEPS_PER_WRITE * <int64_t>members.size()):
        return PARK
    found = view.lookup(args.v[1].data, args.v[1].len, 0, &head)
    if members.empty():
        if found == FOUND:
            view.remove(&head)
            event(view, N_GENERIC, b"del", &args.v[1])
        return reply_integer(reply, 0)
    c = create(view, &head, T_SET)      # (the old one stays in memory until this is committed)
    for i in range(members.size()):
        e = members[i]
        member = make_slice(e.key, e.key_len)
        if c.meta.length == 0:
            begin_set(view, &head, &member, 1)
        element.entry = NULL
        element.version = NULL
        element.hash = e.hash
        element.key = member
        put_element(view, c, &element, NULL, 0, 0)
        note_member(view, &head, c, &member)
    event(view, N_SET, name, &args.v[1])
    return reply_integer(reply, <int64_t>members.size())


cdef int cmd_sunion(View view, Args* args, Reply reply) except -1:
    return show(view, args, UNION, reply)


cdef int cmd_sinter(View view, Args* args, Reply reply) except -1:
    return show(view, args, INTERSECTION, reply)


cdef int cmd_sdiff(View view, Args* args, Reply reply) except -1:
    return show(view, args, DIFFERENCE, reply)


cdef int cmd_sunionstore(View view, Args* args, Reply reply) except -1:
    return store(view, args, UNION, b"sunionstore", reply)


cdef int cmd_sinterstore(View view, Args* args, Reply reply) except -1:
    return store(view, args, INTERSECTION, b"sinterstore", reply)


cdef int cmd_sdiffstore(View view, Args* args, Reply reply) except -1:
    return store(view, args, DIFFERENCE, b"sdiffstore", reply)


cdef int cmd_sintercard(View view, Args* args, Reply reply) except -1:
    cdef vector[Collection*] sets
    cdef Blocks[Entry*] members
    cdef Args keys = args[0]
    cdef int64_t count
    cdef int64_t limit = 0
    cdef int i
    if not parse_i64(args.v[1].data, args.v[1].len, &count) or count < 1:
        return refuse(reply, b"ERR numkeys should be greater than 0")
    if count > args.n - 2:
        return refuse(reply, b"ERR Number of keys can't be greater than number of args")
    i = 2 + <int>count
    keys.n = i
    while i < args.n:
        if not is_word(&args.v[i], b"LIMIT") or i + 1 == args.n:
            return refuse(reply, SYNTAX)
        if not parse_i64(args.v[i + 1].data, args.v[i + 1].len, &limit) or limit < 0:
            return refuse(reply, b"ERR LIMIT can't be negative")
        i += 2
    if any_missing(view, &keys, 2, 1):
        return PARK
    if open_sets(view, &keys, 2, keys.n, &sets, reply) == WRONG:
        return DONE
    if not intersect(view, &sets, limit if limit else INT64_MAX, &members):
        return PARK
    return reply_integer(reply, <int64_t>members.size())


HANDLERS = {
    "sunion": native(cmd_sunion),
    "sinter": native(cmd_sinter),
    "sdiff": native(cmd_sdiff),
    "sunionstore": native(cmd_sunionstore),
    "sinterstore": native(cmd_sinterstore),
    "sdiffstore": native(cmd_sdiffstore),
    "sintercard": native(cmd_sintercard),
}
