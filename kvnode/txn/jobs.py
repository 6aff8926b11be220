"""Commands past the step budget: they go on beside the sequencer.

Most run as an optimistic transaction of one command, an EXEC as one of its queue. KEYS, and what
shows many elements, read a snapshot, behind a fence as theirs. LCS computes on what it has read
already.
"""

from collections.abc import Callable, Iterable
from typing import Any

from kvnode._core.glob import matches
from kvnode._core.lcs import LcsJob
from kvnode._core.session import Session
from kvnode._core.transactions import fail_waiting
from kvnode._core.upkeep import generation_at
from kvnode.base.limits import JOB_PAGE_KEYS, JOB_PAGES_PER_STEP
from kvnode.storage.engine import Engine
from kvnode.storage.executor import Executor
from kvnode.storage.snapshot import Page, PendingPage, SnapshotReader, StoredPart
from kvnode.txn.element_replies import COMMANDS
from kvnode.txn.long_reply import LongReplies, LongReply
from kvnode.txn.once import Once
from kvnode.txn.optimistic import Transactions
from kvnode.txn.program import Command, Program
from kvnode.txn.queue import Queue
from kvnode.txn.script import Script
from kvnode.txn.state import State

SCRIPTS = (b"EVAL", b"EVAL_RO", b"EVALSHA", b"EVALSHA_RO", b"FCALL", b"FCALL_RO")


class KeysJob:
    """KEYS over more keys than one pass may look at: page by page, in hash order."""

    def __init__(self, session: Session, pattern: bytes, fence_index: int) -> None:
        self.session = session
        self.fence_index = fence_index
        self.is_done = False
        self._pattern = pattern
        self._reader: SnapshotReader | None = None
        self._pin = 0
        self._generation = 0
        self._next_hash = 0
        self._is_reading = False
        self._error: BaseException | None = None
        self._parts: list[bytes] = []
        self._count = 0

    @property
    def is_waiting(self) -> bool:
        """Whether a completion has to come before there is more to do."""
        return self._is_reading

    def step(self, state: State, engine: Engine, executor: Executor) -> None:
        """Read a few pages, if the fence is committed and no read is under way."""
        if self._error is not None:
            raise self._error
        if self._is_reading or state.sequencer.committed < self.fence_index:
            return
        if self._reader is None:
            self._open(state, engine)
        assert self._reader is not None
        for _ in range(JOB_PAGES_PER_STEP):
            page = self._reader.begin_keys(self._generation, self._next_hash, JOB_PAGE_KEYS)
            if page.read is not None:
                self._read(page, executor)
                return
            if self._take(page.finish(None)):
                return

    def close(self, state: State) -> None:
        """Let go of the snapshot."""
        if self._reader is not None:
            state.tip.unpin(self._pin)
            self._reader = None

    def write(self, reply: Any) -> None:
        """Write the reply."""
        reply.array(self._count)
        reply.raw(b"".join(self._parts))

    def _open(self, state: State, engine: Engine) -> None:
        self._pin = state.tip.pin()
        self._generation = generation_at(state.tip, self.session.db, self._pin)
        self._reader = SnapshotReader(state.tip, engine, self._pin, self._pin >> 16)

    def _read(self, page: PendingPage, executor: Executor) -> None:
        def completed(result: StoredPart, error: BaseException | None) -> None:
            self._is_reading = False
            if error is not None:
                self._error = error
            elif self._reader is not None:  # it may be closed by now
                self._take(page.finish(result))

        assert page.read is not None
        self._is_reading = True
        executor.submit(page.read, completed)

    def _take(self, page: Page) -> bool:
        """Keep the matching keys of a page as RESP; True after the last one."""
        assert self._reader is not None
        found = self._reader.visible_keys(page)
        for key in found.keys:
            if self._pattern == b"*" or matches(self._pattern, key):
                self._parts.append(b"$%d\r\n%s\r\n" % (len(key), key))
                self._count += 1
        if found.next_hash is None:
            self.is_done = True
            return True
        self._next_hash = found.next_hash
        return False


