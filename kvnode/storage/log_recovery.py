"""Recovery of the log: which records count, what is damage, and a fresh synced place to go on.

The chain of segments is walked from the newest backwards by their links. In each, records are
verified one after another; where that stops before the segment's known end, something is damaged.
Only in the newest segment, behind everything that a record states to be synced, is it a torn tail.
That is normal: those entries were never acknowledged, and are cut.

What is not stated to be synced may stand in the page cache only, even after a clean kill, and after
a failed sync the cache lies. So it is copied to a new segment, synced, before anybody reads it.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace

from kvnode._core.logreader import LogReplay, SegmentReader
from kvnode.base.errors import CorruptionError
from kvnode.base.limits import START_SEGMENT_BYTES
from kvnode.storage.disk import Disk
from kvnode.storage.log import Entry, LogStart, first_records, make_segment, segment_path
from kvnode.storage.log_format import (
    ENTRY,
    HEADER_BYTES,
    LINK,
    Header,
    Link,
    decode_header,
    decode_link,
    segment_id_at,
)

NO_PREDECESSOR = Link(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of entries of one term with consecutive indexes, in one segment."""

    offset: int  # of its first record, bytes
    term: int
    first_index: int
    last_index: int  # that no later record replaced; first_index - 1 when all were


@dataclass(frozen=True, slots=True)
class LiveSegment:
    """A segment that belongs to the log, and the entries in it that count."""

    header: Header
    end: int  # offset behind its last record, bytes
    runs: tuple[Run, ...]
    highest_index: int  # also of replaced entries; 0 = it holds none
    memberships: tuple[tuple[int, bytes], ...]  # (index, payload) of entries that count


@dataclass(frozen=True, slots=True)
class RecoveredLog:
    """A log that is whole, durable and ready to be replayed and written on."""

    start: LogStart
    base: Link  # index and term of the position before the first entry
    segments: tuple[LiveSegment, ...]  # oldest first; the last is open
    is_torn: bool  # a torn tail was cut
    copied_entries: int  # entries that had to be made durable again

    @property
    def first_index(self) -> int:
        return self.base.index + 1

    @property
    def last_index(self) -> int:
        return self.start.last_index

    def memberships(self, after: int) -> list[tuple[int, bytes]]:
        """Return (index, payload) of each entry behind `after` that is a membership, in order."""
        found = [entry for segment in self.segments for entry in segment.memberships]
        return [entry for entry in found if entry[0] > after]

    def terms(self) -> list[tuple[int, int]]:
        """Return (first index, term) of each stretch of entries, the base position first."""
        terms = [(self.base.index, self.base.term)]
        for segment in self.segments:
            for run in segment.runs:
                if run.last_index >= run.first_index and run.term != terms[-1][1]:
                    terms.append((run.first_index, run.term))
        return terms


@dataclass(frozen=True, slots=True)
class _Scan:
    """What one walk through a segment found."""

    header: Header
    link: Link | None  # None: not even the first record is whole
    end: int
    chain: int
    synced: int  # highest offset stated to be synced
    is_torn: bool  # behind `end` there is more than silence
    runs: tuple[Run, ...]
    commit_ts: int  # of the last record
    memberships: tuple[tuple[int, int, bytes], ...]  # (offset, index, payload) of such entries

    def position(self) -> Link:
        """Return the end of this segment as a successor's link states it."""
        assert self.link is not None
        term, index = self.link.term, self.link.index
        if self.runs:
            term, index = self.runs[-1].term, self.runs[-1].last_index
        return Link(self.header.sequence, self.end, self.chain, term, index, self.commit_ts)


def _damage(path: str, offset: int, what: str) -> CorruptionError:
    return CorruptionError(
        f"{path} at byte {offset}: {what}. Nothing was changed. Restore the data directory from a "
        "backup; entries before this place are intact"
    )


def create_log(
    disk: Disk, directory: str, *, segment_bytes: int, id_seed: int, base: Link = NO_PREDECESSOR
) -> RecoveredLog:
    """Make the first segment of a log whose first entry is base.index + 1."""
    return _go_on(disk, directory, base, [], (), 1, segment_bytes, id_seed, is_torn=False)


