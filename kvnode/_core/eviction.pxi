# What leaves memory, record by record. Included by tip.pyx.

cdef int note_evicted(Tip tip, Entry* e) except -1:
    """A record leaves memory: its table is not complete any more, but may keep a filter of keys."""
    cdef Table* table = e.table
    if table.owner != NULL:
        return note_part_evicted(tip, e)
    if table.resident:
        table.resident = False
        if table.kind == K_HEAD and table.filter == NULL:
            begin_filter(table, tip.filter_bytes_max)
    if table.filter != NULL:
        add_once(table.filter, e.hash)
    return 0


cdef inline int add_once(KeyFilter* filter, uint64_t hash) except -1:
    """A filter grows with what is added, so what has left before is not added again."""
    if not filter.may_contain(hash):
        filter.add(hash)
    return 0


cdef int begin_filter(Table* table, uint64_t bytes_max) except -1:
    """From here on note what leaves a table that was complete; after a restart there is no filter."""
    table.filter = new KeyFilter(FILTER_GROWTH * table.entries, bytes_max)
    return 0


cdef size_t evict_bucket(Tip tip, Table* table, uint64_t at, bint all) except? 0:
    """Drop the clean entries of the bucket of a hash; those used lately only if `all`.

    The table may shrink: the bucket after it is to be found before.
    """
    cdef Segment* segment = segment_of(table, at)
    cdef Entry* e = segment.buckets[bucket_of(segment, at)]
    cdef Entry* following
    cdef size_t dropped = 0
    while e != NULL:
        following = e.next
        if e.flags & E_USED and not all:
            e.flags &= ~E_USED
        elif e.flags & ~(E_STORED | E_USED | E_GONE) == 0 and e.newest.commit_ts <= tip.durable \
                and e.clean_since < tip.fetch_oldest:
            tip.prune(e)       # what a pin still sees is in LevelDB's history
            if table.kind == K_HEAD and not release_head(tip, e):
                e = following
                continue
            if e.newest.type != T_NONE or e.newest.older != NULL:
                # (what LevelDB lacks anyway is no loss)
                note_evicted(tip, e)
            tip.take_out(e)
            dropped += 1
        e = following
    if dropped and not is_dying(table):
        shrink_segment(table, at)
    return dropped
