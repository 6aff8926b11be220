# cython: boundscheck=False, wraparound=False
"""Commands that wait on strings, for the tests of blocking alone: no node has them.

GIVE key tokens             appends, and wakes who waits
TAKE key [key ...] seconds  takes the first byte of the first key that exists: [key, byte]
PASS source target seconds  takes the first byte of a key and appends it to another
"""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy
from kvnode._core.arguments cimport WRONGTYPE, any_missing, refuse
from kvnode._core.blocking cimport NULL_ARRAY, NULL_BULK, block_on, require_timeout
from kvnode._core.bytes cimport Slice
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_array, reply_bulk, reply_integer
from kvnode._core.tip cimport T_STRING, Version
from kvnode._core.view cimport FOUND, Head, View


cdef int give(View view, const Slice* key, const char* tokens, size_t n) except -1:
    cdef Head head
    cdef Version* old
    cdef Version* v
    view.lookup(key.data, key.len, 0, &head)
    old = head.version
    v = view.tip.new_version(n + (old.length if old != NULL else 0))
    v.type = T_STRING
    if old != NULL:
        memcpy(v.data, old.data, old.length)
    memcpy(v.data + v.length - n, tokens, n)
    return view.place(&head, v)


cdef char take(View view, Head* head) except? 0:
    cdef Version* old = head.version
    cdef char token = old.data[0]
    cdef bytes rest = old.data[1:old.length]
    if rest:
        view.write_bytes(head, rest, len(rest), old.expire_at)
    else:
        view.remove(head)
    return token


cdef int cmd_give(View view, Args* args, Reply reply) except -1:
    if any_missing(view, args, 1, 2):
        return PARK
    give(view, &args.v[1], args.v[2].data, args.v[2].len)
    return reply_integer(reply, <int>args.v[2].len)


cdef int cmd_take(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef uint64_t deadline_ms
    cdef char token
    cdef Args keys
    cdef int i
    if not require_timeout(view, &args.v[args.n - 1], &deadline_ms, reply):
        return DONE
    keys = args[0]
    keys.n -= 1
    if any_missing(view, &keys, 1, 1):
        return PARK
    for i in range(1, keys.n):
        if view.lookup(args.v[i].data, args.v[i].len, 0, &head) != FOUND:
            continue
        if head.version.type != T_STRING:
            return refuse(reply, WRONGTYPE)
        token = take(view, &head)
        reply_array(reply, 2)
        reply_bulk(reply, args.v[i].data, args.v[i].len)
        return reply_bulk(reply, &token, 1)
    return block_on(view, args, 1, args.n - 2, 1 << T_STRING, deadline_ms, NULL_ARRAY, reply)


cdef int cmd_pass(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef uint64_t deadline_ms
    cdef char token
    cdef Args keys
    if not require_timeout(view, &args.v[3], &deadline_ms, reply):
        return DONE
    keys = args[0]
    keys.n = 3
    if any_missing(view, &keys, 1, 1):
        return PARK
    if view.lookup(args.v[1].data, args.v[1].len, 0, &head) != FOUND:
        return block_on(view, args, 1, 1, 1 << T_STRING, deadline_ms, NULL_BULK, reply)
    token = take(view, &head)
    give(view, &args.v[2], &token, 1)
    return reply_bulk(reply, &token, 1)


HANDLERS = {"give": native(cmd_give), "take": native(cmd_take), "pass": native(cmd_pass)}
