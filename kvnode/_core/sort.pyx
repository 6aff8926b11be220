# cython: boundscheck=False, wraparound=False
"""SORT and SORT_RO: elements of a list, set or sorted set in order, by themselves or by other keys.

Keys that patterns name are known only once the elements are: so the elements are asked for first,
then all heads, then fields and chunks. Each time the command parks, having written nothing.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memchr
from libcpp cimport bool as cbool
from libcpp.string cimport string
from libcpp.vector cimport vector
from kvnode._core.arguments cimport (
    N_GENERIC, SYNTAX, WRONGTYPE, event, is_word, note_missing, refuse, require_i64)
from kvnode._core.bytes cimport Slice, make_slice
from kvnode._core.collection cimport (
    Element, Walk, change_list, close_collection, create, find_element, find_item, is_past_budget,
    need_walk, next_of, put_item, walk_all)
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.numbers cimport parse_lenient_double
from kvnode._core.order_tree cimport OrderTree
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_array, reply_bulk, reply_integer, reply_null
from kvnode._core.strvalue cimport is_string, need_chunks, read_span, string_length
from kvnode._core.tip cimport T_HASH, T_LIST, T_SET, T_ZSET, Collection, Entry, head_data
from kvnode._core.view cimport (
    ABSENT, FOUND, L_READ, MISS, N_LIST, STEPS_PER_WRITE, Head, View)

cdef extern from "sort_items.hpp" namespace "kvnode" nogil:
    cdef cppclass SortItem:
        SortItem()
        const char* data
        size_t length
        double score
        cbool is_weighed
        string weight
    void sort_items(vector[SortItem]& items, cbool alpha, cbool by, cbool descending) except +


cdef struct Options:
    bint alpha
    bint descending
    bint unsorted           # BY names no key
    int64_t offset
    int64_t count           # negative: all
    const Slice* by         # NULL: by the elements themselves
    const Slice* store


# -- arguments ----------------------------------------------------------------------------------

cdef bint parse(const Args* args, bint writes, Options* options, vector[Slice]* gets,
                Reply reply) except -1:
    """Read the options from argument 2 on; False after an error reply."""
    cdef const Slice* arg
    cdef int left
    cdef int i = 2
    options.alpha = options.descending = options.unsorted = False
    options.offset = 0
    options.count = -1
    options.by = options.store = NULL
    while i < args.n:
        arg = &args.v[i]
        left = args.n - i - 1
        if is_word(arg, b"ASC"):
            options.descending = False
        elif is_word(arg, b"DESC"):
            options.descending = True
        elif is_word(arg, b"ALPHA"):
            options.alpha = True
        elif is_word(arg, b"LIMIT") and left >= 2:
            if not require_i64(&args.v[i + 1], &options.offset, reply) \
                    or not require_i64(&args.v[i + 2], &options.count, reply):
                return False
            i += 2
        elif writes and is_word(arg, b"STORE") and left >= 1:
            i += 1
            options.store = &args.v[i]
        elif is_word(arg, b"BY") and left >= 1:
            i += 1
            options.by = &args.v[i]
            # As in Redis, one BY without a star switches sorting off for good.
            options.unsorted |= memchr(options.by.data, 42, options.by.len) == NULL
        elif is_word(arg, b"GET") and left >= 1:
            i += 1
            gets.push_back(args.v[i])
        else:
            refuse(reply, SYNTAX)
            return False
        i += 1
    return True


# -- elements -----------------------------------------------------------------------------------

cdef void add(vector[SortItem]* items, const char* data, size_t n) noexcept:
    cdef SortItem item
    item.data = data
    item.length = n
    items.push_back(item)


cdef bint take_elements(View view, Collection* c, bint descending, vector[SortItem]* items) except -1:
    """Append all elements, in their own order if they have one, or in its reverse; False: PARK."""
    cdef OrderTree[Entry].Iterator at
    cdef Element element
    cdef Walk walk
    cdef Entry* e
    cdef int64_t i
    if need_walk(view, c):
        return False
    items.reserve(c.meta.length)    # no copies while it grows
    if c.type == T_LIST:
        for i in range(c.meta.tail - c.meta.head):
            if find_item(view, c, c.meta.tail - 1 - i if descending else c.meta.head + i,
                         &element) == FOUND:
                add(items, element.version.data, element.version.length)
    elif c.type == T_ZSET:
        at = c.order.last() if descending else c.order.first()
        while at.valid():
            if view.is_private:
                view.breathe(1)
            add(items, at.entry().key, at.entry().key_len)
            if descending:
                at.previous()
            else:
                at.next()
    else:
        walk_all(view, c, &walk)
        e = next_of(view, &walk)
        while e != NULL:
            add(items, e.key, e.key_len)
            e = next_of(view, &walk)
    return True


cdef void cut(vector[SortItem]* items, Options* options) noexcept:
    """Leave what LIMIT asks for."""
    cdef int64_t n = <int64_t>items.size()
    cdef int64_t start = min(max(options.offset, 0), n)
    cdef int64_t end = n if options.count < 0 else start + min(options.count, n - start)
    items.erase(items.begin() + end, items.end())
    items.erase(items.begin(), items.begin() + start)


# -- patterns -----------------------------------------------------------------------------------

cdef struct Pattern:
    Slice prefix
    Slice suffix
    Slice field             # data NULL: the key is a string
    bint itself             # '#'
    bint is_constant        # no star: it names nothing


cdef Pattern split_pattern(Slice text) noexcept:
    """Take a pattern apart: prefix*suffix or prefix*suffix->field."""
    cdef Pattern p
    cdef const char* star = <const char*>memchr(text.data, 42, text.len)
    cdef const char* end = text.data + text.len
    cdef const char* arrow
    p.itself = text.len == 1 and text.data[0] == 35
    p.is_constant = star == NULL
    p.field.data = NULL
    p.field.len = 0
    if star == NULL:
        return p
    p.prefix = make_slice(text.data, star - text.data)
    p.suffix = make_slice(star + 1, end - star - 1)
    arrow = star + 1
    while arrow + 2 < end:
        if arrow[0] == 45 and arrow[1] == 62:
            p.suffix.len = arrow - star - 1
            p.field = make_slice(arrow + 2, end - arrow - 2)
            break
        arrow += 1
    return p


cdef int look_up(View view, const Pattern* p, const SortItem* item, string* key, string* value,
                 bint heads_only) except -1:
    """Find what a pattern names for an element: FOUND with its value, ABSENT, or MISS (noted).

    heads_only: say only whether the head is missing.
    """
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef Slice name
    cdef int found
    if p.itself:
        value.assign(item.data, item.length)
        return FOUND
    if p.is_constant:
        return ABSENT
    key.assign(p.prefix.data, p.prefix.len)
    key.append(item.data, item.length)
    key.append(p.suffix.data, p.suffix.len)
    name = make_slice(key.data(), key.size())
    if heads_only:
        return MISS if note_missing(view, &name) else ABSENT
    found = view.lookup(name.data, name.len, L_READ, &head)
    if found != FOUND:
        return found
    if p.field.data == NULL:
        if not is_string(head.version):
            return ABSENT
        if need_chunks(view, head.version, 0, string_length(head.version)):
            return MISS
        value.resize(string_length(head.version))
        read_span(view, head.version, 0, value.size(), &value[0][0])
        return FOUND
    if head.version.type != T_HASH:
        return ABSENT
    c = view.tip.collection(head_data(head.version).id)
    found = find_element(view, c, p.field.data, p.field.len, &element)
    if found == FOUND:
        value.assign(element.version.data, element.version.length)
    elif found == ABSENT:
        close_collection(view, &head, c, &name)
    return found


cdef bint need_heads(View view, vector[Pattern]* patterns, vector[SortItem]* items) except -1:
    """Note the heads that patterns name and that must be fetched; whether there are any."""
    cdef string key
    cdef string value
    cdef size_t i
    cdef size_t j
    cdef bint missing = False
    if view.table.resident:
        return False
    for i in range(patterns.size()):
        for j in range(items.size()):
            missing |= look_up(view, &patterns[0][i], &items[0][j], &key, &value, True) == MISS
    return missing


cdef int weigh(View view, const Options* options, vector[SortItem]* items, bint* numeric) except -1:
    """Give every item the weight by which it is sorted; DONE or PARK."""
    cdef Pattern by
    cdef string key
    cdef string value
    cdef SortItem* item
    cdef const char* text
    cdef size_t n
    cdef size_t i
    cdef int found
    cdef bint missing = False
    numeric[0] = True
    if options.by != NULL:
        by = split_pattern(options.by[0])
    for i in range(items.size()):
        if view.is_private:
            view.breathe(1)
        item = &items[0][i]
        text = item.data
        n = item.length
        if options.by != NULL:
            found = look_up(view, &by, item, &key, &value, False)
            missing |= found == MISS
            if found != FOUND:
                continue
            text = value.data()
            n = value.size()
            item.is_weighed = True
            if options.alpha:
                item.weight = value
        if not options.alpha:
            numeric[0] &= parse_lenient_double(text, n, &item.score)
    return PARK if missing else DONE


# -- results ------------------------------------------------------------------------------------

cdef struct Cell:
    bint there
    size_t at               # in the text of all cells
    size_t length


cdef int make_room(View view, string* text, size_t n) except -1:
    """Let a text grow by `n` bytes; a long one is copied without the interpreter."""
    cdef size_t room = text.size() + n
    if room <= text.capacity() or not view.is_private:
        return 0
    with nogil:
        text.reserve(2 * room)
    return 0


cdef int fill(View view, vector[Pattern]* gets, vector[SortItem]* items, vector[Cell]* cells,
              string* text) except -1:
    """Find what is to be returned, item by item; DONE or PARK."""
    cdef string key
    cdef string value
    cdef Cell cell
    cdef size_t i
    cdef size_t j
    cdef int found
    cdef bint missing = False
    cells.reserve(items.size() * gets.size())
    for i in range(items.size()):
        if view.is_private:
            view.breathe(1)
        for j in range(gets.size()):
            found = look_up(view, &gets[0][j], &items[0][i], &key, &value, False)
            missing |= found == MISS
            cell.there = found == FOUND
            cell.at = text.size()
            cell.length = 0
            if cell.there:
                cell.length = value.size()
                make_room(view, text, cell.length)
                text.append(value)
            cells.push_back(cell)
    return PARK if missing else DONE


cdef int store(View view, const Slice* key, vector[Cell]* cells, string* text,
               Reply reply) except -1:
    """Make the results a list; what is absent is stored as an empty string."""
    cdef Head head
    cdef Collection* c
    cdef int64_t n = <int64_t>cells.size()
    cdef int64_t i
    if is_past_budget(view, STEPS_PER_WRITE * n):
        return PARK
    if view.lookup(key.data, key.len, 0, &head) == FOUND and n == 0:
        view.remove(&head)
        event(view, N_GENERIC, b"del", key)
    if n:
        c = create(view, &head, T_LIST)
        for i in range(n):
            put_item(view, c, i, text.data() + cells[0][i].at, cells[0][i].length)
        change_list(view, c, n, 0, n, 0)
        event(view, N_LIST, b"sortstore", key)
    return reply_integer(reply, n)


cdef int sort(View view, Args* args, bint writes, Reply reply) except -1:
    cdef Options options
    cdef Head head
    cdef Collection* c = NULL
    cdef vector[Slice] gets
    cdef vector[Pattern] patterns
    cdef vector[Pattern] by
    cdef vector[SortItem] items
    cdef vector[Cell] cells
    cdef string text
    cdef uint8_t type
    cdef int found
    cdef bint numeric = True
    cdef size_t i
    if not parse(args, writes, &options, &gets, reply):
        return DONE
    if options.store != NULL and note_missing(view, options.store):
        note_missing(view, &args.v[1])
        return PARK
    found = view.lookup(args.v[1].data, args.v[1].len, L_READ, &head)
    if found == MISS:
        return PARK
    if found == FOUND:
        type = head.version.type
        if type != T_LIST and type != T_SET and type != T_ZSET:
            return refuse(reply, WRONGTYPE)
        c = view.tip.collection(head_data(head.version).id)
        view.observed = max(view.observed, c.changed)
        if options.unsorted and type == T_SET and options.store != NULL:
            options.unsorted = False    # what is stored shall not depend on hashes
            options.alpha = True
            options.by = NULL
        if not take_elements(view, c, options.unsorted and options.descending, &items):
            return PARK
    if options.unsorted:
        cut(&items, &options)
    elif options.by != NULL:
        by.push_back(split_pattern(options.by[0]))
    for i in range(gets.size()):
        patterns.push_back(split_pattern(gets[i]))
    if need_heads(view, &by, &items) or need_heads(view, &patterns, &items):
        return PARK
    if not options.unsorted:
        if weigh(view, &options, &items, &numeric) == PARK:
            return PARK
        if not numeric:
            return refuse(reply, b"ERR One or more scores can't be converted into double")
        if view.is_private:
            with nogil:
                sort_items(items, options.alpha, options.by != NULL, options.descending)
        else:
            sort_items(items, options.alpha, options.by != NULL, options.descending)
        cut(&items, &options)
    if patterns.empty():
        patterns.push_back(split_pattern(make_slice(b"#", 1)))
    if fill(view, &patterns, &items, &cells, &text) == PARK:
        return PARK
    if options.store != NULL:
        return store(view, options.store, &cells, &text, reply)
    reply_array(reply, <int64_t>cells.size())
    for i in range(cells.size()):
        if cells[i].there:
            reply_bulk(reply, text.data() + cells[i].at, cells[i].length)
        else:
            reply_null(reply)
    return DONE


cdef int cmd_sort(View view, Args* args, Reply reply) except -1:
    return sort(view, args, True, reply)


cdef int cmd_sort_ro(View view, Args* args, Reply reply) except -1:
    return sort(view, args, False, reply)


HANDLERS = {
    "sort": native(cmd_sort),
    "sort_ro": native(cmd_sort_ro),
}
