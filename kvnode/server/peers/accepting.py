"""The listener for other nodes: who connects is authenticated, or closed before long."""

import socket
from collections.abc import Awaitable, Callable

import structlog
import trio

from kvnode.base.limits import (
    ACCEPT_PAUSE_SECONDS,
    HANDSHAKES_PENDING_MAX,
    LINK_LOG_SECONDS,
)
from kvnode.server.peers.handshake import Handshake
from kvnode.server.peers.links import Link, LinkLost, authenticate

log = structlog.get_logger()


class Acceptor:
    """Accepts connections of other nodes.

    make_handshake: for one connection. serve: serves a link until it ends.

    Connections that are not authenticated yet are bounded; the oldest makes room, so that strangers
    who say nothing keep nobody out who has the secret.
    """

    def __init__(
        self,
        listener: socket.socket,
        make_handshake: Callable[[], Handshake],
        serve: Callable[[Link], Awaitable[None]],
    ) -> None:
        self._listener = listener
        self._make_handshake = make_handshake
        self._serve = serve
        self._pending: dict[trio.CancelScope, None] = {}  # in the order of their arrival
        self._refused = 0
        self._logged_at = -LINK_LOG_SECONDS

    @property
    def pending(self) -> int:
        """Connections that are not authenticated yet."""
        return len(self._pending)

    async def run(self) -> None:
        """Accept until cancelled. The listener is closed then."""
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    await trio.lowlevel.wait_readable(self._listener)
                    try:
                        sock, address = self._listener.accept()
                    except (BlockingIOError, ConnectionError):
                        continue
                    except OSError as error:
                        log.error("cannot accept a node's connection", error=error.strerror)
                        await trio.sleep(ACCEPT_PAUSE_SECONDS)
                        continue
                    sock.setblocking(False)
                    scope = self._enter()
                    nursery.start_soon(self._welcome, sock, address, scope)
        finally:
            self._listener.close()

    def _enter(self) -> trio.CancelScope:
        """Return the scope of a new connection's handshake; make room for it."""
        if len(self._pending) >= HANDSHAKES_PENDING_MAX:
            oldest = next(iter(self._pending))
            del self._pending[oldest]
            oldest.cancel()
        scope = trio.CancelScope()
        self._pending[scope] = None
        return scope

    async def _welcome(
        self, sock: socket.socket, address: tuple[str, int], scope: trio.CancelScope
    ) -> None:
        peer = None
        handshake = self._make_handshake()
        with sock:
            try:
                with scope:
                    peer = await authenticate(sock, handshake)
                if peer is None:
                    raise LinkLost("more connections came than can be authenticated at a time")
            except LinkLost as error:
                self._report(address, str(error))
                return
            finally:
                self._pending.pop(scope, None)
            await self._serve(Link(sock, peer, handshake.rest))

    def _report(self, address: tuple[str, int], reason: str) -> None:
        """Say who was turned away, but not faster than anybody reads."""
        self._refused += 1
        if trio.current_time() >= self._logged_at + LINK_LOG_SECONDS:
            log.warning(
                "turned away who is no node of this group",
                address=f"{address[0]}:{address[1]}",
                reason=reason,
                so_many=self._refused,
            )
            self._logged_at = trio.current_time()
            self._refused = 0
