# cython: boundscheck=False, wraparound=False
"""List commands that look for elements and change the middle: LREM, LINSERT, LPOS.

They need the whole list in memory: one that is not is read, a page after another, before they run.
What they look at and what they rewrite counts for the step budget: past it they answer PARK, with
nothing done, and run as a transaction.
"""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t
from libc.stdlib cimport free
from libc.string cimport memcmp, memcpy
from libcpp.algorithm cimport reverse
from libcpp.vector cimport vector
from kvnode._core.arguments cimport SYNTAX, event, is_word, refuse, require_i64
from kvnode._core.bytes cimport Slice, parse_i64
from kvnode._core.claim_window cimport ClaimWindow, Run
from kvnode._core.claims cimport append_run, change_runs, put_claim, window_of
from kvnode._core.collection cimport (
    AS_ZERO, WRONG, Element, answer_absent, begin_copy, change_list, close_collection, find_item,
    is_past_budget, need_walk, outcome_of, put_item, remove_item)
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.items cimport Place, items_missing, open_list, place_of, push, step
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_array, reply_integer, reply_null
from kvnode._core.tip cimport T_LIST, Collection, Version
from kvnode._core.view cimport FOUND, L_READ, MISS, N_LIST, STEPS_PER_WRITE, Head, View

cdef enum:
    LIST_GAP_EVERY = 128        # elements between the gaps of a list that is rewritten for that,
    LIST_GAP = 128              # and the dead positions of each gap
    LOOK_ITEMS = 32             # elements looked at together


cdef bint items_absent(View view, Collection* c) except -1:
    """Whether the command must be parked: the list is not in memory. What it looks at, it counts then."""
    return not c.elements.resident and need_walk(view, c)


cdef inline bint equals(const Version* v, const Slice* wanted) noexcept nogil:
    return v.length == wanted.len and memcmp(v.data, wanted.data, wanted.len) == 0


# -- rewriting ----------------------------------------------------------------------------------

cdef Collection* rewrite(View view, Head* head, const vector[Version*]& elements,
                         bint with_gaps) except NULL:
    """Give the key a new list of these elements: dense, or with gaps for what LINSERT will add."""
    cdef Collection* c = begin_copy(view, T_LIST, head, head.version.expire_at, head.version.flags)
    cdef int64_t position = 0
    cdef int64_t holes = 0
    cdef size_t i
    for i in range(elements.size()):
        if with_gaps and i and i % LIST_GAP_EVERY == 0:
            put_claim(view, c, position, LIST_GAP)
            position += LIST_GAP
            holes += LIST_GAP
        put_item(view, c, position, elements[i].data, elements[i].length)
        position += 1
    change_list(view, c, elements.size(), 0, position, holes)
    return c


# -- LREM ---------------------------------------------------------------------------------------

cdef bint find_equal(View view, Collection* c, const Slice* wanted, int64_t limit, bint backward,
                     vector[int64_t]* positions) except -1:
    """Append up to `limit` positions of elements that equal `wanted`, in ascending order.

    True: the command is past its budget.
    """
    cdef vector[Version*] items
    cdef Place place = place_of(view, c, c.meta.length - 1 if backward else 0)
    cdef Place at = place
    cdef int64_t left = c.meta.length
    cdef Version* v
    while left > 0 and <int64_t>positions.size() < limit:
        items.clear()
        if is_past_budget(view, min(left, LOOK_ITEMS)):
            return True
        items_missing(view, c, &place, min(left, LOOK_ITEMS), backward, &items)
        left -= items.size()
        for v in items:
            if equals(v, wanted) and <int64_t>positions.size() < limit:
                positions.push_back(at.position)
            step(&at, backward)
    if backward:
        reverse(positions.begin(), positions.end())
    return False


cdef int merge_runs(View view, Collection* c, vector[int64_t]& dead,
                    vector[Run]* runs) except -1:
    """Set `runs` to the claims of a list and further dead positions."""
    cdef size_t count = 0
    cdef size_t next_run = 0
    cdef int64_t position
    cdef ClaimWindow* window = window_of(view, c)
    if window != NULL:
        count = window.size()
    for position in dead:
        while next_run < count and window.at(next_run).start < position:
            append_run(runs, window.at(next_run).start, window.at(next_run).count)
            next_run += 1
        append_run(runs, position, 1)
    while next_run < count:
        append_run(runs, window.at(next_run).start, window.at(next_run).count)
        next_run += 1
    return 0


