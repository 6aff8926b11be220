# cython: boundscheck=False, wraparound=False
"""Floating point numbers as text, in the forms that Redis reads and writes."""

from libc.string cimport memcpy

cdef extern from *:
    """
    #include <cerrno>
    #include <charconv>
    #include <cmath>
    #include <cstdio>
    #include <cstdlib>
    #include <cstring>
    #include <cctype>

    // Shortest text that reads back as the same double; integers without a fraction.
    static size_t kv_format_double(char *out, double value) {
        if (std::isnan(value)) { memcpy(out, "nan", 3); return 3; }
        if (std::isinf(value)) {
            if (value > 0) { memcpy(out, "inf", 3); return 3; }
            memcpy(out, "-inf", 4);
            return 4;
        }
        if (value == 0) {
            if (std::signbit(value)) { memcpy(out, "-0", 2); return 2; }
            out[0] = '0';
            return 1;
        }
        if (value > -4503599627370495.0 && value < 4503599627370496.0
            && value == (double)(long long)value)
            return (size_t)(std::to_chars(out, out + 64, (long long)value).ptr - out);
        return (size_t)(std::to_chars(out, out + 64, value).ptr - out);
    }

    // Seventeen digits after the point, trailing zeros dropped, never an exponent.
    static size_t kv_format_long_double(char *out, size_t room, long double value) {
        if (std::isnan(value)) { memcpy(out, "nan", 3); return 3; }
        if (std::isinf(value)) {
            if (value > 0) { memcpy(out, "inf", 3); return 3; }
            memcpy(out, "-inf", 4);
            return 4;
        }
        int n = snprintf(out, room, "%.17Lf", value);
        if (n < 0 || (size_t)n >= room) return 0;
        if (memchr(out, '.', n) != nullptr) {
            while (out[n - 1] == '0') n--;
            if (out[n - 1] == '.') n--;
        }
        if (n == 2 && out[0] == '-' && out[1] == '0') { out[0] = '0'; n = 1; }
        return (size_t)n;
    }

    template <typename T, T (*convert)(const char *, char **)>
    static bool kv_parse(const char *p, size_t n, T *value) {
        char text[256];
        char *end;
        if (n == 0 || n >= sizeof(text)) return false;
        memcpy(text, p, n);
        text[n] = 0;
        errno = 0;
        *value = convert(text, &end);
        if (isspace((unsigned char)text[0]) || end != text + n || std::isnan(*value)) return false;
        if (errno == ERANGE && (std::isinf(*value) || *value == 0)) return false;
        return errno != EINVAL;
    }
    static bool kv_parse_double(const char *p, size_t n, double *v) {
        return kv_parse<double, strtod>(p, n, v);
    }
    static bool kv_parse_long_double(const char *p, size_t n, long double *v) {
        return kv_parse<long double, strtold>(p, n, v);
    }
    """
    size_t kv_format_double(char* out, double value) noexcept nogil
    size_t kv_format_long_double(char* out, size_t room, long double value) noexcept nogil
    bint kv_parse_double(const char* p, size_t n, double* value) noexcept nogil
    bint kv_parse_long_double(const char* p, size_t n, long double* value) noexcept nogil


cdef size_t format_double(char* out, double value) noexcept nogil:
    """Write `value` at `out` (room for DOUBLE_BYTES_MAX); return the bytes written."""
    return kv_format_double(out, value)


cdef size_t format_long_double(char* out, long double value) noexcept nogil:
    """Write `value` for people (INCRBYFLOAT) at `out` (LONG_DOUBLE_BYTES_MAX); 0: too long."""
    return kv_format_long_double(out, LONG_DOUBLE_BYTES_MAX, value)


cdef bint parse_double(const char* p, size_t n, double* value) noexcept nogil:
    """Parse all of `p`; False for spaces, rests, nan and what is out of range."""
    return kv_parse_double(p, n, value)


cdef bint parse_long_double(const char* p, size_t n, long double* value) noexcept nogil:
    """Parse all of `p`; False for spaces, rests, nan and what is out of range."""
    return kv_parse_long_double(p, n, value)


def double_text(double value):
    """The text of a double in a reply."""
    cdef char text[DOUBLE_BYTES_MAX]
    return text[:format_double(text, value)]


def add_texts(bytes a not None, bytes b not None):
    """Sum of two numbers given as text, as INCRBYFLOAT writes it; None if one is no number."""
    cdef long double x
    cdef long double y
    cdef char text[LONG_DOUBLE_BYTES_MAX]
    if not parse_long_double(a, len(a), &x) or not parse_long_double(b, len(b), &y):
        return None
    return text[:format_long_double(text, x + y)]
