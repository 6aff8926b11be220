"""The other nodes of the group, as this node's driver sees them.

Each node dials each other member once for each kind of link, so what a node sends goes over links
that it opened, and what it gets comes over links that others opened; forward links, which only a
follower opens, and only to the leader, are used in both directions. Small messages to somebody who
is not dialed (a node that was just added may not know who adds it) go back where they came from.

Nothing here waits: what a link cannot take is dropped, and `on_lost` says so, once until something
gets through again. `send...` only queues; `flush` lets it go. Callbacks come from tasks of `run`,
never from within a call.
"""

import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

import structlog
import trio

from kvnode.base.errors import RemoteProtocolError
from kvnode.base.limits import ACCEPTED_LINKS_MAX
from kvnode.raft.membership import Membership
from kvnode.raft.messages import Append, Message
from kvnode.server.peers import framing
from kvnode.server.peers.accepting import Acceptor
from kvnode.server.peers.dialing import Dialer
from kvnode.server.peers.forward_link import ForwardLink
from kvnode.server.peers.framing import Frame, FrameType, Greeting
from kvnode.server.peers.handshake import (
    NO_GROUP,
    AcceptorHandshake,
    DialerHandshake,
    LinkKind,
    Own,
    Peer,
    RandomBytes,
)
from kvnode.server.peers.links import Link

log = structlog.get_logger()

TO_EACH = (LinkKind.RAFT, LinkKind.BULK, LinkKind.IMAGE)

Key = tuple[int, LinkKind]


class PeerEvents(Protocol):
    """What happens on links. All of these may send; after_input follows each batch of others."""

    def on_greeting(self, node_id: int, identity: bytes, greeting: Greeting) -> None:
        """An authenticated node told who it is; it may say it again, changed or not."""

    def on_message(self, message: Message, identity: bytes) -> None:
        """identity: of the directory that sent it. An Append has its block as payload."""

    def on_image(self, source: int, body: bytes) -> None:
        """A part of an image. May raise RemoteProtocolError."""

    def on_image_drained(self, target: int) -> None:
        """There is room for more parts of an image, after there was none."""

    def on_lost(self, node_id: int) -> None:
        """What was on its way to a node may be lost (raft: note_lost)."""

    def on_forward(self, link: ForwardLink) -> None:
        """A link for forwarding is open: set its callbacks now."""

    def after_input(self) -> None:
        """All that arrived at once was told. What is sent here is flushed."""


