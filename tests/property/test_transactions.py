"""Transactions and plain commands in random steps, on a node that flushes, evicts and commits late:
the replies are those of some serial order that respects real time.
"""

import random

import pytest

from kvnode._core import invariants
from kvnode._core.session import Session
from kvnode.storage import parts
from kvnode.txn import optimistic
from kvnode.txn.attempt import Attempt
from tests.reference.serial import BLIND, LAST, Operation, is_serializable, text_of
from tests.sim.node import SimNode, new_node
from tests.support.resp import ErrorReply, Reply, decode_all, encode
from tests.support.scripts import S_READY, Running

SEEDS = 150
BUG_SEEDS = 3000
STEPS = 60
SCRIPTS_MAX, COMMANDS_MAX = 4, 5

STRINGS, SETS, HASHES, LISTS = (b"a", b"b"), (b"s", b"t"), (b"h",), (b"l", b"m")
SETUP = [
    (b"RPUSH", b"l", b"1", b"2", b"3"),
    (b"RPUSH", b"m", b"4"),
    (b"SET", b"a", b"1"),
    (b"SADD", b"s", b"x", b"y"),
    (b"SADD", b"t", b"x"),
    (b"HSET", b"h", b"f", b"1"),
]

CHECKS = {  # Check of workspace.pxd
    "databases": 1,
    "absences": 2,
    "values": 4,
    "identity": 8,
    "lengths": 16,
    "whole": 32,
    "names": 64,
    "empty": 128,
    "ends": 256,  # a pop would be valid if its element is still there, first or not
    "places": 512,  # an append would go to where the snapshot ended
    "types": 1024,
}


def draw(rng: random.Random, *, in_script: bool, with_lists: bool) -> tuple[bytes, ...]:
    """Return a command; in a script some carry on the reply before."""
    if with_lists and rng.random() < 0.85:
        return draw_of_lists(rng, in_script=in_script)
    string, set_, member = rng.choice(STRINGS), rng.choice(SETS), rng.choice([b"x", b"y", b"z"])
    field, value = rng.choice([b"f", b"g"]), b"%d" % rng.randrange(100)
    if in_script and rng.random() < 0.4:
        value = LAST
    commands = [
        [(b"GET", string), (b"SET", string, value), (b"APPEND", string, b"."), (b"DEL", string)],
        [(b"SADD", set_, member), (b"SREM", set_, member), (b"SISMEMBER", set_, member)],
        [(b"SADD", set_, member), (b"SCARD", set_), (b"SMEMBERS", set_), (b"EXISTS", set_)],
        [(b"HSET", b"h", field, value), (b"HGET", b"h", field), (b"HDEL", b"h", field)],
        [(b"HGETALL", b"h"), (b"HGETALL", b"h"), (b"HSET", b"h", b"f", value)],
        [(b"HLEN", b"h"), (b"DBSIZE",), (b"DEL", set_), (b"EXISTS", string)],
        [(b"RENAME", set_, rng.choice(SETS)), (b"RENAME", string, rng.choice(STRINGS))],
        [(b"FLUSHDB",), (b"SWAPDB", b"0", b"1"), (b"SET", set_, value), (b"DEL", b"h")],
    ]
    return rng.choice(rng.choices(commands, [5, 4, 4, 3, 3, 2, 2, 1])[0])


def draw_of_ranked(rng: random.Random) -> tuple[bytes, ...]:
    """The same of a sorted set of which much is removed at once."""
    members = [word for name in rng.sample(b"uvwxyz", 4) for word in (b"0", b"%c" % name)]
    commands = [
        (b"ZADD", b"z", *members),
        (b"ZADD", b"z", *members[:2]),
        (b"ZREMRANGEBYRANK", b"z", b"0", b"%d" % rng.randrange(6)),
        (b"ZPOPMIN", b"z", b"%d" % rng.randint(1, 6)),
        (b"ZRANGE", b"z", b"0", b"-1"),
    ]
    return rng.choice(commands)


