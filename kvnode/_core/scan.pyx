# cython: boundscheck=False, wraparound=False
"""Commands that walk a database in hash order: SCAN, KEYS, RANDOMKEY.

A cursor is the top 53 bits of the hash from which to go on, so it holds across restarts and in
clients that keep numbers as doubles; all names of one such value come in one reply. Hashes of names
never change, hence Redis's guarantee: what is there from a walk's start to its end is returned.

A database that is not resident is merged from the tip and from rows of LevelDB. These are fetched
by range: view.ranges[generation, from_hash, count] = (rows, next_hash, done), where rows is a list
of (hash, user key, envelope) with all rows in [from_hash, next_hash), or to the end if done. An
entry in the tip hides the row, tombstones included.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport strlen
from libcpp.vector cimport vector
from kvnode._core.arguments cimport SYNTAX, is_word, refuse, require_i64
from kvnode._core.bytes cimport DECIMAL_BYTES_MAX, Slice, format_u64, get_be64, make_slice
from kvnode._core.collection cimport is_past_budget
from kvnode._core.dispatch cimport DONE, LONG, PARK, native
from kvnode._core.keys cimport K_HEAD
from kvnode._core.parser cimport Args
from kvnode._core.records cimport HAS_DEADLINE, HAS_ROW
from kvnode._core.reply cimport Reply, reply_array, reply_bulk, reply_null
from kvnode._core.tip cimport T_HASH, T_NONE, Entry, Table, Version
from kvnode._core.typenames cimport type_name
from kvnode._core.view cimport FOUND, L_NO_TOUCH, Head, View

from kvnode.base.errors import CorruptionError

cdef enum:
    SCAN_COUNT_DEFAULT = 10
    SCAN_COUNT_MAX = 10000          # a larger COUNT is cut: one step stays short
    KEYS_AT_ONCE_MAX = 10000        # KEYS of a larger database runs as a job
    RANDOM_COUNT = 17               # names among which RANDOMKEY draws


cdef bint type_matches(const Filter* filter, uint8_t type) noexcept nogil:
    cdef const char* name
    cdef size_t i
    cdef uint8_t c
    if filter.type == NULL:
        return True
    name = type_name(type)
    if strlen(name) != filter.type.len:
        return False
    for i in range(filter.type.len):
        c = <uint8_t>filter.type.data[i]
        if 65 <= c <= 90:
            c += 32
        if c != <uint8_t>name[i]:
            return False
    return True


cdef int walk(View view, Table* table, uint64_t from_hash, size_t count, const Filter* filter,
              vector[Slice]* names, uint64_t* next_hash, bint* done) except -1:
    """Append the names that pass `filter`, of about `count` names from `from_hash` on.

    next_hash[0] is where to go on unless done[0]. Names lie in entries or in view.ranges: use them
    within the command. Returns PARK when rows must be fetched.
    """
    cdef vector[Entry*] entries
    cdef Entry* e
    cdef Head head
    cdef uint64_t end = 0
    cdef uint64_t row_end = 0
    cdef bint row_done = True
    cdef list rows = None
    cdef size_t i
    if not table.resident:
        found = view.ranges.get((table.id, from_hash, count))
        if found is None:
            return need_range(view, (table.id, from_hash, count))
        rows, row_end, row_done = found
    view.tip.scan_next(table, from_hash, &entries, count, &end, done)
    if not row_done:
        if done[0] or row_end < end:
            end = row_end
        done[0] = False
    end &= ~((<uint64_t>1 << CURSOR_SHIFT) - 1)
    next_hash[0] = end
    for i in range(entries.size()):
        e = entries[i]
        if (e.hash >= end and not done[0]) or e.newest.type == T_NONE \
                or not name_matches(filter, e.key, e.key_len) \
                or not type_matches(filter, e.newest.type):
            continue
        if e.newest.expire_at and e.newest.expire_at <= view.now_ms:
            view.lookup_in(table, e.key, e.key_len, L_NO_TOUCH, &head)     # deletes it
            continue
        names.push_back(make_slice(e.key, e.key_len))
    if rows is not None:
        return walk_rows(view, table, rows, end, done[0], filter, names,
                         (table.id, from_hash, count))
    return DONE


cdef int walk_rows(View view, Table* table, list rows, uint64_t end, bint done,
                   const Filter* filter, vector[Slice]* names, tuple source) except -1:
    """Append the names of rows below `end` that the tip does not hide.

    A row past its deadline is fetched like any record, so that the walk, run again, deletes it.
    """
    cdef uint64_t hash
    cdef uint64_t expire_at
    cdef uint8_t type
    cdef bytes key
    cdef bytes envelope
    cdef bint expired = False
    for hash, key, envelope in rows:
        if hash >= end and not done:
            break
        if view.tip.find(table, hash, key, len(key)) != NULL \
                or not name_matches(filter, key, len(key)):
            continue
        type = open_row(envelope, &expire_at)
        if not type_matches(filter, type):
            continue
        if expire_at and expire_at <= view.now_ms:
            view.miss(K_HEAD, table, hash, key, len(key))
            expired = True
            continue
        names.push_back(make_slice(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)))
    return need_range(view, source) if expired else DONE


cdef int need_range(View view, tuple wanted) except -1:
    """Park for a range. An EXEC may need several, and all of them at once when it runs again."""
    view.missing_ranges.append(wanted)
    if view.session.in_exec:
        view.missing_ranges.extend(view.ranges)
    return PARK


cdef uint8_t open_row(bytes envelope, uint64_t* expire_at) except 0:
    """Return the type of a head as LevelDB keeps it, and its deadline."""
    cdef const char* p = PyBytes_AS_STRING(envelope)
    cdef size_t n = PyBytes_GET_SIZE(envelope)
    cdef size_t at
    if n < 11:
        raise CorruptionError(f"stored head of {n} bytes")
    at = 17 if p[8] & HAS_ROW else 9
    if n < at + 2 or (p[at + 1] & HAS_DEADLINE and n < at + 10) or p[at] == T_NONE:
        raise CorruptionError(f"stored head of {n} bytes")
    expire_at[0] = get_be64(p + at + 2) if p[at + 1] & HAS_DEADLINE else 0
    return <uint8_t>p[at]


cdef inline void observe_all(View view) noexcept:
    """The reply depends on every key: it waits for the newest write there can be (I2)."""
    view.observed = view.commit_ts
    view.saw_all = True


cdef int reply_names(vector[Slice]* names, Reply reply) except -1:
    cdef size_t i
    reply_array(reply, <int64_t>names.size())
    for i in range(names.size()):
        reply_bulk(reply, names[0][i].data, names[0][i].len)
    return DONE


# -- SCAN ---------------------------------------------------------------------------------------

cdef bint parse_cursor(const Slice* arg, uint64_t* cursor) noexcept nogil:
    """Parse an unsigned decimal; leading zeros are allowed, as in Redis."""
    cdef uint64_t value = 0
    cdef size_t i
    cdef uint8_t digit
    if arg.len == 0:
        return False
    for i in range(arg.len):
        digit = <uint8_t>(<uint8_t>arg.data[i] - 48)
        if digit > 9 or value > (<uint64_t>0xFFFFFFFFFFFFFFFF - digit) // 10:
            return False
        value = value * 10 + digit
    cursor[0] = value
    return True


cdef bint parse_scan(const Args* args, int first, uint8_t type, Filter* filter, int64_t* count,
                     Reply reply) except -1:
    """Read the options from argument `first` on; False after an error reply.

    type: of the collection that is scanned, T_NONE for SCAN itself.
    """
    cdef int i = first
    filter.pattern.data = NULL
    filter.type = NULL
    filter.names_only = False
    count[0] = SCAN_COUNT_DEFAULT
    while i < args.n:
        if is_word(&args.v[i], b"NOVALUES"):
            if type != T_HASH:
                refuse(reply, b"ERR NOVALUES option can only be used in HSCAN")
                return False
            filter.names_only = True
            i += 1
            continue
        if i + 1 == args.n:
            refuse(reply, SYNTAX)
            return False
        if is_word(&args.v[i], b"COUNT"):
            if not require_i64(&args.v[i + 1], count, reply):
                return False
            if count[0] < 1:
                refuse(reply, SYNTAX)
                return False
        elif is_word(&args.v[i], b"MATCH"):
            filter.pattern = every_name(args.v[i + 1])
        elif is_word(&args.v[i], b"TYPE") and type == T_NONE:
            filter.type = &args.v[i + 1]
        else:
            refuse(reply, SYNTAX)
            return False
        i += 2
    if count[0] > SCAN_COUNT_MAX:
        count[0] = SCAN_COUNT_MAX
    return True


cdef inline Slice every_name(Slice pattern) noexcept nogil:
    """`pattern`, or no pattern if it is a lone star."""
    if pattern.len == 1 and pattern.data[0] == 42:
        pattern.data = NULL
    return pattern


cdef int cmd_scan(View view, Args* args, Reply reply) except -1:
    cdef vector[Slice] names
    cdef char digits[DECIMAL_BYTES_MAX]
    cdef Filter filter
    cdef int64_t count
    cdef uint64_t cursor
    cdef uint64_t following = 0
    cdef bint done = True
    if not parse_cursor(&args.v[1], &cursor):
        return refuse(reply, b"ERR invalid cursor")
    if not parse_scan(args, 2, T_NONE, &filter, &count, reply):
        return DONE
    observe_all(view)
    if cursor >> (64 - CURSOR_SHIFT) == 0 and walk(
            view, view.table, cursor << CURSOR_SHIFT, count, &filter, &names, &following,
            &done) == PARK:
        return PARK
    cursor = 0 if done else following >> CURSOR_SHIFT
    reply_array(reply, 2)
    reply_bulk(reply, digits, format_u64(digits, cursor))
    return reply_names(&names, reply)


# -- KEYS, RANDOMKEY ----------------------------------------------------------------------------

cdef int cmd_keys(View view, Args* args, Reply reply) except -1:
    """All names at once when there are few; else LONG: a job walks a snapshot, as does a workspace."""
    cdef vector[Slice] names
    cdef Filter filter
    cdef uint64_t following = 0
    cdef bint done = False
    if view.is_undivided and not view.table.resident:
        return refuse(reply, b"ERR KEYS takes a database that is in memory inside MULTI with commands "
                             b"about the server or the connection; use SCAN")
    if not view.is_private and not view.is_undivided and (
            not view.table.resident or view.table.entries > KEYS_AT_ONCE_MAX
            or is_past_budget(view, view.table.entries)):
        return LONG
    observe_all(view)
    filter.pattern = every_name(args.v[1])
    filter.type = NULL
    if view.is_private and not view.table.resident:
        if walk_snapshot(view, &filter, &names) == PARK:
            return PARK
        done = True
    while not done:
        if walk(view, view.table, following, KEYS_AT_ONCE_MAX, &filter, &names, &following,
                &done) == PARK:
            return PARK
    return reply_names(&names, reply)


cdef int walk_snapshot(View view, const Filter* filter, vector[Slice]* names) except -1:
    """Append all names that pass `filter` in a workspace: the snapshot's, changed by its own writes.

    They do not become a part of it, as records would that are read. PARK: they have to be read first.
    """
    cdef Table* table = view.table
    cdef tuple wanted = (table.id, 0, ALL_NAMES)
    cdef vector[Entry*] entries
    cdef Entry* e
    cdef Version* v
    cdef bytes key
    cdef uint64_t at = 0
    cdef bint done = table.entries == 0
    found = view.ranges.get(wanted)
    if found is None:
        view.missing_ranges.append(wanted)
        return PARK
    for key in found:
        e = view.tip.find(table, view.tip.hash_key(key, len(key)), key, len(key))
        if (e == NULL or e.newest.type != T_NONE) and name_matches(filter, key, len(key)):
            names.push_back(make_slice(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)))
        view.breathe(1)
    while not done:
        entries.clear()
        view.tip.scan_next(table, at, &entries, KEYS_AT_ONCE_MAX, &at, &done)
        for e in entries:
            v = e.newest
            while v.older != NULL:
                v = v.older
            if e.newest.type != T_NONE and (v.type == T_NONE or v.commit_ts == view.commit_ts) \
                    and name_matches(filter, e.key, e.key_len):
                names.push_back(make_slice(e.key, e.key_len))     # one that it has made
    return DONE


cdef int cmd_randomkey(View view, Args* args, Reply reply) except -1:
    """Draw among about RANDOM_COUNT names around a random hash: roughly even, and O(1)."""
    cdef vector[Slice] names
    cdef Filter filter
    cdef Table* table = view.table
    cdef uint64_t chance = view.draw()
    cdef uint64_t at = 0
    cdef uint64_t before
    cdef bint done = False
    cdef bint wrapped = False
    filter.pattern.data = NULL
    filter.type = NULL
    observe_all(view)
    if table.keys > RANDOM_COUNT:
        # Half of the names lie before the hash: else those with the lowest were seldom drawn.
        before = <uint64_t>0xFFFFFFFFFFFFFFFF // <uint64_t>table.keys * (RANDOM_COUNT // 2)
        at = chance - before if chance > before else 0
    for generation, from_hash, count in view.ranges:
        if generation == table.id and count == RANDOM_COUNT:
            at = from_hash      # its own range, fetched while it was parked
    while table.keys > 0:
        if walk(view, table, at, RANDOM_COUNT, &filter, &names, &at, &done) == PARK:
            return PARK
        if not names.empty():
            at = chance % names.size()
            return reply_bulk(reply, names[at].data, names[at].len)
        if done:
            if wrapped:
                break
            wrapped = True
            at = 0
    return reply_null(reply)


HANDLERS = {
    "scan": native(cmd_scan),
    "keys": native(cmd_keys),
    "randomkey": native(cmd_randomkey),
}
