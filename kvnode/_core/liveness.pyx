# cython: boundscheck=False, wraparound=False
"""Commands that only show that the server is there: PING, ECHO."""

from kvnode._core.arguments cimport refuse
from kvnode._core.dispatch cimport native
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_array, reply_bulk, reply_raw
from kvnode._core.view cimport View


cdef int cmd_ping(View view, Args* args, Reply reply) except -1:
    if args.n > 2:
        return refuse(reply, b"ERR wrong number of arguments for 'ping' command")
    if view.session.subscriber != NULL and reply.proto == 2:
        reply_array(reply, 2)
        reply_bulk(reply, b"pong", 4)
        return reply_bulk(reply, args.v[1].data, args.v[1].len) if args.n == 2 \
            else reply_bulk(reply, b"", 0)
    if args.n == 2:
        return reply_bulk(reply, args.v[1].data, args.v[1].len)
    return reply_raw(reply, b"+PONG\r\n", 7)


cdef int cmd_echo(View view, Args* args, Reply reply) except -1:
    return reply_bulk(reply, args.v[1].data, args.v[1].len)


HANDLERS = {
    "ping": native(cmd_ping),
    "echo": native(cmd_echo),
}
