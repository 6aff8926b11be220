"""Builds the state of a node: memory as of a recovered position, and all that works on it."""

from collections.abc import Callable, Sequence

from kvnode._core.dispatch import Dispatch
from kvnode._core.logwriter import LogSink
from kvnode._core.pubsub import PubSub
from kvnode._core.sequencer import Sequencer
from kvnode._core.transactions import Watches
from kvnode._core.view import View
from kvnode.storage.checkpoint import Checkpointer
from kvnode.storage.engine import Engine
from kvnode.storage.executor import Executor
from kvnode.storage.fetch import Fetcher
from kvnode.storage.local import LocalFacts
from kvnode.storage.recovery import Recovered
from kvnode.txn.housekeeping import Housekeeping
from kvnode.txn.state import State


def build_state(
    engine: Engine,
    facts: LocalFacts,
    recovered: Recovered,
    log: LogSink,
    dispatch: Dispatch,
    *,
    writer: Executor,
    readers: Sequence[Executor],
    cache_bytes: int,
    steps_max: int | None = None,
    on_step: Callable[[str], None] | None = None,
    prepare: Callable[[View], None] = lambda view: None,
) -> State:
    """Return a state that shows what was recovered; it neither serves nor follows yet.

    writer: the executor of all writes to the engine. readers: those of reads.
    steps_max: the step budget of a command or EXEC; None: the usual one.
    on_step: see Checkpointer. prepare: what else a view needs before commands run.
    """
    tip, last = recovered.tip, recovered.last
    options = {} if steps_max is None else {"steps_max": steps_max}
    view = View(tip, recovered.next_id, **options)
    view.connect(dispatch, Watches(tip))
    prepare(view)
    sequencer = Sequencer(
        tip, view, dispatch, log, last.term, last.index, last.index, last.commit_ts, last.term
    )
    PubSub(sequencer).connect()
    checkpointer = Checkpointer(
        tip,
        engine,
        writer,
        last=facts.checkpoint,
        high_water=recovered.high_water,
        on_step=on_step,
    )
    fetcher = Fetcher(tip, engine, readers)
    state = State(sequencer, checkpointer, fetcher, cache_bytes=cache_bytes, request_sync=log.sync)
    state.upkeep.append(
        Housekeeping(
            sequencer,
            engine,
            checkpointer,
            recovered,
            fetcher,
            writer=writer,
            reader=readers[-1],
        )
    )
    return state
