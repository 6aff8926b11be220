# The members of sorted sets by score: the order of those in memory, where it is complete, and the
# score rows of LevelDB. Included by tip.pyx.
#
# Invariant: `order` has every member of a sorted set that is in memory, under its newest score.
# Invariant: in a window, and everywhere once the set is resident, LevelDB has no member that memory
# lacks. A write changes nothing of that, an eviction cuts the window that the member is in.
# Invariant: LevelDB has a score row for each row of a member, and no other: both change in one batch.

cdef enum:
    ORDERED_AT_ONCE = 4096          # members looked at by one scan
    PAGE_MEMBERS = 512              # Tip.page_members
    REACH_MEMBERS = 50000           # Tip.reach_members: about 5 ms of one command


# -- the order in memory ------------------------------------------------------------------------

cdef int order_members(Tip tip, Collection* c) except -1:
    """Begin the order of what may be a sorted set with the members that are in memory.

    Of a collection of unknown type its members tell: those of a set have no data.
    """
    cdef vector[Entry*] entries
    cdef uint64_t at = 0
    cdef bint end = False
    cdef Entry* e
    if c.order != NULL or c.elements == NULL or c.elements.kind != K_MEMBER or c.type == T_SET:
        return 0
    if c.type == T_ZSET:
        c.order = new OrderTree[Entry]()
    while not end:
        entries.clear()
        tip.scan_next(c.elements, at, &entries, ORDERED_AT_ONCE, &at, &end)
        for e in entries:
            if e.newest.type == T_NONE:
                continue
            if e.newest.length != SCORE_BYTES:
                return 0
            if c.order == NULL:
                c.order = new OrderTree[Entry]()
            c.order.insert(score_order(e.newest), e)
    return count_indexes(tip, c)


cdef int reorder(Tip tip, Collection* c, Entry* e, const Version* old, const Version* new) except -1:
    """A member's newest version changes from `old` to `new`, NULL or a tombstone: absent."""
    if c.order == NULL:
        return 0
    if old != NULL and old.type != T_NONE:
        if new != NULL and new.type != T_NONE and score_order(old) == score_order(new):
            return 0
        c.order.erase(score_order(old), e.key, e.key_len)
    if new != NULL and new.type != T_NONE:
        c.order.insert(score_order(new), e)
    return count_indexes(tip, c)


cdef int note_stored_member(Tip tip, Entry* e) except -1:
    """A member was read from LevelDB."""
    cdef Collection* c = e.table.owner
    if e.newest.length == SCORE_BYTES:
        e.row_at = score_order(e.newest)
    if c.order != NULL:
        c.order.insert(score_order(e.newest), e)
    return count_indexes(tip, c)


cdef int note_member_evicted(Tip tip, Collection* c, Entry* e, bint was_resident) except -1:
    """A member leaves memory. was_resident: with all others it was there."""
    if was_resident:
        windows_of(c).add(order_bottom(), order_top())
    if e.newest.type == T_NONE:
        return 0                # LevelDB has none either
    c.order.erase(score_order(e.newest), e.key, e.key_len)
    count_indexes(tip, c)
    if c.windows == NULL:
        return 0
    if c.order.size() == 0:
        c.windows.clear()       # gaps between members that are gone help nobody
    else:
        c.windows.cut(score_order(e.newest), e.key, e.key_len)
    return 0


cdef ScoreWindows* windows_of(Collection* c) except NULL:
    if c.windows == NULL:
        c.windows = new ScoreWindows()
    return c.windows


cdef int become_resident(Collection* c) except -1:
    """All elements are in memory, so they can be counted. Raises CorruptionError."""
    cdef uint64_t live
    if c.type != T_LIST:        # of popped items some are there still
        live = live_elements(c.elements)
        if <int64_t>live != c.meta.length:
            raise CorruptionError(f"the head of {c.head.key[:c.head.key_len]!r} (collection {c.id}) "
                                  f"says {c.meta.length} elements, there are {live}")
    c.elements.resident = True
    c.loaded = <uint64_t>-1
    del c.windows
    c.windows = NULL
    return 0


# -- pages from LevelDB -------------------------------------------------------------------------

def install_scores(Tip tip not None, uint64_t id, list rows not None, bytes low not None,
                   bytes high not None):
    """Take all score rows (key, envelope) of a sorted set with low <= bound < high, see score_bound().

    Call between begin_fetch and end_fetch of the fetch that read them.
    """
    cdef Collection* c = tip.collection(id)
    if c == NULL or not c.ready or c.died or c.type != T_ZSET or c.elements.resident:
        return
    for key, envelope in rows:
        install_member(tip, c, key, envelope)
    windows_of(c).add(bound_of(low), bound_of(high))
    if c.windows.is_whole():
        become_resident(c)