def draw_of_lists(rng: random.Random, *, in_script: bool) -> tuple[bytes, ...]:
    """The same of lists. In a script some appends are blind."""
    key, value = rng.choice(LISTS), b"%d" % rng.randrange(100)
    ends = rng.choice([b"LEFT", b"RIGHT"]), rng.choice([b"LEFT", b"RIGHT"])
    index, element = rng.choice([b"0", b"1", b"-1", b"-2"]), rng.choice([b"1", b"2", b"3"])
    if in_script and rng.random() < 0.3:
        value = LAST
    push = rng.choice([b"LPUSH", b"RPUSH"]), key, value
    commands = [
        [push, (b"RPUSH", key, value, b"2")],
        [(BLIND, *push) if in_script else push],
        [(b"LPOP", key), (b"RPOP", key), (b"LPOP", key, b"2"), (b"RPOP", key, b"2")],
        [(b"LMOVE", key, rng.choice(LISTS), *ends), (b"LMOVE", b"l", b"m", *ends)],
        [(b"LLEN", key), (b"LINDEX", key, index), (b"LINDEX", key, index), (b"EXISTS", key)],
        [
            (b"LRANGE", key, b"0", b"-1"),
            (b"LRANGE", key, b"-2", b"-1"),
            (b"LRANGE", key, b"0", b"1"),
        ],
        [(b"LSET", key, index, value), (b"LTRIM", key, index, b"-1"), (b"LTRIM", key, b"0", index)],
        [(b"LREM", key, rng.choice([b"0", b"1", b"-1"]), element), (b"LPOS", key, element)],
        [(b"LINSERT", key, rng.choice([b"BEFORE", b"AFTER"]), element, value)],
        [(b"DEL", key), (b"RENAME", key, rng.choice(LISTS)), (b"SET", key, value)],
    ]
    return rng.choice(rng.choices(commands, [3, 4, 6, 3, 3, 2, 2, 2, 1, 1])[0])


class World:
    """A node, its clients, and what they saw when. Every other seed is mostly about lists."""

    def __init__(self, seed: int) -> None:
        self.with_lists = seed % 2 == 1
        self.rng = random.Random(seed)
        # With a budget of a few steps plain commands and EXECs are transactions, too.
        self.node: SimNode = new_node(seed, steps_max=self.rng.choice([None, 3]))
        if seed % 4 == 1:  # LINSERT and LREM write lists anew
            self.node.view.list_shift_max = self.node.view.list_runs_max = 0
        self.with_removals = seed % 6 == 4
        if seed % 3 == 1:
            self.node.view.list_fetch_max = self.node.view.remove_each_max = 0
        self.moment = 0
        self.operations: list[Operation] = []
        self.open: dict[Session, list[tuple[Operation, Running | None]]] = {}
        self.begun: dict[Session, bytes] = {}  # of replies that are not all there
        self.scripts = self.commands = 0
        self.state: dict = {}
        for words in SETUP:
            self.plain(words)
            self.finish()
        if self.rng.random() < 0.5:
            self.cool()

    def step(self) -> None:
        steps = [self.begin_script, self.begin_command, self.node.sync, self.node.serve]
        steps += [self.node.reader.step, self.evict, self.flush, self.write, self.begin_multi]
        self.rng.choices(steps, [3, 3, 3, 5, 5, 1, 1, 1, 1])[0]()
        self.look()

    def begin_script(self) -> None:
        if self.scripts == SCRIPTS_MAX:
            return
        self.scripts += 1
        commands = [self.draw(in_script=True) for _ in range(self.rng.randint(2, 4))]
        session = None
        if self.rng.random() < 0.5:
            session = self.plain(self.draw(in_script=False))  # in one pipeline with the script
            if session.state != S_READY:
                return
            self.moment += 1
        operation = Operation(commands, self.moment)
        if session is not None:
            self.operations[-1].followed_by = operation

        def script():
            replies: list[object] = []
            for words in commands:
                last = replies[-1] if replies else None
                reply = yield tuple(text_of(last) if word == LAST else word for word in words)
                replies.append(plain_form(words, reply))
            return replies

        running = Running(self.node, script, session)
        self.operations.append(operation)
        self.open.setdefault(running.session, []).append((operation, running))

    def begin_command(self) -> None:
        if self.commands < COMMANDS_MAX:
            self.commands += 1
            self.plain(self.draw(in_script=False))

    def draw(self, *, in_script: bool) -> tuple[bytes, ...]:
        if self.with_removals and self.rng.random() < 0.7:
            return draw_of_ranked(self.rng)
        return draw(self.rng, in_script=in_script, with_lists=self.with_lists)

    def begin_multi(self) -> None:
        if self.commands == COMMANDS_MAX:
            return
        self.commands += 1
        commands = [self.draw(in_script=False) for _ in range(self.rng.randint(2, 5))]
        session = self.node.session()
        operation = Operation(commands, self.moment)
        self.operations.append(operation)
        self.open[session] = [(operation, None)]
        session.feed(b"".join(encode(*words) for words in [(b"MULTI",), *commands, (b"EXEC",)]))
        self.node.serve(session)

    def plain(self, words: tuple[bytes, ...]) -> Session:
        session = self.node.session()
        operation = Operation([words], self.moment)
        self.operations.append(operation)
        self.open[session] = [(operation, None)]
        session.feed(encode(*words))
        self.node.serve(session)
        return session

    def look(self) -> None:
        """Note which clients have their replies by now."""
        self.moment += 1
        for session in list(self.open):
            received = self.begun.pop(session, b"") + session.take()
            try:
                replies = decode_all(received)
            except ValueError:
                self.begun[session] = received
                continue
            for reply in replies:
                operation, running = self.open[session][0]
                is_multi = running is None and len(operation.commands) > 1
                if is_multi and reply in (b"OK", b"QUEUED"):
                    continue
                self.open[session].pop(0)
                operation.ended = self.moment
                if is_multi:
                    assert isinstance(reply, list), reply
                    operation.replies = [
                        plain_form(words, one)
                        for words, one in zip(operation.commands, reply, strict=True)
                    ]
                elif running is None:
                    operation.replies = [plain_form(operation.commands[0], reply)]
                else:
                    assert not isinstance(reply, ErrorReply), reply
                    operation.replies = running.program.result
            if not self.open[session]:
                del self.open[session]
        self.moment += 1

    def evict(self) -> None:
        self.node.tip.evict(0, self.rng.choice([10, 1000]))

    def cool(self) -> None:
        """All that can leave memory leaves it."""
        self.node.checkpoint()
        self.node.evict()
        for db in range(2):
            self.node.tip.set_resident(self.node.tip.current_generation(db), False)

    def flush(self) -> None:
        if self.rng.random() < 0.3:
            self.node.replica.request_checkpoint(lambda ok: None)
        self.node.background()
        self.node.writer.step()

    def write(self) -> None:
        self.node.write(1)

    def finish(self) -> None:
        for _ in range(500):
            if not self.open:
                return
            self.node.step_threads()
            self.node.sync()
            self.node.serve()
            self.look()
        raise AssertionError("some operation never ends")


