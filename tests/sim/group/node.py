"""One process of a simulated node: the production one, on a directory, reactor, threads and network
that are simulated. A crash throws it away, not its Home.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kvnode._core.dispatch import Command, Dispatch
from kvnode._core.sequencer import Sequencer
from kvnode.base.addresses import join_address
from kvnode.base.errors import RemoteProtocolError
from kvnode.base.limits import MIB
from kvnode.commands import table
from kvnode.raft.messages import Append, Snapshot
from kvnode.raft.wire import decode
from kvnode.server import group, images, node
from kvnode.server.config import Config
from kvnode.server.group import NodeGroup
from kvnode.server.group_config import GroupConfig
from kvnode.server.local import native_handlers
from kvnode.server.node import Node
from kvnode.server.peers.framing import Greeting
from kvnode.server.peers.handshake import Own
from kvnode.storage.executor import Completion, Work
from kvnode.txn.replica import Replica
from tests.sim.group.directory import GroupDirectory, Home
from tests.sim.group.peers import SimPeers
from tests.sim.group.reactor import SimReactor

if TYPE_CHECKING:
    from tests.sim.group.cluster import Cluster

COMMANDS: list[Command] = table.build(native_handlers())  # one for all nodes: it takes long
CACHE_BYTES = 1 * MIB
LISTEN = ("127.0.0.1", 7379)


class _Silent:
    """In the place of a module's logger."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **options: None


for module in (group, images, node):
    module.log = _Silent()  # type: ignore[attr-defined]


def address(node_id: int) -> str:
    """Return where other nodes reach a node."""
    return f"node-{node_id}:7379"


class SimExecutor:
    """A thread: its calls take time, and what they return is delivered in a pass."""

    can_wait = False

    def __init__(self, node: "GroupNode") -> None:
        self._node = node
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
        slowness = self._node.world.slow_engine
        delay = rng.uniform(0.02, 0.3) if rng.random() < 0.8 else rng.uniform(0, slowness)
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


class SimGroup(NodeGroup):
    """A node's part in the group, on the simulated network."""

    _node: "GroupNode"

    def _make_peers(self, own: Own, greeting: Greeting, secret: bytes, listener: object) -> Any:
        return SimPeers(self._node, own, greeting)  # type: ignore[arg-type]


