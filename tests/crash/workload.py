"""Concurrent writers and a reader against one server, until its connections break.

Every choice comes from a seed, so a run repeats up to the timing of the processes.
"""

import contextlib
import socket
import threading
import time
from random import Random

from tests.crash.collection_work import (
    FLEETING_MS_MAX,
    LASTING_MS,
    QUEUE,
    SHARED,
    TALLY,
    CollectionWork,
)
from tests.crash.consumers import TAKEN, Consumer, Mover, Popper
from tests.crash.large_work import WRITERS as LARGE_WRITERS
from tests.crash.large_work import LargeWork, name_of
from tests.crash.ledger import Effect, Operation, SharedLedger, WriterLedger
from tests.crash.queue_ledger import QueueLedger
from tests.crash.reading import read_all
from tests.crash.values import Collection, State
from tests.support.resp import Connection, ErrorReply, encode
from tests.support.servers import Server

WRITERS = 4
# Keys of each writer, by what is done to them.
COUNTERS, STRINGS, PAIRS, TEXTS, LASTING, FLEETING = 5, 40, 5, 5, 5, 5
NAMES, RANGES, ASIDE = 5, 2, 8
SHARED_COUNTERS = [b"shared:counter:%d" % i for i in range(2)]
ACCOUNTS = [b"shared:account:%d" % i for i in range(4)]
SHARED_PAIR = [b"shared:pair:left", b"shared:pair:right"]
PIPELINE_DEPTHS = [1, 1, 4, 16, 64]  # operations sent before their replies are read
VALUE_BYTES = [10, 10, 100, 100, 1000, 5000, 40_000]  # padding of values, to choose from
TEXT_BYTES_MAX = 200_000  # a text that has grown past this is deleted
PURSES = [b"shared:purse:hash", b"shared:purse:zset"]
CONSUMERS: dict[str, type[Consumer]] = {"c0": Popper, "c1": Mover, "c2": Mover}
LARGE_READS = 0.05  # share of the reader's rounds
SPIN = "for i = 1, 1500000 do end "  # about three times what a script may take on the sequencer
LONG_SHARE = 0.1
SCRIPT_TRANSFER = (
    "redis.call('decrby', KEYS[1], ARGV[1]) redis.call('set', KEYS[2], ARGV[2]) "
    "redis.call('incrby', KEYS[3], ARGV[1]) return redis.call('get', KEYS[2])"
)
SCRIPT_NOTE = "return redis.call('set', KEYS[1], ARGV[1])"
SHARED_SCRIPT = "redis.call('decrby', KEYS[1], ARGV[1]) redis.call('incrby', KEYS[2], ARGV[1])"
LARGE_FIRST = 2  # operations until one has published, if they come first
DRAIN_PUSHES = 20  # of each writer, before it is drained
JOIN_SECONDS = 0.5  # for replies that the server sent before it died


