# cython: boundscheck=False, wraparound=False
"""LMPOP, ZMPOP, BLPOP, BZPOPMIN, BLMPOP, BZMPOP: the keys, the words, and waiting."""

from libc.stdint cimport uint64_t
from kvnode._core.arguments cimport SYNTAX, any_missing, is_word, refuse
from kvnode._core.blocking cimport NULL_ARRAY, done_or_wait, require_timeout
from kvnode._core.bytes cimport parse_i64
from kvnode._core.collection cimport AS_NULL_ARRAY, answer_absent
from kvnode._core.dispatch cimport DONE
from kvnode._core.view cimport ABSENT, MISS


cdef int open_first(View view, Args* args, int first, int end, Opener open, Head* head,
                    Collection** c, int* at, Reply reply) except -1:
    """Find the first of the keys args[first:end] that there is, args[at]: as open_collection()."""
    cdef Args keys = args[0]
    cdef int found
    cdef int i
    keys.n = end
    if any_missing(view, &keys, first, 1):
        return MISS
    for i in range(first, end):
        found = open(view, &args.v[i], 0, head, c, reply)
        if found != ABSENT:
            at[0] = i
            return found
    return ABSENT


cdef bint read_ends(const Args* args, int numkeys, const Ends* ends, int* end, bint* at_high,
                    int64_t* count, Reply reply) except -1:
    """Read `numkeys key ... low | high [COUNT count]` from argument `numkeys` on.

    end: behind the last key. at_high: whether the word was `high`. False after an error reply.
    """
    cdef const Slice* number = &args.v[numkeys]
    cdef int64_t keys
    cdef int i
    cdef bint counted = False
    count[0] = 1
    if not parse_i64(number.data, number.len, &keys) or keys < 1:
        refuse(reply, b"ERR numkeys should be greater than 0")
        return False
    if keys >= args.n - numkeys - 1:
        refuse(reply, SYNTAX)
        return False
    i = end[0] = numkeys + 1 + <int>keys
    at_high[0] = is_word(&args.v[i], ends.high)
    if not at_high[0] and not is_word(&args.v[i], ends.low):
        refuse(reply, SYNTAX)
        return False
    i += 1
    while i < args.n:
        if counted or i + 1 == args.n or not is_word(&args.v[i], b"COUNT"):
            refuse(reply, SYNTAX)
            return False
        if not parse_i64(args.v[i + 1].data, args.v[i + 1].len, count) or count[0] < 1:
            refuse(reply, b"ERR count should be greater than 0")
            return False
        counted = True
        i += 2
    return True


cdef int pop_now(View view, Args* args, const Ends* ends, Reply reply) except -1:
    """LMPOP, ZMPOP."""
    cdef int64_t count
    cdef bint at_high
    cdef int end
    if not read_ends(args, 1, ends, &end, &at_high, &count, reply):
        return DONE
    return answer_absent(ends.pop(view, args, 2, end, at_high, count, POP_NOW, reply),
                         AS_NULL_ARRAY, reply)


cdef int pop_or_wait(View view, Args* args, const Ends* ends, bint at_high, Reply reply) except -1:
    """BLPOP, BRPOP, BZPOPMIN, BZPOPMAX: keys and a timeout."""
    cdef int end = args.n - 1
    cdef uint64_t deadline_ms
    cdef int found
    if not require_timeout(view, &args.v[end], &deadline_ms, reply):
        return DONE
    found = ends.pop(view, args, 1, end, at_high, 1, POP_ONE, reply)
    return done_or_wait(view, args, found, 1, end, ends.type, deadline_ms, NULL_ARRAY, reply)


cdef int pop_several_or_wait(View view, Args* args, const Ends* ends, Reply reply) except -1:
    """BLMPOP, BZMPOP: a timeout, then as LMPOP."""
    cdef uint64_t deadline_ms
    cdef int64_t count
    cdef bint at_high
    cdef int end
    cdef int found
    if not read_ends(args, 2, ends, &end, &at_high, &count, reply) \
            or not require_timeout(view, &args.v[1], &deadline_ms, reply):
        return DONE
    found = ends.pop(view, args, 3, end, at_high, count, POP_SEVERAL, reply)
    return done_or_wait(view, args, found, 3, end, ends.type, deadline_ms, NULL_ARRAY, reply)
