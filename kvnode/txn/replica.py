"""One node's replicated state: sequencer, Raft, log and LevelDB put together. Sans-IO.

The host (server/node.py, or a test on simulated parts) runs passes, delivers completions of
blocking calls, and calls `background` regularly; everything here happens on the sequencer's thread.
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
from kvnode.raft.core import RaftCore
from kvnode.raft.ready import Ready, Role
from kvnode.storage.checkpoint import Checkpointer
from kvnode.storage.fetch import Fetch, Fetcher
from kvnode.storage.local import Position


class Log(Protocol):
    """What a replica needs of the log beside the native LogSink."""

    def cut(self, index: int) -> None:
        """Let entries up to `index` go: a checkpoint holds them."""

    def sync(self) -> None:
        """Sync what was submitted so far, in any mode."""


class Upkeep(Protocol):
    """Background work in bounded steps: see txn/housekeeping.py."""

    @property
    def wants_checkpoint(self) -> bool:
        """Whether it waits for a checkpoint that nobody else may ask for."""

    def step(self, now_ms: int) -> bool:
        """Do a little; True when there is more to do at once."""

    def statistics(self) -> dict[str, int]:
        """Return counters for INFO."""


@dataclass
class CheckpointRequest:
    """Somebody waits for the end of a checkpoint that begins after this."""

    done: Callable[[bool], None]
    index: int  # what it must cover
    started: bool = False


class Replica:
    """The replicated state of a node and what keeps it going.

    store_hard_state: makes (term, vote) durable before it returns.
    cache_bytes: bound of the tip; dirty records may be a part of it only.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        raft: RaftCore,
        log: Log,
        checkpointer: Checkpointer,
        fetcher: Fetcher,
        *,
        store_hard_state: Callable[[int, int], None],
        cache_bytes: int,
    ) -> None:
        self.sequencer = sequencer
        self.tip = sequencer.tip
        self.view = sequencer.view
        self.raft = raft
        self.log = log
        self.checkpointer = checkpointer
        self.fetcher = fetcher
        self.cache_bytes = cache_bytes
        self.before_log_cut: Callable[[], None] = lambda: None  # failures on purpose
        self.upkeep: list[Upkeep] = []
        self.fetched: list[Fetch] = []
        self._store_hard_state = store_hard_state
        self._appended = raft.log.last_index
        self._requests: list[CheckpointRequest] = []
        self._log_bytes_at_checkpoint = 0
        self._now_ms = 0  # of the last background()
        self._checkpoint_began_ms = 0
        self.is_upkeep_due = False  # a blocking call of it may have ended
        sequencer.on_stable = self._on_stable

    # -- Raft -----------------------------------------------------------------------------------

    def lead(self) -> None:
        """Become the leader of a group of one: the node serves once its own entry is committed."""
        self.raft.campaign()
        self._run_raft()

    @property
    def is_serving(self) -> bool:
        """Whether commands may run."""
        return self.raft.is_serving

    def _on_stable(self, term: int, index: int) -> int:
        """The own log has (term, index), once per completed sync; return what is committed."""
        self._tell_appended()
        self.raft.note_synced(term, index)
        if self.raft.has_ready():
            self._run_raft()
        return self.raft.committed

    def _tell_appended(self) -> None:
        last = self.sequencer.last_index
        if last > self._appended:
            self.raft.note_appended(self.sequencer.term, self._appended + 1, last)
            self._appended = last

    def _run_raft(self) -> None:
        """Do what Raft asks for, in the order in which it is safe."""
        while self.raft.has_ready():
            ready: Ready = self.raft.ready()
            if ready.hard_state is not None:
                self._store_hard_state(ready.hard_state.term, ready.hard_state.vote)
            if ready.fence_index:
                assert ready.role is Role.LEADER
                self.sequencer.term = ready.term
                index = self.sequencer.propose_empty()
                assert index == ready.fence_index, "the first entry of a term is not the fence"
                self._tell_appended()
            self.raft.advance(ready)

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

    def background(self, now_ms: int) -> bool:
        """Checkpoint, expiry, sweep: a bounded step of each, in a pass; True: there is more."""
        self._now_ms = now_ms
        self.is_upkeep_due = False
        self._step_checkpoint()
        more = False
        for work in self.upkeep if self.is_serving else ():
            more |= work.step(now_ms)
        return more

    def request_checkpoint(self, done: Callable[[bool], None]) -> bool:
        """Have a checkpoint made of everything up to now; done(ok) when it is. False: another
        request is being served; this one follows."""
        is_first = not self._requests
        self._requests.append(CheckpointRequest(done, self.sequencer.last_index))
        self.log.sync()
        self._step_checkpoint()
        return is_first

    def _step_checkpoint(self) -> None:
        record = self.checkpointer.step(self.sequencer.durable_index)
        if record is not None:
            self.before_log_cut()
            self.log.cut(record.at.index)
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
        self.checkpointer.begin(at, self.view.first_unused_id)
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
