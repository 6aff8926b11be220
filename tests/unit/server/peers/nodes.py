"""Nodes that are linked over loopback, and a record of what each was told."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from kvnode.raft.membership import Membership
from kvnode.raft.messages import Message
from kvnode.server.founding import proposal
from kvnode.server.listener import open_listener
from kvnode.server.peers.forward_link import ForwardLink
from kvnode.server.peers.framing import Greeting
from kvnode.server.peers.handshake import NO_GROUP, Own
from kvnode.server.peers.links import Link
from kvnode.server.peers.peers import Peers
from tests.unit.server.peers.pairs import SECRET, random_bytes

WAIT_SECONDS = 20  # for what comes at once; only a bug lasts as long


class Told:
    """What a node's driver was told, in order. `until` waits for it."""

    def __init__(self) -> None:
        self.greetings: list[tuple[int, bytes, Greeting]] = []
        self.messages: list[tuple[Message, bytes]] = []
        self.images: list[tuple[int, bytes]] = []
        self.drained: list[int] = []
        self.lost: list[int] = []
        self.links: list[ForwardLink] = []
        self.frames: list[tuple[int, bytes]] = []  # link id and body
        self.closed: list[int] = []
        self.batches = 0
        self.answer: Callable[[Message], None] | None = None
        self._changed = trio.Event()

    def on_greeting(self, node_id: int, identity: bytes, greeting: Greeting) -> None:
        self.greetings.append((node_id, identity, greeting))

    def on_message(self, message: Message, identity: bytes) -> None:
        self.messages.append((message, identity))
        if self.answer is not None:
            self.answer(message)

    def on_image(self, source: int, body: bytes) -> None:
        self.images.append((source, body))

    def on_image_drained(self, target: int) -> None:
        self.drained.append(target)

    def on_lost(self, node_id: int) -> None:
        self.lost.append(node_id)

    def on_forward(self, link: ForwardLink) -> None:
        self.links.append(link)
        link.on_frame = lambda body: self.frames.append((link.link_id, body))
        link.on_closed = lambda: self.closed.append(link.link_id)

    def after_input(self) -> None:
        self.batches += 1
        self._changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something that was told makes `condition` true."""
        with trio.fail_after(WAIT_SECONDS):
            while not condition():
                self._changed = trio.Event()
                await self._changed.wait()


class LinkedNode:
    """A node that has links, and nothing else."""

    def __init__(
        self,
        node_id: int,
        cluster: dict[int, str],
        listener: socket.socket,
        *,
        group: bytes = NO_GROUP,
        secret: bytes = SECRET,
        identity: bytes = b"",
    ) -> None:
        self.node_id = node_id
        self.told = Told()
        own = Own(node_id, identity or bytes([node_id]) * 16, group)
        greeting = Greeting(group, f"client{node_id}:6379", proposal(cluster))
        self.peers = Peers(own, greeting, secret, listener, random_bytes(node_id), self.told)
        self.peers.set_members(cluster)
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        with self._scope:
            await self.peers.run()

    def stop(self) -> None:
        self._scope.cancel()

    async def until_linked(self, *others: int) -> None:
        """Wait until messages, entries and images reach the others."""
        with trio.fail_after(WAIT_SECONDS):
            while not all(self.has_all_links(other) for other in others):
                await trio.lowlevel.checkpoint()

    def accepted(self, other: int) -> list[Link]:
        """Return the open links for small messages that another node opened; one or none."""
        return [self.peers._accepted[k] for k in self.peers._accepted if k == (other, 1)]

    def has_all_links(self, other: int) -> bool:
        links = [d.link for (n, _), d in self.peers._dialers.items() if n == other]
        return len(links) >= 3 and all(link is not None for link in links)


def listener() -> tuple[socket.socket, str]:
    sock = open_listener("127.0.0.1", 0, 16)
    return sock, f"127.0.0.1:{sock.getsockname()[1]}"


@asynccontextmanager
async def linked(
    count: int, group: bytes = NO_GROUP, members: Membership | None = None
) -> AsyncIterator[list[LinkedNode]]:
    """Yield nodes 1..count, all linked."""
    sockets = {n: listener() for n in range(1, count + 1)}
    cluster = {n: address for n, (_, address) in sockets.items()}
    nodes = [LinkedNode(n, cluster, sock, group=group) for n, (sock, _) in sockets.items()]
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(node.run)
        for node in nodes:
            await node.until_linked(*(set(cluster) - {node.node_id}))
        yield nodes
        nursery.cancel_scope.cancel()
