"""Collections that the cache does not hold: what shows many elements, and ranks deep inside.

A client asks while another writes, records are flushed and evicted, and the first one takes its
reply a little at a time. Each reply must be the model's at one moment between question and answer.
"""

import random
from collections.abc import Callable
from copy import copy, deepcopy

import pytest

from kvnode._core import element_reads
from kvnode._core.session import Session
from kvnode.base.errors import InvariantError
from kvnode.storage import reading
from kvnode.txn import long_reply
from tests.sim.node import SimNode, new_node
from tests.support.local import S_READY
from tests.support.model import Model
from tests.support.model_keyspace import Client
from tests.support.resp import NullArray, Reply, decode, decode_all, encode

SEEDS = 16
QUESTIONS = 10
CACHE_BYTES = 16_000
MEMBERS = 200
STEPS_MAX = 20
ROUNDS_MAX = 20_000
LOOKS = [(b"ZRANGE", key, b"0", b"-1", b"WITHSCORES") for key in (b"z", b"e", b"target")]
CONVERSE = {b"HGETALL", b"HKEYS", b"HVALS", b"SMEMBERS"}  # in any order

Words = tuple[bytes, ...]


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of a few rows, looks at a few elements, and little output ahead of the client."""
    monkeypatch.setattr(reading, "READING_PAGE_BYTES", 300)
    monkeypatch.setattr(reading, "READING_ELEMENTS_PER_STEP", 7)
    monkeypatch.setattr(long_reply, "LONG_REPLY_UNSENT_BYTES", 200)


def words_of(*words: bytes | str | int) -> Words:
    return tuple(word if isinstance(word, bytes) else str(word).encode() for word in words)


class World:
    """A node, a model of it, and the states that the model has been in.

    writer: its commands are the only ones that change anything, unless a question does.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.node: SimNode = new_node(seed, steps_max=STEPS_MAX)
        self.set_up_tip()
        self.model = Model(lambda: self.node.now_ms)
        self.states = [copied(self.model)]
        self.written: list[Words | None] = [None]  # what led to each state; None: time
        self.known = 0  # states before this one are past
        self.writer = self.node.session()
        self.is_writing = False
        self.long_replies = self.transactions = 0
        for words in self.contents():
            self.write(words)
            self.finish_write()
        self.node.checkpoint()
        self.evict()

    def set_up_tip(self) -> None:
        self.node.tip.page_members = 4
        self.node.tip.reach_members = 8
        self.node.tip.evict(CACHE_BYTES, 1)

    # -- what is there --------------------------------------------------------------------------

    def contents(self) -> list[Words]:
        rng = self.rng
        fields = [w for i in range(MEMBERS) for w in (b"f%d" % i, b"v" * rng.randrange(40))]
        pairs = [w for i in range(MEMBERS) for w in (b"%d" % rng.randrange(-60, 60), b"m%d" % i)]
        equal = [w for i in range(MEMBERS) for w in (b"0", b"m%d" % i)]
        items = [b"%d" % rng.randrange(9) for _ in range(MEMBERS)]
        return [
            words_of("HSET", "h", *fields),
            words_of("SADD", "s", *(b"m%d" % i for i in range(MEMBERS))),
            words_of("ZADD", "z", *pairs),
            words_of("ZADD", "e", *equal),
            words_of("RPUSH", "l", *items),
            words_of("RPUSH", "holes", *items),
            words_of("LREM", "holes", 0, "3"),
            words_of("HPEXPIRE", "h", 400, "FIELDS", 30, *(b"f%d" % i for i in range(30))),
        ]

    def name(self) -> bytes:
        return b"m%d" % self.rng.randrange(MEMBERS + 20)

    def score(self) -> bytes:
        return self.rng.choice([b"", b"", b"("]) + b"%d" % self.rng.randrange(-70, 70)

    def name_end(self) -> bytes:
        return self.rng.choice([b"-", b"+", b"[" + self.name(), b"(" + self.name()])

    def rank(self) -> int:
        return self.rng.randrange(-MEMBERS, MEMBERS)

    def draw_write(self) -> Words:
        rng, field = self.rng, b"f%d" % self.rng.randrange(MEMBERS + 20)
        z = rng.choice([b"z", b"z", b"e"])
        score = b"0" if z == b"e" else b"%d" % rng.randrange(-60, 60)
        draw = [
            ("HSET", "h", field, rng.randbytes(20)),
            ("HDEL", "h", field),
            ("HPEXPIRE", "h", rng.randrange(1, 300), "FIELDS", 1, field),
            ("SADD", "s", self.name()),
            ("SREM", "s", self.name()),
            *[("ZADD", z, score, self.name())] * 4,
            ("ZREM", z, self.name()),
            ("ZREMRANGEBYRANK", "z", 0, 0),
            ("ZPOPMAX", "z"),
            (rng.choice(["LPUSH", "RPUSH"]), rng.choice(["l", "holes"]), "new"),
            (rng.choice(["LPOP", "RPOP"]), rng.choice(["l", "holes"])),
            ("LSET", "l", rng.randrange(100), "set"),
        ]
        if rng.random() < 0.05:
            return words_of("DEL", rng.choice(["h", "s", "z", "l", "holes"]))
        if rng.random() < 0.1:
            return rng.choice(self.contents())
        return words_of(*rng.choice(draw))

    def draw_show(self) -> Words:
        """A command whose reply has many elements."""
        rng = self.rng
        scored = rng.choice([(), ("WITHSCORES",)])
        reverse = rng.choice([(), ("REV",)])
        limit = rng.choice([(), (), ("LIMIT", rng.randrange(90), rng.choice([-1, 5, 150]))])
        first, last = sorted((rng.randrange(-70, 70), rng.randrange(-70, 70)))
        ends = (last, first) if reverse else (first, last)
        lows, highs = self.name_end(), self.name_end()
        draw = [
            ("HGETALL", "h"),
            ("HKEYS", "h"),
            ("HVALS", "h"),
            ("SMEMBERS", "s"),
            ("LRANGE", rng.choice(["l", "holes"]), 0, -1),
            ("LRANGE", rng.choice(["l", "holes"]), self.rank(), self.rank()),
            ("ZRANGE", "z", 0, -1, *scored, *reverse),
            ("ZRANGE", "z", self.rank(), self.rank(), *scored, *reverse),
            ("ZREVRANGE", "z", self.rank(), -1, *scored),
            ("ZRANGE", "z", *ends, "BYSCORE", *limit, *scored, *reverse),
            ("ZRANGEBYSCORE", "z", "-inf", self.score(), *limit),
            ("ZREVRANGEBYSCORE", "z", self.score(), "-inf", *limit, *scored),
            ("ZRANGEBYLEX", "e", lows, highs, *limit),
            ("ZREVRANGEBYLEX", "e", highs, lows, *limit),
            ("ZRANGE", "s", 0, -1),
        ]
        return words_of(*rng.choice(draw))

    def draw_ask(self) -> Words:
        """A command that counts deep inside of a set."""
        rng, rank = self.rng, self.rng.randrange(MEMBERS)
        draw = [
            ("ZRANK", "z", self.name()),
            ("ZREVRANK", "z", self.name(), "WITHSCORE"),
            ("ZRANK", "e", self.name()),
            ("ZCOUNT", "z", self.score(), self.score()),
            ("ZLEXCOUNT", "e", self.name_end(), self.name_end()),
            ("ZRANGE", "z", rank, rank + rng.randrange(4)),
            ("ZREVRANGE", "e", rank, rank + rng.randrange(4)),
        ]
        return words_of(*rng.choice(draw))

    def draw_change(self) -> Words:
        """A command that writes deep inside of a set."""
        rng, rank, z = self.rng, self.rng.randrange(MEMBERS), self.rng.choice(["z", "e"])
        draw = [
            ("ZREMRANGEBYRANK", z, rank, rank + rng.randrange(4)),
            ("ZREMRANGEBYRANK", z, -rank - rng.randrange(4), -rank),
            ("ZRANGESTORE", "target", z, rank, rank + rng.randrange(20)),
            ("ZREMRANGEBYSCORE", "z", rng.randrange(-60, 0), rng.randrange(0, 20)),
        ]
        return words_of(*rng.choice(draw))

    # -- what happens ---------------------------------------------------------------------------

    def write(self, words: Words) -> None:
        """The writer sends a command; the model has it at once, one state more."""
        self.writer.feed(encode(*words))
        self.node.serve(self.writer)
        self.is_writing = True
        self.model.call(self.model.connect(), *words)
        self.states.append(copied(self.model))
        self.written.append(words)

    def look_at_writer(self) -> None:
        if self.is_writing and self.writer.take():
            self.is_writing = False
            self.known = len(self.states) - 1

    def finish_write(self) -> None:
        for _ in range(ROUNDS_MAX):
            self.look_at_writer()
            if not self.is_writing:
                return
            self.node.step_threads()
            self.node.sync()
            self.node.serve()
        raise AssertionError("a write never ends")

    def pass_time(self) -> None:
        self.finish_write()
        self.node.now_ms += self.rng.randrange(40)
        self.model.take_time()
        self.states.append(copied(self.model))
        self.written.append(None)

    def restart_from(self, model: Model) -> None:
        """What came before is past."""
        model._clock_ms = lambda: self.node.now_ms
        self.model = model
        self.states, self.written, self.known = [copied(model)], [None], 0

    def evict(self) -> None:
        self.node.tip.evict(CACHE_BYTES, self.rng.choice([10, 1 << 20]))

    def begin_checkpoint(self) -> None:
        self.node.replica.request_checkpoint(lambda ok: None)

    def disturb(self) -> None:
        """Something else happens."""
        steps: list[Callable[[], object]] = [
            self.node.sync,
            self.node.serve,
            self.node.reader.step,
            self.node.writer.step,
            self.node.background,
            self.evict,
            self.begin_checkpoint,
            self.pass_time,
        ]
        if not self.is_writing and self.rng.random() < 0.4:
            self.write(self.draw_write())
        self.rng.choices(steps, [6, 6, 9, 4, 3, 1, 1, 1])[0]()
        self.look_at_writer()

    def ask(self, session: Session, *questions: Words) -> list[Reply]:
        """Send commands; return the replies once they are there, taken as they come."""
        data = b""
        session.feed(b"".join(encode(*words) for words in questions))
        self.node.serve(session)
        for _ in range(ROUNDS_MAX):
            self.disturb()
            if self.rng.random() < 0.5:
                data += session.take()
            if session.state == S_READY and not session.held and not session.output_bytes:
                return decode_all(data)
        raise AssertionError("a reply never ends")

    def quietly(self, words: Words) -> Reply:
        """Ask while nobody else does anything."""
        return decode(self.node.settle(self.node.session(), encode(*words)))

    def count_jobs(self) -> None:
        self.long_replies += self.node.jobs.replies.started
        self.transactions += self.node.jobs.transactions.started

    def close(self) -> None:
        """What was held is given back."""
        self.finish_write()
        self.node.step_threads()
        assert not self.node.jobs
        assert self.node.tip.statistics()["pins"] == 0
        assert self.node.jobs.memory_bytes == 0
        self.node.check()


