from collections.abc import Callable, Iterable, Iterator

class SegmentReader:
    """Walk the records of one segment, verifying each against its predecessor.

    Ends at the first place where no whole record stands, which is for the caller to judge.
    """

    data: bytes
    chain: int
    offset: int

    def __init__(self, data: bytes, segment_id: int, limit: int | None = None) -> None: ...
    def __iter__(self) -> Iterator[tuple[int, int, int, int, int, int, bytes]]: ...
    def __next__(self) -> tuple[int, int, int, int, int, int, bytes]:
        """Return (offset, kind, term, index, commit_ts, synced, payload)."""

    def skip(self) -> tuple[int, list[tuple[int, int, int, int]], int]:
        """Walk on to the end; return (highest synced offset stated, runs, last commit_ts)."""

    def go_on(self, limit: int) -> None:
        """Let the walk go on up to `limit`."""

    def find_synced(self) -> int:
        """Return the highest synced offset that any header behind `offset` states, or 0."""

class LogReplay:
    """The entries first_index..last_index in order, those that a later term replaced left out.

    load: sequence -> (segment id, bytes of the file).
    spans: (sequence, end offset, [(offset, last index that counts), ...]), oldest segment first.
    Raises CorruptionError when a record is damaged.
    """

    def __init__(
        self,
        load: Callable[[int], tuple[int, bytes]],
        spans: Iterable[tuple[int, int, list[tuple[int, int]]]],
        first_index: int,
        last_index: int,
    ) -> None: ...
    def __iter__(self) -> Iterator[tuple[int, int, int, bytes]]: ...
    def __next__(self) -> tuple[int, int, int, bytes]:
        """Return (term, index, commit_ts, payload)."""
