"""What memory is made of: versions, entries, tables, collections. tip.pxd says how they live.

Only shapes, and what follows from them alone; so every part of the tip may know them.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libcpp cimport bool as cbool
from kvnode._core.bytes cimport get_be64
from kvnode._core.claim_window cimport ClaimWindow
from kvnode._core.deltas cimport Deltas, Meta
from kvnode._core.order_tree cimport OrderTree
from kvnode._core.score_windows cimport ScoreWindows


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
    V_WIDER_ENCODING = 2    # a set that had a member which is no integer, a hash that had deadlines
    V_LARGE_ENCODING = 4    # a hash, set or sorted set that once was too large for the compact one


cdef enum:
    DATABASES_MAX = 16
    SEGMENT_BUCKET_BITS_MIN = 3
    SEGMENT_BUCKET_BITS_MAX = 9     # past 512 buckets a segment splits in two
    SEGMENT_SPARSE = 4              # with less than 1/4 of its buckets' entries it shrinks
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
    E_GONE = 32             # element of a collection: its newest version is a tombstone
    E_BLIND = 64            # a member written without a look at LevelDB, which may have another score


cdef struct Entry:
    Entry* next             # chain of the bucket
    uint64_t hash
    Version* newest         # never NULL once the entry is in a table
    Table* table
    uint64_t row_at         # of a head or field: its earliest expiry row, ms; of a sorted set's
                            # member: the score under which LevelDB has it. 0: there is none
    uint32_t key_len
    uint32_t clean_since    # fetch epoch at which it became clean; dirty: its place in a list
    uint32_t access_s       # seconds, of the last access (OBJECT IDLETIME)
    uint16_t flags
    uint16_t frequency      # accesses, saturating (OBJECT FREQ)
    char key[0]


cdef struct Segment:
    uint32_t depth          # leading hash bits that all its entries share
    uint32_t bucket_bits
    uint32_t count
    uint32_t live           # entries without E_GONE
    Entry* buckets[0]


cdef struct Collection:
    # A list, hash, set or sorted set of which something is in memory.
    #
    # Invariant: `ready` means that the head is in memory and `meta` is the truth of the tip.
    # Invariant: deltas has every change after the oldest commit_ts that a pin, the next flush or
    # a rollback may read.
    uint64_t id
    Collection* chained     # in the index by id
    uint8_t type            # ValueType; T_NONE: only sub-records or deltas are known
    uint8_t unseen          # LevelDB may have items outside of [low, high), and folded deltas
    bint ready
    bint stored             # LevelDB may have sub-records of it
    bint used               # since the eviction clock came by
    bint loading            # its pages are being read: nothing of it may leave
    uint32_t slot           # place of its last change in the open batch's, see tip.changes
    Entry* head             # the head that names it at the tip; NULL: not in memory
    char* place             # of a hash that is written ahead of its head: expiry_value() of its
    size_t place_bytes      # fields; NULL once the head is there
    Meta meta
    Deltas deltas
    Deltas stored_deltas    # rows of LevelDB that the next flush of the head makes superfluous
    uint64_t changed        # commit_ts of its newest change
    uint64_t died           # commit_ts of the entry that killed it; 0: alive
    uint64_t loaded         # elements below this hash are complete in memory; resident: all are
    int64_t low, high       # of a list: all items ever put, and not yet swept, lie in [low, high)
    Table* elements         # fields, members or items
    Table* claims           # of a list: NULL while it has none
    ClaimWindow* window     # over the claims, as of window_version; NULL: never asked for
    uint64_t claims_version # grows with each change of the claims
    uint64_t window_version
    size_t index_bytes      # memory of `order`, `window` and the filter, as counted by the tip
    OrderTree[Entry]* order     # of a sorted set: all members that are in memory
    ScoreWindows* windows   # where these are complete, if not everywhere; NULL: nowhere
    Collection* next        # ring of the eviction clock
    Collection* previous


cdef struct Change:
    # What the open batch did to the metadata of a collection, and no delta says yet.
    Collection* collection
    Meta sum
    uint64_t changed_before     # what a rollback gives back
    uint32_t slot_before


cdef enum:
    HEAD_DATA_AT = 6        # in a version's data: there numbers are aligned
    HEAD_DATA_BYTES = 6 + 64


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
    uint64_t deepest        # segments that are as deep
    Segment** directory
    uint64_t freed_hash     # dead: where the freeing of its entries goes on

cdef inline bint surely_absent(Table* table, uint64_t hash) noexcept nogil:
    """Whether a key without an entry in memory is absent from LevelDB too."""
    return table.resident or (table.filter != NULL and not table.filter.may_contain(hash))


cdef inline size_t version_bytes(size_t length) noexcept nogil:
    """Memory of a version with `length` bytes of data."""
    return 34 + length + ALLOCATION_OVERHEAD_BYTES


cdef inline size_t entry_bytes(size_t key_len) noexcept nogil:
    """Memory of an entry without its versions."""
    return sizeof(Entry) + key_len + ALLOCATION_OVERHEAD_BYTES


cdef inline Segment* segment_of(Table* table, uint64_t hash) noexcept nogil:
    return table.directory[0 if table.depth == 0 else hash >> (64 - table.depth)]


cdef inline uint64_t segment_after(Segment* segment, uint64_t hash) noexcept nogil:
    """Return the first hash behind the segment of `hash`; 0 behind the last one."""
    return 0 if segment.depth == 0 else ((hash >> (64 - segment.depth)) + 1) << (64 - segment.depth)


cdef inline bint is_sparse(uint32_t bucket_bits, uint64_t count) noexcept nogil:
    """Whether `count` entries take fewer buckets than these. Growth comes at 4 times as many."""
    return count * SEGMENT_SPARSE <= <uint64_t>1 << bucket_bits


cdef inline bint is_dying(Table* table) noexcept nogil:
    """Whether a table is freed as a whole before long."""
    return table.dead or (table.owner != NULL and table.owner.died != 0)


cdef inline void note_presence(Entry* e) noexcept nogil:
    """An element of a collection got its newest version."""
    cdef bint gone = e.newest.type == T_NONE
    if gone != (e.flags & E_GONE != 0):
        e.flags ^= E_GONE
        segment_of(e.table, e.hash).live += -1 if gone else 1


cdef inline size_t bucket_of(Segment* segment, uint64_t hash) noexcept nogil:
    return (hash << segment.depth) >> (64 - segment.bucket_bits)


cdef inline bint next_bucket(Segment* segment, uint64_t* at) noexcept nogil:
    """Move at[0] to the first hash of the following bucket; False past the last one."""
    cdef uint64_t width = <uint64_t>1 << (64 - segment.depth - segment.bucket_bits)
    cdef uint64_t following = (at[0] & ~(width - 1)) + width
    at[0] = following
    return following != 0


cdef enum:
    SCORE_BYTES = 8         # data of a sorted set's member; a set's has none


cdef inline uint64_t score_order(const Version* v) noexcept nogil:
    """The score of a sorted set's member, as a number that sorts like it."""
    return get_be64(v.data)


cdef inline bint is_collection(uint8_t type) noexcept nogil:
    """Whether a head of this type names a collection."""
    return T_LIST <= type <= T_ZSET


cdef inline HeadData* head_data(Version* v) noexcept nogil:
    """REQUIRES: is_collection(v.type)."""
    return <HeadData*>(v.data + HEAD_DATA_AT)
