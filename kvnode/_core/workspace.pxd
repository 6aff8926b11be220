"""The workspace: private memory in which one try of an optimistic transaction runs.

It holds a tip and a view of its own. The tip begins empty; what a handler lacks is read at the
transaction's snapshot and installed, and the handler runs again. So the installed records, absences
included, are what the transaction has read, and what the view wrote is what it is going to do:
see commit.
"""

from libc.stdint cimport int64_t, uint64_t
from libcpp.unordered_map cimport unordered_map
from kvnode._core.deltas cimport Meta
from kvnode._core.dispatch cimport Command, Dispatch
from kvnode._core.entries cimport DATABASES_MAX, Collection, Entry, Version
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply
from kvnode._core.session cimport Session
from kvnode._core.tip cimport Tip
from kvnode._core.view cimport View


cdef extern from *:
    """
    #define KV_PRIVATE_IDS 0x4000000000000000ULL
    """
    const uint64_t PRIVATE_IDS "KV_PRIVATE_IDS"     # ids from here on are a workspace's own: commit


cdef enum Check:                # of commit; tests leave one out to see that its lack is noticed
    CHECK_DATABASES = 1
    CHECK_ABSENCES = 2
    CHECK_VALUES = 4            # strings and elements, by commit_ts
    CHECK_IDENTITY = 8          # of collections, by value
    CHECK_LENGTHS = 16
    CHECK_WHOLE = 32            # collections of which all elements were read
    CHECK_NAMES = 64            # databases of which all names were looked at
    CHECK_EMPTY = 128           # a collection that others have emptied meanwhile
    CHECK_ENDS = 256            # of lists: where elements are counted from
    CHECK_PLACES = 512          # of lists: that what was pushed goes to where the ends are by now
    CHECK_TYPES = 1024          # of keys that were only appended to


cdef class Workspace:
    cdef readonly Tip tip
    cdef readonly View view
    cdef readonly Session session
    cdef readonly uint64_t start_ts     # the snapshot, and the time that judges expiry
    cdef readonly bint wrote            # a command that may write, or has published, has run
    cdef readonly list events           # of keyspace notifications, and messages
    cdef readonly dict scripts          # by SHA1: run by their text, and not cached as it began
    cdef public int left_out            # Checks
    cdef Dispatch dispatch
    cdef Reply reply
    cdef uint64_t generations[DATABASES_MAX]    # of the snapshot's databases
    cdef unordered_map[uint64_t, Meta] bases    # of collections: their metadata at the snapshot
    cdef list holed                     # ids of lists whose claims are to be read
    cdef set lengths                    # ids of collections of which more than elements was read
    cdef uint64_t names_bytes           # memory of names that it has read for KEYS
    cdef uint64_t message_bytes         # and of what it publishes
    cdef set scanned                    # generations of which all names were looked at
    cdef unordered_map[uint64_t, int] list_reads    # ListReads of collections
    cdef unordered_map[uint64_t, int64_t] lowest    # lengths less that at the snapshot, the least
    cdef dict appends                   # by head (record key), blind: [(at the tail, elements)]
    cdef set appendable                 # heads that are lists or absent; nothing else is known of them
    cdef set asked                      # heads of which append() wants to know that
    cdef list unblinded                 # heads that are read because a command looks at all there are
    cdef uint64_t append_bytes

    cdef int call(self, Command command, list words) except -1
    cdef int run_args(self, Args* args) except -1
    cdef int execute(self, Command command, Args* args) except -1
    cdef int note_lengths(self, Args* args) except -1
    cdef dict before_command(self, Command command, list words)
    cdef int set_unread(self, keys) except -1
    cdef int bind(self, bytes head) except -1
    cdef Collection* named_by(self, bytes key) except? NULL


cdef inline bint checks(Workspace work, int check) noexcept nogil:
    return work.left_out & check == 0


cdef inline Version* base_of(Entry* e) noexcept nogil:
    """What the snapshot has of a record: the end of its chain in the workspace."""
    cdef Version* v = e.newest
    while v.older != NULL:
        v = v.older
    return v