def recover_log(
    disk: Disk, directory: str, *, checkpoint_index: int, segment_bytes: int, id_seed: int
) -> RecoveredLog:
    """Verify the log, cut a torn tail, and make the rest durable in a fresh segment.

    checkpoint_index: last entry whose effects are durable elsewhere; 0 = none. With 0 and no log at
    all, a new log is made. id_seed: a new random u64 for each start.
    Raises CorruptionError (then nothing was changed), FormatError, StorageIOError.
    """
    disk.make_dir(directory)
    disk.fsync_dir(directory.rpartition("/")[0] or ".")
    headers = _read_headers(disk, directory)
    if not headers and checkpoint_index == 0:
        _clean(disk, directory, set())
        return create_log(disk, directory, segment_bytes=segment_bytes, id_seed=id_seed)
    newest = _find_newest(disk, directory, headers, checkpoint_index)
    scans = _walk_back(disk, directory, headers, newest)
    _check_checkpoint(directory, scans, checkpoint_index)
    _live_segments(directory, scans)  # before anything is changed: whether entries fit together

    kept = _scan(disk, directory, newest.header, newest.synced)
    if kept.end != newest.synced:
        raise _damage(
            segment_path(directory, newest.header.sequence),
            kept.end,
            f"a record states byte {newest.synced} as a boundary, but there is none",
        )
    tail = _read_entries(disk, directory, newest, kept)
    if kept.runs:
        scans[-1] = kept
        base = kept.position()
    else:
        # Nothing in it is worth a file: the new segment takes its place in the chain.
        scans.pop()
        assert newest.link is not None
        base = newest.link
    recovered = _go_on(
        disk,
        directory,
        base,
        scans,
        tail,
        max(headers) + 1,
        segment_bytes,
        id_seed,
        is_torn=newest.is_torn,
    )
    _clean(disk, directory, {s.header.sequence for s in recovered.segments})
    if kept.runs:
        _shorten(disk, directory, kept)
    return recovered


def open_replay(
    disk: Disk, directory: str, log: RecoveredLog, first_index: int, last_index: int
) -> LogReplay:
    """Return the entries first_index..last_index of a recovered log, in order."""
    ids = {s.header.sequence: s.header.segment_id for s in log.segments}

    def load(sequence: int) -> tuple[int, bytes]:
        return ids[sequence], _read(disk, directory, sequence)

    spans = [
        (s.header.sequence, s.end, [(r.offset, r.last_index) for r in s.runs]) for s in log.segments
    ]
    return LogReplay(load, spans, first_index, last_index)


def _read(disk: Disk, directory: str, sequence: int, limit: int | None = None) -> bytes:
    file = disk.open(segment_path(directory, sequence))
    try:
        return disk.read(file, disk.size(file) if limit is None else limit, 0)
    finally:
        disk.close(file)


def _read_headers(disk: Disk, directory: str) -> dict[int, Header]:
    """Return the headers of all segments by sequence. A named segment has a whole header."""
    headers = {}
    for name in disk.list(directory):
        stem, _, suffix = name.rpartition(".")
        if suffix != "seg":
            continue
        path = f"{directory}/{name}"
        file = disk.open(path)
        try:
            header = decode_header(path, disk.read(file, HEADER_BYTES, 0))
        finally:
            disk.close(file)
        if stem != f"{header.sequence:016x}":
            raise _damage(path, 24, f"the header says it is segment {header.sequence:016x}")
        headers[header.sequence] = header
    return headers