def copied(model: Model) -> Model:
    """A state of a model, to go on from."""
    state = copy(model)
    state.databases = deepcopy(model.databases)
    state._clients = []
    return state


def plain(words: Words, reply: object) -> object:
    """A reply in the form in which those of RESP 2 and 3 are equal."""
    if isinstance(reply, NullArray):
        return None
    if isinstance(reply, float):
        return b"%d" % reply
    if isinstance(reply, dict):
        reply = [part for pair in reply.items() for part in pair]
    if isinstance(reply, (list, tuple)):
        if words[0] != b"EXEC" and reply and isinstance(reply[0], (list, tuple)):
            reply = [part for pair in reply for part in pair]  # members and scores
        reply = [plain((b"",), part) for part in reply]
    if words[0] == b"HGETALL" and isinstance(reply, list):
        return sorted(zip(reply[::2], reply[1::2], strict=True))
    if words[0] in CONVERSE and isinstance(reply, (list, set)):
        return sorted(reply)
    return str(reply) if isinstance(reply, Exception) else reply


def at_moment(world: World, number: int) -> tuple[Model, Client]:
    """A copy of a state that the model was in, with its time."""
    model = copied(world.states[number])
    now_ms = model._now_ms
    model._clock_ms = lambda: now_ms
    return model, model.connect()


