"""A group of simulated whole nodes on one seeded event loop, with faults, clients and changes.

Time is in ms. Links drop, delay, duplicate and reorder; what is cut off may hear and not be heard.
Nodes pause and go on with old beliefs, crash between any two calls of their disk, lose what was not
synced, come back, or come back without their directory; clocks jump by an hour; disks are slow. The
membership changes, leadership is transferred, memory is evicted, checkpoints are made. After the
safety phase all is healed: within bounded time somebody leads, all show the same, and what clients
were told is explained by one order.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from kvnode._core.session import Session
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
from kvnode.raft.ready import Role
from tests.sim.group.checks import Checks, require
from tests.sim.group.clients import QUEUES, Client, Histories, Request
from tests.sim.group.directory import TICK_MS, Died, Home
from tests.sim.group.network import Network
from tests.sim.group.node import GroupNode, address

NODES = (1, 2, 3, 4)
CLIENTS = 7
SAFETY_MS = 1_500
LIVENESS_MS = 8_000  # at most; as a rule it takes about 500
HOUR_MS = 3_600_000
READ_TRIES_MAX = 3
FAULTS = ("depose", "forget", "isolate", "split", "pause", "crash", "die", "clock", "slow")


class Cluster:
    """One run of one seed."""

    node_class = GroupNode

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.now = 0.0
        self.nodes: dict[int, GroupNode] = {}  # those that run
        self.homes: dict[int, Home] = {}
        self.paused: dict[int, float] = {}
        self.wiped: set[int] = set()
        self.has_faults = True
        self.are_clients_done = False
        self.histories = Histories()
        self.connections: dict[Session, Client] = {}
        self.uses: dict[bytes, int] = {}
        self.rebuilds = self.installs = self.crashes = 0
        self.forwarded = self.follower_reads = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = self._moments = 0
        self._slow_until: dict[int, float] = {}
        # What waits for a paused process, by connection.
        self._lanes: dict[tuple[GroupNode, object], deque[Callable[[], None]]] = {}
        half = CLOCK_RATE_ERROR_MAX / 2
        self.rates = {node: rng.uniform(1 - half, 1 + half) for node in NODES}
        self.clock_offset = dict.fromkeys(NODES, 0)
        # Each seed has some kinds of faults only: too many at once keep everything from happening.
        self.network = Network(self)
        self.network.drop = rng.choice((0.0, 0.01, 0.1))
        self.slow_disk = rng.choice((0.5, 3, 20))
        self.slow_engine = rng.choice((1, 10, 60))
        self.fault_gap = rng.choice((60, 200, 500))
        self.think_ms = rng.choice((10, 30))
        self.faults = rng.sample(FAULTS, rng.randint(1, len(FAULTS)))
        self.has_changes = rng.random() < 0.5
        self.has_leases = rng.random() < 0.4
        self.checkpoints = rng.choice((0.0, 0.1, 0.3))  # share of the work
        founders = NODES[: rng.choice((1, 3, 3, 3, 3, 4))]
        hash_key = rng.randbytes(16)
        self.checks = Checks(rng, hash_key, self.homes)
        for node in NODES:
            self.homes[node] = Home(node, rng, self.checks.on_written)
        members = Membership.of_voters(self._member(n) for n in founders)
        for node in NODES:
            if node in founders:
                self.homes[node].begin(members, hash_key)
            else:
                self.homes[node].begin(Membership(), b"")
            self.start(node)

    def run(self) -> None:
        """Both phases. Raises Violation, or what went wrong in a node."""
        rng = self.rng
        self.clients = self.make_clients()
        self.after(rng.uniform(0, 50), self._work)
        self.after(rng.uniform(0, 400), self._fault)
        self._run_until(SAFETY_MS)
        self.heal()
        self.wait(self.illness)
        self.are_clients_done = True
        self.wait(lambda: "clients wait" if any(c.outstanding for c in self.clients) else "")
        self._read_all()
        self.wait(self.lag)
        for node in self.nodes.values():
            self.checks.compare(node)
        self.histories.check()

    def make_clients(self) -> list[Client]:
        """Return those that ask during the run."""
        return [Client(self, number) for number in range(CLIENTS)]

    def counts(self) -> dict[str, int]:
        """Return how much has happened."""
        return {
            "entries": self.checks.committed_index,
            "leaders": len(self.checks.leaders),
            "served": self.checks.executed,
            "acknowledged": self.histories.acknowledged,
            "uncertain": self.histories.uncertain,
            "refused": self.histories.refused,
            "crashes": self.crashes,
            "rebuilds": self.rebuilds,
            "installs": self.installs,
            "forwarded": self.forwarded,
            "follower_reads": self.follower_reads,
            "compared": self.checks.compared,
            "ms": int(self.now),
        }

    # -- the loop -------------------------------------------------------------------------------

    def after(self, delay: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + delay, self._count, action))

    def moment(self) -> int:
        """Return a number that grows: moments of one time are in order, too."""
        self._moments += 1
        return self._moments

    def _run_until(self, end: float) -> None:
        while self._events and self._events[0][0] <= end:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = end

    def wait(self, illness: Callable[[], str], every: float = 20) -> None:
        """Run until there is no illness, but not for ever; look every so many ms."""
        end = self.now + LIVENESS_MS
        while text := illness():
            require(self.now < end, f"liveness: {text}")
            self._run_until(self.now + every)

    def on(self, node: GroupNode, action: Callable[[], None], lane: object = None) -> None:
        """Do something on a node, if that process still lives; later, if it is paused.

        lane: what comes on one connection stays in order, also when it waits for the node.
        """
        if self.nodes.get(node.node_id) is not node:
            return
        wakes = self.paused.get(node.node_id, 0)
        waiting = self._lanes.get((node, lane))
        if waiting:
            waiting.append(action)
            return
        if wakes > self.now:
            late = wakes - self.now + self.rng.uniform(0, 1)
            if lane is None:
                self.after(late, lambda: self.on(node, action))
            else:
                self._lanes[node, lane] = deque([action])
                self.after(late, lambda: self._go_on(node, lane))
            return
        try:
            action()
        except Died:
            self.crash(node.node_id)
            return
        node.watch_log()
        self.checks.observe(node)
        if self.rng.random() < 0.005:
            self.checks.compare(node)

    def _go_on(self, node: GroupNode, lane: object) -> None:
        """What came on a connection during a pause, in order."""
        if self.paused.get(node.node_id, 0) > self.now:
            late = self.paused[node.node_id] - self.now + self.rng.uniform(0, 1)
            self.after(late, lambda: self._go_on(node, lane))
            return
        for action in self._lanes.pop((node, lane), ()):
            self.on(node, action, lane)

    # -- nodes ----------------------------------------------------------------------------------

    def start(self, node_id: int) -> None:
        home = self.homes[node_id]
        before = dict(home.durable.by_index)
        try:
            node = self.node_class(self, home)
        except Died:
            home.crash()
            self.after(10, lambda: self._restart(node_id))
            return
        self.nodes[node_id] = node
        self.checks.started(node, before)
        node.later(TICK_MS, lambda: self._tick(node))
        node.later(self.rng.uniform(0, 40), lambda: self._background(node))

    def _tick(self, node: GroupNode) -> None:
        rng = self.rng
        late = rng.uniform(0, 0.5) if rng.random() < 0.9 else rng.uniform(0, 20)
        node.later(TICK_MS / self.rates[node.node_id] + late, lambda: self._tick(node))
        node.networked.tick()

    def _background(self, node: GroupNode) -> None:
        node.later(self.rng.uniform(20, 60), lambda: self._background(node))
        node.background()

    def sync_ms(self, node_id: int) -> float:
        """Return how long a sync takes."""
        if self._slow_until.get(node_id, 0) > self.now:
            return self.rng.uniform(20, 150)
        return self.rng.uniform(0.05, self.slow_disk)

    def crash(self, node_id: int, wipes: float = 0.2) -> None:
        """wipes: so likely it comes back without its directory, if the group bears that."""
        node = self.nodes.pop(node_id)
        node.view.node = None
        self.crashes += 1
        self.homes[node_id].crash()
        self.paused.pop(node_id, None)
        for session in node.sessions():
            self.network.reply(node, session, None)
        self.network.node_died(node)
        delay = self.rng.choice((0, 5, 100, 400)) if self.has_faults else 0
        self.after(delay, lambda: self._restart(node_id, wipes))

    def _restart(self, node_id: int, wipes: float = 0) -> None:
        if node_id in self.nodes:
            return
        if self.has_faults and self.rng.random() < wipes and self._may_wipe():
            self.wiped.add(node_id)
            self.homes[node_id] = Home(node_id, self.rng, self.checks.on_written)
            self.homes[node_id].begin(Membership(), b"")
        self.start(node_id)

    def _views(self) -> list[Membership]:
        """What nodes believe."""
        views = [node.raft.membership for node in self.nodes.values()]
        return [view for view in views if view.members]

    def _may_wipe(self) -> bool:
        """At most one voter of a group that bears it, until it has been replaced."""
        self._forget_replaced()
        views = self._views()
        return (
            bool(views)  # else the only one that knows of the group is down
            and not self.wiped
            and self.has_changes
            and len(self.nodes) == len(NODES) - 1
            and all(len(voters) >= 3 for view in views for voters in view.quorums)
        )

    def _forget_replaced(self) -> None:
        if len(self.nodes) == len(NODES):
            self.wiped = {
                node
                for node in self.wiped
                if any(
                    view.member(node) and not view.recognizes(node, self.homes[node].identity)
                    for view in self._views()
                )
            }

    # -- what is done to it ---------------------------------------------------------------------

    def _work(self) -> None:
        """Administrators, and what nodes do by themselves at their time."""
        rng = self.rng
        self.after(rng.uniform(5, 40), self._work)
        if not self.nodes:
            return
        node = rng.choice(list(self.nodes.values()))
        leaders = [n for n in self.nodes.values() if n.raft.role is Role.LEADER]
        dice = rng.random()
        if dice < 0.3:
            self.on(node, node.evict)
        elif dice < 0.3 + self.checkpoints:
            self.on(node, lambda: self._checkpoint(node))
        elif leaders and dice < 0.65 and self.has_faults:
            leader = rng.choice(leaders)
            self.on(leader, lambda: self._transfer(leader))
        elif leaders and self.has_faults and self.has_changes:
            leader = rng.choice(leaders)
            self.on(leader, lambda: self._change(leader))
        elif leaders and not self.has_faults:
            leader = rng.choice(leaders)
            self.on(leader, lambda: self._replace_strangers(leader))

    def _checkpoint(self, node: GroupNode) -> None:
        if not node.is_over:
            node.replica.request_checkpoint(lambda ok: None)
            node.wake()

    def _transfer(self, node: GroupNode) -> None:
        with suppress(ChangeRefused):
            node.networked.transfer(self.rng.choice(NODES))

    def _change(self, node: GroupNode) -> None:
        self._forget_replaced()
        if self.wiped:  # fewer voters might need the one that is lost
            self._replace_strangers(node)
            return
        rng, who = self.rng, self.rng.choice(NODES)
        drawn = rng.choice(
            (
                AddLearner(self._member(who), True),
                AddLearner(self._member(who), True),
                AddLearner(self._member(who)),
                Promote(who),
                Demote(who),
                Remove(who),
            )
        )
        self._propose(node, drawn)

    def _member(self, node_id: int) -> Member:
        return Member(node_id, self.homes[node_id].identity, address(node_id))

    def _propose(self, node: GroupNode, change: Change) -> None:
        def added() -> None:
            if self.has_faults and self.rng.random() < 0.3:  # another one is to bring it up
                node.later(0, lambda: self._transfer(node))

        with suppress(ChangeRefused):
            if isinstance(change, AddLearner):
                member, promote = change.member, change.promote
                node.networked.add(
                    member.node_id, member.address, promote=promote, done=lambda error: added()
                )
            else:
                node.networked.change(change, lambda error: None)

    def _replace_strangers(self, node: GroupNode) -> None:
        """Members whose directory is lost are removed; who has no place becomes a learner."""
        membership = node.raft.membership
        for who in NODES:
            identity = self.homes[who].identity
            if membership.member(who) is None:
                self._propose(node, AddLearner(self._member(who), True))
            elif not membership.recognizes(who, identity):
                self._propose(node, Remove(who))
            elif who in membership.learners - membership.promotable:
                self._propose(node, Promote(who))
            else:
                continue
            return

    def _fault(self) -> None:
        if not self.has_faults:
            return
        rng = self.rng
        self.after(rng.uniform(5, self.fault_gap), self._fault)
        victim = rng.choice(NODES)
        leaders = [n.node_id for n in self.nodes.values() if n.raft.role is Role.LEADER]
        if leaders and rng.random() < 0.5:
            victim = rng.choice(leaders)
        match rng.choice(self.faults):
            case "depose" if leaders:
                self._depose(rng.choice(leaders))
            case "forget" if leaders:
                self._forget(self.nodes[rng.choice(leaders)])
            case "isolate":
                self._cut_off({victim})
            case "split":
                self._cut_off({victim} | {node for node in NODES if rng.random() < 0.5})
            case "pause":
                self.paused[victim] = self.now + rng.choice((20, 90, 150, 400))
            case "crash" if victim in self.nodes:
                self.crash(victim)
            case "die":
                self.homes[victim].disk.dies_at = rng.randint(1, 40)
            case "clock":
                self.clock_offset[victim] += rng.choice((-HOUR_MS, HOUR_MS, -1000, 1000))
            case "slow":
                self._slow_until[victim] = self.now + rng.choice((50, 300))

    def _depose(self, leader: int) -> None:
        """The others elect another one, of which this one does not hear."""
        until = self.now + self.rng.choice((200, 300, 400))
        if self.rng.random() < 0.6:
            self.paused[leader] = until
        else:
            self._block({leader}, self.rng.choice(("out", "both")), until)

    def _forget(self, leader: GroupNode) -> None:
        """A voter loses its directory when only the leader has the newest entries as well, and it
        is left alone with one that has not (hard case 13)."""
        others = sorted(leader.raft.membership.voters - {leader.node_id})
        if len(others) != 2 or leader.raft.membership.is_joint:
            return
        late, lost = self.rng.sample(others, 2)
        self._block({late}, "both", self.now + 80)

        def lose() -> None:
            if lost in self.nodes:
                self.crash(lost, wipes=1)
            self._block({leader.node_id}, "both", self.now + 400)

        self.after(70, lose)

    def _cut_off(self, side: set[int]) -> None:
        direction = self.rng.choice(("out", "in", "both", "both"))
        self._block(side, direction, self.now + self.rng.choice((30, 150, 300, 500)))

    def _block(self, side: set[int], direction: str, until: float) -> None:
        for inside in side:
            for outside in set(NODES) - side:
                if direction != "in":
                    self.network.blocked[inside, outside] = until
                if direction != "out":
                    self.network.blocked[outside, inside] = until

    # -- the end --------------------------------------------------------------------------------

    def heal(self) -> None:
        """There are no more faults, and pauses end."""
        self.has_faults = False
        self.network.heal()
        self._run_until(max((*self.paused.values(), self.now)))
        self.paused.clear()
        self._slow_until.clear()
        self.slow_disk, self.slow_engine = 1, 1
        for home in self.homes.values():
            home.disk.dies_at = 0
        for node in NODES:
            if node not in self.nodes:
                self.start(node)

    def leader(self) -> GroupNode | None:
        """Return who serves, in the newest term."""
        leaders = [n for n in self.nodes.values() if n.replica.is_serving]
        return max(leaders, key=lambda n: n.raft.term, default=None)

    def illness(self) -> str:
        """Say what is not as it should be: "" if nothing is."""
        leader = self.leader()
        if leader is None:
            return f"nobody leads: {self._describe()}"
        membership = leader.raft.membership
        if membership.is_joint:
            return "the membership is joint"
        if membership.learners:
            return f"never promoted: {membership.learners}: {self._describe()}"
        for node in NODES:
            if not membership.recognizes(node, self.homes[node].identity):
                return f"{node} is out: {self._describe()}"
        return ""

    def lag(self) -> str:
        """Say what is behind: "" if nothing is."""
        leader = self.leader()
        if leader is None:
            return f"nobody leads: {self._describe()}"
        last = leader.replica.log.last_index
        if all(n.replica.applied == last and not n.is_over for n in self.nodes.values()):
            return ""
        return f"behind: {self._describe()}"

    def _describe(self) -> str:
        return "; ".join(
            f"{n.node_id} {n.raft.role.value} {n.raft.term} log {n.replica.log.last_index} "
            f"synced {n.raft.synced_index} committed {n.raft.committed} applied "
            f"{n.replica.applied}{' over' * n.is_over}"
            for n in self.nodes.values()
        )

    def _read_all(self) -> None:
        """What clients were told is there: everything is read once more."""
        reader = Client(self, CLIENTS)
        asked = [partial(reader.read_queue, number) for number in range(QUEUES)]
        asked += [
            partial(reader.operation, key, "get", None, "GET", key)
            for key in self.histories.registers
        ]
        lists = {op[1] for one in self.histories.transactions for op in one.operations}
        asked += [partial(reader.read_list, key) for key in sorted(lists)]
        for make in asked:
            tries = 0
            while not self._has_read(reader, make()):
                tries += 1
                require(tries < READ_TRIES_MAX, "liveness: a read without faults failed")

    def _has_read(self, reader: Client, request: Request) -> bool:
        """Read at who leads; False: that was over, of which it has not heard yet."""
        self.wait(lambda: "" if self.leader() is not None else "nobody leads")
        reader.connect(self.leader())
        reader.ask(request)
        self.wait(lambda: "the last reads" if reader.outstanding else "")
        reader.close()
        return len(request.got) == request.replies and not request.is_refused
