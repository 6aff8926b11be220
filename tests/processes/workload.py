"""Clients of all nodes of a group at once, who write down what they send and what they are told."""

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator

from kvnode.base.resp import encode
from tests.processes.group import Group, GroupNode, wait_for
from tests.processes.history import (
    DONE,
    REFUSED,
    Operation,
    by_key,
    collection_errors,
    counter_errors,
    deadline_errors,
    queue_errors,
    register_errors,
)
from tests.support import list_append
from tests.support.list_append import Transaction
from tests.support.resp import Connection, ErrorReply, Reply

REPLY_SECONDS_MAX = 5.0  # then a client gives up its connection
RECONNECT_SECONDS = 0.02
REGISTERS = [b"register-%d" % n for n in range(6)]
COUNTERS = [b"counter-%d" % n for n in range(2)]
QUEUE = b"queue"
COLLECTIONS = {
    b"set": ((b"SADD", b"set"), (), b"SCARD"),
    b"hash": ((b"HSET", b"hash"), (b"1",), b"HLEN"),
    b"zset": ((b"ZADD", b"zset", b"1"), (), b"ZCARD"),
}
LIFE_MS = 60  # of keys with a deadline
LIFE_SLACK_MS = 20
TRANSACTIONS_MAX = 250  # of one client; checking them costs the square
LISTS_EACH = 40  # transactions before the clients go on to other lists
SET_BY_SCRIPT = b"return redis.call('SET', KEYS[1], ARGV[1])"
APPEND_AND_READ = (
    b"redis.call('RPUSH', KEYS[1], ARGV[1]) return redis.call('LRANGE', KEYS[2], 0, -1)"
)
# Errors that say that nothing was done; UNCERTAIN says that nobody knows.
NOT_DONE = {"TRYAGAIN", "UNBLOCKED"}


class Ended(Exception):
    """The connection is of no use; what was sent and not answered is unknown."""


class Client(threading.Thread):
    """One client of one node, until told to stop. A subclass says what it sends."""

    def __init__(self, workload: "Workload", node: GroupNode, number: int) -> None:
        super().__init__(name=f"client-{number}@{node.node_id}", daemon=True)
        self.workload = workload
        self.node = node
        self.number = number
        self.random = random.Random(number)
        self.operations: list[Operation] = []
        self.errors: list[str] = []  # what nobody should be told
        self.codes: Counter[str] = Counter()
        self.longest_ns = 0  # between two answers that were no errors
        self.last_done_ns = 0
        self._connection: Connection | None = None
        self._sent = 0

    # -- the thread -----------------------------------------------------------------------------

    def run(self) -> None:
        try:
            while not self.workload.stopping.is_set():
                if self._connection is None and not self._connect():
                    self.workload.stopping.wait(RECONNECT_SECONDS)
                    continue
                try:
                    self.act()
                except Ended:
                    self._disconnect()
        except Exception as error:
            self.errors.append(f"{self.name}: {type(error).__name__}: {error}")
            raise
        finally:
            self._disconnect()

    def act(self) -> None:
        """Do one thing. Raises Ended."""
        raise NotImplementedError

    def _connect(self) -> bool:
        try:
            self._connection = Connection(self.node.port, timeout_s=REPLY_SECONDS_MAX)
        except OSError:
            return False
        return True

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- for those who act ----------------------------------------------------------------------

    def unique(self) -> bytes:
        self._sent += 1
        return b"%d-%d" % (self.number, self._sent)

    def say(self, kind: str, key: bytes, value: bytes | None, *words: bytes) -> Operation:
        """Send one command and write down what comes of it. Raises Ended, with that written."""
        operation = Operation(kind, key, value, 0, who=self.name)
        self.operations.append(operation)
        operation.begun = time.monotonic_ns()
        reply = self.exchange([words])[0]
        self.settle(operation, reply)
        if isinstance(reply, ErrorReply):
            raise Ended
        return operation

    def settle(self, operation: Operation, reply: Reply) -> None:
        """Write down what a reply says of an operation."""
        if not isinstance(reply, ErrorReply):
            operation.state, operation.ended = DONE, time.monotonic_ns()
            operation.result = reply if isinstance(reply, bytes | int) else None
        elif reply.code in NOT_DONE:
            operation.state, operation.ended = REFUSED, time.monotonic_ns()

    def exchange(self, commands: list[tuple[bytes, ...]]) -> list[Reply]:
        """Send commands at once and return their replies; the last may be an error.

        Raises Ended if there is none at all.
        """
        assert self._connection is not None
        replies: list[Reply] = []
        try:
            self._connection.send(b"".join(encode(*words) for words in commands))
            while len(replies) < len(commands):
                replies.append(self._connection.receive())
                if isinstance(replies[-1], ErrorReply):
                    break
        except OSError as error:
            if not replies:
                self.codes[type(error).__name__] += 1
                raise Ended from None
        self._count(replies[-1])
        return replies

    def _count(self, reply: Reply) -> None:
        now = time.monotonic_ns()
        if isinstance(reply, ErrorReply):
            self.codes[reply.code] += 1
            if reply.code not in NOT_DONE | {"UNCERTAIN"}:
                self.errors.append(f"{self.name} was told: {reply}")
            return
        if self.last_done_ns:
            self.longest_ns = max(self.longest_ns, now - self.last_done_ns)
        self.last_done_ns = now
        self.workload.done += 1  # only its growth means something


