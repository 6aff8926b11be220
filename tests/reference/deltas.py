"""A naive twin of the delta log: every change ever made, summed anew for each question."""

Meta = tuple[int, int, int, int]  # length, head, tail, holes
NONE: Meta = (0, 0, 0, 0)


def plus(a: Meta, b: Meta) -> Meta:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]


def varint(value: int) -> bytes:
    """Return seven bits a byte, lowest first; all but the last have the top bit."""
    if value < 128:
        return bytes([value])
    return bytes([128 + value % 128]) + varint(value // 128)


class DeltaLog:
    """As kvnode._core.deltas; what fold() and merge() say can go is kept, so they do nothing."""

    def __init__(self, base: Meta = NONE) -> None:
        self._base = base
        self._changes: list[tuple[int, Meta]] = []

    def add(self, commit_ts: int, change: Meta) -> None:
        if self._changes and self._changes[-1][0] >= commit_ts:
            raise ValueError("commit_ts must grow")
        self._changes.append((commit_ts, change))

    def at(self, commit_ts: int) -> Meta:
        total = self._base
        for time, change in self._changes:
            if time <= commit_ts:
                total = plus(total, change)
        return total

    def fold(self, upto: int) -> None:
        """Nothing is asked for at a time before `upto` any more."""

    def merge(self, readers: list[int], upto: int) -> None:
        """Nothing is asked for up to `upto` any more, but by readers."""

    @staticmethod
    def encode(change: Meta) -> bytes:
        """Return four zigzag varints: 0, -1, 1, -2 are 0, 1, 2, 3."""
        return b"".join(varint(-2 * n - 1 if n < 0 else 2 * n) for n in change)

    @staticmethod
    def decode(data: bytes) -> Meta:
        """Read encode()."""
        numbers, at = [], 0
        for last in [i for i, byte in enumerate(data) if byte < 128]:
            value = sum(byte % 128 << 7 * i for i, byte in enumerate(data[at : last + 1]))
            numbers.append(-(value + 1) // 2 if value % 2 else value // 2)
            at = last + 1
        length, head, tail, holes = numbers
        return length, head, tail, holes
