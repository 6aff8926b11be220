"""The tip: multi-version memory over LevelDB.

A table maps the hash of a record's key to its entry; an entry carries a chain of versions, newest
first. Tables are ordered by the top bits of the hash, the order of the rows in LevelDB, so that a
range of hashes can be merged from both.

Invariants
  1. Versions of an entry have strictly decreasing commit_ts down the chain, except inside the open
     batch, where a savepoint may keep an earlier version of the same batch under the newest.
  2. A version goes only when a newer one is durable and no pin can see it (I4).
  3. An entry that is not clean is in the dirty list of the tip exactly once.
  4. A clean entry may be dropped at any time between passes, unless a fetch that is under way began
     before it became clean.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.deque cimport deque
from libcpp.vector cimport vector
from kvnode._core.blocks cimport Blocks
from kvnode._core.bytes cimport Slice, get_be64
from kvnode._core.buffer cimport Buffer
from kvnode._core.deltas cimport Deltas, Meta
from kvnode._core.entries cimport (
    ALLOCATION_OVERHEAD_BYTES, COLLECTION_BYTES, Change, Collection, DATABASES_MAX, E_BLIND, E_DIRTY,
    E_FLUSHING, E_GONE, E_STORED, E_USED, E_WATCHED, Entry, EntryFlag, FILTER_GROWTH,
    HEAD_DATA_BYTES, HeadData, KeyFilter, SCORE_BYTES,
    SEGMENT_BUCKET_BITS_MAX, SEGMENT_BUCKET_BITS_MIN, Segment, T_CHUNKED, T_FIELD, T_HASH, T_LIST,
    T_NONE, T_RAW, T_SET, T_STREAM, T_STRING, T_ZSET, Table, V_LARGE_ENCODING, V_RAW_ENCODING,
    V_TEXT_ENCODING, V_WIDER_ENCODING, ValueType, Version, VersionFlag, bucket_of, entry_bytes, head_data,
    is_collection, is_dying, is_sparse, next_bucket, note_presence, score_order, segment_after,
    segment_of, surely_absent, version_bytes)
from kvnode._core.keys cimport K_CLAIM, K_ITEM, position_hash
from kvnode._core.records cimport (
    decode_value, envelope_of, expiry_row, expiry_value, get_head_data, history_key, history_value,
    open_envelope, owner_row, put_record_key, put_record_value, read_delta, record_value_bytes)
from kvnode._core.score_windows cimport ScoreWindows
from kvnode._core.tables cimport (
    chain_bytes, free_table, grow_segment, make_version, new_table, shrink_segment, sort_by_hash,
    version_at)


cdef extern from "deadlines.hpp" namespace "kvnode" nogil:
    cdef struct Deadline:
        uint64_t at_ms
        uint64_t owner          # generation of a head, collection id of a field
        uint64_t hash
    cdef cppclass Deadlines:
        void push(uint64_t at_ms, uint64_t owner, uint64_t hash)
        cbool due(uint64_t now_ms)
        Deadline top()
        void pop()
        size_t size()
        void begin_checkpoint()
        void end_checkpoint()


cdef extern from "collections_by_id.hpp" namespace "kvnode" nogil:
    cdef cppclass CollectionsById[T]:
        size_t size()
        cbool empty()
        T* find(uint64_t id)
        void insert(T* c) except +
        void erase(T* c)


cdef enum:
    PREFETCH_KEYS_MAX = 32      # of one prefetch


cdef class Tip:
    cdef uint64_t k0, k1            # hash key
    cdef Table* databases[DATABASES_MAX]    # current generation of each database
    cdef vector[Table*] generations         # all tables of heads, dying ones included
    cdef Table* meta                # databases, generations, counters, trash
    cdef Table* chunks
    cdef CollectionsById[Collection] collections
    cdef Collection* clock_start        # first of their ring
    cdef Collection* clock_collection   # where the eviction clock stands in their ring
    cdef deque[Collection*] dying       # killed, in the order of `died`
    cdef Table* delta_rows              # deltas of collections whose head is not in memory
    cdef public bint has_delta_rows     # LevelDB may hold deltas
    cdef readonly uint64_t delta_rows_written
    cdef public uint64_t fresh_id       # first id that no entry applied so far has brought
    cdef uint64_t fresh_from            # the same while an entry is applied; else none is fresh
    cdef uint64_t next_fresh            # what the entry that is applied says of ids
    cdef public uint64_t mixed_until    # LevelDB may show effects of entries up to this index, which
                                        # are not applied yet; 0: of none
    cdef vector[uint64_t] stored_generations    # those that had heads in LevelDB at the start
    cdef vector[Change] changes     # of the open batch: collections that it changed, see View
    cdef Blocks[Entry*] dirty       # written since the running checkpoint took its list; or NULL
    cdef Blocks[Entry*] flushing    # the running checkpoint's list
    cdef public bint sorting        # `flushing` is being sorted on another thread
    cdef size_t flush_at            # next of `flushing` to write
    cdef vector[Entry*] in_flight   # handed to LevelDB, write not yet reported
    cdef vector[uint64_t] pins      # commit_ts of pinned snapshots, ascending
    cdef Deadlines deadlines
    cdef public uint64_t bytes      # memory of all entries and versions
    cdef readonly uint64_t work     # entries that came, went or were walked over: what passes cost
    cdef public uint64_t dirty_bytes
    cdef readonly uint64_t flushed_bytes    # that ceased to be dirty because a slice took them
    cdef public uint64_t watermark  # commit_ts of the newest committed batch
    cdef public uint64_t durable    # commit_ts of the newest batch committed and synced here
    cdef uint32_t fetch_epoch       # grows when a fetch begins
    cdef uint32_t fetch_oldest      # epoch of the oldest fetch under way
    cdef object fetches             # epochs of fetches under way
    cdef size_t clock_table         # where the eviction clock stands
    cdef uint64_t clock_hash
    cdef public uint64_t evicted_records
    cdef readonly uint64_t cache_bytes      # what the last evict() was to come down to; 0: none was
    cdef public int64_t page_members        # by score, read at once from an end, at least
    cdef public int64_t reach_members       # so many are brought into memory for one command
    cdef list blind                 # record keys of the last slice's E_BLIND members
    cdef public uint64_t filter_bytes_max   # memory of a table's filter
    cdef public uint64_t unpins             # pins released so far
    cdef public uint64_t history_rows       # rows of older versions written for pins

    cdef uint64_t hash_key(self, const char* key, size_t n) noexcept nogil
    cdef Entry* find(self, Table* table, uint64_t hash, const char* key, size_t n) noexcept nogil
    cdef void prefetch(self, Table* table, const Slice* keys, int n, int step) noexcept nogil
    cdef void prefetch_hashes(self, Table* table, const uint64_t* hashes, int n) noexcept nogil
    cdef Entry* insert(self, Table* table, uint64_t hash, const char* key, size_t n) except NULL
    cdef int remove(self, Entry* entry) except -1
    cdef int take_out(self, Entry* entry) except -1
    cdef bint forget_gone(self, Entry* entry) except -1
    cdef Version* new_version(self, size_t length) except NULL
    cdef void free_version(self, Entry* entry, Version* version) noexcept
    cdef void adopt(self, Entry* entry, Version* version) noexcept
    cdef int mark_dirty(self, Entry* entry) except -1
    cdef void prune(self, Entry* entry) noexcept
    cdef Table* generation(self, uint64_t id) noexcept
    cdef Table* new_generation(self, uint64_t id, bint resident) except NULL
    cdef Table* first_seen(self, uint64_t id) except NULL
    cdef bint is_current(self, Table* table) noexcept
    cdef void forget_newest_generation(self) noexcept
    cdef void undirty(self, size_t first) noexcept
    cdef int apply_entry(self, const char* p, size_t n, uint64_t commit_ts) except -1
    cdef int put_committed(self, const char* key, size_t n, const char* value, size_t m,
                           bint present, uint64_t commit_ts) except -1
    cdef int side_effect(self, Entry* entry) except -1
    cdef Entry* locate(self, const char* key, size_t n, Table** table, Slice* rest,
                       uint64_t* hash) except? NULL
    cdef uint64_t record_count(self) noexcept
    cdef int settle(self, Entry* e) except -1
    cdef int file_deadline(self, Entry* entry, uint64_t expire_at) except -1
    cdef size_t flush_entry(self, Entry* e, Version* v, list rows) except? 0
    cdef int put_raw(self, Table* table, const char* key, size_t n, const char* value, size_t m,
                     uint64_t commit_ts) except -1
    cdef int forget_dirty(self, Entry* entry) except -1
    cdef bint is_held(self, Entry* entry) noexcept
    cdef int free_entry(self, Entry* entry) except -1
    cdef int put_delta(self, const char* key, size_t n, const char* value, size_t m,
                       uint64_t commit_ts) except -1
    cdef size_t evict_collections(self, uint64_t target_bytes, size_t* steps) except? 0
    cdef Collection* collection(self, uint64_t id) noexcept
    cdef Collection* new_collection(self, uint64_t id, uint8_t type, bint resident) except NULL
    cdef int free_collection(self, Collection* c) except -1
    cdef Entry* scan_next(self, Table* table, uint64_t from_hash, vector[Entry*]* out,
                          size_t limit, uint64_t* next_hash, bint* done) except? NULL

cdef inline uint64_t table_hash(Tip tip, Table* table, const char* key, size_t n) noexcept nogil:
    """The hash under which a table keeps a key."""
    if table.kind == K_ITEM or table.kind == K_CLAIM:
        return position_hash(key)
    return tip.hash_key(key, n)


cdef ScoreWindows* windows_of(Collection* c) except NULL
cdef int reorder(Tip tip, Collection* c, Entry* e, const Version* old, const Version* new) except -1
cdef int count_indexes(Tip tip, Collection* c) noexcept nogil
cdef Meta meta_at(Tip tip, Collection* c, uint64_t commit_ts) noexcept nogil
cdef int make_ready(Tip tip, Collection* c) except -1
cdef uint64_t oldest_reader(Tip tip) noexcept nogil
cdef int fold(Tip tip, Collection* c) except -1
cdef int attach(Tip tip, Entry* e) except -1
cdef int sweep_dying(Tip tip, size_t steps) except -1
cdef bint sweep_items(Tip tip, Collection* c, int steps, list rows) except -1
cdef uint8_t kind_of_parts(uint8_t type) noexcept nogil
cdef Table* claims_of(Tip tip, Collection* c) except NULL
