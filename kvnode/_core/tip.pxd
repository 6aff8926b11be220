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
from libcpp.unordered_map cimport unordered_map
from libcpp.vector cimport vector
from kvnode._core.bytes cimport Slice, get_be64
from kvnode._core.buffer cimport Buffer
from kvnode._core.deltas cimport Deltas, Meta
from kvnode._core.keys cimport K_CLAIM, K_ITEM, position_hash
from kvnode._core.order_tree cimport OrderTree


cdef extern from "deadlines.hpp" namespace "kvnode" nogil:
    cdef struct Deadline:
        uint64_t at_ms
        uint64_t generation
        uint64_t hash
    cdef cppclass Deadlines:
        void push(uint64_t at_ms, uint64_t generation, uint64_t hash)
        cbool due(uint64_t now_ms)
        Deadline top()
        void pop()
        size_t size()
        void begin_checkpoint()
        void end_checkpoint()


cdef extern from "key_filter.hpp" namespace "kvnode" nogil:
    cdef cppclass KeyFilter:
        KeyFilter(uint64_t keys, uint64_t bytes_max) except +
        void add(uint64_t hash)
        cbool may_contain(uint64_t hash)
        uint64_t bytes()


cdef enum ValueType:        # on disk: DO NOT CHANGE
    T_NONE = 0              # a tombstone
    T_STRING = 1            # head: the bytes of a string
    T_CHUNKED = 2           # head: a string in chunk records; data = id u64 BE, length u64 BE
    T_LIST = 3              # head: a collection; data = HeadData
    T_HASH = 4
    T_SET = 5
    T_ZSET = 6
    T_STREAM = 7
    T_FIELD = 14            # a field of a hash: data is its value; may have a deadline
    T_RAW = 15              # any other record that is not a head: data is its value


cdef enum VersionFlag:      # on disk: DO NOT CHANGE
    V_RAW_ENCODING = 1      # OBJECT ENCODING says raw although the value is short
    V_TEXT_ENCODING = 2     # it never says int: the result of INCRBYFLOAT
    V_LARGE_ENCODING = 4    # a collection that once was too large for Redis's compact encoding


cdef enum:
    DATABASES_MAX = 16
    SEGMENT_BUCKET_BITS_MIN = 3
    SEGMENT_BUCKET_BITS_MAX = 9     # past 512 buckets a segment splits in two
    ALLOCATION_OVERHEAD_BYTES = 16  # what malloc adds, by estimate
    COLLECTION_BYTES = 640          # memory of a collection without its elements, about
    FILTER_GROWTH = 4               # keys that a new filter expects, as a multiple of those in memory


cdef struct Version:
    Version* older
    uint64_t commit_ts
    uint64_t expire_at      # ms, 0 = never; heads only
    uint32_t slot           # index in the open batch's write list
    uint32_t length         # bytes of data
    uint8_t type
    uint8_t flags
    char data[0]


cdef enum EntryFlag:
    E_DIRTY = 1             # in the dirty list
    E_USED = 2              # second chance of the eviction clock
    E_WATCHED = 4           # some session watches it: never evicted
    E_FLUSHING = 8          # its newest durable version is on its way to LevelDB
    E_STORED = 16           # LevelDB may have a row of it
    E_AWAITED = 32          # some session is blocked on the key


cdef struct Entry:
    Entry* next             # chain of the bucket
    uint64_t hash
    Version* newest         # never NULL once the entry is in a table
    Table* table
    uint64_t row_at         # earliest expiry row filed for this key, ms, 0 = none; heads only
    uint32_t key_len
    uint32_t clean_since    # fetch epoch at which it became clean; dirty: its place in a list
    uint32_t access_s       # seconds, of the last access (OBJECT IDLETIME)
    uint16_t flags
    uint16_t frequency      # accesses, saturating (OBJECT FREQ)
    char key[0]


cdef struct Segment:
    uint32_t depth          # leading hash bits that all its entries share
    uint32_t bucket_bits
    uint64_t count
    Entry* buckets[0]


