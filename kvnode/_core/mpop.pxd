"""Pops from the first of several keys that has anything: what lists and sorted sets share."""

from libc.stdint cimport int64_t, uint8_t
from kvnode._core.bytes cimport Slice
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply
from kvnode._core.tip cimport Collection
from kvnode._core.view cimport Head, View


cdef enum PopForm:
    POP_ONE = 0         # of BLPOP, BZPOPMIN and their kin: key, element, and its score if it has one
    POP_SEVERAL = 1     # of BLMPOP, BZMPOP: key, elements
    POP_NOW = 2         # of LMPOP, ZMPOP: the same, of a command that never waits


ctypedef int (*Opener)(View view, const Slice* key, int flags, Head* head, Collection** c,
                       Reply reply) except -1

# Pops up to `count` elements from the first of the keys args[first:end] that has any. FOUND: the
# reply is written. WRONG: an error is. ABSENT: no key has any, and nothing is written. MISS: park.
ctypedef int (*Popper)(View view, Args* args, int first, int end, bint at_high, int64_t count,
                       PopForm form, Reply reply) except -1


cdef struct Ends:
    # What lists and sorted sets differ in.
    uint8_t type
    const char* low             # words for the ends
    const char* high
    Popper pop


cdef int open_first(View view, Args* args, int first, int end, Opener open, Head* head,
                    Collection** c, int* at, Reply reply) except -1
cdef int pop_now(View view, Args* args, const Ends* ends, Reply reply) except -1
cdef int pop_or_wait(View view, Args* args, const Ends* ends, bint at_high, Reply reply) except -1
cdef int pop_several_or_wait(View view, Args* args, const Ends* ends, Reply reply) except -1
