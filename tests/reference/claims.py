"""Dead positions of a list, naively: every position is looked at."""


class Claims:
    """The twin of kvnode._core.claims.Window."""

    def __init__(self, head: int, runs: list[tuple[int, int]]) -> None:
        self.head = head
        self.dead = sorted(runs)

    def runs(self) -> list[tuple[int, int]]:
        """Return the runs of dead positions, in order."""
        return self.dead

    def _is_dead(self, position: int) -> bool:
        return any(start <= position < start + count for start, count in self.dead)

    def position_of(self, index: int) -> int:
        """Return the position of the element at an index."""
        position = self.head
        while True:
            if not self._is_dead(position):
                if index == 0:
                    return position
                index -= 1
            position += 1

    def index_of(self, position: int) -> int:
        """Return the index of the element at a position."""
        return sum(not self._is_dead(p) for p in range(self.head, position))

    def drop_front(self) -> None:
        """The first element moved behind the first run."""
        start, count = self.dead.pop(0)
        self.head = start + count

    def drop_back(self) -> None:
        """The last run is gone."""
        self.dead.pop()
