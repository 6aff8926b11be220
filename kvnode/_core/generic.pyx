# cython: boundscheck=False, wraparound=False
"""Commands on keys of any type: DEL, EXISTS, TYPE, RENAME, COPY, MOVE, OBJECT, MEMORY USAGE."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport strlen
from kvnode._core.arguments cimport (
    N_GENERIC, N_NEW, NO_SUCH_DB, NO_SUCH_KEY, SAME_OBJECT, SYNTAX, any_missing, event, event_in,
    is_word, refuse, require_i64, require_int, same_bytes)
from kvnode._core.bytes cimport Slice, parse_i64
from kvnode._core.collection cimport copy_collection, outcome_of
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.encoding cimport collection_encoding, list_encoding
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_bulk, reply_integer, reply_null, reply_ok, reply_simple
from kvnode._core.strvalue cimport (
    CHUNK_BYTES, ENCODING_EMBSTR, ENCODING_INT, copy_value, encoding_of, string_length)
from kvnode._core.tip cimport (
    COLLECTION_BYTES, T_CHUNKED, T_LIST, Collection, Table, Version, entry_bytes, head_data,
    is_collection, version_bytes)
from kvnode._core.typenames cimport type_name
from kvnode._core.view cimport FOUND, L_NO_TOUCH, L_READ, MISS, Head, View

from kvnode.base.errors import RecordMissing

cdef enum:
    SHARED_INTEGERS = 10000             # Redis keeps one object for each smaller integer
    SHARED_REFERENCES = 2147483647      # what it then says of OBJECT REFCOUNT
    TIMESTAMP_COUNTER_BITS = 16         # commit_ts = ms << 16 | counter
    CHUNK_OVERHEAD_BYTES = 100          # of memory that a chunk takes beside its bytes, about
    ELEMENT_BYTES = 150                 # of a collection's element, while none is in memory


# -- whether, and how many ----------------------------------------------------------------------

cdef int cmd_del(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef int64_t removed = 0
    cdef int i
    if any_missing(view, args, 1, 1):
        return PARK
    for i in range(1, args.n):
        if view.lookup(args.v[i].data, args.v[i].len, L_NO_TOUCH, &head) == FOUND:
            view.remove(&head)
            event(view, N_GENERIC, b"del", &args.v[i])
            removed += 1
    return reply_integer(reply, removed)


cdef int count_found(View view, Args* args, int flags, Reply reply) except -1:
    cdef Head head
    cdef int64_t count = 0
    cdef int i
    if any_missing(view, args, 1, 1):
        return PARK
    for i in range(1, args.n):
        if view.lookup(args.v[i].data, args.v[i].len, flags, &head) == FOUND:
            count += 1
    return reply_integer(reply, count)


cdef int cmd_exists(View view, Args* args, Reply reply) except -1:
    return count_found(view, args, L_READ | L_NO_TOUCH, reply)


cdef int cmd_touch(View view, Args* args, Reply reply) except -1:
    return count_found(view, args, L_READ, reply)


cdef int cmd_type(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef int found = view.lookup(args.v[1].data, args.v[1].len, L_READ | L_NO_TOUCH, &head)
    cdef const char* name
    if found == MISS:
        return PARK
    if found != FOUND:
        return reply_simple(reply, b"none", 4)
    name = type_name(head.version.type)
    return reply_simple(reply, name, strlen(name))


# -- from one name or database to another -------------------------------------------------------

cdef int rename(View view, Args* args, Reply reply, bint only_new) except -1:
    """RENAME and RENAMENX. The value moves by its head alone, whatever its size."""
    cdef Head source
    cdef Head target
    cdef Slice* old = &args.v[1]
    cdef Slice* new = &args.v[2]
    if any_missing(view, args, 1, 1):
        return PARK
    if view.lookup(old.data, old.len, 0, &source) != FOUND:
        return refuse(reply, NO_SUCH_KEY)
    if same_bytes(old, new):
        return reply_integer(reply, 0) if only_new else reply_ok(reply)
    if view.lookup(new.data, new.len, 0, &target) == FOUND and only_new:
        return reply_integer(reply, 0)
    view.move(&source, &target)
    event(view, N_NEW, b"new", new)
    event(view, N_GENERIC, b"rename_from", old)
    event(view, N_GENERIC, b"rename_to", new)
    return reply_integer(reply, 1) if only_new else reply_ok(reply)


cdef int cmd_rename(View view, Args* args, Reply reply) except -1:
    return rename(view, args, reply, False)


cdef int cmd_renamenx(View view, Args* args, Reply reply) except -1:
    return rename(view, args, reply, True)


cdef int cmd_move(View view, Args* args, Reply reply) except -1:
    cdef Head source
    cdef Head target
    cdef Slice* key = &args.v[1]
    cdef Table* table
    cdef int64_t db
    cdef int found
    cdef int there
    if not require_int(&args.v[2], &db, reply):
        return DONE
    if not 0 <= db < view.databases_count:
        return refuse(reply, NO_SUCH_DB)
    if db == view.session.db:
        return refuse(reply, SAME_OBJECT)
    table = view.tip.databases[db]
    found = view.lookup(key.data, key.len, 0, &source)
    there = view.lookup_in(table, key.data, key.len, 0, &target)
    if found == MISS or there == MISS:
        return PARK
    if found != FOUND or there == FOUND:
        return reply_integer(reply, 0)
    view.move(&source, &target)
    event_in(view, <int>db, N_NEW, b"new", key)
    event(view, N_GENERIC, b"move_from", key)
    event_in(view, <int>db, N_GENERIC, b"move_to", key)
    return reply_integer(reply, 1)


cdef int cmd_copy(View view, Args* args, Reply reply) except -1:
    cdef Head source
    cdef Head target
    cdef int64_t db = view.session.db
    cdef bint replace = False
    cdef int outcome
    cdef int found
    cdef int there
    cdef int i = 3
    while i < args.n:
        if is_word(&args.v[i], b"REPLACE"):
            replace = True
        elif is_word(&args.v[i], b"DB") and i + 1 < args.n:
            i += 1
            if not require_int(&args.v[i], &db, reply):
                return DONE
            if not 0 <= db < view.databases_count:
                return refuse(reply, NO_SUCH_DB)
        else:
            return refuse(reply, SYNTAX)
        i += 1
    if db == view.session.db and same_bytes(&args.v[1], &args.v[2]):
        return refuse(reply, SAME_OBJECT)
    found = view.lookup(args.v[1].data, args.v[1].len, L_READ, &source)
    there = view.lookup_in(view.tip.databases[db], args.v[2].data, args.v[2].len, 0, &target)
    if found == MISS or there == MISS:
        return PARK
    if found != FOUND or (there == FOUND and not replace):
        return reply_integer(reply, 0)
    if is_collection(source.version.type):
        outcome = copy_collection(view, &source, &target)
        if outcome != FOUND:
            return PARK if outcome == MISS else reply_integer(reply, 0)
    else:
        outcome = copy_value(view, &source, &target)
        if outcome != DONE:
            return outcome
    event_in(view, <int>db, N_NEW, b"new", &args.v[2])
    event_in(view, <int>db, N_GENERIC, b"copy_to", &args.v[2])
    return reply_integer(reply, 1)


# -- OBJECT, MEMORY -----------------------------------------------------------------------------

cdef int find_object(View view, Args* args, Head* head, Reply reply) except -1:
    """Look up argument 2; FOUND, or MISS (PARK), or ABSENT after a null reply."""
    cdef int found = view.lookup(args.v[2].data, args.v[2].len, L_READ | L_NO_TOUCH, head)
    if found != FOUND and found != MISS:
        reply_null(reply)
    return found


cdef int find_encoding(View view, Head* head, const char** name) except -1:
    """What OBJECT ENCODING says of a key that is there: FOUND, or MISS (PARK)."""
    cdef const Version* v = head.version
    cdef int encoding
    if v.type == T_LIST:
        return list_encoding(view, head, name)
    if is_collection(v.type):
        name[0] = collection_encoding(v)
        return FOUND
    encoding = encoding_of(v)
    if encoding == ENCODING_INT:
        name[0] = b"int"
    else:
        name[0] = b"embstr" if encoding == ENCODING_EMBSTR else b"raw"
    return FOUND


cdef int cmd_object_encoding(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef int found = find_object(view, args, &head, reply)
    cdef const char* name
    if found == FOUND:
        found = find_encoding(view, &head, &name)
    if found != FOUND:
        return outcome_of(found)
    return reply_bulk(reply, name, strlen(name))


def describe(View view not None, int db, bytes key not None):
    """What DEBUG OBJECT says of a key; None: absent. Raises RecordMissing."""
    cdef Head head
    cdef const char* name
    cdef int found = view.lookup_in(view.tip.databases[db], key, len(key), L_NO_TOUCH, &head)
    if found == FOUND:
        found = find_encoding(view, &head, &name)
    if found == MISS:
        raise RecordMissing
    if found != FOUND:
        return None
    return (f"Value at:0x{<size_t>head.version:x} refcount:1 "
            f"encoding:{name.decode()} "
            f"serializedlength:{head.version.length} lru:{head.entry.access_s} "
            f"lru_seconds_idle:{max(0, view.now_ms // 1000 - head.entry.access_s)}")


cdef int cmd_object_refcount(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef int64_t value
    cdef int found = find_object(view, args, &head, reply)
    if found != FOUND:
        return outcome_of(found)
    if not is_collection(head.version.type) and encoding_of(head.version) == ENCODING_INT \
            and parse_i64(head.version.data, head.version.length, &value) \
            and 0 <= value < SHARED_INTEGERS:
        return reply_integer(reply, SHARED_REFERENCES)
    return reply_integer(reply, 1)


cdef int cmd_object_idletime(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef int64_t used
    cdef int64_t written
    cdef int found = find_object(view, args, &head, reply)
    if found != FOUND:
        return outcome_of(found)
    used = head.entry.access_s
    written = <int64_t>((head.version.commit_ts >> TIMESTAMP_COUNTER_BITS) // 1000)
    return reply_integer(
        reply, max(0, <int64_t>(view.now_ms // 1000) - max(used, written)))


cdef int cmd_object_freq(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef int found = find_object(view, args, &head, reply)
    if found != FOUND:
        return outcome_of(found)
    return refuse(
        reply, b"ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please "
        b"note that when switching between policies at runtime LRU and LFU data will take some "
        b"time to adjust.")


cdef int64_t elements_bytes(Collection* c) noexcept nogil:
    """Memory of a collection and of its elements, by the average of those that are in memory."""
    cdef uint64_t known = c.elements.entries
    cdef int64_t each = <int64_t>(c.elements.bytes // known if known else ELEMENT_BYTES)
    return COLLECTION_BYTES + c.meta.length * each


cdef int cmd_memory_usage(View view, Args* args, Reply reply) except -1:
    """The bytes that key and value take in memory, a large string's chunks as if all were there.

    Of a collection, those of its elements that are in memory count for the others.
    """
    cdef Head head
    cdef int64_t samples
    cdef int64_t size
    cdef uint64_t length
    cdef int found
    cdef int i = 3
    while i < args.n:
        if not is_word(&args.v[i], b"SAMPLES") or i + 1 == args.n:
            return refuse(reply, SYNTAX)
        if not require_i64(&args.v[i + 1], &samples, reply):
            return DONE
        if samples < 0:
            return refuse(reply, SYNTAX)
        i += 2
    found = view.lookup(args.v[2].data, args.v[2].len, L_NO_TOUCH, &head)
    if found == MISS:
        return PARK
    if found != FOUND:
        return reply_null(reply)
    size = <int64_t>(entry_bytes(head.key.len) + version_bytes(head.version.length))
    if head.version.type == T_CHUNKED:
        length = string_length(head.version)
        size += <int64_t>(length + (length // CHUNK_BYTES + 1) * CHUNK_OVERHEAD_BYTES)
    elif is_collection(head.version.type):
        size += elements_bytes(view.tip.collection(head_data(head.version).id))
    return reply_integer(reply, size)


HANDLERS = {
    "del": native(cmd_del),
    "unlink": native(cmd_del),
    "exists": native(cmd_exists),
    "touch": native(cmd_touch),
    "type": native(cmd_type),
    "rename": native(cmd_rename),
    "renamenx": native(cmd_renamenx),
    "move": native(cmd_move),
    "copy": native(cmd_copy),
    "object|encoding": native(cmd_object_encoding),
    "object|refcount": native(cmd_object_refcount),
    "object|idletime": native(cmd_object_idletime),
    "object|freq": native(cmd_object_freq),
    "memory|usage": native(cmd_memory_usage),
}
