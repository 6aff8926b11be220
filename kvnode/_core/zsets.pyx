# cython: boundscheck=False, wraparound=False
"""Sorted-set commands on named members: ZADD, ZINCRBY, ZREM, ZCARD, ZSCORE, ZMSCORE."""

from libc.stdint cimport int64_t
from libcpp.vector cimport vector
from kvnode._core.arguments cimport (
    IF_GREATER, IF_LESS, IF_NEW, IF_THERE, SYNTAX, condition_of, event, is_word, refuse)
from kvnode._core.bytes cimport Slice
from kvnode._core.collection cimport (
    WRONG, Element, create, elements_missing, find_element, open_collection, outcome_of,
    remove_named, reply_length)
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.numbers cimport parse_double
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_array, reply_integer, reply_null
from kvnode._core.tip cimport T_ZSET, Collection
from kvnode._core.view cimport ABSENT, FOUND, L_READ, MISS, N_ZSET, Head, View
from kvnode._core.zset cimport put_score, score_of

cdef enum:
    FEW = 16                # scores of one command that are kept on the stack

cdef enum AddFlag:          # beside a Condition
    ADD_CH = 16
    ADD_INCR = 32


# -- ZADD, ZINCRBY ------------------------------------------------------------------------------

cdef int add_flag(const Slice* arg) noexcept nogil:
    """The option that an argument is; 0: none."""
    if is_word(arg, b"CH"):
        return ADD_CH
    return ADD_INCR if is_word(arg, b"INCR") else condition_of(arg)


cdef const char* flags_error(int flags, int pairs) noexcept nogil:
    """What is wrong with the options; NULL: nothing."""
    if flags & IF_NEW and flags & IF_THERE:
        return b"ERR XX and NX options at the same time are not compatible"
    if (flags & IF_GREATER and flags & (IF_LESS | IF_NEW)) or (flags & IF_LESS and flags & IF_NEW):
        return b"ERR GT, LT, and/or NX options at the same time are not compatible"
    if flags & ADD_INCR and pairs > 1:
        return b"ERR INCR option supports a single increment-element pair"
    return NULL


cdef bint keeps_score(int flags, double old, double new) noexcept nogil:
    """Whether GT or LT leave a member alone."""
    return (flags & IF_GREATER and new <= old) or (flags & IF_LESS and new >= old)


cdef int add(View view, Args* args, int flags, Reply reply) except -1:
    """Add the scores and members from argument 2 on, behind more options."""
    cdef double few[FEW]
    cdef vector[double] many
    cdef double* scores = few
    cdef const char* wrong
    cdef int first = 2
    cdef int flag
    cdef int pairs
    cdef int i
    while first < args.n:
        flag = add_flag(&args.v[first])
        if flag == 0:
            break
        flags |= flag
        first += 1
    pairs = (args.n - first) // 2
    if pairs == 0 or (args.n - first) % 2:
        return refuse(reply, SYNTAX)
    wrong = flags_error(flags, pairs)
    if wrong != NULL:
        return refuse(reply, wrong)
    if pairs > FEW:
        many.resize(pairs)
        scores = many.data()
    for i in range(pairs):
        if not parse_double(args.v[first + 2 * i].data, args.v[first + 2 * i].len, &scores[i]):
            return refuse(reply, b"ERR value is not a valid float")
    return add_pairs(view, args, first, pairs, scores, flags, reply)


cdef int add_pairs(View view, Args* args, int first, int pairs, double* scores, int flags,
                   Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef Slice* member
    cdef double old
    cdef int64_t added = 0
    cdef int64_t changed = 0
    cdef bint kept = False
    cdef int i
    cdef int found = open_collection(view, &args.v[1], T_ZSET, 0, &head, &c, reply)
    if found == MISS or found == WRONG:
        return outcome_of(found)
    if found == ABSENT:
        if flags & IF_THERE:
            return reply_null(reply) if flags & ADD_INCR else reply_integer(reply, 0)
        c = create(view, &head, T_ZSET)
    elif elements_missing(view, c, args, first + 1, 2):
        return PARK
    for i in range(pairs):
        member = &args.v[first + 2 * i + 1]
        if find_element(view, c, member.data, member.len, &element) == ABSENT:
            kept = flags & IF_THERE
            if not kept:
                put_score(view, &head, c, &element, scores[i])
                added += 1
            continue
        kept = flags & IF_NEW
        if kept:
            continue            # before any sum: NX never answers that one is not a number
        old = score_of(element.version)
        if flags & ADD_INCR:
            scores[i] += old
            if scores[i] != scores[i]:
                return refuse(reply, b"ERR resulting score is not a number (NaN)")
        kept = keeps_score(flags, old, scores[i])
        if not kept and scores[i] != old:
            put_score(view, &head, c, &element, scores[i])
            changed += 1
    if added or changed:
        event(view, N_ZSET, b"zincr" if flags & ADD_INCR else b"zadd", &args.v[1])
    if flags & ADD_INCR:
        return reply_null(reply) if kept else reply.number(scores[0] + 0.0)
    return reply_integer(reply, added + changed if flags & ADD_CH else added)


cdef int cmd_zadd(View view, Args* args, Reply reply) except -1:
    return add(view, args, 0, reply)


cdef int cmd_zincrby(View view, Args* args, Reply reply) except -1:
    return add(view, args, ADD_INCR, reply)


# -- the others ---------------------------------------------------------------------------------

cdef int cmd_zrem(View view, Args* args, Reply reply) except -1:
    return remove_named(view, args, T_ZSET, N_ZSET, b"zrem", reply)


cdef int cmd_zcard(View view, Args* args, Reply reply) except -1:
    return reply_length(view, args, T_ZSET, reply)


cdef int cmd_zscore(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef int found = open_collection(view, &args.v[1], T_ZSET, L_READ, &head, &c, reply)
    if found == FOUND:
        found = find_element(view, c, args.v[2].data, args.v[2].len, &element)
    if found == MISS or found == WRONG:
        return outcome_of(found)
    return reply.number(score_of(element.version)) if found == FOUND else reply_null(reply)


cdef int cmd_zmscore(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef int i
    cdef int found = open_collection(view, &args.v[1], T_ZSET, L_READ, &head, &c, reply)
    if found == MISS or found == WRONG:
        return outcome_of(found)
    if found == FOUND and elements_missing(view, c, args, 2, 1):
        return PARK
    reply_array(reply, args.n - 2)
    for i in range(2, args.n):
        if found == FOUND and find_element(
                view, c, args.v[i].data, args.v[i].len, &element) == FOUND:
            reply.number(score_of(element.version))
        else:
            reply_null(reply)
    return DONE


HANDLERS = {
    "zadd": native(cmd_zadd),
    "zincrby": native(cmd_zincrby),
    "zrem": native(cmd_zrem),
    "zcard": native(cmd_zcard),
    "zscore": native(cmd_zscore),
    "zmscore": native(cmd_zmscore),
}
