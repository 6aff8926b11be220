# cython: boundscheck=False, wraparound=False
"""Incremental request parser: RESP arrays of bulk strings, and inline commands.

Limits and error texts are Redis's. An incomplete command is never scanned twice, and no memory is
reserved on a header's word: the input grows with what arrives, the arguments as they arrive.
Source: the Redis serialization protocol specification.
"""

from libc.limits cimport INT_MAX
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcpy
from kvnode._core.buffer cimport buffer_consume, buffer_free, buffer_reserve
from kvnode._core.bytes cimport parse_i64

from kvnode.base.errors import RemoteProtocolError

cdef enum:
    LINE_BYTES_MAX = 64 * 1024              # an inline request or a length line
    ARGUMENTS_KEPT = 64                     # slices allocated from the start
    ARGUMENTS_KEPT_MAX = 4096               # more than this is given back after the command
    STRANGER_ARGUMENTS_MAX = 10             # before authentication
    STRANGER_BULK_BYTES_MAX = 16 * 1024
    NO_BULK = -1


cdef class Parser:
    """The parser of one connection.

    proto_max_bulk_bytes: longest argument accepted, 512 MiB by default.
    """

    def __cinit__(self):
        self.proto_max_bulk_bytes = 512 * 1024 * 1024
        self.bulk_bytes = NO_BULK
        self.resize_arguments(ARGUMENTS_KEPT)

    def __dealloc__(self):
        buffer_free(&self.input)
        free(self.args.v)
        free(self.ahead.v)

    # -- input ----------------------------------------------------------------------------------

    cdef char* room(self, size_t n) except NULL:
        """Return space for `n` more bytes of input. Slices handed out become invalid."""
        buffer_reserve(&self.input, n)
        return self.input.data + self.input.len

    cdef void advance(self, size_t n) noexcept:
        """`n` bytes were written into room()."""
        self.input.len += n

    cdef size_t pending(self) noexcept:
        """Bytes received and not parsed."""
        return self.input.len - self.start

    cdef void compact(self) noexcept:
        """Drop parsed bytes. Slices handed out become invalid."""
        if self.start:
            buffer_consume(&self.input, self.start)
            self.scan -= self.start
            self.start = 0

    cdef void rewind(self, size_t start) noexcept:
        """Take the last command back: `start` as it was before the call of next()."""
        self.start = start
        self.scan = start
        self.arguments_left = 0
        self.bulk_bytes = NO_BULK
        self.args.n = 0

    # -- one command ----------------------------------------------------------------------------

    cdef ParseResult next(self) except *:
        """Parse one command and consume it: `args` holds it until the next call."""
        cdef ParseResult result
        cdef int i
        cdef char* base
        while True:
            if self.arguments_left == 0:
                self.scan = self.start
                self.args.n = 0
                if self.start == self.input.len:
                    return PARSE_MORE
                if self.input.data[self.start] != 42:
                    result = self.next_inline()
                    if result == PARSE_COMMAND and self.args.n == 0:
                        continue        # an empty line
                    return result
                result = self.read_count()
                if result != PARSE_COMMAND:
                    return result
                if self.arguments_left == 0:
                    self.start = self.scan
                    continue            # an empty array
            result = self.read_arguments()
            if result != PARSE_COMMAND:
                return result
            base = self.input.data + self.start
            for i in range(self.args.n):
                self.args.v[i].data = base + <size_t>self.args.v[i].data
            self.start = self.scan
            return PARSE_COMMAND

    cdef ParseResult read_count(self) except *:
        """Read the line "*<count>" at `scan`."""
        cdef int64_t count
        cdef ParseResult result = self.read_length(
            b"ERR Protocol error: too big mbulk count string", &count)
        if result == PARSE_MORE:
            return PARSE_MORE
        if result == PARSE_ERROR:
            if self.error is None:
                self.error = b"ERR Protocol error: invalid multibulk length"
            return PARSE_ERROR
        if count > INT_MAX:
            return self.fail(b"ERR Protocol error: invalid multibulk length")
        if count > STRANGER_ARGUMENTS_MAX and not self.authenticated:
            return self.fail(b"ERR Protocol error: unauthenticated multibulk length")
        self.arguments_left = count if count > 0 else 0
        if self.capacity > ARGUMENTS_KEPT_MAX and count <= ARGUMENTS_KEPT:
            self.resize_arguments(ARGUMENTS_KEPT)
        return PARSE_COMMAND

    cdef ParseResult read_arguments(self) except *:
        """Read bulk strings until the command is complete; slices hold offsets from `start`."""
        cdef ParseResult result
        cdef char* p
        cdef uint8_t digit
        while self.arguments_left:
            if self.bulk_bytes == NO_BULK:
                p = self.input.data + self.scan
                if self.input.len - self.scan >= 4 and p[0] == 36 and p[2] == 13 \
                        and <uint8_t>(<uint8_t>p[1] - 48) <= 9 and p[3] == 10:
                    self.bulk_bytes = p[1] - 48         # "$d\r\n": the common short argument
                    self.scan += 4
                else:
                    result = self.read_bulk_length()
                    if result != PARSE_COMMAND:
                        return result
            if self.input.len - self.scan < <size_t>self.bulk_bytes + 2:
                return PARSE_MORE
            if self.args.n == self.capacity:
                self.resize_arguments(2 * self.capacity)
            self.args.v[self.args.n].data = <const char*>(self.scan - self.start)
            self.args.v[self.args.n].len = <size_t>self.bulk_bytes
            self.args.n += 1
            self.scan += <size_t>self.bulk_bytes + 2
            self.bulk_bytes = NO_BULK
            self.arguments_left -= 1
        return PARSE_COMMAND

    cdef ParseResult read_bulk_length(self) except *:
        """Read the line "$<length>" at `scan`."""
        cdef int64_t length
        cdef ParseResult result
        if self.scan < self.input.len and self.input.data[self.scan] != 36 \
                and memchr(self.input.data + self.scan, 13, self.input.len - self.scan) != NULL:
            return self.fail(b"ERR Protocol error: expected '$', got '"
                             + self.input.data[self.scan:self.scan + 1] + b"'")
        result = self.read_length(b"ERR Protocol error: too big bulk count string", &length)
        if result == PARSE_MORE:
            return PARSE_MORE
        if result == PARSE_ERROR:
            if self.error is None:
                self.error = b"ERR Protocol error: invalid bulk length"
            return PARSE_ERROR
        if length < 0 or length > self.proto_max_bulk_bytes:
            return self.fail(b"ERR Protocol error: invalid bulk length")
        if length > STRANGER_BULK_BYTES_MAX and not self.authenticated:
            return self.fail(b"ERR Protocol error: unauthenticated bulk length")
        self.bulk_bytes = length
        return PARSE_COMMAND

    cdef ParseResult read_length(self, bytes too_long, int64_t* value) except *:
        """Read a type byte, a decimal and CRLF at `scan`; PARSE_ERROR: `error` may still be None."""
        cdef char* p = self.input.data + self.scan
        cdef size_t room = self.input.len - self.scan
        cdef char* end = <char*>memchr(p, 13, room) if room else NULL
        self.error = None
        if end == NULL:
            if room > LINE_BYTES_MAX:
                return self.fail(too_long)
            return PARSE_MORE
        if <size_t>(end - p) + 2 > room:
            return PARSE_MORE
        if not parse_i64(p + 1, end - p - 1, value):
            return PARSE_ERROR
        self.scan += <size_t>(end - p) + 2
        return PARSE_COMMAND

    cdef ParseResult next_inline(self) except *:
        """Parse a line of words, quoted as for redis-cli."""
        cdef char* p = self.input.data + self.start
        cdef size_t room = self.input.len - self.start
        cdef char* end = <char*>memchr(p, 10, room)
        cdef size_t n
        cdef int i
        cdef bytes word
        if end == NULL:
            if room > LINE_BYTES_MAX:
                return self.fail(b"ERR Protocol error: too big inline request")
            return PARSE_MORE
        n = end - p
        self.start += n + 1
        if n and p[n - 1] == 13:
            n -= 1
        self.words = split_words(p[:n])
        if self.words is None:
            return self.fail(b"ERR Protocol error: unbalanced quotes in request")
        for i in range(len(self.words)):
            word = self.words[i]
            if self.args.n == self.capacity:
                self.resize_arguments(2 * self.capacity)
            self.args.v[i].data = word
            self.args.v[i].len = len(word)
            self.args.n += 1
        return PARSE_COMMAND

    cdef ParseResult fail(self, bytes error) except *:
        self.error = error
        return PARSE_ERROR

    cdef int resize_arguments(self, int capacity) except -1:
        cdef Slice* v = <Slice*>realloc(self.args.v, capacity * sizeof(Slice))
        if v == NULL:
            raise MemoryError("arguments")
        self.args.v = v
        self.capacity = capacity
        return 0

    cdef ParseResult peek(self, size_t* cursor, Args* args) except *:
        """Look at the complete command at cursor[0] without consuming it, and move the cursor.

        PARSE_MORE when there is none, or only an inline one. Valid until the next call.
        """
        cdef char* p = self.input.data
        cdef size_t n = self.input.len
        cdef size_t at = cursor[0]
        cdef int64_t count
        cdef int64_t length
        cdef int i
        at = read_line(p, at, n, 42, &count)
        if at == 0 or count <= 0 or <size_t>count > n:
            return PARSE_MORE
        if self.ahead.n < count:
            free(self.ahead.v)
            self.ahead.n = 0
            self.ahead.v = <Slice*>malloc(count * sizeof(Slice))
            if self.ahead.v == NULL:
                raise MemoryError("arguments")
            self.ahead.n = <int>count
        for i in range(count):
            at = read_line(p, at, n, 36, &length)
            if at == 0 or length < 0 or n - at < <size_t>length + 2:
                return PARSE_MORE
            self.ahead.v[i].data = p + at
            self.ahead.v[i].len = <size_t>length
            at += <size_t>length + 2
        args.v = self.ahead.v
        args.n = <int>count
        cursor[0] = at
        return PARSE_COMMAND

    # -- the same for Python --------------------------------------------------------------------

    def feed(self, bytes data not None):
        """Take bytes from the client."""
        memcpy(self.room(len(data)), <const char*>data, len(data))
        self.advance(len(data))

    def next_command(self):
        """Return the next command as a list of bytes, or None. Raises RemoteProtocolError."""
        cdef ParseResult result = self.next()
        cdef int i
        if result == PARSE_ERROR:
            raise RemoteProtocolError(self.error.decode("latin-1"))
        if result == PARSE_MORE:
            return None
        return [self.args.v[i].data[:self.args.v[i].len] for i in range(self.args.n)]

    @property
    def capacity_bytes(self):
        """Memory of the input buffer."""
        return self.input.capacity


