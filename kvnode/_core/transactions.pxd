"""MULTI, EXEC, DISCARD, WATCH, UNWATCH, and the registry of watched keys."""

from libc.stdint cimport uint64_t
from kvnode._core.session cimport Session
from kvnode._core.tip cimport Entry, Table, Tip


cdef class Watches:
    cdef Tip tip
    cdef dict sessions      # (database, key) -> set of sessions

    cdef int add(self, Session session, int db, bytes key) except -1
    cdef Entry* entry_of(self, Table* table, bytes key, bint create) except? NULL
