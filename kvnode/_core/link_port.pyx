# cython: boundscheck=False, wraparound=False
"""Frames of forwarded commands and their answers, written and read natively: see link_port.pxd."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from kvnode._core.buffer cimport buffer_free, buffer_reserve
from kvnode._core.bytes cimport get_be32, get_be64, put_be64

from kvnode.base.errors import RemoteProtocolError


cdef class Port:
    """One end of one uplink.

    kind: 1 at the client's node, 2 at the leader. send: gives a frame to the link; False if it has
    no room now.
    """

    def __cinit__(self, int kind, uint64_t term, uint64_t uplink, send):
        self.kind = kind
        self.term = term
        self.uplink = uplink
        self.send = send
        self.waiting = []

    def __dealloc__(self):
        buffer_free(&self.out)

    # -- out ------------------------------------------------------------------------------------

    cdef char* room(self, size_t n) except NULL:
        """Return space for an item of `n` bytes, which counts as written."""
        cdef char* p
        if self.out.len >= FRAME_BYTES:
            self.close_frame()
        if self.out.len == 0:
            buffer_reserve(&self.out, FRAME_HEADER_BYTES + n)
            self.out.len = FRAME_HEADER_BYTES
        buffer_reserve(&self.out, n)
        p = self.out.data + self.out.len
        self.out.len += n
        return p

    cdef bint is_full(self) noexcept:
        return self.sent + self.out.len - self.acknowledged >= LINK_WINDOW_BYTES

    cdef int close_frame(self) except -1:
        cdef char* p
        buffer_reserve(&self.out, FRAME_HEADER_BYTES)
        p = self.out.data
        p[0] = <char>self.kind
        put_be64(p + 1, self.term)
        put_be64(p + 9, self.uplink)
        put_be64(p + 17, self.received)
        self.told = self.received
        if self.out.len == 0:
            self.out.len = FRAME_HEADER_BYTES
        self.sent += self.out.len
        self.waiting.append(PyBytes_FromStringAndSize(self.out.data, self.out.len))
        self.out.len = 0
        return 0

    cdef int flush(self) except -1:
        """Give to the link what there is, and an acknowledgement if one is due."""
        cdef Py_ssize_t n = 0
        if self.out.len or self.received - self.told >= ACKNOWLEDGE_BYTES:
            self.close_frame()
        while n < len(self.waiting) and self.send(self.waiting[n]):
            n += 1
        if n:
            del self.waiting[:n]
        return 0

    # -- in -------------------------------------------------------------------------------------

    cdef int open_frame(self, bytes frame, Reader* reader) except -1:
        """Take the header of a frame; `reader` is at its first item. Raises RemoteProtocolError."""
        cdef uint64_t received
        reader.at = PyBytes_AS_STRING(frame)
        reader.end = reader.at + PyBytes_GET_SIZE(frame)
        if PyBytes_GET_SIZE(frame) > FRAME_BYTES_MAX:
            fail("a frame is too long")
        if read_u8(reader) != FORWARD + ANSWER - self.kind:
            fail("a frame goes the wrong way")
        if read_u64(reader) != self.term or read_u64(reader) != self.uplink:
            fail("a frame is for another leadership")
        received = read_u64(reader)
        if not self.acknowledged <= received <= self.sent:
            fail("more was received than sent")
        self.acknowledged = received
        self.received += PyBytes_GET_SIZE(frame)
        return 0


def frame_facts(bytes frame not None):
    """Return (is it for a leader, term, uplink) of a frame. Raises RemoteProtocolError."""
    cdef Reader reader
    cdef int kind
    reader.at = PyBytes_AS_STRING(frame)
    reader.end = reader.at + PyBytes_GET_SIZE(frame)
    kind = read_u8(&reader)
    if kind not in (FORWARD, ANSWER):
        fail("a frame of unknown kind")
    term = read_u64(&reader)
    return kind == FORWARD, term, read_u64(&reader)


cdef int fail(str reason) except -1:
    raise RemoteProtocolError(f"forwarding: {reason}")


cdef const char* read_bytes(Reader* r, size_t n) except NULL:
    cdef const char* p = r.at
    if <size_t>(r.end - r.at) < n:
        fail("a frame ends too early")
    r.at += n
    return p


cdef uint8_t read_u8(Reader* r) except? 255:
    return <uint8_t>read_bytes(r, 1)[0]


cdef uint32_t read_u32(Reader* r) except? 0xFFFFFFFF:
    return get_be32(read_bytes(r, 4))


cdef uint64_t read_u64(Reader* r) except? 0xFFFFFFFFFFFFFFFF:
    return get_be64(read_bytes(r, 8))


cdef bytes read_text(Reader* r):
    """A length u32 and so many bytes."""
    cdef uint32_t n = read_u32(r)
    cdef const char* p = read_bytes(r, n)
    return PyBytes_FromStringAndSize(p, n)
