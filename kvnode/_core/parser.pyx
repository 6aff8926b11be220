# cython: boundscheck=False, wraparound=False
"""Incremental request parser: RESP arrays of bulk strings, and inline commands.

Limits and error texts are Redis's. Where Redis's limit on a line depends on how the bytes were cut
into reads, it holds here for every cut. Two differences: a NUL in a line is an ordinary byte
(Redis waits for ever), and nothing after a protocol error is ever parsed.

An incomplete command is never scanned twice, and no memory is reserved on a header's word: the
input grows with what arrives, the arguments as they arrive. No Python object per command.

As in Redis, the byte behind a length line's CR and the two bytes behind a bulk are not looked at.
Source: the Redis serialization protocol specification.
"""

from libc.limits cimport INT_MAX
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcpy
from kvnode._core.buffer cimport buffer_consume, buffer_free, buffer_reserve
from kvnode._core.bytes cimport make_slice, parse_i64

from kvnode.base.errors import RemoteProtocolError

cdef enum:
    LINE_BYTES_MAX = 64 * 1024              # an inline request or a length line
    BULK_BYTES_MAX = 512 * 1024 * 1024      # proto-max-bulk-len until it is set otherwise
    ARGUMENTS_KEPT = 16                     # slices allocated from the start
    ARGUMENTS_KEPT_MAX = 1024               # more than this is given back after the command
    ARGUMENT_BYTES_MIN = 6                  # "$0\r\n\r\n"
    STRANGER_ARGUMENTS_MAX = 10             # before authentication
    STRANGER_BULK_BYTES_MAX = 16 * 1024
    NO_BULK = -1
    CR = 13
    LF = 10
    ARRAY = 42                              # '*'
    BULK = 36                               # '$'
    DOUBLE_QUOTE = 34
    SINGLE_QUOTE = 39
    BACKSLASH = 92


