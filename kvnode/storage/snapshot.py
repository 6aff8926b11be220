"""Reads at a pinned batch boundary: the tip's versions first, then LevelDB's row or its history.

In this order nothing is missed (hard case 18): what leaves the tip after its part was read is in
LevelDB by then. A row of LevelDB newer than the pin says nothing; the version that the pin sees
was moved to the history in the write that replaced it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kvnode._core.keys import (
    DELTA,
    HEAD,
    history_of,
    history_start,
    order_start,
    part_bounds,
    record_order,
    split_head,
    split_history,
)
from kvnode._core.pinned import PRESENT, UNKNOWN, head_at, scan_at, stored_at
from kvnode._core.tip import Tip
from kvnode._core.upkeep import (
    history_version,
    stored_collection,
    stored_commit_ts,
    stored_deadline,
    stored_value,
)
from kvnode.base.limits import DELTA_ROWS_MAX, SNAPSHOT_GROUP_ROWS_MAX
from kvnode.storage.engine import Engine, Reader

ORDER_END = 1 << 64

Row = tuple[bytes, bytes]  # record key, envelope
Seen = dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Page:
    """Records of a table visible at the pin in [first, end); those past a deadline included."""

    rows: list[Row]
    first: int
    end: int

    @property
    def is_last(self) -> bool:
        """Whether there are none behind it."""
        return self.end == ORDER_END


@dataclass(frozen=True, slots=True)
class KeysPage:
    """User keys visible at the pin, and where the next page begins (None: nowhere)."""

    keys: list[bytes]
    next_hash: int | None


@dataclass(frozen=True, slots=True)
class StoredPart:
    """What LevelDB says of the orders from the asked one up to `end`."""

    seen: Seen
    end: int


@dataclass(frozen=True, slots=True)
class PendingPage:
    """A page whose part from the tip is read. read() may run on another thread."""

    read: Callable[[], StoredPart] | None  # None: LevelDB has nothing to add
    finish: Callable[[StoredPart | None], Page]


@dataclass(frozen=True, slots=True)
class StoredRecords:
    """Records that the tip did not know, and delta rows of the collections among them."""

    seen: Seen
    deltas: dict[bytes, list[Row]]  # by the head's record key


@dataclass(frozen=True, slots=True)
class PendingRecords:
    """Single records, like a PendingPage. finish() returns all that are there, by key.

    With heads among them a fetch of the tip (begin_fetch ... end_fetch) lasts from the start to
    finish(): what becomes of a collection's deltas meanwhile stays in memory.
    """

    read: Callable[[], StoredRecords] | None
    finish: Callable[[StoredRecords | None], Seen]


class SnapshotReader:
    """Reads at `commit_ts`, which the caller keeps pinned.

    now_ms: judges expiry, the time of the pin.
    """

    def __init__(self, tip: Tip, engine: Engine, commit_ts: int, now_ms: int) -> None:
        self._tip = tip
        self._engine = engine
        self._commit_ts = commit_ts
        self._now_ms = now_ms

    # -- single records -------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a record by its record key; blocks on LevelDB."""
        records = self.begin_get([key])
        found = records.finish(records.read() if records.read is not None else None)
        return stored_value(found[key]) if key in found else None

    def begin_get(self, keys: Sequence[bytes]) -> PendingRecords:
        """Read the tip's part of some records; the rest is the caller's to run."""
        known: Seen = {}
        unknown = []
        for key in keys:
            status, envelope = stored_at(self._tip, key, self._commit_ts)
            if status == PRESENT:
                known[key] = envelope
            elif status == UNKNOWN:
                unknown.append(key)

        def read() -> StoredRecords:
            with self._engine.snapshot() as reader:
                return _read_records(reader, unknown, self._commit_ts)

        def finish(stored: StoredRecords | None) -> Seen:
            if stored is None:
                return known
            for key, envelope in stored.seen.items():
                if key in stored.deltas:
                    deltas = stored.deltas[key]
                    known[key] = head_at(self._tip, envelope, deltas, self._commit_ts)
                else:
                    known[key] = envelope
            return known

        return PendingRecords(read if unknown else None, finish)

    # -- pages ----------------------------------------------------------------------------------

    def begin_page(
        self, kind: int, id_: int, first: int, count: int, *, with_values: bool = True
    ) -> PendingPage:
        """Read the tip's part of a page of about `count` records; the rest is the caller's to run.

        kind, id_: heads of a generation or elements of a collection, from an order on: a hash, or
        a list's position as a sortable number.
        """
        rows, after, is_partial = scan_at(
            self._tip, kind, id_, first, count, self._commit_ts, with_values
        )
        end = ORDER_END if after is None else after

        def read() -> StoredPart:
            with self._engine.snapshot() as reader:
                return _read_page(reader, kind, id_, first, end, count, self._commit_ts)

        def finish(stored: StoredPart | None) -> Page:
            seen: Seen = dict(stored.seen) if stored is not None else {}
            stop = stored.end if stored is not None else end
            for order, key, status, envelope in rows:
                if order >= stop:
                    break
                if status == PRESENT:
                    seen[key] = envelope
                elif status != UNKNOWN:
                    seen.pop(key, None)
            return Page(list(seen.items()), first, stop)

        return PendingPage(read if is_partial else None, finish)

    def begin_keys(self, generation: int, from_hash: int, count: int) -> PendingPage:
        """begin_page() of heads, for visible_keys()."""
        return self.begin_page(HEAD, generation, from_hash, count, with_values=False)

    def visible_keys(self, page: Page) -> KeysPage:
        """Return the user keys of a page that are not past their deadline."""
        keys = [
            split_head(key)[2]
            for key, envelope in page.rows
            if not 0 < stored_deadline(envelope)[1] <= self._now_ms
        ]
        return KeysPage(keys, None if page.is_last else page.end)

    def keys_step(self, generation: int, from_hash: int, count: int) -> KeysPage:
        """Return the visible keys of about `count` heads from a hash on; blocks on LevelDB."""
        page = self.begin_keys(generation, from_hash, count)
        return self.visible_keys(page.finish(page.read() if page.read is not None else None))


