"""The view: what a handler sees of the data. Reads the tip, writes into the open batch.

Handlers look up every key they need before they write, so a command that misses a record leaves
nothing behind. Only under a savepoint (EXEC, scripts) may a miss follow a write: rollback() undoes.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libcpp.vector cimport vector
from kvnode._core.blocks cimport Blocks
from kvnode._core.breath cimport Breath
from kvnode._core.buffer cimport Buffer
from kvnode._core.bytes cimport Slice
from kvnode._core.session cimport Session
from kvnode._core.deltas cimport Meta
from kvnode._core.tip cimport Change, Collection, Entry, Table, Tip, Version


cdef enum:
    STEPS_MAX = 50000   # elements that a command or EXEC looks at on the sequencer: about 5 ms
    RECORD_OVERHEAD_BYTES = 24      # of a record in an entry, about
    STEPS_PER_WRITE = 4 # that one counts for which it writes: 12,500 take about 10 ms


cdef enum Lookup:
    ABSENT = 0
    FOUND = 1
    MISS = 2            # on disk perhaps: the handler returns PARK


cdef enum LookupFlag:
    L_READ = 1          # counts as keyspace hit or miss
    L_NO_TOUCH = 2      # leaves access time and frequency alone


cdef enum EventClass:   # of keyspace notifications, as in notify-keyspace-events
    N_GENERIC = 1       # g
    N_STRING = 2        # $
    N_EXPIRED = 4       # x
    N_NEW = 8           # n
    N_LIST = 16         # l
    N_SET = 32          # s
    N_HASH = 64         # h
    N_ZSET = 128        # z
    N_MESSAGE = 1 << 16 # none of them: a message of PUBLISH, which takes effect as they do


cdef struct Head:
    Entry* entry        # NULL: no entry in memory (and the key is absent)
    Version* version    # NULL: the key is absent
    Table* table
    Slice key
    uint64_t hash


cdef struct Write:
    Entry* entry
    Version* version


cdef struct Staged:
    # An argument whose bytes were written as chunks before its command runs.
    const char* data
    uint64_t length
    uint64_t value_id


cdef struct Savepoint:
    size_t writes
    size_t touched
    size_t signalled
    size_t events
    size_t floor
    size_t dirty            # length of the tip's dirty list
    size_t generations
    size_t changes
    size_t changes_floor
    size_t created
    size_t killed
    uint64_t next_id
    uint64_t batch_bytes


cdef class View:
    cdef readonly Tip tip
    cdef public object node             # the server's node, for Python handlers; None in tests
    cdef readonly Session session       # whose command runs; None for internal work
    cdef public uint64_t now_ms         # of this batch
    cdef readonly uint64_t commit_ts    # of this batch
    cdef uint64_t observed              # newest commit_ts seen or written by the running session
    cdef bint wrote                     # it wrote
    cdef Table* table                   # current database of the session
    cdef Blocks[Write] writes           # of the open batch, in order
    cdef size_t savepoint_floor         # writes below it must survive a rollback
    cdef size_t changes_floor           # tip.changes below it must survive a rollback
    cdef vector[Collection*] created    # in the open batch
    cdef vector[Collection*] killed     # in the open batch
    cdef vector[Entry*] touched         # watched entries that the running command changed
    cdef vector[Entry*] signalled       # entries to which it gave a value that sessions may wait for
    cdef uint32_t awaited_types         # 1 << ValueType of each that sessions wait for
    cdef readonly uint64_t batch_bytes  # about the payload's size
    cdef uint64_t next_id               # counter of generations, value ids, collection ids
    cdef uint64_t logged_next_id
    cdef vector[Buffer] missing         # record keys that the running command lacks
    cdef readonly list missing_ranges   # (generation, from_hash, rows): the same for SCAN
    cdef readonly set missing_loads     # ids of collections that the running command needs whole
    cdef readonly set missing_spans     # ScoreSpans, ItemSpans of which it needs all
    cdef public dict ranges             # fetched ranges, valid in this pass
    cdef public object watches          # the Watches of the node
    cdef public object waiters          # its Waiters
    cdef readonly object dispatch       # the Dispatch of the node, for EXEC and scripts
    cdef public object scripts          # the Scripts of the node, or None
    cdef public object requests         # its Requests; None until one has an id in this leadership
    cdef public object workspace        # whose view this is, or None
    cdef public object on_event         # on_event(class, event, key, db) or None: nobody listens
    cdef public object on_message       # on_message(N_MESSAGE, channel, message, kind): see pubsub
    cdef public object pubsub           # the PubSub of the node, or None
    cdef public uint64_t hits, misses, expired, expired_fields
    cdef vector[Staged] staged          # arguments of the running command
    cdef public dict staging            # value id -> session whose command writes its chunks, or None
    cdef public object readers          # dict: value id -> parts of replies that need its chunks: stream
    cdef public uint64_t kept_bytes_max     # of overwritten chunks kept for one reply; 0 = no limit
    cdef public int databases_count         # that SELECT knows, at most DATABASES_MAX
    cdef public uint64_t string_bytes_max   # proto-max-bulk-len: longest string
    cdef public int64_t hash_listpack_entries, hash_listpack_value     # of encoding: hash-max-...
    cdef public int64_t zset_listpack_entries, zset_listpack_value     # zset-max-...
    cdef public int64_t set_listpack_entries, set_listpack_value       # set-max-...
    cdef public int64_t set_intset_entries
    cdef public int64_t list_listpack_size      # list-max-listpack-size: elements, or negative
    cdef public int64_t list_shift_max      # items that an LINSERT moves; past it the list is rewritten
    cdef public int64_t remove_each_max     # elements removed one by one; of more see plan_removal()
    cdef public int64_t list_fetch_max      # that are read one by one; of more the spans they lie in
    cdef public int64_t list_runs_max       # runs of claims of a list; past it LREM rewrites it
    cdef public bint expiry_active      # DEBUG SET-ACTIVE-EXPIRE
    cdef readonly bint is_private       # of a workspace: no step budget holds
    cdef public uint64_t bytes_max      # of a private view: memory that its tip may take
    cdef bint is_full                   # it takes more: see put_part()
    cdef Breath breath
    cdef bint is_long                   # the running command is past its step budget
    cdef int64_t steps                  # elements that it, or its EXEC so far, looks at
    cdef readonly int64_t steps_max     # the step budget: STEPS_MAX, or less in tests
    cdef int64_t steps_before           # of the commands before it in its EXEC
    cdef bint is_undivided              # its EXEC runs in one step, whatever it takes
    cdef bint saw_all                   # the running command looked at the names of its database
    cdef uint64_t draws                 # ever
    cdef list events                    # of the running command: keyspace events and messages
    cdef uint64_t deferred_bytes        # of the messages among them
    cdef list switches

    cdef int open_batch(self, uint64_t now_ms, uint64_t commit_ts) except -1
    cdef int enter(self, Session session) except -1
    cdef int lookup(self, const char* key, size_t n, int flags, Head* head) except -1
    cdef int lookup_in(self, Table* table, const char* key, size_t n, int flags, Head* head) except -1
    cdef int miss(self, char kind, Table* table, uint64_t hash, const char* key, size_t n) except -1
    cdef Version* write(self, Head* head, uint8_t type, size_t length, uint64_t expire_at) except NULL
    cdef int write_bytes(self, Head* head, const char* data, size_t n, uint64_t expire_at) except -1
    cdef int remove(self, Head* head) except -1
    cdef int move(self, Head* source, Head* target) except -1
    cdef int expire(self, Head* head) except -1
    cdef int clear_missing(self) except -1
    cdef int place(self, Head* head, Version* v) except -1
    cdef int signal(self, Entry* e, uint8_t type) except -1
    cdef int point_database(self, int db, Table* table) except -1
    cdef int uncount(self, Entry* e, Version* dropped, Version* now) except -1
    cdef Table* create_generation(self) except NULL
    cdef int write_counts(self) except -1
    cdef int put_counts(self, Table* table) except -1
    cdef int push_write(self, Entry* entry, Version* version) except -1
    cdef int bury(self, Version* old) except -1
    cdef int unmake(self, Savepoint* mark) except -1
    cdef Collection* create_collection(self, Head* head, uint8_t type) except NULL
    cdef void breathe(self, uint32_t steps) noexcept
    cdef int adopt_settings(self, View other) except -1
    cdef Collection* name_collection(self, Head* head, uint8_t type) except NULL
    cdef int publish_collection(self, Head* head, Collection* c) except -1
    cdef Change* change_of(self, Collection* c) except NULL
    cdef Entry* put_part(self, Collection* c, Table* table, Entry* entry, uint64_t hash,
                         const char* key, size_t n, Version* v) except NULL
    cdef int refresh_base(self, Version* v) except -1
    cdef int encode_changes(self, Buffer* out) except -1
    cdef int end_changes(self) except -1
    cdef int record_put(self, Table* table, const char* key, size_t n,
                        const char* value, size_t m) except -1
    cdef int record_delete(self, Table* table, const char* key, size_t n) except -1
    cdef int chunk(self, uint64_t value_id, uint32_t number, Version** version) except -1
    cdef int write_chunk(self, uint64_t value_id, uint32_t number,
                         const char* data, size_t n) except -1
    cdef int publish_chunks(self, Head* head, uint64_t value_id, uint64_t length,
                            uint64_t expire_at) except -1
    cdef int trash_chunks(self, uint64_t value_id, uint64_t length) except -1
    cdef int begin_value(self, uint64_t value_id, uint64_t length, session) except -1
    cdef bint is_begun(self, uint64_t value_id) noexcept
    cdef int end_value(self, uint64_t value_id) except -1
    cdef uint64_t new_id(self) except 0
    cdef int notify(self, int event_class, bytes event, const char* key, size_t n) except -1
    cdef int notify_in(self, Table* table, int event_class, bytes event, const char* key,
                       size_t n) except -1
    cdef int finish_command(self) except -1
    cdef Savepoint savepoint(self) noexcept
    cdef int rollback(self, Savepoint* mark) except -1
    cdef void end_savepoint(self, Savepoint* mark) noexcept
    cdef int flush_database(self, int db) except -1
    cdef int swap_databases(self, int a, int b) except -1
    cdef int encode_batch(self, Buffer* out) except -1
    cdef uint64_t draw(self) noexcept
    cdef bint has_writes(self) noexcept
    cdef bint counts_changed(self) noexcept
    cdef int note_if_missing(self, Table* table, const char* key, size_t n) except -1
