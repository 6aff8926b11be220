"""Several clients publish and subscribe at random, against a model; and across crashes.

The model is the plain one: who is subscribed to what, and each message goes at once to all that
are, in the order of execution. What a client reads must be that. Across crashes: each message
carries the value that its publisher has just written; none may be read whose value is lost.
"""

import os
import random
from collections import Counter
from collections.abc import Callable

import pytest

from kvnode.commands import table
from kvnode.server.local import native_handlers
from tests.reference.glob import matches
from tests.sim.node import new_node
from tests.support.command_node import CommandNode
from tests.support.local import pipeline
from tests.support.resp import Push, ReplyStream, encode

SEEDS = range(int(os.environ.get("KVNODE_PUBSUB_SEEDS", "30")))
STEPS = 150
COMMANDS = table.build(native_handlers())
CLIENTS = 5
CHANNELS = ["a", "b", "ab", "", "a*"]
PATTERNS = ["*", "a*", "?", "a\\*", "[ab]", "b"]
SCRIPT = (
    "local n = 0 for i = 1, #ARGV do n = n + redis.call('publish', KEYS[1], ARGV[i]) end return n"
)


class Client:
    """A client, and what the model knows of it: kind -> names."""

    def __init__(self, node: CommandNode, proto: int) -> None:
        self.node = node
        self.proto = proto
        self.client = node.connect()
        self.session = self.client.session
        self.got = b""
        node.run(self.session, encode("HELLO", proto))
        self.names: dict[str, list[str]] = {"": [], "p": [], "s": []}
        self.expected: list = []  # replies and messages, in order

    @property
    def is_subscribed(self) -> bool:
        return any(self.names.values())

    def send(self, *commands: tuple[str, ...]) -> None:
        self.got += self.node.run(self.session, pipeline(*commands))

    def note(self, what: str, *values: object) -> None:
        self.expected.append([what, *values])

    def check(self) -> None:
        """What may leave by now is what the model says, as far as it goes."""
        self.node.commit()
        data, self.got = self.got + self.session.take(), b""
        replies, stream = [], ReplyStream(lambda sent: None, iter([data, b""]).__next__)
        while not stream.at_end():
            replies.append(stream.receive())
        for reply in replies:
            if isinstance(reply, list) and self.proto == 3 and reply and reply[0] in WORDS:
                assert isinstance(reply, Push)
        assert sort_patterns(replies) == sort_patterns(self.expected)
        self.expected = []


WORDS = [b"message", b"pmessage", b"smessage", b"subscribe", b"unsubscribe"]


def sort_patterns(replies: list) -> list:
    """Messages of several patterns come in any order: sort each run of them that are of one."""
    out: list = []
    run: list = []
    for reply in [*replies, None]:
        of_pattern = isinstance(reply, list) and reply and reply[0] == b"pmessage"
        if run and not (of_pattern and reply[2:] == run[0][2:]):
            out += sorted(run)
            run = []
        if of_pattern:
            run.append(reply)
        elif reply is not None:
            out.append(reply)
    return out


