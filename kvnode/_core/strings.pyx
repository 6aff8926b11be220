# cython: boundscheck=False, wraparound=False
"""String commands that read or set whole values: GET, SET and their kin, MGET, MSET."""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.stdio cimport snprintf
from kvnode._core.arguments cimport (
    N_GENERIC, N_NEW, N_STRING, SYNTAX, WRONGTYPE, any_missing, event, is_word, refuse, require_i64)
from kvnode._core.bytes cimport Slice
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.expiry cimport D_EX, D_PX, DEADLINES, FROM_NOW, IN_SECONDS, deadline_form
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_array, reply_integer, reply_null, reply_ok
from kvnode._core.strvalue cimport (
    is_string, need_chunks, reply_value, set_deadline, set_value, string_length, value_equals)
from kvnode._core.tip cimport Version
from kvnode._core.view cimport FOUND, L_READ, MISS, Head, View

cdef enum SetFlag:          # beside a DeadlineForm
    SET_NX = 1
    SET_XX = 2
    SET_GET = 4
    SET_KEEPTTL = 8
    SET_PERSIST = 16
    SET_IFEQ = 512
    SET_IFNE = 1024
    CONDITIONS = 1 + 2 + 512 + 1024

cdef enum:
    ERROR_BYTES_MAX = 96
    INT64_MAX_SECONDS = 9223372036854775    # in ms it still fits

cdef struct Options:
    int flags
    const Slice* expire     # argument of EX, PX, EXAT or PXAT
    const Slice* expected   # argument of IFEQ or IFNE


# -- options ------------------------------------------------------------------------------------

cdef bint parse_set_options(const Args* args, Options* options) noexcept:
    """Read the options of SET from argument 3 on; False on a syntax error.

    A condition or a deadline excludes the others, as in Redis; of EX 1 EX 2 the last counts.
    """
    cdef int i = 3
    cdef int flags = 0
    cdef int found
    cdef const Slice* arg
    options.expire = options.expected = NULL
    while i < args.n:
        arg = &args.v[i]
        if is_word(arg, b"NX") and not flags & (CONDITIONS - SET_NX):
            flags |= SET_NX
        elif is_word(arg, b"XX") and not flags & (CONDITIONS - SET_XX):
            flags |= SET_XX
        elif is_word(arg, b"GET"):
            flags |= SET_GET
        elif is_word(arg, b"KEEPTTL") and not flags & DEADLINES:
            flags |= SET_KEEPTTL
        elif i + 1 == args.n:
            return False
        elif is_word(arg, b"IFEQ") and not flags & CONDITIONS:
            flags |= SET_IFEQ
            i += 1
            options.expected = &args.v[i]
        elif is_word(arg, b"IFNE") and not flags & CONDITIONS:
            flags |= SET_IFNE
            i += 1
            options.expected = &args.v[i]
        else:
            found = deadline_form(arg)
            if not found or flags & (SET_KEEPTTL | (DEADLINES - found)):
                return False
            flags |= found
            i += 1
            options.expire = &args.v[i]
        i += 1
    options.flags = flags
    return True


cdef bint parse_getex_options(const Args* args, Options* options) noexcept:
    """The same for GETEX, from argument 2 on."""
    cdef int i = 2
    cdef int flags = 0
    cdef int found
    cdef const Slice* arg
    options.expire = options.expected = NULL
    while i < args.n:
        arg = &args.v[i]
        if is_word(arg, b"PERSIST") and not flags & DEADLINES:
            flags |= SET_PERSIST
        else:
            found = deadline_form(arg)
            if not found or i + 1 == args.n or flags & (SET_PERSIST | (DEADLINES - found)):
                return False
            flags |= found
            i += 1
            options.expire = &args.v[i]
        i += 1
    options.flags = flags
    return True


cdef bint require_deadline(View view, const Slice* arg, int flags, const char* command,
                           uint64_t* expire_at, Reply reply) except -1:
    """Turn the argument of a deadline option into ms since the epoch, or answer the error."""
    cdef int64_t value
    cdef int64_t now = <int64_t>view.now_ms
    cdef char line[ERROR_BYTES_MAX]
    if not require_i64(arg, &value, reply):
        return False
    if value > 0 and not (flags & IN_SECONDS and value > INT64_MAX_SECONDS):
        if flags & IN_SECONDS:
            value *= 1000
        if not flags & FROM_NOW:
            expire_at[0] = <uint64_t>value
            return True
        if value <= INT64_MAX - now:
            expire_at[0] = <uint64_t>(value + now)
            return True
    snprintf(line, ERROR_BYTES_MAX, b"ERR invalid expire time in '%s' command", command)
    refuse(reply, line)
    return False


