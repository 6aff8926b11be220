"""Concurrent writers and a reader against one server, until its connections break.

Every choice comes from a seed, so a run repeats up to the timing of the processes.
"""

import contextlib
import socket
import threading
import time
from random import Random

from tests.crash.ledger import Effect, Operation, SharedLedger, State, WriterLedger
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
FLEETING_MS_MAX = 150
LASTING_MS = 10_000_000
JOIN_SECONDS = 0.5  # for replies that the server sent before it died


class Writer(threading.Thread):
    """One connection that writes; it ends when the connection breaks.

    unexpected: replies that no server may give here.
    uncertain: error replies that leave open whether the write was done.
    """

    def __init__(self, seed: int, ledger: WriterLedger, shared: SharedLedger) -> None:
        super().__init__(name=ledger.name, daemon=True)
        self.random = Random(seed)
        self.has_transactions = True
        self.database = 1 + int(ledger.name[1:])  # one of its own, besides database 0
        self.ledger = ledger
        self.shared = shared
        self.depth = self.random.choice(PIPELINE_DEPTHS)
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
            (self._set_aside, 6 * self.has_transactions),
            (self._flush_aside, 1 * self.has_transactions),
        ]
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
        self.shared.settle_pair(found[SHARED_PAIR[0]] or b"", now)
        for value in filter(None, map(found.get, strings)):
            sequence, name, _ = value.split(b":", 2)
            self.seen[name.decode()] = max(self.seen.get(name.decode(), -1), int(sequence))


class Workload:
    """All writers, over many rounds on one data directory.

    has_transactions: whether writers use MULTI.
    """

    def __init__(self, seed: int, *, has_transactions: bool = True) -> None:
        self.random = Random(seed)
        self.has_transactions = has_transactions
        self.ledgers = [WriterLedger(f"w{i}") for i in range(WRITERS)]
        self.shared = SharedLedger(SHARED_COUNTERS, ACCOUNTS, SHARED_PAIR)
        self.threads: list[Writer | Reader] = []

    def start(self, server: Server) -> None:
        """Start a round: connect and write until the connections break."""
        writers = [
            Writer(self.random.getrandbits(32), ledger, self.shared) for ledger in self.ledgers
        ]
        reader = Reader(self.random.getrandbits(32), self.shared)
        # Alone, a writer takes the way of the lonely client: its syncs are made inline.
        self.threads = self.random.choice([[*writers, reader], [*writers, reader], writers[:1]])
        for writer in writers:
            writer.has_transactions = self.has_transactions
        with contextlib.suppress(OSError):  # it may be dead already
            for thread in self.threads:
                thread.connection = server.connect()
        self.threads = [thread for thread in self.threads if thread.connection is not None]
        for thread in self.threads:
            thread.start()

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
        for ledger in (*self.ledgers, self.shared):
            ledger.forgive()

    @property
    def acknowledged(self) -> int:
        """Operations acknowledged in this round."""
        return sum(ledger.acknowledged for ledger in self.ledgers)

    def verify(self, connection: Connection) -> list[str]:
        """Compare the server's whole contents with the ledgers; return what is wrong.

        What is found is the start of the next round: from now on it was observed.
        """
        state, wrong = read_all(connection)
        parts: dict[bytes, State] = {ledger.name.encode(): {} for ledger in self.ledgers}
        parts[b"shared"] = {}
        for key, value in state.items():
            owner, kind = key.split(b":")[:2]
            if kind != b"fleeting":
                parts[owner][key] = value
        for ledger in self.ledgers:
            wrong += ledger.verify(parts[ledger.name.encode()])
            ledger.rebase(parts[ledger.name.encode()])
        wrong += self.shared.verify(parts[b"shared"])
        self.shared.rebase(parts[b"shared"])
        return wrong


def read_all(connection: Connection) -> tuple[State, list[str]]:
    """Return every key of every database with its value, and what is wrong with the deadlines."""
    state: State = {}
    wrong: list[str] = []
    for database in range(1 + WRITERS):
        connection.call("SELECT", database)
        keys = _read_keys(connection)
        if keys:
            values = connection.call("MGET", *keys)
            state |= {key: value for key, value in zip(keys, values, strict=True) if value}
            wrong += _check_deadlines(connection, keys)
    return state, wrong


def _read_keys(connection: Connection) -> list[bytes]:
    found: set[bytes] = set()
    cursor = b"0"
    while True:
        cursor, part = connection.call("SCAN", cursor, "COUNT", 100)
        found.update(part)
        if cursor == b"0":
            return sorted(found)


def _check_deadlines(connection: Connection, keys: list[bytes]) -> list[str]:
    expected = {b"lasting": range(1, LASTING_MS + 1), b"fleeting": range(-2, FLEETING_MS_MAX)}
    connection.send(b"".join(encode("PTTL", key) for key in keys))
    wrong = []
    for key in keys:
        left_ms = connection.receive()
        if left_ms not in expected.get(key.split(b":")[1], [-1]):
            wrong.append(f"{key.decode()}: PTTL is {left_ms}")
    return wrong
