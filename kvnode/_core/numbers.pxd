"""Floating point numbers as text, in the forms that Redis reads and writes. Inlined."""

cdef extern from "numbers.hpp" namespace "kvnode" nogil:
    enum:
        DOUBLE_BYTES_MAX        # text of a double
        LONG_DOUBLE_BYTES_MAX   # text of a long double without exponent
    size_t format_double(char* out, double value) noexcept
    size_t format_long_double(char* out, long double value) noexcept
    bint parse_double(const char* p, size_t n, double* value) noexcept
    bint parse_lenient_double(const char* p, size_t n, double* value) noexcept
    bint parse_long_double(const char* p, size_t n, long double* value) noexcept