cdef struct Collection:
    # A list, hash, set or sorted set of which something is in memory.
    #
    # Invariant: `ready` means that the head is in memory and `meta` is the truth of the tip.
    # Invariant: deltas has every change after the oldest commit_ts that a pin, the next flush or
    # a rollback may read.
    uint64_t id
    uint8_t type            # ValueType; T_NONE: only sub-records or deltas are known
    bint ready
    bint stored             # LevelDB may have sub-records of it
    bint used               # since the eviction clock came by
    bint loading            # its pages are being read: nothing of it may leave
    uint32_t slot           # its place in the open batch's list of changes
    Entry* head             # the head that names it at the tip; NULL: not in memory
    Meta meta
    Deltas deltas
    Deltas stored_deltas    # rows of LevelDB that the next flush of the head makes superfluous
    uint64_t changed        # commit_ts of its newest change
    uint64_t died           # commit_ts of the entry that killed it; 0: alive
    uint64_t loaded         # elements below this hash are complete in memory; resident: all are
    int64_t low, high       # of a list: all items ever put, and not yet swept, lie in [low, high)
    Table* elements         # fields, members or items
    Table* claims           # of a list: NULL while it has none
    OrderTree[Entry]* order     # of a sorted set: members with a hash below `loaded`, or all
    Collection* next        # ring of the eviction clock
    Collection* previous


cdef struct HeadData:
    # What the version of a collection's head holds, in memory.
    uint64_t id
    uint64_t folded         # `base` holds the changes up to and including this commit_ts
    Meta base
    int64_t low, high


cdef struct Table:
    Collection* owner       # of sub-records; NULL otherwise
    uint8_t kind            # RecordKind of its records
    bint resident           # complete in memory: absent here is absent
    bint dead               # its generation was flushed and that is committed
    uint64_t id             # generation (heads), 0 otherwise
    int64_t keys            # heads only: DBSIZE at the tip
    int64_t logged_keys     # heads only: DBSIZE as last written into a batch
    uint64_t keys_changed   # commit_ts of the batch in which `keys` changed last
    uint64_t switched       # commit_ts of the batch that made it some database's current one
    int64_t volatile_keys   # heads with a deadline, at the tip
    int64_t logged_volatile # as last written into a batch
    uint64_t entries
    uint64_t bytes          # memory of its entries and versions
    KeyFilter* filter       # keys that LevelDB may hold; NULL: unknown, or none while resident
    uint32_t depth          # log2 of the directory's length
    Segment** directory
    uint64_t freed_hash     # dead: where the freeing of its entries goes on


cdef class Tip:
    cdef uint64_t k0, k1            # hash key
    cdef Table* databases[DATABASES_MAX]    # current generation of each database
    cdef vector[Table*] generations         # all tables of heads, dying ones included
    cdef Table* meta                # databases, generations, counters, trash
    cdef Table* chunks
    cdef unordered_map[uint64_t, Collection*] collections
    cdef Collection* clock_start        # first of their ring
    cdef Collection* clock_collection   # where the eviction clock stands in their ring
    cdef deque[Collection*] dying       # killed, in the order of `died`
    cdef Table* delta_rows              # deltas of collections whose head is not in memory
    cdef public bint has_delta_rows     # LevelDB may hold deltas
    cdef readonly uint64_t delta_rows_written
    cdef public uint64_t fresh_id       # collections from this id on were made in the replayed log
    cdef vector[Entry*] dirty       # written since the running checkpoint took its list; or NULL
    cdef vector[Entry*] flushing    # the running checkpoint's list
    cdef public bint sorting        # `flushing` is being sorted on another thread
    cdef size_t flush_at            # next of `flushing` to write
    cdef vector[Entry*] in_flight   # handed to LevelDB, write not yet reported
    cdef vector[uint64_t] pins      # commit_ts of pinned snapshots, ascending
    cdef Deadlines deadlines
    cdef public uint64_t bytes      # memory of all entries and versions
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
    cdef public uint64_t filter_bytes_max   # memory of a table's filter
    cdef public uint64_t unpins             # pins released so far
    cdef public uint64_t history_rows       # rows of older versions written for pins

    cdef uint64_t hash_key(self, const char* key, size_t n) noexcept nogil
    cdef Entry* find(self, Table* table, uint64_t hash, const char* key, size_t n) noexcept nogil
    cdef void prefetch(self, Table* table, const Slice* keys, int n, int step) noexcept nogil
    cdef Entry* insert(self, Table* table, uint64_t hash, const char* key, size_t n) except NULL
    cdef int remove(self, Entry* entry) except -1
    cdef Version* new_version(self, size_t length) except NULL
    cdef void free_version(self, Entry* entry, Version* version) noexcept
    cdef void adopt(self, Entry* entry, Version* version) noexcept
    cdef int mark_dirty(self, Entry* entry) except -1
    cdef void prune(self, Entry* entry) noexcept
    cdef Table* generation(self, uint64_t id) noexcept
    cdef Table* new_generation(self, uint64_t id, bint resident) except NULL
    cdef void forget_newest_generation(self) noexcept
    cdef void undirty(self, size_t first) noexcept
    cdef int put_committed(self, const char* key, size_t n, const char* value, size_t m,
                           bint present, uint64_t commit_ts) except -1
    cdef int side_effect(self, Entry* entry) except -1
    cdef Entry* locate(self, const char* key, size_t n, Table** table, Slice* rest,
                       uint64_t* hash) except? NULL
    cdef uint64_t record_count(self) noexcept
    cdef int settle(self, Entry* e) except -1
    cdef int file_deadline(self, Entry* entry, uint64_t expire_at) except -1
    cdef size_t flush_entry(self, Entry* e, Version* v, list rows) except? 0
    cdef int note_evicted(self, Table* table, uint64_t hash) except -1
    cdef size_t evict_bucket(self, Table* table, Segment* segment, size_t b, bint all) except? 0
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


