"""The node: a reactor hosted by Trio around a replica, and what handlers may ask of it."""

import gc
import math
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Any

import structlog
import trio

import kvnode
from kvnode._core.dispatch import Command, Dispatch
from kvnode._core.generic import describe
from kvnode._core.reactor import Reactor
from kvnode._core.serving import unblock
from kvnode._core.session import Session
from kvnode.base.errors import ConfigError, StorageError
from kvnode.base.limits import (
    BACKGROUND_SECONDS,
    DRAIN_SECONDS,
    GC_THRESHOLDS,
    READER_THREADS,
    RELOAD_STEPS_MAX,
    SWITCH_INTERVAL_SECONDS,
    SYNC_POLL_SECONDS,
    TRANSACTIONS_MEMORY_SHARE,
    UNSYNCED_BYTES_MAX,
    WORKER_NICENESS,
)
from kvnode.commands.context import Statistics
from kvnode.commands.row import RUN_COMMANDS
from kvnode.commands.slowlog import Slowlog
from kvnode.commands.table import build
from kvnode.scripting import runtime
from kvnode.server import gauges
from kvnode.server.clients import Clients
from kvnode.server.config import Config
from kvnode.server.data import Opened, open_data
from kvnode.server.executor import ThreadExecutor
from kvnode.server.failpoints import Failpoints
from kvnode.server.info import SECTIONS
from kvnode.server.listener import open_listener, raise_file_limit
from kvnode.server.local import native_handlers
from kvnode.server.machine import order_memory_at_once
from kvnode.txn.jobs import Jobs

log = structlog.get_logger()

# Of parameters for OBJECT ENCODING.
LISTPACK_LIMITS = tuple(product(("hash", "set", "zset"), ("entries", "value")))
UNCERTAIN = b"UNCERTAIN the log could not be written: this command may or may not have been done"
NOT_DONE = b"UNAVAILABLE the log could not be written: nothing of this command is done"