cdef int trim_runs(vector[Run]* runs, int64_t* head, int64_t* tail) except -1:
    """Move head and tail over the runs at the ends, which go; return the positions of the others."""
    cdef int64_t holes = 0
    cdef size_t i
    if runs.size() and runs.front().start == head[0]:
        head[0] += runs.front().count
        runs.erase(runs.begin())
    if runs.size() and runs.back().start + runs.back().count == tail[0]:
        tail[0] = runs.back().start
        runs.pop_back()
    for i in range(runs.size()):
        holes += runs[0][i].count
    return holes


cdef bint kill_positions(View view, Head* head, Collection* c, vector[int64_t]& dead) except -1:
    """Remove the elements at positions in ascending order, not all of the list.

    Where that takes too many runs of claims, or tombstones, what is left is written anew. True: the
    command is past its budget, and nothing is done.
    """
    cdef vector[Run] runs
    cdef vector[Version*] items
    cdef Element element
    cdef Place place
    cdef int64_t first = c.meta.head
    cdef int64_t end = c.meta.tail
    cdef int64_t holes
    cdef int64_t position
    cdef size_t next_dead = 0
    cdef int64_t i
    merge_runs(view, c, dead, &runs)
    holes = trim_runs(&runs, &first, &end)
    if <int64_t>runs.size() > view.list_runs_max or \
            STEPS_PER_WRITE * <int64_t>dead.size() > view.steps_max:
        if is_past_budget(view, STEPS_PER_WRITE * c.meta.length):
            return True
        items.reserve(c.meta.length)
        place = place_of(view, c, 0)
        for i in range(c.meta.length):
            if next_dead < dead.size() and dead[next_dead] == place.position:
                next_dead += 1
            elif find_item(view, c, place.position, &element) == FOUND:
                items.push_back(element.version)
            step(&place, False)
        rewrite(view, head, items, False)
        return False
    if is_past_budget(view, STEPS_PER_WRITE * <int64_t>dead.size()):
        return True
    for position in dead:
        if first <= position < end and find_item(view, c, position, &element) == FOUND:
            remove_item(view, c, &element)
    change_runs(view, c, runs)
    change_list(view, c, -<int64_t>dead.size(), first - c.meta.head, end - c.meta.tail,
                holes - c.meta.holes)
    return False


cdef int cmd_lrem(View view, Args* args, Reply reply) except -1:
    cdef vector[int64_t] dead
    cdef Head head
    cdef Collection* c
    cdef int64_t count
    cdef int64_t limit
    cdef int64_t length
    cdef int found
    if not require_i64(&args.v[2], &count, reply):
        return DONE
    found = open_list(view, &args.v[1], 0, &head, &c, reply)
    if found != FOUND:
        return answer_absent(found, AS_ZERO, reply)
    if items_absent(view, c):
        return PARK
    length = c.meta.length
    limit = INT64_MAX if count == 0 or count == INT64_MIN else -count if count < 0 else count
    if find_equal(view, c, &args.v[3], limit, count < 0, &dead):
        return PARK
    if dead.size() == 0:
        return reply_integer(reply, 0)
    if <int64_t>dead.size() == length:
        change_list(view, c, -c.meta.length, c.meta.tail - c.meta.head, 0, -c.meta.holes)
    elif kill_positions(view, &head, c, dead):
        return PARK
    event(view, N_LIST, b"lrem", &args.v[1])
    if <int64_t>dead.size() == length:
        close_collection(view, &head, c, &args.v[1])
    return reply_integer(reply, dead.size())


# -- LINSERT ------------------------------------------------------------------------------------

cdef int move_items(View view, Collection* c, int64_t first, int64_t end, int64_t by) except -1:
    """Move the items at positions [first, end), of which none is dead, one up or down."""
    cdef Element element
    cdef int64_t i
    for i in range(end - first):
        find_item(view, c, first + i if by < 0 else end - 1 - i, &element)
        put_item(view, c, (first + i if by < 0 else end - 1 - i) + by, element.version.data,
                 element.version.length)
    return 0


