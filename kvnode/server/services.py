"""What handlers may ask of the node: commands/context.py says why."""

import math
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import structlog
import trio

from kvnode._core.dispatch import Command, Dispatch
from kvnode._core.front import Mirror
from kvnode._core.generic import describe
from kvnode._core.reactor import Reactor
from kvnode._core.serving import unblock
from kvnode._core.session import Session
from kvnode.base.limits import RELOAD_STEPS_MAX, SYNC_POLL_SECONDS
from kvnode.commands.context import STATE_WAITING, Statistics
from kvnode.commands.row import HAVE_EFFECTS
from kvnode.server.clients import Clients
from kvnode.server.data import DataDirectory
from kvnode.server.gauges import Gauges
from kvnode.txn.replica import Replica

if TYPE_CHECKING:
    from kvnode._core.sequencer import Sequencer
    from kvnode._core.tip import Tip
    from kvnode._core.view import View
    from kvnode.server.group import NodeGroup

log = structlog.get_logger()


class NodeServices:
    """The part of a Node that handlers see as `view.node`, beside its data attributes."""

    reactor: Reactor
    replica: Replica
    data: DataDirectory
    dispatch: Dispatch
    clients: Clients
    gauges: Gauges
    networked: "NodeGroup | None"
    nursery: trio.Nursery
    stopping: trio.Event
    stop_with_checkpoint: bool
    checkpointed_s: int
    held: list[Session]  # by a pause
    paused_until_ms: int
    paused_writes_only: bool

    def wake(self) -> None:
        """Have a pass run soon."""
        raise NotImplementedError

    @property
    def sequencer(self) -> "Sequencer":
        return self.replica.state.sequencer

    @property
    def tip(self) -> "Tip":
        return self.replica.state.tip

    @property
    def view(self) -> "View":
        return self.replica.state.view

    @property
    def commands(self) -> Any:
        return self.dispatch.commands

    @property
    def errors(self) -> Any:
        return self.dispatch.errors

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
        self.wake()

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
        if self.paused_writes_only and not may_write(session, command, self.dispatch):
            return False
        self.held.append(session)
        return True

    def client_beside(self, session: Session, client_id: int) -> Session | None:
        if isinstance(session, Mirror) and self.networked is not None:
            return self.networked.forwarding.mirror_beside(session, client_id)
        return self.clients.sessions.get(client_id)

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

    def answer_when(
        self,
        session: Session,
        timeout_ms: int,
        is_due: Callable[[], bool],
        write: Callable[[Any], None],
    ) -> None:
        self.data.log.sync()

        async def later() -> None:
            with trio.move_on_after(timeout_ms / 1000 if timeout_ms else math.inf):
                while session.state == STATE_WAITING and not is_due():
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
        self.wake()

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


def may_write(session: Session, command: Command, dispatch: Dispatch) -> bool:
    """Whether a command could change data: an EXEC if any that it runs could."""
    if command.name == b"exec":
        return session.queued_writes
    return "write" in command.row.flags.split() or command.row.name in HAVE_EFFECTS
