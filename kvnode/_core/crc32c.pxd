"""CRC-32C, incremental: extend(extend(0, a), b) == extend(0, a + b)."""

from libc.stdint cimport uint32_t

cdef extern from "crc32c.hpp" namespace "kvnode" nogil:
    uint32_t crc32c_extend(uint32_t crc, const char* data, size_t n) noexcept
    uint32_t crc32c_extend_table(uint32_t crc, const char* data, size_t n) noexcept
    bint crc32c_is_accelerated() noexcept
