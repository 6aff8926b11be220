"""One process of a simulated node: the production replica and all below it, hosted as in
server/node.py, without sockets, threads and time of its own. A crash throws it away, not its Home.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kvnode._core.dispatch import Command, Dispatch
from kvnode._core.session import Session
from kvnode.base.errors import RemoteProtocolError
from kvnode.base.limits import MIB
from kvnode.commands import table
from kvnode.raft.messages import Append, Message, Snapshot
from kvnode.raft.ready import Role
from kvnode.raft.wire import decode, encode
from kvnode.server import images
from kvnode.server.images import Images
from kvnode.server.local import START_MS, native_handlers
from kvnode.server.rebuilding import Rebuilding
from kvnode.storage.executor import Completion, Work
from kvnode.txn.jobs import Jobs
from kvnode.txn.replica import NOT_DONE, TIMESTAMP_COUNTER_BITS, LogEntry, Replica
from kvnode.txn.state import State
from tests.sim.group.directory import GroupDirectory, Home

if TYPE_CHECKING:
    from tests.sim.group.cluster import Cluster

COMMANDS: list[Command] = table.build(native_handlers())  # one for all nodes: it takes long
CACHE_BYTES = 1 * MIB
IMAGE_QUEUE_BYTES = 1 * MIB
S_CLOSING, S_CLOSED = 3, 4  # SessionState of session.pxd


class _Silent:
    """In the place of a module's logger."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **options: None


images.log = _Silent()  # type: ignore[assignment]


def _raise(result: object, error: BaseException | None) -> None:
    if error is not None:
        raise error


class SimExecutor:
    """A thread: its calls take time, and what they return is delivered in a pass."""

    can_wait = False

    def __init__(self, node: "GroupNode", slowness: float) -> None:
        self._node = node
        self._slowness = slowness
        self._queue: deque[tuple[Work, Completion]] = deque()
        self._done: deque[tuple[Completion, Any, BaseException | None]] = deque()

    def submit(self, work: Work, completion: Completion) -> None:
        self._queue.append((work, completion))
        if len(self._queue) == 1:
            self._schedule()

    def wait(self, start: Callable[[Callable[[BaseException | None], None]], None]) -> None:
        raise NotImplementedError

    def abandon(self) -> None:
        """Nothing of it is delivered any more."""
        self._queue.clear()
        self._done.clear()

    def deliver(self) -> None:
        while self._done:
            completion, result, error = self._done.popleft()
            completion(result, error)

    def _schedule(self) -> None:
        rng = self._node.rng
        delay = rng.uniform(0.02, 0.3) if rng.random() < 0.8 else rng.uniform(0, self._slowness)
        self._node.later(delay, self._run)

    def _run(self) -> None:
        if not self._queue:
            return  # abandoned
        work, completion = self._queue[0]
        result, error = None, None
        try:
            result = work()
        except Exception as caught:  # its completion decides
            error = caught
        self._queue.popleft()
        self._done.append((completion, result, error))
        if self._queue:
            self._schedule()
        self._node.wake()


class _ImageLinks:
    """What Images needs of Peers."""

    def __init__(self, node: "GroupNode") -> None:
        self._node = node

    def send_image(self, target: int, body: bytes) -> bool:
        return self._node.world.send_image(self._node, target, body)

    def is_image_linked(self, target: int) -> bool:
        return self._node.world.is_image_linked(self._node, target)

    def image_queued_bytes(self, target: int) -> int:
        return self._node.world.image_bytes(self._node, target)


