"""Clients that send a request with an id again and again until they are told, while the node dies.

Each client has keys of its own, and applies what it asks for once to a model: every reply, and what
is there in the end, must be the model's, however often a request was sent. ONCE_SEEDS=n runs more.
"""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from kvnode._core.keys import REQUEST
from kvnode.txn.once import Once
from tests.sim.node import NodeLog, SimNode, new_node
from tests.support.operations import is_of, operations
from tests.support.resp import Reply, decode, decode_all, encode

SEEDS = int(os.environ.get("ONCE_SEEDS", "60"))
PLANTED_SEEDS = 60
CLIENTS = 3
STEPS = 250
STEPS_MAX = 8  # the step budget: many unions run beside the sequencer
SETTLE_STEPS = 2_000

PUSH_AND_COUNT = b"redis.call('rpush',KEYS[1],ARGV[1]) return redis.call('incr',KEYS[2])"

Words = tuple[object, ...]


@dataclass
class Keys:
    """What one client has, as a model."""

    counter: int = 0
    items: list[bytes] = field(default_factory=list)
    members: set[bytes] = field(default_factory=set)
    text: bytes | None = None

    def draw(self, rng: random.Random, name: bytes, serial: int) -> tuple[Words, Reply]:
        """Return a request, and its reply; what it does is done."""
        value = b"%b.%d" % (name, serial)
        counter, items, members, text = (name + part for part in (b":c", b":l", b":s", b":t"))
        kinds: tuple[Callable[[], tuple[Words, Reply]], ...] = (
            lambda: (("INCRBY", counter, 3), self._count(3)),
            lambda: (("RPUSH", items, value), self._push(value)),
            lambda: (("LPOP", items), self._pop()),
            lambda: (("SADD", members, value), self._add(value)),
            lambda: (("SET", text, value, "GET"), self._set(value)),
            lambda: (("SET", text, value, "NX"), self._set_new(value)),
            lambda: (("SUNIONSTORE", name + b":u", members, members), len(self.members)),
            lambda: (
                ("EVAL", PUSH_AND_COUNT, 2, items, counter, value),
                (self._push(value), self._count(1))[1],
            ),
        )
        return rng.choice(kinds)()

    def _count(self, more: int) -> int:
        self.counter += more
        return self.counter

    def _push(self, value: bytes) -> int:
        self.items.append(value)
        return len(self.items)

    def _pop(self) -> bytes | None:
        return self.items.pop(0) if self.items else None

    def _add(self, value: bytes) -> int:
        self.members.add(value)
        return 1

    def _set(self, value: bytes) -> bytes | None:
        before, self.text = self.text, value
        return before

    def _set_new(self, value: bytes) -> Reply:
        if self.text is not None:
            return None
        self.text = value
        return b"OK"


class Client:
    """One request at a time, on as many connections as it takes."""

    def __init__(self, number: int, rng: random.Random) -> None:
        self.name = b"k%d" % number
        self.rng = rng
        self.keys = Keys()
        self.serial = 0
        self.tries = 0
        self.data = b""  # of the request that is not answered yet
        self.expected: Reply = None
        self.session = None

    def step(self, node: SimNode) -> None:
        """Ask, or lose patience, or read."""
        if not self.data:
            self.serial += 1
            words, self.expected = self.keys.draw(self.rng, self.name, self.serial)
            self.data = encode("KVNODE", "ONCE", b"%b-%d" % (self.name, self.serial), *words)
            self.tries = 0
        if self.session is None or self.rng.random() < 0.2:
            self.connect(node)
        elif data := self.session.take():
            reply = decode(data)
            assert reply == self.expected, f"{self.data!r}, try {self.tries}: {reply!r}"
            self.data = b""
            self.leave(node)

    def connect(self, node: SimNode) -> None:
        self.leave(node)
        self.tries += 1
        self.session = node.session()
        self.session.feed(self.data)
        node.serve(self.session)

    def leave(self, node: SimNode) -> None:
        """Nobody reads what the last connection may still say."""
        if self.session is not None and self.rng.random() < 0.5:
            node.close_session(self.session)
        self.session = None

    def check(self, node: SimNode) -> None:
        keys = self.keys
        ask = node.ask
        assert int(ask("GET", self.name + b":c") or 0) == keys.counter
        assert ask("LRANGE", self.name + b":l", 0, -1) == keys.items
        assert set(ask("SMEMBERS", self.name + b":s")) == keys.members
        assert ask("GET", self.name + b":t") == keys.text


