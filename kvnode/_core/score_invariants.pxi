# What holds of sorted sets in memory. Included by invariants.pyx.

cdef int check_order(Tip tip, Collection* c) except -1:
    """The order has the members that are in memory, each under its score; its windows are sound."""
    cdef OrderTree[Entry].Iterator at
    cdef Entry* e
    cdef const char* broken = c.order.check()
    require(broken == NULL, f"the order of {c.id} is broken" if broken == NULL
            else f"the order of {c.id} is broken: {broken.decode()}")
    at = c.order.first()
    while at.valid():
        e = at.entry()
        require(tip.find(c.elements, e.hash, e.key, e.key_len) == e,
                f"the order of {c.id} has an entry that is no member")
        require(e.newest.type != T_NONE and score_order(e.newest) == at.order(),
                f"the order of {c.id} has a member under another score")
        at.next()
    require(<int64_t>c.order.size() == live_elements(c),
            f"the order of {c.id} has {c.order.size()} of {live_elements(c)} members")
    if c.windows != NULL:
        broken = c.windows.check()
    require(broken == NULL, f"the windows of {c.id} are broken" if broken == NULL
            else f"the windows of {c.id} are broken: {broken.decode()}")
    return 0


cdef uint64_t stored_order(Entry* e) noexcept:
    """The score under which LevelDB has to have a clean member."""
    cdef Version* v = e.newest
    return score_order(v) if v.type != T_NONE and v.length == SCORE_BYTES else 0