cdef class Parser:
    """The parser of one connection.

    proto_max_bulk_bytes: longest argument accepted, 512 MiB by default; not below 99, as lengths
        of two digits are not compared with it (Redis allows no less than 1 MiB).
    authenticated: False holds it to Redis's limits for clients that did not authenticate.
    error: the line to answer (without '-') once the protocol is broken, None before.
    """

    def __cinit__(self):
        self.proto_max_bulk_bytes = BULK_BYTES_MAX
        self.bulk_bytes = NO_BULK
        self.resize_arguments(ARGUMENTS_KEPT)

    def __dealloc__(self):
        buffer_free(&self.input)
        buffer_free(&self.words)
        free(self.args.v)
        free(self.ahead.v)

    # -- input ----------------------------------------------------------------------------------

    cdef char* room(self, size_t n) except NULL:
        """Return space for `n` more bytes of input, n > 0. Slices handed out become invalid."""
        buffer_reserve(&self.input, n)
        return self.input.data + self.input.len

    cdef void advance(self, size_t n) noexcept:
        """`n` bytes were written into room()."""
        self.input.len += n

    cdef size_t pending(self) noexcept:
        """Bytes received and not parsed."""
        return self.input.len - self.start

    cdef void compact(self) noexcept:
        """Drop parsed bytes, and the memory of an unusual command. Slices become invalid."""
        if self.error is not None:
            self.start = self.scan = self.input.len
        if self.start:
            buffer_consume(&self.input, self.start)
            self.scan -= self.start
            self.start = 0
        if self.words.capacity:
            buffer_free(&self.words)
        if self.ahead.n > ARGUMENTS_KEPT_MAX:
            free(self.ahead.v)
            self.ahead.v = NULL
            self.ahead.n = 0
        if self.capacity > ARGUMENTS_KEPT_MAX and self.arguments_left == 0:
            free(self.args.v)
            self.args.v = NULL      # next() allocates again, where running out can be reported
            self.args.n = 0
            self.capacity = 0

    cdef void rewind(self, size_t start) noexcept:
        """Take the last command back: `start` as it was before the call of next()."""
        self.start = start
        self.scan = start
        self.searched = 0
        self.arguments_left = 0
        self.bulk_bytes = NO_BULK
        self.args.n = 0

    # -- one command ----------------------------------------------------------------------------

    cdef ParseResult next(self) except? PARSE_ERROR:
        """Parse one command and consume it: `args` holds it until the next call."""
        cdef ParseResult result
        if self.error is not None:
            return PARSE_ERROR
        while True:
            if self.arguments_left == 0:
                self.args.n = 0
                self.scan = self.start
                if self.start == self.input.len:
                    return PARSE_MORE
                if self.input.data[self.start] != ARRAY:
                    result = self.read_inline()
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
            if result == PARSE_COMMAND:
                self.start = self.scan
            return result

    cdef ParseResult read_count(self) except? PARSE_ERROR:
        """Read the line "*<count>" at `scan`."""
        cdef char* p = self.input.data + self.scan
        cdef size_t n
        cdef int64_t count
        cdef ParseResult result
        n = short_length(p, self.input.len - self.scan, &count)
        if n == 0:
            result = self.find_line(CR, b"too big mbulk count string", &n)
            if result != PARSE_COMMAND:
                return result
            if not parse_i64(p + 1, n - 1, &count) or count > INT_MAX:
                return self.fail(b"invalid multibulk length")
            n += 2
        if count > STRANGER_ARGUMENTS_MAX and not self.authenticated:
            return self.fail(b"unauthenticated multibulk length")
        self.scan += n
        self.searched = 0
        self.arguments_left = count if count > 0 else 0
        return PARSE_COMMAND

    cdef ParseResult read_arguments(self) except? PARSE_ERROR:
        """Read bulk strings until the command is complete.

        Between calls slices hold offsets from `start`: the buffer may move while more arrives.
        """
        cdef char* data = self.input.data
        cdef size_t n = self.input.len
        cdef size_t at = self.scan
        cdef size_t header
        cdef int64_t bulk = self.bulk_bytes
        cdef int64_t left = self.arguments_left
        cdef Slice* v = self.args.v
        cdef int count = self.args.n
        cdef int earlier = count        # arguments read by earlier calls
        cdef int i
        cdef ParseResult result = PARSE_COMMAND
        while left:
            if bulk == NO_BULK:
                header = short_bulk(data + at, n - at, &bulk)
                if header:
                    at += header
                    self.searched = 0
                else:
                    self.scan = at
                    result = self.read_bulk_length()
                    if result != PARSE_COMMAND:
                        break
                    at = self.scan
                    bulk = self.bulk_bytes
            if n - at < <size_t>bulk + 2:
                result = PARSE_MORE
                break
            if count == self.capacity:
                self.resize_arguments(2 * count if count else ARGUMENTS_KEPT)
                v = self.args.v
            v[count] = make_slice(data + at, <size_t>bulk)
            count += 1
            at += <size_t>bulk + 2
            bulk = NO_BULK
            left -= 1
        self.scan = at
        self.args.n = count
        self.arguments_left = left
        self.bulk_bytes = bulk
        data += self.start
        if result == PARSE_COMMAND:
            for i in range(earlier):
                v[i].data = data + <size_t>v[i].data
        else:
            for i in range(earlier, count):
                v[i].data = <const char*><size_t>(v[i].data - data)
        return result

    cdef ParseResult read_bulk_length(self) except? PARSE_ERROR:
        """Read the line "$<length>" at `scan` into bulk_bytes."""
        cdef char* p = self.input.data + self.scan
        cdef int64_t length
        cdef size_t n
        cdef ParseResult result = self.find_line(CR, b"too big bulk count string", &n)
        if result != PARSE_COMMAND:
            return result
        if p[0] != BULK:
            return self.fail(b"expected '$', got '" + p[:1] + b"'")
        if not parse_i64(p + 1, n - 1, &length) or not 0 <= length <= self.proto_max_bulk_bytes:
            return self.fail(b"invalid bulk length")
        if length > STRANGER_BULK_BYTES_MAX and not self.authenticated:
            return self.fail(b"unauthenticated bulk length")
        self.scan += n + 2
        self.searched = 0
        self.bulk_bytes = length
        return PARSE_COMMAND

    cdef ParseResult find_line(self, char end, bytes too_long, size_t* length) except? PARSE_ERROR:
        """Find the line at `scan`, which `end` closes; its length without `end`.

        A line closed by CR is complete only with one more byte.
        """
        cdef char* p = self.input.data + self.scan
        cdef size_t received = self.input.len - self.scan
        cdef size_t limit = received if received <= LINE_BYTES_MAX else LINE_BYTES_MAX + 1
        cdef char* found = NULL
        if self.searched < limit:
            found = <char*>memchr(p + self.searched, end, limit - self.searched)
        if found == NULL:
            self.searched = limit
            if limit > LINE_BYTES_MAX:
                return self.fail(too_long)
            return PARSE_MORE
        length[0] = found - p
        if end == CR and length[0] + 2 > received:
            self.searched = length[0]
            return PARSE_MORE
        return PARSE_COMMAND

    cdef ParseResult fail(self, bytes reason) except? PARSE_ERROR:
        self.error = b"ERR Protocol error: " + reason
        return PARSE_ERROR

    cdef int resize_arguments(self, int capacity) except -1:
        cdef Slice* v = <Slice*>realloc(self.args.v, <size_t>capacity * sizeof(Slice))
        if v == NULL:
            raise MemoryError("arguments")
        self.args.v = v
        self.capacity = capacity
        return 0

    # -- inline commands ------------------------------------------------------------------------

    cdef ParseResult read_inline(self) except? PARSE_ERROR:
        """Parse the line at `scan` as words, quoted as for redis-cli."""
        cdef char* p = self.input.data + self.scan
        cdef size_t n
        cdef ParseResult result = self.find_line(LF, b"too big inline request", &n)
        if result != PARSE_COMMAND:
            return result
        self.searched = 0
        self.scan += n + 1
        if n and p[n - 1] == CR:
            n -= 1
        if not self.split_words(p, n):
            return self.fail(b"unbalanced quotes in request")
        self.start = self.scan
        return PARSE_COMMAND

    cdef bint split_words(self, const char* line, size_t n) except -1:
        """Split a line into `args`; False when its quotes are unbalanced."""
        cdef size_t i = 0
        cdef size_t used
        cdef char* out
        self.words.len = 0
        buffer_reserve(&self.words, n + 1)      # a word is never longer than its source
        out = self.words.data
        while True:
            while i < n and is_space(line[i]):
                i += 1
            if i == n:
                return True
            if not read_word(line, n, &i, out, &used):
                return False
            if self.args.n == self.capacity:
                self.resize_arguments(2 * self.args.n if self.args.n else ARGUMENTS_KEPT)
            self.args.v[self.args.n] = make_slice(out, used)
            self.args.n += 1
            out += used

    # -- looking ahead --------------------------------------------------------------------------

    cdef ParseResult peek(self, size_t* cursor, Args* args) except? PARSE_ERROR:
        """Look at the complete command at cursor[0] without consuming it, and move the cursor.

        PARSE_MORE when there is none, or one that only next() can judge: inline, empty, broken.
        Valid until the next call.
        """
        cdef char* p = self.input.data
        cdef size_t n = self.input.len
        cdef size_t at = cursor[0]
        cdef int64_t count
        cdef int64_t length
        cdef int i
        if self.error is not None or self.arguments_left:
            return PARSE_MORE       # a long incomplete command is not walked through each time
        at = length_line(p, at, n, ARRAY, &count)
        if at == 0 or count <= 0 or <size_t>count > (n - at) // ARGUMENT_BYTES_MIN:
            return PARSE_MORE
        if self.ahead.n < count:
            free(self.ahead.v)
            self.ahead.n = 0
            self.ahead.v = <Slice*>malloc(<size_t>count * sizeof(Slice))
            if self.ahead.v == NULL:
                raise MemoryError("arguments")
            self.ahead.n = <int>count
        for i in range(<int>count):
            at = length_line(p, at, n, BULK, &length)
            if at == 0 or length < 0 or n - at < 2 or <size_t>length > n - at - 2:
                return PARSE_MORE
            self.ahead.v[i] = make_slice(p + at, <size_t>length)
            at += <size_t>length + 2
        args.v = self.ahead.v
        args.n = <int>count
        cursor[0] = at
        return PARSE_COMMAND

    # -- the same for Python --------------------------------------------------------------------

    def feed(self, bytes data not None):
        """Take bytes from the client."""
        if not data:
            return
        memcpy(self.room(len(data)), <const char*>data, len(data))
        self.advance(len(data))

    def next_command(self):
        """Return the next command as a list of bytes, or None. Raises RemoteProtocolError."""
        cdef ParseResult result = self.next()
        if result == PARSE_ERROR:
            raise RemoteProtocolError(self.error.decode("latin-1"))
        if result == PARSE_MORE:
            self.compact()
            return None
        return args_list(&self.args)

    def peek_commands(self):
        """Return the complete RESP commands that wait, up to the first that peek() cannot judge."""
        cdef size_t cursor = self.start
        cdef Args args
        cdef list commands = []
        while self.peek(&cursor, &args) == PARSE_COMMAND:
            commands.append(args_list(&args))
        return commands

    @property
    def pending_bytes(self):
        """Bytes received and not parsed."""
        return self.pending()

    @property
    def capacity_bytes(self):
        """Memory of the input buffer."""
        return self.input.capacity

    @property
    def memory_bytes(self):
        """All memory of this parser."""
        return (self.input.capacity + self.words.capacity
                + <size_t>(self.capacity + self.ahead.n) * sizeof(Slice))


