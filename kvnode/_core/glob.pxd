"""Glob patterns of KEYS, SCAN and CONFIG GET."""

cdef bint glob_match(const char* p, size_t n, const char* s, size_t m, bint nocase) noexcept nogil
