"""Incremental RESP and inline request parser of one connection; owns its input buffer."""

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


cdef class Parser:
    cdef Buffer input           # bytes received; [0, start) are parsed
    cdef size_t start           # first byte of the current command
    cdef Args args              # slices into input: valid until the next call of this object
    cdef public bytes error     # e.g. b"ERR Protocol error: invalid bulk length", after PARSE_ERROR
    cdef public bint authenticated      # False: Redis's small limits for strangers hold
    # progress inside an incomplete command, so that it is never scanned twice
    cdef size_t scan            # next byte to look at
    cdef int64_t arguments_left
    cdef int64_t bulk_bytes     # length of the bulk being read, -1 when none
    cdef int capacity           # allocated slices in args.v
    cdef public int64_t proto_max_bulk_bytes
    cdef list words             # owns the arguments of an inline command
    cdef Args ahead             # of peek(); n is its capacity

    cdef ParseResult read_count(self) except *
    cdef ParseResult read_arguments(self) except *
    cdef ParseResult read_bulk_length(self) except *
    cdef ParseResult read_length(self, bytes too_long, int64_t* value) except *
    cdef ParseResult next_inline(self) except *
    cdef ParseResult fail(self, bytes error) except *
    cdef int resize_arguments(self, int capacity) except -1

    cdef char* room(self, size_t n) except NULL     # space for n more input bytes
    cdef void advance(self, size_t n) noexcept      # n bytes were written into room()
    cdef ParseResult next(self) except *            # parse one command and consume it
    cdef ParseResult peek(self, size_t* cursor, Args* args) except *   # look ahead, consume nothing
    cdef void compact(self) noexcept                # drop parsed bytes; slices become invalid
    cdef size_t pending(self) noexcept              # unparsed bytes
    cdef void rewind(self, size_t start) noexcept   # take the last command back: start as before next()
