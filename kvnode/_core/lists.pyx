# cython: boundscheck=False, wraparound=False
"""List commands on ends and indexes: pushes, pops, LLEN, LRANGE, LINDEX, LSET, LTRIM."""

from libcpp.vector cimport vector
from kvnode._core.arguments cimport NO_SUCH_KEY, event, is_word, refuse, require_i64
from kvnode._core.bytes cimport parse_i64
from kvnode._core.collection cimport (
    AS_NULL, WRONG, Element, answer_absent, close_collection, create, is_past_budget,
    old_item_missing, open_collection, outcome_of, put_item, reply_length)
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.items cimport (
    Place, drop_ends, find_ends, item_at, items_missing, keep_only, open_list, place_of, push, room_missing)
from kvnode._core.large_replies cimport is_shown_beside
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport (
    reply_array, reply_bulk, reply_integer, reply_null, reply_null_array, reply_ok)
from kvnode._core.tip cimport T_LIST, Version
from kvnode._core.view cimport ABSENT, FOUND, L_READ, MISS, N_LIST


# -- shared -------------------------------------------------------------------------------------

cdef bint read_end(const Slice* word, bint* at_tail) noexcept:
    """Read LEFT or RIGHT; False if it is neither."""
    at_tail[0] = is_word(word, b"RIGHT")
    return at_tail[0] or is_word(word, b"LEFT")


cdef bint read_positive(const Slice* arg, int64_t* out, Reply reply) except -1:
    """Read a number of elements; when it is none, answer the error and return False."""
    if parse_i64(arg.data, arg.len, out) and out[0] >= 0:
        return True
    refuse(reply, b"ERR value is out of range, must be positive")
    return False


cdef int pop_found(View view, Head* head, Collection* c, const Slice* key, bint at_tail,
                   int64_t n) except -1:
    """Remove `n` elements at an end that find_ends() has found, and say so."""
    drop_ends(view, c, at_tail, n)
    event(view, N_LIST, b"rpop" if at_tail else b"lpop", key)
    return close_collection(view, head, c, key)


cdef bint clamp(int64_t* start, int64_t* stop, int64_t length) noexcept:
    """Make a range of indexes, both included, one of existing ones; False if it is empty."""
    if start[0] < 0:
        start[0] += length
    if stop[0] < 0:
        stop[0] += length
    if start[0] < 0:
        start[0] = 0
    if stop[0] >= length:
        stop[0] = length - 1
    return start[0] <= stop[0] and start[0] < length


# -- pushes -------------------------------------------------------------------------------------

