"""A growable byte buffer: append at the end, consume from the front. Owned by one object."""

from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove
from kvnode._core.bytes cimport put_be64

cdef enum:
    BUFFER_BYTES_MIN = 512


cdef struct Buffer:
    char* data      # malloc'd, NULL while capacity is 0
    size_t len      # bytes in use
    size_t capacity


cdef inline int buffer_reserve(Buffer* b, size_t extra) except -1 nogil:
    """Make room for `extra` more bytes. Raises MemoryError."""
    cdef size_t need = b.len + extra
    cdef size_t capacity
    cdef char* data
    if need <= b.capacity:
        return 0
    capacity = b.capacity * 2
    if capacity < BUFFER_BYTES_MIN:
        capacity = BUFFER_BYTES_MIN
    if capacity < need:
        capacity = need
    data = <char*>realloc(b.data, capacity)
    if data == NULL:
        with gil:
            raise MemoryError(f"buffer of {capacity} bytes")
    b.data = data
    b.capacity = capacity
    return 0


cdef inline int buffer_append(Buffer* b, const char* data, size_t n) except -1 nogil:
    if b.len + n > b.capacity:
        buffer_reserve(b, n)
    if n:
        memcpy(b.data + b.len, data, n)
    b.len += n
    return 0


cdef inline int buffer_append_byte(Buffer* b, char c) except -1 nogil:
    if b.len == b.capacity:
        buffer_reserve(b, 1)
    b.data[b.len] = c
    b.len += 1
    return 0


cdef inline void buffer_consume(Buffer* b, size_t n) noexcept nogil:
    """Drop `n` bytes from the front (moves the rest)."""
    if n >= b.len:
        b.len = 0
    elif n:
        memmove(b.data, b.data + n, b.len - n)
        b.len -= n


cdef inline void buffer_free(Buffer* b) noexcept nogil:
    free(b.data)
    b.data = NULL
    b.len = 0
    b.capacity = 0
