"""Nothing leaves a leader of a group before what it depends on is committed and the leadership is
confirmed, in whatever order entries commit, rounds end, and leaderships are lost.

A model executes the same commands and knows of each reply what it has to wait for. Planted bugs in
what the leader is told show that it looks.
"""

import random
from collections import deque
from dataclasses import dataclass, field

import pytest

from kvnode._core.session import Session
from tests.support.leader import RETRY, UNBLOCKED, UNCERTAIN, Leader, error
from tests.support.local import S_CLOSING, Words, pipeline

KEYS = (b"a", b"b", b"c")
QUEUE = b"q"
CLIENTS = 4
STEPS = 150
RUNS = 40
BUG_RUNS = 40  # in which each bug has to show
WAIT_MS = 1000
UNFORMED = -1  # index of the entry that the running pass will form


@dataclass
class Expected:
    """A reply, and what it waits for."""

    data: bytes
    index: int = 0
    number: int = 0
    wrote: bool = False


@dataclass
class Client:
    """A session, as the model knows it."""

    session: Session
    todo: deque[Words] = field(default_factory=deque)
    replies: deque[Expected] = field(default_factory=deque)
    deadline_ms: int = 0  # while it waits for the queue


class Life:
    """A leader, its clients, and the model. bug: what the leader is told wrongly."""

    def __init__(self, seed: int, bug: str = "") -> None:
        self.rng = random.Random(seed)
        self.bug = bug
        self.node = Leader()
        self.sequencer = self.node.sequencer
        self.clients = [Client(self.node.session()) for _ in range(CLIENTS)]
        self.values: dict[bytes, bytes] = {}
        self.written: dict[bytes, int] = {}  # key -> index of the entry that wrote it last
        self.queue: deque[bytes] = deque()
        self.waiting: list[Client] = []
        self.passes: dict[int, int] = {}  # index of an entry -> the pass that formed it
        self.committed = self.last = self.sequencer.committed
        self.confirmed = 0
        self.rounds: deque[int] = deque()  # passes that were complete as each began
        self.left = 0
        self.is_over = False
        if bug == "no fences":
            self.sequencer.is_alone = True
        if bug == "a lease that has ended":
            self.sequencer.has_lease = lambda: True

    # -- the model ------------------------------------------------------------------------------

    def execute(self, client: Client, number: int) -> None:
        """Run what a client has sent, until it waits."""
        while client.todo and client not in self.waiting:
            words = client.todo.popleft()
            name, *rest = words
            if name == "PING":
                client.replies.append(Expected(b"+PONG\r\n"))
            elif name == "GET":
                value = self.values.get(rest[0])
                data = b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)
                index = self.written.get(rest[0], 0)
                client.replies.append(Expected(data, index, number))
            elif name == "SET":
                self.values[rest[0]] = rest[1]
                self.written[rest[0]] = UNFORMED
                client.replies.append(Expected(b"+OK\r\n", UNFORMED, number, wrote=True))
            elif name == "RPUSH":
                self.queue.append(rest[1])
                data = b":%d\r\n" % len(self.queue)
                self.written[QUEUE] = UNFORMED
                client.replies.append(Expected(data, UNFORMED, number, wrote=True))
                while self.waiting and self.queue:
                    self.pop(self.waiting.pop(0), number)
            elif self.queue:
                self.pop(client, number)
            else:
                self.waiting.append(client)
                client.deadline_ms = self.node.clock.now_ms + WAIT_MS

    def pop(self, client: Client, number: int) -> None:
        value = self.queue.popleft()
        data = b"*2\r\n$1\r\nq\r\n$%d\r\n%b\r\n" % (len(value), value)
        client.replies.append(Expected(data, UNFORMED, number, wrote=True))
        self.written[QUEUE] = UNFORMED

    def end_waits(self, number: int) -> None:
        """Nobody gave them anything up to now."""
        due = [c for c in self.waiting if c.deadline_ms <= self.node.clock.now_ms]
        for client in sorted(due, key=lambda c: c.deadline_ms):
            self.waiting.remove(client)
            client.replies.append(Expected(b"*-1\r\n", self.last, number))

    def form(self, number: int) -> None:
        """The pass has ended: what it wrote has an index."""
        if self.sequencer.last_index > self.last:
            self.last = self.sequencer.last_index
            self.passes[self.last] = number
        for key, index in self.written.items():
            if index == UNFORMED:
                self.written[key] = self.last
        for client in self.clients:
            for reply in client.replies:
                if reply.index == UNFORMED:
                    reply.index = self.last

    def may_leave(self, reply: Expected) -> bool:
        return reply.index <= self.committed and reply.number <= self.confirmed

    # -- steps ----------------------------------------------------------------------------------

    def step(self) -> None:
        steps = [self.run_pass, self.agree, self.begin_round, self.end_round, self.sync]
        self.rng.choices([*steps, self.step_down], [10, 4, 4, 4, 3, 1])[0]()
        for client in self.clients:
            self.take(client)

    def draw(self) -> Words:
        key = self.rng.choice(KEYS)
        value = b"%d" % self.rng.randrange(10)
        drawn = [("GET", key), ("SET", key, value), ("PING",), ("RPUSH", QUEUE, value)]
        return self.rng.choice([*drawn, ("BLPOP", QUEUE, WAIT_MS / 1000), ("GET", key)])

    def run_pass(self) -> None:
        self.node.clock.advance(self.rng.choice((0, 0, WAIT_MS // 3)))
        number = self.sequencer.passes + 1
        chosen = self.rng.sample(self.clients, self.rng.randrange(1, CLIENTS + 1))
        for client in chosen:
            commands = [self.draw() for _ in range(self.rng.randrange(3))]
            client.session.feed(pipeline(*commands))
            client.todo += commands
        self.end_waits(number)
        ready = list(chosen)
        # Those that were served or timed out run behind them, as the sequencer says.
        self.node.sequencer.begin(self.node.clock.now_ms)
        by_session = {client.session: client for client in self.clients}
        ready += [by_session[session] for session in self.sequencer.take_ready()]
        for client in ready:
            self.sequencer.serve(client.session)
            self.execute(client, number)
        self.sequencer.end()
        self.form(number)

    def agree(self) -> None:
        """A quorum has some entries more."""
        index = self.rng.randint(self.committed, self.last)
        self.committed = index
        numbers = [number for at, number in self.passes.items() if at <= index]
        self.confirmed = max([self.confirmed, *numbers])
        if self.bug == "a commit that is none":
            index = min(index + 1, self.last)
        self.sequencer.commit_to(index)
        if self.bug == "a batch confirms the next pass" and numbers:
            self.sequencer.confirm(min(max(numbers) + 1, self.sequencer.passes))

    def begin_round(self) -> None:
        """A round of heartbeats begins, if somebody waits for one."""
        number = self.sequencer.unconfirmed()
        if number:
            self.rounds.append(number)

    def end_round(self) -> None:
        """A quorum has answered the oldest round."""
        if not self.rounds:
            return
        number = self.rounds.popleft()
        self.confirmed = max(self.confirmed, number)
        if self.bug == "a round confirms what came after it began":
            number = self.sequencer.passes
        self.sequencer.confirm(number)

    def sync(self) -> None:
        self.node.commit(self.rng.choice((1, None)))

    def take(self, client: Client) -> None:
        """What leaves are the next replies, and none too early."""
        data = client.session.take()
        while data:
            reply = client.replies.popleft()
            assert data.startswith(reply.data), (data, reply)
            assert self.may_leave(reply), reply
            data = data[len(reply.data) :]
            self.left += 1

    def step_down(self) -> None:
        """Lose the leadership. If memory stays, it comes back."""
        is_clean = self.committed == self.last
        uncertain = RETRY if self.bug == "every command may be retried" else UNCERTAIN
        assert self.sequencer.step_down(uncertain, RETRY, UNBLOCKED) == is_clean
        self.rounds.clear()
        for client in list(self.clients):
            self.check_end(client)
        assert self.sequencer.fences.bytes == 0
        self.sequencer.take_flushable()
        self.waiting.clear()
        self.is_over = not is_clean
        self.sequencer.serving = is_clean

    def check_end(self, client: Client) -> None:
        """What had nothing to wait for leaves; then an error says what is known of the rest."""
        lost = [reply for reply in client.replies if not self.may_leave(reply)]
        if lost:
            line = UNCERTAIN if any(reply.wrote for reply in lost) else RETRY
        elif client in self.waiting:
            line = UNBLOCKED
        else:
            self.take(client)
            assert not client.replies
            assert client.session.state != S_CLOSING
            return
        data = client.session.take()
        if not lost and client.replies and data.endswith(error(RETRY)):
            line = RETRY  # PING before BLPOP: what a pass wrote is held together
        assert data.endswith(error(line)), (data, line)
        data = data.removesuffix(error(line))
        while data:
            reply = client.replies.popleft()
            assert data.startswith(reply.data), (data, reply)
            assert reply not in lost, reply
            data = data[len(reply.data) :]
        assert client.session.state == S_CLOSING
        self.node.close(client.session)
        self.clients[self.clients.index(client)] = Client(self.node.session())

    def finish(self) -> None:
        """In the end all replies leave: who waits is known to unconfirmed()."""
        self.committed = self.last
        self.confirmed = self.sequencer.passes
        self.sequencer.commit_to(self.last)
        if number := self.sequencer.unconfirmed():
            self.sequencer.confirm(number)
        for client in self.clients:
            self.take(client)
            assert not client.replies
            assert not client.session.held
        assert self.sequencer.unconfirmed() == self.sequencer.fences.bytes == 0


def live(seed: int, bug: str = "") -> Life:
    life = Life(seed, bug)
    for _ in range(STEPS):
        life.step()
        if life.is_over:
            return life
    life.finish()
    return life


@pytest.mark.parametrize("seed", range(RUNS))
def test_nothing_leaves_too_early(seed):
    live(seed)


def test_replies_leave():
    assert sum(live(seed).left for seed in range(RUNS)) > RUNS * CLIENTS


@pytest.mark.parametrize(
    "bug",
    [
        "no fences",
        "a lease that has ended",
        "a commit that is none",
        "a batch confirms the next pass",
        "a round confirms what came after it began",
        "every command may be retried",
    ],
)
def test_planted_bugs_are_found(bug):
    for seed in range(BUG_RUNS):
        try:
            live(seed, bug)
        except AssertionError:
            return
    raise AssertionError("nothing was found")