cdef bint insert_before(View view, Head* head, Collection* c, Place place, bint after_pivot,
                        const Slice* value) except -1:
    """Insert a value between the elements at a place and before it, of which both are there.

    It takes a hole between them, else what lies up to the nearest hole or end moves by one. True: the
    command is past its budget, and nothing is done.
    """
    cdef Run below          # the run before the place
    cdef Run above          # the run behind it
    cdef bint has_below = place.run > 0
    cdef bint has_above = place.window != NULL and place.run < place.window.size()
    cdef int64_t at = place.position
    cdef int64_t low        # the lowest position that moves down
    cdef int64_t high       # behind the highest that moves up
    below.start = below.count = above.start = above.count = 0
    if has_below:
        below = place.window.at(place.run - 1)
    if has_above:
        above = place.window.at(place.run)
    if has_below and below.start + below.count == at:
        # The holes that are left stay beside the pivot, where the next one is likely to go.
        if after_pivot:
            at -= 1
            put_claim(view, c, below.start, below.count - 1)
        else:
            at = below.start
            put_claim(view, c, below.start, 0)
            if below.count > 1:
                put_claim(view, c, below.start + 1, below.count - 1)
        put_item(view, c, at, value.data, value.len)
        change_list(view, c, 1, 0, 0, -1)
        return False
    low = below.start + below.count if has_below else c.meta.head
    high = above.start if has_above else c.meta.tail
    if min(at - low, high - at) > view.list_shift_max:
        return insert_by_rewrite(view, head, c, place, value)
    if at - low <= high - at:
        move_items(view, c, low, at, -1)
        put_item(view, c, at - 1, value.data, value.len)
        if has_below:
            put_claim(view, c, below.start, below.count - 1)
            change_list(view, c, 1, 0, 0, -1)
        else:
            change_list(view, c, 1, -1, 0, 0)
        return False
    move_items(view, c, at, high, 1)
    put_item(view, c, at, value.data, value.len)
    if not has_above:
        change_list(view, c, 1, 0, 1, 0)
        return False
    put_claim(view, c, above.start, 0)
    if above.count > 1:
        put_claim(view, c, above.start + 1, above.count - 1)
    change_list(view, c, 1, 0, 0, -1)
    return False


cdef bint insert_by_rewrite(View view, Head* head, Collection* c, Place place,
                            const Slice* value) except -1:
    """The same by writing the list anew, with gaps."""
    cdef vector[Version*] items
    cdef Place walk
    cdef Version* v
    cdef int64_t index = place.position - c.meta.head
    if is_past_budget(view, STEPS_PER_WRITE * c.meta.length):
        return True
    walk = place_of(view, c, 0)
    if place.window != NULL:
        index = place.window.index_of(c.meta.head, place.position)
    items_missing(view, c, &walk, c.meta.length, False, &items)
    v = view.tip.new_version(value.len)
    memcpy(v.data, value.data, value.len)
    items.insert(items.begin() + index, v)
    rewrite(view, head, items, True)
    free(v)
    return False


cdef int cmd_linsert(View view, Args* args, Reply reply) except -1:
    cdef vector[int64_t] pivot
    cdef Head head
    cdef Collection* c
    cdef Place place
    cdef int64_t length
    cdef bint after = is_word(&args.v[2], b"AFTER")
    cdef int found
    if not after and not is_word(&args.v[2], b"BEFORE"):
        return refuse(reply, SYNTAX)
    found = open_list(view, &args.v[1], 0, &head, &c, reply)
    if found != FOUND:
        return answer_absent(found, AS_ZERO, reply)
    if items_absent(view, c) or find_equal(view, c, &args.v[3], 1, False, &pivot):
        return PARK
    if pivot.size() == 0:
        return reply_integer(reply, -1)
    length = c.meta.length + 1
    place.position = pivot[0]
    place.window = window_of(view, c)
    place.run = place.window.runs_upto(pivot[0]) if place.window != NULL else 0
    if after and pivot[0] == c.meta.tail - 1:
        push(view, c, args.v[4].data, args.v[4].len, True)
    elif not after and pivot[0] == c.meta.head:
        push(view, c, args.v[4].data, args.v[4].len, False)
    else:
        if after:
            step(&place, False)
        if insert_before(view, &head, c, place, after, &args.v[4]):
            return PARK
    event(view, N_LIST, b"linsert", &args.v[1])
    return reply_integer(reply, length)