class Storm:
    """A node through its lives, and its clients."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.node = new_node(rng.getrandbits(32), steps_max=STEPS_MAX)
        self.clients = [Client(number, rng) for number in range(CLIENTS)]
        self.sent_again = 0

    def run(self) -> None:
        for _ in range(STEPS):
            self.step(self.clients)
            if self.rng.random() < 0.02:
                self.node = self.node.kill() if self.rng.random() < 0.4 else self.node.crash()
                for client in self.clients:
                    client.session = None
        for _ in range(SETTLE_STEPS):
            if busy := [client for client in self.clients if client.data]:
                self.step(busy)
        assert not any(client.data for client in self.clients), "requests are never answered"
        for client in self.clients:
            client.check(self.node)

    def step(self, clients: list[Client]) -> None:
        node, rng = self.node, self.rng
        client = rng.choice(clients)
        steps = [
            (12, lambda: client.step(node)),
            (4, lambda: node.write(rng.choice([1, None]))),
            (6, lambda: node.sync(rng.choice([1, None]))),
            (8, lambda: node.step_threads(rng.choice([1, 5]))),
            (6, node.serve),
            (3, node.background),
            (1, lambda: node.replica.request_checkpoint(lambda ok: None)),
            (1, node.evict),
        ]
        tries = client.tries
        rng.choices([action for _, action in steps], [weight for weight, _ in steps])[0]()
        self.sent_again += client.tries > max(tries, 1)
        node.check()


def run(seed: int) -> int:
    """Return how often a request was sent again."""
    storm = Storm(seed)
    try:
        storm.run()
    except Exception as error:
        error.add_note(f"seed {seed}")
        raise
    return storm.sent_again


def test_each_request_is_done_once():
    assert sum(run(seed) for seed in range(SEEDS)) > SEEDS


# -- bugs on purpose ------------------------------------------------------------------------------


def plant(monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes]) -> None:
    """Have another payload reach the log."""
    submit = NodeLog.on_submit

    def on_submit(self, term, index, commit_ts, payload):
        submit(self, term, index, commit_ts, change(payload))

    monkeypatch.setattr(NodeLog, "on_submit", on_submit)


def run_all() -> None:
    for seed in range(PLANTED_SEEDS):
        run(seed)


def test_ids_that_are_not_in_the_log_are_seen(monkeypatch):
    plant(monkeypatch, lambda p: b"".join(one for one in operations(p) if not is_of(REQUEST, one)))
    with pytest.raises(AssertionError, match=r"try [2-9]"):
        run_all()


def test_an_id_in_the_entry_behind_is_seen(monkeypatch):
    """Written, but not in the batch of what the request did."""
    late: list[bytes] = []

    def change(payload: bytes) -> bytes:
        parts = operations(payload)
        now = [one for one in parts if not is_of(REQUEST, one)] + late
        late[:] = [one for one in parts if is_of(REQUEST, one)]
        return b"".join(now)

    plant(monkeypatch, change)
    with pytest.raises(AssertionError, match=r"try [2-9]"):
        run_all()


def test_an_id_of_what_ran_beside_is_written_with_its_effects(monkeypatch):
    """Requests past the step budget take effect by another way, which has its own bug."""
    monkeypatch.setattr(Once, "take_effect", lambda self: None)
    with pytest.raises(AssertionError):
        run_all()


def test_replies_are_whole():
    """decode() takes one reply only: the storms look at no more."""
    node = new_node()
    session = node.session()
    request = encode("KVNODE", "ONCE", "a", "INCR", "n")
    assert decode_all(node.settle(session, request * 3 + encode("INCR", "n"))) == [1, 1, 1, 2]