def moments(world: World, first: int, *questions: Words) -> list[tuple[int, list[object]]]:
    """The model's replies in each state from `first` on."""
    found = []
    for number in range(first, len(world.states)):
        model, client = at_moment(world, number)
        replies = [plain(words, model.call(client, *words)) for words in questions]
        found.append((number, replies))
    return found


def storm(seed: int) -> World:
    """Questions that only read. Raises AssertionError if a reply is of no moment."""
    world = World(seed)
    for _ in range(QUESTIONS):
        session = world.node.session()
        session.proto = world.rng.choice([2, 3])
        first = world.known
        words = world.draw_show() if world.rng.random() < 0.6 else world.draw_ask()
        (reply,) = world.ask(session, words)
        answers = [replies[0] for _, replies in moments(world, first, words)]
        assert plain(words, reply) in answers, words
        if world.rng.random() < 0.2:
            world.finish_write()
            world.node.sync()
            world.count_jobs()
            world.node = world.node.crash()
            world.set_up_tip()
            world.writer = world.node.session()
    world.count_jobs()
    world.close()
    return world


@pytest.mark.parametrize("seed", range(SEEDS))
def test_replies_are_of_one_moment(seed: int) -> None:
    storm(seed)


def test_the_storm_has_long_replies_and_transactions() -> None:
    worlds = [storm(seed) for seed in range(6)]
    assert sum(world.long_replies for world in worlds) > 20
    assert sum(world.transactions for world in worlds) > 10


