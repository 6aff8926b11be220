"""One link to one node, made anew whenever it breaks."""

from collections.abc import Awaitable, Callable

import trio

from kvnode.base.addresses import split_address
from kvnode.base.errors import ConfigError
from kvnode.base.limits import DIAL_PAUSE_SECONDS_MAX, DIAL_PAUSE_SECONDS_MIN
from kvnode.server.peers.handshake import DialerHandshake, LinkKind, RandomBytes
from kvnode.server.peers.links import Link, LinkLost, authenticate, dial

MakeHandshake = Callable[[int, LinkKind], DialerHandshake]


class Pauses:
    """How long to wait between attempts: twice as long each time, up to a bound, with jitter.

    Jitter: nodes that lost each other at the same moment do not come back at the same moment.
    """

    def __init__(self, random: RandomBytes) -> None:
        self._random = random
        self._seconds = DIAL_PAUSE_SECONDS_MIN

    def next(self, lasted_seconds: float = 0.0) -> float:
        """Return the seconds to wait now. lasted_seconds: of the link that ended."""
        if lasted_seconds >= DIAL_PAUSE_SECONDS_MAX:
            self._seconds = DIAL_PAUSE_SECONDS_MIN
        seconds = self._seconds * (0.5 + self._random(1)[0] / 512)
        self._seconds = min(2 * self._seconds, DIAL_PAUSE_SECONDS_MAX)
        return seconds


class Dialer:
    """Keeps a link of one kind to `node_id` at `address`, "host:port", until it is stopped.

    link: the open one, or None.   failure: why there is none; empty at first.
    serve: serves a link until it ends.   on_failure: an attempt failed, or the link
    ended, for another reason than the last time.
    """

    def __init__(
        self,
        node_id: int,
        kind: LinkKind,
        address: str,
        make_handshake: MakeHandshake,
        random: RandomBytes,
        serve: Callable[[Link], Awaitable[str]],
        on_failure: Callable[["Dialer"], None],
    ) -> None:
        self.node_id = node_id
        self.kind = kind
        self.address = address
        self.link: Link | None = None
        self.failure = ""
        self._make_handshake = make_handshake
        self._pauses = Pauses(random)
        self._serve = serve
        self._on_failure = on_failure
        self._scope = trio.CancelScope()

    def stop(self) -> None:
        self._scope.cancel()

    async def run(self) -> None:
        """Dial until stopped."""
        told = ""
        with self._scope:
            while True:
                began = trio.current_time()
                try:
                    self.failure = await self._connect()
                except LinkLost as error:
                    self.failure = str(error)
                    began = trio.current_time()
                if self.failure != told:
                    told = self.failure
                    self._on_failure(self)
                await trio.sleep(self._pauses.next(trio.current_time() - began))

    async def _connect(self) -> str:
        """Connect, serve the link, and return why it ended. Raises LinkLost."""
        try:
            host, port = split_address(self.address)
        except ConfigError as error:  # it came with a membership, not from our configuration
            raise LinkLost(str(error)) from None
        sock = await dial(host, port)
        handshake = self._make_handshake(self.node_id, self.kind)
        with sock:
            peer = await authenticate(sock, handshake, handshake.begin())
            link = Link(sock, peer, handshake.rest)
            self.link = link
            try:
                return await self._serve(link)
            finally:
                self.link = None