class Writer(threading.Thread):
    """One connection that writes; it ends when the connection breaks.

    unexpected: replies that no server may give here.
    uncertain: error replies that leave open whether the write was done.
    pushes_left: to the queue, before anything else, and none later; None: now and then.
    """

    def __init__(
        self,
        seed: int,
        ledger: WriterLedger,
        shared: SharedLedger,
        queue: QueueLedger,
        *,
        is_redis: bool = False,
    ) -> None:
        super().__init__(name=ledger.name, daemon=True)
        self.random = Random(seed)
        self.has_transactions = not is_redis
        self.queue = queue
        self.collections = CollectionWork(self.random, ledger)
        self.collections.has_transactions = not is_redis
        self.collections.has_field_deadlines = not is_redis
        self.large = LargeWork(self.random, self.collections)
        self.database = 1 + int(ledger.name[1:])  # one of its own, besides database 0
        self.ledger = ledger
        self.shared = shared
        self.depth = self.random.choice(PIPELINE_DEPTHS)
        self.pushes_left: int | None = None
        self.unexpected: list[str] = []
        self.uncertain: list[str] = []
        self.text_bytes: dict[bytes, int] = {}
        self.connection: Connection | None = None

    def run(self) -> None:
        """Write until the server is gone."""
        try:
            while not self.unexpected and not self.uncertain:
                self._pass(self.connection)
        except OSError:
            pass

    def _pass(self, connection: Connection) -> None:
        first = len(self.ledger.operations)
        for _ in range(self.depth):
            self.ledger.operations.append(self._next_operation())
        sent = self.ledger.operations[first:]
        connection.send(b"".join(operation.request for operation in sent))
        for operation in sent:
            for _ in range(operation.reply_count):
                reply = connection.receive()
                errors = reply if isinstance(reply, list) else [reply]
                for error in errors:
                    if isinstance(error, ErrorReply):
                        self._note_error(operation, error)
                        return
            self.ledger.acknowledged += 1
            self._acknowledge(operation, reply)
            if operation.expected not in (None, reply):
                self.unexpected.append(
                    f"{self.name}: {operation.request[:200]!r} was answered {str(reply)[:400]} "
                    f"instead of {str(operation.expected)[:400]}"
                )

    def _note_error(self, operation: Operation, error: ErrorReply) -> None:
        if error.code == "UNCERTAIN":
            self.uncertain.append(str(error))
        else:
            self.unexpected.append(f"{self.name}: {operation.name} was answered -{error}")

    def _acknowledge(self, operation: Operation, reply) -> None:
        if operation.name == "shared INCR":
            self.shared.acknowledge_increment(operation.shared, reply)
        elif operation.name == "shared MSET":
            self.shared.settle_pair(operation.shared, time.monotonic())
        elif operation.name == "queue push":
            self.queue.acknowledge_push(self.name)

    # -- operations -----------------------------------------------------------------------------

    def _next_operation(self) -> Operation:
        weights = [
            (self._set, 30),
            (self._incr, 15),
            (self._mset, 10),
            (self._append, 5),
            (self._expiring, 6),
            (self._delete, 4),
            (self._rename, 4),
            (self._setrange, 4),
            (self._copy, 3),
            (self._shared_incr, 8),
            (self._shared_mset, 6),
            (self._transfer, 10 * self.has_transactions),
            (self._shared_transfer, 6 * self.has_transactions),
            (self._script_transfer, 10 * self.has_transactions),
            (self._shared_script, 2 * self.has_transactions),
            (self._script_in_exec, 4 * self.has_transactions),
            (self._set_aside, 6 * self.has_transactions),
            (self._flush_aside, 1 * self.has_transactions),
            (self.collections.next, 80),
            (self.large.next, 3 * self.has_transactions),
            (self._queue_push, 10 * (self.pushes_left is None)),
            (self._purse_transfer, 6 * self.has_transactions),
        ]
        if self.large.is_due:
            return self.large.next()
        if self.pushes_left:
            self.pushes_left -= 1
            return self._queue_push()
        makers, chances = zip(*weights, strict=True)
        return self.random.choices(makers, chances)[0]()

    def _key(self, kind: str, count: int) -> bytes:
        return b"%s:%s:%d" % (self.name.encode(), kind.encode(), self.random.randrange(count))

    def _value(self) -> bytes:
        """Return a value that no other operation writes; it begins with the sequence number."""
        stamp = b"%d:%s:" % (self.ledger.next_sequence, self.name.encode())
        return stamp + b"x" * self.random.randrange(self.random.choice(VALUE_BYTES))

    def _set(self) -> Operation:
        key, value = self._key("string", STRINGS), self._value()
        return Operation("SET", encode("SET", key, value), 1, [_to(key, value)])

    def _incr(self) -> Operation:
        key, amount = self._key("counter", COUNTERS), self.random.randint(1, 1000)
        return Operation("INCRBY", encode("INCRBY", key, amount), 1, [_plus(key, amount)])

    def _mset(self) -> Operation:
        key, value = self._key("pair", PAIRS), self._value()
        left, right = key + b":left", key + b":right"
        request = encode("MSET", left, value, right, value)
        return Operation("MSET", request, 1, [_to(left, value), _to(right, value)])

    def _transfer(self) -> Operation:
        """MULTI...EXEC that moves an amount and notes it in a string."""
        amount, value = self.random.randint(1, 100), self._value()
        source, target = self._key("counter", COUNTERS), self._key("counter", COUNTERS)
        note = self._key("string", STRINGS)
        request = (
            encode("MULTI")
            + encode("DECRBY", source, amount)
            + encode("SET", note, value)
            + encode("INCRBY", target, amount)
            + encode("EXEC")
        )
        effects = [_plus(source, -amount), _to(note, value), _plus(target, amount)]
        return Operation("EXEC", request, 5, effects)

    def _script_transfer(self) -> Operation:
        """The same as a script; some are long."""
        amount, value = self.random.randint(1, 100), self._value()
        source, target = self._key("counter", COUNTERS), self._key("counter", COUNTERS)
        note = self._key("string", STRINGS)
        text = SCRIPT_TRANSFER
        if self.random.random() < LONG_SHARE:
            text = SPIN + text
        request = encode("EVAL", text, 3, source, note, target, amount, value)
        effects = [_plus(source, -amount), _to(note, value), _plus(target, amount)]
        return Operation("EVAL", request, 1, effects, expected=value)

    def _script_in_exec(self) -> Operation:
        """MULTI...EXEC with a script in its midst."""
        amount, value = self.random.randint(1, 100), self._value()
        counter, note = self._key("counter", COUNTERS), self._key("string", STRINGS)
        request = (
            encode("MULTI")
            + encode("INCRBY", counter, amount)
            + encode("EVAL", SCRIPT_NOTE, 1, note, value)
            + encode("INCRBY", counter, amount)
            + encode("EXEC")
        )
        effects = [_plus(counter, amount), _to(note, value), _plus(counter, amount)]
        return Operation("EXEC", request, 5, effects)

    def _shared_script(self) -> Operation:
        """A long script that moves an amount between accounts that others change meanwhile."""
        source, target = self.random.sample(ACCOUNTS, 2)
        request = encode("EVAL", SPIN + SHARED_SCRIPT, 2, source, target, self.random.randint(1, 9))
        return Operation("shared EVAL", request, 1)

    def _append(self) -> Operation:
        key, value = self._key("text", TEXTS), self._value()
        grown = self.text_bytes.get(key, TEXT_BYTES_MAX // 2) + len(value)
        if grown > TEXT_BYTES_MAX:
            self.text_bytes[key] = 0
            return Operation("DEL", encode("DEL", key), 1, [_to(key, None)])
        self.text_bytes[key] = grown
        effect = (key, lambda old: (old or b"") + value)
        return Operation("APPEND", encode("APPEND", key, value), 1, [effect])

    def _expiring(self) -> Operation:
        """A deadline that is far, or one that has passed when the server is back."""
        value = self._value()
        if self.random.random() < 0.5:
            key = self._key("lasting", LASTING)
            request = encode("SET", key, value, "PX", LASTING_MS)
            return Operation("SET PX", request, 1, [_to(key, value)])
        key = self._key("fleeting", FLEETING)
        request = encode("SET", key, value, "PX", self.random.randint(20, FLEETING_MS_MAX))
        return Operation("SET PX", request, 1)

    def _delete(self) -> Operation:
        keys = [self._key("string", STRINGS) for _ in range(3)]
        return Operation("DEL", encode("DEL", *keys), 1, [_to(key, None) for key in keys])

    def _rename(self) -> Operation:
        """MULTI...EXEC: a string is written, then takes another's name."""
        source, target = (b"%s:name:%d" % (self.name.encode(), n) for n in self._two(NAMES))
        value = self._value()
        request = (
            encode("MULTI")
            + encode("SET", source, value)
            + encode("RENAME", source, target)
            + encode("EXEC")
        )
        if not self.has_transactions:
            return Operation("SET", encode("SET", target, value), 1, [_to(target, value)])
        return Operation("RENAME", request, 4, [_to(source, None), _to(target, value)])

    def _setrange(self) -> Operation:
        key, value = self._key("range", RANGES), self._value()
        at = self.random.randrange(TEXT_BYTES_MAX)

        def change(old: bytes | None) -> bytes:
            padded = (old or b"").ljust(at, b"\0")
            return padded[:at] + value + padded[at + len(value) :]

        return Operation("SETRANGE", encode("SETRANGE", key, at, value), 1, [(key, change)])

    def _copy(self) -> Operation:
        """A value in two keys by way of COPY."""
        source, target = (b"%s:copy:%d" % (self.name.encode(), n) for n in self._two(NAMES))
        value = self._value()
        request = encode("SET", source, value) + encode("COPY", source, target, "REPLACE")
        if not self.has_transactions:
            return Operation("SET", encode("SET", target, value), 1, [_to(target, value)])
        request = encode("MULTI") + request + encode("EXEC")
        return Operation("COPY", request, 4, [_to(source, value), _to(target, value)])

    def _two(self, count: int) -> list[int]:
        return self.random.sample(range(count), 2)

    def _aside(self, name: str, request: bytes, effects: list[Effect]) -> Operation:
        """A command in the writer's own database."""
        request = encode("MULTI") + encode("SELECT", self.database) + request
        return Operation(name, request + encode("SELECT", 0) + encode("EXEC"), 5, effects)

    def _set_aside(self) -> Operation:
        key, value = self._key("aside", ASIDE), self._value()
        return self._aside("SET aside", encode("SET", key, value), [_to(key, value)])

    def _flush_aside(self) -> Operation:
        keys = [b"%s:aside:%d" % (self.name.encode(), n) for n in range(ASIDE)]
        return self._aside("FLUSHDB", encode("FLUSHDB"), [_to(key, None) for key in keys])

    def _shared_incr(self) -> Operation:
        key = self.random.choice(SHARED_COUNTERS)
        self.shared.send_increment(key)
        return Operation("shared INCR", encode("INCR", key), 1, shared=key)

    def _shared_mset(self) -> Operation:
        value = self._value()
        self.shared.send_pair(value, time.monotonic())
        request = encode("MSET", SHARED_PAIR[0], value, SHARED_PAIR[1], value)
        return Operation("shared MSET", request, 1, shared=value)

    def _shared_transfer(self) -> Operation:
        source, target = self.random.sample(ACCOUNTS, 2)
        amount = self.random.randint(1, 100)
        request = (
            encode("MULTI")
            + encode("DECRBY", source, amount)
            + encode("INCRBY", target, amount)
            + encode("EXEC")
        )
        return Operation("shared EXEC", request, 4)

    def _purse_transfer(self) -> Operation:
        """MULTI...EXEC that moves an amount from a hash to a sorted set."""
        amount, name = self.random.randint(-100, 100), b"p%d" % self.random.randrange(20)
        request = (
            encode("MULTI")
            + encode("HINCRBY", PURSES[0], name, -amount)
            + encode("ZINCRBY", PURSES[1], amount, name)
            + encode("EXEC")
        )
        return Operation("shared EXEC", request, 4)

    def _queue_push(self) -> Operation:
        operation, elements = self.collections.push(self.random.choice([1, 1, 2, 5]))
        self.queue.send_push(self.name, elements)
        return operation


def _to(key: bytes, value: bytes | None) -> Effect:
    return key, lambda _: value


def _plus(key: bytes, amount: int) -> Effect:
    return key, lambda old: b"%d" % (int(old or b"0") + amount)


class Reader(threading.Thread):
    """One connection that reads what the writers write: what it saw must never be lost."""

    def __init__(self, seed: int, shared: SharedLedger) -> None:
        super().__init__(name="reader", daemon=True)
        self.random = Random(seed)
        self.shared = shared
        self.seen: dict[str, int] = {}  # writer -> highest sequence number seen
        self.unexpected: list[str] = []
        self.connection: Connection | None = None

    def run(self) -> None:
        """Read until the server is gone."""
        try:
            while not self.unexpected:
                self._read(self.connection)
        except (OSError, ErrorReply):
            pass

    def _read(self, connection: Connection) -> None:
        strings = [
            b"w%d:string:%d" % (self.random.randrange(WRITERS), self.random.randrange(STRINGS))
            for _ in range(3)
        ]
        keys = SHARED_COUNTERS + ACCOUNTS + SHARED_PAIR + strings
        found = dict(zip(keys, connection.call("MGET", *keys), strict=True))
        now = time.monotonic()
        for key in SHARED_COUNTERS:
            self.shared.see_counter(key, int(found[key] or b"0"))
        if sum(int(found[key] or b"0") for key in ACCOUNTS):
            self.unexpected.append("reader: MGET saw half a transfer")
        if found[SHARED_PAIR[0]] != found[SHARED_PAIR[1]]:
            self.unexpected.append("reader: MGET saw half an MSET")
        self._read_purses(connection)
        if self.random.random() < LARGE_READS:
            self._read_large(connection, self.random.choice(LARGE_WRITERS))
        self.shared.settle_pair(found[SHARED_PAIR[0]] or b"", now)
        for value in filter(None, map(found.get, strings)):
            sequence, name, _ = value.split(b":", 2)
            self.seen[name.decode()] = max(self.seen.get(name.decode(), -1), int(sequence))

    def _read_purses(self, connection: Connection) -> None:
        connection.send(encode("MULTI") + encode("HVALS", PURSES[0]))
        connection.send(encode("ZRANGE", PURSES[1], 0, -1, "WITHSCORES") + encode("EXEC"))
        amounts, pairs = [connection.receive() for _ in range(4)][-1]
        if sum(map(int, amounts)) + sum(map(int, pairs[1::2])):
            self.unexpected.append("reader: EXEC saw half a transfer between collections")

    def _read_large(self, connection: Connection, writer: bytes) -> None:
        """What one transaction has published shows as one, and whole."""
        united, copy, ordered = (name_of(writer, what) for what in (b"united", b"copy", b"sorted"))
        connection.send(encode("MULTI") + encode("SCARD", united) + encode("LLEN", ordered))
        connection.send(encode("SINTERCARD", 2, united, copy) + encode("EXEC"))
        if len(set([connection.receive() for _ in range(5)][-1])) > 1:
            self.unexpected.append("reader: EXEC saw half of what a transaction has published")


class Workload:
    """All writers and consumers, over many rounds on one data directory.

    is_redis: the server is redis-server 7.0. It cuts a torn log inside of a MULTI: the load after
    the next runs the half transaction. This harness found it; as a control Redis goes without. And
    it knows no deadlines of fields.
    """

    def __init__(self, seed: int, *, is_redis: bool = False) -> None:
        self.random = Random(seed)
        self.is_redis = is_redis
        self.ledgers = [WriterLedger(f"w{i}") for i in range(WRITERS)]
        self.shared = SharedLedger(SHARED_COUNTERS, ACCOUNTS, SHARED_PAIR, PURSES)
        self.queue = QueueLedger()
        self.threads: list[Writer | Reader | Consumer] = []
        self._waiting: list[Consumer] = []

    def start(self, server: Server, *, publishes: bool = False, drains: bool = False) -> None:
        """Start a round: connect and write until the connections break.

        publishes: transactions with large collections come first.
        drains: the queue is filled, and consumers wait for drain().
        """
        writers = [
            Writer(
                self.random.getrandbits(32), ledger, self.shared, self.queue, is_redis=self.is_redis
            )
            for ledger in self.ledgers
        ]
        for writer in writers:
            writer.large.is_due = publishes
            writer.pushes_left = DRAIN_PUSHES if drains else None
        reader = Reader(self.random.getrandbits(32), self.shared)
        consumers = [
            kind(name, self.random.getrandbits(32), self.queue) for name, kind in CONSUMERS.items()
        ]
        everybody = [*writers, reader, *consumers]
        # Alone, a writer takes the way of the lonely client: its syncs are made inline.
        self.threads = self.random.choice([everybody, everybody, writers[:1]])
        if drains:
            self.threads = everybody
        with contextlib.suppress(OSError):  # it may be dead already
            for thread in self.threads:
                thread.connection = server.connect()
        self.threads = [thread for thread in self.threads if thread.connection is not None]
        self._waiting = [t for t in self.threads if drains and isinstance(t, Consumer)]
        for thread in self.threads:
            if thread not in self._waiting:
                thread.start()

    @property
    def has_published(self) -> bool:
        """Whether a transaction with large collections is done. Requires: they come first."""
        ledgers = [ledger for ledger in self.ledgers if ledger.name.encode() in LARGE_WRITERS]
        return any(ledger.acknowledged >= LARGE_FIRST for ledger in ledgers)

    @property
    def is_filling(self) -> bool:
        """Whether pushes that come first are not all acknowledged. Requires: as drain()."""
        writers = [thread for thread in self.threads if isinstance(thread, Writer)]
        return any(w.is_alive() and w.ledger.acknowledged < DRAIN_PUSHES for w in writers)

    def drain(self) -> None:
        """Have the consumers begin that wait. Requires: start() was asked to drain."""
        while self._waiting:
            self._waiting.pop().start()

    def join(self) -> list[str]:
        """Wait for the end of the round; return replies and reads that were wrong.

        Requires: the server is dead.
        """
        for thread in self.threads:
            thread.join(JOIN_SECONDS)
            # A forked child of the server may hold its end open: nothing more will come.
            if thread.is_alive():
                thread.connection.socket.shutdown(socket.SHUT_RDWR)
            thread.join()
            thread.connection.close()
        wrong = [text for thread in self.threads for text in thread.unexpected]
        for ledger in self.ledgers:
            for reader in (thread for thread in self.threads if isinstance(thread, Reader)):
                sequence = reader.seen.get(ledger.name, -1)
                if sequence >= ledger.sequence_base:
                    ledger.note_seen(sequence)
        return wrong

    def forgive(self) -> None:
        """What was acknowledged in this round may be lost; order and atomicity stand."""
        for ledger in (*self.ledgers, self.shared, self.queue):
            ledger.forgive()

    @property
    def acknowledged(self) -> int:
        """Operations acknowledged in this round."""
        return sum(ledger.acknowledged for ledger in self.ledgers)

    def verify(self, connection: Connection) -> list[str]:
        """Compare the server's whole contents with the ledgers; return what is wrong.

        What is found is the start of the next round: from now on it was observed.
        """
        state, wrong = read_all(connection, 1 + WRITERS, has_field_deadlines=not self.is_redis)
        queue, taken = _take_queue(state)
        parts = _split(state)
        for ledger in self.ledgers:
            part = parts.pop(ledger.name)
            wrong += ledger.verify(part)
            ledger.rebase(part)
        wrong += self.shared.verify(parts["shared"])
        self.shared.rebase(parts["shared"])
        tally = {
            ledger.name: int(ledger.baseline.get(TALLY + b"/" + ledger.name.encode(), b"0"))
            for ledger in self.ledgers
        }
        wrong += self.queue.verify(queue, taken, None if self.is_redis else tally)
        self.queue.rebase(queue, taken, tally)
        return wrong


def _take_queue(state: State) -> tuple[tuple[bytes, ...], dict[str, tuple]]:
    """Take the queue, and what each consumer has in its own list, out of the state."""
    lists = [state.pop(TAKEN.encode() + name.encode(), None) for name in CONSUMERS]
    taken = {name: value.content for name, value in zip(CONSUMERS, lists, strict=True) if value}
    queue = state.pop(QUEUE, None)
    return queue.content if queue else (), taken


def _split(state: State) -> dict[str, State]:
    """Return the state by owner: of keys, and of elements of collections that writers share."""
    parts: dict[str, State] = {f"w{i}": {} for i in range(WRITERS)} | {"shared": {}}
    for key, value in state.items():
        if key not in (*SHARED.values(), TALLY):
            parts[key.split(b":")[0].decode()][key] = value
            continue
        for name in value.content:
            owner = name.split(b":")[0].decode()
            parts[owner][key + b"/" + name] = _element(value, name)
    return parts


def _element(value: Collection, name: bytes) -> bytes:
    """Return what a shared collection says of an element, as its owner notes it."""
    if isinstance(value.content, frozenset):
        return b""
    found = value.content[name]
    return found[0] if isinstance(found, tuple) else b"%d" % found