def require_moment(world: World, first: int, questions: list[Words], reply: Reply) -> None:
    """The questions took effect between two writes of the other client; go on from there."""
    found = [plain(words, world.quietly(words)) for words in LOOKS]
    for number in range(first, len(world.states)):
        model, client = at_moment(world, number)
        answers = [model.call(client, *words) for words in questions]
        if plain(questions[-1], answers[-1]) != plain(questions[-1], reply):
            continue
        for later in range(number + 1, len(world.states)):
            now_ms = world.states[later]._now_ms
            model._clock_ms = lambda now_ms=now_ms: now_ms
            model.take_time()
            if (words := world.written[later]) is not None:
                model.call(client, *words)
        if [plain(words, model.call(client, *words)) for words in LOOKS] == found:
            world.restart_from(model)
            return
    raise AssertionError(f"{questions} was at no moment")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_changes_deep_inside_take_effect_at_one_moment(seed: int) -> None:
    world = World(seed)
    for _ in range(QUESTIONS // 2):
        world.finish_write()
        questions = [world.draw_change()]
        if world.rng.random() < 0.5:
            inner = [world.draw_change(), world.draw_ask(), world.draw_write(), world.draw_ask()]
            inner = [words for words in inner if words[0] not in (b"HPEXPIRE", b"DEL")]
            questions = [(b"MULTI",), *inner, (b"EXEC",)]
        first = world.known
        reply = world.ask(world.node.session(), *questions)[-1]
        world.finish_write()
        require_moment(world, first, questions, reply)
    world.count_jobs()
    assert world.transactions
    world.close()


# -- planted bugs -------------------------------------------------------------------------------

NEWEST = (1 << 64) - 1


def newest_of_memory(tip, kind, id_, from_hash, limit, commit_ts, epoch):
    return element_reads.unsettled(tip, kind, id_, from_hash, limit, NEWEST, epoch)


def no_memory(*args):
    return [], None


def all_fields(rows, changed, commit_ts, now_ms):
    return element_reads.visible(rows, changed, commit_ts, 0)


@pytest.mark.parametrize(
    ("place", "bug"),
    [
        ("unsettled", newest_of_memory),
        ("unsettled", no_memory),
        ("visible", all_fields),
    ],
)
def test_a_planted_bug_is_found(
    place: str, bug: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, place, bug)
    for seed in range(SEEDS):
        try:
            storm(seed)
        except (AssertionError, InvariantError):
            return
    raise AssertionError("nobody saw it")
