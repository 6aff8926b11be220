# cython: boundscheck=False, wraparound=False
"""Commands on deadlines of fields: HEXPIRE and its kin, HTTL and its kin, HPERSIST, HGETEX, HSETEX,
HGETDEL.

Who meets a field past its deadline removes it (see collection); a sweeper finds the others.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdio cimport snprintf
from kvnode._core.arguments cimport condition_of, event, is_word, refuse, require_i64
from kvnode._core.bytes cimport Slice, parse_i64
from kvnode._core.collection cimport (
    WRONG, Element, close_collection, create, elements_missing, find_element, open_collection,
    outcome_of, put_element, remove_element)
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.encoding cimport mark_head, note_size
from kvnode._core.expiry cimport (
    D_EX, D_EXAT, D_PX, D_PXAT, DEADLINES, FROM_NOW, IN_SECONDS, condition_holds, deadline_form)
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_array, reply_bulk, reply_integer, reply_null
from kvnode._core.tip cimport T_HASH, V_WIDER_ENCODING, Collection
from kvnode._core.view cimport ABSENT, FOUND, L_READ, MISS, N_HASH, Head, View

cdef enum:
    ERROR_BYTES_MAX = 160
    SHOWN_BYTES_MAX = 100                   # of an unknown option, in its error
    FIELD_DEADLINE_MS_MAX = 70368744177663  # 2^46 - 1, as in Redis

cdef enum Outcome:          # for one field, as the commands answer it
    NO_FIELD = -2
    NO_DEADLINE = -1
    REFUSED = 0
    CHANGED = 1
    DELETED = 2

cdef enum SetFlag:          # beside a DeadlineForm
    SET_FNX = 1
    SET_FXX = 2
    SET_KEEPTTL = 4


# -- arguments ----------------------------------------------------------------------------------

cdef bint require_deadline(View view, const Slice* arg, int form, const char* command,
                           uint64_t* deadline, Reply reply) except -1:
    """Turn an amount of time into ms since the epoch; False after an error reply."""
    cdef int64_t value
    cdef int64_t unit_ms = 1000 if form & IN_SECONDS else 1
    cdef int64_t base = <int64_t>view.now_ms if form & FROM_NOW else 0
    cdef char line[ERROR_BYTES_MAX]
    if not require_i64(arg, &value, reply):
        return False
    if value < 0:
        refuse(reply, b"ERR invalid expire time, must be >= 0")
        return False
    if value > FIELD_DEADLINE_MS_MAX // unit_ms or value * unit_ms > FIELD_DEADLINE_MS_MAX - base:
        snprintf(line, ERROR_BYTES_MAX, b"ERR invalid expire time in '%s' command", command)
        refuse(reply, line)
        return False
    deadline[0] = <uint64_t>max(1, value * unit_ms + base)     # 0 stands for none
    return True


cdef bint require_fields(const Args* args, int at, const char* bad_number, Reply reply) except -1:
    """Check FIELDS and the number of fields from argument `at` on; the fields follow."""
    cdef int64_t count
    if not is_word(&args.v[at], b"FIELDS"):
        refuse(reply, b"ERR Mandatory argument FIELDS is missing or not at the right position")
        return False
    if at + 1 < args.n and (
            not parse_i64(args.v[at + 1].data, args.v[at + 1].len, &count) or count < 1):
        refuse(reply, bad_number)
        return False
    if at + 1 >= args.n or count != args.n - at - 2:
        refuse(reply, b"ERR The `numfields` parameter must match the number of arguments")
        return False
    return True


cdef int answer_each(int count, int code, Reply reply) except -1:
    """The same answer for each field."""
    cdef int i
    reply_array(reply, count)
    for i in range(count):
        if code == NO_FIELD:
            reply_integer(reply, code)
        else:
            reply_null(reply)
    return DONE


# -- changing deadlines -------------------------------------------------------------------------

cdef Outcome set_deadline(View view, Head* head, Collection* c, Element* element,
                          uint64_t deadline) except *:
    """Give a field that was found a deadline (0 = none), or delete it when that has passed."""
    if deadline and deadline <= view.now_ms:
        remove_element(view, c, element)
        return DELETED
    put_element(view, c, element, element.version.data, element.version.length, deadline)
    if deadline:
        mark_head(view, head, V_WIDER_ENCODING)
    return CHANGED


cdef int finish(View view, Head* head, Collection* c, const Slice* key, bytes change, bint changed,
                bint deleted) except -1:
    """State the events of a command, and end it."""
    if changed:
        event(view, N_HASH, change, key)
    if deleted:
        event(view, N_HASH, b"hdel", key)
    return close_collection(view, head, c, key)


cdef int expire(View view, Args* args, Reply reply, const char* command, int form) except -1:
    """HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT."""
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef uint64_t deadline
    cdef int outcome
    cdef int condition
    cdef bint changed = False
    cdef bint deleted = False
    cdef int at
    cdef int i
    cdef int found = open_collection(view, &args.v[1], T_HASH, 0, &head, &c, reply)
    if found == MISS or found == WRONG:
        return outcome_of(found)
    if not require_deadline(view, &args.v[2], form, command, &deadline, reply):
        return DONE
    condition = condition_of(&args.v[3])
    at = 4 if condition else 3
    if not require_fields(args, at, b"ERR Parameter `numFields` should be greater than 0", reply):
        return DONE
    if found == ABSENT:
        return answer_each(args.n - at - 2, NO_FIELD, reply)
    if elements_missing(view, c, args, at + 2, 1):
        return PARK
    reply_array(reply, args.n - at - 2)
    for i in range(at + 2, args.n):
        if find_element(view, c, args.v[i].data, args.v[i].len, &element) != FOUND:
            outcome = NO_FIELD
        elif not condition_holds(condition, <int64_t>deadline, element.version.expire_at):
            outcome = REFUSED
        else:
            outcome = set_deadline(view, &head, c, &element, deadline)
            changed |= outcome == CHANGED
            deleted |= outcome == DELETED
        reply_integer(reply, outcome)
    return finish(view, &head, c, &args.v[1], b"hexpire", changed, deleted)


cdef int cmd_hexpire(View view, Args* args, Reply reply) except -1:
    return expire(view, args, reply, b"hexpire", D_EX)


cdef int cmd_hpexpire(View view, Args* args, Reply reply) except -1:
    return expire(view, args, reply, b"hpexpire", D_PX)


cdef int cmd_hexpireat(View view, Args* args, Reply reply) except -1:
    return expire(view, args, reply, b"hexpireat", D_EXAT)


cdef int cmd_hpexpireat(View view, Args* args, Reply reply) except -1:
    return expire(view, args, reply, b"hpexpireat", D_PXAT)


cdef int open_fields(View view, Args* args, int at, int flags, Head* head, Collection** c,
                     Reply reply) except -1:
    """Find the hash args[1] and check FIELDS at argument `at`; as open_collection().

    After FOUND no find_element() of these fields can miss; WRONG follows any error.
    """
    cdef int found = open_collection(view, &args.v[1], T_HASH, flags, head, c, reply)
    if found == MISS or found == WRONG:
        return found
    if not require_fields(args, at, b"ERR Number of fields must be a positive integer", reply):
        return WRONG
    if found == FOUND and elements_missing(view, c[0], args, at + 2, 1):
        return MISS
    return found


cdef int cmd_hpersist(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef int outcome
    cdef bint changed = False
    cdef int i
    cdef int found = open_fields(view, args, 2, 0, &head, &c, reply)
    if found == ABSENT:
        return answer_each(args.n - 4, NO_FIELD, reply)
    if found != FOUND:
        return outcome_of(found)
    reply_array(reply, args.n - 4)
    for i in range(4, args.n):
        outcome = NO_FIELD
        if find_element(view, c, args.v[i].data, args.v[i].len, &element) == FOUND:
            outcome = NO_DEADLINE
            if element.version.expire_at:
                outcome = set_deadline(view, &head, c, &element, 0)
                changed = True
        reply_integer(reply, outcome)
    return finish(view, &head, c, &args.v[1], b"hpersist", changed, False)


# -- telling deadlines --------------------------------------------------------------------------

cdef int tell(View view, Args* args, Reply reply, int form) except -1:
    """HTTL, HPTTL, HEXPIRETIME, HPEXPIRETIME; seconds are rounded up."""
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef uint64_t value
    cdef int i
    cdef int found = open_fields(view, args, 2, L_READ, &head, &c, reply)
    if found == ABSENT:
        return answer_each(args.n - 4, NO_FIELD, reply)
    if found != FOUND:
        return outcome_of(found)
    reply_array(reply, args.n - 4)
    for i in range(4, args.n):
        if find_element(view, c, args.v[i].data, args.v[i].len, &element) != FOUND:
            reply_integer(reply, NO_FIELD)
        elif not element.version.expire_at:
            reply_integer(reply, NO_DEADLINE)
        else:
            value = element.version.expire_at - (view.now_ms if form & FROM_NOW else 0)
            reply_integer(reply, <int64_t>((value + 999) // 1000 if form & IN_SECONDS else value))
    return close_collection(view, &head, c, &args.v[1])


cdef int cmd_httl(View view, Args* args, Reply reply) except -1:
    return tell(view, args, reply, D_EX)


cdef int cmd_hpttl(View view, Args* args, Reply reply) except -1:
    return tell(view, args, reply, D_PX)


cdef int cmd_hexpiretime(View view, Args* args, Reply reply) except -1:
    return tell(view, args, reply, D_EXAT)


cdef int cmd_hpexpiretime(View view, Args* args, Reply reply) except -1:
    return tell(view, args, reply, D_PXAT)


# -- values together with deadlines -------------------------------------------------------------

cdef int cmd_hgetdel(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef bint deleted = False
    cdef int i
    cdef int found = open_fields(view, args, 2, L_READ, &head, &c, reply)
    if found == ABSENT:
        return answer_each(args.n - 4, REFUSED, reply)
    if found != FOUND:
        return outcome_of(found)
    reply_array(reply, args.n - 4)
    for i in range(4, args.n):
        if find_element(view, c, args.v[i].data, args.v[i].len, &element) == FOUND:
            reply_bulk(reply, element.version.data, element.version.length)
            remove_element(view, c, &element)
            deleted = True
        else:
            reply_null(reply)
    return finish(view, &head, c, &args.v[1], b"", False, deleted)


cdef int cmd_hgetex(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef uint64_t deadline = 0
    cdef bint persist = is_word(&args.v[2], b"PERSIST")
    cdef int form = deadline_form(&args.v[2])
    cdef bint changed = False
    cdef bint deleted = False
    cdef int outcome
    cdef int at = 4 if form else 3 if persist else 2
    cdef int i
    cdef int found = open_collection(view, &args.v[1], T_HASH, L_READ, &head, &c, reply)
    if found == MISS:
        return PARK
    if found == WRONG or (form and not require_deadline(
            view, &args.v[3], form, b"hgetex", &deadline, reply)):
        return DONE
    found = open_fields(view, args, at, 0, &head, &c, reply)
    if found == ABSENT:
        return answer_each(args.n - at - 2, REFUSED, reply)
    if found != FOUND:
        return outcome_of(found)
    reply_array(reply, args.n - at - 2)
    for i in range(at + 2, args.n):
        if find_element(view, c, args.v[i].data, args.v[i].len, &element) != FOUND:
            reply_null(reply)
            continue
        reply_bulk(reply, element.version.data, element.version.length)
        if form or (persist and element.version.expire_at):
            outcome = set_deadline(view, &head, c, &element, deadline)
            changed |= outcome == CHANGED
            deleted |= outcome == DELETED
    return finish(view, &head, c, &args.v[1], b"hpersist" if persist else b"hexpire", changed,
                  deleted)


cdef int refuse_number_of_arguments(Reply reply) except -1:
    refuse(reply, b"ERR wrong number of arguments for 'hsetex' command")
    return 0


cdef int parse_hsetex(View view, const Args* args, int* flags, uint64_t* deadline,
                      Reply reply) except -1:
    """Read what stands before the pairs; return where they begin, 0 after an error reply."""
    cdef char line[ERROR_BYTES_MAX]
    cdef const Slice* arg
    cdef int64_t count
    cdef int form
    cdef int at = 2
    flags[0] = 0
    deadline[0] = 0
    while at < args.n and not is_word(&args.v[at], b"FIELDS"):
        arg = &args.v[at]
        form = deadline_form(arg)
        at += 1
        if is_word(arg, b"FNX") or is_word(arg, b"FXX"):
            if flags[0] & (SET_FNX | SET_FXX):
                return refuse(reply, b"ERR Only one of FXX or FNX arguments can be specified")
            flags[0] |= SET_FNX if is_word(arg, b"FNX") else SET_FXX
        elif is_word(arg, b"KEEPTTL") or form:
            if flags[0] & (SET_KEEPTTL | DEADLINES):
                return refuse(reply, b"ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can "
                                     b"be specified")
            if not form:
                flags[0] |= SET_KEEPTTL
                continue
            if at == args.n:
                return refuse(reply, b"ERR missing expire time")
            if not require_deadline(view, &args.v[at], form, b"hsetex", deadline, reply):
                return 0
            flags[0] |= form
            at += 1
        else:
            snprintf(line, ERROR_BYTES_MAX, b"ERR unknown argument: %.*s",
                     <int>min(arg.len, <size_t>SHOWN_BYTES_MAX), arg.data)
            return refuse(reply, line)
    if args.n - at < 4:
        return refuse_number_of_arguments(reply)
    if not parse_i64(args.v[at + 1].data, args.v[at + 1].len, &count) \
            or not 1 <= count <= 2147483647:
        return refuse(reply, b"ERR invalid number of fields")
    if args.n - at - 2 != 2 * count:
        return refuse_number_of_arguments(reply)
    return at + 2


cdef bint fields_allow(View view, Collection* c, Args* args, int first, int flags) except -1:
    """Whether FNX or FXX let the fields be set. c: NULL when there is no hash."""
    cdef Element element
    cdef bint there
    cdef int i
    if not flags & (SET_FNX | SET_FXX):
        return True
    for i in range(first, args.n, 2):
        there = c != NULL and find_element(
            view, c, args.v[i].data, args.v[i].len, &element) == FOUND
        if there != (flags & SET_FXX != 0):
            return False
    return True


cdef int cmd_hsetex(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef int flags
    cdef uint64_t deadline
    cdef int first = parse_hsetex(view, args, &flags, &deadline, reply)
    cdef int found
    if first == 0:
        return DONE
    found = open_collection(view, &args.v[1], T_HASH, 0, &head, &c, reply)
    if found == MISS or (found == FOUND and elements_missing(view, c, args, first, 2)):
        return PARK
    if found == WRONG:
        return DONE
    if not fields_allow(view, c, args, first, flags):
        if found == FOUND:
            close_collection(view, &head, c, &args.v[1])
        return reply_integer(reply, 0)
    if flags & DEADLINES and deadline <= view.now_ms:
        if found == FOUND:
            drop_fields(view, &head, c, args, first)
        return reply_integer(reply, 1)
    if found == ABSENT:
        c = create(view, &head, T_HASH)
    put_pairs(view, &head, c, args, first, flags, deadline)
    return reply_integer(reply, 1)


cdef int put_pairs(View view, Head* head, Collection* c, Args* args, int first, int flags,
                   uint64_t deadline) except -1:
    cdef Element element
    cdef uint64_t expire_at
    cdef size_t longest = 0
    cdef int i
    for i in range(first, args.n, 2):
        expire_at = deadline
        if find_element(view, c, args.v[i].data, args.v[i].len, &element) == FOUND \
                and flags & SET_KEEPTTL:
            expire_at = element.version.expire_at
        put_element(view, c, &element, args.v[i + 1].data, args.v[i + 1].len, expire_at)
        longest = max(longest, args.v[i].len, args.v[i + 1].len)
    note_size(view, head, c, longest)
    if deadline:
        mark_head(view, head, V_WIDER_ENCODING)
    event(view, N_HASH, b"hset", &args.v[1])
    if deadline:
        event(view, N_HASH, b"hexpire", &args.v[1])
    return 0


cdef int drop_fields(View view, Head* head, Collection* c, Args* args, int first) except -1:
    """Fields set with a deadline that has passed are not kept."""
    cdef Element element
    cdef bint deleted = False
    cdef int i
    for i in range(first, args.n, 2):
        if find_element(view, c, args.v[i].data, args.v[i].len, &element) == FOUND:
            remove_element(view, c, &element)
            deleted = True
    return finish(view, head, c, &args.v[1], b"", False, deleted)


HANDLERS = {
    "hexpire": native(cmd_hexpire),
    "hpexpire": native(cmd_hpexpire),
    "hexpireat": native(cmd_hexpireat),
    "hpexpireat": native(cmd_hpexpireat),
    "httl": native(cmd_httl),
    "hpttl": native(cmd_hpttl),
    "hexpiretime": native(cmd_hexpiretime),
    "hpexpiretime": native(cmd_hpexpiretime),
    "hpersist": native(cmd_hpersist),
    "hgetdel": native(cmd_hgetdel),
    "hgetex": native(cmd_hgetex),
    "hsetex": native(cmd_hsetex),
}
