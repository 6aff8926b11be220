# cython: boundscheck=False, wraparound=False
"""Commands on whole databases: SELECT, DBSIZE, FLUSHDB, FLUSHALL, SWAPDB."""

from libc.stdint cimport int64_t
from kvnode._core.arguments cimport NO_SUCH_DB, SYNTAX, is_word, refuse, require_int
from kvnode._core.bytes cimport Slice, parse_i64
from kvnode._core.dispatch cimport DONE, native
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_integer, reply_ok
from kvnode._core.tip cimport DATABASES_MAX, Table
from kvnode._core.view cimport View


cdef int cmd_select(View view, Args* args, Reply reply) except -1:
    cdef int64_t db
    if not require_int(&args.v[1], &db, reply):
        return DONE
    if not 0 <= db < view.databases_count:
        return refuse(reply, NO_SUCH_DB)
    view.session.db = <int>db
    view.table = view.tip.databases[db]
    return reply_ok(reply)


cdef int cmd_dbsize(View view, Args* args, Reply reply) except -1:
    cdef Table* table = view.table
    view.observed = max(view.observed, table.keys_changed, table.switched)
    view.saw_all = True
    return reply_integer(reply, table.keys)


cdef bint flush_mode(const Args* args) noexcept:
    """Whether the options of a flush are right. Either way it takes no time: see the tip."""
    if args.n == 1:
        return True
    return args.n == 2 and (is_word(&args.v[1], b"ASYNC") or is_word(&args.v[1], b"SYNC"))


cdef int cmd_flushdb(View view, Args* args, Reply reply) except -1:
    if not flush_mode(args):
        return refuse(reply, SYNTAX)
    view.flush_database(view.session.db)
    return reply_ok(reply)


cdef int cmd_flushall(View view, Args* args, Reply reply) except -1:
    cdef int db
    if not flush_mode(args):
        return refuse(reply, SYNTAX)
    for db in range(DATABASES_MAX):
        view.flush_database(db)
    return reply_ok(reply)


cdef bint parse_database(const Slice* arg, int64_t* db) noexcept:
    return parse_i64(arg.data, arg.len, db) and -2147483648 <= db[0] <= 2147483647


cdef int cmd_swapdb(View view, Args* args, Reply reply) except -1:
    cdef int64_t a
    cdef int64_t b
    if not parse_database(&args.v[1], &a):
        return refuse(reply, b"ERR invalid first DB index")
    if not parse_database(&args.v[2], &b):
        return refuse(reply, b"ERR invalid second DB index")
    if not (0 <= a < view.databases_count and 0 <= b < view.databases_count):
        return refuse(reply, NO_SUCH_DB)
    if a != b:
        view.swap_databases(<int>a, <int>b)
    return reply_ok(reply)


HANDLERS = {
    "select": native(cmd_select),
    "dbsize": native(cmd_dbsize),
    "flushdb": native(cmd_flushdb),
    "flushall": native(cmd_flushall),
    "swapdb": native(cmd_swapdb),
}
