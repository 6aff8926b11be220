"""What a simulated node sees of the others: Peers, on a simulated network.

A follower opens a link for forwarding to its leader. Frames stay in order; when the link ends, each
side notices at its own time, and what was on its way may arrive or not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from kvnode.base.errors import RemoteProtocolError
from kvnode.base.limits import KIB
from kvnode.raft.membership import Membership
from kvnode.raft.messages import Append, Message
from kvnode.raft.wire import encode
from kvnode.server.peers.forward_link import ForwardLink
from kvnode.server.peers.framing import FrameType, Greeting
from kvnode.server.peers.handshake import LinkKind, Own, Peer

if TYPE_CHECKING:
    from tests.sim.group.node import GroupNode

QUEUE_BYTES = 32 * KIB  # of a link for forwarding: small, so that it is full now and then


class ForwardEnd:
    """One end of a link for forwarding; to its ForwardLink what a Link is."""

    other: "ForwardEnd"

    def __init__(self, node: "GroupNode", target: "GroupNode", *, is_accepted: bool) -> None:
        self.node = node
        self.is_open = True
        self.queued_bytes = 0
        self.peer = Peer(
            target.node_id, target.home.identity, node.peers.own.group, LinkKind.FORWARD, 0
        )
        self.link = ForwardLink(
            self,  # type: ignore[arg-type]
            is_accepted=is_accepted,
            note_unflushed=lambda link: None,
        )
        self.arrival = 0.0  # of the last frame from here
        self._world, self._rng = node.world, node.world.rng
        self._has_begun = self._is_over = False  # as far as its node has noticed
        self._is_cut = False  # nothing more arrives of what is sent from here

    def begin(self) -> None:
        """Tell the node of it, soon."""
        delay = self._rng.uniform(0.05, 1)
        self.other.arrival = self._world.now + delay
        self._after(delay, self._begin)

    def _begin(self) -> None:
        if self.is_open:
            self._has_begun = True
            self.node.networked.on_forward(self.link)
            self.node.networked.after_input()

    # -- as a Link --------------------------------------------------------------------------------

    def queue(self, kind: FrameType, parts: Iterable[bytes]) -> bool:
        if not self.is_open or self.queued_bytes >= QUEUE_BYTES:
            return False
        now = self._world.now
        body = b"".join(parts)
        self._world.forwarded += 1
        self.queued_bytes += len(body)
        self.arrival = max(self.arrival, now) + self._rng.uniform(0.05, 0.5)
        if self._world.has_faults and self._rng.random() < 0.01:
            self.arrival += self._rng.uniform(0, 60)
        self._look_at_way()
        self._world.after(self.arrival - now, lambda: self._arrive(body))
        return True

    def close(self, reason: str = "") -> None:
        """From this side: the other one gets what was sent before."""
        if self.is_open:
            self.is_open = False
            self.node.later(self._rng.uniform(0, 0.05), self._end)
            self.other.break_after(max(0, self.arrival - self._world.now))

    # -- what happens to it -----------------------------------------------------------------------

    def break_after(self, delay: float) -> None:
        """This side will notice that the link is broken."""
        self._after(delay + self._rng.uniform(0.05, 1), self._end)

    def die(self) -> None:
        """Its process is gone."""
        self.is_open = False
        self._is_cut = self._rng.random() < 0.5
        self.other.break_after(self._rng.uniform(0, 60))

    def _after(self, delay: float, action) -> None:
        self._world.after(delay, lambda: self._world.on(self.node, action, self))

    def _look_at_way(self) -> None:
        """A way that is blocked ends the link in time."""
        here, there = self.node.node_id, self.other.node.node_id
        if not self._is_cut and self._world.network.is_blocked(here, there):
            self._is_cut = True
            for end in (self, self.other):
                end.break_after(self._rng.uniform(0, 100))

    def _arrive(self, body: bytes) -> None:
        was_full = self.queued_bytes >= QUEUE_BYTES
        self.queued_bytes -= len(body)
        if was_full and self.is_open:
            self.node.later(0, self.node.networked.after_input)
        self._look_at_way()
        if not self._is_cut:
            self._world.on(self.other.node, lambda: self.other.receive(body), self.other)

    def receive(self, body: bytes) -> None:
        self.node.take_later(lambda: self._take(body))

    def _take(self, body: bytes) -> None:
        if not self.is_open:
            return
        try:
            self.link.on_frame(body)
        except RemoteProtocolError:
            self.close()

    def _end(self) -> None:
        self.is_open = False
        if self._is_over:
            return
        self._is_over = True
        if self._has_begun:
            self.link.on_closed()
            self.node.networked.after_input()
        self.node.peers.ended(self)


class SimPeers:
    """Stands for server.peers.peers.Peers."""

    def __init__(self, node: "GroupNode", own: Own, greeting: Greeting) -> None:
        self.own = own
        self.greeting = greeting
        self.addresses: set[int] = set()
        self._node, self._world, self._rng = node, node.world, node.world.rng
        self._network = node.world.network
        self._leaders: frozenset[int] = frozenset()
        self._dialed: dict[int, ForwardEnd | None] = {}  # those to whom there is to be a link
        self._accepted: dict[int, ForwardEnd] = {}

    # -- who there is -----------------------------------------------------------------------------

    def set_members(self, addresses: Mapping[int, str]) -> None:
        known, self.addresses = self.addresses, set(addresses) - {self.own.node_id}
        for peer in sorted(self.addresses - known):
            self._network.greet_soon(self._node, peer)
        self._update_dialed()

    def set_leader(self, node_id: int | None, former: Iterable[int] = ()) -> None:
        kept = {n for n in former if n in self._dialed}
        self._leaders = frozenset(kept if node_id is None else kept | {node_id})
        self._update_dialed()

    def set_greeting(
        self,
        *,
        group: bytes | None = None,
        members: Membership | None = None,
        client_address: str | None = None,
    ) -> None:
        assert group is None
        assert members is None
        if client_address is not None:
            self.greeting = replace(self.greeting, client_address=client_address)

    def is_linked(self, node_id: int) -> bool:
        return self._network.are_joined(self.own.node_id, node_id)

    # -- what is sent -----------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        self._network.send(self._node, message.target, encode(message), None)

    def send_entries(self, message: Append, block: bytes) -> None:
        self._network.send(self._node, message.target, encode(message), block)

    def send_image(self, target: int, body: bytes) -> bool:
        return self._network.send_image(self._node, target, body)

    def is_image_linked(self, target: int) -> bool:
        return self._network.is_image_linked(self._node, target)

    def image_queued_bytes(self, target: int) -> int:
        return self._network.image_bytes(self._node, target)

    def flush(self) -> None:
        pass  # everything leaves at once

    # -- links for forwarding ---------------------------------------------------------------------

    def _update_dialed(self) -> None:
        wanted = self._leaders & self.addresses
        for peer in sorted(self._dialed.keys() - wanted):
            end = self._dialed.pop(peer)
            if end is not None:
                end.close()
        for peer in sorted(wanted - self._dialed.keys()):
            self._dialed[peer] = None
            self._dial_after(peer, 0.2, 3)

    def _dial_after(self, peer: int, least: float, most: float) -> None:
        self._node.later(self._rng.uniform(least, most), lambda: self._dial(peer))

    def _dial(self, peer: int) -> None:
        if self._dialed.get(peer, self) is not None:
            return  # it is wanted no more, or there
        if not self._network.are_joined(self.own.node_id, peer):
            self._dial_after(peer, 5, 40)
            return
        target = self._world.nodes[peer]
        ours = ForwardEnd(self._node, target, is_accepted=False)
        theirs = ForwardEnd(target, self._node, is_accepted=True)
        ours.other, theirs.other = theirs, ours
        self._dialed[peer] = ours
        target.peers.accept(theirs)
        ours.begin()
        theirs.begin()

    def accept(self, end: ForwardEnd) -> None:
        """Another node opens a link: a former one is over."""
        former = self._accepted.pop(end.peer.node_id, None)
        if former is not None:
            former.close()
        self._accepted[end.peer.node_id] = end

    def ended(self, end: ForwardEnd) -> None:
        """A link is over; it is made anew if it is wanted."""
        peer = end.peer.node_id
        if self._accepted.get(peer) is end:
            del self._accepted[peer]
        if self._dialed.get(peer) is end:
            self._dialed[peer] = None
            self._dial_after(peer, 1, 20)

    def died(self) -> None:
        """The process of this node is gone."""
        for end in (*self._dialed.values(), *self._accepted.values()):
            if end is not None:
                end.die()
