"""What commands run on: memory, the sequencer, and what moves records between memory and LevelDB.

Sans-IO; everything here happens on the sequencer's thread. A state is built at a checkpoint and
thrown away as a whole: by a leader that is deposed with entries of which nobody knows whether they
are committed, and by an image that replaces the store. The replica says when.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from kvnode._core.sequencer import Sequencer
from kvnode._core.session import Session
from kvnode.base.limits import (
    CHECKPOINT_AGE_MS,
    CHECKPOINT_DIRTY_SHARE,
    CHECKPOINT_LOG_BYTES,
    DIRTY_SHARE_MAX,
    DIRTY_SHARE_SOFT,
)
from kvnode.storage.checkpoint import Checkpointer
from kvnode.storage.fetch import Fetch, Fetcher
from kvnode.storage.local import CheckpointRecord, Position


class Upkeep(Protocol):
    """Background work in bounded steps: see txn/housekeeping.py."""

    @property
    def wants_checkpoint(self) -> bool:
        """Whether it waits for a checkpoint that nobody else may ask for."""

    def step(self, now_ms: int, is_serving: bool) -> bool:
        """Do a little, of what goes through the log only if `is_serving`; True: there is more."""

    def statistics(self) -> dict[str, int]:
        """Return counters for INFO."""


@dataclass
class CheckpointRequest:
    """Somebody waits for the end of a checkpoint that begins after this."""

    done: Callable[[bool], None]
    index: int  # what it must cover
    started: bool = False


class State:
    """Memory and sequencer of a node, with its fetches and checkpoints.

    cache_bytes: bound of the tip; dirty records may be a part of it only.
    request_sync: has the log synced.   membership_at: index -> the membership there, as bytes.
    on_checkpoint: a checkpoint is durable, the log before it is not needed by this node.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        checkpointer: Checkpointer,
        fetcher: Fetcher,
        *,
        cache_bytes: int,
        request_sync: Callable[[], None],
    ) -> None:
        self.sequencer = sequencer
        self.tip = sequencer.tip
        self.view = sequencer.view
        self.checkpointer = checkpointer
        self.fetcher = fetcher
        self.cache_bytes = cache_bytes
        self.upkeep: list[Upkeep] = []
        self.fetched: list[Fetch] = []
        self.on_checkpoint: Callable[[CheckpointRecord], None] = lambda record: None
        self.membership_at: Callable[[int], bytes] = lambda index: b""
        self.is_upkeep_due = False  # a blocking call of it may have ended
        self._request_sync = request_sync
        self._requests: list[CheckpointRequest] = []
        self._log_bytes_at_checkpoint = 0
        self._now_ms = 0  # of the last background()
        self._checkpoint_began_ms = 0

    # -- passes ---------------------------------------------------------------------------------

    def completions_due(self) -> None:
        """Blocking calls have ended and were delivered: go on with what waited. In a pass."""
        for fetch in self.fetcher.take_ready():
            for key, part in fetch.ranges.items():
                if part.install(self.tip):
                    self.view.ranges[key] = (part.rows, part.next_hash, part.is_done)
            for waiter in fetch.waiters:
                if isinstance(waiter, Session):
                    self.sequencer.resume(waiter)
                else:
                    waiter()
            self.fetched.append(fetch)
        self._step_checkpoint()
        self.is_upkeep_due = True

    def after_pass(self) -> None:
        """Sessions were parked in the pass, or ran with what was fetched for them."""
        fetched, self.fetched = self.fetched, []
        for fetch in fetched:
            self.fetcher.release(fetch)
        sessions, keys, ranges = self.sequencer.take_parked()
        if sessions:
            self.fetcher.start(keys, ranges, sessions)

    # -- background -----------------------------------------------------------------------------

    def background(self, now_ms: int, is_serving: bool) -> bool:
        """Checkpoint, expiry, sweep: a bounded step of each, in a pass; True: there is more."""
        self._now_ms = now_ms
        self.is_upkeep_due = False
        self._step_checkpoint()
        more = False
        for work in self.upkeep:
            more |= work.step(now_ms, is_serving)
        return more

    def request_checkpoint(self, done: Callable[[bool], None]) -> bool:
        """Have a checkpoint made of everything up to now; done(ok) when it is. False: another
        request is being served; this one follows."""
        is_first = not self._requests
        self._requests.append(CheckpointRequest(done, self.sequencer.last_index))
        self._request_sync()
        self._step_checkpoint()
        return is_first

    def abandon(self) -> None:
        """The state is thrown away: whoever waits for a checkpoint is told that there is none."""
        requests, self._requests = self._requests, []
        for request in requests:
            request.done(False)

    def _step_checkpoint(self) -> None:
        record = self.checkpointer.step(self.sequencer.durable_index)
        if record is not None:
            self.on_checkpoint(record)
            finished = [request for request in self._requests if request.started]
            self._requests = [request for request in self._requests if not request.started]
            for request in finished:
                request.done(True)
        if not self.checkpointer.is_running and self._wants_checkpoint():
            self._begin_checkpoint()

    def _wants_checkpoint(self) -> bool:
        if self._requests:
            return self.sequencer.durable_index >= self._requests[0].index
        return (
            self.tip.dirty_bytes > self.cache_bytes * CHECKPOINT_DIRTY_SHARE
            or self.sequencer.payload_bytes - self._log_bytes_at_checkpoint > CHECKPOINT_LOG_BYTES
            or (self.tip.dirty_bytes > 0 and self._is_checkpoint_old())
            or any(work.wants_checkpoint for work in self.upkeep)
        )

    def _is_checkpoint_old(self) -> bool:
        return self._now_ms - self._checkpoint_began_ms > CHECKPOINT_AGE_MS

    def _begin_checkpoint(self) -> None:
        sequencer = self.sequencer
        for request in self._requests:
            request.started = request.index <= sequencer.durable_index
        at = Position(sequencer.durable_index, sequencer.durable_term, self.tip.durable)
        self._log_bytes_at_checkpoint = sequencer.payload_bytes
        self._checkpoint_began_ms = self._now_ms
        self.checkpointer.begin(at, self.view.first_unused_id, self.membership_at(at.index))
        self.checkpointer.step(sequencer.durable_index)

    def dirty_bytes_soft(self) -> int:
        """Dirty records above which clients are slowed down."""
        return int(self.cache_bytes * DIRTY_SHARE_SOFT)

    def dirty_bytes_max(self) -> int:
        """Dirty records above which clients are not read."""
        return int(self.cache_bytes * DIRTY_SHARE_MAX)

    def statistics(self) -> dict[str, Any]:
        """Counters for INFO."""
        counts: dict[str, Any] = {}
        for work in self.upkeep:
            counts |= work.statistics()
        return {
            **counts,
            **self.sequencer.statistics(),
            **self.tip.statistics(),
            **self.fetcher.statistics(),
            "checkpoints": self.checkpointer.finished,
            "checkpoint_running": int(bool(self._requests)),  # as asked for, see BGSAVE
            "checkpoint_index": self.checkpointer.last.at.index,
            "checkpoint_rows": self.checkpointer.rows_written,
        }
