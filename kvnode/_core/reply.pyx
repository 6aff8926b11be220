"""The forms of a reply that are not inline, and the same writer for Python handlers."""

from libc.math cimport isinf, isnan
from kvnode._core.buffer cimport Buffer, buffer_append, buffer_consume, buffer_free, buffer_reserve
from kvnode._core.numbers cimport format_double


cdef class Reply:
    """Writes the replies of one session.

    proto: 2 or 3, the protocol that the client chose by HELLO.
    """

    def __cinit__(self):
        self.proto = 2

    def __dealloc__(self):
        buffer_free(&self.out)

    cdef int number(self, double value) except -1:
        cdef char text[64]
        cdef size_t n = format_double(text, value)
        if self.proto == 2:
            return reply_bulk(self, text, n)
        buffer_append(&self.out, b",", 1)
        buffer_append(&self.out, text, n)
        return buffer_append(&self.out, b"\r\n", 2)

    cdef int verbatim_text(self, const char* data, size_t n) except -1:
        if self.proto == 2:
            return reply_bulk(self, data, n)
        reply_prefix(self, 61, <int64_t>(n + 4))
        buffer_append(&self.out, b"txt:", 4)
        buffer_append(&self.out, data, n)
        return buffer_append(&self.out, b"\r\n", 2)

    def ok(self):
        """+OK"""
        reply_ok(self)

    def simple(self, bytes text not None):
        """A status line, for example b"PONG"."""
        reply_simple(self, text, len(text))

    def error(self, bytes text not None):
        """An error line, its code first, for example b"ERR syntax error"."""
        reply_error(self, text, len(text))

    def integer(self, int64_t value):
        """An integer."""
        reply_integer(self, value)

    def bulk(self, bytes value):
        """A bulk string; None is the null."""
        if value is None:
            reply_null(self)
        else:
            reply_bulk(self, value, len(value))

    def null(self):
        """The absent value."""
        reply_null(self)

    def null_array(self):
        """The absent array."""
        reply_null_array(self)

    def array(self, int64_t count):
        """Head of an array; `count` replies follow."""
        reply_array(self, count)

    def map(self, int64_t count):
        """Head of a map; `count` pairs of replies follow."""
        reply_map(self, count)

    def set(self, int64_t count):
        """Head of a set; `count` replies follow."""
        reply_set(self, count)

    def push(self, int64_t count):
        """Head of an out-of-band message (in RESP2 an array)."""
        reply_prefix(self, 42 if self.proto == 2 else 62, count)

    def double(self, double value):
        """A floating point number (in RESP2 a bulk string)."""
        self.number(value)

    def boolean(self, bint value):
        """True or false (in RESP2 1 or 0)."""
        if self.proto == 2:
            reply_integer(self, 1 if value else 0)
        else:
            reply_raw(self, b"#t\r\n" if value else b"#f\r\n", 4)

    def verbatim(self, bytes text not None):
        """Text for people (in RESP2 a bulk string)."""
        self.verbatim_text(text, len(text))

    def bulks(self, values):
        """An array of bulk strings."""
        reply_array(self, len(values))
        for value in values:
            self.bulk(value)

    def raw(self, bytes data not None):
        """Bytes that are RESP already."""
        reply_raw(self, data, len(data))

    def size(self):
        """Bytes written and not yet taken."""
        return self.out.len

    def truncate(self, size_t size):
        """Take back what was written past `size`."""
        if size < self.out.len:
            self.out.len = size

    def tail(self, size_t start):
        """Return the bytes written from offset `start` on."""
        if start >= self.out.len:
            return b""
        return self.out.data[start:self.out.len]

    def take(self):
        """Return all bytes written so far and forget them."""
        cdef bytes data = self.out.data[:self.out.len] if self.out.len else b""
        self.out.len = 0
        return data
