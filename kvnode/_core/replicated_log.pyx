# cython: boundscheck=False, wraparound=False
"""The log of a group: what is kept for peers and for applying, and what blocks of entries hold."""

from kvnode.base.errors import InvariantError, RemoteProtocolError
from kvnode.base.limits import APPEND_BYTES_MAX, RING_BYTES

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from kvnode._core.logwriter cimport LogReport, LogSink

cdef extern from "entry_ring.hpp" namespace "kvnode" nogil:
    size_t BLOCK_HEADER_BYTES
    char LOG_MEMBERSHIP
    cppclass RingEntry:
        uint64_t term, commit_ts
        const char* payload
        uint32_t length

    bint block_next(const char* block, size_t n, size_t* at, RingEntry* out)
    void block_put_header(char* p, uint64_t commit_ts, uint32_t length)

    cppclass EntryRing:
        EntryRing(size_t bytes_max) except +
        uint64_t first()
        uint64_t next()
        bint has(uint64_t first, uint64_t last)
        size_t bytes()
        void start(uint64_t index)
        void cut(uint64_t index)
        void push(uint64_t term, uint64_t commit_ts, const char* payload, size_t n) except +
        RingEntry get(uint64_t index)
        size_t block_bytes(uint64_t first, uint64_t last)
        void copy_block(uint64_t first, uint64_t last, char* out)
        uint64_t fit(uint64_t first, uint64_t last, size_t bytes_max)


def check_block(bytes block not None, uint64_t first, uint64_t last):
    """Return [(index, bytes behind the first)] of its memberships. Raises RemoteProtocolError."""
    cdef RingEntry entry
    cdef size_t at = 0
    cdef uint64_t index = first
    cdef uint64_t commit_ts = 0
    cdef list memberships = []
    while at < <size_t>len(block):
        if not block_next(block, len(block), &at, &entry):
            raise RemoteProtocolError(f"entry {index} is not whole")
        if entry.commit_ts <= commit_ts:
            raise RemoteProtocolError(f"the time of entry {index} is not behind that before it")
        commit_ts = entry.commit_ts
        if entry.length and entry.payload[0] == LOG_MEMBERSHIP:
            memberships.append((index, entry.payload[1:entry.length]))
        index += 1
    if index != last + 1:
        raise RemoteProtocolError(f"{index - first} entries instead of {first}..{last}")
    return memberships


def encode_block(entries):
    """Return (term, index, commit_ts, payload) as a block, without term and index."""
    cdef size_t size = 0
    cdef char* p
    cdef bytes payload
    for _, _, _, payload in entries:
        size += BLOCK_HEADER_BYTES + len(payload)
    block = PyBytes_FromStringAndSize(NULL, size)
    p = PyBytes_AS_STRING(block)
    for _, _, commit_ts, payload in entries:
        block_put_header(p, commit_ts, len(payload))
        memcpy(p + BLOCK_HEADER_BYTES, PyBytes_AS_STRING(payload), len(payload))
        p += BLOCK_HEADER_BYTES + len(payload)
    return block


