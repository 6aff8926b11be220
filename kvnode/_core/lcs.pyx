# cython: boundscheck=False, wraparound=False
"""LCS: the longest common subsequence of two strings.

Of the table of lengths only one row is kept; what the way back needs is one bit a cell.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libcpp.vector cimport vector
from kvnode._core.arguments cimport SYNTAX, is_word, note_missing, refuse, require_i64
from kvnode._core.bytes cimport Slice
from kvnode._core.dispatch cimport DONE, LONG, PARK, native
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_array, reply_bulk, reply_integer, reply_map
from kvnode._core.strvalue cimport (
    STRING_BYTES_MAX, is_string, need_chunks, read_span, string_length)
from kvnode._core.tip cimport Version
from kvnode._core.view cimport FOUND, L_READ, Head, View

cdef enum:
    CELLS_AT_ONCE_MAX = 2 << 20     # larger tables are computed by a job: about 5 ms
    REDIS_CELL_BYTES = 4            # of the table that Redis would allocate


cdef struct Options:
    bint idx
    bint len
    bint with_match_len
    int64_t match_len_min


cdef struct Match:
    int64_t a_first
    int64_t a_last
    int64_t b_first
    int64_t b_last


cdef class LcsJob:
    """An LCS that takes too long for the sequencer: what its session waits for."""

    cdef bytes a
    cdef bytes b
    cdef Options options
    cdef int proto

    def run(self):
        """Compute without the GIL, on any thread; return the reply's bytes."""
        cdef Reply reply = Reply()
        reply.proto = self.proto
        answer(self.a, len(self.a), self.b, len(self.b), &self.options, reply)
        return reply.take()


cdef uint32_t fill(const char* a, size_t n, const char* b, size_t m, uint32_t* row,
                   uint8_t* up) noexcept nogil:
    """Return the length of the LCS. row: m + 1 zeros.

    up, if not NULL: n * m bits, zero; bit i * m + j is set where LCS(a[:i], b[:j + 1]) is longer
    than LCS(a[:i + 1], b[:j]).
    """
    cdef size_t i
    cdef size_t j
    cdef uint64_t bit = 0
    cdef uint32_t diagonal
    cdef uint32_t above
    for i in range(n):
        diagonal = 0
        for j in range(m):
            above = row[j + 1]
            if a[i] == b[j]:
                row[j + 1] = diagonal + 1
            elif above > row[j]:
                if up != NULL:
                    up[bit >> 3] |= <uint8_t>(1 << (bit & 7))
            else:
                row[j + 1] = row[j]
            diagonal = above
            bit += 1
    return row[m]


cdef int go_back(const char* a, size_t n, const char* b, size_t m, const uint8_t* up,
                 uint32_t length, const Options* options, vector[char]* text,
                 vector[Match]* matches) except -1 nogil:
    """Walk from the end to the start as Redis does: the text, and the runs that match."""
    cdef Match run
    cdef size_t i = n
    cdef size_t j = m
    cdef uint64_t bit
    cdef bint open = False
    text.resize(length)
    while i > 0 and j > 0:
        if a[i - 1] == b[j - 1]:
            i -= 1
            j -= 1
            length -= 1
            text[0][length] = a[i]
            if not open:
                open = True
                run.a_last = <int64_t>i
                run.b_last = <int64_t>j
            run.a_first = <int64_t>i
            run.b_first = <int64_t>j
            if i > 0 and j > 0:
                continue
        else:
            bit = (i - 1) * m + (j - 1)
            if up[bit >> 3] & (1 << (bit & 7)):
                i -= 1
            else:
                j -= 1
        if open and run.a_last - run.a_first + 1 >= options.match_len_min:
            matches.push_back(run)
        open = False
    return 0


