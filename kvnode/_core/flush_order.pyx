# cython: boundscheck=False, wraparound=False
"""The order in which a checkpoint writes: its list of entries, sorted by their keys in LevelDB."""

from libc.stdint cimport uint32_t, uint64_t
from libcpp.vector cimport vector
from kvnode._core.blocks cimport Blocks
from kvnode._core.bytes cimport ASSERT, get_be64
from kvnode._core.keys cimport HEAD_PREFIX_BYTES, record_prefix
from kvnode._core.tip cimport Entry, Tip

cdef extern from "flush_order.hpp" namespace "kvnode" nogil:
    cdef struct FlushKey:
        uint64_t table
        uint64_t hash
        void* entry
    void sort_for_flush(vector[FlushKey]& keys) except +

cdef enum:
    FREED_AT_ONCE = 10000       # entries of a list; a longer one is freed without the interpreter


def sort_flush(Tip tip not None):
    """Order the running checkpoint's list by key; on any thread, before its first slice.

    Nothing else changes the list then, nor what is read here of the entries in it: tip.sorting says
    so to who would free some of them.
    """
    cdef vector[FlushKey] keys
    cdef Blocks[Entry*] ordered
    cdef FlushKey key
    cdef size_t i
    ASSERT(tip.flush_at == 0)
    with nogil:
        keys.reserve(tip.flushing.size())
        for i in range(tip.flushing.size()):
            if tip.flushing[i] != NULL:
                flush_key(tip.flushing[i], &key)
                keys.push_back(key)
        sort_for_flush(keys)
        for i in range(keys.size()):
            ordered.push_back(<Entry*>keys[i].entry)
            ordered[i].clean_since = <uint32_t>i
        keys.clear()
        keys.shrink_to_fit()    # it takes its time, too
    tip.flushing.swap(ordered)
    if ordered.size() > FREED_AT_ONCE:
        with nogil:
            ordered.clear()


cdef void flush_key(Entry* entry, FlushKey* key) noexcept nogil:
    """Say where the record key of `entry` stands among all of them, as far as 16 bytes tell."""
    key.entry = entry
    key.table = (<uint64_t>entry.table.kind << 56) | entry.table.id
    key.hash = 0 if entry.key_len < 8 else get_be64(entry.key)
    if entry.key_len < 8 or record_prefix(entry.table.kind) == HEAD_PREFIX_BYTES:
        key.hash = entry.hash
