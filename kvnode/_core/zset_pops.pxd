"""Pops from sorted sets, for the forms that answer at once and for those that wait."""

from libc.stdint cimport int64_t
from kvnode._core.mpop cimport PopForm
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply
from kvnode._core.view cimport View


cdef int pop_first(View view, Args* args, int first, int end, bint highest, int64_t count,
                   PopForm form, Reply reply) except -1
cdef bint read_mpop(const Args* args, int numkeys, int* end, bint* highest, int64_t* count,
                    Reply reply) except -1
