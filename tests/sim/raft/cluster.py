"""A cluster of simulated Raft nodes on one seeded event loop, with faults.

Time is in ms. Each node has a clock of its own speed, as far apart as leases allow. A link may
drop, delay, duplicate and reorder; partitions may be one-way. Nodes pause, crash in the middle of
their driver's loop, lose what was not synced, come back, or come back without their directory.
Leaders are asked for changes of the membership and for transfers. After the safety phase everything
is healed, and the cluster has to get well.
"""

import heapq
import random
from collections.abc import Callable

from kvnode.base.limits import CLOCK_RATE_ERROR_MAX
from kvnode.raft.membership import (
    AddLearner,
    Change,
    ChangeRefused,
    Demote,
    Member,
    Membership,
    Promote,
    Remove,
)
from kvnode.raft.messages import Append, Message
from kvnode.raft.progress import ProgressState
from kvnode.raft.wire import decode, encode
from tests.sim.raft.checks import Checks, require
from tests.sim.raft.disk import Disk, new_disk
from tests.sim.raft.node import TICK_MS, Died, Image, Node

NODES = (1, 2, 3, 4, 5)
SAFETY_MS = 2_500
LIVENESS_MS = 15_000  # at most; as a rule it takes about 1,500


class Cluster:
    """One run of one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.checks = Checks()
        self.disks: dict[int, Disk] = {}
        self.nodes: dict[int, Node] = {}  # those that run
        self.paused: dict[int, float] = {}
        self.wiped: set[int] = set()
        self.blocked: dict[tuple[int, int], float] = {}  # (source, target): until when
        self.has_faults = True
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._syncing: set[Node] = set()
        self._identities = 0
        half = CLOCK_RATE_ERROR_MAX / 2
        self._rates = {node: self.rng.uniform(1 - half, 1 + half) for node in NODES}
        self.drop = self.rng.choice((0.0, 0.02, 0.1))
        self.slow_disk = self.rng.choice((2, 10, 60))
        self.fault_gap = self.rng.choice((60, 300, 600))
        # Each seed has some kinds of faults only: too many at once keep everything from happening.
        kinds = ("isolate", "split", "pause", "crash")
        self.faults = self.rng.sample(kinds, self.rng.randint(1, len(kinds)))
        self.has_changes = self.rng.random() < 0.6
        self.spread = self.rng.choice((2, 5, 10))  # of election timeouts, in ticks
        founders = NODES[: self.rng.choice((1, 2, 3, 3, 3, 5))]
        members = [Member(node, self._new_identity()) for node in founders]
        for node in NODES:
            is_founder = node in founders
            self.disks[node] = new_disk(
                members[node - 1].identity if is_founder else self._new_identity(),
                Membership.of_voters(members) if is_founder else Membership(),
            )
            self.start(node)

    def run(self) -> None:
        """Both phases. Raises Violation."""
        self.after(self.rng.uniform(0, 50), self._work)
        self.after(self.rng.uniform(0, 400), self._fault)
        self._run_until(SAFETY_MS)
        self.has_faults = False
        self.blocked.clear()
        self.paused.clear()
        self.drop = 0.0
        for node in NODES:
            if node not in self.nodes:
                self.start(node)
            self.nodes[node].dies_at = 0
        while (illness := self._illness()) and self.now < SAFETY_MS + LIVENESS_MS:
            self._run_until(self.now + 100)
        require(not illness, f"liveness: {illness}")

    # -- the loop -------------------------------------------------------------------------------

    def after(self, delay: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + delay, self._count, action))

    def _run_until(self, end: float) -> None:
        while self._events and self._events[0][0] <= end:
            self.now, _, action = heapq.heappop(self._events)
            action()
            leaders = [
                node.core
                for node_id, node in self.nodes.items()
                if node.core.leadership is not None and self.paused.get(node_id, 0) <= self.now
            ]
            if leaders:
                self.checks.leases(leaders)
        self.now = end

    def _on(self, node: Node, action: Callable[[], None]) -> None:
        """Do something on a node, if that process still lives; later, if it is paused."""
        if self.nodes.get(node.node_id) is not node:
            return
        wakes = self.paused.get(node.node_id, 0)
        if wakes > self.now:
            self.after(wakes - self.now + self.rng.uniform(0, 2), lambda: self._on(node, action))
            return
        try:
            action()
        except Died:
            self.crash(node.node_id)
            return
        self._take(node)

    def _take(self, node: Node) -> None:
        """Carry away what a node has sent, and let its disk work."""
        messages, node.sent = node.sent, []
        for message in messages:
            self._send(message, node.disk.identity)
        images, node.images = node.images, []
        for image in images:
            self._send_image(node, image)
        disk = node.disk
        if disk.unsynced and node not in self._syncing:
            self._syncing.add(node)
            writes, index = len(disk.unsynced), disk.last_index
            term = disk.entry(index).term
            delay = self.rng.uniform(0.5, self.slow_disk)
            self.after(
                delay, lambda: self._on(node, lambda: self._end_sync(node, writes, term, index))
            )

    def _end_sync(self, node: Node, writes: int, term: int, index: int) -> None:
        self._syncing.discard(node)
        image = node.disk.image.index
        writes = min(writes, len(node.disk.unsynced))  # an image was installed meanwhile
        node.synced(writes if index > image else 0, term, index)

    # -- network --------------------------------------------------------------------------------

    def _send(self, message: Message, identity: bytes) -> None:
        copies = 1
        if self.has_faults:
            copies = (self.rng.random() >= self.drop) + (self.rng.random() < self.drop / 2)
        for _ in range(copies):
            delay = self.rng.uniform(0.3, 3)
            if self.has_faults and self.rng.random() < 0.05:
                delay = self.rng.choice((20, 100, 400)) * self.rng.random()
            self.after(delay, lambda: self._deliver(message, identity))

    def _deliver(self, message: Message, identity: bytes) -> None:
        node = self.nodes.get(message.target)
        if node is None or self._is_blocked(message.source, message.target):
            return
        received = decode(encode(message))
        if isinstance(message, Append):
            assert isinstance(received, Append)
            received = received.with_payload(message.payload)
        self._on(node, lambda: node.step(received, identity))

    def _is_blocked(self, source: int, target: int) -> bool:
        return self.blocked.get((source, target), 0) > self.now

    def _send_image(self, node: Node, image: Image) -> None:
        delay = self.rng.uniform(5, 80)
        if not self.has_faults or self.rng.random() > 0.2:
            self.after(delay, lambda: self._deliver_image(image))
        self.after(delay + 60, lambda: self._on(node, lambda: self._image_ended(node, image)))

    def _deliver_image(self, image: Image) -> None:
        node = self.nodes.get(image.target)
        if node is not None and not self._is_blocked(image.source, image.target):
            self._on(node, lambda: node.image_arrived(image))

    def _image_ended(self, node: Node, image: Image) -> None:
        """An image that was not acknowledged by now is lost."""
        leadership = node.core.leadership
        progress = leadership and leadership.replication.progress.get(image.target)
        if progress and progress.state is ProgressState.SNAPSHOT:
            node.core.note_lost(image.target)

    # -- nodes ----------------------------------------------------------------------------------

    def start(self, node_id: int) -> None:
        born, rate = self.now, self._rates[node_id]
        node = Node(
            node_id,
            self.disks[node_id],
            self.rng,
            self.checks,
            self.disks,
            now_ms=lambda: int((self.now - born) * rate),
            random_ticks=lambda n: self.rng.randrange(min(n, self.spread)),
        )
        self.nodes[node_id] = node
        self._schedule_tick(node)

    def _schedule_tick(self, node: Node) -> None:
        late = self.rng.uniform(0, 0.5) if self.rng.random() < 0.9 else self.rng.uniform(0, 20)
        self.after(
            TICK_MS / self._rates[node.node_id] + late,
            lambda: self._on(node, lambda: self._tick(node)),
        )

    def _tick(self, node: Node) -> None:
        self._schedule_tick(node)
        node.tick()

    def crash(self, node_id: int) -> None:
        node = self.nodes.pop(node_id)
        node.disk.crash(self.rng)
        self.paused.pop(node_id, None)
        if self.has_faults:
            self.after(self.rng.choice((0, 5, 100, 600)), lambda: self._restart(node_id))
        else:
            self.start(node_id)

    def _restart(self, node_id: int) -> None:
        if node_id in self.nodes:
            return
        if self._may_wipe(node_id) and self.rng.random() < 0.25:
            self.wiped.add(node_id)
            self.disks[node_id] = new_disk(self._new_identity(), Membership())
        self.start(node_id)

    def _may_wipe(self, node_id: int) -> bool:
        """At most one voter of a group that bears it, until it has been replaced."""
        self._forget_replaced()
        return not self.wiped and all(
            len(voters) >= 3 for view in self._views() for voters in view.quorums
        )

    def _views(self) -> list[Membership]:
        """What nodes believe, those that are down included."""
        views = [node.core.membership for node in self.nodes.values()]
        views += [disk.memberships().current for disk in self.disks.values()]
        return [view for view in views if view.members]

    def _forget_replaced(self) -> None:
        """Those that lost their directory, and nobody counts on any more."""
        self.wiped = {
            node
            for node in self.wiped
            if any(
                view.member(node) and not view.recognizes(node, self.disks[node].identity)
                for view in self._views()
            )
        }

    def _new_identity(self) -> bytes:
        self._identities += 1
        return b"directory-%d" % self._identities

    # -- what is done to it ---------------------------------------------------------------------

    def _work(self) -> None:
        """Clients and administrators."""
        self.after(self.rng.uniform(1, 16 if self.has_faults else 60), self._work)
        node = self.nodes.get(self.rng.choice(NODES))
        leaders = [n for n in self.nodes.values() if n.core.leadership is not None]
        if leaders and self.rng.random() < 0.8:
            node = self.rng.choice(leaders)
        if node is None:
            return
        dice = self.rng.random()
        if dice < 0.5:
            values = [self.rng.getrandbits(60) for _ in range(self.rng.choice((1, 1, 3, 20)))]
            self._on(node, lambda: node.propose(values))
        elif dice < 0.75:
            self._on(node, node.read)
        elif dice < 0.9:
            self._on(node, node.compact)
        elif dice < 0.93 and self.has_faults:
            self._on(node, lambda: self._transfer(node))
        elif self.has_faults and self.has_changes:
            self._on(node, lambda: self._change(node))
        elif not self.has_faults:
            self._on(node, lambda: self._replace_strangers(node))

    def _transfer(self, node: Node) -> None:
        try:
            node.core.transfer(self.rng.choice(NODES))
            node.run()
        except ChangeRefused:
            pass

    def _change(self, node: Node) -> None:
        self._forget_replaced()
        if self.wiped:  # fewer voters might need the one that is lost
            self._replace_strangers(node)
            return
        changes: list[Change] = []
        for _ in range(self.rng.choice((1, 1, 2))):
            who = self.rng.choice(NODES)
            member = Member(who, self.disks[who].identity)
            changes.append(
                self.rng.choice(
                    (
                        AddLearner(member, True),
                        AddLearner(member),
                        Promote(who),
                        Demote(who),
                        Remove(who),
                    )
                )
            )
        self._propose(node, changes)

    def _propose(self, node: Node, changes: list[Change]) -> None:
        try:
            node.core.propose_change(changes)
            node.run()
        except ChangeRefused:
            pass

    def _replace_strangers(self, node: Node) -> None:
        """Members whose directory is lost are removed; who has no place becomes a learner."""
        membership = node.core.membership
        for who in NODES:
            identity = self.disks[who].identity
            if membership.member(who) is None:
                self._propose(node, [AddLearner(Member(who, identity), True)])
            elif not membership.recognizes(who, identity):
                self._propose(node, [Remove(who)])

    def _fault(self) -> None:
        if not self.has_faults:
            return
        self.after(self.rng.uniform(5, self.fault_gap), self._fault)
        victim = self.rng.choice(NODES)
        leaders = [n.node_id for n in self.nodes.values() if n.core.leadership is not None]
        if leaders and self.rng.random() < 0.5:
            victim = self.rng.choice(leaders)
        kind = self.rng.choice(self.faults)
        if kind in ("isolate", "split"):
            side = {victim}
            if kind == "split":
                side |= {node for node in NODES if self.rng.random() < 0.5}
            self._cut_off(side)
        elif kind == "pause":
            self.paused[victim] = self.now + self.rng.choice((20, 90, 150, 500))
        elif victim in self.nodes:
            if self.rng.random() < 0.5:
                self.crash(victim)
            else:
                self.nodes[victim].dies_at = self.rng.randint(1, 30)

    def _cut_off(self, side: set[int]) -> None:
        direction = self.rng.choice(("out", "in", "both", "both"))
        until = self.now + self.rng.choice((30, 150, 300, 600))
        for inside in side:
            for outside in set(NODES) - side:
                if direction != "in":
                    self.blocked[inside, outside] = until
                if direction != "out":
                    self.blocked[outside, inside] = until

    # -- the end --------------------------------------------------------------------------------

    def _illness(self) -> str:
        """Say what is not as it should be after some time without faults: "" if nothing is."""
        leaders = [n for n in self.nodes.values() if n.core.is_serving]
        if not leaders:
            return "nobody leads"
        leader = max(leaders, key=lambda n: n.core.term)
        membership = leader.core.membership
        if membership.is_joint:
            return "the membership is joint"
        if membership.promotable:
            return f"never promoted: {membership.promotable}"
        for node in NODES:
            if not membership.recognizes(node, self.disks[node].identity):
                return f"{node} is out"
        lag = {n.node_id: leader.core.committed - n.core.committed for n in self.nodes.values()}
        return f"behind: {lag}" if max(lag.values()) > 20 else ""
