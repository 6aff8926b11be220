from collections.abc import Iterable

class OrderedMembers:
    """A set of (score, member) pairs, ordered by score, then by bytes.

    It does not know which scores a member has elsewhere: one member may stand under several.
    """

    bytes: int

    def __len__(self) -> int: ...
    def add(self, score: float, member: bytes) -> None:
        """Add a pair. Raises ValueError if it is there."""

    def extend(self, pairs: Iterable[tuple[float, bytes]]) -> None:
        """Add (score, member) pairs that ascend and are above all present: cheaper than add.

        Raises ValueError at the first pair that does not; the ones before it stay.
        """

    def discard(self, score: float, member: bytes) -> bool:
        """Remove a pair; whether it was there."""

    def rank(self, score: float, member: bytes) -> int | None:
        """Return the number of pairs below this one, None if it is absent."""

    def lower_bound(self, score: float, member: bytes) -> int:
        """Return the number of pairs below (score, member), which may be absent."""

    def at(self, rank: int) -> tuple[float, bytes]:
        """Return the pair of a rank. Raises IndexError."""

    def range(self, start: int, count: int, reverse: bool = False) -> list[tuple[float, bytes]]:
        """Return up to `count` pairs from rank `start` on, upwards or downwards."""

    def ends(self) -> tuple[tuple[float, bytes], tuple[float, bytes]] | None:
        """Return the first and the last pair, None of an empty set."""

    def release(self, nodes: int) -> bool:
        """Free all members and at most `nodes` nodes; whether that was all.

        After False only release() may be called.
        """

    def check(self) -> str | None:
        """Return which invariant of the tree is broken, None if all hold."""

    def damage(self, number: int) -> bool:
        """Break an invariant of the tree by its number, for the test of check(); whether it could.

        Only check() may be called afterwards.
        """
