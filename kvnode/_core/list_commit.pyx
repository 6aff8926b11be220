# cython: boundscheck=False, wraparound=False
"""Lists at the end of a transaction."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy
from libcpp.vector cimport vector
from kvnode._core.collection cimport change_list, old_item_missing, put_item
from kvnode._core.deltas cimport Meta, meta_is_zero, meta_subtract
from kvnode._core.entries cimport (
    E_USED, T_LIST, T_NONE, Table, Version, head_data, surely_absent)
from kvnode._core.items cimport push, room_missing
from kvnode._core.keys cimport (
    K_HEAD, K_ITEM, POSITION_BYTES, get_position, position_hash, put_position)
from kvnode._core.list_reads cimport LIST_ALL, LIST_HEAD, LIST_LENGTH, LIST_TAIL
from kvnode._core.tip cimport claims_of
from kvnode._core.view cimport FOUND, Head, N_LIST, N_NEW, Write
from kvnode._core.workspace cimport (
    CHECK_ENDS, CHECK_LENGTHS, CHECK_PLACES, CHECK_TYPES, CHECK_VALUES, CHECK_WHOLE, PRIVATE_IDS,
    base_of, checks)

from kvnode._core.keys import split_head

cdef enum:
    ENTRIES_AT_ONCE = 4096      # of a table, looked at together
    COMPARED_ITEMS_MAX = 65536  # of one list; of more, everything counts


# -- what was read ------------------------------------------------------------------------------

cdef bint list_holds(View view, Workspace work, Collection* c, Collection* main,
                     bint* missing) except -1:
    """Whether what was read of a list of the snapshot, which lives, is the same at the tip.

    missing: set if records have to be fetched first. c: the list in the workspace.
    """
    cdef vector[Entry*] entries
    cdef uint64_t at = 0
    cdef bint done = c.elements.entries == 0
    cdef Meta base = work.bases[c.id]
    cdef Meta now = main.meta
    cdef int reads = work.list_reads[c.id]
    cdef Entry* e
    cdef Write w
    cdef size_t i
    if c.died and c.meta.length == 0:           # taken to its last element
        reads |= LIST_HEAD | LIST_TAIL | LIST_LENGTH
    if c.elements.entries > COMPARED_ITEMS_MAX:
        reads |= LIST_ALL
    if reads & (LIST_HEAD | LIST_TAIL) and (base.holes or now.holes or c.meta.holes):
        reads |= LIST_ALL                       # indexes depend on holes in between
    if reads & LIST_ALL and main.changed > work.start_ts and checks(work, CHECK_WHOLE):
        return False
    if reads & LIST_LENGTH and now.length != base.length and checks(work, CHECK_LENGTHS):
        return False
    if checks(work, CHECK_ENDS) and (
            (reads & LIST_HEAD and now.head != base.head)
            or (reads & LIST_TAIL and now.tail != base.tail)):
        return False
    if main.changed <= work.start_ts and c.changed <= work.start_ts:
        return True             # nor has the transaction written any
    if main.changed <= work.start_ts and c.elements.entries > work.view.writes.size():
        work.tip.work += work.view.writes.size()
        for i in range(work.view.writes.size()):    # only what it is going to do needs a look
            w = work.view.writes[i]
            if w.entry.table == c.elements and w.entry.newest == w.version:
                item_holds(view, work, c, main, w.entry, missing)
        return True
    while not done:
        entries.clear()
        work.tip.scan_next(c.elements, at, &entries, ENTRIES_AT_ONCE, &at, &done)
        for e in entries:
            if not item_holds(view, work, c, main, e, missing):
                return False
    return True


cdef bint item_holds(View view, Workspace work, Collection* c, Collection* main, Entry* e,
                     bint* missing) except -1:
    """Whether an item that was looked at is still there, and one that is overwritten still inside.

    What the snapshot does not have is the transaction's own: it only needs its place.
    """
    cdef int64_t position = get_position(e.key)
    cdef Meta base = work.bases[c.id]
    cdef Version* old = base_of(e)
    cdef Entry* found
    cdef bint is_old = base.head <= position < base.tail
    cdef bint is_written = e.newest.commit_ts > work.start_ts and is_left(c, position)
    cdef bint is_read = is_old and old.commit_ts <= work.start_ts and e.flags & E_USED != 0
    if is_written and old_item_missing(view, main, place_of(work, c, main, position)):
        missing[0] = True
    if not is_old or not (is_read or is_written) or main.changed <= work.start_ts:
        return True
    if not main.meta.head <= position < main.meta.tail:
        return False
    if not is_read:
        return True
    found = view.tip.find(main.elements, e.hash, e.key, e.key_len)
    if found == NULL and not main.elements.resident:
        view.miss(K_ITEM, main.elements, e.hash, e.key, e.key_len)
        missing[0] = True
        return True
    return (found != NULL and found.newest.type == old.type
            and found.newest.commit_ts == old.commit_ts) or not checks(work, CHECK_VALUES)


cdef bint appends_hold(View view, Workspace work, bint* missing) except -1:
    """Whether the keys of blind appends hold lists, or nothing."""
    cdef bytes key
    cdef Collection* c
    cdef Table* table
    cdef Version* v
    cdef Entry* e
    cdef uint64_t hash
    for head, pushes in work.appends.items():
        generation, hash, key = split_head(head)
        table = view.tip.databases[database_of(work, generation)]
        e = view.tip.find(table, hash, key, len(key))
        if e == NULL:
            if not surely_absent(table, hash):
                view.miss(K_HEAD, table, hash, key, len(key))
                missing[0] = True
            continue
        v = e.newest
        if v.type == T_NONE or (v.expire_at and v.expire_at <= view.now_ms):
            continue
        if v.type != T_LIST:
            if checks(work, CHECK_TYPES):
                return False
            continue
        c = view.tip.collection(head_data(v).id)
        for at_tail in (False, True):
            n = sum(len(elements) for end, elements in pushes if end == at_tail)
            missing[0] |= room_missing(view, c, n, at_tail)
    return True


cdef int database_of(Workspace work, uint64_t generation) except -1:
    """The database that had a generation in the snapshot."""
    cdef int db = 0
    while work.generations[db] != generation:
        db += 1
    return db


# -- what was written ---------------------------------------------------------------------------

cdef bint is_left(Collection* c, int64_t position) noexcept:
    """Whether a position is inside the list that the transaction leaves behind, if it leaves one."""
    return not c.died and c.meta.head <= position < c.meta.tail


cdef int64_t place_of(Workspace work, Collection* c, Collection* main, int64_t position) except? -1:
    """Where a position of the workspace is at the tip: what was pushed moves with its end."""
    cdef Meta base
    if c.id >= PRIVATE_IDS or not checks(work, CHECK_PLACES):
        return position
    base = work.bases[c.id]
    if position >= base.tail:
        return position - base.tail + main.meta.tail
    if position < base.head:
        return position - base.head + main.meta.head
    return position


cdef int put_placed(View view, Workspace work, Collection* c, Collection* main, Entry* e) except -1:
    """Put or remove an item or a claim. REQUIRES: the ends of `main` are those before move_ends()."""
    cdef char key[8]
    cdef Table* table
    cdef Entry* found
    cdef Version* v
    cdef uint64_t hash
    cdef int64_t position = get_position(e.key)
    if e.table.kind == K_ITEM and not is_left(c, position):
        return 0                # popped again
    view.change_of(main)        # though no end moves, who watches or compares it is told
    position = place_of(work, c, main, position)
    if e.table.kind == K_ITEM and e.newest.type != T_NONE:
        return put_item(view, main, position, e.newest.data, e.newest.length)
    table = main.elements if e.table.kind == K_ITEM else claims_of(view.tip, main)
    put_position(key, position)
    hash = position_hash(key)
    found = view.tip.find(table, hash, key, POSITION_BYTES)
    if e.newest.type == T_NONE and found == NULL and table.resident:
        return 0
    v = view.tip.new_version(e.newest.length)
    v.type = e.newest.type
    memcpy(v.data, e.newest.data, e.newest.length)
    view.put_part(main, table, found, hash, key, POSITION_BYTES, v)
    return 0


cdef int move_ends(View view, Workspace work, Collection* c, Collection* main) except -1:
    """Give a list its new ends and length."""
    cdef Meta change = c.meta
    cdef Meta base
    if c.id < PRIVATE_IDS:
        base = work.bases[c.id]
        meta_subtract(&change, &base)
    if meta_is_zero(&change):
        return 0
    return change_list(view, main, change.length, change.head, change.tail, change.holes)


cdef int put_appends(View view, Workspace work) except -1:
    """Push what was appended blindly. REQUIRES: appends_hold(), and databases are switched."""
    cdef bytes key
    cdef bytes element
    cdef Collection* c
    cdef Table* table
    cdef Head head
    cdef uint64_t generation
    cdef int db
    for record, pushes in work.appends.items():
        generation, _, key = split_head(record)
        db = 0
        while work.tip.databases[db].id != generation:
            db += 1
        table = view.tip.databases[db]
        if view.lookup_in(table, key, len(key), 0, &head) == FOUND and head.version.type == T_LIST:
            c = view.tip.collection(head_data(head.version).id)
        else:
            c = view.create_collection(&head, T_LIST)
            view.notify_in(table, N_NEW, b"new", key, len(key))
        for at_tail, elements in pushes:
            for element in elements:
                push(view, c, element, len(element), at_tail)
            view.notify_in(table, N_LIST, b"rpush" if at_tail else b"lpush", key, len(key))
    return 0