class Model:
    """All clients, and the steps that are drawn."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.node = CommandNode(commands=COMMANDS)
        self.client = self.node.connect()
        self.clients = [Client(self.node, self.random.choice((2, 3))) for _ in range(CLIENTS)]
        self.texts = 0

    def step(self) -> None:
        draw: Callable[[], None] = self.random.choice(
            (
                *(self.subscribe, self.unsubscribe, self.reset, self.transact, self.script),
                *(self.publish, self.publish, self.publish, self.write),
            )
        )
        draw()

    def run(self) -> None:
        for _ in range(STEPS):
            self.step()
            if self.random.random() < 0.3:
                for client in self.clients:
                    client.check()
        for client in self.clients:
            client.check()
        self.check_counts()

    def check_counts(self) -> None:
        counts = Counter(name.encode() for client in self.clients for name in client.names[""])
        patterns = {name for client in self.clients for name in client.names["p"]}
        assert set(self.client.ask("PUBSUB", "CHANNELS")) == set(counts)
        assert self.client.ask("PUBSUB", "NUMPAT") == len(patterns)
        for name in CHANNELS:
            assert self.client.ask("PUBSUB", "NUMSUB", name)[1] == counts[name.encode()]
        subscribed = sum(client.is_subscribed for client in self.clients)
        assert self.node.view.pubsub.clients == subscribed

    # -- steps ----------------------------------------------------------------------------------

    def subscribe(self) -> None:
        client, kind = self.random.choice(self.clients), self.random.choice(("", "p", "s"))
        names = self.random.choices(PATTERNS if kind == "p" else CHANNELS, k=2)
        for name in names:
            if name not in client.names[kind]:
                client.names[kind].append(name)
            self._confirm(client, kind, b"subscribe", name)
        client.send((f"{kind}SUBSCRIBE", *names))

    def unsubscribe(self) -> None:
        client, kind = self.random.choice(self.clients), self.random.choice(("", "p", "s"))
        names = self.random.sample(PATTERNS if kind == "p" else CHANNELS, k=2)
        if self.random.random() < 0.3:
            names = []
        for name in names or list(client.names[kind]) or [None]:
            if name in client.names[kind]:
                client.names[kind].remove(name)
            self._confirm(client, kind, b"unsubscribe", name)
        client.send((f"{kind}UNSUBSCRIBE", *names))

    def _confirm(self, client: Client, kind: str, what: bytes, name: str | None) -> None:
        names = client.names
        count = len(names["s"]) if kind == "s" else len(names[""]) + len(names["p"])
        client.note(kind.encode() + what, None if name is None else name.encode(), count)

    def reset(self) -> None:
        client = self.random.choice(self.clients)
        if self.random.random() < 0.3:
            client.names = {"": [], "p": [], "s": []}
            client.proto = 2
            client.expected.append(b"RESET")
            client.send(("RESET",))

    def publish(self) -> None:
        client = self._publisher()
        if client is not None:
            command = self.random.choice(("PUBLISH", "SPUBLISH"))
            channel, text = self.random.choice(CHANNELS), self._text()
            kind = "s" if command == "SPUBLISH" else ""
            client.expected.append(self._receivers(kind, channel))
            self._deliver(kind, channel, text)
            client.send((command, channel, text))

    def transact(self) -> None:
        client = self._publisher()
        if client is not None:
            sent = [(self.random.choice(CHANNELS), self._text()) for _ in range(3)]
            counts = [self._receivers("", channel) for channel, _ in sent]
            client.expected += [b"OK", *[b"QUEUED"] * 3, counts]
            for channel, text in sent:
                self._deliver("", channel, text)
            queue = [("PUBLISH", channel, text) for channel, text in sent]
            client.send(("MULTI",), *queue, ("EXEC",))

    def script(self) -> None:
        client = self._publisher()
        if client is not None:
            channel, texts = self.random.choice(CHANNELS), [self._text() for _ in range(3)]
            client.expected.append(3 * self._receivers("", channel))
            for text in texts:
                self._deliver("", channel, text)
            client.send(("EVAL", SCRIPT, "1", channel, *texts))

    def write(self) -> None:
        client = self._publisher()
        if client is not None:
            client.expected.append(b"OK")
            client.send(("SET", "key", self._text()))

    def _publisher(self) -> Client | None:
        free = [client for client in self.clients if client.proto == 3 or not client.is_subscribed]
        return self.random.choice(free) if free else None

    def _text(self) -> str:
        self.texts += 1
        return f"text {self.texts}"

    def _receivers(self, kind: str, channel: str) -> int:
        return sum(
            (channel in client.names[kind])
            + sum(fits(p, channel) for p in client.names["p"] if kind == "")
            for client in self.clients
        )

    def _deliver(self, kind: str, channel: str, text: str) -> None:
        name, data = channel.encode(), text.encode()
        for client in self.clients:
            if channel in client.names[kind]:
                client.note(kind.encode() + b"message", name, data)
            for pattern in client.names["p"]:
                if kind == "" and fits(pattern, channel):
                    client.note(b"pmessage", pattern.encode(), name, data)


def fits(pattern: str, channel: str) -> bool:
    return matches(pattern.encode(), channel.encode())


@pytest.mark.parametrize("seed", SEEDS)
def test_clients_read_what_the_model_says(seed):
    Model(seed).run()


# -- crashes ------------------------------------------------------------------------------------

PUBLISH_IT = ("EVAL", "return redis.call('publish', 'ch', redis.call('get', 'n'))", "0")
PUBLISHES = [
    [("MULTI",), ("INCR", "n"), PUBLISH_IT, ("EXEC",)],
    [("INCR", "n"), PUBLISH_IT],
    [("EVAL", "return redis.call('publish', 'ch', redis.call('incr', 'n'))", "0")],
]


def lives(seed: int, *, is_relaxed: bool) -> None:
    """Publish counters, sync now and then, crash: what was read must be there."""
    rng = random.Random(seed)
    node = new_node(seed, is_relaxed=is_relaxed)
    for _ in range(6):
        reader, last = node.session(), 0
        node.settle(reader, encode("SUBSCRIBE", "ch"))
        writers = [node.session() for _ in range(3)]
        for _ in range(rng.randrange(1, 30)):
            writer = rng.choice(writers)
            writer.feed(pipeline(*rng.choice(PUBLISHES)))
            node.serve(writer)
            if rng.random() < 0.3:
                rng.choice((node.write, node.sync))(rng.randrange(1, 4))
            data = reader.take()
            values = [int(line) for line in data.split(b"\r\n") if line.isdigit()]
            assert values == sorted(values)
            last = max([last, *values])
        node = node.crash()
        found = int(node.ask("GET", "n") or 0)
        assert found >= last, f"{last} was published, and {found} is left"


@pytest.mark.parametrize("seed", SEEDS)
def test_no_message_tells_of_what_a_crash_takes(seed):
    lives(seed, is_relaxed=False)


def test_messages_that_do_not_wait_for_the_sync_are_found():
    """Planted: written counts as committed."""

    def live_often() -> None:
        for seed in range(20):
            lives(seed, is_relaxed=True)

    with pytest.raises(AssertionError, match="was published"):
        live_often()