cdef class ReplicatedLog(LogSink):

    def __init__(self, LogSink inner not None, uint64_t last_index=0, uint64_t last_term=0,
                 uint64_t last_ts=0, *, size_t ring_bytes=RING_BYTES):
        if not 1024 <= ring_bytes < (1ULL << 32):
            raise ValueError(f"a ring of {ring_bytes} bytes")
        if self.ring != NULL:
            raise RuntimeError("ReplicatedLog.__init__ called twice")
        self.ring = new EntryRing(ring_bytes)
        self.alone = True
        self.connect(inner, last_index, last_term, last_ts)

    def __dealloc__(self):
        del self.ring

    cdef int check_next(self, uint64_t term, uint64_t index) except -1:
        if index == 0 or index > self.last_index + 1:
            raise InvariantError(f"entry {index} behind entry {self.last_index}")
        if index == self.last_index + 1 and term < self.last_term:
            raise InvariantError(f"entry {index} of term {term} behind term {self.last_term}")
        return 0

    cdef int note(self, uint64_t term, uint64_t index, uint64_t commit_ts, const char* payload,
                  size_t n) except -1:
        self.check_next(term, index)
        if not self.alone:
            self.ring.cut(index)
            self.ring.push(term, commit_ts, payload, n)
        self.last_index = index
        self.last_term = term
        self.last_ts = max(self.last_ts, commit_ts)
        return 0

    # -- LogSink --------------------------------------------------------------------------------

    cdef int submit(self, uint64_t term, uint64_t index, uint64_t commit_ts,
                    const char* payload, size_t n) except -1:
        self.note(term, index, commit_ts, payload, n)
        return self.inner.submit(term, index, commit_ts, payload, n)

    cdef int try_submit_inline(self, uint64_t term, uint64_t index, uint64_t commit_ts,
                               const char* payload, size_t n) except -1:
        # In a group the own disk and the peers' are written at the same time.
        if not self.alone or not self.inner.try_submit_inline(term, index, commit_ts, payload, n):
            return 0
        self.note(term, index, commit_ts, payload, n)
        return 1

    cdef void report(self, LogReport* out) noexcept nogil:
        self.inner.report(out)

    cdef void clear_event(self) noexcept nogil:
        self.inner.clear_event()

    cdef size_t queued_bytes(self) noexcept nogil:
        return self.inner.queued_bytes()

    cdef int request_sync(self) except -1:
        return self.inner.request_sync()

    # -- the group ------------------------------------------------------------------------------

    @property
    def is_alone(self):
        return bool(self.alone)

    @is_alone.setter
    def is_alone(self, bint value):
        if value != self.alone:
            self.ring.start(self.last_index + 1)
        self.alone = value

    @property
    def first_kept(self):
        """Index of the oldest entry in the ring; last_index + 1 when it is empty."""
        return self.ring.first()

    @property
    def ring_bytes(self):
        """Bytes that the ring takes."""
        return self.ring.bytes()

    def store(self, uint64_t first, uint64_t term, bytes block not None, *, uint64_t begin=0):
        """A leader's entries, from `first` on, take the place of what stands there."""
        cdef RingEntry entry
        cdef size_t at = 0
        cdef size_t n = len(block)
        cdef uint64_t index = begin or first
        cdef uint64_t commit_ts = 0
        # Nothing is written unless all of it is whole.
        if index > first:
            raise InvariantError(f"a block from {begin} on is to be stored from {first} on")
        if self.ring.has(index - 1, index - 1):
            commit_ts = self.ring.get(index - 1).commit_ts
        while at < n:
            if not block_next(block, n, &at, &entry):
                raise RemoteProtocolError(f"entry {index} is not whole")
            if entry.commit_ts <= commit_ts:
                raise RemoteProtocolError(f"the time of entry {index} is not behind that before it")
            commit_ts = entry.commit_ts
            index += 1
        if index <= first:
            raise RemoteProtocolError(f"a block ends before entry {first}")
        at = 0
        index = begin or first
        while at < n:
            block_next(block, n, &at, &entry)
            if index >= first:
                self.submit(term, index, entry.commit_ts, entry.payload, entry.length)
            index += 1

    def remember(self, uint64_t term, uint64_t index, uint64_t commit_ts, bytes payload not None):
        """The next entry, which is in the log already."""
        self.note(term, index, commit_ts, payload, len(payload))

    def block(self, uint64_t first, uint64_t last):
        """Return entries first..last as a block; None: not all of them are in the ring."""
        if not self.ring.has(first, last):
            return None
        block = PyBytes_FromStringAndSize(NULL, self.ring.block_bytes(first, last))
        self.ring.copy_block(first, last, PyBytes_AS_STRING(block))
        return block

    def fit(self, uint64_t first, uint64_t last, size_t bytes_max=APPEND_BYTES_MAX):
        """Return up to which of first..last one message goes: `first` at least."""
        return self.ring.fit(first, last, bytes_max)

    def take(self, uint64_t first, uint64_t last, size_t bytes_max):
        """Return [(term, index, commit_ts, payload)] of first..last; empty: not in the ring."""
        cdef RingEntry entry
        cdef uint64_t index
        cdef size_t taken = 0
        cdef list entries = []
        if not self.ring.has(first, first):
            return entries
        for index in range(first, min(last + 1, self.ring.next())):
            entry = self.ring.get(index)
            taken += BLOCK_HEADER_BYTES + entry.length
            if entries and taken > bytes_max:
                break
            entries.append((entry.term, index, entry.commit_ts, entry.payload[:entry.length]))
        return entries

    def restart(self, uint64_t index, uint64_t term, uint64_t commit_ts, LogSink inner=None):
        """The log begins anew behind an image, and goes to `inner` if that is another one."""
        self.connect(self.inner if inner is None else inner, index, term, commit_ts)

    cdef int connect(self, LogSink inner, uint64_t index, uint64_t term,
                     uint64_t commit_ts) except -1:
        self.inner = inner
        self.event_fd = inner.event_fd
        self.ring.start(index + 1)
        self.last_index = index
        self.last_term = term
        self.last_ts = max(self.last_ts, commit_ts)
        return 0
