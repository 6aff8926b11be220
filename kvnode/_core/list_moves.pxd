"""Pops from the first of several lists and moves between lists: of commands that wait, too.

move() answers FOUND (the reply is written), MISS (park), WRONG (an error is), or ABSENT: there is
nothing to take, and nothing is written; the caller says null, or waits.
"""

from kvnode._core.bytes cimport Slice
from kvnode._core.mpop cimport Ends
from kvnode._core.reply cimport Reply
from kvnode._core.view cimport View


cdef Ends LIST_ENDS

cdef int move(View view, const Slice* source, const Slice* target, bint from_tail, bint to_tail,
              Reply reply) except -1
