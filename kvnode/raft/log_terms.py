"""Which term each entry of the log has, without the entries.

A log of millions of entries has a handful of terms, so a list of stretches is enough for all that
Raft asks of a log: its last position, the term at an index, and whether another log is newer.
"""

from bisect import bisect_right
from collections.abc import Iterable


class LogTerms:
    """Positions of a log: entries first_index..last_index, and the term of each.

    Invariant: stretches begin at strictly growing indexes, with strictly growing terms. The first
    one begins at the base: the position before the first entry.
    """

    def __init__(self, terms: Iterable[tuple[int, int]] = ((0, 0),), last_index: int = 0) -> None:
        """terms: (first index, term) of each stretch, the base first."""
        stretches = list(terms)
        self._firsts = [first for first, _ in stretches]
        self._terms = [term for _, term in stretches]
        self._last_index = last_index
        assert self._firsts, "a log has a base"
        assert self._last_index >= self._firsts[-1]

    @property
    def base_index(self) -> int:
        return self._firsts[0]

    @property
    def last_index(self) -> int:
        return self._last_index

    @property
    def last_term(self) -> int:
        return self._terms[-1]

    def term(self, index: int) -> int | None:
        """Return the term of the entry at `index`, or of the base; None outside of the log."""
        if not self._firsts[0] <= index <= self._last_index:
            return None
        return self._terms[bisect_right(self._firsts, index) - 1]

    def append(self, term: int, first: int, last: int) -> None:
        """Entries first..last of `term` follow; they replace what stood at `first` and behind."""
        assert self._firsts[0] < first <= self._last_index + 1, "a log has no gaps"
        assert last >= first
        while self._firsts[-1] >= first:
            self._firsts.pop()
            self._terms.pop()
        assert term >= self._terms[-1], "terms do not go back"
        if term > self._terms[-1]:
            self._firsts.append(first)
            self._terms.append(term)
        self._last_index = last

    def term_end(self, index: int) -> int:
        """Return the last index of the stretch of equal terms that `index` is in."""
        assert self._firsts[0] <= index <= self._last_index
        after = bisect_right(self._firsts, index)
        return self._firsts[after] - 1 if after < len(self._firsts) else self._last_index

    def last_at_most(self, term: int, index: int) -> int:
        """Return the last position at or before `index` whose term is at most `term`.

        The base if there is none: what is before it is committed, and of no interest.
        """
        index = min(index, self._last_index)
        stretch = bisect_right(self._firsts, index) - 1
        while stretch >= 0 and self._terms[stretch] > term:
            index = self._firsts[stretch] - 1
            stretch -= 1
        return max(index, self._firsts[0])

    def reset(self, index: int, term: int) -> None:
        """Forget everything: the log is empty, and its base is (index, term)."""
        self._firsts, self._terms, self._last_index = [index], [term], index

    def cut(self, index: int) -> None:
        """Forget entries up to `index`, which becomes the base."""
        term = self.term(index)
        assert term is not None, "cut within the log"
        keep = bisect_right(self._firsts, index)
        self._firsts[:keep] = [index]
        self._terms[:keep] = [term]

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Whether a log that ends so is at least as new as this one (thesis 3.6.1)."""
        return (last_term, last_index) >= (self.last_term, self._last_index)

    def stretches(self) -> list[tuple[int, int]]:
        return list(zip(self._firsts, self._terms, strict=True))
