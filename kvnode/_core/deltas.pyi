from collections.abc import Sequence

Meta = tuple[int, int, int, int]

class DeltaLog:
    """The metadata of one collection over time: (length, head, tail, holes), each int64."""

    def __init__(self, base: Meta = ...) -> None: ...
    def __len__(self) -> int: ...
    def add(self, commit_ts: int, change: Meta) -> None:
        """Change the tip by the sums of one batch. Raises ValueError when time does not grow."""

    def at(self, commit_ts: int) -> Meta:
        """Return the metadata at `commit_ts`."""

    def fold(self, upto: int) -> None:
        """Forget deltas at or below `upto`: at() is asked for nothing earlier from now on."""

    def merge(self, readers: Sequence[int], upto: int) -> None:
        """Keep apart, of the deltas up to `upto`, only what the times `readers`, ascending, do."""

    @staticmethod
    def encode(change: Meta) -> bytes:
        """Return the bytes of metadata or of a change: docs/FORMATS.md."""

    @staticmethod
    def decode(data: bytes) -> Meta:
        """Read encode(). Raises ValueError."""
