"""What Python sees of the log: once per batch or event, never per command."""

from collections.abc import Sequence
from typing import Protocol

class _Start(Protocol):
    """Where the log goes on: kvnode.storage.log.LogStart."""

    @property
    def sequence(self) -> int: ...
    @property
    def segment_id(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    @property
    def chain(self) -> int: ...
    @property
    def last_term(self) -> int: ...
    @property
    def last_index(self) -> int: ...
    @property
    def last_commit_ts(self) -> int: ...
    @property
    def closed(self) -> Sequence[tuple[int, int]]: ...

class LogSink:
    """Where entries go; see logwriter.pxd for the native interface."""

    event_fd: int
    @property
    def bytes_queued(self) -> int:
        """Bytes submitted and not yet written."""

    def append(self, term: int, index: int, commit_ts: int, payload: bytes) -> None:
        """Queue one entry; never blocks. Entries come in log order."""

    def position(self) -> tuple[int, int, int, int, int]:
        """Return (written term, written index, synced term, synced index, errno)."""

    def sync(self) -> None:
        """Ask for a sync of what was submitted so far, in any mode."""

class PythonSink(LogSink):
    """A sink whose subclass is written in Python and says itself when entries are safe."""

    queued: int
    def on_submit(self, term: int, index: int, commit_ts: int, payload: bytes) -> None:
        """Take one entry. To be overridden."""

    def on_request_sync(self) -> None:
        """A checkpoint wants everything synced. To be overridden."""

    def set_written(self, term: int, index: int) -> None: ...
    def set_synced(self, term: int, index: int) -> None: ...
    def set_error(self, error: int) -> None: ...

class LogWriter(LogSink):
    """The log on the disk, written by a thread of its own.

    mode: "always" syncs before it reports an entry written; "everysec" reports it written when it
    is in the page cache and syncs once a second; "no" syncs when asked, and when a segment is full.
    After a failed write or sync nothing is written any more and position() names the errno.
    """

    def __init__(
        self,
        directory: str,
        start: _Start,
        *,
        segment_bytes: int,
        id_seed: int,
        mode: str = ...,
        mark_delay_ms: int = 100,
    ) -> None:
        """Go on where recovery says; id_seed as given to it. Raises StorageIOError.

        mark_delay_ms: idle time after which a record states that all is synced.
        """

    def append_inline(self, term: int, index: int, commit_ts: int, payload: bytes) -> bool:
        """Write and sync an entry on this thread if that is cheap; False: use append."""

    def set_mode(self, mode: str) -> None:
        """Change the mode; to "always" also syncs what is owed."""

    def cut(self, index: int) -> None:
        """Let whole segments go that hold nothing above `index`, which a checkpoint holds.

        Returns at once; done on a thread.
        """

    def wait_cut(self) -> int:
        """Wait until files are gone and made as asked; return the errno of a failure, or 0."""

    def statistics(self) -> dict[str, int]:
        """Return counters since start: syncs, sync_ns, sync_ns_max, sync_ns_average, groups,
        inline_groups, entries, bytes, marks, switches, segments, error."""

    def arm_failpoint(self, name: str, action: str, arg: int = 0, after: int = 0) -> None:
        """Debug builds: have a named place act once `after` hits have passed.

        name: before_write, after_write, before_sync, after_sync, segment_switch.
        action: off, exit (kill -9), error (arg = errno), delay (arg = ms), skip (a planted bug).
        """

    def close(self) -> None:
        """Write and sync what is queued, mark it, and end the threads."""
