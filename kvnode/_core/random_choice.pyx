# cython: boundscheck=False, wraparound=False
"""Commands that draw elements: SPOP, SRANDMEMBER, HRANDFIELD, ZRANDMEMBER."""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint32_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.vector cimport vector
from kvnode._core.arguments cimport (
    N_GENERIC, SYNTAX, event, is_word, refuse, require_i64)
from kvnode._core.bytes cimport parse_i64
from kvnode._core.collection cimport (
    AS_NULL, KEEP_OTHERS, REMOVE_ALL, REMOVE_LATER, WRONG, Element, Walk, answer_absent,
    close_collection, drop_expired, element_of, keep_only_these, need_all, next_of, open_collection,
    outcome_of, plan_pop, remove_element, walk_all)
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.drawing cimport random_element
from kvnode._core.element_pages cimport LARGE_DRAWS_MAX, draw_page, is_paged
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport (
    Reply, reply_array, reply_bulk, reply_null, reply_set)
from kvnode._core.tip cimport T_HASH, T_SET, T_ZSET, Collection, Entry
from kvnode._core.view cimport ABSENT, FOUND, L_READ, MISS, N_SET, Head, View
from kvnode._core.zset cimport reply_member, score_of

cdef extern from "name_set.hpp" namespace "kvnode" nogil:
    cdef cppclass NameSet:
        cbool add(uint64_t hash, const char* name, uint32_t length)

cdef enum:
    FEW = 3                     # under 1/3 of the elements are drawn one by one, more are dealt
    REPEATED_MAX = 1000000      # elements that one command draws with repetition


# -- drawing ------------------------------------------------------------------------------------

cdef int choose(View view, Collection* c, int64_t count, vector[Entry*]* chosen,
                vector[Entry*]* others) except -1:
    """Draw `count` different elements, or all if there are not so many.

    chosen: empty, or the pool that open_drawn() made. others: takes all that are not drawn; or NULL.
    REQUIRES: open_drawn() found it.
    """
    cdef NameSet drawn
    cdef Walk walk
    cdef Entry* e
    if chosen.empty():
        if others == NULL and count <= c.meta.length // FEW:
            while <int64_t>chosen.size() < count:
                e = random_element(view, c)
                if drawn.add(e.hash, e.key, e.key_len):
                    chosen.push_back(e)
            return 0
        walk_all(view, c, &walk)
        e = next_of(view, &walk)
        while e != NULL:
            chosen.push_back(e)
            e = next_of(view, &walk)
        if count >= c.meta.length:
            return 0
    return deal(view, <size_t>count, chosen, others)


cdef int deal(View view, size_t count, vector[Entry*]* chosen, vector[Entry*]* others) except -1:
    """Leave `count` of the chosen, by chance."""
    cdef Entry* e
    cdef size_t i
    cdef size_t j
    for i in range(count):
        j = i + view.draw() % (chosen.size() - i)
        e = chosen[0][i]
        chosen[0][i] = chosen[0][j]
        chosen[0][j] = e
    if others != NULL:
        others.assign(chosen.begin() + count, chosen.end())
    chosen.resize(count)
    return 0


cdef inline Entry* any_element(View view, Collection* c, vector[Entry*]* pool) except? NULL:
    """Draw one element, from the pool if open_drawn() made one."""
    return random_element(view, c) if pool.empty() else pool[0][view.draw() % pool.size()]


cdef int open_drawn(View view, Args* args, uint8_t type, int64_t count, Head* head, Collection** c,
                    vector[Entry*]* pool, Reply reply) except -1:
    """Find the collection args[1], to draw so many elements of it: as open_collection().

    count: as in SRANDMEMBER. Of a collection that is not in memory the pool gets some elements; all
    draws are from these. Else it stays empty, and all is there, without expired fields.
    """
    cdef int64_t draws = count if count >= 0 else min(-count, <int64_t>LARGE_DRAWS_MAX)
    cdef int found = open_collection(view, &args.v[1], type, L_READ, head, c, reply)
    if found != FOUND or count == 0:
        return found
    if is_paged(view, c[0], draws):
        found = draw_page(view, c[0], draws, pool)
        return FOUND if found == DONE else MISS
    if need_all(view, c[0]):
        return MISS
    drop_expired(view, head, c[0])
    if c[0].meta.length == 0:
        close_collection(view, head, c[0], &args.v[1])
        return ABSENT
    return FOUND


cdef bint require_count(Args* args, int64_t* count, Reply reply) except -1:
    """Read how many elements are wanted, negative for with repetition; False after an error."""
    if not require_i64(&args.v[2], count, reply):
        return False
    if count[0] == INT64_MIN:
        refuse(reply, b"ERR value is out of range, value must between -9223372036854775807 and "
                      b"9223372036854775807")
        return False
    return True


