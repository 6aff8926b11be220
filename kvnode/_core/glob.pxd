"""Glob patterns of KEYS, SCAN and CONFIG GET.

As in Redis, an empty text matches only the empty pattern: a command whose lone "*" means
everything asks is_everything() first.
"""

cdef bint glob_match(const char* p, size_t n, const char* s, size_t m, bint nocase) noexcept nogil


cdef inline bint is_everything(const char* p, size_t n) noexcept nogil:
    """Whether the pattern is "*"."""
    return n == 1 and p[0] == 42
