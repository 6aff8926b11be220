# cython: boundscheck=False, wraparound=False
"""Lists, hashes, sets and sorted sets: what their handlers share."""

from libc.string cimport memcpy
from libcpp.vector cimport vector
from kvnode._core.arguments cimport N_GENERIC, WRONGTYPE, event, refuse
from kvnode._core.bytes cimport ASSERT
from kvnode._core.dispatch cimport PARK
from kvnode._core.keys cimport (
    K_FIELD, K_ITEM, K_MEMBER, PLACED_PREFIX_BYTES, POSITION_BYTES, position_hash, put_position)
from kvnode._core.large_replies cimport is_too_large, may_go_beside
from kvnode._core.reply cimport reply_array, reply_integer, reply_null, reply_null_array
from kvnode._core.strvalue cimport set_deadline
from kvnode._core.tip cimport (
    E_USED, T_FIELD, T_HASH, T_LIST, T_NONE, T_RAW, V_WIDER_ENCODING, bucket_of, head_data,
    next_bucket, surely_absent)
from kvnode._core.view cimport ABSENT, FOUND, MISS, N_HASH, N_NEW, STEPS_PER_WRITE, Change


cdef enum:
    WHOLE_SHARE = 16            # of the elements: who looks for more has all of them read

cdef enum:
    KEEP_COST = 2           # removals that take as long as it takes to keep an element
    KEEP_AT_ONCE = 16384    # elements kept in one step
    KEEP_SHARE = 8          # times what is removed: past it a transaction keeps no more


# -- the collection of a key --------------------------------------------------------------------

cdef int open_collection(View view, const Slice* key, uint8_t type, int flags, Head* head,
                         Collection** c, Reply reply) except -1:
    """Find the collection of a key: FOUND, ABSENT, MISS (park), or WRONG after an error reply."""
    cdef int found = view.lookup(key.data, key.len, flags, head)
    c[0] = NULL
    if found != FOUND:
        return found
    if head.version.type != type:
        refuse(reply, WRONGTYPE)
        return WRONG
    c[0] = view.tip.collection(head_data(head.version).id)
    ASSERT(c[0] != NULL and c[0].ready)
    c[0].used = True
    if c[0].changed > view.observed:
        view.observed = c[0].changed
    return FOUND


cdef int answer_absent(int found, Absent absent, Reply reply) except -1:
    """End a handler by what it has found: outcome_of(), and of nothing (ABSENT) the answer."""
    if found != ABSENT:
        return outcome_of(found)
    if absent == AS_ZERO:
        return reply_integer(reply, 0)
    if absent == AS_NULL:
        return reply_null(reply)
    return reply_null_array(reply) if absent == AS_NULL_ARRAY else reply_array(reply, 0)


cdef Collection* create(View view, Head* head, uint8_t type) except NULL:
    """Give a key, absent or to be overwritten, an empty collection; elements follow at once."""
    if view.on_event is not None and head.version == NULL:
        view.notify(N_NEW, b"new", head.key.data, head.key.len)
    return view.create_collection(head, type)


cdef int close_collection(View view, Head* head, Collection* c, const Slice* key) except -1:
    """End a removal: an empty collection is gone at once, with its deadline."""
    if c.meta.length == 0 and head.version != NULL:
        view.remove(head)
        event(view, N_GENERIC, b"del", key)
    return 0


# -- elements by name ---------------------------------------------------------------------------

cdef int find_element(View view, Collection* c, const char* key, size_t n, Element* element) except -1:
    """Find a field or member: FOUND, ABSENT, or MISS (noted as missing).

    A field past its deadline is removed on sight.
    """
    cdef Table* table = c.elements
    cdef Entry* e
    if view.is_private:
        view.breathe(1)
    element.hash = view.tip.hash_key(key, n)
    element.key.data = key
    element.key.len = n
    element.version = NULL
    e = view.tip.find(table, element.hash, key, n)
    element.entry = e
    if e == NULL:
        if surely_absent(table, element.hash) or element.hash < c.loaded:
            return ABSENT
        view.miss(table.kind, table, element.hash, key, n)
        return MISS
    e.flags |= E_USED
    if e.newest.type == T_NONE:
        return ABSENT
    if not is_live(view, e.newest):
        expire_field(view, c, e)
        return ABSENT
    element.version = e.newest
    return FOUND


