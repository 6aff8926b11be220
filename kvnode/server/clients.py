"""The connected clients: admission, closing, pausing, idle timeouts."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import structlog

from kvnode._core.session import Session
from kvnode.base.addresses import is_loopback, join_address
from kvnode.commands.client_list import is_subscribed
from kvnode.server.listener import tune_client

log = structlog.get_logger()

REFUSED_MAXCLIENTS = b"-ERR max number of clients reached\r\n"
REFUSED_PROTECTED = (
    b"-DENIED Redis is running in protected mode because protected mode is enabled and no password "
    b"is set for the default user. In this mode connections are only accepted from the loopback "
    b"interface. If you want to connect from external computers to Redis you may adopt one of the "
    b"following solutions: 1) Just disable protected mode sending the command "
    b"'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the "
    b"same host the server is running, however MAKE SURE Redis is not publicly accessible from "
    b"internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively "
    b"you can just disable the protected mode by editing the Redis configuration file, and setting "
    b"the protected mode option to 'no', and then restarting the server. 3) If you started the "
    b"server manually just for testing, restart it with the '--protected-mode no' option. 4) Set "
    b"up an authentication password for the default user. NOTE: You only need to do one of the "
    b"above things in order for the server to start accepting connections from the outside.\r\n"
)


@dataclass
class ClientCounters:
    """Counters of connections since start (INFO stats)."""

    accepted: int = 0
    rejected: int = 0
    input_limit: int = 0
    output_limit: int = 0
    timed_out: int = 0


@dataclass
class Clients:
    """Every connected session, by id.

    now_ms: the node's time. on_gone: called with each session that ended.
    """

    now_ms: Callable[[], int]
    on_gone: Callable[[Session], None]
    maxclients: int = 10000
    keepalive_s: int = 300
    password: bytes = b""
    protected: bool = True
    proto_max_bulk_bytes: int = 512 * 1024 * 1024
    sessions: dict[int, Session] = field(default_factory=dict)
    counters: ClientCounters = field(default_factory=ClientCounters)
    next_id: int = 1

    def accept(self, fd: int, listener: Any) -> Session | None:
        """Admit the connection `fd`, or answer why not and return None."""
        sock = socket.socket(fileno=fd)
        try:
            peer = sock.getpeername()
            refusal = self._refusal(peer[0])
            if refusal is not None:
                self.counters.rejected += 1
                sock.send(refusal)
                return None
            tune_client(sock, self.keepalive_s)
            local = sock.getsockname()
        except OSError:
            return None
        finally:
            sock.detach()
        session = self.admit()
        session.addr = join_address(*peer[:2])
        session.laddr = join_address(*local[:2])
        return session

    def new_id(self) -> int:
        """Return an id that no session has had."""
        self.next_id += 1
        return self.next_id - 1

    def admit(self) -> Session:
        """Make a session without a socket."""
        session = Session(self.new_id(), self.now_ms())
        session.authenticated = not self.password
        session.parser.authenticated = session.authenticated
        session.parser.proto_max_bulk_bytes = self.proto_max_bulk_bytes
        self.sessions[session.id] = session
        self.counters.accepted += 1
        return session

    def gone(self, session: Session, reason: str | None) -> None:
        """A connection was closed."""
        self.sessions.pop(session.id, None)
        if reason == "client-output-buffer-limit":
            self.counters.output_limit += 1
            log.warning(
                "client closed: its output is above client-output-buffer-limit",
                addr=session.addr,
                id=session.id,
                output_bytes=session.output_bytes,
            )
        elif reason == "client-query-buffer-limit":
            self.counters.input_limit += 1
            log.warning(
                "client closed: its input is above client-query-buffer-limit",
                addr=session.addr,
                id=session.id,
                input_bytes=session.input_bytes,
            )
        self.on_gone(session)

    def idle(self, timeout_s: int) -> Iterator[Session]:
        """Yield sessions that sent nothing for `timeout_s` and wait for nothing, nor messages."""
        if not timeout_s:
            return
        oldest = self.now_ms() - timeout_s * 1000
        for session in list(self.sessions.values()):
            is_waiting = session.waiting is not None or is_subscribed(session)
            if session.active_ms < oldest and not is_waiting:
                yield session

    def _refusal(self, host: str) -> bytes | None:
        if len(self.sessions) >= self.maxclients:
            return REFUSED_MAXCLIENTS
        if self.protected and not self.password and not is_loopback(host):
            return REFUSED_PROTECTED
        return None
