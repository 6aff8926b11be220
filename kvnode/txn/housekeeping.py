"""Housekeeping: the sweepers of the store, and the entries that their findings ask for.

Dead rows, history and deltas are each node's own matter. What is to die is the leader's, and goes
through the log: deadlines that have passed, and what somebody has begun and will never publish.
"""

from kvnode._core.publish import bury_pending
from kvnode._core.sequencer import Sequencer
from kvnode._core.upkeep import sweep_collections
from kvnode.base.limits import SWEEP_ENTRIES_PER_STEP
from kvnode.storage.checkpoint import Checkpointer
from kvnode.storage.compact import DeltaCompactor
from kvnode.storage.engine import Engine
from kvnode.storage.executor import Executor
from kvnode.storage.expiry import ExpirySweeper
from kvnode.storage.fetch import Fetcher
from kvnode.storage.field_expiry import FieldSweeper
from kvnode.storage.history import HistorySweeper
from kvnode.storage.recovery import Recovered
from kvnode.storage.sweep import TrashSweeper


class Housekeeping:
    """Expired heads, trash, history and deltas; an Upkeep of the replica.

    writer: the executor of all writes to the engine; reader: one for reads.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        engine: Engine,
        checkpointer: Checkpointer,
        recovered: Recovered,
        fetcher: Fetcher,
        *,
        writer: Executor,
        reader: Executor,
    ) -> None:
        tip, staging = sequencer.tip, sequencer.view.staging
        self._sequencer = sequencer
        self._checkpointer = checkpointer
        self._checkpoints = checkpointer.finished
        self.expiry = ExpirySweeper(tip, engine, reader, writer)
        self.fields = FieldSweeper(tip, engine, reader, writer)
        self.trash = TrashSweeper(
            tip,
            engine,
            writer,
            checkpointer,
            recovered.high_water,
            is_staged=staging.__contains__,
            is_read=sequencer.view.readers.__contains__,
        )
        self.history = HistorySweeper(tip, engine, writer)
        self.deltas = DeltaCompactor(tip, engine, reader, fetcher)

    @property
    def wants_checkpoint(self) -> bool:
        """Whether memory waits for a checkpoint."""
        return self.trash.wants_checkpoint

    def step(self, now_ms: int, is_serving: bool) -> bool:
        """Do a bounded piece of everything, in a pass; True: there is more to do at once."""
        sequencer = self._sequencer
        self.trash.step(sequencer.durable_index)
        left = self.trash.take_left()
        self.history.step()
        if not sequencer.tip.mixed_until:  # else what is read may be ahead of what is applied
            self.deltas.step(now_ms)
        has_more = bool(sweep_collections(sequencer.tip, SWEEP_ENTRIES_PER_STEP))
        if is_serving:
            for id_ in left:
                bury_pending(sequencer, id_)
            has_more |= self._expire(now_ms)
        else:
            self.expiry.rest()
            self.fields.rest()
        return has_more or self.trash.has_more

    def _expire(self, now_ms: int) -> bool:
        """Delete what is past its deadline, through the log; True: there is more to do at once."""
        sequencer = self._sequencer
        if self._checkpointer.finished != self._checkpoints:
            self._checkpoints = self._checkpointer.finished
            self.expiry.rewind()
            self.fields.rewind()
        has_more = False
        if sequencer.view.expiry_active:
            for sweeper in (self.expiry, self.fields):
                if expired := sweeper.step(now_ms):
                    sequencer.expire_records(expired)
                has_more |= sweeper.has_more(now_ms)
        return has_more

    def statistics(self) -> dict[str, int]:
        """Return counters for INFO."""
        return {
            **self.trash.statistics(),
            "expiry_rows_dropped": self.expiry.rows_dropped + self.fields.rows_dropped,
            "expiry_rows_refiled": self.expiry.rows_refiled + self.fields.rows_refiled,
            "history_rows_dropped": self.history.rows_deleted,
            "heads_read_to_fold": self.deltas.heads_asked,
        }
