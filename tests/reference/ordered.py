"""A naive twin of the ordered members: a sorted list."""

from bisect import bisect_left, insort

Pair = tuple[float, bytes]


class OrderedMembers:
    """As kvnode._core.ordered, one list operation each."""

    def __init__(self) -> None:
        self._pairs: list[Pair] = []

    def __len__(self) -> int:
        return len(self._pairs)

    def add(self, score: float, member: bytes) -> None:
        if (score, member) in self._pairs:
            raise ValueError("the pair is there already")
        insort(self._pairs, (score + 0.0, member))

    def extend(self, pairs: list[Pair]) -> None:
        for score, member in pairs:
            if self._pairs and self._pairs[-1] >= (score, member):
                raise ValueError("pairs must ascend")
            self._pairs.append((score + 0.0, member))

    def discard(self, score: float, member: bytes) -> bool:
        if (score, member) not in self._pairs:
            return False
        self._pairs.remove((score, member))
        return True

    def rank(self, score: float, member: bytes) -> int | None:
        if (score, member) not in self._pairs:
            return None
        return self._pairs.index((score, member))

    def lower_bound(self, score: float, member: bytes) -> int:
        return bisect_left(self._pairs, (score, member))

    def at(self, rank: int) -> Pair:
        return self._pairs[rank]

    def range(self, start: int, count: int, reverse: bool = False) -> list[Pair]:
        if start >= len(self._pairs):
            return []
        if reverse:
            return self._pairs[: start + 1][::-1][:count]
        return self._pairs[start : start + count]

    def ends(self) -> tuple[Pair, Pair] | None:
        return (self._pairs[0], self._pairs[-1]) if self._pairs else None
