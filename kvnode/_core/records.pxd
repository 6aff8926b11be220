"""Bytes of records: keys and values as the log has them, and their envelopes in LevelDB."""

from libc.stdint cimport uint64_t
from kvnode._core.bytes cimport Slice
from kvnode._core.deltas cimport Meta
from kvnode._core.entries cimport Entry, HeadData, Table, Version


cdef enum:  # on disk: DO NOT CHANGE
    HAS_DEADLINE = 0x80         # flag of the value of a head or field: expire_at follows
    HAS_ROW = 0x01              # flag of a LevelDB envelope: row_at follows


cdef size_t put_record_key(Entry* entry, char* p) noexcept nogil
cdef size_t record_value_bytes(Version* v) noexcept nogil
cdef size_t put_record_value(Version* v, char* p) noexcept nogil
cdef size_t put_head_data(const HeadData* d, char* p) noexcept nogil
cdef bint get_head_data(const char* p, size_t n, HeadData* d) noexcept nogil
cdef Version* decode_value(Table* table, const char* value, size_t n, bint present) except NULL
cdef int read_delta(const char* value, size_t n, uint64_t* generation, Meta* sum,
                    Slice* name) except -1
cdef bytes envelope_of(Entry* e, Version* v)
cdef bytes history_value(Version* v, uint64_t until)
cdef size_t open_envelope(bytes envelope, uint64_t* commit_ts, uint64_t* row_at) except 0
cdef bytes expiry_row(Entry* e)
cdef bytes expiry_value(Entry* e)
cdef tuple owner_row(Entry* head, uint64_t id)
cdef bytes place_of_fields(uint64_t generation, Entry* head)
cdef bytes history_key(Entry* e, uint64_t commit_ts)
