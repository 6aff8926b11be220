"""Entries read back from the segments of a log that is being written, for peers that are behind.

Blocking calls, for a reader thread; one call at a time. Asked for is only what the writer has
reported as synced. Whoever goes on where an earlier call ended pays for what it reads: that place
is remembered. Any other start walks from the beginning of a segment.

Why the first record met with the index and term asked for is the right one: index and term name one
entry for ever. The records that count stand in the order of their indexes, since whatever replaces
an entry stands behind all that was before; so behind the first match of one entry there is always
a match of the next.
"""

from collections import OrderedDict
from typing import NamedTuple

from kvnode._core.logreader import SegmentCursor, SegmentReader
from kvnode.base.errors import CorruptionError, StorageIOError
from kvnode.base.limits import LOG_CURSORS_MAX, LOG_READ_BYTES
from kvnode.storage.disk import Disk
from kvnode.storage.log import segment_path
from kvnode.storage.log_format import (
    HEADER_BYTES,
    LINK,
    LINK_RECORD_BYTES,
    Link,
    decode_header,
    decode_link,
)

SEGMENT_END_MAX = 1 << 40  # bytes; no file is so large

ReadEntry = tuple[int, int, int, bytes]  # term, index, commit_ts, payload


class _Segment(NamedTuple):
    sequence: int
    segment_id: int
    link: Link


class _Piece(NamedTuple):
    """Bytes of a segment."""

    data: bytes
    start: int  # offset of the first

    @property
    def end(self) -> int:
        return self.start + len(self.data)


class _Place(NamedTuple):
    """Where a walk through the log can go on."""

    segment: _Segment
    offset: int = HEADER_BYTES
    chain: int | None = None  # None: at the first record
    piece: _Piece = _Piece(b"", HEADER_BYTES)  # has what is there, if it was read before


class _Wanted(NamedTuple):
    first: int
    last: int
    term: int
    bytes_max: int


