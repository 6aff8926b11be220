"""Ranks in a sorted set as a pin sees it, found by counting its score rows.

Counting begins at the nearer end. What was counted is kept, a mark for each page, so that the next
rank costs a page, or what lies between it and the marks.
"""

from bisect import bisect_right
from collections.abc import Generator

from kvnode.base.errors import InvariantError
from kvnode.storage.reading import Reading

Mark = tuple[bytes, int]  # a key, and how many members stand below it


class Ranks:
    """Of the set of `length` members that `reading` has by score.

    The generators block on LevelDB, for a page each time they go on; their value is the answer.
    """

    def __init__(self, reading: Reading, length: int) -> None:
        self._reading = reading
        self._length = length
        lo, hi = reading.bounds
        self._lower: list[Mark] = [(lo, 0)]  # ascending, from the lower end
        self._upper: list[Mark] = [(hi, length)]  # descending, from the upper end

    def below(self, key: bytes) -> Generator[None, None, int]:
        """How many members stand below a key."""
        while self._lower[-1][0] < key < self._upper[-1][0]:
            self._count_up()
            yield
            if self._lower[-1][0] < key < self._upper[-1][0]:
                self._count_down()
                yield
        if key <= self._lower[-1][0]:
            at, rank = self._lower[bisect_right(self._lower, key, key=lambda mark: mark[0]) - 1]
        else:
            at, rank = next(mark for mark in self._upper if mark[0] <= key)
        while at < key:
            rows, at = self._reading.page(at, key)
            rank += len(rows)
            yield
        return rank

    def key_at(self, rank: int) -> Generator[None, None, bytes]:
        """The key of the member of a rank; above all members if there is none."""
        if rank >= self._length:
            return self._reading.bounds[1]
        while self._lower[-1][1] <= rank < self._upper[-1][1]:
            if rank - self._lower[-1][1] <= self._upper[-1][1] - rank:
                self._count_up()
            else:
                self._count_down()
            yield
        if rank < self._lower[-1][1]:
            at, before = self._lower[bisect_right(self._lower, rank, key=lambda mark: mark[1]) - 1]
        else:
            at, before = next(mark for mark in self._upper if mark[1] <= rank)
        while True:
            rows, at = self._reading.page(at, self._reading.bounds[1])
            if rank - before < len(rows):
                return rows[rank - before][0]
            before += len(rows)
            yield

    def _count_up(self) -> None:
        (at, rank), hi = self._lower[-1], self._upper[-1][0]
        rows, at = self._reading.page(at, hi)
        self._lower.append((at, rank + len(rows)))
        self._require_sum()

    def _count_down(self) -> None:
        (at, rank), lo = self._upper[-1], self._lower[-1][0]
        rows, at = self._reading.page(lo, at, is_backward=True)
        self._upper.append((at, rank - len(rows)))
        self._require_sum()

    def _require_sum(self) -> None:
        """Where both counts meet they agree, or the metadata are not those of the elements."""
        (low, below), (high, not_above) = self._lower[-1], self._upper[-1]
        if below > not_above or (low == high and below != not_above):
            raise InvariantError(
                f"sorted set {self._reading.id}: {self._length} members, and "
                f"{below + self._length - not_above} found"
            )