cdef int push_all(View view, Args* args, bint at_tail, bint creates, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef int i
    cdef int found = open_collection(view, &args.v[1], T_LIST, 0, &head, &c, reply)
    if found == MISS or found == WRONG:
        return outcome_of(found)
    if found == ABSENT:
        if not creates:
            return reply_integer(reply, 0)
        c = create(view, &head, T_LIST)
    elif room_missing(view, c, args.n - 2, at_tail):
        return PARK
    for i in range(2, args.n):
        push(view, c, args.v[i].data, args.v[i].len, at_tail)
    event(view, N_LIST, b"rpush" if at_tail else b"lpush", &args.v[1])
    return reply_integer(reply, c.meta.length)


cdef int cmd_lpush(View view, Args* args, Reply reply) except -1:
    return push_all(view, args, False, True, reply)


cdef int cmd_rpush(View view, Args* args, Reply reply) except -1:
    return push_all(view, args, True, True, reply)


cdef int cmd_lpushx(View view, Args* args, Reply reply) except -1:
    return push_all(view, args, False, False, reply)


cdef int cmd_rpushx(View view, Args* args, Reply reply) except -1:
    return push_all(view, args, True, False, reply)


# -- pops ---------------------------------------------------------------------------------------

cdef int pop(View view, Args* args, bint at_tail, Reply reply) except -1:
    cdef vector[Version*] found_items
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef Version* v
    cdef int64_t count = 1
    cdef int found
    if args.n > 3:
        return refuse(reply, b"ERR wrong number of arguments for 'rpop' command" if at_tail
                      else b"ERR wrong number of arguments for 'lpop' command")
    if args.n == 3 and not read_positive(&args.v[2], &count, reply):
        return DONE
    found = open_list(view, &args.v[1], 0, &head, &c, reply)
    if found == ABSENT:
        return reply_null_array(reply) if args.n == 3 else reply_null(reply)
    if found != FOUND:
        return outcome_of(found)
    if count == 0:
        return reply_array(reply, 0)
    if args.n == 2 and c.elements.resident:
        found = item_at(view, c, c.meta.tail - 1 if at_tail else c.meta.head, &element)
        reply_bulk(reply, element.version.data, element.version.length)
        return pop_found(view, &head, c, &args.v[1], at_tail, 1)
    count = min(count, c.meta.length)
    if is_past_budget(view, count) or find_ends(view, c, at_tail, count, &found_items):
        return PARK
    if args.n == 3:
        reply_array(reply, count)
    for v in found_items:
        reply_bulk(reply, v.data, v.length)
    return pop_found(view, &head, c, &args.v[1], at_tail, count)


cdef int cmd_lpop(View view, Args* args, Reply reply) except -1:
    return pop(view, args, False, reply)


cdef int cmd_rpop(View view, Args* args, Reply reply) except -1:
    return pop(view, args, True, reply)


# -- by index -----------------------------------------------------------------------------------

cdef int cmd_llen(View view, Args* args, Reply reply) except -1:
    return reply_length(view, args, T_LIST, reply)


cdef int cmd_lrange(View view, Args* args, Reply reply) except -1:
    cdef vector[Version*] found_items
    cdef Head head
    cdef Collection* c
    cdef Place place
    cdef Version* v
    cdef int64_t start
    cdef int64_t stop
    cdef int found
    if not require_i64(&args.v[2], &start, reply) or not require_i64(&args.v[3], &stop, reply):
        return DONE
    found = open_list(view, &args.v[1], L_READ, &head, &c, reply)
    if found == MISS or found == WRONG:
        return outcome_of(found)
    if found == ABSENT or not clamp(&start, &stop, c.meta.length):
        return reply_array(reply, 0)
    if is_shown_beside(view, c, stop - start + 1) or is_past_budget(view, stop - start + 1):
        return PARK
    place = place_of(view, c, start)
    if items_missing(view, c, &place, stop - start + 1, False, &found_items):
        return PARK
    reply_array(reply, stop - start + 1)
    for v in found_items:
        reply_bulk(reply, v.data, v.length)
    return DONE


cdef int cmd_lindex(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef Element element
    cdef int64_t index
    cdef int found = open_list(view, &args.v[1], L_READ, &head, &c, reply)
    if found != FOUND:
        return answer_absent(found, AS_NULL, reply)
    if not require_i64(&args.v[2], &index, reply):
        return DONE
    if index < 0:
        index += c.meta.length
    if not 0 <= index < c.meta.length:
        return reply_null(reply)
    if item_at(view, c, place_of(view, c, index).position, &element) == MISS:
        return PARK
    return reply_bulk(reply, element.version.data, element.version.length)


cdef int cmd_lset(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef int64_t index
    cdef int64_t position
    cdef int found = open_list(view, &args.v[1], 0, &head, &c, reply)
    if found == ABSENT:
        return refuse(reply, NO_SUCH_KEY)
    if found != FOUND:
        return outcome_of(found)
    if not require_i64(&args.v[2], &index, reply):
        return DONE
    if index < 0:
        index += c.meta.length
    if not 0 <= index < c.meta.length:
        return refuse(reply, b"ERR index out of range")
    position = place_of(view, c, index).position
    if old_item_missing(view, c, position):
        return PARK
    put_item(view, c, position, args.v[3].data, args.v[3].len)
    view.change_of(c)       # who watches the key is told
    event(view, N_LIST, b"lset", &args.v[1])
    return reply_ok(reply)


cdef int cmd_ltrim(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef Collection* c
    cdef int64_t start
    cdef int64_t stop
    cdef int found
    if not require_i64(&args.v[2], &start, reply) or not require_i64(&args.v[3], &stop, reply):
        return DONE
    found = open_list(view, &args.v[1], 0, &head, &c, reply)
    if found == MISS or found == WRONG:
        return outcome_of(found)
    if found == FOUND:
        keep_only(view, c, start, stop - start + 1 if clamp(&start, &stop, c.meta.length) else 0)
        event(view, N_LIST, b"ltrim", &args.v[1])
        close_collection(view, &head, c, &args.v[1])
    return reply_ok(reply)


HANDLERS = {
    "lpush": native(cmd_lpush),
    "rpush": native(cmd_rpush),
    "lpushx": native(cmd_lpushx),
    "rpushx": native(cmd_rpushx),
    "lpop": native(cmd_lpop),
    "rpop": native(cmd_rpop),
    "llen": native(cmd_llen),
    "lrange": native(cmd_lrange),
    "lindex": native(cmd_lindex),
    "lset": native(cmd_lset),
    "ltrim": native(cmd_ltrim),
}
