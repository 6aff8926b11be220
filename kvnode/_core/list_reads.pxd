"""What commands in a transaction learn of a list, beside the items that they look at: one table."""

from libc.stdint cimport int64_t


cdef enum ListRead:
    LIST_HEAD = 1           # where its first element is: indexes were counted from there
    LIST_TAIL = 2           # the same at the other end
    LIST_LENGTH = 4
    LIST_ALL = 8            # everything

cdef int list_reads(bytes name, list words, int i, int64_t length) except -1