class Mixed(Client):
    """Registers, counters, collections, and keys that pass away. Every other one asks its node to
    answer reads itself, as a follower does then."""

    def _connect(self) -> bool:
        if not super()._connect():
            return False
        try:
            if self.number % 2:
                self._connection.call("READONLY")
        except OSError:
            self._disconnect()
            return False
        return True

    def act(self) -> None:
        self.random.choice(
            (self._set, self._get, self._get, self._count_up, self._add, self._die)
        )()

    def _set(self) -> None:
        key, value = self.random.choice(REGISTERS), self.unique()
        way = self.random.randrange(4)
        if way == 0:
            self.say("set", key, value, b"EVAL", SET_BY_SCRIPT, b"1", key, value)
        elif way == 1:
            self.say("set", key, value, b"SET", key, value, b"EX", b"1000")
        else:
            self.say("set", key, value, b"SET", key, value)

    def _get(self) -> None:
        key = self.random.choice(REGISTERS)
        self.say("get", key, None, b"GET", key)

    def _count_up(self) -> None:
        key = self.random.choice(COUNTERS)
        if self.random.random() < 0.6:
            self.say("incr", key, None, b"INCR", key)
        else:
            self.say("get", key, None, b"GET", key)

    def _add(self) -> None:
        key = self.random.choice(list(COLLECTIONS))
        before, behind, count = COLLECTIONS[key]
        if self.random.random() < 0.7:
            value = self.unique()
            self.say("add", key, value, *before, value, *behind)
        else:
            self.say("count", key, None, count, key)

    def _die(self) -> None:
        dying = [op.key for op in self.operations[-40:] if op.key.startswith(b"dying-")]
        if dying and self.random.random() < 0.6:
            key = self.random.choice(dying)
            self.say("get", key, None, b"GET", key)
        else:
            key = b"dying-" + self.unique()
            self.say("set", key, b"x", b"SET", key, b"x", b"PX", b"%d" % LIFE_MS)


class Pusher(Client):
    """Pushes to the queue, and pops at once."""

    def act(self) -> None:
        value = self.unique()
        self.say("push", QUEUE, value, b"RPUSH", QUEUE, value)


class Popper(Client):
    """Waits for what is pushed."""

    def act(self) -> None:
        operation = Operation("pop", QUEUE, None, time.monotonic_ns(), who=self.name)
        self.operations.append(operation)
        reply = self.exchange([(b"BLPOP", QUEUE, b"0.2")])[0]
        self.settle(operation, reply[1] if isinstance(reply, list) else reply)
        if isinstance(reply, ErrorReply):
            raise Ended