def plain_form(words: tuple[bytes, ...], reply: Reply) -> object:
    if isinstance(reply, ErrorReply):
        return str(reply).split()[0]
    if words[0] == b"HGETALL" and isinstance(reply, list):
        return sorted(zip(reply[::2], reply[1::2], strict=True))
    return sorted(reply) if words[0] == b"SMEMBERS" else reply


def run(seed: int) -> World:
    """Run a history; raise AssertionError if no serial order explains it."""
    world = World(seed)
    for _ in range(STEPS):
        world.step()
    world.finish()
    for key in STRINGS:
        world.plain((b"GET", key))
        world.finish()
    for key in SETS:
        world.plain((b"SMEMBERS", key))
        world.finish()
    for key in LISTS:
        world.plain((b"LRANGE", key, b"0", b"-1"))
        world.finish()
    for words in (
        (b"ZRANGE", b"z", b"0", b"-1"),
        (b"HGET", b"h", b"f"),
        (b"HLEN", b"h"),
        (b"DBSIZE",),
    ):
        world.plain(words)
        world.finish()
    invariants.check(world.node.tip)
    assert world.node.tip.statistics()["pins"] == 0
    assert is_serializable({}, world.operations), world.operations
    return world


@pytest.mark.parametrize("seed", range(SEEDS))
def test_replies_are_those_of_a_serial_order(monkeypatch, seed):
    if seed % 3 == 0:  # elements are read one by one, not with their head
        monkeypatch.setattr(parts, "SMALL_COLLECTION_ELEMENTS", 0)
    run(seed)


def leave_out(monkeypatch: pytest.MonkeyPatch, check: str) -> None:
    def attempt(*args) -> Attempt:
        made = Attempt(*args)
        made.workspace.left_out = CHECKS[check]
        return made

    monkeypatch.setattr(optimistic, "Attempt", attempt)


def start_before_the_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    renew = optimistic.Transaction.renew

    def early(self) -> None:
        renew(self)
        self._fence_index = 0

    monkeypatch.setattr(optimistic.Transaction, "renew", early)


@pytest.mark.parametrize("bug", [*CHECKS, "fence"])
def test_a_planted_bug_is_found(monkeypatch, bug):
    if bug == "fence":
        start_before_the_fence(monkeypatch)
    else:
        leave_out(monkeypatch, bug)
    for seed in range(BUG_SEEDS):
        try:
            run(seed)
        except (AssertionError, invariants.InvariantError):
            return
        except ValueError:  # a list that is there, and empty, answers a pop with nothing
            assert bug == "empty"
            return
    pytest.fail("not found")
