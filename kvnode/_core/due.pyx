# cython: boundscheck=False, wraparound=False
"""Deletes what is past its deadline, on the leader."""

from libc.stdint cimport uint64_t
from kvnode._core.collection cimport expire_field_of
from kvnode._core.tip cimport Table
from kvnode._core.view cimport Head, View


cdef int expire_due(View view, records) except -1:
    """Delete what of due_records() is past its deadline; return how many were not due, or gone."""
    cdef Head head
    cdef Table* table
    cdef bytes key
    cdef int stale = 0
    cdef uint64_t before
    for owner, key in records:
        table = view.tip.generation(owner)
        if not view.tip.is_current(table):
            stale += not expire_field_of(view, owner, key)
            continue
        before = view.expired
        view.lookup_in(table, key, len(key), 2, &head)
        if view.expired == before:
            stale += 1
            if head.version != NULL and head.version.expire_at:     # due by a later clock
                view.tip.deadlines.push(head.version.expire_at, table.id, head.hash)
    view.clear_missing()
    view.finish_command()
    return stale