class Appender(Client):
    """Transactions that append to lists and read them, in MULTI, in scripts, in pipelines."""

    def __init__(self, workload: "Workload", node: GroupNode, number: int) -> None:
        super().__init__(workload, node, number)
        self.transactions: list[Transaction] = []

    def act(self) -> None:
        if len(self.transactions) >= TRANSACTIONS_MAX:
            self.workload.stopping.wait(RECONNECT_SECONDS)
            return
        epoch = len(self.transactions) // LISTS_EACH
        first, second = self.random.sample([b"list-%d-%d" % (epoch, n) for n in range(3)], 2)
        choices = (self._append, self._read, self._multi, self._script, self._pipeline)
        self.random.choice(choices)(first, second)

    def _begin(self, *operations: tuple) -> Transaction:
        name = f"{self.name}#{len(self.transactions)}"
        self.transactions.append(Transaction(list(operations), time.monotonic_ns(), name=name))
        return self.transactions[-1]

    def _append(self, key: bytes, _: bytes) -> None:
        value = self.unique()
        one = self._begin(("append", key, value))
        self._end(one, self.exchange([(b"RPUSH", key, value)])[0])

    def _read(self, key: bytes, _: bytes) -> None:
        one = self._begin()
        reply = self.exchange([(b"LRANGE", key, b"0", b"-1")])[0]
        self._end(one, reply, [("read", key, reply)])

    def _script(self, key: bytes, other: bytes) -> None:
        value = self.unique()
        one = self._begin(("append", key, value))
        reply = self.exchange([(b"EVAL", APPEND_AND_READ, b"2", key, other, value)])[0]
        self._end(one, reply, [("append", key, value), ("read", other, reply)])

    def _multi(self, key: bytes, other: bytes) -> None:
        value = self.unique()
        one = self._begin(("append", key, value))
        replies = self.exchange(
            [
                (b"MULTI",),
                (b"RPUSH", key, value),
                (b"LRANGE", other, b"0", b"-1"),
                (b"EXEC",),
            ]
        )
        reply = replies[-1]
        if len(replies) < 4:  # what follows an error may have run by itself
            raise Ended
        assert reply is not None, "EXEC without WATCH was aborted"
        read = reply[1] if isinstance(reply, list) else []
        self._end(one, reply, [("append", key, value), ("read", other, read)])

    def _pipeline(self, key: bytes, other: bytes) -> None:
        """Two at once: the second one follows the first."""
        values = self.unique(), self.unique()
        ones = [self._begin(("append", key, value)) for value in values]
        ones[1].follows = ones[0]
        replies = self.exchange([(b"RPUSH", key, value) for value in values])
        for one, reply in zip(ones, replies, strict=False):
            self._end(one, reply)
        if len(replies) < 2:
            raise Ended

    def _end(self, one: Transaction, reply: Reply, operations: list[tuple] | None = None) -> None:
        if isinstance(reply, ErrorReply):
            one.is_refused = reply.code in NOT_DONE
            raise Ended
        if operations is not None:
            one.operations = operations
        one.ended = time.monotonic_ns()


ROLES: tuple[type[Client], ...] = (Mixed, Mixed, Appender, Pusher, Popper)


