"""How much log lies between two of its entries, about: marks, some bytes apart."""

from bisect import bisect_right

from kvnode.base.limits import LOG_MARK_BYTES


class LogBytes:
    """Payload bytes that were counted up to an entry. first: the index where the count begins."""

    def __init__(self, first: int) -> None:
        self._indexes = [first]
        self._bytes = [0]

    def note(self, index: int, count: int) -> None:
        """Up to entry `index` it is `count` bytes."""
        if count - self._bytes[-1] >= LOG_MARK_BYTES:
            self._indexes.append(index)
            self._bytes.append(count)

    def at(self, index: int) -> int:
        """Return how many bytes it was up to an entry, or a little before."""
        return self._bytes[max(0, bisect_right(self._indexes, index) - 1)]

    def forget_before(self, index: int) -> None:
        """Nobody will ask for what lies before `index`."""
        first = max(0, bisect_right(self._indexes, index) - 1)
        del self._indexes[:first], self._bytes[:first]
