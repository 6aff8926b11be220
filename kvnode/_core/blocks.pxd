"""Sequences that grow and shrink by blocks of bounded size; see blocks.hpp."""

from libcpp cimport bool as cbool


cdef extern from "blocks.hpp" namespace "kvnode" nogil:
    cdef cppclass Blocks[T]:
        size_t size()
        cbool empty()
        T& operator[](size_t i)
        T& back()
        void push_back(const T& element) except +
        void pop_back()
        void resize(size_t size)
        void clear()
        void swap(Blocks[T]& other)