cdef bint elements_missing(View view, Collection* c, const Args* args, int first, int step) except -1:
    """Note the elements args[first::step] that must be fetched; whether there are any.

    After it no find_element() of these can miss, and their records are on the way from main memory.
    """
    cdef Table* table = c.elements
    cdef size_t before = view.missing.size()
    cdef uint64_t hash
    cdef int i = first
    if args.n - first > step:
        view.tip.prefetch(table, args.v + first, args.n - first, step)
    if table.resident:
        return False
    while i < args.n:
        hash = view.tip.hash_key(args.v[i].data, args.v[i].len)
        if hash >= c.loaded and not surely_absent(table, hash) \
                and view.tip.find(table, hash, args.v[i].data, args.v[i].len) == NULL:
            view.miss(table.kind, table, hash, args.v[i].data, args.v[i].len)
        i += step
    return view.missing.size() != before


cdef Version* put_element(View view, Collection* c, Element* element, const char* data, size_t n,
                          uint64_t expire_at) except NULL:
    """Set a field or member that find_element() has looked for; return its version."""
    cdef Change* change = view.change_of(c)
    cdef Version* v = view.tip.new_version(n)
    if element.version == NULL:
        change.sum.length += 1
        c.meta.length += 1
    v.type = T_FIELD if c.type == T_HASH else T_RAW
    v.expire_at = expire_at
    if n:
        memcpy(v.data, data, n)
    element.entry = view.put_part(c, c.elements, element.entry, element.hash, element.key.data,
                                  element.key.len, v)
    element.version = v
    return v


cdef int remove_element(View view, Collection* c, Element* element) except -1:
    """Remove a field or member that find_element() has found."""
    cdef Change* change = view.change_of(c)
    change.sum.length -= 1
    c.meta.length -= 1
    view.put_part(c, c.elements, element.entry, element.hash, element.key.data, element.key.len,
                  view.tip.new_version(0))
    element.version = NULL
    return 0


cdef int remove_named(View view, Args* args, uint8_t type, int event_class, bytes name,
                      Reply reply) except -1:
    """SREM, HDEL, ZREM: remove the elements named from argument 2 on, and answer how many.

    name: of the event, if there were any.
    """
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef int64_t removed = 0
    cdef int i
    cdef int found = open_collection(view, &args.v[1], type, 0, &head, &c, reply)
    if found != FOUND:
        return answer_absent(found, AS_ZERO, reply)
    if elements_missing(view, c, args, 2, 1):
        return PARK
    for i in range(2, args.n):
        if find_element(view, c, args.v[i].data, args.v[i].len, &element) == FOUND:
            remove_element(view, c, &element)
            removed += 1
    if removed:
        event(view, event_class, name, &args.v[1])
    close_collection(view, &head, c, &args.v[1])    # a field past its deadline may be the last
    return reply_integer(reply, removed)


cdef int plan_large_removal(View view, Collection* c, int64_t n, bint may_leave) except -1:
    """plan_removal() of more than View.remove_each_max elements, not all.

    Past the step budget it does so as a transaction, which writes what is left under a fresh id, in
    bounded steps, and publishes that: unless this is far more than what goes.
    """
    cdef int64_t kept = c.meta.length - n
    cdef bint is_cheap = kept * KEEP_COST <= n
    if kept // KEEP_SHARE > n:
        return REMOVE_EACH
    if not c.elements.resident:     # a transaction has what goes, and needs the others, too
        if view.is_private and n > view.steps_max and need_all(view, c):
            return REMOVE_LATER
        return REMOVE_EACH
    if is_cheap and kept <= KEEP_AT_ONCE:
        return KEEP_OTHERS
    if view.is_private and n > view.steps_max:
        return KEEP_OTHERS
    if may_leave and n > view.steps_max and is_past_budget(view, n):
        return REMOVE_LATER
    return KEEP_OTHERS if is_cheap else REMOVE_EACH


cdef int keep_only_these(View view, Head* head, Collection* c, vector[Entry*]* kept) except -1:
    """Give the key a new set or sorted set of these elements of its old one, which dies."""
    cdef Collection* copy = begin_copy(view, c.type, head, head.version.expire_at, head.version.flags)
    cdef Entry* e
    for e in kept[0]:
        put_copy(view, copy, e)
        if view.is_private:
            view.breathe(1)
    return 0


cdef Element element_of(Entry* e) noexcept:
    """An element that is there, by its entry."""
    cdef Element element
    element.entry = e
    element.version = e.newest
    element.hash = e.hash
    element.key.data = e.key
    element.key.len = e.key_len
    return element


cdef int expire_field(View view, Collection* c, Entry* e) except -1:
    """Remove a field past its deadline: the leader's decision, through the log."""
    cdef Element element = element_of(e)
    remove_element(view, c, &element)
    view.expired_fields += 1
    return view.notify_in(c.head.table, N_HASH, b"hexpired", c.head.key, c.head.key_len)


