class Window:
    """Runs of dead positions of a list, for tests and tools: the form of the native window.

    head: the first live position. runs: (start, count), apart and behind the head, in any order.
    """

    def __init__(self, head: int, runs: list[tuple[int, int]]) -> None: ...
    def runs(self) -> list[tuple[int, int]]:
        """Return the runs that are left, in order."""

    def position_of(self, index: int) -> int:
        """Return the position of the element at an index, in O(log runs)."""

    def index_of(self, position: int) -> int:
        """Return the index of the element at a position that is live, in O(log runs)."""

    def drop_front(self) -> None:
        """The head has come to the first run and moved behind it."""

    def drop_back(self) -> None:
        """The tail has come to the last run, which goes."""
