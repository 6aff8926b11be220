"""What native handlers share: option words, numbers, error texts, events. Inlined into each.

A handler ends with `return refuse(reply, TEXT)` when the client erred: the error is its reply.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport strlen
from kvnode._core.bytes cimport Slice, parse_i64
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_error
from kvnode._core.view cimport N_GENERIC, N_NEW, N_STRING, View

cdef extern from *:
    """
    #define KV_SYNTAX "ERR syntax error"
    #define KV_WRONGTYPE "WRONGTYPE Operation against a key holding the wrong kind of value"
    #define KV_NOT_INTEGER "ERR value is not an integer or out of range"
    #define KV_NOT_INT "ERR value is out of range, value must between -2147483648 and 2147483647"
    #define KV_NO_SUCH_KEY "ERR no such key"
    #define KV_SAME_OBJECT "ERR source and destination objects are the same"
    #define KV_NO_SUCH_DB "ERR DB index is out of range"
    #define KV_TOO_LONG "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
    """
    const char* SYNTAX "KV_SYNTAX"
    const char* WRONGTYPE "KV_WRONGTYPE"
    const char* NOT_INTEGER "KV_NOT_INTEGER"
    const char* NOT_INT "KV_NOT_INT"
    const char* NO_SUCH_KEY "KV_NO_SUCH_KEY"
    const char* SAME_OBJECT "KV_SAME_OBJECT"
    const char* NO_SUCH_DB "KV_NO_SUCH_DB"
    const char* TOO_LONG "KV_TOO_LONG"


cdef enum Condition:        # NX, XX, GT, LT: when a value may take the place of another
    IF_NEW = 1
    IF_THERE = 2
    IF_GREATER = 4
    IF_LESS = 8


cdef inline int refuse(Reply reply, const char* line) except -1:
    """Answer an error line; return DONE."""
    reply_error(reply, line, strlen(line))
    return 0


cdef inline bint is_word(const Slice* arg, const char* upper) noexcept nogil:
    """Whether an argument is the option `upper` (upper case letters), in any case."""
    cdef size_t i
    cdef uint8_t c
    if arg.len != strlen(upper):
        return False
    for i in range(arg.len):
        c = <uint8_t>arg.data[i]
        if 97 <= c <= 122:
            c -= 32
        if c != <uint8_t>upper[i]:
            return False
    return True


cdef inline int condition_of(const Slice* arg) noexcept nogil:
    """The Condition that an argument is; 0: none."""
    if is_word(arg, b"NX"):
        return IF_NEW
    if is_word(arg, b"XX"):
        return IF_THERE
    if is_word(arg, b"GT"):
        return IF_GREATER
    return IF_LESS if is_word(arg, b"LT") else 0


cdef inline bint same_bytes(const Slice* a, const Slice* b) noexcept nogil:
    cdef size_t i
    if a.len != b.len:
        return False
    for i in range(a.len):
        if a.data[i] != b.data[i]:
            return False
    return True


cdef inline bint require_i64(const Slice* arg, int64_t* out, Reply reply) except -1:
    """Parse an integer argument; when it is none, answer the error and return False."""
    if parse_i64(arg.data, arg.len, out):
        return True
    refuse(reply, NOT_INTEGER)
    return False


cdef inline bint require_int(const Slice* arg, int64_t* out, Reply reply) except -1:
    """The same for a C int: a database number."""
    if not require_i64(arg, out, reply):
        return False
    if -2147483648 <= out[0] <= 2147483647:
        return True
    refuse(reply, NOT_INT)
    return False


cdef inline int event(View view, int event_class, bytes name, const Slice* key) except -1:
    """State one keyspace event of a key in the session's database."""
    if view.on_event is not None:
        view.notify(event_class, name, key.data, key.len)
    return 0


cdef inline int event_in(View view, int db, int event_class, bytes name,
                         const Slice* key) except -1:
    """State one keyspace event of a key in another database."""
    if view.on_event is not None:
        view.events.append((event_class, name, key.data[:key.len], db))
    return 0


cdef inline bint note_missing(View view, const Slice* key) except -1:
    """Note one key if it must be fetched; whether it must."""
    cdef size_t before = view.missing.size()
    if view.table.resident:
        return False
    view.note_if_missing(view.table, key.data, key.len)
    return view.missing.size() != before


cdef inline bint any_missing(View view, const Args* args, int first, int step) except -1:
    """Note the keys args[first::step] that must be fetched; whether there are any.

    Handlers of several keys ask this first: after it, no lookup of these keys can miss, and the
    records of the first ones are on their way from main memory.
    """
    cdef size_t before = view.missing.size()
    cdef int i = first
    if args.n - first > step:
        view.tip.prefetch(view.table, args.v + first, args.n - first, step)
    if view.table.resident:
        return False
    while i < args.n:
        view.note_if_missing(view.table, args.v[i].data, args.v[i].len)
        i += step
    return view.missing.size() != before