# -- LPOS ---------------------------------------------------------------------------------------

cdef struct Search:
    int64_t rank            # of the first match that counts; negative: from the end
    int64_t count           # matches wanted; 0: all; -1: one, and no array
    int64_t looks_max       # elements compared; 0: all


cdef bint read_search(Args* args, Search* search, Reply reply) except -1:
    """Read the options of LPOS; False after an error reply."""
    cdef int64_t value
    cdef int i = 3
    search.rank = 1
    search.count = -1
    search.looks_max = 0
    while i < args.n:
        if i + 1 == args.n:
            refuse(reply, SYNTAX)
            return False
        if is_word(&args.v[i], b"RANK"):
            if not require_i64(&args.v[i + 1], &search.rank, reply):
                return False
            if search.rank == INT64_MIN:
                refuse(reply, b"ERR value is out of range, value must between "
                       b"-9223372036854775807 and 9223372036854775807")
                return False
            if search.rank == 0:
                refuse(reply, b"ERR RANK can't be zero: use 1 to start from the first match, 2 from "
                       b"the second ... or use negative to start from the end of the list")
                return False
        elif is_word(&args.v[i], b"COUNT"):
            if not parse_i64(args.v[i + 1].data, args.v[i + 1].len, &search.count) \
                    or search.count < 0:
                refuse(reply, b"ERR COUNT can't be negative")
                return False
        elif is_word(&args.v[i], b"MAXLEN"):
            if not parse_i64(args.v[i + 1].data, args.v[i + 1].len, &search.looks_max) \
                    or search.looks_max < 0:
                refuse(reply, b"ERR MAXLEN can't be negative")
                return False
        else:
            refuse(reply, SYNTAX)
            return False
        i += 2
    return True


cdef bint find_indexes(View view, Collection* c, const Slice* wanted, const Search* search,
                       vector[int64_t]* indexes) except -1:
    """Append the indexes that LPOS answers. True: the command is past its budget."""
    cdef vector[Version*] items
    cdef bint backward = search.rank < 0
    cdef int64_t skip = (-search.rank if backward else search.rank) - 1
    cdef int64_t limit = 1 if search.count < 0 else search.count if search.count else INT64_MAX
    cdef int64_t left = c.meta.length
    cdef int64_t index = c.meta.length - 1 if backward else 0
    cdef Place place = place_of(view, c, index)
    cdef Version* v
    if search.looks_max:
        left = min(left, search.looks_max)
    while left > 0 and <int64_t>indexes.size() < limit:
        items.clear()
        if is_past_budget(view, min(left, LOOK_ITEMS)):
            return True
        items_missing(view, c, &place, min(left, LOOK_ITEMS), backward, &items)
        left -= items.size()
        for v in items:
            if equals(v, wanted):
                if skip > 0:
                    skip -= 1
                elif <int64_t>indexes.size() < limit:
                    indexes.push_back(index)
            index += -1 if backward else 1
    return False


cdef int cmd_lpos(View view, Args* args, Reply reply) except -1:
    cdef vector[int64_t] indexes
    cdef Search search
    cdef Head head
    cdef Collection* c
    cdef int64_t index
    cdef int found
    if not read_search(args, &search, reply):
        return DONE
    found = open_list(view, &args.v[1], L_READ, &head, &c, reply)
    if found == MISS or found == WRONG:
        return outcome_of(found)
    if found == FOUND and (items_absent(view, c) or find_indexes(
            view, c, &args.v[2], &search, &indexes)):
        return PARK
    if search.count < 0:
        return reply_integer(reply, indexes[0]) if indexes.size() else reply_null(reply)
    reply_array(reply, indexes.size())
    for index in indexes:
        reply_integer(reply, index)
    return DONE


HANDLERS = {
    "lrem": native(cmd_lrem),
    "linsert": native(cmd_linsert),
    "lpos": native(cmd_lpos),
}