cdef list args_list(const Args* args):
    cdef int i
    return [args.v[i].data[:args.v[i].len] for i in range(args.n)]


cdef inline size_t short_length(const char* p, size_t n, int64_t* value) noexcept nogil:
    """Read a type byte, one or two digits and CRLF; return their bytes, 0: another form."""
    cdef uint8_t a
    cdef uint8_t b
    if n < 5:
        return 0
    a = <uint8_t>(<uint8_t>p[1] - 48)
    if a > 9:
        return 0
    if p[2] == CR:
        value[0] = a
        return 4
    b = <uint8_t>(<uint8_t>p[2] - 48)
    if b > 9 or a == 0 or p[3] != CR:
        return 0
    value[0] = 10 * a + b
    return 5


cdef inline size_t short_bulk(const char* p, size_t n, int64_t* value) noexcept nogil:
    if n < 5 or p[0] != BULK:
        return 0
    return short_length(p, n, value)


cdef size_t length_line(
        const char* p, size_t at, size_t n, char kind, int64_t* value) noexcept nogil:
    """Read "<kind><decimal>\\r\\n" at `at`; return where it ends, 0 if it is not all there."""
    cdef const char* end
    cdef size_t used
    if at >= n or p[at] != kind:
        return 0
    used = short_length(p + at, n - at, value)
    if used:
        return at + used
    used = n - at if n - at <= LINE_BYTES_MAX else LINE_BYTES_MAX + 1
    end = <const char*>memchr(p + at, CR, used)
    if end == NULL or <size_t>(end - p) + 2 > n:
        return 0
    if not parse_i64(p + at + 1, end - p - at - 1, value):
        return 0
    return <size_t>(end - p) + 2