class GroupNode:
    """One life of a node. Implements txn.replica.Host."""

    def __init__(self, world: "Cluster", home: Home) -> None:
        self.world, self.home, self.rng = world, home, world.rng
        self.node_id = home.node_id
        self.born = world.now
        self.sessions: dict[int, Session] = {}
        self._floor = (0, 0.0)
        self._inputs: list[Callable[[], None]] = []  # of other nodes
        self._requests: list[tuple[Session, bytes | None]] = []  # of clients
        self._is_woken = self._is_taking = self._in_pass = False
        self.bugs: list[BaseException] = []
        self.writer = SimExecutor(self, world.slow_engine)
        self.readers = [SimExecutor(self, world.slow_engine) for _ in range(2)]
        self.data = GroupDirectory(home, cache_bytes=CACHE_BYTES)
        self.data.boottime_ms = lambda: int((world.now - self.born) * world.rates[self.node_id])
        self.dispatch = Dispatch(COMMANDS)
        self._rebuilding = Rebuilding((self.writer, *self.readers), self._rebuild)
        raft = self.data.make_raft(has_leases=world.has_leases)
        self.is_sole_voter = tuple(raft.membership.quorums) == (frozenset((self.node_id,)),)
        self.committed_seen = raft.committed  # by Checks, as the next two
        self.has_executed = self.has_ever_executed = False
        state = self._build_state(is_all_committed=self.is_sole_voter)
        self.replica = Replica(raft, self.data.log, state, self)
        self._attach()
        self.images = Images(
            self.replica,
            _ImageLinks(self),  # type: ignore[arg-type]
            self.data.incoming_folder(),
            home.identity,
            reader=self.readers[-1],
            writer=self.writer,
            now_ms=lambda: int(world.now),
        )
        self.watch_log()
        if self.is_sole_voter:
            self.replica.lead()
            while not self.replica.is_serving:
                self.data.log.inner.complete()
                self.sequencer.log_moved()

    # -- construction, as in Node -----------------------------------------------------------------

    @property
    def sequencer(self) -> Any:
        return self.replica.state.sequencer

    @property
    def tip(self) -> Any:
        return self.replica.state.tip

    @property
    def view(self) -> Any:
        return self.replica.state.view

    @property
    def raft(self) -> Any:
        return self.replica.raft

    @property
    def is_over(self) -> bool:
        """Whether its state is to be thrown away."""
        return bool(self.replica._is_over)

    def _build_state(self, *, is_all_committed: bool) -> State:
        return self.data.build_state(
            self.dispatch,
            is_all_committed=is_all_committed,
            cache_bytes=CACHE_BYTES,
            writer=self.writer,
            readers=self.readers,
        )

    def _attach(self) -> None:
        self.worker = SimExecutor(self, self.world.slow_engine)
        self.view.node = self
        self.view.scripts.budget_micros = 0  # chance says how long things take, not the clock
        self.jobs = Jobs(self.replica.state, self.data.engine, self.readers[0], self.worker)

    def report_bug(self, command: bytes, error: Exception) -> None:
        self.bugs.append(error)

    # -- events -----------------------------------------------------------------------------------

    def later(self, delay: float, action: Callable[[], None]) -> None:
        """Do something on this node after a time, if the process lives then."""
        self.world.after(delay, lambda: self.world.on(self, action))

    def wake(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            self.later(self.rng.uniform(0.01, 0.15), self._pass)

    def tick(self) -> None:
        self.replica.tick()
        self._after_input()

    def receive(self, body: bytes, block: bytes | None, identity: bytes) -> None:
        """A message of another node has come."""
        self._take_later(lambda: self._step(body, block, identity))

    def receive_image(self, source: int, body: bytes) -> None:
        self._take_later(lambda: self._step_image(source, body))

    def link_lost(self, peer: int) -> None:
        self.images.lost(peer)
        self.replica.note_lost(peer)
        self._after_input()

    def link_made(self, peer: int) -> None:
        self.images.reconnected(peer)
        self._after_input()

    def request(self, session: Session, data: bytes | None) -> None:
        """Bytes of a client have come; None: it is gone."""
        self._requests.append((session, data))
        self.wake()

    def background(self) -> None:
        """What the cron does."""
        self.run_pass(lambda: self.replica.background(self.now_ms()))
        self.wake()

    def evict(self) -> None:
        """Drop what is clean from memory."""
        for _ in range(2):
            self.tip.evict(0, 1 << 16)

    def _take_later(self, action: Callable[[], None]) -> None:
        self._inputs.append(action)
        if not self._is_taking:
            self._is_taking = True
            self.later(self.rng.uniform(0, 0.05), self._take_inputs)

    def _take_inputs(self) -> None:
        self._is_taking = False
        inputs, self._inputs = self._inputs, []
        for take in inputs:
            take()
        self._after_input()

    def _step(self, body: bytes, block: bytes | None, identity: bytes) -> None:
        message = decode(body)
        if isinstance(message, Append):
            message = message.with_payload(block)
        self.replica.step(message, identity)

    def _step_image(self, source: int, body: bytes) -> None:
        try:
            self.images.receive(source, body)
        except RemoteProtocolError:
            self.world.cut_link(self.node_id, source)

    def _after_input(self) -> None:
        self.replica.run()
        if self.replica.has_more:
            self.wake()
        self.images.pump()
        self._flush()
        self.watch_log()

    # -- passes -----------------------------------------------------------------------------------

    def run_pass(self, work: Callable[[], object]) -> Any:
        """Do something in a pass of its own, or in the one that is open."""
        if self._in_pass:
            return work()
        sequencer = self.sequencer
        self._in_pass = True
        sequencer.begin(self.now_ms())
        result = work()
        sequencer.end()
        self._in_pass = False
        sequencer.log_moved()
        self._flush()
        return result

    def _pass(self) -> None:
        self._is_woken = False
        self.sequencer.log_moved()
        self.run_pass(self._serve)
        self._after_pass()

    def _serve(self) -> None:
        requests, self._requests = self._requests, []
        at = self.rng.randrange(len(requests) + 1)
        for session, data in requests[:at]:
            self._run(session, data)
        for executor in (self.writer, self.worker, *self.readers):
            executor.deliver()
        self.replica.completions_due()
        for session, data in requests[at:]:
            self._run(session, data)
        for session in self.sequencer.take_ready():
            if session.state != S_CLOSED:
                self.sequencer.serve(session)
                self.wake()

    def _run(self, session: Session, data: bytes | None) -> None:
        if session.state == S_CLOSED:
            return
        if data is None:
            self._close(session)
            return
        session.feed(data)
        if session.state != S_CLOSING:
            self.sequencer.serve(session)

    def _after_pass(self) -> None:
        self._rebuilding.step()
        self.replica.after_pass()
        if self.replica.has_more:
            self.wake()
        if self.replica.state.is_upkeep_due and self.run_pass(
            lambda: self.replica.background(self.now_ms())
        ):
            self.wake()
        for session, args in self.sequencer.take_jobs():
            self.jobs.start(session, args)
        if self.jobs and self.replica.is_serving and self.run_pass(self._step_jobs):
            self.wake()
        self.images.pump()
        self._flush()
        self.watch_log()

    def _step_jobs(self) -> bool:
        return self.jobs.step(lambda session: session.id not in self.sessions)

    def _flush(self) -> None:
        for session in self.sequencer.take_flushable():
            if session.state == S_CLOSED:
                continue
            data = session.take()
            if data:
                self.world.reply(self, session, data)
            if session.state == S_CLOSING and not session.output_bytes:
                self._close(session)
                self.world.reply(self, session, None)

    # -- the log's thread -------------------------------------------------------------------------

    def watch_log(self) -> None:
        """Let the log's thread work, if there is anything to write."""
        log = self.data.log.inner
        if log.is_syncing or not (log.pending or log.syncs_wanted):
            return
        log.is_syncing = True
        self.later(self.rng.uniform(0.01, 0.1), lambda: self._write_log(log))

    def _write_log(self, log: Any) -> None:
        log.syncs_wanted = 0
        log.write(self.rng.choice((None, None, None, 1)))
        self.later(self.world.sync_ms(self.node_id), lambda: self._sync_log(log))

    def _sync_log(self, log: Any) -> None:
        log.is_syncing = False
        if log is not self.data.log.inner:
            return  # another stands in its place
        log.sync_written()
        self.wake()
        self.watch_log()

    # -- clients ----------------------------------------------------------------------------------

    def connect(self) -> Session:
        """A client has connected."""
        session = Session(self.world.next_session(), self.now_ms())
        session.authenticated = session.parser.authenticated = True
        self.sessions[session.id] = session
        return session

    def _close(self, session: Session) -> None:
        session.state = S_CLOSED
        self.sessions.pop(session.id, None)
        self.sequencer.forget(session)
        self.view.watches.remove(session)

    # -- what the replica asks of its host --------------------------------------------------------

    def now_ms(self) -> int:
        """The wall clock, but not below the floor."""
        floor, since = self._floor
        return max(
            START_MS + int(self.world.now) + self.world.clock_offset[self.node_id],
            floor + int(self.world.now - since),
        )

    def store_hard_state(self, term: int, vote: int) -> None:
        self.data.hard_state.store(term, vote)

    def send(self, message: Message) -> None:
        self.world.send(self, message.target, encode(message), None)

    def send_entries(self, append: Append, block: bytes) -> None:
        self.world.send(self, append.target, encode(append), block)

    def read_entries(
        self,
        first: int,
        last: int,
        term: int,
        bytes_max: int,
        done: Callable[[Sequence[LogEntry]], None],
    ) -> None:
        def completed(entries: Sequence[LogEntry], error: BaseException | None) -> None:
            if error is not None:
                raise error
            done(entries)

        reading = self.data.reading
        self.readers[0].submit(lambda: reading.read(first, last, term, bytes_max), completed)

    def begin_image(self, peer: int) -> None:
        self.images.begin(peer, self.data.engine)

    def expect_image(self, source: int, snapshot: Snapshot) -> None:
        self.images.expect(source, snapshot)

    def rebuild(self, image: Snapshot | None) -> None:
        if image is not None:
            self.images.close_senders()
        self._rebuilding.ask(image)
        self.wake()

    def _rebuild(self, image: Snapshot | None) -> None:
        if image is not None:
            self.data.install(self.images.take_received())
            self.writer.submit(self.data.remove_replaced, _raise)
        else:
            self.data.read_facts_again()
        state = self._build_state(is_all_committed=False)
        self.worker.abandon()
        self._flush()
        self.replica.state = state
        self._attach()
        state.sequencer.take_over(list(self.sessions.values()))
        self.world.rebuilds += 1
        self.world.installs += image is not None
        self.replica.adopt(state, image)
        self.wake()

    def role_changed(self, role: Role, term: int, leader: int) -> None:
        pass

    def execution_begins(self) -> None:
        self.raise_floor(self.data.log.last_ts >> TIMESTAMP_COUNTER_BITS)
        if not self.tip.has_databases():
            self.run_pass(self.sequencer.create_databases)
        self.wake()

    def execution_goes_on(self) -> None:
        self.wake()

    def execution_ends(self) -> None:
        self.view.scripts.kill()
        self.jobs.fail(NOT_DONE)

    def execution_ended(self) -> None:
        pass

    def raise_floor(self, ms: int) -> None:
        """From now on the node's time is never below `ms`."""
        if ms > self.now_ms():
            self._floor = (ms, self.world.now)
