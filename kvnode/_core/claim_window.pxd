"""The dead positions of a list in memory; claim_window.hpp states its rules."""

from libc.stdint cimport int64_t


cdef extern from "claim_window.hpp" namespace "kvnode" nogil:
    cdef struct Run:
        int64_t start
        int64_t count

    cdef cppclass ClaimWindow:
        size_t size()
        Run at(size_t i)
        size_t bytes()
        void clear()
        void add(int64_t start, int64_t count) except +
        void sort()
        size_t runs_upto(int64_t position)
        int64_t position_of(int64_t head, int64_t index, size_t* run)
        int64_t index_of(int64_t head, int64_t position)
        void drop_front()
        void drop_back()
