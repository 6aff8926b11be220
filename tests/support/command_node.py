"""A node in memory with the whole command table, and what handlers ask of a node beside data."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from kvnode._core.dispatch import Command
from kvnode._core.serving import unblock
from kvnode._core.session import Session
from kvnode.base.errors import ConfigError
from kvnode.commands.context import Statistics
from kvnode.commands.group import Group, LoneGroup
from kvnode.commands.slowlog import Slowlog
from kvnode.server.config import Config
from kvnode.server.info import SECTIONS
from kvnode.server.local import START_MS
from tests.support.local import S_CLOSING, LocalClient, LocalNode
from tests.support.resp import ErrorReply, Reply

MEMORY_BYTES = 1 << 31  # of the machine it believes to run on


class CommandNode(LocalNode):
    """Implements commands.context.NodeContext. What is asked of it is noted in `asked`."""

    def __init__(
        self, config: Config | None = None, *, commands: Iterable[Command] | None = None
    ) -> None:
        self.config = config or Config(MEMORY_BYTES)
        super().__init__(commands=commands)
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
        self.connections: dict[int, TableClient] = {}
        self.checkpoint_running = False
        self.checkpoint_fails = False
        self.shutdown_running = False
        self.synced = True
        self.timers: list[tuple[int, Callable[[], None]]] = []
        # (deadline or None, whether it is due, action)
        self.conditions: list[tuple[int | None, Callable[[], bool], Callable[[], None]]] = []
        self.group: Group = LoneGroup(lambda: (self.log_index(), self.log_index()))
        self.apply_config()
        self.config.on_change(self.apply_config)

    def apply_config(self) -> None:
        self.dispatch.slow_micros = self.config["slowlog-log-slower-than"]
        self.dispatch.on_slow = self._on_slow
        self.slowlog.resize(self.config["slowlog-max-len"])
        if self.config["timeout"] == 666:
            raise ConfigError("the node refuses")

    def _on_slow(self, session: Session, args: list[bytes], micros: int) -> None:
        addr = session.addr.encode()
        self.slowlog.add(args, micros, self.clock.now_ms, addr=addr, name=session.name)

    def connect(self) -> "TableClient":
        """Return a new client on the loopback interface."""
        session = self.session()
        session.addr = f"127.0.0.1:{40000 + session.id}"
        session.laddr = "127.0.0.1:6379"
        session.fd = 10 + session.id
        self.authenticate(session, not self.config["requirepass"])
        connection = TableClient(self, session)
        self.connections[session.id] = connection
        return connection

    def advance(self, ms: int) -> None:
        """Let time pass and answer those that waited for it."""
        self.clock.now_ms += ms
        now = self.clock.now_ms
        due = [action for at, action in self.timers if at <= now]
        self.timers = [timer for timer in self.timers if timer[0] > now]
        waiting = []
        for deadline, is_due, action in self.conditions:
            if is_due() or (deadline is not None and deadline <= now):
                due.append(action)
            else:
                waiting.append((deadline, is_due, action))
        self.conditions = waiting
        for action in due:
            self.in_pass(action)

    def later(self, action: Callable[[], None]) -> None:
        """Run something in a pass of its own."""
        self.timers.append((self.clock.now_ms, action))

    def next_ms(self) -> int | None:
        """Return how long nothing will happen by itself; None: for ever."""
        deadlines = [at for at, _, _ in self.conditions if at is not None]
        times = [at for at, _ in self.timers] + deadlines
        return max(0, min(times) - self.clock.now_ms) if times else None

    def in_pass(self, action: Callable[[], None]) -> None:
        """Run `action` in a pass, as the node's reactor does with what finishes later."""
        self.sequencer.begin(self.clock.now_ms)
        action()
        self._end()
        self.commit()

    def log_index(self) -> int:
        """Return the last index of the log, all of which is committed."""
        return self.sequencer.statistics()["last_index"]

    # -- NodeContext ----------------------------------------------------------------------------

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
        self.asked.append(("pause", until_ms - self.clock.now_ms, writes_only))

    def unpause(self) -> None:
        self.asked.append(("unpause",))

    def client_beside(self, session: Session, client_id: int) -> Session | None:
        connection = self.connections.get(client_id)
        return connection.session if connection is not None else None

    def unblock(self, session: Session, *, with_error: bool) -> bool:
        return unblock(self.sequencer, session, with_error)

    def answer_after(self, session: Session, delay_ms: int, write: Callable[[Any], None]) -> None:
        if delay_ms:
            action = partial(self.answer, session, write)
            self.timers.append((self.clock.now_ms + delay_ms, action))

    def answer(self, session: Session, write: Callable[[Any], None]) -> None:
        self.sequencer.answer(session, write)

    def checkpoint(self, done: Callable[[bool], None] | None = None) -> bool:
        self.asked.append(("checkpoint",))
        if done is not None:
            self.timers.append((self.clock.now_ms, partial(done, not self.checkpoint_fails)))
        return not self.checkpoint_running

    def is_synced(self) -> bool:
        return self.synced

    def answer_when(
        self,
        session: Session,
        timeout_ms: int,
        is_due: Callable[[], bool],
        write: Callable[[Any], None],
    ) -> None:
        deadline = self.clock.now_ms + timeout_ms if timeout_ms else None
        self.conditions.append((deadline, is_due, partial(self.answer, session, write)))

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


class TableClient(LocalClient):
    """A client of a CommandNode. What it waits for comes at once; it ends as a reactor ends it."""

    node: CommandNode
    is_closed = False

    def _transmit(self, data: bytes) -> None:
        if self.is_closed:
            return
        super()._transmit(data)
        self._let_come(0)
        while not self._output and (ms := self.node.next_ms()) is not None:
            self._let_come(ms)
        if self.session.state == S_CLOSING:
            self.close()

    def _let_come(self, ms: int) -> None:
        if not self._output:
            self.node.advance(ms)
            super()._transmit(b"")

    def close(self) -> None:
        """Leave the node."""
        if not self.is_closed:
            self.is_closed = True
            self.node.connections.pop(self.session.id, None)
            self.node.close(self.session)

    def words(self, line: str) -> Reply:
        """Send a command written as words and return its reply; an error is a value."""
        return self.ask(*line.split())


def error(reply: Reply) -> str:
    """Return the line of an error; anything else fails the test."""
    assert isinstance(reply, ErrorReply), reply
    return str(reply)
