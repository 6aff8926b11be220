# cython: boundscheck=False, wraparound=False
"""String commands that change or read a part: counters, APPEND, STRLEN, GETRANGE, SETRANGE."""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint64_t
from kvnode._core.arguments cimport (
    N_NEW, N_STRING, NOT_INTEGER, TOO_LONG, WRONGTYPE, event, refuse, require_i64)
from kvnode._core.buffer cimport buffer_append, buffer_append_byte, buffer_reserve
from kvnode._core.bytes cimport DECIMAL_BYTES_MAX, Slice, format_i64, parse_i64
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.numbers cimport (
    LONG_DOUBLE_BYTES_MAX, format_long_double, parse_long_double)
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_bulk, reply_integer
from kvnode._core.strvalue cimport (
    INLINE_BYTES_MAX, STRING_BYTES_MAX, is_string, overwrite, reply_span, set_value, string_length)
from kvnode._core.tip cimport T_STRING, V_TEXT_ENCODING, Version
from kvnode._core.view cimport FOUND, L_READ, MISS, Head, View


# -- counters -----------------------------------------------------------------------------------

cdef int add(View view, const Slice* key, int64_t increment, Reply reply) except -1:
    """Add to the integer in a key and answer the sum; an absent key counts as 0."""
    cdef Head head
    cdef Version* v
    cdef char digits[DECIMAL_BYTES_MAX]
    cdef int64_t value = 0
    cdef size_t n
    cdef int found = view.lookup(key.data, key.len, 0, &head)
    if found == MISS:
        return PARK
    if found == FOUND:
        v = head.version
        if v.type != T_STRING:
            return refuse(reply, NOT_INTEGER if is_string(v) else WRONGTYPE)
        if not parse_i64(v.data, v.length, &value):
            return refuse(reply, NOT_INTEGER)
        if (increment < 0 and value < INT64_MIN - increment) \
                or (increment > 0 and value > INT64_MAX - increment):
            return refuse(reply, b"ERR increment or decrement would overflow")
    value += increment
    n = format_i64(digits, value)
    set_value(view, &head, digits, n, head.version.expire_at if found == FOUND else 0, 0)
    if view.on_event is not None:
        if found != FOUND:
            event(view, N_NEW, b"new", key)
        event(view, N_STRING, b"incrby", key)
    buffer_reserve(&reply.out, n + 3)
    buffer_append_byte(&reply.out, 58)
    buffer_append(&reply.out, digits, n)
    return buffer_append(&reply.out, b"\r\n", 2)


cdef int cmd_incr(View view, Args* args, Reply reply) except -1:
    return add(view, &args.v[1], 1, reply)


cdef int cmd_decr(View view, Args* args, Reply reply) except -1:
    return add(view, &args.v[1], -1, reply)


cdef int cmd_incrby(View view, Args* args, Reply reply) except -1:
    cdef int64_t increment
    if not require_i64(&args.v[2], &increment, reply):
        return DONE
    return add(view, &args.v[1], increment, reply)


cdef int cmd_decrby(View view, Args* args, Reply reply) except -1:
    cdef int64_t decrement
    if not require_i64(&args.v[2], &decrement, reply):
        return DONE
    if decrement == INT64_MIN:
        return refuse(reply, b"ERR decrement would overflow")
    return add(view, &args.v[1], -decrement, reply)


