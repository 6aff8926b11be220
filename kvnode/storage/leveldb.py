"""LevelDB as an Engine; the only importer of plyvel.

Each plyvel call takes and drops the GIL, so callers move batches of a few hundred rows.
`compact_range()` without bounds compacts the memtable alone and syncs it; with bounds, tables too.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import plyvel

from kvnode.base.errors import CorruptionError, DirectoryInUseError, StorageIOError
from kvnode.storage.disk import sync_directory
from kvnode.storage.engine import EngineOptions, EngineStatistics, Reader, Row


@contextmanager
def _reported(path: str) -> Iterator[None]:
    """Turn plyvel's errors into ours."""
    try:
        yield
    except plyvel.CorruptionError as error:
        raise CorruptionError(f"LevelDB in {path}: {_text(error)}") from error
    except plyvel.Error as error:
        raise StorageIOError(f"LevelDB in {path}: {_text(error)}") from error


def _text(error: Exception) -> str:
    detail = error.args[0] if error.args else ""
    return detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)


class LevelDBReader:
    """Reads of a database or of a snapshot of one."""

    def __init__(self, path: str, source: "plyvel.DB | plyvel.Snapshot") -> None:
        self._path = path
        self._source = source

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        get = self._source.get
        with _reported(self._path):
            return [get(key, verify_checksums=True) for key in keys]

    def scan(self, lo: bytes, hi: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        with (
            _reported(self._path),
            self._source.iterator(start=lo, stop=hi, verify_checksums=True) as rows,
        ):
            return list(islice(rows, limit))

    def scan_back(self, lo: bytes, hi: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        with (
            _reported(self._path),
            self._source.iterator(start=lo, stop=hi, reverse=True, verify_checksums=True) as rows,
        ):
            return list(islice(rows, limit))

    def scan_part(
        self, lo: bytes, hi: bytes | None, limit: int, bytes_max: int, *, is_backward: bool = False
    ) -> tuple[list[tuple[bytes, bytes]], bool]:
        part: list[tuple[bytes, bytes]] = []
        size = 0
        with (
            _reported(self._path),
            self._source.iterator(
                start=lo, stop=hi, reverse=is_backward, verify_checksums=True, fill_cache=False
            ) as rows,
        ):
            for row in islice(rows, limit):
                part.append(row)
                size += len(row[0]) + len(row[1])
                if size >= bytes_max:
                    return part, False
        return part, len(part) < limit

    def scan_keys(self, lo: bytes, hi: bytes | None, limit: int) -> list[bytes]:
        with (
            _reported(self._path),
            self._source.iterator(
                start=lo, stop=hi, include_value=False, verify_checksums=True, fill_cache=False
            ) as keys,
        ):
            return list(islice(keys, limit))


class LevelDBEngine(LevelDBReader):
    """An open database directory, made if it is absent (its parent must exist).

    is_healed: LevelDB's own log was damaged and the damaged part is gone. After a power loss that
    is to be expected: what counted on it is replayed from the node's log, and recovery notices if
    it cannot be.
    Raises DirectoryInUseError, CorruptionError, StorageIOError.
    """

    def __init__(self, path: str, options: EngineOptions | None = None) -> None:
        self._options = options or EngineOptions()
        self.is_healed = False
        try:
            db = self._open(path, is_paranoid=True)
        except CorruptionError:
            # Paranoid, LevelDB refuses a log of its own with lost pages; lenient, it drops the
            # batches in them, but then would compact damaged tables without a look at checksums.
            self._open(path, is_paranoid=False).close()
            db = self._open(path, is_paranoid=True)
            self.is_healed = True
        super().__init__(path, db)
        self._db = db
        sync_directory(os.path.dirname(os.path.abspath(path)))

    def _open(self, path: str, *, is_paranoid: bool) -> plyvel.DB:
        options = self._options
        try:
            with _reported(path):
                return plyvel.DB(
                    path,
                    create_if_missing=True,
                    paranoid_checks=is_paranoid,
                    write_buffer_size=options.write_buffer_bytes,
                    max_open_files=options.open_files_max,
                    lru_cache_size=options.cache_bytes,
                    block_size=options.block_bytes,
                    max_file_size=options.table_bytes,
                    compression="snappy" if options.is_compressed else None,
                    bloom_filter_bits=options.bloom_bits,
                )
        except StorageIOError as error:
            if "IO error: lock " in str(error):
                raise DirectoryInUseError(
                    f"{path} is in use by another kvnode: stop it, or name another data directory"
                ) from error
            raise

    def write(self, rows: Iterable[Row], *, sync: bool = False) -> None:
        with _reported(self._path):
            batch = self._db.write_batch(sync=sync)
            put, delete = batch.put, batch.delete
            for key, value in rows:
                if value is None:
                    delete(key)
                else:
                    put(key, value)
            batch.write()
        if sync:
            sync_directory(self._path)  # LevelDB does it for manifests only

    def compact_memtable(self) -> None:
        """See Engine. A failure inside LevelDB shows at the next write, never as silence."""
        with _reported(self._path):
            self._db.compact_range()
        sync_directory(self._path)

    def compact_range(self, lo: bytes, hi: bytes) -> None:
        with _reported(self._path):
            self._db.compact_range(start=lo, stop=hi)

    def approximate_bytes(self, lo: bytes, hi: bytes) -> int:
        return int(self._db.approximate_size(lo, hi))

    @contextmanager
    def snapshot(self) -> Iterator[Reader]:
        with self._db.snapshot() as snapshot:
            yield LevelDBReader(self._path, snapshot)

    def statistics(self) -> EngineStatistics:
        level0 = self._property(b"leveldb.num-files-at-level0")
        text = self._property(b"leveldb.stats")
        # Rows of the report: level, files, size in MB, seconds, MB read, MB written.
        rows = [line.split() for line in text.splitlines()]
        levels = [row for row in rows if len(row) == 6 and row[0].isdigit()]
        return EngineStatistics(
            level0_files=int(level0 or 0),
            table_files=sum(int(row[1]) for row in levels),
            table_bytes=sum(int(float(row[2]) * (1 << 20)) for row in levels),
            text=text,
        )

    def close(self) -> None:
        self._db.close()

    def _property(self, name: bytes) -> str:
        value = self._db.get_property(name)
        return value.decode() if value else ""
