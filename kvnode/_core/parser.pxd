"""Incremental RESP and inline request parser of one connection; owns its input buffer."""

cimport cython
from libc.stdint cimport int64_t
from kvnode._core.buffer cimport Buffer
from kvnode._core.bytes cimport Slice


cdef struct Args:
    Slice* v    # v[0] is the command's name
    int n


cdef enum ParseResult:
    PARSE_MORE = 0      # the input ends inside a command
    PARSE_COMMAND = 1   # `args` holds one command
    PARSE_ERROR = 2     # broken protocol: `error` is Redis's text; the connection must be closed


@cython.final
cdef class Parser:
    cdef Buffer input           # bytes received; [0, start) are parsed
    cdef size_t start           # first byte of the current command
    cdef Args args              # slices into input: valid until the next call of this object
    cdef readonly bytes error   # e.g. b"ERR Protocol error: invalid bulk length", after PARSE_ERROR
    cdef public bint authenticated      # False: Redis's small limits for strangers hold
    cdef public int64_t proto_max_bulk_bytes
    # progress inside an incomplete command, so that it is never scanned twice
    cdef size_t scan            # next byte to look at
    cdef size_t searched        # bytes from scan on that hold no end of line
    cdef int64_t arguments_left
    cdef int64_t bulk_bytes     # length of the bulk being read, -1 when none
    cdef int capacity           # allocated slices in args.v
    cdef Buffer words           # arguments of an inline command, without quotes
    cdef Args ahead             # of peek(); n is its capacity

    cdef ParseResult read_count(self) except? PARSE_ERROR
    cdef ParseResult read_arguments(self) except? PARSE_ERROR
    cdef ParseResult read_bulk_length(self) except? PARSE_ERROR
    cdef ParseResult find_line(self, char end, bytes too_long, size_t* length) except? PARSE_ERROR
    cdef ParseResult read_inline(self) except? PARSE_ERROR
    cdef bint split_words(self, const char* line, size_t n) except -1
    cdef ParseResult fail(self, bytes reason) except? PARSE_ERROR
    cdef int resize_arguments(self, int capacity) except -1

    cdef char* room(self, size_t n) except NULL     # space for n more input bytes
    cdef void advance(self, size_t n) noexcept      # n bytes were written into room()
    cdef ParseResult next(self) except? PARSE_ERROR # parse one command and consume it
    cdef ParseResult peek(self, size_t* cursor, Args* args) except? PARSE_ERROR # consume nothing
    cdef void compact(self) noexcept                # drop parsed bytes; slices become invalid
    cdef size_t pending(self) noexcept              # unparsed bytes
    cdef void rewind(self, size_t start) noexcept   # take the last command back
