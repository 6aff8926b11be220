# The check of one list's claims and items, and of the memory of what is in order. Included by invariants.pyx.

cdef int check_list(Tip tip, Collection* c) except -1:
    """Claims lie strictly inside the list, apart from each other, and no live item under them."""
    cdef vector[Entry*] entries
    cdef ClaimWindow window
    cdef Run run
    cdef int64_t dead = 0
    cdef int64_t behind = c.meta.head   # of the last run; the position there is live
    cdef uint64_t at = 0
    cdef bint done = c.claims == NULL
    cdef Entry* e
    cdef size_t i
    while not done:
        tip.scan_next(c.claims, at, &entries, 1 << 16, &at, &done)
    for e in entries:
        if e.newest.type != T_NONE:
            window.add(get_position(e.key), get_be32(e.newest.data))
    window.sort()
    for i in range(window.size()):
        run = window.at(i)
        dead += run.count
        require(run.count > 0 and run.start > behind and run.start + run.count < c.meta.tail,
                f"list {c.id}: a run of {run.count} claims at {run.start} is misplaced")
        check_items(tip, c, behind, run.start, True)
        check_items(tip, c, run.start, run.start + run.count, False)
        behind = run.start + run.count
    if c.meta.holes and (c.claims == NULL or not c.claims.resident):
        return 0    # not all are in memory
    require(dead == c.meta.holes, f"list {c.id}: {dead} positions claimed, {c.meta.holes} holes")
    return check_items(tip, c, behind, c.meta.tail, True)


cdef int check_items(Tip tip, Collection* c, int64_t position, int64_t end, bint live) except -1:
    """All of some positions are live, or none; of a list in memory, and no more than some."""
    cdef char key[8]
    cdef Entry* e
    if not c.elements.resident:
        return 0
    for position in range(position, min(end, position + LIST_ITEMS_CHECKED)):
        put_position(key, position)
        e = tip.find(c.elements, position_hash(key), key, POSITION_BYTES)
        require((e != NULL and e.newest.type != T_NONE) == live,
                f"list {c.id}: position {position} should be {'live' if live else 'dead'}")
    return 0


cdef size_t index_bytes(Tip tip) except? 0:
    """Return the memory of all orders, windows and filters."""
    cdef Collection* c = tip.clock_start
    cdef size_t total = 0
    cdef size_t bytes
    while c != NULL:
        bytes = (c.order.bytes() if c.order != NULL else 0) \
            + (c.window.bytes() if c.window != NULL else 0) \
            + (c.elements.filter.bytes() if c.elements != NULL and c.elements.filter != NULL else 0)
        require(bytes == c.index_bytes, f"collection {c.id}: {c.index_bytes} bytes of indexes "
                f"counted, {bytes} in use")
        total += bytes
        c = c.next if c.next != tip.clock_start else NULL
    return total
