"""CRC-32C for Python callers. Native code includes crc32c.hpp and pays no call."""

from libc.stdint cimport uint32_t


def extend(uint32_t crc, const unsigned char[::1] data not None):
    """Return the CRC-32C of what `crc` covers followed by `data`; `crc` of nothing is 0."""
    if data.shape[0] == 0:
        return crc
    return crc32c_extend(crc, <const char*>&data[0], <size_t>data.shape[0])


def extend_table(uint32_t crc, const unsigned char[::1] data not None):
    """As extend, always by table: what machines without SSE4.2 run."""
    if data.shape[0] == 0:
        return crc
    return crc32c_extend_table(crc, <const char*>&data[0], <size_t>data.shape[0])


def is_accelerated():
    """Whether this processor computes the CRC by instruction."""
    return crc32c_is_accelerated()
