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

    def skip(
        self,
    ) -> tuple[int, list[tuple[int, int, int, int]], int, list[tuple[int, int, bytes]]]:
        """Walk on to the end; return (highest synced offset stated, runs, last commit_ts,
        memberships as (offset, index, payload))."""

    def go_on(self, limit: int) -> None:
        """Let the walk go on up to `limit`."""

    def find_synced(self) -> int:
        """Return the highest synced offset that any header behind `offset` states, or 0."""

class SegmentCursor:
    """The same walk through a segment that is still written to, with its bytes read in pieces."""

    chain: int
    offset: int  # end of the last record that was walked over

    def __init__(
        self, segment_id: int, offset: int | None = None, chain: int | None = None
    ) -> None:
        """offset, chain: where another cursor was; without, the first record."""

    def take(
        self,
        data: bytes,
        start: int,
        entries: list[tuple[int, int, int, bytes]],
        first: int,
        last: int,
        term: int,
        bytes_max: int,
    ) -> int:
        """Walk on and add entries first..last of `term` to `entries`, which has the first of them.

        data: bytes of the segment from `start` on, which is at or before `offset`. Records of
        other terms and indexes are walked over. Added is (term, index, commit_ts, payload). Ends
        before payloads are more than bytes_max, but not without one.
        Return why it ended: -1 the last one or bytes_max was reached, 0 no whole record stands at
        `offset`, n > 0 the next record needs n bytes from there. Raises ValueError: `offset` is
        not in data.
        """

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
