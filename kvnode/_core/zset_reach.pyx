# cython: boundscheck=False, wraparound=False
"""Brings the members of a sorted set that a command needs by score or rank into memory, and no others."""

from typing import NamedTuple

from libc.stdint cimport uint64_t
from kvnode._core.collection cimport need_all
from kvnode._core.score_windows cimport (
    ScoreWindows, bound_bytes, bound_of, order_bottom, order_top)
from kvnode._core.session cimport Session
from kvnode._core.tip cimport T_NONE, Entry, Version, score_order, windows_of
from kvnode._core.view cimport FOUND, MISS, Write


class ScoreSpan(NamedTuple):
    """Members wanted from LevelDB: up to `count` of those with low <= bound < high.

    The first ones, or the last ones if is_backward. A bound is eight sortable bytes and a name.
    """

    id: int
    low: bytes
    high: bytes
    count: int
    is_backward: bool


class RankOf(NamedTuple):
    """How many members of a set stand below a bound: wanted by a transaction."""

    id: int
    bound: bytes


class MemberAt(NamedTuple):
    """The bound at which the member of a rank stands, above all members if there is none: the same."""

    id: int
    rank: int


cdef int reach(View view, Collection* c, OrderBound low, OrderBound high, int64_t need,
               bint backward) except -1:
    """Make sure of the first `need` members of [low, high), or of the last: FOUND or MISS."""
    cdef ScoreWindows* windows
    cdef OrderBound edge = high if backward else low
    cdef int64_t have = 0
    cdef bint from_end = high.is_top() if backward else low.is_bottom()
    cdef int i
    if c.elements.resident or need <= 0 or low.compare(high) >= 0:
        return FOUND
    if is_read_whole(view, c):
        return want_all(view, c)
    windows = windows_of(c)
    i = windows.ending(high) if backward else windows.holding(low)
    if i >= 0:
        windows.touch(i)
        edge = windows.at(i).low if backward else windows.at(i).high
        from_end = windows.at(i).high.is_top() if backward else windows.at(i).low.is_bottom()
        if (edge.compare(low) <= 0) if backward else (edge.compare(high) >= 0):
            return FOUND
        have = count_between(c, edge, high) if backward else count_between(c, low, edge)
        if have >= need:
            return FOUND
    if not view.is_private:
        need = min(need, reach_max(view))
        if have >= need:
            return want_all(view, c)    # more than one command brings in
    need = max(need - have, view.tip.page_members // (1 if from_end else INNER_SHARE))
    if backward:
        return ask(view, c, low, edge, need, True)
    return ask(view, c, edge, high, need, False)


cdef int reach_end(View view, Collection* c, int64_t need, bint highest) except -1:
    """Make sure of the `need` lowest, or highest, members: FOUND or MISS."""
    if c.elements.resident:
        return FOUND
    return reach(view, c, order_bottom(), order_top(), min(need, c.meta.length), highest)


cdef int reach_ranks(View view, Collection* c, size_t* start, size_t count) except -1:
    """Make sure of the members of `count` ranks from start[0] on: FOUND or MISS.

    start[0] becomes the rank of the first of them within `c.order`. REQUIRES: so many there are.
    """
    cdef int64_t below = <int64_t>start[0]
    cdef int64_t above = c.meta.length - below - <int64_t>count
    cdef bint from_end = above < below
    cdef int found
    if c.elements.resident or count == 0:
        return FOUND
    if view.is_private and not is_read_whole(view, c):
        return reach_counted(view, c, start, <int64_t>count)
    if (above if from_end else below) + <int64_t>count > reach_max(view):
        return want_all(view, c)
    found = reach_end(view, c, (above if from_end else below) + <int64_t>count, from_end)
    if found == FOUND and from_end:
        start[0] = c.order.size() - above - count
    return found


cdef int find_rank(View view, Collection* c, const OrderBound& bound, size_t* rank) except -1:
    """Find how many members there are below a bound: FOUND or MISS."""
    if c.elements.resident:
        rank[0] = c.order.lower_bound(bound.order, bound.name.data(), bound.name.size())
        return FOUND
    if rank_is_known(c, bound, rank):
        return FOUND
    if not view.is_private or is_read_whole(view, c):
        return want_all(view, c)
    windows_of(c)                       # the set must not change: see commit
    wanted = RankOf(c.id, bound_bytes(bound))
    counted = view.ranges.get(wanted)
    if counted is None:
        c.windows.searched += 1
        view.missing_spans.add(wanted)
        return MISS
    rank[0] = <size_t>(<int64_t>counted + own_below(view, c, bound))
    return FOUND


cdef bint rank_is_known(Collection* c, const OrderBound& bound, size_t* rank) except -1:
    """Whether the windows tell how many members there are below a bound."""
    cdef size_t before = c.order.lower_bound(bound.order, bound.name.data(), bound.name.size())
    cdef ScoreWindows* windows = c.windows
    cdef int i
    rank[0] = 0
    if bound.is_bottom():
        return True
    rank[0] = <size_t>c.meta.length
    if bound.is_top():
        return True
    if windows == NULL:
        return False
    i = windows.ending(bound)
    if i >= 0 and windows.at(i).low.is_bottom():
        windows.touch(i)
        rank[0] = before
        return True
    i = windows.holding(bound)
    if i >= 0 and windows.at(i).high.is_top():
        windows.touch(i)
        rank[0] = <size_t>c.meta.length - (c.order.size() - before)
        return True
    return False


# -- ranks in a transaction ---------------------------------------------------------------------

cdef int reach_counted(View view, Collection* c, size_t* start, int64_t count) except -1:
    """reach_ranks() where the snapshot's ranks are counted, and the transaction may have changed the set.

    Each member that it has changed moves a rank by one at most.
    """
    cdef int64_t first = max(<int64_t>0, <int64_t>start[0] - own_changes(view, c))
    cdef OrderBound low
    cdef int64_t skipped
    windows_of(c)                       # the set must not change: see commit
    wanted = MemberAt(c.id, first)
    found = view.ranges.get(wanted)
    if found is None:
        c.windows.searched += 1
        view.missing_spans.add(wanted)
        return MISS
    low = bound_of(found) if first else order_bottom()
    skipped = <int64_t>start[0] - first - own_below(view, c, low)
    if reach(view, c, low, order_top(), skipped + count, False) == MISS:
        return MISS
    start[0] = c.order.lower_bound(low.order, low.name.data(), low.name.size()) + <size_t>skipped
    return FOUND


cdef int64_t own_changes(View view, Collection* c) noexcept:
    """How many members the transaction has written."""
    cdef Write w
    cdef size_t i
    cdef int64_t changes = 0
    for i in range(view.writes.size()):
        w = view.writes[i]
        changes += w.entry.table == c.elements and w.entry.newest == w.version
    return changes


cdef int64_t own_below(View view, Collection* c, const OrderBound& bound) noexcept:
    """By how much it has changed the number of members below a bound."""
    cdef Write w
    cdef Version* v
    cdef int64_t change = 0
    cdef size_t i
    for i in range(view.writes.size()):
        w = view.writes[i]
        if w.entry.table != c.elements or w.entry.newest != w.version:
            continue
        change += is_below(w.entry, w.version, bound)
        v = w.version
        while v.older != NULL:
            v = v.older
        if v.commit_ts < view.commit_ts:    # what the snapshot has
            change -= is_below(w.entry, v, bound)
    return change


cdef bint is_below(const Entry* e, const Version* v, const OrderBound& bound) noexcept:
    return v.type != T_NONE and OrderBound(score_order(v), e.key, e.key_len).compare(bound) < 0


# -- what is missing ----------------------------------------------------------------------------

cdef int64_t count_between(Collection* c, const OrderBound& low, const OrderBound& high) noexcept:
    """Members in memory in [low, high)."""
    return <int64_t>c.order.lower_bound(high.order, high.name.data(), high.name.size()) \
        - <int64_t>c.order.lower_bound(low.order, low.name.data(), low.name.size())


cdef int64_t reach_max(View view) noexcept:
    """How many members one command may bring into memory."""
    cdef int64_t most = view.tip.reach_members
    if view.tip.cache_bytes:
        most = min(most, <int64_t>(view.tip.cache_bytes // (REACH_SHARE * MEMBER_BYTES)))
    return max(most, view.tip.page_members)


cdef bint is_read_whole(View view, Collection* c) noexcept:
    """Whether reading all members costs no more than a few pages, or than what was searched for."""
    cdef uint64_t bytes = view.tip.bytes + 2 * MEMBER_BYTES * <uint64_t>c.meta.length
    if c.meta.length <= 2 * view.tip.page_members:
        return True
    return view.is_private and c.windows != NULL and bytes < view.bytes_max \
        and c.windows.searched * SEARCH_MEMBERS > <uint64_t>c.meta.length


cdef int want_all(View view, Collection* c) except -1:
    """All members are needed. MISS: they are asked for, or the command goes on as a transaction."""
    need_all(view, c)
    return MISS


cdef int ask(View view, Collection* c, const OrderBound& low, const OrderBound& high, int64_t count,
             bint backward) except -1:
    """Ask for a page of score rows. Past PAGES_MAX the cache loses them as fast as they come."""
    cdef Session session = view.session
    if session is not None and not view.is_private:
        if session.paged_command != session.commands:
            session.paged_command = session.commands
            session.pages = 0
        session.pages += 1
        if session.pages > PAGES_MAX:
            return want_all(view, c)
    windows_of(c).searched += view.is_private
    count = min(max(count, <int64_t>1), <int64_t>PAGE_ROWS_MAX)
    view.missing_spans.add(ScoreSpan(c.id, bound_bytes(low), bound_bytes(high), count, backward))
    return MISS
