"""The names of value types, as TYPE says them and SCAN ... TYPE asks for them."""

from libc.stdint cimport uint8_t
from kvnode._core.tip cimport T_CHUNKED, T_HASH, T_LIST, T_SET, T_STREAM, T_STRING, T_ZSET


cdef inline const char* type_name(uint8_t type) noexcept nogil:
    """The name of a ValueType of heads."""
    if type == T_STRING or type == T_CHUNKED:
        return b"string"
    if type == T_LIST:
        return b"list"
    if type == T_HASH:
        return b"hash"
    if type == T_SET:
        return b"set"
    if type == T_ZSET:
        return b"zset"
    return b"stream"
