"""Pops from the first of several lists and moves between lists: of commands that wait, too.

Both answer FOUND (the reply is written), MISS (park), WRONG (an error is), or ABSENT: there is
nothing to take, and nothing is written; the caller says null, or waits.
"""

from libc.stdint cimport int64_t
from kvnode._core.bytes cimport Slice
from kvnode._core.mpop cimport PopForm
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply
from kvnode._core.view cimport View


cdef int pop_first(View view, Args* args, int first, int end, bint at_tail, int64_t count,
                   PopForm form, bint may_wait, Reply reply) except -1
cdef int move(View view, const Slice* source, const Slice* target, bint from_tail, bint to_tail,
              Reply reply) except -1
cdef bint read_mpop(const Args* args, int numkeys, int* end, bint* at_tail, int64_t* count,
                    Reply reply) except -1
