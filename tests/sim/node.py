"""A whole node on simulated parts: its disk, its store, its threads and its clock do what they are
told, and a crash takes what was not synced. RESP bytes in, RESP bytes out, no sockets.

All that is simulated is at the edge: raft, log format, recovery, checkpoints, fetches, sweepers,
sequencer, tip and commands are the production code.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Self

from kvnode._core import invariants
from kvnode._core.dispatch import Command, Dispatch
from kvnode._core.replicated_log import ReplicatedLog
from kvnode._core.session import Session
from kvnode.base.limits import KIB, MIB
from kvnode.commands import table
from kvnode.commands.group import LoneGroup
from kvnode.raft.core import RaftCore
from kvnode.raft.log_terms import LogTerms
from kvnode.raft.membership import Membership, MembershipLog
from kvnode.raft.messages import HardState
from kvnode.raft.ready import Role
from kvnode.scripting import runtime
from kvnode.server.local import HASH_KEY, START_MS, native_handlers
from kvnode.storage.executor import StepExecutor
from kvnode.storage.hard_state import HardStateFile, create_hard_state
from kvnode.storage.local import LocalFacts, open_facts
from kvnode.storage.log import SegmentWriter
from kvnode.storage.log_reading import LogReading
from kvnode.storage.log_recovery import open_replay, recover_log
from kvnode.storage.memory import MemoryEngine
from kvnode.storage.recovery import Recovered, ReplayedEntry, recover
from kvnode.txn.building import build_state
from kvnode.txn.jobs import Jobs
from kvnode.txn.replica import Replica
from kvnode.txn.sending import LogEntry
from tests.sim.disk import SimDisk
from tests.sim.log import SimLog
from tests.support.resp import Reply, decode, encode

STANDALONE = {"cluster-enabled": False}  # what commands ask of a configuration
DIRECTORY = "/node"
LOG_DIRECTORY = "/node/log"
HARD_STATE = "/node/raft.state"
IDENTITY = bytes(16)
SEGMENT_BYTES = 64 * KIB
CACHE_BYTES = 4 * MIB
SETTLE_ROUNDS_MAX = 10_000
S_CLOSED = 4  # SessionState of session.pxd


class NodeLog(SimLog):
    """A SimLog on a SegmentWriter that notes its entries and lets checkpointed segments go.

    entries: all ever submitted, (commit_ts, payload) by index.
    """

    def __init__(self, writer: SegmentWriter, entries: dict[int, tuple[int, bytes]]) -> None:
        super().__init__(writer)
        self._entries = entries

    def on_submit(self, term: int, index: int, commit_ts: int, payload: bytes) -> None:
        self._entries[index] = commit_ts, payload
        super().on_submit(term, index, commit_ts, payload)

    def cut(self, index: int) -> None:
        assert self._writer is not None
        self._writer.cut(index)


class LoneHost:
    """The host of a replica that has no peers."""

    def __init__(self, node: "SimNode", hard_state: HardStateFile) -> None:
        self._node = node
        self.store_hard_state = hard_state.store

    def now_ms(self) -> int:
        return self._node.now_ms

    def role_changed(self, role: Role, term: int, leader: int) -> None:
        pass

    def execution_begins(self) -> None:
        pass

    def execution_goes_on(self) -> None:
        pass

    def execution_ends(self) -> None:
        pass

    def execution_ended(self) -> None:
        pass

    def read_entries(
        self,
        first: int,
        last: int,
        term: int,
        bytes_max: int,
        done: Callable[[Sequence[LogEntry]], None],
    ) -> None:
        done(LogReading(self._node.disk, LOG_DIRECTORY).read(first, last, term, bytes_max))


class SimNode:
    """One life of a node, from recovery to crash().

    disk, engine: what an earlier life left. rng: log identities, and what a crash takes.
    is_relaxed: appendfsync everysec instead of always.
    entries: those of earlier lives; those that a crash took are forgotten.
    commands: of the dispatch; by default the whole table, built anew, which takes half the start.
    steps_max: the step budget of a command or EXEC; None: the node's.
    """

    config = STANDALONE
    group = LoneGroup(lambda: (0, 0))

    def __init__(
        self,
        disk: SimDisk,
        engine: MemoryEngine,
        rng: random.Random,
        *,
        now_ms: int = START_MS,
        cache_bytes: int = CACHE_BYTES,
        is_relaxed: bool = False,
        entries: dict[int, tuple[int, bytes]] | None = None,
        commands: list[Command] | None = None,
        steps_max: int | None = None,
    ) -> None:
        self.steps_max = steps_max
        self._view_options = {} if steps_max is None else {"steps_max": steps_max}
        self.entries = entries if entries is not None else {}
        self.commands = commands
        self.disk, self.engine, self.rng = disk, engine, rng
        self.now_ms = now_ms
        self.cache_bytes = cache_bytes
        self.is_relaxed = is_relaxed
        self.writer, self.reader = StepExecutor(), StepExecutor()
        self.sessions: dict[int, Session] = {}
        disk.make_dir(DIRECTORY)
        facts = open_facts(engine, identity=IDENTITY, hash_key=HASH_KEY)
        self.log = self._recover(facts)
        self._lead()

    # -- start ----------------------------------------------------------------------------------

    def _recover(self, facts: LocalFacts) -> NodeLog:
        """Recover log and tip; build the node on them."""
        id_seed = self.rng.getrandbits(63)
        log = recover_log(
            self.disk,
            LOG_DIRECTORY,
            checkpoint_index=facts.checkpoint.at.index,
            segment_bytes=SEGMENT_BYTES,
            id_seed=id_seed,
        )
        first = facts.checkpoint.at.index + 1
        entries = open_replay(self.disk, LOG_DIRECTORY, log, first, log.last_index)
        recovered = self._state(facts, entries)
        writer = SegmentWriter(
            self.disk, LOG_DIRECTORY, log.start, segment_bytes=SEGMENT_BYTES, id_seed=id_seed
        )
        sink = NodeLog(writer, self.entries)
        sink.set_written(log.start.last_term, log.last_index)
        sink.set_synced(log.start.last_term, log.last_index)
        self.recovered = recovered
        for index in [index for index in self.entries if index > log.last_index]:
            del self.entries[index]
        self.replicated = ReplicatedLog(
            sink, log.last_index, log.start.last_term, log.start.last_commit_ts
        )
        commands = self.commands or table.build(native_handlers())
        self.hard_state = hard_state = self._open_hard_state()
        raft = RaftCore(
            1,
            MembershipLog(Membership.of_voters([1])),
            HardState(hard_state.state.term, hard_state.state.vote),
            LogTerms(log.terms(), log.last_index),
            committed=facts.checkpoint.at.index,
            random_ticks=lambda n: self.rng.randrange(n),
        )
        self._build(raft, Dispatch(commands), hard_state, facts, recovered)
        return sink

    def _state(self, facts: LocalFacts, entries: Iterable[ReplayedEntry]) -> Recovered:
        return recover(self.engine, facts, entries)

    def _open_hard_state(self) -> HardStateFile:
        if HARD_STATE.rpartition("/")[2] in self.disk.list(DIRECTORY):
            return HardStateFile(self.disk, HARD_STATE)
        return create_hard_state(self.disk, HARD_STATE, 1, IDENTITY)

    def _build(
        self,
        raft: RaftCore,
        dispatch: Dispatch,
        hard_state: HardStateFile,
        facts: LocalFacts,
        recovered: Recovered,
    ) -> None:
        state = build_state(
            self.engine,
            facts,
            recovered,
            self.replicated,
            dispatch,
            writer=self.writer,
            readers=[self.reader],
            cache_bytes=self.cache_bytes,
            steps_max=self.steps_max,
            prepare=runtime.connect,
        )
        self.tip, self.view, self.sequencer = state.tip, state.view, state.sequencer
        self.sequencer.relaxed = self.is_relaxed
        self.view.node = self
        self.watches = self.view.watches
        self.view.scripts.budget_micros = 0  # the test says how long a script may take
        self.checkpointer = state.checkpointer
        (self.housekeeping,) = state.upkeep
        self.replica = Replica(raft, self.replicated, state, LoneHost(self, hard_state))
        self.jobs = Jobs(state, self.engine, self.reader)

    def _lead(self) -> None:
        self.replica.lead()
        while not self.replica.is_serving:
            self.sync()
        if not self.tip.has_databases():
            self.run_pass(self.sequencer.create_databases)
            self.sync()

    # -- clients --------------------------------------------------------------------------------

    def session(self) -> Session:
        """Return a new client."""
        session = Session(len(self.sessions) + 1, self.now_ms)
        session.authenticated = session.parser.authenticated = True
        self.sessions[session.id] = session
        return session

    def close_session(self, session: Session) -> None:
        """The client is gone."""
        session.state = S_CLOSED
        self.watches.remove(session)
        self.view.pubsub.forget(session)
        self.sequencer.forget(session)

    def settle(self, session: Session, data: bytes) -> bytes:
        """Run `data` to its end, with every sync, fetch and job it takes; return the replies."""
        session.feed(data)
        replies = b""
        self.serve(session)
        for _ in range(SETTLE_ROUNDS_MAX):
            is_busy = self.step_threads() or self.jobs
            self.sync()
            self.serve()
            replies += session.take()
            is_waiting = session.state or session.input_bytes or session.held
            if not is_busy and not is_waiting:
                return replies
        raise AssertionError("the commands never end")

    def ask(self, *words: bytes | str | int) -> Reply:
        """Run one command on a new session and return its reply; an error is a value."""
        return decode(self.settle(self.session(), encode(*words)))

    # -- steps ----------------------------------------------------------------------------------

    def serve(self, *sessions: Session) -> None:
        """A pass over sessions with input, and over those whose waiting ended.

        Completions come when their descriptor's turn is, between any two sessions.
        """

        def work() -> None:
            first = self.rng.randrange(len(sessions) + 1)
            for session in sessions[:first]:
                self.sequencer.serve(session)
            self.replica.completions_due()
            for session in (*sessions[first:], *self.sequencer.take_ready()):
                self.sequencer.serve(session)

        self.run_pass(work)
        self.replica.after_pass()
        for session, args in self.sequencer.take_jobs():
            self.jobs.start(session, args)
        if self.jobs:
            self.run_pass(lambda: self.jobs.step(lambda session: session.state == S_CLOSED))

    def run_pass(self, work: Callable[[], object]) -> None:
        """Do something in a pass of its own."""
        self.sequencer.begin(self.now_ms)
        work()
        self.sequencer.end()
        self.sequencer.take_flushable()

    def background(self) -> None:
        """What the node does between passes: checkpoints and sweepers, a step of each."""
        self.run_pass(lambda: self.replica.background(self.now_ms))

    def upkeep(self, rounds: int, *, ms: int = 0, calls: int = 100) -> None:
        """So many rounds of background work and of what it takes, each `ms` later.

        calls: that each thread ends in a round.
        """
        for _ in range(rounds):
            self.now_ms += ms
            self.sync()
            self.background()
            self.step_threads(calls)
            self.serve()
            self.sync()

    def write(self, n: int | None = None) -> None:
        """The log thread writes the oldest `n` entries, into the page cache only."""
        self.log.write(n)
        self.sequencer.log_moved()
        self.sequencer.take_flushable()

    def sync(self, n: int | None = None) -> None:
        """The log thread writes the oldest `n` entries and syncs."""
        self.log.write(n)
        self.log.sync_written()
        self.sequencer.log_moved()
        self.sequencer.take_flushable()

    def step_threads(self, n: int = 100) -> bool:
        """Let each other thread end up to `n` calls; True if there were any."""
        done = 0
        for executor in (self.reader, self.writer):
            for _ in range(n):
                done += executor.step()
        return bool(done)

    def checkpoint(self) -> None:
        """Make a checkpoint of all that is committed, to its end."""
        finished: list[bool] = []
        self.replica.request_checkpoint(finished.append)
        self.sync()
        while not finished:
            self.background()
            self.step_threads()
            self.serve()
            self.sync()

    def evict(self) -> None:
        """Drop all that is clean from memory."""
        for _ in range(2):
            self.tip.evict(0, 1 << 20)

    def check(self) -> None:
        """Raise InvariantError if the tip is broken."""
        invariants.check(self.tip)

    # -- ends -----------------------------------------------------------------------------------

    def crash(self) -> Self:
        """Lose power, and start again on what is left."""
        self.disk.crash(self.rng)
        keep = self.rng.random()
        engine = self.engine.crash(lambda file, batch: self.rng.random() < keep)
        return self._again(engine)

    def kill(self) -> Self:
        """kill -9: the page cache stays."""
        self.disk.kill()
        return self._again(self.engine.crash(lambda file, batch: True))

    def _again(self, engine: MemoryEngine) -> Self:
        return type(self)(
            self.disk,
            engine,
            self.rng,
            now_ms=self.now_ms,
            cache_bytes=self.cache_bytes,
            is_relaxed=self.is_relaxed,
            entries=self.entries,
            commands=self.commands,
            steps_max=self.steps_max,
        )


def new_node(seed: int = 0, **options: object) -> SimNode:
    """Return the first life of a node."""
    return SimNode(SimDisk(), MemoryEngine(), random.Random(seed), **options)  # type: ignore[arg-type]
