"""Histories of concurrent clients on a simulated node, short and long scripts, EXECs, WATCH and
plain commands mixed, with evictions, checkpoints and crashes: each is strictly serializable.

    KVNODE_HISTORIES=2000 pytest tests/property/test_histories.py
"""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from kvnode._core import invariants
from kvnode._core.commit import COMMITTED, CONFLICT
from kvnode._core.session import Session
from kvnode.txn import optimistic
from tests.property.test_transactions import start_before_the_fence
from tests.sim.interleave import COMMANDS
from tests.sim.node import SimNode, new_node
from tests.support.list_append import Findings, Transaction, check
from tests.support.resp import ErrorReply, Reply, decode_all, encode

HISTORIES = int(os.environ.get("KVNODE_HISTORIES", "60"))
BUG_HISTORIES = 300
STEPS = 150
CLIENTS = 6
OPERATIONS_MAX = 4
GRANT_STEPS = 2000  # what a script may take on the sequencer
LISTS, STRINGS = (b"l", b"m"), (b"s", b"t")
ALL_CHECKS = (1 << 11) - 1  # Check of workspace.pxd

RUN = (
    b"local reads = {} "
    b"for i = 1, #ARGV, 3 do "
    b"local command, key, value = ARGV[i], ARGV[i + 1], ARGV[i + 2] "
    b"if command == 'spin' then for j = 1, 3000 do end "
    b"elseif command == 'LRANGE' then reads[#reads + 1] = redis.call(command, key, 0, -1) "
    b"elseif command == 'GET' then reads[#reads + 1] = redis.call(command, key) or '' "
    b"else redis.call(command, key, value) end end "
    b"return reads"
)
BLIND = b"#!lua flags=blind-appends\n" + RUN

Words = tuple[bytes, ...]


def words_of(operation: tuple) -> Words:
    """Return the command of an operation."""
    kind, key, what = operation
    if kind == "append":
        return (b"RPUSH", key, what) if key in LISTS else (b"APPEND", key, what + b",")
    return (b"LRANGE", key, b"0", b"-1") if key in LISTS else (b"GET", key)


def values_of(reply: Reply) -> list[bytes]:
    """Return what a read has answered."""
    if isinstance(reply, list):
        return reply
    return (reply or b"").split(b",")[:-1]


@dataclass
class Sent:
    """A transaction under way. replies: how many come, the last of them its own.

    take: writes the values of its reads down, from that reply.
    """

    transaction: Transaction
    replies: int
    take: Callable[[Reply], None]
    received: list[Reply] = field(default_factory=list)
    then: Callable[[], None] | None = None