class Workload:
    """Clients on all nodes. done: answers that were no errors, roughly."""

    def __init__(self, group: Group, roles: tuple[type[Client], ...] = ROLES) -> None:
        self.group = group
        self.stopping = threading.Event()
        self.done = 0
        nodes = list(group.nodes.values())
        self.clients = [
            role(self, node, i * len(roles) + j)
            for i, node in enumerate(nodes)
            for j, role in enumerate(roles)
        ]

    def start(self) -> None:
        """Begin with no data, and return when all is under way."""
        self.group.wait_leader().ask("FLUSHALL")
        for client in self.clients:
            client.start()
        self.wait_progress()

    def wait_progress(self, count: int = 100, seconds: float = 30.0) -> None:
        """Return after so many answers more."""
        until = self.done + count
        wait_for(f"{count} answers more", lambda: self.done >= until, seconds)

    def stop(self) -> None:
        self.stopping.set()
        for client in self.clients:
            if client.is_alive():
                client.join(2 * REPLY_SECONDS_MAX)
                assert not client.is_alive(), f"{client.name} hangs"

    def codes(self) -> Counter[str]:
        """Return the errors that clients were told, and ends of connections, by kind."""
        return sum((client.codes for client in self.clients), Counter())

    @property
    def operations(self) -> list[Operation]:
        return [op for client in self.clients for op in client.operations]

    @property
    def transactions(self) -> list[Transaction]:
        appenders = [client for client in self.clients if isinstance(client, Appender)]
        return [one for client in appenders for one in client.transactions]

    # -- the end --------------------------------------------------------------------------------

    def check(self) -> None:
        """Stop, read everything at each node, and fail unless one copy of the data explains it."""
        self.stop()
        final = {
            n.node_id: read_all(n, self.transactions) for n in self.group.nodes.values() if n.is_up
        }
        self.judge(final)

    def judge(self, final: dict[int, "Final"]) -> None:
        """Raise AssertionError with what does not fit. final: what each node holds in the end."""
        errors = [text for client in self.clients for text in client.errors]
        for node_id, found in final.items():
            errors += [f"at node {node_id}: {text}" for text in self._errors(found)]
        assert not errors, "\n".join(errors[:20])

    def _errors(self, final: "Final") -> Iterator[str]:
        operations = self.operations + final.reads
        keys = by_key(operations)
        for name in REGISTERS:
            yield from register_errors(keys[name])
        for name in COUNTERS:
            yield from counter_errors(keys[name])
        for name in COLLECTIONS:
            yield from collection_errors(keys[name], final.contents[name])
        yield from queue_errors(keys[QUEUE], final.contents[QUEUE])
        dying = [op for op in operations if op.key.startswith(b"dying-")]
        yield from deadline_errors(dying, LIFE_MS * 1_000_000, LIFE_SLACK_MS * 1_000_000)
        yield from list_append.check(self.transactions + final.transactions).anomalies


class Final:
    """What one node holds in the end, all read after everything else had ended."""

    def __init__(self) -> None:
        self.reads: list[Operation] = []
        self.transactions: list[Transaction] = []
        self.contents: dict[bytes, list[bytes]] = {}


def read_all(node: GroupNode, transactions: list[Transaction]) -> Final:
    """Read everything that clients may have written at one node."""
    final = Final()
    with Connection(node.port) as connection:
        for key in (*REGISTERS, *COUNTERS):
            read = Operation("get", key, None, time.monotonic_ns(), who=f"end@{node.node_id}")
            read.result = connection.call(b"GET", key)
            read.state, read.ended = DONE, time.monotonic_ns()
            final.reads.append(read)
        final.contents[b"set"] = list(connection.call(b"SMEMBERS", b"set"))
        final.contents[b"hash"] = list(connection.call(b"HKEYS", b"hash"))
        final.contents[b"zset"] = list(connection.call(b"ZRANGE", b"zset", b"0", b"-1"))
        final.contents[QUEUE] = list(connection.call(b"LRANGE", QUEUE, b"0", b"-1"))
        for key in sorted({op[1] for one in transactions for op in one.operations}):
            begun = time.monotonic_ns()
            values = connection.call(b"LRANGE", key, b"0", b"-1")
            name = f"end@{node.node_id} {key!r}"
            ended = time.monotonic_ns()
            final.transactions.append(Transaction([("read", key, values)], begun, ended, name=name))
    return final


@contextlib.contextmanager
def load(group: Group, roles: tuple[type[Client], ...] = ROLES) -> Iterator[Workload]:
    """Clients work while the context lasts; then each node has to hold what they were told."""
    workload = Workload(group, roles)
    try:
        workload.start()
        yield workload
        workload.wait_progress()
        workload.check()
    except BaseException as error:
        error.add_note(group.logs())
        raise
    finally:
        workload.stopping.set()
