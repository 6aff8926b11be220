"""The ordered set of (order, entry) with ranks; order_tree.hpp states its rules.

Entry: a struct with `key_len` and, at its end, `key`. For the bytes behind a prefix of the key, or
an entry of another shape, name an instance of the template in verbatim C++ and declare it alike.
"""

from libc.stdint cimport uint64_t
from libcpp cimport bool as cbool


cdef extern from "order_tree.hpp" namespace "kvnode" nogil:
    cdef cppclass OrderTree[Entry]:
        cppclass Iterator:
            # Valid until the next insert, append, erase, free_some or clear.
            Iterator()
            cbool valid()
            uint64_t order()
            Entry* entry()
            void next()
            void previous()
        OrderTree()
        size_t size()
        size_t bytes()
        Iterator first()
        Iterator last()
        void insert(uint64_t order, Entry* entry) except +
        void append(uint64_t order, Entry* entry) except +
        cbool erase(uint64_t order, const char* data, size_t n)
        size_t lower_bound(uint64_t order, const char* data, size_t n)
        cbool rank_of(uint64_t order, const char* data, size_t n, size_t* rank)
        Iterator at(size_t rank)
        cbool free_some(size_t nodes)
        void clear()
        const char* check()
        cbool damage(int number)
