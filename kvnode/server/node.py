"""The node: a reactor hosted by Trio around a replica, and what the replica asks of its host."""

import gc
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import structlog
import trio

import kvnode
from kvnode._core.messages import OUTPUT_LIMIT
from kvnode._core.session import Session
from kvnode.base.errors import ConfigError, StorageError, first_error
from kvnode.base.limits import (
    BACKGROUND_SECONDS,
    DRAIN_SECONDS,
    GC_THRESHOLDS,
    HAND_OVER_SECONDS,
    RAFT_TICK_MS,
    READER_THREADS,
    SWITCH_INTERVAL_SECONDS,
    TRANSACTIONS_MEMORY_SHARE,
    WORKER_NICENESS,
)
from kvnode.commands.context import STATE_CLOSED, Statistics
from kvnode.commands.group import LoneGroup
from kvnode.commands.slowlog import Slowlog
from kvnode.raft.membership import ChangeRefused
from kvnode.raft.messages import NO_NODE, Append, Message, Snapshot
from kvnode.raft.ready import Role
from kvnode.server.clients import Clients
from kvnode.server.config import Config
from kvnode.server.data import DataDirectory
from kvnode.server.gauges import Gauges
from kvnode.server.group import NodeGroup
from kvnode.server.group_config import GroupConfig, require_synced
from kvnode.server.info import SECTIONS
from kvnode.server.listener import open_listener, raise_file_limit
from kvnode.server.machine import order_memory_at_once
from kvnode.server.parts import NodeParts
from kvnode.server.reactor_bounds import bound
from kvnode.server.rebuilding import Rebuilding
from kvnode.server.services import NodeServices
from kvnode.server.slow_readers import SlowReaders
from kvnode.server.view_settings import apply_to_view
from kvnode.txn.jobs import Jobs
from kvnode.txn.replica import NOT_DONE as DEPOSED
from kvnode.txn.replica import TIMESTAMP_COUNTER_BITS, LogEntry, Replica
from kvnode.txn.state import State

log = structlog.get_logger()

UNCERTAIN = b"UNCERTAIN the log could not be written: this command may or may not have been done"
NOT_DONE = b"UNAVAILABLE the log could not be written: nothing of this command is done"


