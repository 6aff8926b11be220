# cython: boundscheck=False, wraparound=False
"""Glob matching as Redis does it, in time O(pattern x text).

Only the last star is ever gone back to: what an earlier star matched can stay, since the later one
takes any text. So no pattern blows up (CVE-2022-36021), and nothing recurses (CVE-2024-31228).
"""

from libc.stdint cimport uint8_t


cdef inline uint8_t fold(uint8_t c, bint nocase) noexcept nogil:
    return c + 32 if nocase and 65 <= c <= 90 else c


cdef bint match_class(const char* p, size_t n, size_t* at, uint8_t c, bint nocase) noexcept nogil:
    """Match `c` against the class after '[' at p[at[0]]; move at[0] to its last byte."""
    cdef size_t i = at[0]
    cdef bint negate = i < n and p[i] == 94
    cdef bint found = False
    cdef uint8_t lo
    cdef uint8_t hi
    c = fold(c, nocase)
    if negate:
        i += 1
    while True:
        if i >= n:
            i -= 1              # an open class ends with the pattern
            break
        if p[i] == 92 and i + 1 < n:
            i += 1
            if <uint8_t>p[i] == c:
                found = True
        elif p[i] == 93:
            break
        elif i + 2 < n and p[i + 1] == 45:
            lo = <uint8_t>p[i]
            hi = <uint8_t>p[i + 2]
            if lo > hi:
                lo, hi = hi, lo
            i += 2
            if fold(lo, nocase) <= c <= fold(hi, nocase):
                found = True
        elif fold(<uint8_t>p[i], nocase) == c:
            found = True
        i += 1
    at[0] = i
    return found != negate


cdef bint glob_match(const char* p, size_t n, const char* s, size_t m, bint nocase) noexcept nogil:
    """Whether pattern `p` (n bytes) matches all of `s` (m bytes)."""
    cdef size_t i = 0
    cdef size_t j = 0
    cdef size_t star_i = 0
    cdef size_t star_j = 0
    cdef bint starred = False
    cdef bint matched
    cdef size_t at
    while j < m:
        matched = False
        if i < n:
            if p[i] == 42:
                starred = True
                i += 1
                star_i = i
                star_j = j
                continue
            at = i
            if p[i] == 63:
                matched = True
            elif p[i] == 91:
                at = i + 1
                matched = match_class(p, n, &at, <uint8_t>s[j], nocase)
            else:
                if p[i] == 92 and i + 1 < n:
                    at = i + 1
                matched = fold(<uint8_t>p[at], nocase) == fold(<uint8_t>s[j], nocase)
            if matched:
                i = at + 1
                j += 1
                continue
        if not starred:
            return False
        star_j += 1
        i = star_i
        j = star_j
    while i < n and p[i] == 42:
        i += 1
    return i == n


def matches(bytes pattern not None, bytes text not None, bint nocase=False):
    """Whether the glob `pattern` matches all of `text`."""
    return glob_match(pattern, len(pattern), text, len(text), nocase)