class World:
    """A node, its clients, and the history that they make."""

    def __init__(self, seed: int, **options: object) -> None:
        self.rng = random.Random(seed)
        steps_max = self.rng.choice([None, None, 3])
        self.node: SimNode = new_node(seed, steps_max=steps_max, commands=COMMANDS, **options)
        self.has_crashes = seed % 3 == 0
        self.moment = self._value = 0
        self.history: list[Transaction] = []
        self.open: dict[Session, list[Sent]] = {}
        self.pieces: dict[Session, bytes] = {}  # of replies that have not come as a whole
        self.kinds: dict[str, int] = {}
        self.conflicts = 0
        self.begin_life()

    def begin_life(self) -> None:
        scripts = self.node.view.scripts
        scripts.budget_micros = 1 << 40  # no clock decides which scripts are long
        scripts.here.set_budget(0, grant=GRANT_STEPS, grants=0)

    # -- steps ----------------------------------------------------------------------------------

    def step(self) -> None:
        steps = [self.begin, self.node.sync, self.node.serve, self.node.reader.step]
        steps += [self.write, self.flush, self.evict, self.crash]
        self.rng.choices(steps, [6, 4, 6, 6, 1, 1, 1, 0.2 * self.has_crashes])[0]()
        self.look()

    def write(self) -> None:
        self.node.write(1)

    def flush(self) -> None:
        if self.rng.random() < 0.3:
            self.node.replica.request_checkpoint(lambda ok: None)
        self.node.background()
        self.node.writer.step()

    def evict(self) -> None:
        self.node.tip.evict(0, self.rng.choice([10, 1000]))

    def crash(self) -> None:
        """Power is lost, or the process; what has no reply by now may have happened."""
        self.conflicts += self.node.jobs.transactions.conflicts
        self.open.clear()
        self.pieces.clear()
        self.node = self.node.crash() if self.rng.random() < 0.7 else self.node.kill()
        self.begin_life()

    def begin(self) -> None:
        """One client sends a transaction, or two without waiting in between."""
        if len(self.open) >= CLIENTS:
            return
        session = self.node.session()
        kinds = [self.plain, self.multi, self.script, self.watch]
        send = self.rng.choices(kinds, [2, 2, 5, 2])[0]
        first = send(session, None)
        if send is not self.watch and self.rng.random() < 0.2:
            self.script(session, first)
        self.node.serve(session)

    # -- transactions ---------------------------------------------------------------------------

    def draw(self, count: int) -> list[tuple]:
        operations = []
        for _ in range(count):
            key = self.rng.choice(LISTS + STRINGS)
            if self.rng.random() < 0.5:
                operations.append(("read", key, []))
            else:
                operations.append(("append", key, b"%d" % self.next_value()))
        return operations

    def next_value(self) -> int:
        self._value += 1
        return self._value

    def send(
        self,
        session: Session,
        kind: str,
        operations: list[tuple],
        data: bytes,
        replies: int,
        take: Callable[[Reply], None],
        follows: Transaction | None = None,
    ) -> Sent:
        one = Transaction(operations, self.moment, follows=follows)
        one.name = f"{kind} {len(self.history)}"
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        self.history.append(one)
        sent = Sent(one, replies, take)
        self.open.setdefault(session, []).append(sent)
        session.feed(data)
        return sent

    def plain(self, session: Session, follows: Transaction | None) -> Transaction:
        operations = self.draw(1)

        def take(reply: Reply) -> None:
            fill(operations, [reply])

        data = encode(*words_of(operations[0]))
        return self.send(session, "plain", operations, data, 1, take, follows).transaction

    def multi(self, session: Session, follows: Transaction | None) -> Transaction:
        """MULTI, commands, perhaps a script, EXEC."""
        before, after = self.draw(2), self.draw(self.rng.randint(1, 2))
        inner = self.draw(2) if self.rng.random() < 0.4 else []
        commands = [words_of(operation) for operation in before]
        commands += [self.words(inner)] if inner else []
        commands += [words_of(operation) for operation in after]

        def take(reply: Reply) -> None:
            fill(before, reply)
            if inner:
                fill_reads(inner, reply[len(before)])
            fill(after, reply[-len(after) :])
            sent.transaction.operations = before + inner + after

        data = [encode(*words) for words in [(b"MULTI",), *commands, (b"EXEC",)]]
        together = before + inner + after
        sent = self.send(session, "multi", together, b"".join(data), len(data), take, follows)
        return sent.transaction

    def words(self, operations: list[tuple]) -> Words:
        """Return the EVAL of some operations; some of them are long."""
        parts = [
            (words[0], words[1], words[2] if operation[0] == "append" else b"")
            for operation in operations
            for words in [words_of(operation)]
        ]
        if self.rng.random() < 0.6:
            parts.insert(self.rng.randint(0, len(parts)), (b"spin", b"", b""))
        text = BLIND if self.rng.random() < 0.3 else RUN
        keys = sorted({op[1] for op in operations}) if self.rng.random() < 0.5 else []
        return (b"EVAL", text, b"%d" % len(keys), *keys, *(word for part in parts for word in part))

    def script(self, session: Session, follows: Transaction | None) -> Transaction:
        operations = self.draw(self.rng.randint(1, OPERATIONS_MAX))

        def take(reply: Reply) -> None:
            fill_reads(operations, reply)

        data = encode(*self.words(operations))
        return self.send(session, "script", operations, data, 1, take, follows).transaction

    def watch(self, session: Session, follows: Transaction | None) -> Transaction:
        """WATCH and read; with the replies there, MULTI, appends, EXEC."""
        reads = [op for op in self.draw(3) if op[0] == "read"] or [("read", b"s", [])]
        keys = [op[1] for op in reads]
        begun = self.moment

        def read(reply: Reply) -> None:
            fill(reads, sent.received[1:])
            # Alone these reads are no transaction; the first is one, whatever becomes of the EXEC.
            sent.transaction.operations = reads[:1]

        def go_on() -> None:
            appends = [op for op in self.draw(3) if op[0] == "append"]
            data = [encode(b"MULTI"), *(encode(*words_of(op)) for op in appends), encode(b"EXEC")]

            def take(reply: Reply) -> None:
                second.transaction.is_refused = reply is None

            both = [*reads, *appends]
            second = self.send(session, "watch", both, b"".join(data), len(data), take)
            second.transaction.begun = begun
            self.node.serve(session)

        data = [encode(b"WATCH", *keys), *(encode(*words_of(op)) for op in reads)]
        sent = self.send(session, "read", reads[:1], b"".join(data), len(data), read)
        sent.then = go_on
        return sent.transaction

    # -- the history ----------------------------------------------------------------------------

    def replies(self, session: Session) -> list[Reply]:
        """Return what is complete; a long reply comes in pieces."""
        raw = self.pieces.pop(session, b"") + session.take()
        try:
            return decode_all(raw)
        except ValueError:
            self.pieces[session] = raw
            return []

    def look(self) -> None:
        """Note which clients have their replies by now."""
        self.moment += 1
        thens = []
        for session, queue in list(self.open.items()):
            for reply in self.replies(session):
                sent = queue[0]
                sent.received.append(reply)
                if len(sent.received) < sent.replies:
                    continue
                queue.pop(0)
                sent.transaction.ended = self.moment
                if isinstance(reply, ErrorReply):
                    assert "nothing of it is done" in str(reply), reply
                    sent.transaction.is_refused = True
                else:
                    sent.take(reply)
                if sent.then is not None:
                    thens.append(sent.then)
            if not queue:
                del self.open[session]
        self.moment += 1
        for then in thens:
            then()

    def finish(self) -> None:
        for _ in range(500):
            if not self.open:
                return
            self.node.step_threads()
            self.node.sync()
            self.node.serve()
            self.look()
        raise AssertionError("some transaction never ends")

    def read_all(self) -> None:
        for key in LISTS + STRINGS:
            operations = [("read", key, [])]
            session = self.node.session()
            self.send(
                session,
                "end",
                operations,
                encode(*words_of(operations[0])),
                1,
                lambda reply, operations=operations: fill(operations, [reply]),
            )
            self.node.serve(session)
        self.finish()