def _read_records(reader: Reader, keys: Sequence[bytes], commit_ts: int) -> StoredRecords:
    """Read what a pin sees of records: their rows, or their history."""
    records = StoredRecords({}, {})
    for key, row in zip(keys, reader.get_many(keys), strict=True):
        if row is not None and stored_commit_ts(row) <= commit_ts:
            records.seen[key] = row
            collection = stored_collection(row) if key[0] == HEAD else None
            if collection is not None:
                lo, hi = part_bounds(DELTA, collection.id)
                records.deltas[key] = reader.scan(lo, hi, DELTA_ROWS_MAX)
            continue
        for _, old in reader.scan(history_of(key, commit_ts), history_of(key, 0), 1):
            until, envelope = history_version(old)
            if until > commit_ts:
                records.seen[key] = envelope
    return records


def _read_page(
    reader: Reader, kind: int, id_: int, first: int, end: int, count: int, commit_ts: int
) -> StoredPart:
    """Read rows and history of the orders [first, end), or of fewer when they are many."""
    rows, history, end = _read_rows(reader, kind, id_, first, end, count)
    seen: Seen = {}
    for key, envelope in rows:
        if record_order(key) < end and stored_commit_ts(envelope) <= commit_ts:
            seen[key] = envelope
    for key, old in history:
        record_key, old_ts = split_history(key)
        until, envelope = history_version(old)
        if record_order(record_key) < end and old_ts <= commit_ts < until:
            seen[record_key] = envelope
    return StoredPart(seen, end)


def _read_rows(
    reader: Reader, kind: int, id_: int, first: int, end: int, count: int
) -> tuple[list[Row], list[Row], int]:
    """Return rows, history rows and the order up to which both are complete."""
    above = part_bounds(kind, id_)[1]
    hi = above if end == ORDER_END else order_start(kind, id_, end)
    old_hi = b"Y" + above if end == ORDER_END else history_start(kind, id_, end)
    rows = reader.scan(order_start(kind, id_, first), hi, count)
    history = reader.scan(history_start(kind, id_, first), old_hi, count)
    if len(rows) == count:
        end = min(end, record_order(rows[-1][0]))
    if len(history) == count:
        end = min(end, record_order(split_history(history[-1][0])[0]))
    if end > first:
        return rows, history, end
    # One order fills the page (many pins, or `count` of 1): all of it, and nothing else.
    assert count < SNAPSHOT_GROUP_ROWS_MAX
    if first + 1 == ORDER_END:
        return _read_rows(reader, kind, id_, first, ORDER_END, SNAPSHOT_GROUP_ROWS_MAX)
    return _read_rows(reader, kind, id_, first, first + 1, SNAPSHOT_GROUP_ROWS_MAX)