cdef bint expire_field_of(View view, uint64_t id, bytes field) except -1:
    """Remove a field if it is past its deadline, for the sweeper; False: it is not, or not known."""
    cdef Collection* c = view.tip.collection(id)
    cdef Head head
    cdef Entry* e
    if c == NULL or not c.ready or c.died or c.type != T_HASH:
        return False
    e = view.tip.find(c.elements, view.tip.hash_key(field, len(field)), field, len(field))
    if e == NULL or e.newest.expire_at == 0:
        return False
    if is_live(view, e.newest):         # due by a later clock
        view.tip.deadlines.push(e.newest.expire_at, c.id, e.hash)
        return False
    expire_field(view, c, e)
    head.entry = c.head
    head.version = c.head.newest
    head.table = c.head.table
    head.hash = c.head.hash
    head.key.data = c.head.key
    head.key.len = c.head.key_len
    if c.meta.length == 0:
        view.remove(&head)
        view.notify_in(head.table, N_GENERIC, b"del", head.key.data, head.key.len)
    return True


# -- all elements -------------------------------------------------------------------------------

cdef bint need_all(View view, Collection* c) except -1:
    """Whether the command must be parked until all elements are in memory: they are asked for.

    Where these are too many, the command goes on as a transaction: on a copy outside of the cache.
    """
    if c.elements.resident:
        return False
    if may_go_beside(view) and is_too_large(view, c):
        view.is_long = True
        return True
    view.missing_loads.add(c.id)
    return True


cdef bint need_walk(View view, Collection* c) except -1:
    """need_all() for a command that looks at every element: True also when these are too many."""
    return is_past_budget(view, c.meta.length + c.meta.holes) or need_all(view, c)


cdef bint need_beside(View view, Collection* c, int64_t lookups) except -1:
    """Whether a transaction that is about to look for so many elements shall read all of them first.

    They are read, and compared at its commit, in one go then, and not one by one.
    """
    return view.is_private and lookups > c.meta.length // WHOLE_SHARE and need_all(view, c)


cdef int drop_expired(View view, Head* head, Collection* c) except -1:
    """Remove the fields past their deadline. REQUIRES: need_all() was false.

    Afterwards the length is exact. Only hashes that had deadlines take a walk for it.
    """
    cdef vector[Entry*] due
    cdef Walk walk
    cdef Entry* e
    if c.type != T_HASH or not head.version.flags & V_WIDER_ENCODING:
        return 0
    walk_all(view, c, &walk)
    walk.expired = &due
    while next_of(view, &walk) != NULL:
        pass
    for e in due:
        expire_field(view, c, e)
    return 0


cdef void walk_all(View view, Collection* c, Walk* walk) noexcept:
    """Begin a walk over all elements, which need_all() has made sure of."""
    walk.table = c.elements
    walk.at = 0
    walk.done = False
    walk.next = NULL
    walk.expired = NULL


cdef Entry* next_of(View view, Walk* walk) noexcept:
    """Return the next element, or NULL at the end."""
    cdef Segment* segment
    cdef Entry* e
    while True:
        while walk.next != NULL:
            e = walk.next
            walk.next = e.next
            if is_live(view, e.newest):
                return e
            if walk.expired != NULL and e.newest.type != T_NONE:
                walk.expired.push_back(e)
        if walk.done:
            return NULL
        if view.is_private:
            view.breathe(1)
        segment = walk.table.directory[
            0 if walk.table.depth == 0 else walk.at >> (64 - walk.table.depth)]
        walk.next = segment.buckets[bucket_of(segment, walk.at)]
        if not next_bucket(segment, &walk.at):
            walk.done = True


# -- copies -------------------------------------------------------------------------------------

cdef int copy_collection(View view, Head* source, Head* target) except -1:
    """Give `target`, absent or to be replaced, a copy of a collection: FOUND, ABSENT or MISS.

    ABSENT: all that was left of the source were fields past their deadline; it is gone.
    """
    cdef Collection* c = view.tip.collection(head_data(source.version).id)
    cdef Collection* copy
    cdef Walk walk
    cdef Entry* e
    cdef uint64_t expire_at = source.version.expire_at
    cdef uint8_t flags = source.version.flags
    if c.type == T_LIST:
        return copy_list(view, c, source, target)
    if is_past_budget(view, STEPS_PER_WRITE * c.meta.length) or need_walk(view, c):
        return MISS
    drop_expired(view, source, c)
    if c.meta.length == 0:
        close_collection(view, source, c, &source.key)
        return ABSENT
    copy = begin_copy(view, c.type, target, expire_at, flags)
    walk_all(view, c, &walk)
    while True:
        e = next_of(view, &walk)
        if e == NULL:
            return FOUND
        put_copy(view, copy, e)


