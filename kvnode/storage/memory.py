"""An Engine in memory that loses on a crash what LevelDB may lose.

Rows are written into numbered log files. A synced write makes the file that it is in durable, not
the files before it; compact_memtable() makes everything durable. crash() keeps of the rest what
the caller says, batch by batch.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from kvnode.base.errors import StorageIOError
from kvnode.storage.engine import EngineStatistics, Reader, Row

LOG_FILE_BYTES = 64 * 1024  # small, so that tests see many files

Survives = Callable[[int, int], bool]  # (log file, batch in it) -> it is on the disk


class _Table:
    """Rows in key order."""

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self.rows = rows
        self.keys = sorted(rows)

    def apply(self, batch: Iterable[Row]) -> None:
        for key, value in batch:
            if value is None:
                if self.rows.pop(key, None) is not None:
                    del self.keys[bisect_left(self.keys, key)]
            else:
                if key not in self.rows:
                    insort(self.keys, key)
                self.rows[key] = value

    def between(self, lo: bytes, hi: bytes | None) -> Iterator[bytes]:
        first = bisect_left(self.keys, lo)
        last = len(self.keys) if hi is None else bisect_left(self.keys, hi)
        return islice(self.keys, first, max(first, last))


class MemoryReader:
    """Reads of a table."""

    def __init__(self, table: _Table) -> None:
        self._table = table

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self._table.rows.get(key) for key in keys]

    def scan(self, lo: bytes, hi: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        keys = islice(self._table.between(lo, hi), limit)
        return [(key, self._table.rows[key]) for key in keys]

    def scan_back(self, lo: bytes, hi: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        keys = list(self._table.between(lo, hi))[: -limit - 1 : -1]
        return [(key, self._table.rows[key]) for key in keys]

    def scan_part(
        self, lo: bytes, hi: bytes | None, limit: int, bytes_max: int, *, is_backward: bool = False
    ) -> tuple[list[tuple[bytes, bytes]], bool]:
        rows = (self.scan_back if is_backward else self.scan)(lo, hi, limit)
        size = 0
        for count, (key, value) in enumerate(rows, 1):
            size += len(key) + len(value)
            if size >= bytes_max:
                return rows[:count], False
        return rows, len(rows) < limit

    def scan_keys(self, lo: bytes, hi: bytes | None, limit: int) -> list[bytes]:
        return list(islice(self._table.between(lo, hi), limit))


class MemoryEngine(MemoryReader):
    """An engine of its own, or what a crash left of one.

    log_file_bytes: after so many bytes the next log file begins.
    """

    def __init__(
        self, rows: dict[bytes, bytes] | None = None, *, log_file_bytes: int = LOG_FILE_BYTES
    ) -> None:
        super().__init__(_Table(dict(rows or {})))
        self._log_file_bytes = log_file_bytes
        self._durable = dict(rows or {})
        self._files: list[list[tuple[Row, ...]]] = [[]]  # batches that are in no table yet
        self._synced: list[int] = [0]  # leading batches of each file that are durable
        self._file_bytes = 0
        self._is_open = True

    def write(self, rows: Iterable[Row], *, sync: bool = False) -> None:
        if not self._is_open:
            raise StorageIOError("the engine is closed")
        batch = tuple(rows)
        size = sum(len(key) + len(value or b"") for key, value in batch)
        if self._file_bytes + size > self._log_file_bytes and self._files[-1]:
            self._files.append([])
            self._synced.append(0)
            self._file_bytes = 0
        self._files[-1].append(batch)
        self._file_bytes += size
        self._table.apply(batch)
        if sync:
            self._synced[-1] = len(self._files[-1])

    def compact_memtable(self) -> None:
        if not self._is_open:
            raise StorageIOError("the engine is closed")
        self._durable = dict(self._table.rows)
        self._files = [[]]
        self._synced = [0]
        self._file_bytes = 0

    def compact_range(self, lo: bytes, hi: bytes) -> None:
        """Nothing to do: deleted rows leave no trace here."""

    def approximate_bytes(self, lo: bytes, hi: bytes) -> int:
        return sum(len(key) + len(self._table.rows[key]) for key in self._table.between(lo, hi))

    @contextmanager
    def snapshot(self) -> Iterator[Reader]:
        yield MemoryReader(_Table(dict(self._table.rows)))

    def statistics(self) -> EngineStatistics:
        size = sum(map(len, self._table.rows.values())) + sum(map(len, self._table.keys))
        return EngineStatistics(level0_files=0, table_files=0, table_bytes=size, text="memory")

    def close(self) -> None:
        self._is_open = False

    def crash(self, survives: Survives) -> "MemoryEngine":
        """Lose power; return what the next start opens.

        survives(file, batch) is asked for every batch that no sync covers.
        """
        self._is_open = False
        table = _Table(dict(self._durable))
        for number, batches in enumerate(self._files):
            for position, batch in enumerate(batches):
                if position < self._synced[number] or survives(number, position):
                    table.apply(batch)
        return MemoryEngine(table.rows, log_file_bytes=self._log_file_bytes)
