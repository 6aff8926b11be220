"""Conditions under which a deadline may take the place of another: of keys and of fields."""

from libc.stdint cimport int64_t, uint64_t


cdef enum ExpireFlag:
    EXPIRE_NX = 1
    EXPIRE_XX = 2
    EXPIRE_GT = 4
    EXPIRE_LT = 8


cdef inline bint condition_holds(int flags, int64_t when, uint64_t deadline) noexcept nogil:
    """Whether the options allow the deadline `when` in place of `deadline` (0 = none).

    No deadline counts as one that never comes.
    """
    if flags & EXPIRE_NX and deadline != 0:
        return False
    if flags & EXPIRE_XX and deadline == 0:
        return False
    if flags & EXPIRE_GT and (deadline == 0 or when <= <int64_t>deadline):
        return False
    if flags & EXPIRE_LT and deadline != 0 and when >= <int64_t>deadline:
        return False
    return True
