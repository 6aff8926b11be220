"""A node in memory with the whole command table, and what handlers ask of a node beside data."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from kvnode._core import databases, expiry, generic, lcs, scan, string_edit, strings, transactions
from kvnode._core.session import Session
from kvnode.base.errors import ConfigError
from kvnode.commands.context import Statistics
from kvnode.commands.slowlog import Slowlog
from kvnode.commands.table import build
from kvnode.server.config import Config
from kvnode.server.info import SECTIONS
from tests.support.memory_node import START_MS, MemoryConnection, MemoryNode
from tests.support.resp import Reply

NATIVE_MODULES = (strings, string_edit, lcs, generic, expiry, scan, databases, transactions)
MEMORY_BYTES = 1 << 31  # of the machine it believes to run on
STATE_CLOSING = 3


def native_handlers() -> dict[str, object]:
    """Return the handlers of all native modules."""
    return {name: handler for module in NATIVE_MODULES for name, handler in module.HANDLERS.items()}


class CommandNode(MemoryNode):
    """Implements commands.context.NodeContext. What is asked of it is noted in `asked`."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config(MEMORY_BYTES)
        super().__init__(build(native_handlers()))
        self.view.node = self
        self.commands = self.dispatch.commands
        self.errors = self.dispatch.errors
        self.slowlog = Slowlog(128)
        self.counters = Statistics()
        self.info_sections = SECTIONS
        self.run_id = "0123456789abcdef" * 2 + "01234567"
        self.kvnode_version = "0.1.0"
        self.started_ms = START_MS
        self.asked: list[tuple] = []
        self.connections: dict[int, TableConnection] = {}
        self.checkpoint_running = False
        self.checkpoint_fails = False
        self.shutdown_running = False
        self.synced = True
        self.timers: list[tuple[int, Callable[[], None]]] = []
        self.apply_config()
        self.config.on_change(self.apply_config)

    def apply_config(self) -> None:
        self.dispatch.password = self.config["requirepass"] or None
        self.dispatch.slow_micros = self.config["slowlog-log-slower-than"]
        self.dispatch.on_slow = self._on_slow
        self.slowlog.resize(self.config["slowlog-max-len"])
        if self.config["timeout"] == 666:
            raise ConfigError("the node refuses")

    def _on_slow(self, session: Session, args: list[bytes], micros: int) -> None:
        addr = session.addr.encode()
        self.slowlog.add(args, micros, self.now_ms, addr=addr, name=session.name)

    def connect(self) -> "TableConnection":
        self._sessions += 1
        session = Session(self._sessions, self.now_ms)
        session.addr = f"127.0.0.1:{40000 + session.id}"
        session.laddr = "127.0.0.1:6379"
        session.fd = 10 + session.id
        self.authenticate(session, not self.config["requirepass"])
        connection = TableConnection(self, session)
        self.connections[session.id] = connection
        return connection

    def advance(self, ms: int) -> None:
        """Let time pass and answer those that waited for it."""
        self.now_ms += ms
        due = [timer for timer in self.timers if timer[0] <= self.now_ms]
        self.timers = [timer for timer in self.timers if timer[0] > self.now_ms]
        for _, action in due:
            self.in_pass(action)

    def in_pass(self, action: Callable[[], None]) -> None:
        """Run `action` as the node's reactor would, and then the sessions that it let go on."""
        self.sequencer.begin(self.now_ms)
        action()
        self._end()

    # -- NodeContext ----------------------------------------------------------------------------

    def now(self) -> int:
        return self.now_ms

    def sessions(self) -> Iterable[Session]:
        return [connection.session for connection in self.connections.values()]

    def close_session(self, session: Session, reason: str) -> None:
        self.asked.append(("close", session.id, reason))
        self.connections[session.id].close()

    def authenticate(self, session: Session, granted: bool) -> None:
        session.authenticated = granted
        session.parser.authenticated = granted

    def statistics(self) -> Statistics:
        self.counters.keyspace_hits = self.view.hits
        self.counters.keyspace_misses = self.view.misses
        self.counters.checkpoint_running = self.checkpoint_running
        return self.counters

    def reset_statistics(self) -> None:
        self.counters = Statistics()
        self.view.hits = self.view.misses = 0
        self.errors.clear()
        for command in self.commands.values():
            command.reset()

    def pause(self, until_ms: int, *, writes_only: bool) -> None:
        self.asked.append(("pause", until_ms - self.now_ms, writes_only))

    def unpause(self) -> None:
        self.asked.append(("unpause",))

    def unblock(self, session: Session, *, with_error: bool) -> bool:
        return False

    def answer_after(self, session: Session, delay_ms: int, write: Callable[[Any], None]) -> None:
        if delay_ms:
            action = partial(self.answer, session, write)
            self.timers.append((self.now_ms + delay_ms, action))

    def answer(self, session: Session, write: Callable[[Any], None]) -> None:
        self.sequencer.answer(session, write)

    def checkpoint(self, done: Callable[[bool], None] | None = None) -> bool:
        self.asked.append(("checkpoint",))
        if done is not None:
            self.timers.append((self.now_ms, partial(done, not self.checkpoint_fails)))
        return not self.checkpoint_running

    def is_synced(self) -> bool:
        return self.synced

    def answer_when_synced(
        self, session: Session, timeout_ms: int, write: Callable[[Any], None]
    ) -> None:
        self.answer_after(session, timeout_ms, write)

    def shutdown(self, *, checkpoint: bool | None, now: bool, force: bool) -> None:
        self.asked.append(("shutdown", checkpoint, now, force))
        self.shutdown_running = True

    def abort_shutdown(self) -> bool:
        was_running, self.shutdown_running = self.shutdown_running, False
        return was_running

    def stall(self, seconds: float) -> None:
        self.asked.append(("stall", seconds))

    def reload(self) -> None:
        self.asked.append(("reload",))

    def describe_object(self, session: Session, key: bytes) -> str | None:
        return "Value at:0x0" if key == b"k" else None

    def set_expiry_active(self, active: bool) -> None:
        self.asked.append(("expiry", active))

    def log_message(self, text: str) -> None:
        self.asked.append(("log", text))

    def describe_memory(self) -> str:
        return "statistics of the allocator"

    def release_memory(self) -> None:
        self.asked.append(("release",))


class TableConnection(MemoryConnection):
    """A connection to a CommandNode. It ends as a reactor would end it."""

    node: CommandNode
    is_closed = False

    def _receive(self) -> bytes:
        if self.is_closed:
            return b""
        data = super()._receive()
        while not data and self.node.timers:
            self.node.advance(min(at for at, _ in self.node.timers) - self.node.now_ms)
            data = super()._receive()
        if self.session.state == STATE_CLOSING:
            self.close()
        return data

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.node.connections.pop(self.session.id, None)
            super().close()

    def words(self, line: str) -> Reply:
        """Send a command written as words and return its reply; an error is a value."""
        return self.ask(*line.split())