cdef int answer(const char* a, size_t n, const char* b, size_t m, const Options* options,
                Reply reply) except -1:
    """Compute and write the reply that `options` ask for."""
    cdef vector[char] text
    cdef vector[Match] matches
    cdef bint path = options.idx or not options.len
    cdef uint32_t* row = <uint32_t*>calloc(m + 1, sizeof(uint32_t))
    cdef uint8_t* up = <uint8_t*>calloc(n * m // 8 + 1, 1) if path else NULL
    cdef uint32_t length
    cdef size_t i
    try:
        if row == NULL or (path and up == NULL):
            return refuse(
                reply, b"ERR Insufficient memory, failed allocating transient memory for LCS")
        with nogil:
            length = fill(a, n, b, m, row, up)
            if path:
                go_back(a, n, b, m, up, length, options, &text, &matches)
    finally:
        free(row)
        free(up)
    if not path:
        return reply_integer(reply, length)
    if not options.idx:
        return reply_bulk(reply, text.data(), text.size())
    reply_map(reply, 2)
    reply_bulk(reply, b"matches", 7)
    reply_array(reply, <int64_t>matches.size())
    for i in range(matches.size()):
        reply_match(&matches[i], options, reply)
    reply_bulk(reply, b"len", 3)
    return reply_integer(reply, length)


cdef int reply_match(const Match* match, const Options* options, Reply reply) except -1:
    reply_array(reply, 3 if options.with_match_len else 2)
    reply_array(reply, 2)
    reply_integer(reply, match.a_first)
    reply_integer(reply, match.a_last)
    reply_array(reply, 2)
    reply_integer(reply, match.b_first)
    reply_integer(reply, match.b_last)
    if options.with_match_len:
        reply_integer(reply, match.a_last - match.a_first + 1)
    return 0


cdef bint parse_lcs(const Args* args, Options* options, Reply reply) except -1:
    """Read the options from argument 3 on; False after an error reply."""
    cdef int i = 3
    options.idx = options.len = options.with_match_len = False
    options.match_len_min = 0
    while i < args.n:
        if is_word(&args.v[i], b"IDX"):
            options.idx = True
        elif is_word(&args.v[i], b"LEN"):
            options.len = True
        elif is_word(&args.v[i], b"WITHMATCHLEN"):
            options.with_match_len = True
        elif is_word(&args.v[i], b"MINMATCHLEN") and i + 1 < args.n:
            i += 1
            if not require_i64(&args.v[i], &options.match_len_min, reply):
                return False
        else:
            refuse(reply, SYNTAX)
            return False
        i += 1
    if options.idx and options.len:
        refuse(reply,
               b"ERR If you want both the length and indexes, please just use IDX.")
        return False
    return True


cdef bytes value_bytes(View view, const Version* v):
    """The whole of a string; no version, no bytes. Requires: no chunk of it is missing."""
    cdef bytes data
    if v == NULL:
        return b""
    data = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>string_length(v))
    read_span(view, v, 0, string_length(v), PyBytes_AS_STRING(data))
    return data


cdef int cmd_lcs(View view, Args* args, Reply reply) except -1:
    cdef Head a
    cdef Head b
    cdef LcsJob job
    cdef uint64_t n = 0
    cdef uint64_t m = 0
    cdef uint64_t cells
    if note_missing(view, &args.v[1]) | note_missing(view, &args.v[2]):
        return PARK
    if view.lookup(args.v[1].data, args.v[1].len, L_READ, &a) == FOUND:
        n = string_length(a.version) if is_string(a.version) else 0
    if view.lookup(args.v[2].data, args.v[2].len, L_READ, &b) == FOUND:
        m = string_length(b.version) if is_string(b.version) else 0
    if (a.version != NULL and not is_string(a.version)) \
            or (b.version != NULL and not is_string(b.version)):
        return refuse(reply, b"ERR The specified keys must contain string values")
    job = LcsJob()
    job.proto = reply.proto
    if not parse_lcs(args, &job.options, reply):
        return DONE
    cells = (n + 1) * (m + 1)
    if cells > STRING_BYTES_MAX // REDIS_CELL_BYTES:
        return refuse(reply, b"ERR Insufficient memory, transient memory for LCS exceeds "
                             b"proto-max-bulk-len")
    if (n and need_chunks(view, a.version, 0, n)) | (m and need_chunks(view, b.version, 0, m)):
        return PARK
    job.a = value_bytes(view, a.version)
    job.b = value_bytes(view, b.version)
    if cells > CELLS_AT_ONCE_MAX and not view.is_private and not view.is_undivided:
        if not view.session.in_exec:
            view.session.waiting = job
        return LONG
    return answer(job.a, n, job.b, m, &job.options, reply)


HANDLERS = {
    "lcs": native(cmd_lcs),
}