def _scan(disk: Disk, directory: str, header: Header, limit: int | None = None) -> _Scan:
    """Walk one segment, up to `limit` if given."""
    data = _read(disk, directory, header.sequence, limit)
    reader = SegmentReader(data, header.segment_id)
    link = None
    first = next(reader, None)
    if first is not None:
        _, kind, term, index, commit_ts, _, payload = first
        if kind != LINK:
            path = segment_path(directory, header.sequence)
            raise _damage(path, HEADER_BYTES, "a segment must begin with a link")
        link = decode_link(term, index, commit_ts, payload)
    synced, runs, commit_ts, memberships = reader.skip()
    later = reader.find_synced()
    return _Scan(
        header,
        link,
        reader.offset,
        reader.chain,
        max(synced, later, HEADER_BYTES),
        later > 0,
        tuple(Run(*run) for run in runs),
        commit_ts or (link.commit_ts if link else 0),
        tuple(memberships),
    )


def _find_newest(
    disk: Disk, directory: str, headers: dict[int, Header], checkpoint_index: int
) -> _Scan:
    """Return the newest segment in use; later ones were made ahead and hold nothing synced."""
    for sequence in sorted(headers, reverse=True):
        scan = _scan(disk, directory, headers[sequence])
        if scan.synced > scan.end:
            raise _damage(
                segment_path(directory, sequence),
                scan.end,
                f"a record is damaged that was synced: a later one states byte {scan.synced}",
            )
        if scan.link is not None:
            return scan
    if not headers:
        raise _damage(
            directory, 0, f"there is no log, but a checkpoint at entry {checkpoint_index}"
        )
    raise _damage(
        segment_path(directory, min(headers)), HEADER_BYTES, "the first record is damaged"
    )


def _walk_back(
    disk: Disk, directory: str, headers: dict[int, Header], newest: _Scan
) -> list[_Scan]:
    """Return the scans of the chain of segments that ends with `newest`, oldest first."""
    scans = [newest]
    while (link := scans[0].link) is not None and link.sequence in headers:
        path = segment_path(directory, link.sequence)
        scan = _scan(disk, directory, headers[link.sequence], link.end)
        if scan.link is None or scan.end != link.end or scan.chain != link.chain:
            raise _damage(
                path, scan.end, f"a record is damaged; the log goes on to byte {link.end}"
            )
        if scan.position() != link:
            raise _damage(path, scan.end, "the next segment's link names another last entry")
        scans.insert(0, scan)
    return scans


def _check_checkpoint(directory: str, scans: list[_Scan], checkpoint_index: int) -> None:
    oldest = scans[0]
    assert oldest.link is not None
    last_index = scans[-1].position().index
    if oldest.link.index > checkpoint_index:
        raise _damage(
            segment_path(directory, oldest.header.sequence),
            0,
            f"the log begins after entry {oldest.link.index}, the checkpoint ends at "
            f"{checkpoint_index}: an older segment is missing",
        )
    if last_index < checkpoint_index:
        raise _damage(
            segment_path(directory, scans[-1].header.sequence),
            scans[-1].end,
            f"the log ends at entry {last_index}, before the checkpoint at {checkpoint_index}",
        )


def _read_entries(disk: Disk, directory: str, newest: _Scan, kept: _Scan) -> list[Entry]:
    """Return the entries of the newest segment that are whole but not stated to be synced."""
    data = _read(disk, directory, newest.header.sequence, newest.end)
    # What is below is skipped natively: it may be a million records.
    reader = SegmentReader(data, newest.header.segment_id, kept.end)
    reader.skip()
    reader.go_on(newest.end)
    return [
        Entry(term, index, commit_ts, payload)
        for _, kind, term, index, commit_ts, _, payload in reader
        if kind == ENTRY
    ]


def _go_on(
    disk: Disk,
    directory: str,
    link: Link,
    scans: list[_Scan],
    tail: Iterable[Entry],
    sequence: int,
    segment_bytes: int,
    id_seed: int,
    *,
    is_torn: bool,
) -> RecoveredLog:
    """Make the segment in which the log goes on, beginning with a synced copy of `tail`."""
    tail = list(tail)
    capacity = min(segment_bytes, START_SEGMENT_BYTES)
    header = Header(segment_id_at(id_seed, sequence), sequence, capacity)
    records, end = first_records(header, link, tail)
    if end.end - HEADER_BYTES > capacity // 2:
        header = replace(header, capacity=end.end + capacity)
    # Blocks that were written once make the syncs to come cheaper.
    disk.close(
        make_segment(disk, directory, header, records.ljust(header.capacity - HEADER_BYTES, b"\0"))
    )
    scans = [*scans, _scan(disk, directory, header, end.end)]
    assert scans[-1].position() == end, "the segment just written reads back differently"
    base, segments = _live_segments(directory, scans)
    start = LogStart(
        header.sequence,
        header.segment_id,
        end.end,
        header.capacity,
        end.chain,
        end.term,
        end.index,
        end.commit_ts,
        tuple((s.header.sequence, s.highest_index) for s in segments[:-1]),
    )
    return RecoveredLog(start, base, segments, is_torn, len(tail))


