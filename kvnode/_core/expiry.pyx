# cython: boundscheck=False, wraparound=False
"""Commands on deadlines: EXPIRE and its kin, TTL and its kin, PERSIST."""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint64_t
from libc.stdio cimport snprintf
from kvnode._core.arguments cimport N_GENERIC, condition_of, event, refuse, require_i64
from kvnode._core.bytes cimport Slice
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_integer
from kvnode._core.strvalue cimport set_deadline
from kvnode._core.view cimport FOUND, L_NO_TOUCH, L_READ, MISS, Head, View

cdef enum:
    ERROR_BYTES_MAX = 160
    SHOWN_BYTES_MAX = 100       # of an unknown option, in its error


cdef bint parse_conditions(const Args* args, int* flags, Reply reply) except -1:
    """Read NX, XX, GT, LT from argument 3 on; on an error answer it and return False."""
    cdef int condition
    cdef int i
    cdef const Slice* arg
    cdef char line[ERROR_BYTES_MAX]
    flags[0] = 0
    for i in range(3, args.n):
        arg = &args.v[i]
        condition = condition_of(arg)
        flags[0] |= condition
        if not condition:
            snprintf(line, ERROR_BYTES_MAX, b"ERR Unsupported option %.*s",
                     <int>min(arg.len, <size_t>SHOWN_BYTES_MAX), arg.data)
            refuse(reply, line)
            return False
    if flags[0] & IF_NEW and flags[0] & (IF_THERE | IF_GREATER | IF_LESS):
        refuse(reply, b"ERR NX and XX, GT or LT options at the same time are not compatible")
        return False
    if flags[0] & IF_GREATER and flags[0] & IF_LESS:
        refuse(reply, b"ERR GT and LT options at the same time are not compatible")
        return False
    return True


cdef int expire(View view, Args* args, Reply reply, const char* command, int form) except -1:
    """EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT. A deadline that has passed deletes the key at once."""
    cdef Head head
    cdef char line[ERROR_BYTES_MAX]
    cdef int64_t when
    cdef int64_t base = <int64_t>view.now_ms if form & FROM_NOW else 0
    cdef int flags
    cdef int found
    if not parse_conditions(args, &flags, reply) or not require_i64(&args.v[2], &when, reply):
        return DONE
    if (form & IN_SECONDS and (when > INT64_MAX // 1000 or when < INT64_MIN // 1000)) \
            or (when * 1000 if form & IN_SECONDS else when) > INT64_MAX - base:
        snprintf(line, ERROR_BYTES_MAX, b"ERR invalid expire time in '%s' command", command)
        return refuse(reply, line)
    if form & IN_SECONDS:
        when *= 1000
    when += base
    found = view.lookup(args.v[1].data, args.v[1].len, 0, &head)
    if found == MISS:
        return PARK
    if found != FOUND or not condition_holds(flags, when, head.version.expire_at):
        return reply_integer(reply, 0)
    if when <= <int64_t>view.now_ms:
        view.remove(&head)
        event(view, N_GENERIC, b"del", &args.v[1])
    else:
        set_deadline(view, &head, <uint64_t>when)
        event(view, N_GENERIC, b"expire", &args.v[1])
    return reply_integer(reply, 1)


cdef int cmd_expire(View view, Args* args, Reply reply) except -1:
    return expire(view, args, reply, b"expire", D_EX)


cdef int cmd_pexpire(View view, Args* args, Reply reply) except -1:
    return expire(view, args, reply, b"pexpire", D_PX)


cdef int cmd_expireat(View view, Args* args, Reply reply) except -1:
    return expire(view, args, reply, b"expireat", D_EXAT)


cdef int cmd_pexpireat(View view, Args* args, Reply reply) except -1:
    return expire(view, args, reply, b"pexpireat", D_PXAT)


cdef int deadline_of(View view, Args* args, Reply reply, int form) except -1:
    """TTL, PTTL, EXPIRETIME, PEXPIRETIME: -2 for no key, -1 for no deadline."""
    cdef Head head
    cdef int64_t value
    cdef int found = view.lookup(args.v[1].data, args.v[1].len, L_READ | L_NO_TOUCH, &head)
    if found == MISS:
        return PARK
    if found != FOUND:
        return reply_integer(reply, -2)
    if head.version.expire_at == 0:
        return reply_integer(reply, -1)
    value = <int64_t>head.version.expire_at
    if form & FROM_NOW:
        value -= <int64_t>view.now_ms
    return reply_integer(reply, (value + 500) // 1000 if form & IN_SECONDS else value)


cdef int cmd_ttl(View view, Args* args, Reply reply) except -1:
    return deadline_of(view, args, reply, D_EX)


cdef int cmd_pttl(View view, Args* args, Reply reply) except -1:
    return deadline_of(view, args, reply, D_PX)


cdef int cmd_expiretime(View view, Args* args, Reply reply) except -1:
    return deadline_of(view, args, reply, D_EXAT)


cdef int cmd_pexpiretime(View view, Args* args, Reply reply) except -1:
    return deadline_of(view, args, reply, D_PXAT)


cdef int cmd_persist(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef int found = view.lookup(args.v[1].data, args.v[1].len, 0, &head)
    if found == MISS:
        return PARK
    if found != FOUND or head.version.expire_at == 0:
        return reply_integer(reply, 0)
    set_deadline(view, &head, 0)
    event(view, N_GENERIC, b"persist", &args.v[1])
    return reply_integer(reply, 1)


HANDLERS = {
    "expire": native(cmd_expire),
    "pexpire": native(cmd_pexpire),
    "expireat": native(cmd_expireat),
    "pexpireat": native(cmd_pexpireat),
    "ttl": native(cmd_ttl),
    "pttl": native(cmd_pttl),
    "expiretime": native(cmd_expiretime),
    "pexpiretime": native(cmd_pexpiretime),
    "persist": native(cmd_persist),
}
