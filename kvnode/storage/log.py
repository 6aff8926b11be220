"""The log in Python: where it goes on, and a writer over any Disk.

`SegmentWriter` gives byte for byte what the native writer gives for the same groups; recovery
uses it, and so does the simulator. The native thread (_core/logwriter) writes in production.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kvnode.storage.disk import Disk
from kvnode.storage.log_format import (
    ENTRY,
    HEADER_BYTES,
    LINK_RECORD_BYTES,
    MARK,
    RECORD_HEADER_BYTES,
    Header,
    Link,
    encode_header,
    encode_link,
    encode_record,
    record_bytes,
    seed_of,
    segment_id_at,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One Raft entry as the log holds it."""

    term: int
    index: int
    commit_ts: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class LogStart:
    """Where a writer goes on: the open segment and the newest entry, all of it synced."""

    sequence: int
    segment_id: int
    offset: int  # bytes; the next record stands here
    capacity: int  # bytes of the segment's file
    chain: int  # CRC of the last record
    last_term: int
    last_index: int
    last_commit_ts: int
    closed: tuple[tuple[int, int], ...]  # (sequence, highest index) of the segments before it


def segment_path(directory: str, sequence: int, suffix: str = "seg") -> str:
    return f"{directory}/{sequence:016x}.{suffix}"


class SegmentWriter:
    """Writes groups of entries to segments, one pwrite for each group and segment.

    Synchronous: a write is in the page cache when the call returns, and durable after `sync`.
    """

    def __init__(
        self, disk: Disk, directory: str, start: LogStart, *, segment_bytes: int, id_seed: int
    ) -> None:
        self._disk = disk
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._id_seed = id_seed
        self._file = disk.open(segment_path(directory, start.sequence))
        self._seed = seed_of(start.segment_id)
        self._unsynced = False
        self._synced_offset = start.offset
        self._last_index_in_segment = start.last_index
        self._closed = list(start.closed)
        self._left: tuple[int, int] | None = None  # closed once the link behind it is durable
        self.sequence = start.sequence
        self.segment_id = start.segment_id
        self.capacity = start.capacity
        self.offset = start.offset
        self.chain = start.chain
        self.last_term = start.last_term
        self.last_index = start.last_index
        self.last_commit_ts = start.last_commit_ts

    def write_group(self, entries: Iterable[Entry]) -> None:
        """Write entries; a segment without room for the next one is left for a new one."""
        parts: list[bytes] = []
        size = 0
        for entry in entries:
            need = record_bytes(len(entry.payload))
            if self.offset + size + need > self.capacity:
                self._write(parts)
                parts, size = [], 0
                self._switch_segment(need)
            record, self.chain = encode_record(
                self._seed,
                self.chain,
                kind=ENTRY,
                term=entry.term,
                index=entry.index,
                commit_ts=entry.commit_ts,
                synced=self._synced_offset,
                payload=entry.payload,
            )
            parts.append(record)
            size += need
            self.last_term, self.last_index = entry.term, entry.index
            self.last_commit_ts = entry.commit_ts
            self._last_index_in_segment = max(self._last_index_in_segment, entry.index)
        self._write(parts)

    def sync(self) -> None:
        """Make all that was written durable."""
        self._disk.fdatasync(self._file)
        self._synced_offset = self.offset
        self._unsynced = False
        if self._left is not None:
            self._closed.append(self._left)
            self._left = None

    def write_mark(self) -> None:
        """State in a record of its own that all before it is synced (which it sees to)."""
        if self.offset + RECORD_HEADER_BYTES > self.capacity:
            return
        if self._unsynced:
            self.sync()
        self._write([self._seal_mark(self._synced_offset)])

    def cut(self, index: int) -> None:
        """Remove the segments that hold nothing above `index`, the oldest first."""
        while self._closed and self._closed[0][1] <= index:
            sequence, _ = self._closed.pop(0)
            self._disk.unlink(segment_path(self._directory, sequence))

    def start(self) -> LogStart:
        """Return where another writer would go on; all must be synced."""
        assert not self._unsynced
        return LogStart(
            self.sequence,
            self.segment_id,
            self.offset,
            self.capacity,
            self.chain,
            self.last_term,
            self.last_index,
            self.last_commit_ts,
            tuple(self._closed),
        )

    def close(self) -> None:
        self._disk.close(self._file)

    def _seal_mark(self, synced: int) -> bytes:
        record, self.chain = encode_record(
            self._seed,
            self.chain,
            kind=MARK,
            term=self.last_term,
            index=self.last_index,
            commit_ts=self.last_commit_ts,
            synced=synced,
        )
        return record

    def _write(self, parts: list[bytes]) -> None:
        if parts:
            data = b"".join(parts)
            self._disk.pwrite(self._file, data, self.offset)
            self.offset += len(data)
            self._unsynced = True

    def _switch_segment(self, need: int) -> None:
        """Go on in a new segment; all of the old one is synced first."""
        if self._unsynced:
            self.sync()
        self._disk.close(self._file)
        self._left = (self.sequence, self._last_index_in_segment)
        link = Link(
            self.sequence,
            self.offset,
            self.chain,
            self.last_term,
            self.last_index,
            self.last_commit_ts,
        )
        self.sequence += 1
        self.segment_id = segment_id_at(self._id_seed, self.sequence)
        self.capacity = max(self._segment_bytes, HEADER_BYTES + LINK_RECORD_BYTES + need)
        self._seed = seed_of(self.segment_id)
        header = Header(self.segment_id, self.sequence, self.capacity)
        self._file = make_segment(self._disk, self._directory, header, b"")
        self.offset = self._synced_offset = HEADER_BYTES
        self._last_index_in_segment = 0
        record, self.chain = encode_link(self._seed, link)
        self._write([record])


def make_segment(disk: Disk, directory: str, header: Header, records: bytes) -> int:
    """Make a segment that has its name only once its header and `records` are durable.

    Returns the open file.
    """
    tmp = segment_path(directory, header.sequence, "tmp")
    file = disk.open(tmp, create=True)
    disk.preallocate(file, header.capacity)
    disk.pwrite(file, encode_header(header) + records, 0)
    disk.fdatasync(file)
    disk.rename(tmp, segment_path(directory, header.sequence))
    disk.fsync_dir(directory)
    return file


def first_records(header: Header, link: Link, entries: Iterable[Entry]) -> tuple[bytes, Link]:
    """Return the records of a segment that is written whole: link, entries, a mark for them.

    Also the position after them, as a successor's link would state it. The mark may speak of what
    is not synced yet, because the segment gets its name after the sync.
    """
    seed = seed_of(header.segment_id)
    record, chain = encode_link(seed, link)
    parts = [record]
    offset = HEADER_BYTES + len(record)
    term, index, commit_ts = link.term, link.index, link.commit_ts
    for entry in entries:
        term, index, commit_ts = entry.term, entry.index, entry.commit_ts
        record, chain = encode_record(
            seed,
            chain,
            kind=ENTRY,
            term=term,
            index=index,
            commit_ts=commit_ts,
            synced=HEADER_BYTES,
            payload=entry.payload,
        )
        parts.append(record)
        offset += len(record)
    record, chain = encode_record(
        seed, chain, kind=MARK, term=term, index=index, commit_ts=commit_ts, synced=offset
    )
    parts.append(record)
    end = Link(header.sequence, offset + len(record), chain, term, index, commit_ts)
    return b"".join(parts), end