class Node:
    """One running node; what Python handlers see as `view.node` (commands/context.py)."""

    def __init__(self, config: Config) -> None:
        """Open the data and the listening sockets. Raises ConfigError, StorageError."""
        self.config = config
        self.kvnode_version = kvnode.__version__
        self.run_id = secrets.token_hex(20)
        self.info_sections = SECTIONS
        self.counters = Statistics()
        self.slowlog = Slowlog(config["slowlog-max-len"])
        self.checkpointed_s = int(time.time())
        self.held: list[Session] = []  # by a pause
        self._is_stepping = False
        self.paused_until_ms = 0
        self.paused_writes_only = False
        self.stopping = trio.Event()
        self.stop_with_checkpoint = True
        self.exit_code = 0
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._listeners = self._bind()
        self.writer = ThreadExecutor("leveldb-writer", self._wake_fd)
        self.readers = [
            ThreadExecutor(f"leveldb-reader-{i}", self._wake_fd) for i in range(READER_THREADS)
        ]
        self.worker = ThreadExecutor("transactions", self._wake_fd, niceness=WORKER_NICENESS)
        self.opened = self._open()
        self.replica = self.opened.replica
        self.sequencer = self.replica.sequencer
        self.tip = self.replica.tip
        self.view = self.replica.view
        self.view.node = self
        self.dispatch = self.view.dispatch
        self.commands = self.dispatch.commands
        self.errors = self.dispatch.errors
        self.jobs = Jobs(self.replica, self.opened.engine, self.readers[0], self.worker)
        self.jobs.transactions.is_paused = lambda: self.paused_until_ms > self.reactor.now()
        self.reactor = self._make_reactor()
        self.jobs.on_memory = self._bound_cache
        self.clients = Clients(self.reactor.now, self._gone)
        self.started_ms = self.reactor.now()
        self.gauges = gauges.Gauges(self)
        self.view.scripts.set_log(self._log_of_script)
        self.apply_config()
        config.on_change(self.apply_config)

    # -- construction ---------------------------------------------------------------------------

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

    def _open(self) -> Opened:
        return open_data(
            Path(self.config["dir"]),
            appendfsync=self.config["appendfsync"],
            cache_bytes=self.config["maxmemory"],
            make_dispatch=lambda: Dispatch(build(native_handlers())),
            writer=self.writer,
            readers=self.readers,
            failpoints=Failpoints(self.config.failpoints),
        )

    def _make_reactor(self) -> Reactor:
        reactor = Reactor(self.sequencer, self.sequencer.highest_ts() >> 16, self._wake_fd)
        reactor.on_accept = lambda fd, listener: self.clients.accept(fd, listener)
        reactor.on_close = lambda session, reason: self.clients.gone(session, reason)
        reactor.on_wake = self._on_wake
        reactor.after_pass = self._after_pass
        return reactor

    def apply_config(self) -> None:
        """Bring the running node in line with the configuration."""
        config, reactor, clients = self.config, self.reactor, self.clients
        self.replica.cache_bytes = config["maxmemory"]
        self._bound_cache(self.jobs.memory_bytes)
        reactor.dirty_bytes_max = self.replica.dirty_bytes_max()
        reactor.pace.soft_bytes = self.replica.dirty_bytes_soft()
        reactor.pace.hard_bytes = reactor.dirty_bytes_max
        reactor.unsynced_bytes_max = UNSYNCED_BYTES_MAX
        reactor.output_bytes_max = config["client-output-buffer-limit"]["normal"].hard
        self.view.kept_bytes_max = reactor.output_bytes_max
        reactor.input_bytes_max = config["client-query-buffer-limit"]
        clients.maxclients = raise_file_limit(config["maxclients"])
        clients.keepalive_s = config["tcp-keepalive"]
        clients.password = config["requirepass"]
        clients.protected = config["protected-mode"]
        clients.proto_max_bulk_bytes = config["proto-max-bulk-len"]
        self.view.databases_count = config["databases"]
        self.view.scripts.budget_micros = config["script-time-budget"]
        self.view.scripts.limit_micros = config["script-time-limit"] * 1000
        self.view.string_bytes_max = config["proto-max-bulk-len"]
        self.view.set_intset_entries = config["set-max-intset-entries"]
        self.view.list_listpack_size = config["list-max-listpack-size"]
        for kind, bound in LISTPACK_LIMITS:
            setattr(self.view, f"{kind}_listpack_{bound}", config[f"{kind}-max-listpack-{bound}"])
        for session in clients.sessions.values():
            session.parser.proto_max_bulk_bytes = config["proto-max-bulk-len"]
        self.dispatch.slow_micros = config["slowlog-log-slower-than"]
        self.dispatch.on_slow = self._on_slow
        self.slowlog.resize(config["slowlog-max-len"])
        self.opened.log.set_mode(config["appendfsync"])
        self.sequencer.relaxed = config["appendfsync"] != "always"

    # -- running --------------------------------------------------------------------------------

    async def run(self) -> int:
        """Serve until told to stop; return the exit code."""
        try:
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                # Before the first client: a signal without a handler ends the process undrained.
                await nursery.start(self._signals)
                self.start()
                nursery.start_soon(self._cron)
                await self._drive()
                await self._drain()
                nursery.cancel_scope.cancel()
        except* StorageError as group:
            self._fail(group.exceptions[0])
        self.close()
        return self.exit_code

    def start(self) -> None:
        """Become the leader and begin to listen."""
        self.replica.lead()
        while not self.replica.is_serving:
            self.opened.log.sync()
            self.sequencer.log_moved()
        if not self.tip.has_databases():
            self.reactor.run_pass(self.sequencer.create_databases)
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
            replayed_entries=self.opened.replayed_entries,
            torn_tail_cut=self.opened.is_torn,
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
        with trio.move_on_after(DRAIN_SECONDS):
            while self.sequencer.statistics()["held_sessions"]:
                self.reactor.poll()
                await trio.lowlevel.checkpoint()
            if self.stop_with_checkpoint:
                await self._checkpoint_and_wait()

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
        self.jobs.fail(NOT_DONE)
        self.reactor.flush_all()

    def close(self) -> None:
        """Release everything."""
        self.view.scripts.kill()
        for executor in (self.writer, self.worker, *self.readers):
            executor.close()
        self.opened.close()
        log.info("stopped")

    # -- events of the reactor ------------------------------------------------------------------

    def _on_wake(self) -> None:
        for executor in (self.writer, self.worker, *self.readers):
            executor.deliver()
        self.replica.completions_due()
        self.reactor.wants_after = True

    def _after_pass(self) -> None:
        self.replica.after_pass()
        if self.replica.is_upkeep_due and self.reactor.run_pass(
            lambda: self.replica.background(self.view.now_ms)
        ):
            os.eventfd_write(self._wake_fd, 1)
        for session, args in self.sequencer.take_jobs():
            self.jobs.start(session, args)
        if self.jobs and not self._is_stepping:
            self._is_stepping = True  # the pass below ends here again
            if self.reactor.run_pass(self._step_jobs):
                os.eventfd_write(self._wake_fd, 1)
            self._is_stepping = False

    def _bound_cache(self, taken: int) -> None:
        """Transactions and large replies take memory: the cache may take so much less."""
        cache_bytes = self.config["maxmemory"]
        least = int(cache_bytes * (1 - TRANSACTIONS_MEMORY_SHARE))
        self.reactor.cache_bytes = max(cache_bytes - taken, least)

    def _step_jobs(self) -> bool:
        return self.jobs.step(lambda session: session.id not in self.clients.sessions)

    def _gone(self, session: Session) -> None:
        self.sequencer.forget(session)
        self.view.watches.remove(session)
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

    # -- what handlers may ask for --------------------------------------------------------------

    def now(self) -> int:
        return self.reactor.now()

    def sessions(self) -> Iterable[Session]:
        return list(self.clients.sessions.values())

    def close_session(self, session: Session, reason: str) -> None:
        self.reactor.kill(session, reason)

    def authenticate(self, session: Session, granted: bool) -> None:
        session.authenticated = granted
        session.parser.authenticated = granted

    def statistics(self) -> Statistics:
        return self.gauges.statistics()

    def reset_statistics(self) -> None:
        for command in self.commands.values():
            _reset(command)
        self.errors.clear()
        self.gauges.reset()

    def pause(self, until_ms: int, *, writes_only: bool) -> None:
        is_paused = self.paused_until_ms > self.reactor.now()
        self.paused_writes_only = writes_only and (self.paused_writes_only or not is_paused)
        self.paused_until_ms = max(until_ms, self.paused_until_ms if is_paused else 0)
        self.dispatch.gate = self._hold_back

    def unpause(self) -> None:
        self.paused_until_ms = 0
        self.paused_writes_only = False
        self.dispatch.gate = None
        held, self.held = self.held, []
        for session in held:
            self.sequencer.resume(session)
        os.eventfd_write(self._wake_fd, 1)

    def paused_reason(self) -> str:
        """Why commands are held back, in INFO's words."""
        return "client_pause" if self.paused_until_ms > self.reactor.now() else "none"

    def paused_actions(self) -> str:
        """Which commands are held back, in INFO's words."""
        if self.paused_until_ms <= self.reactor.now():
            return "none"
        return "write" if self.paused_writes_only else "all"

    def report_bug(self, command: bytes, error: Exception) -> None:
        """A handler raised what it must not: the client got an error, this is for us."""
        log.error("a command failed inside", command=command.decode(), exc_info=error)

    def _hold_back(self, session: Session, command: Command) -> bool:
        if self.reactor.now() >= self.paused_until_ms:
            return False
        row = command.row
        if row.group in ("connection",) or command.name in (b"info", b"command", b"config|get"):
            return False
        if self.paused_writes_only and not _may_write(session, command, self.dispatch):
            return False
        self.held.append(session)
        return True

    def unblock(self, session: Session, *, with_error: bool) -> bool:
        return unblock(self.sequencer, session, with_error)

    def answer_after(self, session: Session, delay_ms: int, write: Callable[[Any], None]) -> None:
        if delay_ms == 0:
            return

        async def later() -> None:
            await trio.sleep(delay_ms / 1000)
            self.reactor.run_pass(lambda: self.answer(session, write))

        self.nursery.start_soon(later)

    def answer(self, session: Session, write: Callable[[Any], None]) -> None:
        self.sequencer.answer(session, write)

    def is_synced(self) -> bool:
        return not self.sequencer.has_unsynced()

    def answer_when_synced(
        self, session: Session, timeout_ms: int, write: Callable[[Any], None]
    ) -> None:
        self.opened.log.sync()

        async def later() -> None:
            with trio.move_on_after(timeout_ms / 1000 if timeout_ms else math.inf):
                while session.id in self.clients.sessions and not self.is_synced():
                    await trio.sleep(SYNC_POLL_SECONDS)
            self.reactor.run_pass(lambda: self.answer(session, write))

        self.nursery.start_soon(later)

    def checkpoint(self, done: Callable[[bool], None] | None = None) -> bool:
        def finished(ok: bool) -> None:
            self.checkpointed_s = self.reactor.now() // 1000
            if done is not None:
                done(ok)

        return self.replica.request_checkpoint(finished)

    def shutdown(self, *, checkpoint: bool | None, now: bool, force: bool) -> None:
        self.stop_with_checkpoint = checkpoint is not False
        self.stopping.set()
        os.eventfd_write(self._wake_fd, 1)

    def abort_shutdown(self) -> bool:
        return False

    def stall(self, seconds: float) -> None:
        time.sleep(seconds)

    def reload(self) -> None:
        for _ in range(2):  # the first round takes the second chances away
            self.tip.evict(0, RELOAD_STEPS_MAX)

    def describe_object(self, session: Session, key: bytes) -> str | None:
        return describe(self.view, session.db, key)

    def log_message(self, text: str) -> None:
        log.warning("DEBUG LOG", message=text)

    def set_expiry_active(self, active: bool) -> None:
        self.view.expiry_active = active

    def describe_memory(self) -> str:
        return self.gauges.describe_memory()

    def release_memory(self) -> None:
        self.gauges.release_memory()


def _reset(command: Command) -> None:
    command.reset()
    for subcommand in (command.subcommands or {}).values():
        _reset(subcommand)


def _may_write(session: Session, command: Command, dispatch: Dispatch) -> bool:
    """Whether a command could change data: an EXEC if any that it runs could."""
    if command.name == b"exec":
        return session.queued_writes
    return "write" in command.row.flags.split() or command.row.name in RUN_COMMANDS


def serve(config: Config) -> int:
    """Run a node until it is told to stop; return the process's exit code.

    Raises ConfigError and StorageError for what stands in the way of a start.
    """
    runtime.check_library()
    return trio.run(Node(config).run)
