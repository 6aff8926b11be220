# cython: boundscheck=False, wraparound=False
"""Values of string keys, inline or in chunks."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memset
from kvnode._core.buffer cimport buffer_append, buffer_reserve
from kvnode._core.bytes cimport ASSERT, DECIMAL_BYTES_MAX, parse_i64
from kvnode._core.dispatch cimport AGAIN, DONE, PARK
from kvnode._core.reply cimport reply_prefix
from kvnode._core.session cimport Session
from kvnode._core.stream cimport is_streamed, keep_chunks, open_part
from kvnode._core.tip cimport V_RAW_ENCODING, V_TEXT_ENCODING
from kvnode._core.view cimport FOUND, MISS


cdef bint need_chunks(View view, const Version* v, uint64_t start, uint64_t end) except -1:
    """Note the chunks under bytes [start, end) of a value that must be fetched; True if any.

    Inline values, and bytes past the end of the value, need none.
    """
    cdef Version* chunk
    cdef uint64_t id
    cdef uint64_t number
    cdef bint missing = False
    if v.type != T_CHUNKED or view.tip.chunks.resident:
        return False
    if end > string_length(v):
        end = string_length(v)
    id = get_be64(v.data)
    number = start // CHUNK_BYTES
    while number * CHUNK_BYTES < end:
        if view.chunk(id, <uint32_t>number, &chunk) == MISS:
            missing = True
        number += 1
    return missing


cdef int read_span(View view, const Version* v, uint64_t start, uint64_t n, char* out) except -1:
    """Copy bytes [start, start + n) of a value to `out`. Requires: no chunk of them is missing."""
    cdef Version* chunk
    cdef uint64_t id
    cdef uint64_t offset
    cdef uint64_t take
    cdef uint64_t have
    ASSERT(start + n <= string_length(v))
    if v.type == T_STRING:
        memcpy(out, v.data + start, n)
        return 0
    id = get_be64(v.data)
    while n:
        offset = start % CHUNK_BYTES
        take = CHUNK_BYTES - offset
        if take > n:
            take = n
        have = 0
        if view.chunk(id, <uint32_t>(start // CHUNK_BYTES), &chunk) == FOUND \
                and chunk.length > offset:
            have = chunk.length - offset
            if have > take:
                have = take
            memcpy(out, chunk.data + offset, have)
        memset(out + have, 0, take - have)
        out += take
        start += take
        n -= take
    return 0


cdef int reply_span(View view, const Version* v, uint64_t start, uint64_t n, Reply reply) except -1:
    """Answer bytes [start, start + n) of a value; DONE, or PARK when chunks must be fetched.

    Of a large one only the beginning is written, and the rest in steps: see stream.
    """
    if v.type == T_STRING:
        reply_bulk(reply, v.data + start, n)
        return DONE
    if is_streamed(view, n, reply):
        return open_part(view, v, start, n, reply)
    if need_chunks(view, v, start, start + n):
        return PARK
    buffer_reserve(&reply.out, n + DECIMAL_BYTES_MAX + 5)
    reply_prefix(reply, 36, <int64_t>n)
    read_span(view, v, start, n, reply.out.data + reply.out.len)
    reply.out.len += n
    buffer_append(&reply.out, b"\r\n", 2)
    return DONE


cdef bint value_equals(View view, const Version* v, const char* data, size_t n) except -1:
    """Whether a value is these bytes. Requires: no chunk of it is missing."""
    cdef char part[CHUNK_BYTES]
    cdef size_t at = 0
    cdef size_t take
    if string_length(v) != n:
        return False
    if v.type == T_STRING:
        return memcmp(v.data, data, n) == 0
    while at < n:
        take = n - at if n - at < CHUNK_BYTES else CHUNK_BYTES
        read_span(view, v, at, take, part)
        if memcmp(part, data + at, take):
            return False
        at += take
    return True


cdef uint64_t staged_id(View view, const char* data, uint64_t length) noexcept:
    """Return the value id under which an argument was staged, 0 if it was not."""
    cdef size_t i
    for i in range(view.staged.size()):
        if view.staged[i].data == data and view.staged[i].length == length:
            return view.staged[i].value_id
    return 0


cdef int set_chunked(View view, Head* head, const char* data, size_t n,
                     uint64_t expire_at) except -1:
    """Set a key to a string longer than INLINE_BYTES_MAX."""
    cdef uint64_t id = staged_id(view, data, n)
    cdef size_t at = 0
    cdef size_t take
    if id:
        view.end_value(id)
        return view.publish_chunks(head, id, n, expire_at)
    id = view.new_id()
    while at < n:
        take = n - at if n - at < CHUNK_BYTES else CHUNK_BYTES
        view.write_chunk(id, <uint32_t>(at // CHUNK_BYTES), data + at, take)
        at += take
    return view.publish_chunks(head, id, n, expire_at)


cdef int overwrite(View view, Head* head, uint64_t offset, const char* data, size_t n) except -1:
    """Put `n` bytes at `offset` into a string, which grows as needed; zeros fill a gap.

    The key may be absent. Returns DONE, or PARK (chunks must be fetched) or AGAIN with nothing
    changed. Costs what it touches, except when a string grows past INLINE_BYTES_MAX.
    """
    cdef Version* old = head.version
    cdef Version* v
    cdef uint64_t length = string_length(old) if old != NULL else 0
    cdef uint64_t end = offset + n
    cdef uint64_t total = end if end > length else length
    if total <= INLINE_BYTES_MAX and (old == NULL or old.type == T_STRING):
        v = view.tip.new_version(total)
        v.type = T_STRING
        v.flags = V_RAW_ENCODING
        if old != NULL:
            v.expire_at = old.expire_at
            memcpy(v.data, old.data, length)
        if offset > length:
            memset(v.data + length, 0, offset - length)
        memcpy(v.data + offset, data, n)
        view.place(head, v)
        return DONE
    return overwrite_chunks(view, head, offset, data, n, total)


cdef int overwrite_chunks(View view, Head* head, uint64_t offset, const char* data, size_t n,
                          uint64_t total) except -1:
    """overwrite() for a value that lies in chunks, before or afterwards."""
    cdef Version* old = head.version
    cdef uint64_t length = string_length(old) if old != NULL else 0
    cdef uint64_t id
    cdef uint64_t number = 0
    cdef uint64_t first = offset // CHUNK_BYTES
    cdef int outcome
    if n > BUILD_BYTES_MAX:
        outcome = build(view, old, offset, data, n, total, &id)
        if outcome == DONE:
            view.publish_chunks(head, id, total, old.expire_at if old != NULL else 0)
        return outcome
    if old != NULL and old.type == T_CHUNKED:
        # Also those that are replaced whole: a snapshot may need what they were.
        if need_chunks(view, old, offset, offset + n):
            return PARK
        id = get_be64(old.data)
        keep_chunks(view, id, first, (offset + n + CHUNK_BYTES - 1) // CHUNK_BYTES)
    else:
        id = view.new_id()
        while number * CHUNK_BYTES < length:
            merge_chunk(view, id, number, old, offset, data, n)
            number += 1
    if number < first:
        number = first
    while number * CHUNK_BYTES < offset + n:
        merge_chunk(view, id, number, old, offset, data, n)
        number += 1
    view.publish_chunks(head, id, total, old.expire_at if old != NULL else 0)
    return DONE


cdef int merge_chunk(View view, uint64_t id, uint64_t number, const Version* old, uint64_t offset,
                     const char* data, size_t n) except -1:
    """Write chunk `number` of value `id`: what `old` has there, with `data` put at `offset`."""
    cdef char merged[CHUNK_BYTES]
    cdef Version* chunk
    cdef uint64_t start = number * CHUNK_BYTES
    cdef uint64_t lo = offset - start if offset > start else 0          # of `data`, in the chunk
    cdef uint64_t hi = offset + n - start if offset + n > start else 0
    cdef uint64_t length = 0
    if hi > CHUNK_BYTES:
        hi = CHUNK_BYTES
    if lo >= hi:
        lo = hi = 0
    elif lo == 0 and hi == CHUNK_BYTES:
        return view.write_chunk(id, <uint32_t>number, data + (start - offset), CHUNK_BYTES)
    if old != NULL and start < string_length(old):
        if old.type == T_STRING:
            length = old.length - start
            if length > CHUNK_BYTES:
                length = CHUNK_BYTES
            memcpy(merged, old.data + start, length)
        elif view.chunk(get_be64(old.data), <uint32_t>number, &chunk) == FOUND:
            length = chunk.length
            memcpy(merged, chunk.data, length)
    if length == 0 and hi == 0:
        return 0                # a hole stays a hole
    if lo > length:
        memset(merged + length, 0, lo - length)
    if hi:
        memcpy(merged + lo, data + (start + lo - offset), hi - lo)
    return view.write_chunk(id, <uint32_t>number, merged, length if length > hi else hi)


cdef class Build:
    """How far a value is written that a command builds over several passes."""


cdef int build(View view, const Version* old, uint64_t offset, const char* data, size_t n,
               uint64_t total, uint64_t* id) except -1:
    """Write under a fresh id what `old` holds, with `data` put at `offset`, a part in each pass.

    Returns DONE once value id[0] is whole, to be published at once; AGAIN when the command has to
    run again for the next part, PARK when it lacks chunks. Others run in between: when the key has
    changed it is begun anew, a few times, and then written in one step; so is a value of one part,
    and all that is built inside EXEC.
    """
    cdef Session session = view.session
    cdef Build work = session.building
    cdef uint64_t source_ts = old.commit_ts if old != NULL else 0
    cdef uint64_t at
    cdef uint64_t end = total
    if session.in_exec or total <= BUILD_BYTES_MAX:
        if old != NULL and need_chunks(view, old, 0, total):
            return PARK
        id[0] = view.new_id()
        copy_chunks(view, id[0], old, offset, data, n, 0, total)
        return DONE
    if work is None:
        work = session.building = Build()
    elif work.value_id and (work.source_ts != source_ts or not view.is_begun(work.value_id)):
        view.staging.pop(work.value_id, None)
        work.value_id = 0
        work.restarts += 1
    if not work.value_id:
        if source_ts == view.commit_ts and work.restarts < BUILD_RESTARTS_MAX:
            work.restarts += 1              # this batch may change it once more, unseen
            return AGAIN
        work.source_ts = source_ts
        work.number = 0
        work.value_id = view.new_id()
        view.begin_value(work.value_id, total, session)
    at = work.number * CHUNK_BYTES
    if work.restarts < BUILD_RESTARTS_MAX and total - at > BUILD_BYTES_MAX:
        end = at + BUILD_BYTES_MAX
    if old != NULL and need_chunks(view, old, at, end):
        return PARK
    copy_chunks(view, work.value_id, old, offset, data, n, at, end)
    work.number = end // CHUNK_BYTES
    if end < total:
        return AGAIN
    id[0] = work.value_id
    view.end_value(work.value_id)
    view.staging.pop(work.value_id, None)
    session.building = None
    return DONE


cdef int copy_chunks(View view, uint64_t id, const Version* old, uint64_t offset, const char* data,
                     size_t n, uint64_t at, uint64_t end) except -1:
    """Write bytes [at, end), whole chunks, of a value made from `old` with `data` at `offset`."""
    while at < end:
        merge_chunk(view, id, at // CHUNK_BYTES, old, offset, data, n)
        at += CHUNK_BYTES
    return 0


cdef int set_deadline(View view, Head* head, uint64_t expire_at) except -1:
    """Give a key, of any type, another deadline (ms, 0 = none); its value stays."""
    cdef Version* old = head.version
    cdef Version* v = view.tip.new_version(old.length)
    v.type = old.type
    v.flags = old.flags
    v.expire_at = expire_at
    memcpy(v.data, old.data, old.length)
    return view.place(head, v)


cdef int copy_value(View view, Head* source, Head* target) except -1:
    """Give `target` a copy of a string and its deadline; DONE, PARK or AGAIN, see build()."""
    cdef Version* old = source.version
    cdef Version* v
    cdef uint64_t length = string_length(old)
    cdef uint64_t id
    cdef int outcome
    if old.type == T_STRING:
        v = view.write(target, T_STRING, length, old.expire_at)
        v.flags = old.flags
        memcpy(v.data, old.data, length)
        return DONE
    outcome = build(view, old, length, NULL, 0, length, &id)
    if outcome == DONE:
        view.publish_chunks(target, id, length, old.expire_at)
    return outcome


cdef Encoding encoding_of(const Version* v) noexcept nogil:
    """What OBJECT ENCODING says of a string."""
    cdef int64_t value
    if v.type == T_CHUNKED or v.flags & V_RAW_ENCODING:
        return ENCODING_RAW
    if not v.flags & V_TEXT_ENCODING and parse_i64(v.data, v.length, &value):
        return ENCODING_INT
    return ENCODING_EMBSTR if v.length <= EMBSTR_BYTES_MAX else ENCODING_RAW
