# cython: boundscheck=False, wraparound=False
"""Reading the queue of a MULTI."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy


cdef size_t load_queued(const char* queue, size_t at, Queued* command) except 0:
    """Read the command at `at`; return where the next one is. free_queued() it afterwards."""
    cdef uint32_t count
    cdef uint64_t length
    cdef const char* p = queue + at
    cdef uint32_t i
    memcpy(&count, p, 4)
    p += 4
    command.args.v = command.kept
    if count > ARGUMENTS_KEPT:
        command.args.v = <Slice*>malloc(count * sizeof(Slice))
        if command.args.v == NULL:
            raise MemoryError("queued command")
    command.args.n = <int>count
    for i in range(count):
        memcpy(&length, p, 8)
        p += 8
        command.args.v[i].data = p
        command.args.v[i].len = length
        p += length
    return p - queue


cdef void free_queued(Queued* command) noexcept nogil:
    if command.args.v != command.kept:
        free(command.args.v)