cdef int cmd_incrbyfloat(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef long double value = 0
    cdef long double increment
    cdef char text[LONG_DOUBLE_BYTES_MAX]
    cdef size_t n
    cdef int found = view.lookup(args.v[1].data, args.v[1].len, 0, &head)
    if found == MISS:
        return PARK
    if found == FOUND and not is_string(head.version):
        return refuse(reply, WRONGTYPE)
    if (found == FOUND and (
            head.version.type != T_STRING
            or not parse_long_double(head.version.data, head.version.length, &value))) \
            or not parse_long_double(args.v[2].data, args.v[2].len, &increment):
        return refuse(reply, b"ERR value is not a valid float")
    value += increment
    if value != value or value - value != 0:
        return refuse(reply, b"ERR increment would produce NaN or Infinity")
    n = format_long_double(text, value)
    set_value(view, &head, text, n, head.version.expire_at if found == FOUND else 0,
              V_TEXT_ENCODING)
    if found != FOUND:
        event(view, N_NEW, b"new", &args.v[1])
    event(view, N_STRING, b"incrbyfloat", &args.v[1])
    return reply_bulk(reply, text, n)


# -- parts --------------------------------------------------------------------------------------

cdef int cmd_strlen(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef int found = view.lookup(args.v[1].data, args.v[1].len, L_READ, &head)
    if found == MISS:
        return PARK
    if found != FOUND:
        return reply_integer(reply, 0)
    if not is_string(head.version):
        return refuse(reply, WRONGTYPE)
    return reply_integer(reply, <int64_t>string_length(head.version))


cdef int cmd_getrange(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef int64_t start
    cdef int64_t end
    cdef int64_t length
    cdef int found
    if not require_i64(&args.v[2], &start, reply) or not require_i64(&args.v[3], &end, reply):
        return DONE
    found = view.lookup(args.v[1].data, args.v[1].len, L_READ, &head)
    if found == MISS:
        return PARK
    if found != FOUND:
        return reply_bulk(reply, b"", 0)
    if not is_string(head.version):
        return refuse(reply, WRONGTYPE)
    length = <int64_t>string_length(head.version)
    if start < 0 and end < 0 and start > end:
        return reply_bulk(reply, b"", 0)
    if start < 0:
        start = start + length if start + length > 0 else 0
    if end < 0:
        end = end + length if end + length > 0 else 0
    if end >= length:
        end = length - 1
    if start > end:
        return reply_bulk(reply, b"", 0)
    return reply_span(view, head.version, start, end - start + 1, reply)


cdef int cmd_append(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Slice* value = &args.v[2]
    cdef uint64_t length = 0
    cdef int outcome
    cdef int found = view.lookup(args.v[1].data, args.v[1].len, 0, &head)
    if found == MISS:
        return PARK
    if found == FOUND:
        if not is_string(head.version):
            return refuse(reply, WRONGTYPE)
        length = string_length(head.version)
        if length + value.len > view.string_bytes_max:
            return refuse(reply, TOO_LONG)
    if found != FOUND and value.len <= INLINE_BYTES_MAX:
        set_value(view, &head, value.data, value.len, 0, 0)
    else:
        outcome = overwrite(view, &head, length, value.data, value.len)
        if outcome != DONE:
            return outcome
    if found != FOUND:
        event(view, N_NEW, b"new", &args.v[1])
    event(view, N_STRING, b"append", &args.v[1])
    return reply_integer(reply, <int64_t>(length + value.len))


cdef int cmd_setrange(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Slice* value = &args.v[3]
    cdef int64_t offset
    cdef int found
    cdef int outcome
    if not require_i64(&args.v[2], &offset, reply):
        return DONE
    if offset < 0:
        return refuse(reply, b"ERR offset is out of range")
    found = view.lookup(args.v[1].data, args.v[1].len, 0, &head)
    if found == MISS:
        return PARK
    if found == FOUND and not is_string(head.version):
        return refuse(reply, WRONGTYPE)
    if value.len == 0:
        return reply_integer(
            reply, <int64_t>string_length(head.version) if found == FOUND else 0)
    if <uint64_t>offset + value.len > view.string_bytes_max:
        return refuse(reply, TOO_LONG)
    outcome = overwrite(view, &head, offset, value.data, value.len)
    if outcome != DONE:
        return outcome
    if found != FOUND:
        event(view, N_NEW, b"new", &args.v[1])
    event(view, N_STRING, b"setrange", &args.v[1])
    return reply_integer(reply, <int64_t>string_length(head.version))


HANDLERS = {
    "incr": native(cmd_incr),
    "decr": native(cmd_decr),
    "incrby": native(cmd_incrby),
    "decrby": native(cmd_decrby),
    "incrbyfloat": native(cmd_incrbyfloat),
    "strlen": native(cmd_strlen),
    "getrange": native(cmd_getrange),
    "substr": native(cmd_getrange),
    "append": native(cmd_append),
    "setrange": native(cmd_setrange),
}