# -- reading ------------------------------------------------------------------------------------

cdef int cmd_get(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef int found = view.lookup(args.v[1].data, args.v[1].len, L_READ, &head)
    return reply_found(view, found, &head, reply)


cdef inline int reply_found(View view, int found, Head* head, Reply reply) except -1:
    """Answer what a lookup found: the string, null or WRONGTYPE; or PARK."""
    if found == FOUND:
        if not is_string(head.version):
            return refuse(reply, WRONGTYPE)
        return reply_value(view, head.version, reply)
    if found == MISS:
        return PARK
    return reply_null(reply)


cdef int cmd_mget(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef int i
    cdef size_t start = reply.out.len
    cdef bint missing = False
    if any_missing(view, args, 1, 1):
        return PARK
    reply_array(reply, args.n - 1)
    for i in range(1, args.n):
        if view.lookup(args.v[i].data, args.v[i].len, L_READ, &head) != FOUND \
                or not is_string(head.version):
            reply_null(reply)
        elif reply_value(view, head.version, reply) == PARK:
            missing = True
    if missing:
        reply.out.len = start
        return PARK
    return DONE


cdef int cmd_getex(View view, Args* args, Reply reply) except -1:
    cdef Options options
    cdef Head head
    cdef uint64_t expire_at = 0
    cdef int found
    if not parse_getex_options(args, &options):
        return refuse(reply, SYNTAX)
    found = view.lookup(args.v[1].data, args.v[1].len, L_READ, &head)
    if found != FOUND or not is_string(head.version):
        return reply_found(view, found, &head, reply)
    if options.flags & DEADLINES and not require_deadline(
            view, options.expire, options.flags, b"getex", &expire_at, reply):
        return DONE
    if reply_value(view, head.version, reply) == PARK:
        return PARK
    if options.flags & DEADLINES and expire_at <= view.now_ms:
        view.remove(&head)
        event(view, N_GENERIC, b"del", &args.v[1])
    elif options.flags & DEADLINES:
        set_deadline(view, &head, expire_at)
        event(view, N_GENERIC, b"expire", &args.v[1])
    elif options.flags & SET_PERSIST and head.version.expire_at:
        set_deadline(view, &head, 0)
        event(view, N_GENERIC, b"persist", &args.v[1])
    return DONE


cdef int cmd_getdel(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef int found = view.lookup(args.v[1].data, args.v[1].len, L_READ, &head)
    if reply_found(view, found, &head, reply) == PARK:
        return PARK
    if found == FOUND and is_string(head.version):
        view.remove(&head)
        event(view, N_GENERIC, b"del", &args.v[1])
    return DONE


cdef int cmd_getset(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef int found = view.lookup(args.v[1].data, args.v[1].len, L_READ, &head)
    if reply_found(view, found, &head, reply) == PARK:
        return PARK
    if found != FOUND or is_string(head.version):
        put(view, &head, &args.v[1], &args.v[2], 0)
    return DONE


# -- setting ------------------------------------------------------------------------------------

cdef inline int put(View view, Head* head, const Slice* key, const Slice* value,
                    uint64_t expire_at) except -1:
    """Set a key that was looked up, and state the events of it."""
    cdef bint new = head.version == NULL
    set_value(view, head, value.data, value.len, expire_at, 0)
    if view.on_event is not None:
        if new:
            event(view, N_NEW, b"new", key)
        event(view, N_STRING, b"set", key)
    return 0


cdef int cmd_set(View view, Args* args, Reply reply) except -1:
    cdef Head head
    if args.n > 3:
        return set_with_options(view, args, reply)
    if view.lookup(args.v[1].data, args.v[1].len, 0, &head) == MISS:
        return PARK
    put(view, &head, &args.v[1], &args.v[2], 0)
    return reply_ok(reply)


cdef int set_with_options(View view, Args* args, Reply reply) except -1:
    cdef Options options
    cdef Head head
    cdef uint64_t expire_at = 0
    cdef int found
    if not parse_set_options(args, &options):
        return refuse(reply, SYNTAX)
    if options.flags & DEADLINES and not require_deadline(
            view, options.expire, options.flags, b"set", &expire_at, reply):
        return DONE
    found = view.lookup(args.v[1].data, args.v[1].len,
                        L_READ if options.flags & SET_GET else 0, &head)
    if found == MISS:
        return PARK
    if found == FOUND and options.flags & (SET_GET | SET_IFEQ | SET_IFNE):
        if not is_string(head.version):
            return refuse(reply, WRONGTYPE)
        if options.flags & (SET_IFEQ | SET_IFNE) \
                and options.expected.len == string_length(head.version) \
                and need_chunks(view, head.version, 0, options.expected.len):
            return PARK
    if options.flags & SET_GET and reply_found(view, found, &head, reply) == PARK:
        return PARK
    if not condition_holds(view, &options, head.version):
        return DONE if options.flags & SET_GET else reply_null(reply)
    if options.flags & SET_KEEPTTL and found == FOUND:
        expire_at = head.version.expire_at
    put(view, &head, &args.v[1], &args.v[2], expire_at)
    if options.flags & DEADLINES:
        event(view, N_GENERIC, b"expire", &args.v[1])
    return DONE if options.flags & SET_GET else reply_ok(reply)


cdef bint condition_holds(View view, const Options* options, const Version* old) except -1:
    """Whether NX, XX, IFEQ or IFNE let a SET of a key through. old: NULL when it is absent."""
    if not options.flags & CONDITIONS:
        return True
    if old == NULL:
        return options.flags & (SET_NX | SET_IFNE) != 0
    if options.flags & (SET_NX | SET_XX):
        return options.flags & SET_XX != 0
    return value_equals(view, old, options.expected.data, options.expected.len) \
        == (options.flags & SET_IFEQ != 0)


cdef int cmd_setnx(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef int found = view.lookup(args.v[1].data, args.v[1].len, 0, &head)
    if found == MISS:
        return PARK
    if found == FOUND:
        return reply_integer(reply, 0)
    put(view, &head, &args.v[1], &args.v[2], 0)
    return reply_integer(reply, 1)


cdef int set_for(View view, Args* args, Reply reply, int unit, const char* command) except -1:
    """SETEX and PSETEX: key, deadline, value."""
    cdef Head head
    cdef uint64_t expire_at
    if not require_deadline(view, &args.v[2], unit, command, &expire_at, reply):
        return DONE
    if view.lookup(args.v[1].data, args.v[1].len, 0, &head) == MISS:
        return PARK
    put(view, &head, &args.v[1], &args.v[3], expire_at)
    event(view, N_GENERIC, b"expire", &args.v[1])
    return reply_ok(reply)


cdef int cmd_setex(View view, Args* args, Reply reply) except -1:
    return set_for(view, args, reply, D_EX, b"setex")


cdef int cmd_psetex(View view, Args* args, Reply reply) except -1:
    return set_for(view, args, reply, D_PX, b"psetex")


cdef int set_all(View view, Args* args) except -1:
    """Set the pairs from argument 1 on; all keys are in memory."""
    cdef Head head
    cdef int i
    for i in range(1, args.n, 2):
        view.lookup(args.v[i].data, args.v[i].len, 0, &head)
        put(view, &head, &args.v[i], &args.v[i + 1], 0)
    return 0


cdef int cmd_mset(View view, Args* args, Reply reply) except -1:
    if args.n % 2 == 0:
        return refuse(reply, b"ERR wrong number of arguments for 'mset' command")
    if any_missing(view, args, 1, 2):
        return PARK
    set_all(view, args)
    return reply_ok(reply)


cdef int cmd_msetnx(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef int i
    if args.n % 2 == 0:
        return refuse(reply, b"ERR wrong number of arguments for 'msetnx' command")
    if any_missing(view, args, 1, 2):
        return PARK
    for i in range(1, args.n, 2):
        if view.lookup(args.v[i].data, args.v[i].len, 0, &head) == FOUND:
            return reply_integer(reply, 0)
    set_all(view, args)
    return reply_integer(reply, 1)


HANDLERS = {
    "get": native(cmd_get),
    "set": native(cmd_set),
    "setnx": native(cmd_setnx),
    "setex": native(cmd_setex),
    "psetex": native(cmd_psetex),
    "getset": native(cmd_getset),
    "getdel": native(cmd_getdel),
    "getex": native(cmd_getex),
    "mget": native(cmd_mget),
    "mset": native(cmd_mset),
    "msetnx": native(cmd_msetnx),
}
