"""A node whose writers, transactions, checkpoints, sweepers, snapshots and crashes are steps that a
test puts in order. After every step each snapshot, and the newest state, is compared with a model
that ran the same commands in the order in which they took effect.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from kvnode._core import upkeep
from kvnode._core.dispatch import Command
from kvnode._core.pinned import NEWEST
from kvnode._core.sortable import bytes_double
from kvnode.commands import table
from kvnode.server.local import START_MS, native_handlers
from kvnode.storage.memory import MemoryEngine
from kvnode.storage.snapshot import SnapshotReader
from tests.sim.disk import SimDisk
from tests.sim.node import SimNode
from tests.support.contents import HAS_DEADLINE, T_HASH, T_LIST, T_SET, Elements
from tests.support.model import Model
from tests.support.model_hash import Hash
from tests.support.model_keyspace import Client
from tests.support.resp import ErrorReply, Reply, ReplyPairs, decode_all, encode
from tests.support.scripts import Running, run_program
from tests.support.snapshots import value_at

COMMANDS: list[Command] = table.build(native_handlers())  # one for all nodes: it takes long
ROUNDS_MAX = 100
SWEEPER_STEPS = 12  # the rows of a collection or two
S_READY = 0  # SessionState of session.pxd
LOOKS = {  # what is asked of a key at the end, by type
    b"string": (("GET",),),
    b"list": (("LLEN",), ("LRANGE", 0, -1), ("LINDEX", -1), ("LPOS", "a")),
    b"hash": (("HGETALL",), ("HPEXPIRETIME", "FIELDS", 2, "f", "g")),
    b"set": (("SCARD",), ("SMEMBERS",)),
    b"zset": (("ZCARD",), ("ZRANGE", 0, -1, "WITHSCORES"), ("ZRANK", "m")),
    b"none": (("EXISTS",), ("TTL",)),
}

Words = tuple[str | int, ...]
Batch = tuple[Words, ...]
State = dict[bytes, object]
Event = tuple[int, Batch]  # time in ms; commands that took effect at once


@dataclass(frozen=True)
class Case:
    """A small world: how it begins, and what its writers do.

    before: commands, one by one; prepare: steps after them; then the orders start.
    batches: of the writer, each a pipeline in one pass.   script: the transaction's commands; a
    word "$" is the reply before it.   keys: all that are named.
    """

    before: Batch
    batches: tuple[Batch, ...]
    script: Batch = ()
    prepare: tuple[str, ...] = ()
    keys: tuple[str, ...] = ("k",)


class _Loser(random.Random):
    """Chance as a crash meets it at its worst: whatever may be lost is lost."""

    def random(self) -> float:
        return 0.0

    def getrandbits(self, k: int) -> int:
        return 1

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        return min(1, start - 1) if stop is None else start


@dataclass
class _Pin:
    """A pinned snapshot: events up to `count` had taken effect."""

    commit_ts: int
    count: int


@dataclass
class World:
    """One run of a case. planted: breaks a rule of each life's node, see test_interleavings."""

    case: Case
    planted: Callable[["World"], None] = lambda world: None
    events: list[Event] = field(default_factory=list)
    submitted: list[tuple[int, int, int]] = field(default_factory=list)  # index, ts, events
    pins: list[_Pin] = field(default_factory=list)
    transaction: Running | None = None
    acknowledged: int = 0  # events: clients know of them
    batches_sent: int = 0

    def __post_init__(self) -> None:
        self.submitted = [(0, 0, 0)]
        self.node = SimNode(SimDisk(), MemoryEngine(), _Loser(0), commands=COMMANDS)
        self._live()
        for words in self.case.before:
            self._send((words,))
            self.node.sync()
        self._hear()
        for name in self.case.prepare:
            self.step(name)

    def _live(self) -> None:
        """A life of the node begins."""
        node = self.node
        self.session = node.session()
        self.owed: list[int] = []  # for each reply on its way: events when its command had run
        self.transaction = None
        dispatch = node.view.dispatch
        dispatch.slow_micros = 0
        dispatch.on_slow = self._note
        submit = node.log.on_submit

        def on_submit(term: int, index: int, commit_ts: int, payload: bytes) -> None:
            self._note_transaction()
            self.submitted.append((index, commit_ts, len(self.events)))
            submit(term, index, commit_ts, payload)

        node.log.on_submit = on_submit
        self.planted(self)

    def _note(self, session: object, args: list[bytes], micros: int) -> None:
        self._note_transaction()
        if session is self.session:
            self.events.append((self.node.now_ms, (tuple(arg.decode() for arg in args),)))
            self.owed.append(len(self.events))

    def _note_transaction(self) -> None:
        """The transaction takes effect when its session's wait ends."""
        if self.transaction is not None and self.transaction.is_ended:
            self.events.append((self.node.now_ms, self.case.script))
            self.transaction = None

    # -- steps ----------------------------------------------------------------------------------

    def step(self, name: str) -> None:
        """Do one step of an actor, by its letter."""
        getattr(self, f"step_{name}")()
        self._note_transaction()
        self._hear()

    def step_w(self) -> None:
        """The writer sends its next batch; the log syncs it."""
        self.step_v()
        self.node.sync()

    def step_v(self) -> None:
        """The same, but nothing is synced."""
        batch = self.case.batches[self.batches_sent]
        self.batches_sent += 1
        self._send(batch)

    def step_j(self) -> None:
        """The same, and the checkpoint goes on in that pass, behind the commands."""
        node, batch = self.node, self.case.batches[self.batches_sent]
        self.batches_sent += 1
        if not node.checkpointer.is_running:
            self.step_c()
        self.session.feed(b"".join(encode(*words) for words in batch))

        def work() -> None:
            node.sequencer.serve(self.session)
            node.writer.step()
            node.replica.completions_due()

        node.run_pass(work)
        node.replica.after_pass()

    def step_l(self) -> None:
        """The log syncs."""
        self.node.sync()

    def step_f(self) -> None:
        """What commands miss is read."""
        self.node.reader.step()
        self.node.serve()

    def step_c(self) -> None:
        """The checkpoint goes on: begin and first slice, further slices, sync, A, end."""
        node = self.node
        if not node.checkpointer.is_running:
            node.replica.request_checkpoint(lambda ok: None)
        else:
            node.writer.step()
            node.serve()

    def step_C(self) -> None:
        """A whole checkpoint."""
        self.node.checkpoint()

    def step_b(self) -> None:
        """Sweepers and compactor do some steps each, and their reads and writes end."""
        self.node.now_ms += 1000  # past all pauses between two looks
        for _ in range(SWEEPER_STEPS):
            self.node.background()
            self.node.step_threads(4)
        self.node.serve()

    def step_e(self) -> None:
        """All that is clean leaves memory."""
        self.node.evict()
        generation = self.node.tip.current_generation(0)
        self.node.tip.set_resident(generation, False)

    def step_p(self) -> None:
        """A reader pins what is committed."""
        commit_ts = self.node.tip.pin()
        count = max(events for _, ts, events in self.submitted if ts <= commit_ts)
        self.pins.append(_Pin(commit_ts, count))

    def step_u(self) -> None:
        """The oldest reader is done."""
        if self.pins:  # a crash may have taken it
            self.node.tip.unpin(self.pins.pop(0).commit_ts)

    def step_o(self) -> None:
        """The transaction goes on: fence, run, commit."""
        node = self.node
        if self.transaction is None:
            self.transaction = Running(node, self._script)
        else:
            node.sync()
            node.serve()
            run_program(node)

    def step_x(self) -> None:
        """Power fails; whatever was not synced is lost."""
        self._again(self.node.crash)

    def step_k(self) -> None:
        """The process is killed; what it wrote stays."""
        self._again(self.node.kill)

    def _again(self, end: Callable[[], SimNode]) -> None:
        self.pins.clear()
        self.node = end()
        last = self.node.recovered.last.index
        self.submitted = [entry for entry in self.submitted if entry[0] <= last]
        count = self.submitted[-1][2]
        known = self.acknowledged
        while known > count and self._is_idle(known):
            known -= 1
        assert count >= known, f"clients know of {known} events, {count} are left"
        del self.events[count:]
        self.acknowledged = min(self.acknowledged, count)
        self._live()

    def _is_idle(self, count: int) -> bool:
        """Whether the newest of some events changed nothing."""
        now_ms = self.node.now_ms
        after, before = tuple(self.events[:count]), tuple(self.events[: count - 1])
        return _state(after, now_ms) == _state(before, now_ms)

    def _send(self, batch: Batch) -> None:
        """Run a batch up to where it ends, or waits for what is not in memory."""
        self.session.feed(b"".join(encode(*words) for words in batch))
        self.node.serve(self.session)

    def _hear(self) -> None:
        """Clients take what may leave: from then on it may not be lost."""
        for _ in decode_all(self.session.take()):
            self.acknowledged = self.owed.pop(0)

    def _script(self) -> Iterator[Words]:
        last: Reply = None
        for words in self.case.script:
            last = yield tuple(_text(last) if word == "$" else word for word in words)

    # -- comparisons ----------------------------------------------------------------------------

    def compare(self) -> None:
        """The tip is sound, and all snapshots and the newest state are what the model has."""
        self.node.check()
        for pin in self.pins:
            self._compare_at(pin.commit_ts, pin.count)
        self._compare_at(NEWEST, len(self.events))

    def _compare_at(self, commit_ts: int, count: int) -> None:
        now_ms = self.node.now_ms
        tip, found = self.node.tip, {}
        reader = SnapshotReader(tip, self.node.engine, commit_ts, now_ms)
        generation = upkeep.generation_at(tip, 0, commit_ts)
        for key in map(str.encode, self.case.keys):
            value = reader.get(upkeep.head_key(tip, generation, key))
            if value is not None and not 0 < _deadline(value) <= now_ms:
                found[key] = _plain(value_at(reader, value), now_ms)
        live = {key: value for key, value in found.items() if value}
        assert live == _state(tuple(self.events[:count]), now_ms), f"at {commit_ts}"

    def finish(self) -> None:
        """Let all end; then clients see what the model has, and so they do after a restart."""
        while self.pins:
            self.step_u()
        node = self.node
        for _ in range(ROUNDS_MAX):
            node.step_threads()
            node.sync()
            node.serve()
            self._note_transaction()
            if self.transaction is None and self.session.state == S_READY and not node.jobs:
                break
        else:
            raise AssertionError("some command never ends")
        self.step("l")
        self.ask_all()
        if self.submitted[-1][0] % 2:
            self.node.checkpoint()
        self.step("k" if self.submitted[-1][0] % 3 else "x")
        self.compare()
        self.ask_all()

    def ask_all(self) -> None:
        """Ask for everything as clients do."""
        node = self.node
        model, client, clock = _model(self.events)
        clock.now_ms = node.now_ms
        commands: list[Words] = [("DBSIZE",), ("KEYS", "*")]
        for key in self.case.keys:
            kind = model.call(client, b"TYPE", key.encode())
            commands += [(look[0], key, *look[1:]) for look in (("TYPE",), *LOOKS[kind])]
        session = node.session()
        replies = decode_all(node.settle(session, b"".join(encode(*c) for c in commands)))
        for words, reply in zip(commands, replies, strict=True):
            expected = model.call(client, *(str(word).encode() for word in words))
            assert _comparable(words, reply) == _comparable(words, expected), words


