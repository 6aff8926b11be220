# cython: boundscheck=False, wraparound=False
"""The windows of score_windows.hpp for Python; a bound is eight sortable bytes and a name."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from kvnode._core.bytes cimport get_be64, put_be64

from kvnode.base.errors import InvariantError

cdef enum:
    ORDER_BYTES = 8

BOTTOM = b"\x00" * 8
TOP = b"\xff" * 8


cdef OrderBound bound_of(bytes bound) except *:
    """Read a bound. Raises ValueError."""
    cdef const char* p = PyBytes_AS_STRING(bound)
    if PyBytes_GET_SIZE(bound) < ORDER_BYTES:
        raise ValueError("a bound begins with eight bytes")
    return OrderBound(get_be64(p), p + ORDER_BYTES, PyBytes_GET_SIZE(bound) - ORDER_BYTES)


cdef bytes bound_bytes(const OrderBound& bound):
    """The bytes of a bound: they sort as bounds do."""
    cdef char order[ORDER_BYTES]
    put_be64(order, bound.order)
    return order[:ORDER_BYTES] + bound.name


cdef class Windows:
    """A set of windows [low, high)."""

    cdef ScoreWindows windows

    def __iter__(self):
        cdef size_t i
        return iter([(bound_bytes(self.windows.at(i).low), bound_bytes(self.windows.at(i).high))
                     for i in range(self.windows.size())])

    def add(self, bytes low not None, bytes high not None):
        """All members of [low, high) are in memory."""
        self.windows.add(bound_of(low), bound_of(high))

    def cut(self, bytes member not None):
        """The member at a bound leaves memory."""
        cdef OrderBound place = bound_of(member)
        self.windows.cut(place.order, place.name.data(), place.name.size())

    def touch(self, size_t number):
        """A window is used."""
        if number >= self.windows.size():
            raise IndexError(number)
        self.windows.touch(number)

    def holding(self, bytes bound not None):
        """The number of the window with low <= bound < high; -1: there is none."""
        return self.windows.holding(bound_of(bound))

    def ending(self, bytes bound not None):
        """The number of the window with low < bound <= high; -1: there is none."""
        return self.windows.ending(bound_of(bound))

    def is_whole(self):
        """Whether nothing is outside."""
        return bool(self.windows.is_whole())

    def check(self):
        """Raise InvariantError if the windows are broken."""
        cdef const char* broken = self.windows.check()
        if broken != NULL:
            raise InvariantError(broken.decode())
