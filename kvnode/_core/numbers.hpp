// Floating point numbers as text, in the forms that Redis 7.4 reads and writes.
#pragma once

#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace kvnode {

constexpr size_t DOUBLE_BYTES_MAX = 64;          // text of a double
constexpr size_t LONG_DOUBLE_BYTES_MAX = 5120;   // text of a long double without exponent
constexpr size_t LONG_DOUBLE_INPUT_BYTES_MAX = 5119;   // Redis refuses a longer text

inline size_t put_text(char* out, const char* text) {
    size_t n = strlen(text);
    memcpy(out, text, n);
    return n;
}

// Lay out `digits` * 10^exponent as Redis does: plain up to seven zeros behind the digits or six
// places behind the point, else with an exponent that has a sign and no leading zeros.
inline size_t put_digits(char* out, const char* digits, int n, int exponent) {
    char* p = out;
    int magnitude = std::abs(exponent + n - 1);
    if (exponent >= 0 && magnitude < n + 7) {
        memcpy(p, digits, n);
        memset(p + n, '0', exponent);
        return n + exponent;
    }
    if (exponent < 0 && (exponent > -7 || magnitude < 4)) {
        int whole = n + exponent;       // digits before the point
        if (whole <= 0) {
            p += put_text(p, "0.");
            memset(p, '0', -whole);
            p += -whole;
            whole = 0;
        } else {
            memcpy(p, digits, whole);
            p += whole;
            *p++ = '.';
        }
        memcpy(p, digits + whole, n - whole);
        return p + (n - whole) - out;
    }
    *p++ = digits[0];
    if (n > 1) {
        *p++ = '.';
        memcpy(p, digits + 1, n - 1);
        p += n - 1;
    }
    *p++ = 'e';
    *p++ = exponent + n - 1 < 0 ? '-' : '+';
    return std::to_chars(p, p + 4, magnitude).ptr - out;
}

// Write the shortest text that reads back as the same double at `out` (room for
// DOUBLE_BYTES_MAX); integers up to 2^62 in full. Returns the bytes written.
// Redis's own search (Grisu2) misses the shortest digits of about one double in a thousand.
inline size_t format_double(char* out, double value) {
    constexpr double whole_max = 4611686018427387904.0;
    char scientific[32];
    char digits[20];
    char* p = scientific;
    int n = 0;
    int exponent = 0;
    if (std::isnan(value)) return put_text(out, "nan");
    if (std::isinf(value)) return put_text(out, value > 0 ? "inf" : "-inf");
    if (value == 0) return put_text(out, std::signbit(value) ? "-0" : "0");
    if (value >= -whole_max && value <= whole_max && value == (double)(int64_t)value)
        return std::to_chars(out, out + DOUBLE_BYTES_MAX, (int64_t)value).ptr - out;
    char* end = std::to_chars(p, p + sizeof(scientific), std::fabs(value),
                              std::chars_format::scientific).ptr;
    for (; *p != 'e'; p++)
        if (*p != '.') digits[n++] = *p;
    p += p[1] == '+' ? 2 : 1;
    std::from_chars(p, end, exponent);
    if (value < 0) {
        *out = '-';
        return 1 + put_digits(out + 1, digits, n, exponent - n + 1);
    }
    return put_digits(out, digits, n, exponent - n + 1);
}

// Write for people (INCRBYFLOAT) at `out` (room for LONG_DOUBLE_BYTES_MAX): seventeen digits
// behind the point, trailing zeros dropped, never an exponent. Returns the bytes written.
inline size_t format_long_double(char* out, long double value) {
    if (std::isnan(value)) return put_text(out, "nan");
    if (std::isinf(value)) return put_text(out, value > 0 ? "inf" : "-inf");
    size_t n = (size_t)snprintf(out, LONG_DOUBLE_BYTES_MAX, "%.17Lf", value);
    while (out[n - 1] == '0') n--;
    if (out[n - 1] == '.') n--;
    if (n == 2 && out[0] == '-' && out[1] == '0') {
        out[0] = '0';
        n = 1;
    }
    return n;
}

// `text` ends with a NUL at text[n].
template <typename T, T (*convert)(const char*, char**)>
inline bool parse_terminated(const char* text, size_t n, T* value) {
    char* end;
    if (n == 0 || isspace((unsigned char)text[0])) return false;
    int before = errno;
    errno = 0;
    *value = convert(text, &end);
    bool range = errno == ERANGE;
    errno = before;
    if (end != text + n || std::isnan(*value)) return false;
    return !(range && (std::isinf(*value) || *value == 0));     // a denormal is a number
}

// As the end of a range of scores is read: all that strtod takes, up to a NUL.
inline bool parse_terminated_freely(const char* text, size_t, double* value) {
    char* end;
    int before = errno;
    *value = strtod(text, &end);
    errno = before;
    return *end == 0 && !std::isnan(*value);
}

// Call `parse` with a copy of `p` that ends with a NUL. False too when memory is out.
template <bool (*parse)(const char*, size_t, double*)>
inline bool with_terminator(const char* p, size_t n, double* value) {
    char text[256];
    if (n < sizeof(text)) {
        memcpy(text, p, n);
        text[n] = 0;
        return parse(text, n, value);
    }
    char* copy = (char*)malloc(n + 1);
    if (copy == nullptr) return false;
    memcpy(copy, p, n);
    copy[n] = 0;
    bool valid = parse(copy, n, value);
    free(copy);
    return valid;
}

// Parse a short whole number, which most scores are; a double holds each of 15 digits.
inline bool parse_short_integer(const char* p, size_t n, double* value) {
    constexpr size_t digits_max = 15;
    size_t at = n > 0 && (p[0] == '-' || p[0] == '+');
    if (n == at || n - at > digits_max) return false;
    int64_t whole = 0;
    for (; at < n; at++) {
        unsigned digit = (unsigned char)p[at] - '0';
        if (digit > 9) return false;
        whole = whole * 10 + digit;
    }
    *value = p[0] == '-' ? -(double)whole : (double)whole;
    return true;
}

// Parse all of `p`. False for spaces, rests, nan and what is out of range; hexadecimal forms and
// "inf" are numbers, as in Redis.
inline bool parse_double(const char* p, size_t n, double* value) {
    return parse_short_integer(p, n, value) || with_terminator<parse_terminated<double, strtod>>(p, n, value);
}

// The same, where spaces before it, nothing (zero) and out of range (infinite, zero) are allowed.
inline bool parse_lenient_double(const char* p, size_t n, double* value) {
    return with_terminator<parse_terminated_freely>(p, n, value);
}

// The same for a long double; a text of more than LONG_DOUBLE_INPUT_BYTES_MAX is refused.
inline bool parse_long_double(const char* p, size_t n, long double* value) {
    char text[LONG_DOUBLE_INPUT_BYTES_MAX + 1];
    if (n > LONG_DOUBLE_INPUT_BYTES_MAX) return false;
    memcpy(text, p, n);
    text[n] = 0;
    return parse_terminated<long double, strtold>(text, n, value);
}

}  // namespace kvnode