cdef size_t read_line(const char* p, size_t at, size_t n, char kind, int64_t* value) noexcept:
    """Read "<kind><decimal>\\r\\n" at `at`; return where it ends, 0 if it is not all there."""
    cdef const char* end
    if at >= n or p[at] != kind:
        return 0
    end = <const char*>memchr(p + at, 13, n - at)
    if end == NULL or <size_t>(end - p) + 2 > n:
        return 0
    if not parse_i64(p + at + 1, end - p - at - 1, value):
        return 0
    return <size_t>(end - p) + 2


_ESCAPES = {ord("n"): 10, ord("r"): 13, ord("t"): 9, ord("b"): 8, ord("a"): 7}


cdef list split_words(bytes line):
    """Split a line into words as Redis does: quotes, escapes in double quotes; None: unbalanced."""
    cdef list words = []
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t n = len(line)
    while True:
        while i < n and line[i] in b" \t\n\v\f\r":
            i += 1
        if i >= n:
            return words
        word = bytearray()
        i = read_word(line, i, word)
        if i < 0:
            return None
        words.append(bytes(word))


cdef Py_ssize_t read_word(bytes line, Py_ssize_t i, word) except? -2:
    """Read one word at `i` into `word`; return where it ends, -1 if its quotes are unbalanced."""
    cdef Py_ssize_t n = len(line)
    quote = 0
    while i < n:
        c = line[i]
        if quote == 0:
            if c in b" \t\n\v\f\r\0":
                return i
            if c == 34 or c == 39:
                quote = c
            else:
                word.append(c)
        elif c == quote:
            if i + 1 < n and line[i + 1] not in b" \t\n\v\f\r":
                return -1
            return i + 1
        elif c == 92 and quote == 34 and i + 1 < n:
            i += 1
            if line[i] == 120 and i + 2 < n and is_hex(line[i + 1]) and is_hex(line[i + 2]):
                word.append(int(line[i + 1:i + 3], 16))
                i += 2
            else:
                word.append(_ESCAPES.get(line[i], line[i]))
        elif c == 92 and quote == 39 and i + 1 < n and line[i + 1] == 39:
            i += 1
            word.append(39)
        else:
            word.append(c)
        i += 1
    return -1 if quote else i


cdef inline bint is_hex(int c):
    return 48 <= c <= 57 or 65 <= c <= 70 or 97 <= c <= 102