class Peers:
    """Links to and from the other nodes."""

    def __init__(
        self,
        own: Own,
        greeting: Greeting,
        secret: bytes,
        listener: socket.socket,
        random: RandomBytes,
        events: PeerEvents,
    ) -> None:
        """listener: see open_listener; closed when `run` ends. greeting: of this node."""
        assert own.group == greeting.group
        self.own = own
        self.greeting = greeting
        self._secret = secret
        self._random = random
        self._events = events
        self._acceptor = Acceptor(listener, self._accept_handshake, self._serve_accepted)
        self._addresses: dict[int, str] = {}
        self._leaders: frozenset[int] = frozenset()  # to which there are links for forwarding
        self._dialers: dict[Key, Dialer] = {}
        self._accepted: dict[Key, Link] = {}
        self._unflushed: dict[Link, None] = {}
        self._silenced: set[Key] = set()  # of which on_lost was told, and nothing got through since
        self._lost: dict[int, None] = {}  # to be told
        self._lost_due = trio.Event()
        self._nursery: trio.Nursery | None = None

    # -- who there is ---------------------------------------------------------------------------

    def set_members(self, addresses: Mapping[int, str]) -> None:
        """Keep links to these nodes and no others; itself may be among them."""
        self._addresses = {k: v for k, v in addresses.items() if k != self.own.node_id}
        self._silenced.clear()  # it would grow with the members that ever were
        self._update_dialers()

    def set_leader(self, node_id: int | None, former: Iterable[int] = ()) -> None:
        """Keep a link for forwarding to this member; None, or itself: to nobody.

        former: members to which such a link is kept, if there is one, since answers may come.
        """
        kept = {n for n in former if (n, LinkKind.FORWARD) in self._dialers}
        self._leaders = frozenset(kept if node_id is None else kept | {node_id})
        self._update_dialers()

    def set_greeting(
        self,
        *,
        group: bytes | None = None,
        members: Membership | None = None,
        client_address: str | None = None,
    ) -> None:
        """Tell all nodes what has changed about this one. A group does not change again."""
        if group is not None:
            assert self.own.group in (NO_GROUP, group), "a directory belongs to one group for ever"
            self.own = replace(self.own, group=group)
        old = self.greeting
        self.greeting = Greeting(
            self.own.group,
            old.client_address if client_address is None else client_address,
            old.members if members is None else members,
        )
        for link in self._raft_links():
            self._greet(link)
        self.flush()

    def failures(self) -> dict[int, str]:
        """Return why nothing can be sent to a member, of those where it is so."""
        return {
            node_id: dialer.failure
            for (node_id, kind), dialer in self._dialers.items()
            if kind is LinkKind.RAFT and dialer.link is None
        }

    def is_linked(self, node_id: int) -> bool:
        """Whether small messages reach a node, as far as is known."""
        return self._link_to(node_id, LinkKind.RAFT) is not None

    # -- what is sent ---------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Queue a message without entries."""
        assert not isinstance(message, Append)
        self._post(
            (message.target, LinkKind.RAFT),
            FrameType.MESSAGE,
            lambda: framing.message_parts(message),
        )

    def send_entries(self, message: Append, block: bytes) -> None:
        """Queue an Append with its entries."""
        self._post(
            (message.target, LinkKind.BULK),
            FrameType.ENTRIES,
            lambda: framing.entries_parts(message, block),
        )

    def send_image(self, target: int, body: bytes) -> bool:
        """Queue a part of an image; False: it is lost, and `on_lost` tells it, too."""
        return self._post((target, LinkKind.IMAGE), FrameType.IMAGE, lambda: [body])

    def is_image_linked(self, target: int) -> bool:
        """Whether parts of an image reach a node, as far as is known."""
        return self._link_to(target, LinkKind.IMAGE) is not None

    def image_queued_bytes(self, target: int) -> int:
        """Return how much of an image waits for the socket; its sender keeps that small."""
        link = self._link_to(target, LinkKind.IMAGE)
        return 0 if link is None else link.queued_bytes

    def flush(self) -> None:
        """Let everything go that was queued since."""
        while self._unflushed:
            link, _ = self._unflushed.popitem()
            link.flush()

    def _post(self, key: Key, kind: FrameType, parts: Callable[[], list[bytes]]) -> bool:
        link = self._link_to(*key)
        if link is not None and link.queue(kind, parts()):
            self._silenced.discard(key)
            self._note_unflushed(link)
            return True
        self._note_lost(key)
        return False

    def _link_to(self, node_id: int, kind: LinkKind) -> Link | None:
        dialer = self._dialers.get((node_id, kind))
        link = dialer.link if dialer is not None else None
        if link is None and kind is LinkKind.RAFT:
            link = self._accepted.get((node_id, kind))
        return link if link is not None and link.is_open else None

    def _note_lost(self, key: Key) -> None:
        if key not in self._silenced:
            self._silenced.add(key)
            self._lost[key[0]] = None
            self._lost_due.set()

    # -- tasks ----------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep links until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for dialer in self._dialers.values():
                    nursery.start_soon(dialer.run)
                nursery.start_soon(self._report_lost)
                task_status.started()
                await self._acceptor.run()
        finally:
            self._nursery = None

    async def _report_lost(self) -> None:
        while True:
            await self._lost_due.wait()
            self._lost_due = trio.Event()
            lost, self._lost = self._lost, {}
            for node_id in lost:
                self._events.on_lost(node_id)
            self._end_of_input()
            await trio.lowlevel.checkpoint()

    def _end_of_input(self) -> None:
        self._events.after_input()
        self.flush()

    # -- links that this node opens -------------------------------------------------------------

    def _update_dialers(self) -> None:
        """Bring the dialers in line with the members and the leader."""
        wanted = {(n, kind): address for n, address in self._addresses.items() for kind in TO_EACH}
        for leader in self._leaders & self._addresses.keys():
            wanted[leader, LinkKind.FORWARD] = self._addresses[leader]
        for key, dialer in list(self._dialers.items()):
            if wanted.get(key) != dialer.address:
                dialer.stop()
                del self._dialers[key]
        for key, address in wanted.items():
            if key not in self._dialers:
                self._dialers[key] = self._start_dialer(key, address)

    def _start_dialer(self, key: Key, address: str) -> Dialer:
        dialer = Dialer(
            *key,
            address,
            self._dial_handshake,
            self._random,
            self._serve_dialed,
            self._on_failure,
        )
        if self._nursery is not None:
            self._nursery.start_soon(dialer.run)
        return dialer

    def _dial_handshake(self, target: int, kind: LinkKind) -> DialerHandshake:
        return DialerHandshake(self.own, self._secret, self._random, target, kind)

    async def _serve_dialed(self, link: Link) -> str:
        node_id, kind = link.peer.node_id, link.peer.kind
        if kind is LinkKind.RAFT:
            log.info("linked to node", node=node_id)
        if kind is LinkKind.FORWARD:
            return await self._serve_forward(link, is_accepted=False)
        try:
            return await self._serve(link)
        finally:
            self._note_lost((node_id, kind))

    def _on_failure(self, dialer: Dialer) -> None:
        if dialer.kind is LinkKind.RAFT:  # the others fail for the same reason
            log.warning(
                "no link to node",
                node=dialer.node_id,
                address=dialer.address,
                reason=dialer.failure,
            )

    # -- links that others open -----------------------------------------------------------------

    def _accept_handshake(self) -> AcceptorHandshake:
        return AcceptorHandshake(self.own, self._secret, self._random)

    async def _serve_accepted(self, link: Link) -> None:
        key = (link.peer.node_id, link.peer.kind)
        old = self._accepted.pop(key, None)
        if old is not None:
            old.close("the other end opened a newer one")
        if len(self._accepted) >= ACCEPTED_LINKS_MAX:
            log.error("a node is turned away: too many are linked", node=key[0])
            return
        self._accepted[key] = link
        try:
            if link.peer.kind is LinkKind.FORWARD:
                await self._serve_forward(link, is_accepted=True)
            else:
                await self._serve(link)
        finally:
            if self._accepted.get(key) is link:
                del self._accepted[key]

    # -- what arrives ---------------------------------------------------------------------------

    async def _serve(self, link: Link, forward: ForwardLink | None = None) -> str:
        """Tell what arrives on a link until it ends; return why it did."""
        if link.peer.kind is LinkKind.RAFT:
            self._greet(link)
            self.flush()

        def on_frames(frames: list[Frame]) -> None:
            try:
                for kind, body in frames:
                    self._take(link.peer, forward, kind, body)
            finally:
                self._end_of_input()

        def on_drained() -> None:
            if forward is not None:
                forward.on_drained()
            elif link.peer.kind is LinkKind.IMAGE:
                self._events.on_image_drained(link.peer.node_id)
            self._end_of_input()

        try:
            return await link.run(on_frames, on_drained)
        finally:
            self._unflushed.pop(link, None)

    async def _serve_forward(self, link: Link, *, is_accepted: bool) -> str:
        forward = ForwardLink(link, is_accepted=is_accepted, note_unflushed=self._note_unflushed)
        self._events.on_forward(forward)
        self._end_of_input()
        try:
            reason = await self._serve(link, forward)
        finally:
            forward.on_closed()
        self._end_of_input()
        return reason

    def _take(self, peer: Peer, forward: ForwardLink | None, kind: int, body: bytes) -> None:
        """Tell one frame. Raises RemoteProtocolError."""
        match peer.kind, kind:
            case LinkKind.RAFT, FrameType.MESSAGE:
                self._on_message(peer, framing.decode_message(body))
            case LinkKind.BULK, FrameType.ENTRIES:
                self._on_message(peer, framing.decode_entries(body))
            case LinkKind.IMAGE, FrameType.IMAGE:
                self._events.on_image(peer.node_id, body)
            case LinkKind.FORWARD, FrameType.FORWARD if forward is not None:
                forward.on_frame(body)
            case LinkKind.RAFT, FrameType.GREETING:
                self._on_greeting(peer, framing.decode_greeting(body))
            case _:
                raise RemoteProtocolError(f"a frame of type {kind} on a {peer.kind.name} link")

    def _on_message(self, peer: Peer, message: Message) -> None:
        if (message.source, message.target) != (peer.node_id, self.own.node_id):
            raise RemoteProtocolError(
                f"node {peer.node_id} sent a message from {message.source} to {message.target}"
            )
        self._events.on_message(message, peer.identity)

    def _on_greeting(self, peer: Peer, greeting: Greeting) -> None:
        if NO_GROUP not in (greeting.group, self.own.group) and greeting.group != self.own.group:
            raise RemoteProtocolError(
                f"node {peer.node_id} belongs to group {greeting.group.hex()}, "
                f"this one to {self.own.group.hex()}"
            )
        self._events.on_greeting(peer.node_id, peer.identity, greeting)

    # -- odds and ends --------------------------------------------------------------------------

    def _greet(self, link: Link) -> None:
        if link.queue(FrameType.GREETING, framing.greeting_parts(self.greeting)):
            self._note_unflushed(link)

    def _note_unflushed(self, link: Link) -> None:
        self._unflushed[link] = None

    def _raft_links(self) -> list[Link]:
        dialed = [d.link for (_, kind), d in self._dialers.items() if kind is LinkKind.RAFT]
        accepted = [link for (_, kind), link in self._accepted.items() if kind is LinkKind.RAFT]
        return [link for link in dialed + accepted if link is not None]
