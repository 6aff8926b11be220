"""A log for simulations: entries become written and synced only when the test says so."""

from collections import deque

from kvnode._core.logwriter import PythonSink
from kvnode.storage.log import Entry, SegmentWriter


class SimLog(PythonSink):
    """A LogSink without a thread; with a `writer`, entries reach its (simulated) disk as well."""

    def __init__(self, writer: SegmentWriter | None = None) -> None:
        super().__init__()
        self._writer = writer
        self.pending: deque[Entry] = deque()
        self.syncs_wanted = 0

    def on_submit(self, term: int, index: int, commit_ts: int, payload: bytes) -> None:
        self.pending.append(Entry(term, index, commit_ts, payload))
        self.queued += len(payload)

    def on_request_sync(self) -> None:
        self.syncs_wanted += 1

    def write(self, n: int | None = None) -> Entry | None:
        """Write the oldest `n` entries (None: all) as one group; return the last of them."""
        count = len(self.pending) if n is None else min(n, len(self.pending))
        group = [self.pending.popleft() for _ in range(count)]
        if not group:
            return None
        self.queued -= sum(len(entry.payload) for entry in group)
        if self._writer is not None:
            self._writer.write_group(group)
        self.set_written(group[-1].term, group[-1].index)
        return group[-1]

    def complete(self, n: int | None = None) -> None:
        """Write the oldest `n` entries (None: all) as one group and sync them."""
        if self.write(n) is not None:
            self.sync_written()

    def sync_written(self) -> None:
        """Sync all that is written."""
        if self._writer is not None:
            self._writer.sync()
        term, index, *_ = self.position()
        self.set_synced(term, index)

    def fail(self, error: int) -> None:
        """Fail as a disk does; nothing completes any more."""
        self.pending.clear()
        self.set_error(error)
