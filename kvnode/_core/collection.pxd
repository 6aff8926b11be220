"""What handlers of lists, hashes, sets and sorted sets share: finding, creating and changing them.

A handler of one key goes like this:

    found = open_collection(view, &args.v[1], T_SET, L_READ, &head, &c, reply)
    if found != FOUND: return answer_absent(found, AS_NULL, reply)      # or, unless ABSENT is no
                                                                        # end, outcome_of(found)
    find all elements that it names         # MISS of any: PARK, before anything is written
    c = create(view, &head, T_SET)          # if it was absent and will not stay so
    put_element, remove_element             # the length follows by itself
    close_collection(view, &head, c, &key)  # after removals: an empty collection is gone at once

A field past its deadline is absent, and whoever meets it removes it; so handlers that only read
hashes end with close_collection() too. Lengths count such a field until then.

Elements are found by name in O(1). What needs all elements, or an order other than that of their
hashes, asks need_all() first: it says whether the command has to be parked until they are read.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libcpp.vector cimport vector
from kvnode._core.bytes cimport Slice
from kvnode._core.dispatch cimport DONE, PARK
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_integer
from kvnode._core.tip cimport Collection, Entry, Segment, Table, Version
from kvnode._core.view cimport FOUND, L_READ, MISS, Head, View


cdef enum:
    WRONG = 3               # beside Lookup: the key holds another type, and the reply says so


cdef enum Absent:           # what answers a command that finds nothing
    AS_ZERO = 0
    AS_NULL = 1
    AS_NULL_ARRAY = 2
    AS_EMPTY = 3            # an array


cdef enum Removal:          # how many elements at once are removed
    REMOVE_EACH = 0
    REMOVE_ALL = 1          # the head goes
    KEEP_OTHERS = 2         # the key gets a new collection of what is left
    REMOVE_LATER = 3        # as a transaction: PARK


cdef struct Element:
    Entry* entry            # NULL: nothing of it is in memory (and it is absent)
    Version* version        # NULL: absent
    uint64_t hash
    Slice key


cdef struct Walk:
    # Over all elements that are there, in hash order. Valid while nothing is written.
    Table* table
    uint64_t at
    bint done
    Entry* next
    vector[Entry*]* expired     # takes the fields past their deadline that the walk meets; or NULL


cdef int open_collection(View view, const Slice* key, uint8_t type, int flags, Head* head,
                         Collection** c, Reply reply) except -1
cdef int answer_absent(int found, Absent absent, Reply reply) except -1
cdef Collection* create(View view, Head* head, uint8_t type) except NULL
cdef bint expire_field_of(View view, uint64_t id, bytes field) except -1
cdef int expire_field(View view, Collection* c, Entry* e) except -1
cdef int close_collection(View view, Head* head, Collection* c, const Slice* key) except -1

cdef int find_element(View view, Collection* c, const char* key, size_t n, Element* element) except -1
cdef bint elements_missing(View view, Collection* c, const Args* args, int first, int step) except -1
cdef Version* put_element(View view, Collection* c, Element* element, const char* data, size_t n,
                          uint64_t expire_at) except NULL
cdef int remove_element(View view, Collection* c, Element* element) except -1
cdef int remove_named(View view, Args* args, uint8_t type, int event_class, bytes name,
                      Reply reply) except -1

cdef int plan_large_removal(View view, Collection* c, int64_t n, bint may_leave) except -1
cdef int keep_only_these(View view, Head* head, Collection* c, vector[Entry*]* kept) except -1

cdef bint need_all(View view, Collection* c) except -1
cdef bint need_walk(View view, Collection* c) except -1
cdef bint need_beside(View view, Collection* c, int64_t lookups) except -1
cdef int drop_expired(View view, Head* head, Collection* c) except -1
cdef Element element_of(Entry* e) noexcept
cdef void walk_all(View view, Collection* c, Walk* walk) noexcept
cdef Entry* next_of(View view, Walk* walk) noexcept
cdef Collection* begin_copy(View view, uint8_t type, Head* target, uint64_t expire_at,
                            uint8_t flags) except NULL
cdef int copy_collection(View view, Head* source, Head* target) except -1

cdef int change_list(View view, Collection* c, int64_t length, int64_t head, int64_t tail,
                     int64_t holes) except -1
cdef int find_item(View view, Collection* c, int64_t position, Element* element) except -1
cdef bint old_item_missing(View view, Collection* c, int64_t position) except -1
cdef int put_item(View view, Collection* c, int64_t position, const char* data, size_t n) except -1
cdef int remove_item(View view, Collection* c, Element* element) except -1


cdef inline int plan_removal(View view, Collection* c, int64_t n, bint may_leave) except -1:
    """The Removal of `n` elements. may_leave: the command can run as a transaction."""
    if n >= c.meta.length:
        return REMOVE_ALL
    return REMOVE_EACH if n <= view.remove_each_max else plan_large_removal(view, c, n, may_leave)


cdef inline int outcome_of(int found) noexcept nogil:
    """What a handler returns for a Lookup: MISS: PARK. Else DONE, as the reply is written."""
    return PARK if found == MISS else DONE


cdef inline bint is_live(View view, const Version* v) noexcept nogil:
    """Whether an element is there: not removed, and not a field past its deadline."""
    return v != NULL and v.type != 0 and (v.expire_at == 0 or v.expire_at > view.now_ms)


cdef inline bint is_past_budget(View view, int64_t elements) noexcept nogil:
    """Count elements that the running command will look at; True: it has to answer PARK.

    It is then run again, its EXEC as a whole, as a transaction beside the sequencer, where no budget
    holds. Not so an EXEC that cannot: see transactions.
    """
    view.steps += elements
    if view.steps <= view.steps_max or view.is_private or view.is_undivided \
            or view.session is None:
        return False
    view.is_long = True
    return True


cdef inline int plan_pop(View view, Collection* c, int64_t n, bint may_leave) except -1:
    """plan_removal() of elements that the command answers, which counts as looking at them."""
    cdef int how = plan_removal(view, c, n, may_leave)
    if (how == REMOVE_ALL or how == KEEP_OTHERS) and may_leave \
            and is_past_budget(view, min(n, c.meta.length)):
        return REMOVE_LATER
    return how


cdef inline int reply_length(View view, Args* args, uint8_t type, Reply reply) except -1:
    """SCARD, HLEN, ZCARD, LLEN: answer the number of elements."""
    cdef Head head
    cdef Collection* c
    cdef int found = open_collection(view, &args.v[1], type, L_READ, &head, &c, reply)
    if found == MISS:
        return PARK
    if found == WRONG:
        return DONE
    return reply_integer(reply, c.meta.length if found == FOUND else 0)
