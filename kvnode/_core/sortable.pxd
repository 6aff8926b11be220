"""Numbers whose unsigned order is their own order: in a u64, or big-endian in keys. Inlined.

Of doubles -0.0 and +0.0 are one number; NaN has no place and must not come here. In keys on disk:
DO NOT CHANGE.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy
from kvnode._core.bytes cimport ASSERT

cdef enum:
    SORTABLE_BYTES = 8


cdef inline uint64_t order_of_i64(int64_t value) noexcept nogil:
    return <uint64_t>value ^ (<uint64_t>1 << 63)


cdef inline int64_t i64_of_order(uint64_t order) noexcept nogil:
    return <int64_t>(order ^ (<uint64_t>1 << 63))


cdef inline uint64_t order_of_double(double value) noexcept nogil:
    """Positive numbers get their sign bit set; of negative ones all bits are inverted."""
    cdef uint64_t bits
    ASSERT(value == value)
    value += 0.0            # -0.0 + 0.0 is +0.0
    memcpy(&bits, &value, 8)
    return ~bits if bits >> 63 else bits | (<uint64_t>1 << 63)


cdef inline double double_of_order(uint64_t order) noexcept nogil:
    cdef uint64_t bits = order & ~(<uint64_t>1 << 63) if order >> 63 else ~order
    cdef double value
    memcpy(&value, &bits, 8)
    return value