cdef Version* put_copy(View view, Collection* copy, Entry* e) except NULL:
    """Put an element of one collection into another that lacks it."""
    cdef Element element
    element.entry = NULL
    element.version = NULL
    element.hash = e.hash
    element.key.data = e.key
    element.key.len = e.key_len
    return put_element(view, copy, &element, e.newest.data, e.newest.length, e.newest.expire_at)


cdef Collection* begin_copy(View view, uint8_t type, Head* target, uint64_t expire_at,
                            uint8_t flags) except NULL:
    cdef Collection* copy = view.create_collection(target, type)
    if expire_at:
        set_deadline(view, target, expire_at)
    target.version.flags = flags    # made in this command
    return copy


cdef int copy_list(View view, Collection* c, Head* source, Head* target) except -1:
    """The same for a list; the copy has no holes."""
    cdef Collection* copy
    cdef Element element
    cdef uint64_t expire_at = source.version.expire_at
    cdef uint8_t flags = source.version.flags
    cdef int64_t position
    cdef int64_t at = 0
    if is_past_budget(view, STEPS_PER_WRITE * c.meta.length) or need_walk(view, c):
        return MISS
    copy = begin_copy(view, T_LIST, target, expire_at, flags)
    for position in range(c.meta.head, c.meta.tail):
        if find_item(view, c, position, &element) == FOUND:
            put_item(view, copy, at, element.version.data, element.version.length)
            at += 1
    change_list(view, copy, at, 0, at, 0)
    return FOUND


# -- lists --------------------------------------------------------------------------------------

cdef int change_list(View view, Collection* c, int64_t length, int64_t head, int64_t tail,
                     int64_t holes) except -1:
    """Add to the metadata of a list."""
    cdef Change* change = view.change_of(c)
    change.sum.length += length
    change.sum.head += head
    change.sum.tail += tail
    change.sum.holes += holes
    c.meta.length += length
    c.meta.head += head
    c.meta.tail += tail
    c.meta.holes += holes
    return 0


cdef int find_item(View view, Collection* c, int64_t position, Element* element) except -1:
    """Find the item at a position: FOUND, ABSENT (a hole), or MISS (noted as missing)."""
    cdef char key[8]
    cdef Entry* e
    if view.is_private:
        view.breathe(1)
    put_position(key, position)
    element.hash = position_hash(key)
    element.version = NULL
    e = view.tip.find(c.elements, element.hash, key, POSITION_BYTES)
    element.entry = e
    if e == NULL:
        if c.elements.resident:
            return ABSENT
        view.miss(K_ITEM, c.elements, element.hash, key, POSITION_BYTES)
        return MISS
    e.flags |= E_USED
    if e.newest.type == T_NONE:
        return ABSENT
    element.version = e.newest
    return FOUND


cdef bint old_item_missing(View view, Collection* c, int64_t position) except -1:
    """Whether what a position that is to be written has held must be fetched first: it is asked for.

    A reader at a pin may need it: the flush of the new item moves what memory knows to the history.
    Popped positions count until they are swept; a workspace is never flushed.
    """
    cdef char key[8]
    cdef uint64_t hash
    if c.elements.resident or view.is_private \
            or not (c.unseen or c.low <= position < c.high):
        return False
    put_position(key, position)
    hash = position_hash(key)
    if view.tip.find(c.elements, hash, key, POSITION_BYTES) != NULL:
        return False
    view.miss(K_ITEM, c.elements, hash, key, POSITION_BYTES)
    return True


cdef int put_item(View view, Collection* c, int64_t position, const char* data, size_t n) except -1:
    """Set the item at a position, present or absent; metadata are the caller's.

    REQUIRES: old_item_missing() was false.
    """
    cdef char key[8]
    cdef uint64_t hash
    cdef Version* v = view.tip.new_version(n)
    put_position(key, position)
    hash = position_hash(key)
    v.type = T_RAW
    memcpy(v.data, data, n)
    view.put_part(c, c.elements, view.tip.find(c.elements, hash, key, POSITION_BYTES), hash, key,
                  POSITION_BYTES, v)
    if position < c.low:
        c.low = position
    if position >= c.high:
        c.high = position + 1
    return 0


cdef int remove_item(View view, Collection* c, Element* element) except -1:
    """Remove an item in the middle of a list that find_item() has found; metadata are the caller's."""
    view.put_part(c, c.elements, element.entry, element.hash, element.entry.key, POSITION_BYTES,
                  view.tip.new_version(0))
    element.version = NULL
    return 0
