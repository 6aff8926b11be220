"""Deadlines of keys and of fields: the words before them, and when one may replace another."""

from libc.stdint cimport int64_t, uint64_t
from kvnode._core.arguments cimport IF_GREATER, IF_LESS, IF_NEW, IF_THERE, is_word
from kvnode._core.bytes cimport Slice


cdef enum DeadlineForm:     # beside other options of a command, whose flags are below
    D_EX = 32
    D_PX = 64
    D_EXAT = 128
    D_PXAT = 256
    DEADLINES = 32 + 64 + 128 + 256
    IN_SECONDS = 32 + 128
    FROM_NOW = 32 + 64


cdef inline int deadline_form(const Slice* arg) noexcept nogil:
    """The DeadlineForm that an argument is; 0: none."""
    if is_word(arg, b"EX"):
        return D_EX
    if is_word(arg, b"PX"):
        return D_PX
    if is_word(arg, b"EXAT"):
        return D_EXAT
    return D_PXAT if is_word(arg, b"PXAT") else 0


cdef inline bint condition_holds(int flags, int64_t when, uint64_t deadline) noexcept nogil:
    """Whether the options allow the deadline `when` in place of `deadline` (0 = none).

    No deadline counts as one that never comes.
    """
    if flags & IF_NEW and deadline != 0:
        return False
    if flags & IF_THERE and deadline == 0:
        return False
    if flags & IF_GREATER and (deadline == 0 or when <= <int64_t>deadline):
        return False
    if flags & IF_LESS and deadline != 0 and when >= <int64_t>deadline:
        return False
    return True