def _live_segments(directory: str, scans: list[_Scan]) -> tuple[Link, tuple[LiveSegment, ...]]:
    """Cut from each run what a later one replaced; indexes and terms must fit together.

    Return the log's base, too. It is the position before the oldest segment, unless that was
    replaced: a follower's log went back behind it, and later the older segments were cut. The
    first entry of the last run that did so takes its place: all that was written since is here.
    """
    base = scans[0].link
    assert base is not None
    runs: list[tuple[int, Run]] = []
    last_term, last_index = base.term, base.index
    for n, scan in enumerate(scans):
        for run in scan.runs:
            first = run.first_index
            if first == last_index + 1:
                fits = run.term >= last_term
            elif base.index < first <= last_index:
                # A newer leader may bring back an entry of an older term than the one it replaces.
                fits = _term_at(base, runs, first - 1) <= run.term != _term_at(base, runs, first)
            else:
                fits = first <= base.index and base.sequence > 0
            if not fits:
                raise _damage(
                    segment_path(directory, scan.header.sequence),
                    run.offset,
                    f"entry {first} of term {run.term} cannot follow entry {last_index} "
                    f"of term {last_term}",
                )
            if first <= last_index:
                runs = [(k, _cut_run(r, first)) for k, r in runs]
            if first <= base.index:
                base = replace(base, index=first, term=run.term)
            runs.append((n, run))
            last_term, last_index = run.term, run.last_index
    by_scan: list[list[Run]] = [[] for _ in scans]
    for n, run in runs:
        by_scan[n].append(run)
    return base, tuple(
        LiveSegment(
            scan.header,
            scan.end,
            tuple(live),
            max((r.last_index for r in scan.runs), default=0),
            tuple(
                (index, payload)
                for offset, index, payload in scan.memberships
                if index <= _run_of(live, offset).last_index
            ),
        )
        for scan, live in zip(scans, by_scan, strict=True)
    )


def _term_at(base: Link, runs: list[tuple[int, Run]], index: int) -> int:
    """Return the term of the newest entry at `index`, which is in the log, or of the base."""
    for _, run in reversed(runs):
        if run.first_index <= index <= run.last_index:
            return run.term
    assert index == base.index, "a log has no gaps"
    return base.term


def _run_of(runs: list[Run], offset: int) -> Run:
    """Return the run that holds the record at `offset` of its segment."""
    return runs[bisect_right(runs, offset, key=lambda run: run.offset) - 1]


def _cut_run(run: Run, index: int) -> Run:
    """Take the entries from `index` on out of a run."""
    return replace(run, last_index=min(run.last_index, max(index, run.first_index) - 1))


def _clean(disk: Disk, directory: str, live: set[int]) -> None:
    """Delete what is not part of the log: half-made, spare, cut and abandoned segments."""
    for name in disk.list(directory):
        stem, _, suffix = name.rpartition(".")
        is_live = suffix == "seg" and int(stem, 16) in live
        if suffix in ("seg", "tmp", "old") and not is_live:
            disk.unlink(f"{directory}/{name}")
    disk.fsync_dir(directory)


def _shorten(disk: Disk, directory: str, kept: _Scan) -> None:
    """Give back the rest of a segment that nothing will be written to any more."""
    file = disk.open(segment_path(directory, kept.header.sequence))
    try:
        disk.truncate(file, kept.end)
    finally:
        disk.close(file)
