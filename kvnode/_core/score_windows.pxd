"""Which parts of a sorted set's order are complete in memory; score_windows.hpp states its rules."""

from libc.stdint cimport uint64_t
from libcpp cimport bool as cbool
from libcpp.string cimport string


cdef extern from "score_windows.hpp" namespace "kvnode" nogil:
    cdef cppclass OrderBound:
        uint64_t order
        string name
        OrderBound()
        OrderBound(uint64_t order)
        OrderBound(uint64_t order, const char* data, size_t n)
        cbool is_bottom()
        cbool is_top()
        OrderBound next()
        int compare(const OrderBound& other)

    OrderBound order_bottom "kvnode::OrderBound::bottom"()
    OrderBound order_top "kvnode::OrderBound::top"()

    cdef cppclass ScoreWindow:
        OrderBound low
        OrderBound high

    cdef cppclass ScoreWindows:
        ScoreWindows()
        uint64_t searched
        size_t size()
        const ScoreWindow& at(size_t i)
        cbool is_whole()
        int holding(const OrderBound& bound)
        int ending(const OrderBound& bound)
        void touch(size_t i)
        void add(const OrderBound& low, const OrderBound& high) except +
        void cut(uint64_t order, const char* data, size_t n) except +
        void clear()
        const char* check()


cdef OrderBound bound_of(bytes bound) except *
cdef bytes bound_bytes(const OrderBound& bound)
