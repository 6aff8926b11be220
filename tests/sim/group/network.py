"""What lies between the nodes of a simulated group, and between them and their clients.

Raft's messages may be lost, repeated and late, and overtake each other; those with entries only
while there are faults: a link that is whole keeps them in order. Images go over links, in order,
which are cut as a whole. Links for forwarding are in peers.py.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from kvnode._core.session import Session

if TYPE_CHECKING:
    from tests.sim.group.cluster import Cluster
    from tests.sim.group.node import GroupNode


class Network:
    """All links of one cluster."""

    def __init__(self, world: "Cluster") -> None:
        self.world, self.rng = world, world.rng
        self.drop = 0.0  # share of messages that are lost
        self.blocked: dict[tuple[int, int], float] = {}  # (source, target): until when
        self._links: dict[frozenset[int], int] = {}  # image links: odd while they are cut
        self._arrivals: dict[object, float] = {}
        self._image_bytes: dict[tuple[int, int], int] = {}

    def heal(self) -> None:
        """All goes through from here on."""
        self.blocked.clear()
        self.drop = 0.0

    def is_blocked(self, source: int, target: int) -> bool:
        return self.blocked.get((source, target), 0) > self.world.now

    def are_joined(self, one: int, other: int) -> bool:
        """Whether two nodes could open a link."""
        nodes = self.world.nodes
        are_up = one in nodes and other in nodes
        return are_up and not self.is_blocked(one, other) and not self.is_blocked(other, one)

    def node_died(self, node: "GroupNode") -> None:
        """All its links break."""
        for other in self.world.homes:
            if other != node.node_id:
                self.cut_link(node.node_id, other)
        node.peers.died()

    # -- Raft -----------------------------------------------------------------------------------

    def send(self, source: "GroupNode", target: int, body: bytes, block: bytes | None) -> None:
        """A message of Raft leaves."""
        rng = self.rng
        copies = 1
        if self.world.has_faults:
            copies = (rng.random() >= self.drop) + (rng.random() < self.drop / 2)
        if block is not None and copies == 0 and rng.random() < 0.5:
            source.later(rng.uniform(5, 60), lambda: source.link_lost(target))
        for _ in range(copies):
            delay = rng.uniform(0.1, 1)
            if self.world.has_faults and rng.random() < 0.03:
                delay = rng.choice((10, 60, 300)) * rng.random()
            if block is not None and not self.world.has_faults:
                delay = self._arrival((source, target), 1) - self.world.now
            self.world.after(delay, lambda: self._deliver(source, target, body, block))

    def _deliver(self, source: "GroupNode", target: int, body: bytes, block: bytes | None) -> None:
        node = self.world.nodes.get(target)
        if node is not None and not self.is_blocked(source.node_id, target):
            identity = source.home.identity
            lane = ("raft", source.node_id)
            self.world.on(node, lambda: node.receive(body, block, identity), lane)

    # -- images ---------------------------------------------------------------------------------

    def send_image(self, source: "GroupNode", target: int, body: bytes) -> bool:
        """False: there is no link."""
        pair = frozenset((source.node_id, target))
        link = self._links.get(pair, 0)
        if link % 2:
            return False
        if self.is_blocked(source.node_id, target) or (
            self.world.has_faults and self.rng.random() < self.drop
        ):
            self.cut_link(source.node_id, target)
            return True
        way = (source.node_id, target)
        arrival = self._arrival(way, 3)
        self._image_bytes[way] = self._image_bytes.get(way, 0) + len(body)

        def deliver() -> None:
            self._image_bytes[way] -= len(body)
            node = self.world.nodes.get(target)
            if node is not None and self._links.get(pair, 0) == link:
                self.world.on(node, lambda: node.receive_image(source.node_id, body), way)

        self.world.after(arrival - self.world.now, deliver)
        return True

    def is_image_linked(self, source: "GroupNode", target: int) -> bool:
        """Whether a part of an image can be sent."""
        return self._links.get(frozenset((source.node_id, target)), 0) % 2 == 0

    def image_bytes(self, source: "GroupNode", target: int) -> int:
        """Return how much is on its way."""
        return self._image_bytes.get((source.node_id, target), 0)

    def cut_link(self, one: int, other: int) -> None:
        """The link breaks; it is made again when that is possible."""
        pair = frozenset((one, other))
        if self._links.get(pair, 0) % 2:
            return
        self._links[pair] = self._links.get(pair, 0) + 1
        self._tell(one, other, lambda node, peer: node.link_lost(peer))
        self.world.after(self.rng.uniform(10, 60), lambda: self._make_link(one, other))

    def _make_link(self, one: int, other: int) -> None:
        if not self.are_joined(one, other):
            self.world.after(30, lambda: self._make_link(one, other))
            return
        self._links[frozenset((one, other))] += 1
        self._tell(one, other, self._greet)

    def _tell(self, one: int, other: int, what: Callable[["GroupNode", int], None]) -> None:
        for node_id, peer in ((one, other), (other, one)):
            if (node := self.world.nodes.get(node_id)) is not None:
                node.later(self.rng.uniform(0, 5), partial(what, node, peer))

    # -- who is there -----------------------------------------------------------------------------

    def greet_soon(self, node: "GroupNode", peer: int) -> None:
        """A node dials another one, until it has heard who is there."""
        delay = self.rng.uniform(0.2, 5)
        if self.are_joined(node.node_id, peer):
            node.later(delay, lambda: self._greet(node, peer))
        elif peer in node.peers.addresses:
            node.later(delay + 20, lambda: self.greet_soon(node, peer))

    def _greet(self, node: "GroupNode", peer: int) -> None:
        other = self.world.nodes.get(peer)
        if other is not None:
            node.greeted(peer, other.home.identity, other.peers.greeting)

    # -- clients --------------------------------------------------------------------------------

    def to_node(self, node: "GroupNode", session: Session, data: bytes | None) -> None:
        """Bytes of a client, in order; None: it closes."""
        way = (session, "in")
        arrival = self._arrival(way, 0.5)
        self.world.after(
            arrival - self.world.now,
            lambda: self.world.on(node, lambda: node.reactor.request(session, data), way),
        )

    def reply(self, node: "GroupNode", session: Session, data: bytes | None) -> None:
        """Bytes for a client, in order; None: the node closes."""
        arrival = self._arrival((session, "out"), 0.5)

        def deliver() -> None:
            client = self.world.connections.get(session)
            if client is not None:
                client.receive(data)

        self.world.after(arrival - self.world.now, deliver)

    def _arrival(self, way: object, longest: float) -> float:
        """Return when something arrives that does not overtake what left before."""
        now = self.world.now
        arrival = max(self._arrivals.get(way, 0), now) + self.rng.uniform(0.05, longest)
        self._arrivals[way] = arrival
        return arrival