class Node(NodeParts, NodeServices):
    """One running node; what Python handlers see as `view.node` (commands/context.py).

    data: its directory, open; the node closes it. group: of a networked node, with the listener
    for other nodes.
    """

    def __init__(
        self,
        config: Config,
        data: DataDirectory,
        group: GroupConfig | None = None,
        raft_listener: socket.socket | None = None,
    ) -> None:
        """Build the state and open the listening sockets. Raises ConfigError, StorageError."""
        self.config = config
        self.data = data
        self.kvnode_version = kvnode.__version__
        self.run_id = secrets.token_hex(20)
        self.info_sections = SECTIONS
        self.counters = Statistics()
        self.slowlog = Slowlog(config["slowlog-max-len"])
        self.checkpointed_s = int(time.time())
        self.held: list[Session] = []
        self._is_stepping = False
        self._after_pass_once: list[Callable[[], None]] = []
        self.paused_until_ms = 0
        self.paused_writes_only = False
        self.stopping = trio.Event()
        self.stop_with_checkpoint = True
        self.exit_code = 0
        self._wake_fd = self._make_wake_fd()
        self._listeners = self._bind()
        self.writer = self._make_executor("leveldb-writer")
        self.readers = [self._make_executor(f"leveldb-reader-{i}") for i in range(READER_THREADS)]
        self.dispatch = self._make_dispatch()
        self._rebuilding = Rebuilding((self.writer, *self.readers), self._rebuild)
        raft = data.make_raft(has_leases=group is not None and group.has_lease_reads)
        self._is_sole_voter = tuple(raft.membership.quorums) == (frozenset((raft.node_id,)),)
        state = self._build_state(is_all_committed=self._is_sole_voter)
        self.replica = Replica(raft, data.log, state, self)
        self.replica.before_log_cut = lambda: data.failpoints.reached("before_log_cut")
        self.reactor = self._make_reactor(self.sequencer)
        self.reactor.on_accept = lambda fd, listener: self.clients.accept(fd, listener)
        self.reactor.on_close = lambda session, reason: self.clients.gone(session, reason)
        self.reactor.on_wake = self._on_wake
        self.reactor.after_pass = self._after_pass
        self.clients = Clients(self.reactor.now, self._gone)
        self.started_ms = self.reactor.now()
        self.gauges = Gauges(self)
        self._attach()
        self.networked = None
        if group is not None:
            self.networked = self._join(group, raft_listener)
        self.group = self.networked or LoneGroup(lambda: (data.log.last_index, raft.committed))
        self.apply_config()
        config.on_change(self.apply_config)

    # -- construction ---------------------------------------------------------------------------

    def _join(self, group: GroupConfig, raft_listener: socket.socket | None) -> NodeGroup:
        assert raft_listener is not None
        return NodeGroup(self, group, raft_listener)

    def _bind(self) -> list[socket.socket]:
        backlog = self.config["tcp-backlog"]
        opened = []
        for host in self.config["bind"]:
            optional = host.startswith("-")
            try:
                opened.append(open_listener(host.lstrip("-"), self.config["port"], backlog))
            except ConfigError:
                if not optional:
                    raise
        return opened

    def _build_state(self, *, is_all_committed: bool) -> State:
        return self.data.build_state(
            self.dispatch,
            is_all_committed=is_all_committed,
            cache_bytes=self.config["maxmemory"],
            writer=self.writer,
            readers=self.readers,
        )

    def _attach(self) -> None:
        """Let the state that the replica has now know this node."""
        self.worker = self._make_executor("transactions", WORKER_NICENESS)
        self.view.node = self
        self.view.scripts.set_log(self._log_of_script)
        self.slow_readers = SlowReaders(self.view.pubsub)
        self.jobs = Jobs(self.replica.state, self.data.engine, self.readers[0], self.worker)
        self.jobs.transactions.is_paused = lambda: self.paused_until_ms > self.reactor.now()
        self.jobs.on_memory = self._bound_cache

    def apply_config(self) -> None:
        """Bring the running node in line with the configuration."""
        config, clients = self.config, self.clients
        require_synced(config)
        state = self.replica.state
        state.cache_bytes = config["maxmemory"]
        self._bound_cache(self.jobs.memory_bytes)
        bound(self.reactor, config, state)
        self.sequencer.message_bytes_max = config[OUTPUT_LIMIT]["pubsub"].hard
        clients.maxclients = raise_file_limit(config["maxclients"])
        clients.keepalive_s = config["tcp-keepalive"]
        clients.password = config["requirepass"]
        clients.protected = config["protected-mode"]
        clients.proto_max_bulk_bytes = config["proto-max-bulk-len"]
        apply_to_view(self.view, config)
        for session in clients.sessions.values():
            session.parser.proto_max_bulk_bytes = config["proto-max-bulk-len"]
        self.dispatch.slow_micros = config["slowlog-log-slower-than"]
        self.dispatch.on_slow = self._on_slow
        self.slowlog.resize(config["slowlog-max-len"])
        self.data.set_log_mode(config["appendfsync"])
        self.sequencer.relaxed = config["appendfsync"] != "always"
        if self.networked is not None:
            self.networked.apply_config(config)

    # -- running --------------------------------------------------------------------------------

    async def run(self) -> int:
        """Serve until told to stop; return the exit code."""
        try:
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                # Before the first client: a signal without a handler ends the process undrained.
                await nursery.start(self._signals)
                await self.start()
                nursery.start_soon(self._cron)
                if self.networked is not None:
                    await nursery.start(self.networked.run)
                await self._drive()
                await self._drain()
                nursery.cancel_scope.cancel()
        except* StorageError as group:
            self._fail(first_error(group))
        self.close()
        return self.exit_code

    async def start(self) -> None:
        """Become the leader of a group of one, and begin to listen."""
        if self._is_sole_voter:
            self.replica.lead()
            self.data.log.sync()
            while not self.replica.is_serving:  # once the first entry of its term is on the disk
                await trio.lowlevel.wait_readable(self.data.log.event_fd)
                os.eventfd_read(self.data.log.event_fd)
                self.sequencer.log_moved()
        for sock in self._listeners:
            self.reactor.listen(sock.fileno(), sock)
            host, port = sock.getsockname()[:2]
            log.info("listening", host=host, port=port)
        log.info(
            "ready",
            data=str(Path(self.config["dir"]).resolve()),
            appendfsync=self.config["appendfsync"],
            durable="before every reply" if not self.sequencer.relaxed else "not before replies",
            maxmemory=self.config["maxmemory"],
            replayed_entries=self.data.replayed_entries,
            torn_tail_cut=self.data.is_torn,
            pid=os.getpid(),
        )
        if self.sequencer.relaxed:
            log.warning("appendfsync is not always: the last acknowledged writes may be lost")
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        order_memory_at_once()

    async def _drive(self) -> None:
        """Host the reactor: one wake of Trio for everything that is ready."""
        while not self.stopping.is_set():
            if self.reactor.poll():
                await trio.lowlevel.checkpoint()
            else:
                await self._wait()

    async def _wait(self) -> None:
        """Wait until the reactor has work: something arrived, or a client waited long enough."""
        seconds = self.reactor.seconds_to_deadline()
        if seconds is None:
            await trio.lowlevel.wait_readable(self.reactor.wait_fd)
            return
        with trio.move_on_after(seconds):
            await trio.lowlevel.wait_readable(self.reactor.wait_fd)

    async def _cron(self) -> None:
        """Regular work, and what waits for a time."""
        while True:
            await trio.sleep(BACKGROUND_SECONDS)
            now = self.reactor.now()
            self.gauges.sample(now)
            if self.paused_until_ms and now >= self.paused_until_ms:
                self.unpause()
            for session in list(self.clients.idle(self.config["timeout"])):
                self.clients.counters.timed_out += 1
                self.reactor.kill(session, "timeout")
            self.slow_readers.close(now, self.config[OUTPUT_LIMIT]["pubsub"], self.reactor)
            for session in self.jobs.replies.stalled(now):
                self.reactor.kill(session, "takes nothing of its reply")
            more = True
            while more:
                more = self.reactor.run_pass(lambda: self.replica.background(self.view.now_ms))
                await trio.lowlevel.checkpoint()

    async def _signals(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                log.info("stopping", signal=signal.Signals(number).name)
                self.shutdown(checkpoint=None, now=False, force=False)

    async def _drain(self) -> None:
        """Accept nothing more, let held replies leave, and make a restart quick."""
        for sock in self._listeners:
            self.reactor.unlisten(sock.fileno())
            sock.close()
        if self.networked is not None:
            await self._hand_over(self.networked)
        with trio.move_on_after(DRAIN_SECONDS):
            while self.sequencer.statistics()["held_sessions"]:
                self.reactor.poll()
                await trio.lowlevel.checkpoint()
            if self.stop_with_checkpoint:
                await self._checkpoint_and_wait()

    async def _hand_over(self, networked: NodeGroup) -> None:
        """Let another node lead, so that nobody has to wait for an election."""
        with trio.move_on_after(HAND_OVER_SECONDS), suppress(ChangeRefused):
            networked.transfer(NO_NODE)
            while self.replica.raft.role is Role.LEADER:
                self.reactor.poll()
                await trio.sleep(RAFT_TICK_MS / 1000)

    async def _checkpoint_and_wait(self) -> None:
        finished = trio.Event()
        self.replica.request_checkpoint(lambda ok: finished.set())
        while not finished.is_set():
            self.reactor.poll()
            self.reactor.run_pass(lambda: self.replica.background(self.view.now_ms))
            await trio.lowlevel.checkpoint()

    def _fail(self, error: BaseException) -> None:
        """The disk cannot be trusted: say so to whoever waits, and end."""
        log.error("stopped: storage failed", error=str(error))
        self.exit_code = 1
        self.stop_with_checkpoint = False
        self.sequencer.fail_held(UNCERTAIN)
        self.jobs.fail(NOT_DONE, self.sessions())
        self.reactor.flush_all()

    def close(self) -> None:
        """Release everything."""
        self.view.scripts.kill()
        for executor in (self.writer, self.worker, *self.readers):
            executor.close()
        self.data.close()
        log.info("stopped")

    # -- events of the reactor ------------------------------------------------------------------

    def wake(self) -> None:
        os.eventfd_write(self._wake_fd, 1)

    def _on_wake(self) -> None:
        for executor in (self.writer, self.worker, *self.readers):
            executor.deliver()
        self.replica.completions_due()
        self.reactor.wants_after = True

    def after_pass_once(self, work: Callable[[], None]) -> None:
        """Call `work` once the pass that runs has ended."""
        self._after_pass_once.append(work)
        self.wake()

    def _after_pass(self) -> None:
        self._rebuilding.step()
        while self._after_pass_once:
            self._after_pass_once.pop()()
        self.replica.after_pass()
        if self.replica.has_more:
            self.wake()
        if self.replica.state.is_upkeep_due and self.reactor.run_pass(
            lambda: self.replica.background(self.view.now_ms)
        ):
            self.wake()
        for session, args in self.sequencer.take_jobs():
            self.jobs.start(session, args)
        if self.jobs and not self._is_stepping and self.replica.is_serving:
            self._is_stepping = True  # the pass below ends here again
            if self.reactor.run_pass(self._step_jobs):
                self.wake()
            self._is_stepping = False
        if self.networked is not None:
            self.networked.after_pass()

    # -- what the replica asks of its host ------------------------------------------------------

    def now_ms(self) -> int:
        return self.reactor.now()

    def raise_floor(self, ms: int) -> None:
        self.reactor.raise_floor(ms)

    def store_hard_state(self, term: int, vote: int) -> None:
        self.data.hard_state.store(term, vote)

    def send(self, message: Message) -> None:
        if self.networked is not None:
            self.networked.peers.send(message)

    def send_entries(self, append: Append, block: bytes) -> None:
        if self.networked is not None:
            self.networked.peers.send_entries(append, block)

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
        if self.networked is not None:
            self.networked.images.begin(peer, self.data.engine)

    def expect_image(self, source: int, snapshot: Snapshot) -> None:
        if self.networked is not None:
            self.networked.images.expect(source, snapshot)

    def rebuild(self, image: Snapshot | None) -> None:
        if image is not None and self.networked is not None:
            self.networked.images.close_senders()
        self._rebuilding.ask(image)

    def _rebuild(self, image: Snapshot | None) -> None:
        """No call of the old state is under way. Between passes."""
        if image is not None and self.networked is not None:
            self.data.install(self.networked.images.take_received())
            self.writer.submit(self.data.remove_replaced, _raise)
        else:
            self.data.read_facts_again()
        state = self._build_state(is_all_committed=False)
        self.worker.abandon()
        old = self.replica.state
        self.replica.state = state
        self._attach()
        self.apply_config()
        self.reactor.adopt(state.sequencer)
        if self.networked is not None:
            self.networked.adopt(state.sequencer)
        self.replica.adopt(state, image)
        log.info("memory is built anew", from_index=self.replica.applied, image=image is not None)
        del old

    def role_changed(self, role: Role, term: int, leader: int) -> None:
        if self.networked is not None:
            self.networked.role_changed(role, term, leader)

    def execution_begins(self) -> None:
        self.raise_floor(self.data.log.last_ts >> TIMESTAMP_COUNTER_BITS)
        if not self.tip.has_databases():
            self.reactor.run_pass(self.sequencer.create_databases)
        if self.networked is not None:
            self.networked.serve()
        self.wake()

    def execution_goes_on(self) -> None:
        if self.networked is not None:
            self.networked.forwarding.serve()
        self.wake()

    def execution_ends(self) -> None:
        self.view.scripts.kill()

    def execution_ended(self) -> None:
        self.jobs.fail(DEPOSED)
        for session in self.dispatch.end_reservation():
            self.sequencer.resume(session)
        if self.networked is not None:
            self.networked.forwarding.step_down()

    # -- events of the clients ------------------------------------------------------------------

    def _bound_cache(self, taken: int) -> None:
        """Transactions and large replies take memory: the cache may take so much less."""
        cache_bytes = self.config["maxmemory"]
        least = int(cache_bytes * (1 - TRANSACTIONS_MEMORY_SHARE))
        self.reactor.cache_bytes = max(cache_bytes - taken, least)

    def _step_jobs(self) -> bool:
        return self.jobs.step(lambda session: session.state == STATE_CLOSED)

    def _gone(self, session: Session) -> None:
        if self.networked is not None:
            self.networked.forwarding.forget(session)
        self.forget(session)

    def forget(self, session: Session) -> None:
        """A client, or the mirror of one, is gone."""
        self.sequencer.forget(session)
        self.view.watches.remove(session)
        self.view.pubsub.forget(session)
        if session in self.held:
            self.held.remove(session)
        if self.jobs:
            self.reactor.wants_after = True  # one of them may be its own

    def _on_slow(self, session: Session, args: list[bytes], micros: int) -> None:
        now = self.reactor.now()
        self.slowlog.add(args, micros, now, addr=session.addr.encode(), name=session.name)

    def _log_of_script(self, level: int, text: bytes) -> None:
        write = (log.debug, log.debug, log.info, log.warning)[level]
        write("script", text=text.decode("utf-8", "backslashreplace"))


def _raise(result: None, error: BaseException | None) -> None:
    if error is not None:
        raise error
