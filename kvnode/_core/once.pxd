"""Requests with an id: a client that does not know whether one was done sends it again, and gets the
reply that it had, if it was.

The record of an id is written in the batch of what the request did, so both are replicated, or
neither. Records are bounded by bytes, and the oldest go first; which that is their commit_ts says.
"""

from libc.stdint cimport uint64_t
from libcpp.deque cimport deque
from libcpp.string cimport string
from kvnode._core.bytes cimport Slice
from kvnode._core.tip cimport Entry, Version
from kvnode._core.view cimport View


cdef enum:
    COMMAND_AT = 3                      # of the arguments: KVNODE ONCE id command...
    REQUEST_ID_BYTES_MAX = 64
    REQUEST_REPLY_BYTES_MAX = 4096      # a longer reply is not kept, only that the request was done
    REQUESTS_BYTES = 16 << 20           # ids and replies that are kept, with what each costs beside
    REQUEST_OVERHEAD_BYTES = 240
    REQUEST_HEADER_BYTES = 9            # digest of the request u64, RESP version u8


cdef class Requests:
    cdef View view
    cdef deque[string] keys             # of the records, oldest first
    cdef readonly uint64_t bytes
    cdef public uint64_t bytes_max
    cdef readonly uint64_t dropped      # records that had to make room

    cdef Entry* entry_of(self, string key) except? NULL
    cdef const Version* find(self, const Slice* id) except? NULL
    cdef int put(self, const Slice* id, uint64_t digest, int proto, const char* text,
                 size_t n) except -1
    cdef int restore(self) except -1
