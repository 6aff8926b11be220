# cython: boundscheck=False, wraparound=False
"""Hash commands on fields and values: HSET, HGET, HDEL, HGETALL, HINCRBY and their kin."""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint64_t
from libc.stdio cimport snprintf
from kvnode._core.arguments cimport event, refuse, require_i64
from kvnode._core.bytes cimport DECIMAL_BYTES_MAX, Slice, format_i64, parse_i64
from kvnode._core.collection cimport (
    WRONG, Element, Walk, close_collection, create, drop_expired, elements_missing, find_element,
    need_walk, next_of, open_collection, outcome_of, put_element, remove_named, reply_length,
    walk_all)
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.encoding cimport note_size
from kvnode._core.large_replies cimport is_shown_beside
from kvnode._core.numbers cimport (
    LONG_DOUBLE_BYTES_MAX, format_long_double, parse_long_double)
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport (
    Reply, reply_array, reply_bulk, reply_integer, reply_map, reply_null, reply_ok)
from kvnode._core.tip cimport T_HASH, Collection, Entry, Version
from kvnode._core.view cimport ABSENT, FOUND, L_READ, MISS, N_HASH, Head, View

cdef enum:
    ERROR_BYTES_MAX = 96

cdef enum Contents:         # of the reply that shows a whole hash
    FIELDS = 1
    VALUES = 2


# -- writing ------------------------------------------------------------------------------------

cdef int set_fields(View view, Args* args, Reply reply, const char* command,
                    int64_t* added) except -1:
    """Set the pairs from argument 2 on; DONE, PARK, or WRONG after an error reply."""
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef Slice* value
    cdef char line[ERROR_BYTES_MAX]
    cdef size_t longest = 0
    cdef int i
    cdef int found
    if args.n % 2:
        snprintf(line, ERROR_BYTES_MAX, b"ERR wrong number of arguments for '%s' command", command)
        refuse(reply, line)
        return WRONG
    found = open_collection(view, &args.v[1], T_HASH, 0, &head, &c, reply)
    if found == MISS:
        return PARK
    if found == WRONG:
        return WRONG
    if found == ABSENT:
        c = create(view, &head, T_HASH)
    elif elements_missing(view, c, args, 2, 2):
        return PARK
    added[0] = 0
    for i in range(2, args.n, 2):
        value = &args.v[i + 1]
        if find_element(view, c, args.v[i].data, args.v[i].len, &element) == ABSENT:
            added[0] += 1
        put_element(view, c, &element, value.data, value.len, 0)
        longest = max(longest, args.v[i].len, value.len)
    note_size(view, &head, c, longest)
    event(view, N_HASH, b"hset", &args.v[1])
    return DONE


cdef int cmd_hset(View view, Args* args, Reply reply) except -1:
    cdef int64_t added
    cdef int outcome = set_fields(view, args, reply, b"hset", &added)
    if outcome == DONE:
        reply_integer(reply, added)
    return PARK if outcome == PARK else DONE


cdef int cmd_hmset(View view, Args* args, Reply reply) except -1:
    cdef int64_t added
    cdef int outcome = set_fields(view, args, reply, b"hmset", &added)
    if outcome == DONE:
        reply_ok(reply)
    return PARK if outcome == PARK else DONE


cdef int open_field(View view, Args* args, Head* head, Collection** c, Element* element,
                    Reply reply) except -1:
    """Find the field args[2] of the hash args[1] for a write: FOUND, ABSENT, MISS or WRONG.

    c[0] is NULL if there is no hash; put_field() makes one.
    """
    cdef int found = open_collection(view, &args.v[1], T_HASH, 0, head, c, reply)
    if found != FOUND:
        return found
    return find_element(view, c[0], args.v[2].data, args.v[2].len, element)


cdef int put_field(View view, Args* args, Head* head, Collection* c, Element* element,
                   const char* data, size_t n) except -1:
    """Set the field that open_field() looked for; it keeps its deadline."""
    cdef uint64_t expire_at = 0
    if c == NULL:
        c = create(view, head, T_HASH)
        find_element(view, c, args.v[2].data, args.v[2].len, element)
    if element.version != NULL:
        expire_at = element.version.expire_at
    put_element(view, c, element, data, n, expire_at)
    return note_size(view, head, c, max(args.v[2].len, n))