class LogReading:
    """Reads the log in one directory. A log that begins anew behind an image is another one."""

    def __init__(self, disk: Disk, directory: str) -> None:
        self._disk = disk
        self._directory = directory
        self._segments: dict[int, _Segment] = {}  # by sequence; those that are in use
        self._places: OrderedDict[int, _Place] = OrderedDict()  # by the index that comes next
        self.bytes_read = 0

    def read(self, first: int, last: int, term: int, bytes_max: int) -> list[ReadEntry]:
        """Return the entries from `first` on, `last` at most, all of them of `term` and synced.

        Payloads together have up to bytes_max, but there is one at least. Empty: the log was cut
        behind `first`. Raises CorruptionError, StorageIOError.
        """
        wanted = _Wanted(first, last, term, bytes_max)
        place = self._places.get(first)
        entries = self._read_from(place, wanted) if place else []
        if entries:
            return entries
        place = self._find(first)
        if place is None:
            return []
        entries = self._read_from(place, wanted)
        if not entries and not self._is_cut(place, first):
            raise CorruptionError(
                f"{segment_path(self._directory, place.segment.sequence)} or a segment behind it: "
                f"entry {first} of term {term} is not readable any more. Restore the data "
                "directory from a backup, or make this node anew from its group"
            )
        return entries

    def _read_from(self, place: _Place, wanted: _Wanted) -> list[ReadEntry]:
        entries: list[ReadEntry] = []
        at: _Place | None = place
        while at is not None:
            segment, piece = at.segment, at.piece
            cursor = SegmentCursor(segment.segment_id, at.offset, at.chain)
            at = None
            if cursor.take(piece.data, piece.start, entries, *wanted) >= 0:
                found = self._walk(segment, cursor, entries, wanted)
                if found is None:
                    at = self._following(segment, cursor)
                else:
                    piece = found
        if entries:
            self._keep(entries[-1][1] + 1, _Place(segment, cursor.offset, cursor.chain, piece))
        return entries

    def _keep(self, index: int, place: _Place) -> None:
        """Remember where entry `index` is to be looked for."""
        piece = place.piece
        if len(piece.data) > LOG_READ_BYTES or not piece.start <= place.offset < piece.end:
            place = place._replace(piece=_Piece(b"", place.offset))
        self._places[index] = place
        self._places.move_to_end(index)
        if len(self._places) > LOG_CURSORS_MAX:
            self._places.popitem(last=False)

    def _walk(
        self, segment: _Segment, cursor: SegmentCursor, entries: list[ReadEntry], wanted: _Wanted
    ) -> _Piece | None:
        """Add entries of one segment; return the piece with the last one.

        None: the segment ended before they were enough.
        """
        successor = self._successor(segment)
        # Behind the place that the link names there may be records that a recovery left out.
        end = SEGMENT_END_MAX if successor is None else successor.link.end
        size = LOG_READ_BYTES
        try:
            file = self._disk.open(segment_path(self._directory, segment.sequence))
        except StorageIOError:
            if self._load(segment.sequence) is None:
                return None  # it was cut
            raise
        try:
            while True:
                start = cursor.offset
                data = self._disk.read(file, min(size, end - start), start)
                self.bytes_read += len(data)
                need = cursor.take(data, start, entries, *wanted)
                if need < 0:
                    return _Piece(data, start)
                if need == 0 or len(data) < size:
                    return None
                size = max(need, LOG_READ_BYTES)
        finally:
            self._disk.close(file)

    def _following(self, segment: _Segment, cursor: SegmentCursor) -> _Place | None:
        """Return the beginning of the segment that begins where `cursor` is in this one."""
        self._look()
        successor = self._successor(segment)
        if successor is None:
            return None
        link = successor.link
        here = (segment.sequence, cursor.offset, cursor.chain)
        return _Place(successor) if (link.sequence, link.end, link.chain) == here else None

    def _successor(self, segment: _Segment) -> _Segment | None:
        sequence = min((s for s in self._segments if s > segment.sequence), default=None)
        return None if sequence is None else self._segments[sequence]

    def _find(self, first: int) -> _Place | None:
        """Return a place before the newest record of entry `first`; None: it was cut.

        It is in the last segment before which the log ended before `first`, or behind that. A
        log that went back in index may have none such, and the entry all the same.
        """
        self._look()
        for sequence in sorted(self._segments, reverse=True):
            if self._segments[sequence].link.index < first:
                return _Place(self._segments[sequence])
        oldest = self._segments[min(self._segments)] if self._segments else None
        return None if oldest is None or oldest.link.sequence == 0 else _Place(oldest)

    def _is_cut(self, place: _Place, first: int) -> bool:
        """Whether the entry may have been cut since, with the segment or before."""
        return place.segment.link.index >= first or self._load(place.segment.sequence) is None

    def _look(self) -> None:
        """Take note of segments that are new, and of those that are gone."""
        names = (name.rpartition(".") for name in self._disk.list(self._directory))
        sequences = {int(stem, 16) for stem, _, suffix in names if suffix == "seg"}
        for sequence in self._segments.keys() - sequences:
            del self._segments[sequence]
        for sequence in sequences - self._segments.keys():
            segment = self._load(sequence)
            if segment is not None:
                self._segments[sequence] = segment

    def _load(self, sequence: int) -> _Segment | None:
        """Read the beginning of a segment; None: it is not in use yet, or not any more."""
        path = segment_path(self._directory, sequence)
        try:
            file = self._disk.open(path)
        except StorageIOError:
            if path.rpartition("/")[2] in self._disk.list(self._directory):
                raise
            return None
        try:
            data = self._disk.read(file, HEADER_BYTES + LINK_RECORD_BYTES, 0)
        finally:
            self._disk.close(file)
        # Under another name the file may be on its way to be used again.
        if path.rpartition("/")[2] not in self._disk.list(self._directory):
            return None
        header = decode_header(path, data[:HEADER_BYTES])
        record = next(SegmentReader(data, header.segment_id), None)
        if record is None or record[1] != LINK:
            return None
        _, _, term, index, commit_ts, _, payload = record
        return _Segment(sequence, header.segment_id, decode_link(term, index, commit_ts, payload))