def fill(operations: list[tuple], replies: list[Reply]) -> None:
    """Write down what the reads among some operations have answered, a reply for each operation."""
    for i, (kind, key, _) in enumerate(operations):
        assert not isinstance(replies[i], ErrorReply), replies[i]
        if kind == "read":
            operations[i] = (kind, key, values_of(replies[i]))


def fill_reads(operations: list[tuple], replies: Reply) -> None:
    """The same, of a script, which answers its reads."""
    left = iter(replies)
    for i, (kind, key, _) in enumerate(operations):
        if kind == "read":
            operations[i] = (kind, key, values_of(next(left)))


def run(seed: int, **options: object) -> tuple[World, Findings]:
    """Make a history, and check it."""
    world = World(seed, **options)
    for _ in range(STEPS):
        world.step()
    world.finish()
    world.read_all()
    invariants.check(world.node.tip)
    world.conflicts += world.node.jobs.transactions.conflicts
    return world, check(world.history)


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_a_history_is_strictly_serializable(seed):
    _, found = run(seed)
    assert found.anomalies == []
    assert found.transactions > 5


def test_histories_have_everything_in_them():
    """Else they would show nothing: conflicts, refused EXECs, crashes and long scripts happen."""
    kinds: dict[str, int] = {}
    conflicts = refused = unknown = 0
    for seed in range(12):
        world, _ = run(seed)
        conflicts += world.conflicts
        refused += sum(one.is_refused for one in world.history)
        unknown += sum(one.ended > world.moment for one in world.history)
        for kind, count in world.kinds.items():
            kinds[kind] = kinds.get(kind, 0) + count
    assert min(kinds.values()) > 20
    assert min(conflicts, refused, unknown) > 5


# -- what the check is worth ----------------------------------------------------------------------


def validate_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a transaction has read may have changed by its commit."""
    made = optimistic.Attempt

    def attempt(*args: object) -> optimistic.Attempt:
        one = made(*args)
        one.workspace.left_out = ALL_CHECKS
        return one

    monkeypatch.setattr(optimistic, "Attempt", attempt)


def lose_refused_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that has to run again is answered as if it were done."""
    commit = optimistic.commit

    def lenient(*args: object) -> tuple[int, object]:
        verdict, missing = commit(*args)
        return (COMMITTED if verdict == CONFLICT else verdict), missing

    monkeypatch.setattr(optimistic, "commit", lenient)


@pytest.mark.parametrize(
    ("plant", "options"),
    [
        (validate_nothing, {}),
        (start_before_the_fence, {}),
        (lose_refused_tries, {}),
        (lambda monkeypatch: None, {"is_relaxed": True}),
    ],
    ids=["validate nothing", "snapshot before the fence", "lose refused tries", "reply too early"],
)
def test_a_planted_bug_is_found(monkeypatch, plant, options):
    plant(monkeypatch)
    for seed in range(BUG_HISTORIES):
        try:
            _, found = run(seed, **options)
        except invariants.InvariantError:  # lists count on their items
            return
        if found.anomalies:
            return
    pytest.fail("not found")
