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
from kvnode._core.bytes cimport Slice
from kvnode._core.buffer cimport Buffer


cdef enum ValueType:        # on disk: DO NOT CHANGE
    T_NONE = 0              # a tombstone
    T_STRING = 1            # head: the bytes of a string
    T_CHUNKED = 2           # head: a string in chunk records; data = id u64 BE, length u64 BE
    T_LIST = 3
    T_HASH = 4
    T_SET = 5
    T_ZSET = 6
    T_STREAM = 7
    T_RAW = 15              # any record that is not a head: data is its value


cdef enum VersionFlag:      # on disk: DO NOT CHANGE
    V_RAW_ENCODING = 1      # OBJECT ENCODING says raw although the value is short


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
    E_PINNED = 8            # in use by a job: never evicted


cdef struct Entry:
    Entry* next             # chain of the bucket
    uint64_t hash
    Version* newest         # never NULL once the entry is in a table
    Table* table
    uint64_t row_at         # earliest expiry row filed for this key, ms, 0 = none; heads only
    uint32_t key_len
    uint32_t clean_since    # fetch epoch at which it became clean
    uint32_t access_s       # seconds, of the last access (OBJECT IDLETIME)
    uint16_t flags
    uint16_t frequency      # OBJECT FREQ
    char key[0]


cdef struct Segment:
    uint32_t depth          # leading hash bits that all its entries share
    uint32_t bucket_bits
    uint64_t count
    Entry* buckets[0]


cdef struct Table:
    uint8_t kind            # RecordKind of its records
    bint resident           # complete in memory: absent here is absent
    bint dead               # its generation was flushed and that is committed
    uint64_t id             # generation (heads), 0 otherwise
    int64_t keys            # heads only: DBSIZE at the tip
    int64_t logged_keys     # heads only: DBSIZE as last written into a batch
    uint64_t entries
    uint64_t bytes          # memory of its entries and versions
    uint32_t depth          # log2 of the directory's length
    Segment** directory
    uint64_t dirty_batch    # commit_ts of the batch in which `keys` changed last


cdef class Tip:
    cdef uint64_t k0, k1            # hash key
    cdef Table* databases[16]       # current generation of each database
    cdef Table meta                 # databases, generations, counters, trash
    cdef Table chunks
    cdef Entry** dirty              # dirty list, a growing array
    cdef size_t dirty_count, dirty_capacity
    cdef public uint64_t bytes      # memory of all entries and versions
    cdef public uint64_t dirty_bytes
    cdef public uint64_t watermark  # commit_ts of the newest committed batch
    cdef public uint64_t durable    # commit_ts of the newest batch committed and synced here
    cdef uint32_t fetch_epoch       # grows when a fetch begins

    cdef Entry* find(self, Table* table, uint64_t hash, const char* key, size_t n) noexcept nogil
