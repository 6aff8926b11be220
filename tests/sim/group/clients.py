"""Clients of a simulated group, and what they remember of what they asked and were told.

Each sends pipelines on one connection to some node, which may lead or not; some let a follower
answer what they read. A connection that ends, or says nothing for too long, leaves the outcome of
what was asked unknown; but UNCERTAIN and TRYAGAIN are believed.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvnode._core.session import Session
from kvnode.base.resp import encode
from tests.sim.group import linear
from tests.sim.group.checks import require
from tests.sim.group.linear import Operation
from tests.sim.workload import Workload
from tests.support import list_append
from tests.support.list_append import Transaction
from tests.support.resp import ErrorReply, Reply, decode_all

if TYPE_CHECKING:
    from tests.sim.group.cluster import Cluster
    from tests.sim.group.node import GroupNode

PATIENCE_MS = 400
REGISTERS, COUNTERS, LISTS, QUEUES = 3, 2, 3, 2
TRANSACTIONS_MAX = 200  # of lists, in one run: the checker looks at each pair
GENERATION_OPS = 30  # so many operations on a name, and another one takes its place
REFUSALS = ("TRYAGAIN", "UNBLOCKED")
LEADERLESS = "TRYAGAIN there is no leader"  # of one command; the connection goes on
KINDS = ("register", "register", "list", "list", "queue", "noise", "reader")
MIXED = KINDS[:5]  # who now and then does what others do

APPEND_AND_READ = b"redis.call('rpush',KEYS[1],ARGV[1]) return redis.call('lrange',KEYS[2],0,-1)"


@dataclass
class Request:
    """data: what is sent. replies: how many there will be. finish: gets them."""

    data: bytes
    replies: int
    finish: Callable[[list[Reply]], None]
    refuse: Callable[[], None]
    got: list[Reply] = field(default_factory=list)
    is_refused: bool = False


class Histories:
    """What all clients know together."""

    def __init__(self) -> None:
        self.registers: dict[bytes, list[Operation]] = {}
        self.written = b""  # the one that was written last
        self.transactions: list[Transaction] = []
        self.pushed: dict[bytes, str] = {}  # value: "", "done" or "refused"
        self.popped: dict[bytes, int] = {}
        self.lost_pops = 0  # whose reply nobody got
        self.left: set[bytes] = set()  # found at the end
        self.acknowledged = 0
        self.uncertain = 0
        self.refused = 0

    def check(self) -> None:
        """Raise Violation or NotLinearizable."""
        for key, operations in self.registers.items():
            linear.check(key, operations)
        found = list_append.check(self.transactions)
        require(not found.anomalies, f"lists: {found.anomalies[:3]}")
        twice = [value for value, count in self.popped.items() if count > 1]
        require(not twice, f"queues: popped twice: {twice}")
        everything = self.popped.keys() | self.left
        wrong = [value for value in everything if self.pushed.get(value, "refused") == "refused"]
        require(not wrong, f"queues: nobody pushed {wrong}")
        require(not self.popped.keys() & self.left, "queues: popped, and still there")
        lost = [v for v, state in self.pushed.items() if state == "done" and v not in everything]
        require(len(lost) <= self.lost_pops, f"queues: lost {lost}")


class Client:
    """One client with one connection at a time."""

    def __init__(self, world: "Cluster", number: int) -> None:
        self.world, self.rng, self.number = world, world.rng, number
        self.histories = world.histories
        self.kind = KINDS[number % len(KINDS)]
        self.node: GroupNode | None = None
        self.session: Session | None = None
        self.outstanding: deque[Request] = deque()
        # The last ones that were sent on this connection, if they were not answered yet.
        self._last: Transaction | None = None
        self._last_of: dict[bytes, Operation] = {}  # by key
        self._sent_at = 0.0
        self._serial = 0
        self._workload = Workload(self.rng, rare=())
        world.after(self.rng.uniform(0, 60), self.step)

    # -- the connection ---------------------------------------------------------------------------

    def step(self) -> None:
        """Do the next thing."""
        world = self.world
        if world.are_clients_done and not self.outstanding:
            return
        is_reader = self.kind == "reader"
        world.after(self.rng.uniform(2, 10 if is_reader else world.think_ms), self.step)
        if is_reader and self.session is not None and not self.outstanding:
            self.close()  # to see what another node says
        if self.session is None:
            self.connect()
        elif self.outstanding:
            if world.now - self._sent_at > PATIENCE_MS:
                self.close()
            elif self.rng.random() < 0.1 and not world.are_clients_done:
                self.ask()
        else:
            self.ask()

    def connect(self, node: "GroupNode | None" = None) -> bool:
        """Choose a node; False: there is none."""
        running = list(self.world.nodes.values())
        serving = [node for node in running if node.replica.is_serving]
        if node is None:
            if not running:
                return False
            led = [node for node in running if node.raft.leader]
            dice = self.rng.random()
            node = self.rng.choice((dice < 0.3 and serving) or (dice < 0.95 and led) or running)
            if self.kind == "reader" and len(serving) > 1:
                node = min(serving, key=lambda node: node.raft.term)
        self.node = node
        self.session = node.clients.admit()
        self.world.connections[self.session] = self
        if self.rng.random() < 0.8:
            self.ask(self.readonly())
        return True

    @staticmethod
    def readonly() -> Request:
        """Return a request for reads at the client's own node."""
        return Request(encode("READONLY"), 1, lambda replies: None, lambda: None)

    def close(self) -> None:
        """Give up the connection: what is outstanding remains unknown."""
        if self.node is not None and self.session is not None:
            self.world.network.to_node(self.node, self.session, None)
        self.end(None)

    def end(self, refused: bool | None) -> None:
        """The connection is over. refused: what was outstanding is certainly not done."""
        if self.session is not None:
            self.world.connections.pop(self.session, None)
        for request in self.outstanding:
            if refused:
                request.refuse()
        self.histories.uncertain += len(self.outstanding) if not refused else 0
        self.histories.refused += len(self.outstanding) if refused else 0
        self.outstanding.clear()
        self.node = self.session = self._last = None
        self._last_of.clear()

    def ask(self, *requests: Request) -> None:
        """Send a few requests at once."""
        asked = requests or [self._draw() for _ in range(self.rng.choice((1, 1, 1, 2, 4)))]
        assert self.node is not None
        assert self.session is not None
        if not self.outstanding:
            self._sent_at = self.world.now
        self.outstanding += asked
        data = b"".join(request.data for request in asked)
        self.world.network.to_node(self.node, self.session, data)

    def receive(self, data: bytes | None) -> None:
        """Replies have come; None: the connection was closed."""
        if data is None:
            self.end(None)
            return
        for reply in decode_all(data):
            require(self.outstanding, f"a reply to nothing: {reply!r}")
            request = self.outstanding[0]
            if isinstance(reply, ErrorReply) and str(reply).startswith(LEADERLESS):
                request.is_refused = True
            elif isinstance(reply, ErrorReply) and reply.code in ("UNCERTAIN", *REFUSALS):
                self.end(reply.code in REFUSALS)
                return
            request.got.append(reply)
            if len(request.got) == request.replies:
                self.outstanding.popleft()
                self._sent_at = self.world.now
                self._finish(request)
        if not self.outstanding:
            self._last = None
            self._last_of.clear()

    def _finish(self, request: Request) -> None:
        last = request.got[-1]
        if isinstance(last, ErrorReply) and last.code == "EXECABORT":
            request.is_refused = True  # its MULTI was begun without a leader, or lost with one
        if request.is_refused:
            self.histories.refused += 1
            request.refuse()
        else:
            self.histories.acknowledged += 1
            request.finish(request.got)

    # -- what is asked ----------------------------------------------------------------------------

    def _draw(self) -> Request:
        kind = self.kind
        if kind in MIXED and self.rng.random() < 0.2:  # noise may be in another database
            kind = self.rng.choice(MIXED)
        if kind == "list" and len(self.histories.transactions) >= TRANSACTIONS_MAX:
            kind = "register"
        match kind:
            case "register":
                return self._register() if self.rng.random() < 0.7 else self._counter()
            case "list":
                return self._transaction()
            case "queue":
                return self._queue()
            case "reader":
                key = self.histories.written or self._name(b"r", REGISTERS)
                return self.operation(key, "get", None, "GET", key)
        words = self._workload.one()
        return Request(encode(*words), 1, lambda replies: None, lambda: None)

    def _unique(self) -> bytes:
        self._serial += 1
        return b"%d.%d" % (self.number, self._serial)

    def _name(self, letter: bytes, count: int) -> bytes:
        """Return a name that is not worn out."""
        which = self.rng.randrange(count)
        used = self.world.uses
        used[letter] = used.get(letter, 0) + 1
        return b"%b%d.%d" % (letter, which, used[letter] // (GENERATION_OPS * count))

    def _register(self) -> Request:
        key, value = self._name(b"r", REGISTERS), self._unique()
        dice = self.rng.random()
        if dice < 0.45:
            return self.operation(key, "get", None, "GET", key)
        if dice < 0.85:
            return self.operation(key, "set", value, "SET", key, value)
        return self.operation(key, "swap", value, "SET", key, value, "GET")

    def _counter(self) -> Request:
        key = self._name(b"c", COUNTERS)
        if self.rng.random() < 0.6:
            return self.operation(key, "incr", None, "INCR", key)
        return self.operation(key, "get", None, "GET", key)

    def operation(self, key: bytes, kind: str, argument: bytes | None, *words) -> Request:
        """Return a request that is one of a register's operations."""
        op = Operation(
            kind,
            argument,
            self.world.moment(),
            follows=self._last_of.get(key),
            name=f"client {self.number}",
        )
        self._last_of[key] = op
        self.histories.registers.setdefault(key, []).append(op)

        def finish(replies: list[Reply]) -> None:
            (reply,) = replies
            require(not isinstance(reply, ErrorReply), f"{words}: {reply}")
            op.result = reply if kind != "set" else None  # type: ignore[assignment]
            op.ended = self.world.moment()
            if kind != "get":
                self.histories.written = key

        def refuse() -> None:
            op.is_refused = True

        return Request(encode(*words), 1, finish, refuse)

    def _transaction(self) -> Request:
        """A MULTI, a script or a lone command on lists that are only appended to."""
        rng = self.rng
        operations: list[tuple] = []
        words: list[tuple] = []
        keys = [self._name(b"q", LISTS) for _ in range(rng.choice((1, 2, 2, 3)))]
        dice = rng.random()
        if dice < 0.2:
            value, read = self._unique(), rng.choice(keys)
            operations = [("append", keys[0], value), ("read", read, None)]
            words = [("EVAL", APPEND_AND_READ, 2, keys[0], read, value)]
            return self._request(operations, words, lambda replies: [None, replies[0]])
        for key in keys:
            if rng.random() < 0.6:
                operations.append(("append", key, self._unique()))
                words.append(("RPUSH", key, operations[-1][2]))
            else:
                operations.append(("read", key, None))
                words.append(("LRANGE", key, 0, -1))
        if len(words) == 1:
            return self._request(operations, words, lambda replies: replies)
        words = [("MULTI",), *words, ("EXEC",)]
        return self._request(operations, words, lambda replies: replies[-1])

    def _request(
        self,
        operations: list[tuple],
        words: list[tuple],
        results: Callable[[list[Reply]], list[Reply]],
    ) -> Request:
        name = f"client {self.number}: {operations}"
        one = Transaction(operations, self.world.moment(), name=name, follows=self._last)
        self._last = one
        self.histories.transactions.append(one)

        def finish(replies: list[Reply]) -> None:
            found = results(replies)
            require(isinstance(found, list), f"{words}: {replies}")
            wrong = [reply for reply in (*replies, *found) if isinstance(reply, ErrorReply)]
            require(not wrong, f"{words}: {wrong}")
            one.operations = [
                (kind, key, found[i] if kind == "read" else what)
                for i, (kind, key, what) in enumerate(operations)
            ]
            one.ended = self.world.moment()

        def refuse() -> None:
            one.is_refused = True

        return Request(b"".join(encode(*w) for w in words), len(words), finish, refuse)

    def read_list(self, key: bytes) -> Request:
        """Return a request that reads a list."""
        return self._request(
            [("read", key, None)], [("LRANGE", key, 0, -1)], lambda replies: replies
        )

    def _queue(self) -> Request:
        key = b"b%d" % self.rng.randrange(QUEUES)
        if self.rng.random() < 0.55:
            value = self._unique()
            self.histories.pushed[value] = ""

            def finish(replies: list[Reply]) -> None:
                self.histories.pushed[value] = "done"

            def refuse() -> None:
                self.histories.pushed[value] = "refused"

            return Request(encode("RPUSH", key, value), 1, finish, refuse)
        self.histories.lost_pops += 1

        def popped(replies: list[Reply]) -> None:
            self.histories.lost_pops -= 1
            (reply,) = replies
            require(not isinstance(reply, ErrorReply), f"BLPOP: {reply}")
            if isinstance(reply, list):
                self.histories.popped[reply[1]] = self.histories.popped.get(reply[1], 0) + 1

        def nothing() -> None:
            self.histories.lost_pops -= 1

        return Request(encode("BLPOP", key, "0.05"), 1, popped, nothing)

    def read_queue(self, number: int) -> Request:
        """Return a request that reads what is left in a queue."""

        def finish(replies: list[Reply]) -> None:
            assert isinstance(replies[0], list)
            self.histories.left |= set(replies[0])

        return Request(encode("LRANGE", b"b%d" % number, 0, -1), 1, finish, lambda: None)
