"""The commands that a MULTI has queued, as bytes: see Session.queue for their form."""

from kvnode._core.bytes cimport Slice
from kvnode._core.parser cimport Args


cdef enum:
    ARGUMENTS_KEPT = 64         # slices of a queued command that need no allocation


cdef struct Queued:
    # One of them. Its slices lie in the queue.
    Args args
    Slice kept[ARGUMENTS_KEPT]


cdef size_t load_queued(const char* queue, size_t at, Queued* command) except 0
cdef void free_queued(Queued* command) noexcept nogil
