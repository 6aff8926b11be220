"""Sessions that wait on keys: who waits for what, and in which order they are served.

A handler that finds no data ends with `return block_on(...)`: its session waits and stands in the
queue of each of its keys. Whatever gives a key a value of a type that sessions wait for, or changes
one, is noted by the view: handlers do nothing for it. When the command, EXEC or script that did it
has ended, still in its batch, the queues of these keys are served (see serving): each waiting
command runs again from its start, on behalf of its session, first come first served, until the key
has no more. One that finds nothing keeps its place in the queue.

    cdef int cmd_blpop(View view, Args* args, Reply reply) except -1:
        cdef uint64_t deadline_ms
        if not require_timeout(view, &args.v[args.n - 1], &deadline_ms, reply):
            return DONE
        ...         # look at the keys: PARK, an error or a reply where there is one
        return block_on(view, args, 1, args.n - 2, 1 << T_LIST, deadline_ms, NULL_ARRAY, reply)

A handler that runs again asks the same and is answered the same: block_on() leaves a session that
waits already where it is, with the deadline of its first run. In an EXEC nobody waits: block_on()
answers null at once.

A pass serves so many and no more. What is left is its backlog: passes go on with it before anything
else, and meanwhile writes that name such a key wait, so that nobody overtakes those who came first.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libcpp.deque cimport deque
from libcpp.map cimport map
from libcpp.pair cimport pair
from libcpp.unordered_map cimport unordered_map
from kvnode._core.bytes cimport Slice
from kvnode._core.collection cimport WRONG
from kvnode._core.dispatch cimport DONE, PARK
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply
from kvnode._core.session cimport Session
from kvnode._core.tip cimport DATABASES_MAX, Entry
from kvnode._core.view cimport FOUND, MISS, View


cdef enum NullForm:         # of the reply where a command may not wait; in RESP3 they are one
    NULL_BULK = 0
    NULL_ARRAY = 1          # also the form at a timeout, of every command, as in Redis


cdef enum Supply:           # what a key has for one of those that wait on it
    S_NOTHING = 0           # it is absent
    S_OTHER_TYPE = 1
    S_DATA = 2              # or perhaps, on disk


cdef enum Release:          # how a wait ends without data
    NOT_RELEASED = 0
    TIMED_OUT = 1           # also CLIENT UNBLOCK ... TIMEOUT
    UNBLOCKED = 2           # CLIENT UNBLOCK ... ERROR


cdef struct Waiter
cdef struct Queue


cdef struct Link:           # a waiter's place in the queue of one of its keys
    Waiter* waiter
    Queue* queue
    Link* previous
    Link* next


cdef struct Queue:          # those that wait on one key, first come first
    Queue* chain            # next of the same hash
    Link* first
    Link* last
    Queue* before           # those of one database, in the order in which they were made
    Queue* behind
    uint64_t hash           # of the key
    int db
    bint ready              # is in the list of ready queues
    size_t key_len
    char key[0]


cdef struct Waiter:         # one command that waits; its links and arguments lie behind it
    void* session           # a counted reference
    void* command           # its Command, borrowed: the dispatch keeps it
    Args args
    uint64_t deadline_ms    # 0 = none
    uint64_t ticket         # grows with each wait
    uint32_t types          # 1 << ValueType of each type that has what it waits for
    int released            # a Release that came while it was stopped
    bint stopped            # parked, paused or going on in parts: those behind it wait for it
    int links_count
    Link* links


cdef class Waiters:
    cdef View view
    cdef unordered_map[uint64_t, Queue*] queues     # by hash of database and key
    cdef deque[Queue*] ready                        # queues whose keys got data, in order
    cdef Queue* oldest[DATABASES_MAX]               # queues of each database
    cdef Queue* newest[DATABASES_MAX]
    cdef Queue* unseen[DATABASES_MAX]               # first to be looked at, after a switch
    cdef readonly bint backlog                      # a pass ended before all were served
    cdef map[pair[uint64_t, uint64_t], Waiter*] deadlines   # by deadline and ticket
    cdef Waiter* running                            # whose command runs again
    cdef uint64_t tickets
    cdef readonly size_t sessions                   # that wait on keys
    cdef readonly size_t keys                       # that somebody waits on

    cdef Waiter* first_waiter(self) noexcept
    cdef int add(self, Session session, void* command, Args* args, int first, int last,
                 uint32_t types, uint64_t deadline_ms) except -1
    cdef int remove(self, Waiter* w) except -1
    cdef Queue* find(self, int db, uint64_t hash, const char* key, size_t n) noexcept
    cdef Queue* queue_of(self, int db, const Slice* key) except NULL
    cdef int drop(self, Queue* queue) except -1
    cdef int make_ready(self, Queue* queue) except -1
    cdef int go_on_with(self, Queue* queue) except -1
    cdef int renew(self, Waiter* w) except -1
    cdef int collect(self) except -1
    cdef int collect_entry(self, Entry* e) except -1
    cdef Queue* next_ready(self) except? NULL
    cdef bint has_ready(self) noexcept
    cdef bint is_ahead(self, int db, const Slice* key) noexcept
    cdef Supply supply(self, Queue* queue, Waiter* w) noexcept
    cdef uint64_t earliest(self) noexcept
    cdef Waiter* next_due(self, uint64_t now_ms) except? NULL


cdef bint require_timeout(View view, const Slice* seconds, uint64_t* deadline_ms,
                          Reply reply) except -1
cdef int block_on(View view, Args* args, int first, int last, uint32_t types,
                  uint64_t deadline_ms, NullForm form, Reply reply) except -1


cdef inline int done_or_wait(View view, Args* args, int found, int first, int end, uint8_t type,
                             uint64_t deadline_ms, NullForm form, Reply reply) except -1:
    """The outcome of a try on the keys args[first:end]; it waits for them if they had nothing.

    found: as of open_collection(); after FOUND and WRONG the reply is written.
    """
    if found == MISS:
        return PARK
    if found == FOUND or found == WRONG:
        return DONE
    return block_on(view, args, first, end - 1, 1 << type, deadline_ms, form, reply)
