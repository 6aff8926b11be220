"""Optimistic transactions: programs that run beside the sequencer and take effect on it at once.

A transaction waits for its fence, an empty entry appended after it arrived: the commit of that
proves leadership and covers what came before on any connection. Then it runs on a snapshot pinned
at that moment, and the sequencer compares what it read with everything committed or speculative
since. If something has changed it runs again from its start, behind a new fence. After
OPTIMISTIC_TRIES_MAX tries it reserves the keys that it has touched; one transaction at a time does.

Large collections that it has made are written before, in as many passes as they take; the pass of
the commit publishes them with their heads.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum, auto

from kvnode._core.commit import COMMITTED, CONFLICT, commit, is_stale
from kvnode._core.publish import Publication
from kvnode._core.session import Session
from kvnode.base.errors import WorkspaceFullError
from kvnode.base.limits import (
    OPTIMISTIC_TRIES_MAX,
    PUBLISH_UNSYNCED_BYTES_MAX,
    RESERVED_TRIES_MAX,
    TRANSACTION_WRITE_BYTES_MAX,
    TRANSACTIONS_MEMORY_BYTES_MIN,
    TRANSACTIONS_MEMORY_SHARE,
    TRANSACTIONS_OPEN_MAX,
)
from kvnode.storage.engine import Engine
from kvnode.storage.executor import Executor
from kvnode.txn.attempt import Attempt
from kvnode.txn.program import Program
from kvnode.txn.state import State

CONFLICTS = b"ERR the transaction met changes of others each time it ran; nothing of it is done"
TOO_LARGE = b"ERR the transaction writes too much at once; nothing of it is done"
NO_ROOM = b"ERR the transaction needs more memory than one may take; nothing of it is done"


class Stage(Enum):
    """What a transaction waits for."""

    FENCE = auto()  # the commit of its fence
    RUNNING = auto()  # its program, or reads for it
    COMMITTING = auto()  # a pass, or the end of another's reservation
    FETCHING = auto()  # records that the comparison needs
    FULL = auto()  # the end of all others that hold memory
    QUEUED = auto()  # its turn to reserve
    ENDED = auto()


class Transaction:
    """One program of a waiting session. Made by Transactions.begin()."""

    def __init__(self, owner: "Transactions", session: Session, program: Program) -> None:
        self.session = session
        self.stage = Stage.FENCE
        self.tries = 0
        self.attempt: Attempt | None = None
        self._owner = owner
        self._program = program
        self._fence_index = 0
        self._is_running = False
        self._is_alone = False  # no other took memory as it last ran
        self._publication: Publication | None = None
        self._error: BaseException | None = None
        self.renew()

    def renew(self) -> None:
        """Begin a try: append its fence."""
        self.tries += 1
        self._fence_index = self._owner.state.sequencer.propose_empty()
        self.stage = Stage.FENCE

    @property
    def is_waiting(self) -> bool:
        """Whether a completion or another transaction has to come first."""
        if self._error is not None:
            return False
        if self.stage is Stage.FENCE:
            return not self._owner.has_room_for(self)  # the log's report wakes nobody: look again
        if self.stage is Stage.FULL:
            return not self._owner.is_next_alone(self)
        return self.stage is not Stage.COMMITTING or self._is_held

    def step(self) -> None:
        """Go on, in a pass. Raises what a read or the program raised."""
        if isinstance(self._error, WorkspaceFullError):
            self._error = None
            self._give_way()
        if self._error is not None:
            raise self._error
        if self.stage is Stage.FULL:
            if self._owner.is_next_alone(self):
                self.renew()
        elif self.stage is Stage.FENCE:
            if self._may_open():
                self._open()
        elif self.stage is Stage.COMMITTING and not self._is_held:
            self._commit()

    def abort(self, line: bytes) -> None:
        """End with an error and nothing done. In a pass."""
        self._owner.failed += 1
        self._end()
        self._program.cancel()
        self._program.end(is_done=False)
        self._owner.state.sequencer.answer(self.session, lambda reply: reply.error(line))

    def close(self) -> None:
        """The client is gone: end without an answer."""
        self._end()
        self._program.cancel()

    def read_missing(self, then: Callable[[BaseException | None], None]) -> None:
        """For a program that waits inside run(): read what its last command lacks, then(error).

        On the sequencer's thread.
        """
        assert self.attempt is not None
        self.attempt.read_missing(self._owner.reader, then)

    @property
    def is_publishing(self) -> bool:
        """Whether it writes large collections, and has not written them all."""
        return self._publication is not None and not self._publication.is_ready

    # -- running --------------------------------------------------------------------------------

    def _may_open(self) -> bool:
        sequencer = self._owner.state.sequencer
        return sequencer.committed >= self._fence_index and self._owner.has_room_for(self)

    def _open(self) -> None:
        """The fence is committed: the snapshot is taken here, once per try."""
        owner, session = self._owner, self.session
        self.attempt = Attempt(owner.state.view, owner.engine, session.db, session.proto)
        self._program.start()
        self._run()

    def _run(self) -> None:
        attempt, program = self.attempt, self._program
        assert attempt is not None
        self.stage = Stage.RUNNING
        self._is_running = True
        room, self._is_alone = self._owner.room_of(self)
        attempt.workspace.set_bytes_max(room)
        self._owner.worker.submit(lambda: program.run(attempt), self._ran)

    def _ran(self, is_finished: bool | None, error: BaseException | None) -> None:
        self._is_running = False
        self._owner.note_memory()
        if self.stage is Stage.ENDED:
            self._close_attempt()
        elif error is not None:
            self._error = error
        elif is_finished:
            self.stage = Stage.COMMITTING
        else:
            self.read_missing(self._was_read)

    def _was_read(self, error: BaseException | None) -> None:
        self._owner.note_memory()
        if error is not None:
            self._error = error
        elif self.stage is not Stage.ENDED:
            self._run()

    # -- the end --------------------------------------------------------------------------------

    @property
    def _is_held(self) -> bool:
        """Whether it may not commit yet: another has reserved names, or writes are paused."""
        assert self.attempt is not None
        is_paused = self.attempt.workspace.wrote and self._owner.is_paused()
        return is_paused or self._owner.is_reserved_against(self)

    def _commit(self) -> None:
        """Write what is large, compare, and take effect; in a pass, and in a few before."""
        assert self.attempt is not None
        workspace, sequencer = self.attempt.workspace, self._owner.state.sequencer
        reply = None
        if workspace.wrote and not self._publish():
            return
        reply = self._program.reply_instead()
        if workspace.wrote and reply is None:
            verdict, missing = commit(
                sequencer,
                self.session,
                workspace,
                self._publication,
                self._program.take_effect,
            )
            if verdict == CONFLICT:
                self._retry()
                return
            if verdict != COMMITTED:
                self.stage = Stage.FETCHING
                self._owner.state.fetcher.start(missing, [], [self._fetched])
                return
        elif reply is None:
            self._program.take_effect()
        self._owner.committed += 1
        self._end()
        reply = self._program.reply() if reply is None else reply
        self._program.end(is_done=True)
        sequencer.answer(self.session, lambda out: out.raw(reply))

    def _publish(self) -> bool:
        """Write a bounded part of the large collections; True once only the last entry is left."""
        assert self.attempt is not None
        workspace, sequencer = self.attempt.workspace, self._owner.state.sequencer
        if self._publication is None:
            self._publication = Publication(sequencer, workspace)
            if not self._publication.is_empty and is_stale(sequencer, workspace):
                self._retry()  # before anything is written for nothing
                return False
        publication = self._publication
        if publication.is_ready:
            return True
        if not self._owner.may_publish(self):
            return False
        before = publication.bytes
        is_ready = publication.step()
        self._owner.published_bytes += publication.bytes - before
        if publication.rest_bytes > TRANSACTION_WRITE_BYTES_MAX:
            self.abort(TOO_LARGE)
            return False
        return is_ready

    def _fetched(self) -> None:
        """The records are in memory, and stay until the end of this pass.

        If this node has stopped to lead meanwhile, nothing takes effect.
        """
        if self.stage is Stage.FETCHING:
            self.stage = Stage.COMMITTING
            if self._owner.state.sequencer.serving and not self._is_held:
                self._commit()

    def _retry(self) -> None:
        assert self.attempt is not None
        self._owner.conflicts += 1
        names = self.attempt.workspace.names()
        self._close_attempt()
        if not self._owner.reserve(self, names):
            if self.tries >= OPTIMISTIC_TRIES_MAX:
                self._owner.queue(self, names)
                return
        elif self.tries >= OPTIMISTIC_TRIES_MAX + RESERVED_TRIES_MAX:
            self.abort(CONFLICTS)
            return
        self.renew()

    def _give_way(self) -> None:
        """It has met the bound of memory: it runs again once no other takes any."""
        self._close_attempt()
        if self._is_alone or not self._owner.crowd_out(self):
            self.abort(NO_ROOM)
        else:
            self.stage = Stage.FULL

    def _end(self) -> None:
        self.stage = Stage.ENDED
        if not self._is_running:
            self._close_attempt()
        self._owner.release(self)

    def _close_attempt(self) -> None:
        if self._publication is not None:
            self._publication.end()
            self._publication = None
        if self.attempt is not None:
            self.attempt.close(self._owner.worker)
            self.attempt = None
            self._owner.note_memory()


class Transactions:
    """All transactions of a node, and the one reservation.

    worker: runs programs. reader: reads LevelDB for them.
    is_paused: whether CLIENT PAUSE holds back writes; who ends the pause has step() called.
    on_memory: is told how much memory all of them take, in bytes, as this changes.
    """

    def __init__(self, state: State, engine: Engine, worker: Executor, reader: Executor) -> None:
        self.state = state
        self.engine = engine
        self.worker = worker
        self.reader = reader
        self.on_memory: Callable[[int], None] = lambda taken: None
        self.started = 0
        self.committed = 0
        self.failed = 0  # ended with an error
        self.conflicts = 0
        self.published_bytes = 0
        self.reservations = 0
        self.is_paused: Callable[[], bool] = lambda: False
        self._running: list[Transaction] = []
        self._holder: Transaction | None = None  # of the reservation
        self._crowded: deque[Transaction] = deque()  # each runs alone in its turn
        self._queue: deque[tuple[Transaction, set[bytes] | None]] = deque()

    def __bool__(self) -> bool:
        return bool(self._running)

    @property
    def sessions(self) -> list[Session]:
        """Whose transactions these are."""
        return [transaction.session for transaction in self._running]

    def begin(self, session: Session, program: Program) -> Transaction:
        """Begin a transaction; the session has to be waiting. Its reply comes by itself.

        In a pass, or at the end of one: the fence takes its time.
        """
        self.started += 1
        transaction = Transaction(self, session, program)
        self._running.append(transaction)
        return transaction

    def step(self, is_closed: Callable[[Session], bool]) -> bool:
        """Go on with every transaction, in a pass; True when there is more to do at once."""
        for transaction in list(self._running):
            if is_closed(transaction.session):
                transaction.close()
            else:
                transaction.step()
        return any(not transaction.is_waiting for transaction in self._running)

    def end_all(self, line: bytes) -> None:
        """Leadership is lost: every transaction ends with an error, and its pin. In a pass."""
        self._queue.clear()  # none of them takes its turn now
        for transaction in list(self._running):
            transaction.abort(line)

    def has_room_for(self, transaction: Transaction) -> bool:
        """Whether one more may hold a workspace."""
        if transaction is self._holder:
            return True
        if self._crowded:
            return self._crowded[0] is transaction and not self._attempts()
        return len(self._attempts()) < TRANSACTIONS_OPEN_MAX

    # -- memory ---------------------------------------------------------------------------------

    @property
    def memory_bytes(self) -> int:
        """What all workspaces take, and what is kept beside them."""
        return sum(open_.memory_bytes for open_ in self._attempts())

    def room_of(self, transaction: Transaction) -> tuple[int, bool]:
        """How many bytes the workspace of a transaction may take: what the others leave it.

        And whether there are no others.
        """
        most = max(
            TRANSACTIONS_MEMORY_BYTES_MIN,
            int(self.state.cache_bytes * TRANSACTIONS_MEMORY_SHARE),
        )
        others = [open_ for open_ in self._attempts() if open_ is not transaction.attempt]
        return max(0, most - sum(open_.workspace.bytes for open_ in others)), not others

    def crowd_out(self, transaction: Transaction) -> bool:
        """Let a transaction run alone in its turn; False: others wait for it, so it cannot wait."""
        if transaction is self._holder:
            return False
        self._crowded.append(transaction)
        return True

    def is_next_alone(self, transaction: Transaction) -> bool:
        """Whether it is the turn of one that was crowded out, and no other takes memory."""
        return self._crowded[0] is transaction and not self._attempts()

    def note_memory(self) -> None:
        """A workspace has grown, or one has gone."""
        self.on_memory(self.memory_bytes)

    def _attempts(self) -> list[Attempt]:
        return [open_.attempt for open_ in self._running if open_.attempt is not None]

    # -- large collections ----------------------------------------------------------------------

    def may_publish(self, transaction: Transaction) -> bool:
        """Whether a transaction may write a part of its collections in this pass.

        One at a time, and not faster than the disk.
        """
        sequencer = self.state.sequencer
        first = next(other for other in self._running if other.is_publishing)
        return first is transaction and sequencer.unsynced_bytes <= PUBLISH_UNSYNCED_BYTES_MAX

    # -- the reservation ------------------------------------------------------------------------

    def is_reserved_against(self, transaction: Transaction) -> bool:
        """Whether another transaction holds the reservation: commits wait for its end."""
        return self._holder is not None and self._holder is not transaction

    def reserve(self, transaction: Transaction, names: set[bytes] | None) -> bool:
        """A try failed: its holder's reservation takes in more names (None: all there are).

        False: the transaction does not hold it.
        """
        if self._holder is not transaction:
            return False
        self.state.view.dispatch.reserve(names)
        return True

    def queue(self, transaction: Transaction, names: set[bytes] | None) -> None:
        """A transaction wants the reservation; it begins its next try when it has it."""
        transaction.stage = Stage.QUEUED
        self._queue.append((transaction, names))
        self._take_turn()

    def release(self, transaction: Transaction) -> None:
        """A transaction has ended. In a pass, or before one."""
        if transaction in self._running:
            self._running.remove(transaction)
        if transaction in self._crowded:
            self._crowded.remove(transaction)
        if self._holder is transaction:
            self._holder = None
            for session in self.state.view.dispatch.end_reservation():
                self.state.sequencer.resume(session)
        self._take_turn()

    def _take_turn(self) -> None:
        while self._holder is None and self._queue:
            transaction, names = self._queue.popleft()
            if transaction.stage is Stage.QUEUED:
                self._holder = transaction
                self.reservations += 1
                self.state.view.dispatch.reserve(names)
                transaction.renew()

    def statistics(self) -> dict[str, int]:
        """Counters for INFO."""
        return {
            "transactions_running": len(self._running),
            "transactions_memory": self.memory_bytes,
            "transactions_started": self.started,
            "transactions_committed": self.committed,
            "transactions_refused_tries": self.conflicts,
            "transactions_reserved": self.reservations,
            "transactions_failed": self.failed,
            "transactions_published_bytes": self.published_bytes,
        }
