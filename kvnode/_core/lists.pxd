"""What list commands of several modules share: removals that say so, and ends as words."""

from libc.stdint cimport int64_t
from kvnode._core.bytes cimport Slice
from kvnode._core.reply cimport Reply
from kvnode._core.tip cimport Collection
from kvnode._core.view cimport Head, View


cdef bint read_end(const Slice* word, bint* at_tail) noexcept
cdef bint read_positive(const Slice* arg, int64_t* out, Reply reply) except -1
cdef int pop_found(View view, Head* head, Collection* c, const Slice* key, bint at_tail,
                   int64_t n) except -1