class GroupNode(Node):
    """One life of a node."""

    networked: SimGroup

    def __init__(self, world: "Cluster", home: Home) -> None:
        self.world, self.home, self.rng = world, home, world.rng
        self.node_id = home.node_id
        self.bugs: list[BaseException] = []
        self._inputs: list[Callable[[], None]] = []  # of other nodes
        self._is_taking = False
        born = world.now
        data = GroupDirectory(home, cache_bytes=CACHE_BYTES)
        data.boottime_ms = lambda: int((world.now - born) * world.rates[self.node_id])
        config = Config.load(2 * CACHE_BYTES, options={"raft-listen": join_address(*LISTEN)})
        others = {node_id: address(node_id) for node_id in world.homes}
        super().__init__(
            config, data, GroupConfig(self.node_id, LISTEN, others, b"", world.has_leases)
        )
        self.committed_seen = self.raft.committed  # by Checks, as the next two
        self.has_executed = self.has_ever_executed = False
        self.watch_log()
        self._watch_lease()
        if self.is_sole_voter:
            self.replica.lead()
            while not self.replica.is_serving:
                self.data.log.inner.complete()
                self.sequencer.log_moved()
        self.networked.start()

    # -- parts ------------------------------------------------------------------------------------

    def _make_wake_fd(self) -> int:
        return -1

    def _bind(self) -> list:
        return []

    def _make_executor(self, name: str, niceness: int = 0) -> Any:
        return SimExecutor(self)

    def _make_dispatch(self) -> Dispatch:
        return Dispatch(COMMANDS)

    def _make_reactor(self, sequencer: Sequencer) -> Any:
        return SimReactor(self, sequencer, sequencer.highest_ts() >> 16)

    def _join(self, group: GroupConfig, raft_listener: object) -> SimGroup:
        self.replica.request_read = self._request_read  # type: ignore[method-assign]
        return SimGroup(self, group, None)  # type: ignore[arg-type]

    def _request_read(self, done: Callable[[bool], None]) -> None:
        checks = self.world.checks
        index = checks.read_asked()

        def answered(is_reached: bool) -> None:
            if is_reached:
                checks.read_served(self, index)
                self.world.follower_reads += not self.replica.is_executing
            done(is_reached)

        Replica.request_read(self.replica, answered)

    def apply_config(self) -> None:
        super().apply_config()
        self.view.scripts.budget_micros = 0  # chance says how long things take, not the clock

    def _rebuild(self, image: Snapshot | None) -> None:
        self.world.rebuilds += 1
        self.world.installs += image is not None
        super()._rebuild(image)
        self._watch_lease()

    def _watch_lease(self) -> None:
        """Reads under a lease show everything, too."""
        sequencer, raft, checks = self.sequencer, self.raft, self.world.checks

        def has_lease() -> bool:
            if raft.has_lease:
                checks.read_served(self, checks.read_asked())
            return bool(raft.has_lease)

        if raft.uses_leases:
            sequencer.has_lease = has_lease

    def begin_image(self, peer: int) -> None:
        """Often while a checkpoint is written, of which the image then has a part."""
        if self.rng.random() < 0.5:
            self.replica.request_checkpoint(lambda is_there: None)
            self.wake()
        super().begin_image(peer)

    # -- for the simulation -----------------------------------------------------------------------

    @property
    def raft(self) -> Any:
        return self.replica.raft

    @property
    def peers(self) -> SimPeers:
        return self.networked.peers  # type: ignore[return-value]

    @property
    def is_sole_voter(self) -> bool:
        """Whether it was the only one when it began."""
        return self._is_sole_voter

    @property
    def is_over(self) -> bool:
        """Whether its state is to be thrown away."""
        return bool(self.replica._is_over)

    def report_bug(self, command: bytes, error: Exception) -> None:
        self.bugs.append(error)

    def wake(self) -> None:
        self.reactor.wake()

    # -- events -----------------------------------------------------------------------------------

    def later(self, delay: float, action: Callable[[], None]) -> None:
        """Do something on this node after a time, if the process lives then."""
        self.world.after(delay, lambda: self.world.on(self, action))

    def receive(self, body: bytes, block: bytes | None, identity: bytes) -> None:
        """A message of another node has come."""
        self.take_later(lambda: self._step(body, block, identity))

    def receive_image(self, source: int, body: bytes) -> None:
        self.take_later(lambda: self._step_image(source, body))

    def link_lost(self, peer: int) -> None:
        self.networked.on_lost(peer)
        self.networked.after_input()

    def greeted(self, peer: int, identity: bytes, greeting: Greeting) -> None:
        """A link is there again, or for the first time."""
        self.networked.on_greeting(peer, identity, greeting)
        self.networked.after_input()

    def background(self) -> None:
        """What the cron does."""
        if self.reactor.run_pass(lambda: self.replica.background(self.view.now_ms)):
            self.wake()

    def evict(self) -> None:
        """Drop what is clean from memory."""
        for _ in range(2):
            self.tip.evict(0, 1 << 16)

    def take_later(self, action: Callable[[], None]) -> None:
        """Take what has come from another node, with what comes at the same time."""
        self._inputs.append(action)
        if not self._is_taking:
            self._is_taking = True
            self.later(self.rng.uniform(0, 0.05), self._take_inputs)

    def _take_inputs(self) -> None:
        self._is_taking = False
        inputs, self._inputs = self._inputs, []
        for take in inputs:
            take()
        self.networked.after_input()

    def _step(self, body: bytes, block: bytes | None, identity: bytes) -> None:
        message = decode(body)
        if isinstance(message, Append):
            message = message.with_payload(block)
        self.networked.on_message(message, identity)

    def _step_image(self, source: int, body: bytes) -> None:
        try:
            self.networked.on_image(source, body)
        except RemoteProtocolError:
            self.world.network.cut_link(self.node_id, source)

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
        if log is self.data.log.inner:  # else another stands in its place
            log.sync_written()
            self.reactor.poll_soon()
