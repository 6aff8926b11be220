"""A naive twin of the delta log: every change ever made, summed anew for each question."""

Meta = tuple[int, int, int, int]  # length, head, tail, holes
NONE: Meta = (0, 0, 0, 0)


def plus(a: Meta, b: Meta) -> Meta:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]


class DeltaLog:
    """As kvnode._core.deltas, but nothing is ever folded or merged."""

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
