"""Reads at a pinned batch boundary: the tip's versions first, then LevelDB's row or its history.

In this order nothing is missed (hard case 18): what leaves the tip after its part was read is in
LevelDB by then. A row of LevelDB newer than the pin says nothing; the version that the pin sees
was moved to the history in the write that replaced it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from kvnode._core.keys import head_end, head_start, history_of, split_head, split_history
from kvnode._core.tip import Tip
from kvnode._core.upkeep import (
    PRESENT,
    UNKNOWN,
    history_version,
    record_at,
    scan_at,
    stored_commit_ts,
    stored_deadline,
    stored_value,
)
from kvnode.base.limits import SNAPSHOT_GROUP_ROWS_MAX
from kvnode.storage.engine import Engine, Reader

HASH_END = 1 << 64

Seen = dict[tuple[int, bytes], int]  # (hash, user key) -> deadline in ms, 0 = none


@dataclass(frozen=True, slots=True)
class KeysPage:
    """User keys visible at the pin, and where the next page begins (None: nowhere)."""

    keys: list[bytes]
    next_hash: int | None


@dataclass(frozen=True, slots=True)
class StoredPart:
    """What LevelDB says of the hashes from the asked one up to `end`."""

    seen: Seen
    end: int


@dataclass(frozen=True, slots=True)
class PendingPage:
    """A page whose part from the tip is read. read() may run on another thread."""

    read: Callable[[], StoredPart] | None  # None: LevelDB has nothing to add
    finish: Callable[[StoredPart | None], KeysPage]


class SnapshotReader:
    """Reads at `commit_ts`, which the caller keeps pinned.

    now_ms: judges expiry, the time of the pin.
    """

    def __init__(self, tip: Tip, engine: Engine, commit_ts: int, now_ms: int) -> None:
        self._tip = tip
        self._engine = engine
        self._commit_ts = commit_ts
        self._now_ms = now_ms

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a record (head or chunk) by its record key; blocks on LevelDB."""
        status, value = record_at(self._tip, key, self._commit_ts)
        if status != UNKNOWN:
            return value if status == PRESENT else None
        with self._engine.snapshot() as reader:
            (row,) = reader.get_many([key])
            if row is not None and stored_commit_ts(row) <= self._commit_ts:
                return stored_value(row)
            lo, hi = history_of(key, self._commit_ts), history_of(key, 0)
            for _, old in reader.scan(lo, hi, 1):
                until, envelope = history_version(old)
                if until > self._commit_ts:
                    return stored_value(envelope)
        return None

    def keys_step(self, generation: int, from_hash: int, count: int) -> KeysPage:
        """Return the visible keys of about `count` heads from a hash on; blocks on LevelDB."""
        page = self.begin_keys(generation, from_hash, count)
        return page.finish(page.read() if page.read is not None else None)

    def begin_keys(self, generation: int, from_hash: int, count: int) -> PendingPage:
        """Read the tip's part of keys_step(); the rest is the caller's to run."""
        rows, next_hash, is_partial = scan_at(
            self._tip, generation, from_hash, count, self._commit_ts
        )
        end = HASH_END if next_hash is None else next_hash

        def read() -> StoredPart:
            with self._engine.snapshot() as reader:
                return _read_stored(reader, generation, from_hash, end, count, self._commit_ts)

        def finish(stored: StoredPart | None) -> KeysPage:
            seen: Seen = dict(stored.seen) if stored is not None else {}
            stop = stored.end if stored is not None else end
            for hash_, user_key, status, expire_at in rows:
                if hash_ >= stop:
                    break
                if status == PRESENT:
                    seen[hash_, user_key] = expire_at
                elif status != UNKNOWN:
                    seen.pop((hash_, user_key), None)
            keys = [key for (_, key), at in seen.items() if not 0 < at <= self._now_ms]
            return KeysPage(keys, None if stop == HASH_END else stop)

        return PendingPage(read if is_partial else None, finish)


def _read_stored(
    reader: Reader, generation: int, first: int, end: int, count: int, commit_ts: int
) -> StoredPart:
    """Read rows and history of the hashes [first, end), or of fewer when they are many."""
    rows, history, end = _read_rows(reader, generation, first, end, count)
    seen: Seen = {}
    for key, envelope in rows:
        _, hash_, user_key = split_head(key)
        if hash_ < end and stored_commit_ts(envelope) <= commit_ts:
            seen[hash_, user_key] = stored_deadline(envelope)[1]
    for key, old in history:
        head_key, old_ts = split_history(key)
        _, hash_, user_key = split_head(head_key)
        until, envelope = history_version(old)
        if hash_ < end and old_ts <= commit_ts < until:
            seen[hash_, user_key] = stored_deadline(envelope)[1]
    return StoredPart(seen, end)


Rows = list[tuple[bytes, bytes]]


def _read_rows(
    reader: Reader, generation: int, first: int, end: int, count: int
) -> tuple[Rows, Rows, int]:
    """Return rows, history rows and the hash up to which both are complete."""
    lo = head_start(generation, first)
    hi = head_end(generation) if end == HASH_END else head_start(generation, end)
    rows = reader.scan(lo, hi, count)
    history = reader.scan(b"Y" + lo, b"Y" + hi, count)
    if len(rows) == count:
        end = min(end, split_head(rows[-1][0])[1])
    if len(history) == count:
        end = min(end, split_head(split_history(history[-1][0])[0])[1])
    if end > first:
        return rows, history, end
    # One hash fills the page (many pins, or `count` of 1): all of it, and nothing else.
    assert count < SNAPSHOT_GROUP_ROWS_MAX
    if first + 1 == HASH_END:
        return _read_rows(reader, generation, first, HASH_END, SNAPSHOT_GROUP_ROWS_MAX)
    return _read_rows(reader, generation, first, first + 1, SNAPSHOT_GROUP_ROWS_MAX)