cdef inline bint surely_absent(Table* table, uint64_t hash) noexcept nogil:
    """Whether a key without an entry in memory is absent from LevelDB too."""
    return table.resident or (table.filter != NULL and not table.filter.may_contain(hash))


cdef inline size_t version_bytes(size_t length) noexcept nogil:
    """Memory of a version with `length` bytes of data."""
    return 34 + length + ALLOCATION_OVERHEAD_BYTES


cdef inline size_t entry_bytes(size_t key_len) noexcept nogil:
    """Memory of an entry without its versions."""
    return sizeof(Entry) + key_len + ALLOCATION_OVERHEAD_BYTES


cdef inline size_t bucket_of(Segment* segment, uint64_t hash) noexcept nogil:
    return (hash << segment.depth) >> (64 - segment.bucket_bits)


cdef inline bint next_bucket(Segment* segment, uint64_t* at) noexcept nogil:
    """Move at[0] to the first hash of the following bucket; False past the last one."""
    cdef uint64_t width = <uint64_t>1 << (64 - segment.depth - segment.bucket_bits)
    cdef uint64_t following = (at[0] & ~(width - 1)) + width
    at[0] = following
    return following != 0


cdef inline uint64_t score_order(const Version* v) noexcept nogil:
    """The score of a sorted set's member, as a number that sorts like it."""
    return get_be64(v.data)


cdef inline bint is_collection(uint8_t type) noexcept nogil:
    """Whether a head of this type names a collection."""
    return T_LIST <= type <= T_ZSET


cdef inline HeadData* head_data(Version* v) noexcept nogil:
    """REQUIRES: is_collection(v.type)."""
    return <HeadData*>v.data


cdef inline uint64_t table_hash(Tip tip, Table* table, const char* key, size_t n) noexcept nogil:
    """The hash under which a table keeps a key."""
    if table.kind == K_ITEM or table.kind == K_CLAIM:
        return position_hash(key)
    return tip.hash_key(key, n)


cdef void free_table(Table* table) noexcept
cdef Table* new_table(uint8_t kind, uint64_t id, bint resident) except NULL
cdef int reorder(Collection* c, Entry* e, const Version* old, const Version* new) except -1
cdef Meta meta_at(Collection* c, uint64_t commit_ts) noexcept nogil
cdef int make_ready(Tip tip, Collection* c) except -1
cdef uint64_t oldest_reader(Tip tip) noexcept nogil
cdef int fold(Tip tip, Collection* c) except -1
cdef int attach(Tip tip, Entry* e) except -1
cdef int sweep_dying(Tip tip, size_t steps) except -1
cdef bint sweep_items(Tip tip, Collection* c, int steps, list rows) except -1
cdef uint8_t kind_of_parts(uint8_t type) noexcept nogil
cdef bint get_head_data(const char* p, size_t n, HeadData* d) noexcept nogil
cdef int read_delta(const char* value, size_t n, uint64_t* generation, Meta* sum,
                    Slice* name) except -1
cdef Table* claims_of(Tip tip, Collection* c) except NULL
cdef Version* version_at(Entry* entry, uint64_t commit_ts) noexcept nogil
cdef size_t put_record_key(Entry* entry, char* p) noexcept nogil
cdef size_t put_record_value(Version* v, char* p) noexcept nogil
cdef size_t record_value_bytes(Version* v) noexcept nogil
cdef size_t open_envelope(bytes envelope, uint64_t* commit_ts, uint64_t* row_at) except 0
