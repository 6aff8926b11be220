"""Clients whose requests have ids, in a simulated group: each is sent until its outcome is known.

They push unique values to one list, which nothing is ever taken from. So a push that was
acknowledged stands where its reply says, and none stands there twice.
"""

from collections import deque
from collections.abc import Callable

from kvnode.base.resp import encode
from tests.sim.group.checks import require
from tests.sim.group.clients import Client, Request
from tests.sim.group.cluster import CLIENTS, Cluster
from tests.sim.group.node import GroupNode
from tests.support.resp import ErrorReply, Reply

ONCE_CLIENTS = 3
LIST = b"once"
GRANT_STEPS = 1000  # of a script on the sequencer; with more it runs beside
SHORT = b"return redis.call('rpush',KEYS[1],ARGV[1])"
LONG = b"for i=1,3000 do end " + SHORT


class OnceClient(Client):
    """Sends again what it was not told of."""

    world: "OnceCluster"

    def __init__(self, world: "OnceCluster", number: int) -> None:
        super().__init__(world, number)
        self._unknown: deque[Request] = deque()

    def end(self, refused: bool | None) -> None:
        self._unknown.extendleft(reversed(self.outstanding))
        self.world.sent_again += len(self.outstanding)
        super().end(refused)

    def _draw(self) -> Request:
        if self._unknown:
            return self._unknown.popleft()
        value = self._unique()
        dice = self.rng.random()
        words: tuple[bytes, ...] = (b"RPUSH", LIST, value)
        if dice < 0.5:
            words = (b"EVAL", LONG if dice < 0.25 else SHORT, b"1", LIST, value)

        def finish(replies: list[Reply]) -> None:
            (reply,) = replies
            require(not isinstance(reply, ErrorReply), f"{words}: {reply}")
            known = self.world.places.setdefault(value, reply)
            require(known == reply, f"{words}: {reply} after {known}")

        return Request(encode(b"KVNODE", b"ONCE", value, *words), 1, finish, lambda: None)


class OnceNode(GroupNode):
    """Whose scripts may take so many steps only."""

    def _attach(self) -> None:
        super()._attach()
        self.view.scripts.here.set_budget(0, grant=GRANT_STEPS, grants=1)


class OnceCluster(Cluster):
    """A group with such clients beside the others."""

    node_class = OnceNode

    def __init__(self, seed: int) -> None:
        self.places: dict[bytes, Reply] = {}  # of values in the list, from 1 on
        self.sent_again = 0
        super().__init__(seed)

    def make_clients(self) -> list[Client]:
        first = CLIENTS * 2  # a number that nobody else has
        return super().make_clients() + [
            OnceClient(self, first + number) for number in range(ONCE_CLIENTS)
        ]

    def heal(self) -> None:
        super().heal()
        self.think_ms = 60  # there are more clients than a node that lags could catch up with

    def _read_all(self) -> None:
        super()._read_all()
        found: list[Reply] = []
        reader = Client(self, CLIENTS * 3)
        self.wait(lambda: "" if self.leader() is not None else "nobody leads")
        reader.connect(self.leader())
        keep: Callable[[list[Reply]], None] = found.extend
        reader.ask(Request(encode("LRANGE", LIST, 0, -1), 1, keep, lambda: None))
        self.wait(lambda: "the last read" if reader.outstanding else "")
        require(len(found) == 1, "liveness: a read without faults failed")
        values = found[0]
        assert isinstance(values, list)
        twice = {value for value in values if values.count(value) > 1}
        require(not twice, f"once: done twice: {twice}")
        for value, place in self.places.items():
            assert isinstance(place, int)
            require(values[place - 1 : place] == [value], f"once: {value!r} is not at {place}")
