"""Pops from the first of several keys that has anything: what lists and sorted sets share."""

from libc.stdint cimport int64_t
from kvnode._core.arguments cimport SYNTAX, any_missing, is_word, refuse
from kvnode._core.bytes cimport Slice, parse_i64
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply
from kvnode._core.tip cimport Collection
from kvnode._core.view cimport ABSENT, MISS, Head, View


cdef enum PopForm:
    POP_ONE = 0         # of BLPOP, BZPOPMIN and their kin: key, element, and its score if it has one
    POP_NESTED = 1      # of LMPOP, ZMPOP and their blocking forms: key, elements


ctypedef int (*Opener)(View view, const Slice* key, int flags, Head* head, Collection** c,
                       Reply reply) except -1


cdef inline int open_first(View view, Args* args, int first, int end, Opener open, Head* head,
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


cdef inline bint read_ends(const Args* args, int numkeys, const char* low, const char* high,
                           int* end, bint* at_high, int64_t* count, Reply reply) except -1:
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
    at_high[0] = is_word(&args.v[i], high)
    if not at_high[0] and not is_word(&args.v[i], low):
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