cdef int cmd_hsetnx(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef int found = open_field(view, args, &head, &c, &element, reply)
    if found == MISS or found == WRONG:
        return outcome_of(found)
    if found == FOUND:
        return reply_integer(reply, 0)
    put_field(view, args, &head, c, &element, args.v[3].data, args.v[3].len)
    event(view, N_HASH, b"hset", &args.v[1])
    return reply_integer(reply, 1)


cdef int cmd_hdel(View view, Args* args, Reply reply) except -1:
    return remove_named(view, args, T_HASH, N_HASH, b"hdel", reply)


# -- numbers ------------------------------------------------------------------------------------

cdef int cmd_hincrby(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef char digits[DECIMAL_BYTES_MAX]
    cdef int64_t increment
    cdef int64_t value = 0
    cdef int found
    if not require_i64(&args.v[3], &increment, reply):
        return DONE
    found = open_field(view, args, &head, &c, &element, reply)
    if found == MISS or found == WRONG:
        return outcome_of(found)
    if found == FOUND:
        if not parse_i64(element.version.data, element.version.length, &value):
            return refuse(reply, b"ERR hash value is not an integer")
        if (increment < 0 and value < INT64_MIN - increment) \
                or (increment > 0 and value > INT64_MAX - increment):
            return refuse(reply, b"ERR increment or decrement would overflow")
    value += increment
    put_field(view, args, &head, c, &element, digits, format_i64(digits, value))
    event(view, N_HASH, b"hincrby", &args.v[1])
    return reply_integer(reply, value)


cdef int cmd_hincrbyfloat(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef char text[LONG_DOUBLE_BYTES_MAX]
    cdef long double increment
    cdef long double value = 0
    cdef size_t n
    cdef int found
    if not parse_long_double(args.v[3].data, args.v[3].len, &increment):
        return refuse(reply, b"ERR value is not a valid float")
    if increment - increment != 0:
        return refuse(reply, b"ERR value is NaN or Infinity")
    found = open_field(view, args, &head, &c, &element, reply)
    if found == MISS or found == WRONG:
        return outcome_of(found)
    if found == FOUND and not parse_long_double(
            element.version.data, element.version.length, &value):
        return refuse(reply, b"ERR hash value is not a float")
    value += increment
    if value - value != 0:
        return refuse(reply, b"ERR increment would produce NaN or Infinity")
    n = format_long_double(text, value)
    put_field(view, args, &head, c, &element, text, n)
    event(view, N_HASH, b"hincrbyfloat", &args.v[1])
    return reply_bulk(reply, text, n)


# -- reading single fields ----------------------------------------------------------------------

cdef int read_field(View view, Args* args, Element* element, Reply reply) except -1:
    """Find the field args[2] of the hash args[1] for a read: FOUND, ABSENT, MISS or WRONG."""
    cdef Head head
    cdef Collection* c
    cdef int found = open_collection(view, &args.v[1], T_HASH, L_READ, &head, &c, reply)
    if found != FOUND:
        return found
    found = find_element(view, c, args.v[2].data, args.v[2].len, element)
    if found == ABSENT:
        close_collection(view, &head, c, &args.v[1])
    return found


cdef int cmd_hget(View view, Args* args, Reply reply) except -1:
    cdef Element element
    cdef int found = read_field(view, args, &element, reply)
    if found == FOUND:
        return reply_bulk(reply, element.version.data, element.version.length)
    if found == ABSENT:
        return reply_null(reply)
    return outcome_of(found)


cdef int cmd_hexists(View view, Args* args, Reply reply) except -1:
    cdef Element element
    cdef int found = read_field(view, args, &element, reply)
    if found == FOUND or found == ABSENT:
        return reply_integer(reply, found == FOUND)
    return outcome_of(found)


cdef int cmd_hstrlen(View view, Args* args, Reply reply) except -1:
    cdef Element element
    cdef int found = read_field(view, args, &element, reply)
    if found == FOUND or found == ABSENT:
        return reply_integer(reply, element.version.length if found == FOUND else 0)
    return outcome_of(found)


cdef int cmd_hmget(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef int i
    cdef int found = open_collection(view, &args.v[1], T_HASH, L_READ, &head, &c, reply)
    if found == MISS or (found == FOUND and elements_missing(view, c, args, 2, 1)):
        return PARK
    if found == WRONG:
        return DONE
    reply_array(reply, args.n - 2)
    for i in range(2, args.n):
        if found == FOUND and find_element(
                view, c, args.v[i].data, args.v[i].len, &element) == FOUND:
            reply_bulk(reply, element.version.data, element.version.length)
        else:
            reply_null(reply)
    if found == FOUND:
        close_collection(view, &head, c, &args.v[1])
    return DONE


cdef int cmd_hlen(View view, Args* args, Reply reply) except -1:
    return reply_length(view, args, T_HASH, reply)


# -- whole hashes -------------------------------------------------------------------------------

cdef int show(View view, Args* args, int contents, Reply reply) except -1:
    """HGETALL, HKEYS, HVALS."""
    cdef Head head
    cdef Collection* c
    cdef Walk walk
    cdef Entry* e
    cdef Version* v
    cdef int64_t length = 0
    cdef int found = open_collection(view, &args.v[1], T_HASH, L_READ, &head, &c, reply)
    if found == MISS:
        return PARK
    if found == FOUND and (is_shown_beside(view, c, c.meta.length) or need_walk(view, c)):
        return PARK
    if found == WRONG:
        return DONE
    if found == FOUND:
        drop_expired(view, &head, c)
        close_collection(view, &head, c, &args.v[1])
        length = c.meta.length
    if contents == FIELDS | VALUES:
        reply_map(reply, length)
    else:
        reply_array(reply, length)
    if length == 0:
        return DONE
    walk_all(view, c, &walk)
    while True:
        e = next_of(view, &walk)
        if e == NULL:
            return DONE
        if contents & FIELDS:
            reply_bulk(reply, e.key, e.key_len)
        if contents & VALUES:
            v = e.newest
            reply_bulk(reply, v.data, v.length)


cdef int cmd_hgetall(View view, Args* args, Reply reply) except -1:
    return show(view, args, FIELDS | VALUES, reply)


cdef int cmd_hkeys(View view, Args* args, Reply reply) except -1:
    return show(view, args, FIELDS, reply)


cdef int cmd_hvals(View view, Args* args, Reply reply) except -1:
    return show(view, args, VALUES, reply)


HANDLERS = {
    "hset": native(cmd_hset),
    "hmset": native(cmd_hmset),
    "hsetnx": native(cmd_hsetnx),
    "hget": native(cmd_hget),
    "hmget": native(cmd_hmget),
    "hdel": native(cmd_hdel),
    "hexists": native(cmd_hexists),
    "hlen": native(cmd_hlen),
    "hstrlen": native(cmd_hstrlen),
    "hgetall": native(cmd_hgetall),
    "hkeys": native(cmd_hkeys),
    "hvals": native(cmd_hvals),
    "hincrby": native(cmd_hincrby),
    "hincrbyfloat": native(cmd_hincrbyfloat),
}