cdef int install_member(Tip tip, Collection* c, bytes key, bytes envelope) except -1:
    """Take a member from its score row, unless the tip knows better: as Tip.install()."""
    cdef const char* p = PyBytes_AS_STRING(key)
    cdef size_t n = <size_t>PyBytes_GET_SIZE(key)
    cdef uint64_t commit_ts
    cdef uint64_t row_at
    cdef uint64_t hash
    cdef Entry* e
    cdef Version* v
    open_envelope(envelope, &commit_ts, &row_at)
    if n < SCORE_PREFIX_BYTES or p[0] != K_SCORE or get_be64(p + 1) != c.id:
        raise CorruptionError(f"score key {key[:40]!r}")
    n -= SCORE_PREFIX_BYTES
    hash = tip.hash_key(p + SCORE_PREFIX_BYTES, n)
    e = tip.find(c.elements, hash, p + SCORE_PREFIX_BYTES, n)
    if e != NULL:
        if not e.flags & E_DIRTY:
            e.clean_since = tip.fetch_epoch
        return 0
    v = tip.new_version(SCORE_BYTES)
    memcpy(v.data, p + PLACED_PREFIX_BYTES, SCORE_BYTES)
    v.type = T_RAW
    v.commit_ts = commit_ts
    e = tip.insert(c.elements, hash, p + SCORE_PREFIX_BYTES, n)
    e.newest = v
    e.clean_since = tip.fetch_epoch
    e.flags |= E_STORED
    tip.adopt(e, v)
    note_presence(e)
    return note_stored_member(tip, e)


# -- score rows ---------------------------------------------------------------------------------

cdef int note_blind(Tip tip, Entry* e, Version* v) noexcept:
    """An entry of the log writes what is not in memory: of a member LevelDB may have another score."""
    if e.table.kind == K_MEMBER and e.table.owner.type != T_SET and (v.type == T_NONE or v.length == SCORE_BYTES) \
            and e.flags & E_STORED:
        e.flags |= E_BLIND
    return 0


cdef size_t flush_score(Tip tip, Entry* e, Version* v, bytes key, list rows) except? 0:
    """Append what brings the score row of a member in line with `v`; return the bytes.

    key: of the member's row. If it is not known what LevelDB has, the writer looks: take_blind().
    """
    cdef uint64_t order = 0 if v.type == T_NONE or v.length != SCORE_BYTES else score_order(v)
    cdef char envelope[9]
    if e.flags & E_BLIND:
        e.flags &= ~E_BLIND
        tip.blind.append(key)
    elif e.row_at and e.row_at != order:
        rows.append((score_key(e, e.row_at), None))
    e.row_at = order
    if order == 0:
        return e.key_len + SCORE_PREFIX_BYTES
    put_be64(envelope, v.commit_ts)
    envelope[8] = 0
    rows.append((score_key(e, order), PyBytes_FromStringAndSize(envelope, 9)))
    return e.key_len + SCORE_PREFIX_BYTES + 9


cdef bytes score_key(Entry* e, uint64_t order):
    cdef bytes key = PyBytes_FromStringAndSize(NULL, SCORE_PREFIX_BYTES + e.key_len)
    cdef char* p = PyBytes_AS_STRING(key)
    put_score_prefix(p, e.table.id, order)
    memcpy(p + SCORE_PREFIX_BYTES, e.key, e.key_len)
    return key


def take_blind(Tip tip not None):
    """Return the record keys of members in the last slice of which LevelDB may have another score.

    And what note_unseen() asks for.
    """
    keys, tip.blind = tip.blind, []
    return keys


# -- for tests ----------------------------------------------------------------------------------

def score_windows(Tip tip not None, uint64_t id):
    """Return where the order of a sorted set is complete: [(low, high)], see score_bound()."""
    cdef Collection* c = tip.collection(id)
    cdef size_t i
    if c == NULL or c.elements == NULL or c.died:
        return []
    if c.elements.resident:
        return [(bound_bytes(order_bottom()), bound_bytes(order_top()))]
    if c.windows == NULL:
        return []
    return [(bound_bytes(c.windows.at(i).low), bound_bytes(c.windows.at(i).high))
            for i in range(c.windows.size())]
