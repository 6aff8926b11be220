# cython: boundscheck=False, wraparound=False
"""Glob matching as Redis does it, in time O(pattern x text).

Only the last star is ever gone back to: what an earlier star matched can stay, since the later one
takes any text. So no pattern blows up (CVE-2022-36021), and nothing recurses (CVE-2024-31228);
Redis's way out, to give up after 1000 stars, is not needed.

Redis compares bytes as signed characters, which shows in ranges such as [\\x01-\\xff]: they are
turned round and then hold -1, 0 and 1.
"""

from libc.stdint cimport int8_t


cdef inline int8_t fold(int8_t c, bint nocase) noexcept nogil:
    return c + 32 if nocase and 65 <= c <= 90 else c


cdef bint match_class(const char* p, size_t n, size_t* at, int8_t c, bint nocase) noexcept nogil:
    """Match `c` against the class after '[' at p[at[0]]; move at[0] to its last byte."""
    cdef size_t i = at[0]
    cdef bint negate = i < n and p[i] == 94
    cdef bint found = False
    cdef int8_t folded = fold(c, nocase)
    cdef int8_t low
    cdef int8_t high
    if negate:
        i += 1
    while True:
        if i >= n:
            i = n - 1           # an open class ends with the pattern
            break
        if p[i] == 92 and i + 1 < n:
            i += 1
            if <int8_t>p[i] == c:       # Redis heeds the case of an escaped character
                found = True
        elif p[i] == 93:
            break
        elif i + 2 < n and p[i + 1] == 45:
            low = <int8_t>p[i]
            high = <int8_t>p[i + 2]
            if low > high:
                low, high = high, low
            if fold(low, nocase) <= folded <= fold(high, nocase):
                found = True
            i += 2
        elif fold(<int8_t>p[i], nocase) == folded:
            found = True
        i += 1
    at[0] = i
    return found != negate


cdef bint match_one(const char* p, size_t n, size_t* at, int8_t c, bint nocase) noexcept nogil:
    """Match `c` against the one element at p[at[0]], which is no star; move at[0] behind it."""
    cdef size_t i = at[0]
    cdef bint matched
    if p[i] == 63:
        matched = True
    elif p[i] == 91:
        i += 1
        matched = match_class(p, n, &i, c, nocase)
    else:
        if p[i] == 92 and i + 1 < n:
            i += 1
        matched = fold(<int8_t>p[i], nocase) == fold(c, nocase)
    at[0] = i + 1
    return matched


cdef bint glob_match(const char* p, size_t n, const char* s, size_t m, bint nocase) noexcept nogil:
    """Whether pattern `p` (n bytes) matches all of `s` (m bytes)."""
    cdef size_t i = 0
    cdef size_t j = 0
    cdef size_t star_i = 0      # behind the last star
    cdef size_t star_j = 0      # where the text goes on behind what that star took
    cdef bint starred = False
    if m == 0:
        return n == 0
    while j < m:
        if i < n and p[i] == 42:
            starred = True
            i += 1
            if i == n:
                return True
            star_i = i
            star_j = j
        elif i < n and match_one(p, n, &i, <int8_t>s[j], nocase):
            j += 1
        elif starred:
            star_j += 1
            i = star_i
            j = star_j
        else:
            return False
    while i < n and p[i] == 42:
        i += 1
    return i == n


def matches(bytes pattern not None, bytes text not None, bint nocase=False):
    """Whether the glob `pattern` matches all of `text`."""
    return glob_match(pattern, len(pattern), text, len(text), nocase)