class ComputeJob:
    """A long computation on values that the command has read: LCS.

    What it read holds its reply, as of any command that waits.
    """

    def __init__(self, session: Session, work: LcsJob) -> None:
        self.session = session
        self.is_done = False
        self._work = work
        self._is_started = False
        self._reply = b""
        self._error: BaseException | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether a completion has to come before there is more to do."""
        return self._is_started and not self.is_done

    def step(self, state: State, engine: Engine, executor: Executor) -> None:
        """Begin, or see whether it has failed."""
        if self._error is not None:
            raise self._error
        if not self._is_started:
            self._is_started = True
            executor.submit(self._work.run, self._completed)

    def _completed(self, reply: bytes | None, error: BaseException | None) -> None:
        self._error = error
        self._reply = reply or b""
        self.is_done = error is None

    def close(self, state: State) -> None:
        """It holds nothing."""

    def write(self, reply: Any) -> None:
        """Write the reply."""
        reply.raw(self._reply)


class Jobs:
    """Jobs under way on a node.

    executor: reads LevelDB, and computes. worker: runs transactions; by default the same.
    on_memory: is told how much memory all of them take, in bytes, as this changes.
    """

    def __init__(
        self, state: State, engine: Engine, executor: Executor, worker: Executor | None = None
    ) -> None:
        self._state = state
        self._engine = engine
        self._executor = executor
        self._jobs: list[KeysJob | ComputeJob | LongReply] = []
        self.transactions = Transactions(state, engine, worker or executor, executor)
        self.replies = LongReplies(state, executor)
        self.on_memory: Callable[[int], None] = lambda taken: None
        self.transactions.on_memory = self.replies.on_memory = self._note_memory

    def __bool__(self) -> bool:
        return bool(self._jobs) or bool(self.transactions)

    def fail(self, line: bytes, sessions: Iterable[Session] = ()) -> None:
        """Nothing goes on: tell those who wait, whose commands have done nothing.

        sessions: others that wait, for data of keys, records, or the end of a pause. A client that
        has got a part of its reply already is told nothing.
        """
        begun = [job.session for job in self._jobs if isinstance(job, LongReply) and job.has_begun]
        fail_waiting(self._state.sequencer, begun, None)
        own = [job.session for job in self._jobs] + self.transactions.sessions
        fail_waiting(self._state.sequencer, [*own, *sessions], line)

    @property
    def memory_bytes(self) -> int:
        """What all of them take."""
        return self.transactions.memory_bytes + self.replies.bytes

    def _note_memory(self, taken: int) -> None:
        self.on_memory(self.memory_bytes)

    def start(self, session: Session, args: list[bytes]) -> None:
        """Take over a command that the sequencer gave up."""
        if isinstance(session.waiting, LcsJob):
            self._jobs.append(ComputeJob(session, session.waiting))
        elif args[0].upper() == b"KEYS":
            fence_index = self._state.sequencer.propose_empty()
            self._jobs.append(KeysJob(session, args[1], fence_index))
        elif args[0].lower() in COMMANDS:
            self._jobs.append(self.replies.begin(session, args))
        elif args[0].upper() == b"EXEC":
            self.transactions.begin(session, Queue(self._state.sequencer, session))
        elif args[0].upper() == b"KVNODE":
            request_id, words = args[2], args[3:]
            program = self._program_of(words)
            once = Once(self._state.sequencer, session, request_id, words, program)
            self.transactions.begin(session, once)
        else:
            self.transactions.begin(session, self._program_of(args))
        session.waiting = self

    def _program_of(self, words: list[bytes]) -> Program:
        if words[0].upper() not in SCRIPTS:
            return Command(words)
        transactions = self.transactions
        scripts = self._state.view.scripts
        return Script(words, scripts, transactions.worker, transactions.reader)

    def step(self, is_closed: Callable[[Session], bool]) -> bool:
        """Go on with every job, in a pass; True when there is more to do at once.

        Otherwise the next completion of a read or computation is the time to call it again.
        """
        for job in self._jobs:
            if is_closed(job.session):
                job.is_done = True
            if not job.is_done:
                job.step(self._state, self._engine, self._executor)
            if job.is_done:
                job.close(self._state)
                if not is_closed(job.session):
                    self._state.sequencer.answer(job.session, job.write)
        self._jobs = [job for job in self._jobs if not job.is_done]
        has_more = self.transactions.step(is_closed)
        return has_more or any(not job.is_waiting for job in self._jobs)