cdef int reply_element(Entry* e, uint8_t type, bint values, Reply reply) except -1:
    """Answer an element, with the value of a field or the score of a member if that is wanted."""
    if type == T_ZSET:
        return reply_member(reply, e, score_of(e.newest), values)
    if values and reply.proto == 3:
        reply_array(reply, 2)
    reply_bulk(reply, e.key, e.key_len)
    if values:
        reply_bulk(reply, e.newest.data, e.newest.length)
    return 0


cdef int draw_many(View view, Args* args, uint8_t type, int64_t count, bint values,
                   Reply reply) except -1:
    """Answer `count` elements; negative: so many, perhaps the same again."""
    cdef Head head
    cdef Collection* c
    cdef vector[Entry*] chosen
    cdef vector[Entry*] pool
    cdef Entry* e
    cdef int64_t width = 2 if values and reply.proto == 2 else 1
    cdef int found = open_drawn(view, args, type, count, &head, &c, &pool, reply)
    if found == MISS or found == WRONG:
        return outcome_of(found)
    if found == ABSENT or count == 0:
        return reply_array(reply, 0)
    if count < -REPEATED_MAX:
        return refuse(reply, b"ERR value is out of range")
    if count > 0:
        chosen.swap(pool)
        choose(view, c, count, &chosen, NULL)
    while count < 0:
        chosen.push_back(any_element(view, c, &pool))
        count += 1
    reply_array(reply, width * <int64_t>chosen.size())
    for e in chosen:
        reply_element(e, type, values, reply)
    return DONE


cdef int draw_one(View view, Args* args, uint8_t type, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef vector[Entry*] pool
    cdef int found = open_drawn(view, args, type, 1, &head, &c, &pool, reply)
    if found != FOUND:
        return answer_absent(found, AS_NULL, reply)
    return reply_element(any_element(view, c, &pool), type, False, reply)


# -- handlers -----------------------------------------------------------------------------------

cdef int cmd_srandmember(View view, Args* args, Reply reply) except -1:
    cdef int64_t count
    if args.n > 3:
        return refuse(reply, SYNTAX)
    if args.n == 2:
        return draw_one(view, args, T_SET, reply)
    if not require_count(args, &count, reply):
        return DONE
    return draw_many(view, args, T_SET, count, False, reply)


cdef int draw_pairs(View view, Args* args, uint8_t type, const char* values, Reply reply) except -1:
    """HRANDFIELD and ZRANDMEMBER. values: the option that asks for pairs."""
    cdef int64_t count
    if args.n == 2:
        return draw_one(view, args, type, reply)
    if not require_count(args, &count, reply):
        return DONE
    if args.n > 4 or (args.n == 4 and not is_word(&args.v[3], values)):
        return refuse(reply, SYNTAX)
    if args.n == 4 and not -(INT64_MAX // 2) <= count <= INT64_MAX // 2:
        return refuse(reply, b"ERR value is out of range")
    return draw_many(view, args, type, count, args.n == 4, reply)


cdef int cmd_hrandfield(View view, Args* args, Reply reply) except -1:
    return draw_pairs(view, args, T_HASH, b"WITHVALUES", reply)


cdef int cmd_zrandmember(View view, Args* args, Reply reply) except -1:
    return draw_pairs(view, args, T_ZSET, b"WITHSCORES", reply)


cdef int cmd_spop(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef vector[Entry*] chosen
    cdef vector[Entry*] others
    cdef Element element
    cdef Entry* e
    cdef int how
    cdef int64_t count = 1
    cdef bint one = args.n == 2
    cdef int found
    if args.n > 3:
        return refuse(reply, SYNTAX)
    if not one and (not parse_i64(args.v[2].data, args.v[2].len, &count) or count < 0):
        return refuse(reply, b"ERR value is out of range, must be positive")
    found = open_drawn(view, args, T_SET, count, &head, &c, &chosen, reply)
    if found == MISS or found == WRONG:
        return outcome_of(found)
    if found == ABSENT or count == 0:
        return reply_null(reply) if one else reply_set(reply, 0)
    how = plan_pop(view, c, count, True)
    if how == REMOVE_LATER:
        return PARK
    if one:
        chosen.assign(1, any_element(view, c, &chosen))
    else:
        choose(view, c, count, &chosen, &others if how == KEEP_OTHERS else NULL)
        reply_set(reply, <int64_t>chosen.size())
    for e in chosen:
        reply_bulk(reply, e.key, e.key_len)
    event(view, N_SET, b"spop", &args.v[1])
    if how == REMOVE_ALL:
        view.remove(&head)      # whatever its size
        return event(view, N_GENERIC, b"del", &args.v[1])
    if how == KEEP_OTHERS:
        return keep_only_these(view, &head, c, &others)
    for e in chosen:
        element = element_of(e)
        remove_element(view, c, &element)
    return DONE


HANDLERS = {
    "spop": native(cmd_spop),
    "srandmember": native(cmd_srandmember),
    "hrandfield": native(cmd_hrandfield),
    "zrandmember": native(cmd_zrandmember),
}
