"""The ordered store behind the tip, as the rest of the node sees it.

An engine is synchronous and knows nothing of records: keys and values are bytes, ordered by key.
What `write` was given is in the store at once and durable only after compact_memtable(): a synced
write says nothing about the writes before it (LevelDB closes a full log without syncing it).
Calls may come from any thread, one writer at a time.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from kvnode.base.limits import (
    ENGINE_BLOCK_BYTES,
    ENGINE_BLOOM_BITS,
    ENGINE_CACHE_BYTES,
    ENGINE_CACHE_BYTES_MAX,
    ENGINE_CACHE_BYTES_MIN,
    ENGINE_OPEN_FILES_MAX,
    ENGINE_TABLE_BYTES,
    ENGINE_WRITE_BUFFER_BYTES,
)

Row = tuple[bytes, bytes | None]  # a value of None deletes the key

CUT_BYTES = 24  # leading bytes of a key that say where a compaction is cut


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How LevelDB works; nothing here changes what is stored."""

    write_buffer_bytes: int = ENGINE_WRITE_BUFFER_BYTES
    block_bytes: int = ENGINE_BLOCK_BYTES
    cache_bytes: int = ENGINE_CACHE_BYTES
    bloom_bits: int = ENGINE_BLOOM_BITS  # per key; a miss costs no disk read
    open_files_max: int = ENGINE_OPEN_FILES_MAX
    table_bytes: int = ENGINE_TABLE_BYTES
    is_compressed: bool = False  # Snappy of plyvel's wheel takes 40 % of a compaction's time


def options_for(cache_bytes: int) -> EngineOptions:
    """Return options whose memory is a small part of what the tip may use."""
    share = min(max(cache_bytes // 16, ENGINE_CACHE_BYTES_MIN), ENGINE_CACHE_BYTES_MAX)
    return EngineOptions(
        cache_bytes=share, write_buffer_bytes=min(share, ENGINE_WRITE_BUFFER_BYTES)
    )


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """How the store is doing; for INFO and for the decision to slow down."""

    level0_files: int  # many of them: compaction is behind, writes will stall
    table_files: int
    table_bytes: int
    text: str  # the engine's own report, for people


class Reader(Protocol):
    """Reads of one state of the store. Every read verifies checksums."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, None where there is none. Raises CorruptionError."""

    def scan(self, lo: bytes, hi: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` rows with lo <= key < hi in key order; hi None = to the end."""

    def scan_back(self, lo: bytes, hi: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the last `limit` rows with lo <= key < hi, the highest key first."""

    def scan_part(
        self, lo: bytes, hi: bytes | None, limit: int, bytes_max: int, *, is_backward: bool = False
    ) -> tuple[list[tuple[bytes, bytes]], bool]:
        """scan() or scan_back() that ends, too, with the row that makes it `bytes_max` bytes.

        Returns the rows, and whether there are no more.
        """

    def scan_keys(self, lo: bytes, hi: bytes | None, limit: int) -> list[bytes]:
        """Like scan, keys only; leaves the block cache as it is."""


class Engine(Reader, Protocol):
    """An ordered store in a directory that nobody else has open."""

    def write(self, rows: Iterable[Row], *, sync: bool = False) -> None:
        """Apply all rows or none. sync: these rows are durable when it returns.

        Raises StorageIOError.
        """

    def compact_memtable(self) -> None:
        """Make everything written so far durable."""

    def compact_range(self, lo: bytes, hi: bytes) -> None:
        """Rewrite the tables between two keys, without what was deleted or replaced."""

    def approximate_bytes(self, lo: bytes, hi: bytes) -> int:
        """Return about how many bytes of tables lie between two keys."""

    def snapshot(self) -> AbstractContextManager[Reader]:
        """Return a reader of the present state, to be used in a `with` and not after it."""

    def statistics(self) -> EngineStatistics:
        """Return counters."""

    def close(self) -> None:
        """Release the directory. What was not made durable may be lost."""


def compaction_ranges(
    engine: Engine, lo: bytes, hi: bytes, bytes_max: int
) -> Iterator[tuple[bytes, bytes]]:
    """Cut [lo, hi) into ranges of about `bytes_max` bytes of tables, to be compacted one by one.

    Halves a range, its ends read as numbers, until it is small enough; empty halves are left out.
    """
    first = int.from_bytes(lo.ljust(CUT_BYTES, b"\0")[:CUT_BYTES])
    end = int.from_bytes(hi.ljust(CUT_BYTES, b"\0")[:CUT_BYTES])
    pending = [(first, end)]
    while pending:
        first, end = pending.pop()
        bounds = first.to_bytes(CUT_BYTES), end.to_bytes(CUT_BYTES)
        size = engine.approximate_bytes(*bounds)
        if size > bytes_max and end - first > 1:
            middle = (first + end) // 2
            pending += [(middle, end), (first, middle)]
        elif size:
            yield bounds