cdef inline bint is_space(char c) noexcept nogil:
    return c == 32 or 9 <= c <= 13


cdef bint read_word(const char* p, size_t n, size_t* at, char* out, size_t* used) noexcept nogil:
    """Copy the word at p[at[0]] to `out` without its quotes; False when they are unbalanced.

    Double quotes know escapes, single quotes only \\'. A closing quote must end the word.
    """
    cdef size_t i = at[0]
    cdef size_t length = 0
    cdef char quote = 0
    cdef char c
    while i < n:
        c = p[i]
        if quote == 0:
            # form feed and vertical tab separate words only where none has begun: as in Redis
            if c == 32 or c == 9 or c == LF or c == CR:
                break
            if c == DOUBLE_QUOTE or c == SINGLE_QUOTE:
                quote = c
                i += 1
                continue
        elif c == quote:
            if i + 1 < n and not is_space(p[i + 1]):
                return False
            i += 1
            quote = 0
            break
        elif c == BACKSLASH and quote == DOUBLE_QUOTE and i + 1 < n:
            i += read_escape(p + i, n - i, &c) - 1
        elif c == BACKSLASH and quote == SINGLE_QUOTE and i + 1 < n and p[i + 1] == SINGLE_QUOTE:
            c = SINGLE_QUOTE
            i += 1
        out[length] = c
        length += 1
        i += 1
    at[0] = i
    used[0] = length
    return quote == 0


cdef size_t read_escape(const char* p, size_t n, char* out) noexcept nogil:
    """Decode the escape at the backslash p[0] (n >= 2); return the bytes it takes."""
    cdef char c = p[1]
    if c == 120 and n >= 4 and hex_digit(p[2]) >= 0 and hex_digit(p[3]) >= 0:
        out[0] = <char>(16 * hex_digit(p[2]) + hex_digit(p[3]))
        return 4
    if c == 110:
        c = LF
    elif c == 114:
        c = CR
    elif c == 116:
        c = 9
    elif c == 98:
        c = 8
    elif c == 97:
        c = 7
    out[0] = c
    return 2


cdef inline int hex_digit(char c) noexcept nogil:
    """Value of a hexadecimal digit, -1 when it is none."""
    if 48 <= c <= 57:
        return c - 48
    if 97 <= c <= 102:
        return c - 87
    if 65 <= c <= 70:
        return c - 55
    return -1
