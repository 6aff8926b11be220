"""Floating point numbers as text, in the forms that Redis reads and writes."""

cdef enum:
    DOUBLE_BYTES_MAX = 64           # text of a double
    LONG_DOUBLE_BYTES_MAX = 5120    # text of a long double without exponent


cdef size_t format_double(char* out, double value) noexcept nogil
cdef size_t format_long_double(char* out, long double value) noexcept nogil
cdef bint parse_double(const char* p, size_t n, double* value) noexcept nogil
cdef bint parse_long_double(const char* p, size_t n, long double* value) noexcept nogil
