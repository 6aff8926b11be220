"""Opening a data directory: LevelDB, the log, Raft's hard state, and the recovered replica.

    db/          LevelDB            log/         segments of the log
    raft.state   term, vote and identity
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kvnode._core.dispatch import Dispatch
from kvnode._core.logwriter import LogWriter
from kvnode._core.sequencer import Sequencer
from kvnode._core.transactions import Watches
from kvnode._core.view import View
from kvnode.base.errors import CorruptionError, StorageIOError
from kvnode.base.limits import SEGMENT_BYTES
from kvnode.raft.core import RaftCore
from kvnode.raft.log_terms import LogTerms
from kvnode.raft.membership import Membership, MembershipLog
from kvnode.raft.messages import HardState
from kvnode.scripting import runtime
from kvnode.server.failpoints import Failpoints
from kvnode.storage.checkpoint import Checkpointer
from kvnode.storage.disk import OsDisk
from kvnode.storage.engine import options_for
from kvnode.storage.executor import Executor
from kvnode.storage.fetch import Fetcher
from kvnode.storage.hard_state import HardStateFile, create_hard_state
from kvnode.storage.leveldb import LevelDBEngine
from kvnode.storage.local import open_facts
from kvnode.storage.log_recovery import open_replay, recover_log
from kvnode.storage.recovery import recover
from kvnode.txn.housekeeping import Housekeeping
from kvnode.txn.replica import Replica

SOLE_NODE = 1  # id of the only voter of a group of one


@dataclass
class Opened:
    """An open data directory."""

    replica: Replica
    engine: LevelDBEngine
    log: LogWriter
    hard_state: HardStateFile
    replayed_entries: int
    is_torn: bool

    def close(self) -> None:
        """Write and sync what is queued, and release the directory."""
        self.log.close()
        self.hard_state.close()
        self.engine.close()


def open_data(
    directory: Path,
    *,
    appendfsync: str,
    cache_bytes: int,
    make_dispatch: Callable[[], Dispatch],
    writer: Executor,
    readers: Sequence[Executor],
    failpoints: Failpoints,
) -> Opened:
    """Recover the node's state from `directory`, which is made if it is absent.

    Raises StorageError: the directory is in use, damaged, or of a newer kvnode.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageIOError(f"cannot use {directory}: {error.strerror}") from error
    engine = LevelDBEngine(str(directory / "db"), options_for(cache_bytes))
    disk = OsDisk()
    facts = open_facts(engine, identity=os.urandom(16), hash_key=os.urandom(16))
    hard_state = _open_hard_state(disk, directory / "raft.state", facts.identity)
    id_seed = int.from_bytes(os.urandom(8))
    log_directory = str(directory / "log")
    recovered_log = recover_log(
        disk,
        log_directory,
        checkpoint_index=facts.checkpoint.at.index,
        segment_bytes=SEGMENT_BYTES,
        id_seed=id_seed,
    )
    first = facts.checkpoint.at.index + 1
    entries = open_replay(disk, log_directory, recovered_log, first, recovered_log.last_index)
    recovered = recover(engine, facts, entries)
    log = LogWriter(
        log_directory,
        recovered_log.start,
        segment_bytes=SEGMENT_BYTES,
        id_seed=id_seed,
        mode=appendfsync,
    )
    failpoints.arm(log)
    if hard_state.state.term < recovered_log.start.last_term:
        raise CorruptionError(
            f"{directory / 'raft.state'} knows term {hard_state.state.term}, the log has entries "
            f"of term {recovered_log.start.last_term}: they are not of one node, or one was "
            "restored from an older copy"
        )
    raft = RaftCore(
        SOLE_NODE,
        MembershipLog(Membership.of_voters([SOLE_NODE])),
        HardState(hard_state.state.term, hard_state.state.vote),
        LogTerms(recovered_log.terms(), recovered_log.last_index),
        committed=facts.checkpoint.at.index,
        random_ticks=lambda n: os.urandom(1)[0] % n,
    )
    tip = recovered.tip
    view = View(tip, recovered.next_id)
    dispatch = make_dispatch()
    view.connect(dispatch, Watches(tip))
    runtime.connect(view)
    sequencer = Sequencer(
        tip,
        view,
        dispatch,
        log,
        raft.term,
        recovered.last.index,
        recovered.last.index,
        recovered.last.commit_ts,
        recovered.last.term,
    )
    sequencer.relaxed = appendfsync != "always"
    checkpointer = Checkpointer(
        tip,
        engine,
        writer,
        last=facts.checkpoint,
        high_water=recovered.high_water,
        on_step=failpoints.reached,
    )
    replica = Replica(
        sequencer,
        raft,
        log,
        checkpointer,
        Fetcher(tip, engine, readers),
        store_hard_state=hard_state.store,
        cache_bytes=cache_bytes,
    )
    replica.upkeep.append(
        Housekeeping(
            sequencer,
            engine,
            checkpointer,
            recovered,
            replica.fetcher,
            writer=writer,
            reader=readers[-1],
        )
    )
    replica.before_log_cut = lambda: failpoints.reached("before_log_cut")
    return Opened(
        replica, engine, log, hard_state, recovered.replayed_entries, recovered_log.is_torn
    )


def _open_hard_state(disk: OsDisk, path: Path, identity: bytes) -> HardStateFile:
    if not path.exists():
        if any((path.parent / "log").glob("*.seg")):
            raise CorruptionError(
                f"{path} is missing, but there is a log: this node no longer knows how it voted. "
                "Restore the file, or the whole data directory, from a backup"
            )
        return create_hard_state(disk, str(path), SOLE_NODE, identity)
    return HardStateFile(disk, str(path))
