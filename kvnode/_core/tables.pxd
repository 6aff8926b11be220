"""Tables of entries: extendible hashing by the top bits of the hash, and chains of versions."""

from libc.stdint cimport uint8_t, uint64_t
from libcpp.vector cimport vector
from kvnode._core.entries cimport Entry, Segment, Table, Version


cdef Table* new_table(uint8_t kind, uint64_t id, bint resident) except NULL
cdef void free_table(Table* table) noexcept nogil
cdef int grow_segment(Table* table, uint64_t hash) except -1
cdef int shrink_segment(Table* table, uint64_t hash) except -1
cdef void sort_by_hash(vector[Entry*]* entries, size_t first) noexcept
cdef Version* make_version(size_t length) except NULL
cdef Version* version_at(Entry* entry, uint64_t commit_ts) noexcept nogil
cdef size_t chain_bytes(Entry* entry) noexcept nogil
