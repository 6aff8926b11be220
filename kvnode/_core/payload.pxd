"""The payload of a log entry: one operation a record.

op u8, key length varint, key, and for a put value length varint, value.
"""

from libc.stdint cimport uint64_t
from kvnode._core.buffer cimport Buffer
from kvnode._core.deltas cimport Meta
from kvnode._core.tip cimport Collection, Entry, Version


cdef int encode_write(Buffer* out, Entry* e, Version* v) except -1
cdef int encode_delta(Buffer* out, Collection* c, uint64_t commit_ts, const Meta* sum) except -1