def _deadline(value: bytes) -> int:
    return int.from_bytes(value[2:10]) if value[1] & HAS_DEADLINE else 0


@dataclass
class _Clock:
    now_ms: int = START_MS


def _model(events: Sequence[Event]) -> tuple[Model, Client, _Clock]:
    """Return a model to which the events have happened."""
    clock = _Clock()
    model = Model(lambda: clock.now_ms)
    client = model.connect()
    for now_ms, batch in events:
        clock.now_ms = now_ms
        last: Reply = None
        for words in batch:
            said = [_text(last) if word == "$" else str(word) for word in words]
            last = model.call(client, *map(str.encode, said))
    return model, client, clock


@lru_cache(1 << 14)
def _state(events: tuple[Event, ...], now_ms: int) -> State:
    """Return what keys hold after the events, but for what is past its deadline."""
    model, client, clock = _model(events)
    clock.now_ms = now_ms
    model.take_time()
    state: State = {}
    for key in model.keys(client.database):
        data = model.databases[client.database][key].data
        if isinstance(data, Hash):
            data = {name: (f.value, f.deadline_ms or 0) for name, f in data.items()}
        state[key] = data
    return state


def _plain(data: bytes | tuple[int, Elements], now_ms: int) -> object:
    """Return what was read of a key in the form in which the model has it."""
    if isinstance(data, bytes):
        return data
    type_, elements = data
    if type_ == T_LIST:
        return tuple(value for _, _, value in elements)
    if type_ == T_HASH:
        live = [element for element in elements if not 0 < element[1] <= now_ms]
        return {name: (value, deadline) for name, deadline, value in live}
    if type_ == T_SET:
        return frozenset(name for name, _, _ in elements)
    return {name: bytes_double(value) for name, _, value in elements}


def _text(reply: Reply) -> str:
    if isinstance(reply, list):
        return ",".join(_text(item) for item in reply)
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def _comparable(words: Words, reply: Reply) -> object:
    """Return a reply without the order that it does not promise; scores as numbers."""
    if isinstance(reply, ErrorReply):
        return str(reply)
    if words[0] == "HGETALL":
        return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
    if words[0] == "ZRANGE":
        flat = [w for p in reply for w in p] if isinstance(reply, ReplyPairs) else reply
        return [(name, float(score)) for name, score in zip(flat[::2], flat[1::2], strict=True)]
    return sorted(reply) if words[0] in ("SMEMBERS", "KEYS") else reply
