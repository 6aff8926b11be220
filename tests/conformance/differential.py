"""One script on two servers: the same replies, and the same data at the end."""

from collections.abc import Callable
from typing import Protocol

from tests.conformance import compare
from tests.conformance.generators import (
    CONNECTIONS,
    DATABASES,
    KEYS,
    TEST,
    Burst,
    Command,
    Script,
)
from tests.conformance.quoting import quote
from tests.conformance.transcript import NIL_REPLIES, recorded_lines
from tests.support.resp import ReplyStream, decode, encode

REPLY_SECONDS_MAX = 5.0
QUEUED = b"+QUEUED\r\n"
# How the values of each type are read in the end.
READERS: dict[bytes, tuple[bytes, ...]] = {
    b"string": (b"GET",),
    b"hash": (b"HGETALL",),
    b"list": (b"LRANGE", b"0", b"-1"),
    b"set": (b"SMEMBERS",),
    b"zset": (b"ZRANGE", b"0", b"-1", b"WITHSCORES"),
}


class Server(Protocol):
    """What can be compared: a process, or anything else that accepts connections."""

    name: str

    def connect(self, timeout_s: float) -> ReplyStream:
        """Return a new connection."""


class Difference(AssertionError):
    """Two servers answered one command differently; the message holds the script so far."""


class Pair:
    """Two servers under the same script. `expected` is the reference.

    act: does what a script asks of the test itself; True: the connections are gone.
    is_listed: whether the end is compared by KEYS and DBSIZE too; not where keys may be past their
    deadline, or a listing needs a worker.
    """

    def __init__(
        self,
        expected: Server,
        actual: Server,
        act: Callable[[Command], bool | None] | None = None,
        *,
        is_listed: bool = True,
    ) -> None:
        self._servers = (expected, actual)
        self._act = act
        self._is_listed = is_listed
        self._streams: dict[str, tuple[ReplyStream, ReplyStream]] = {}
        self._queues: dict[str, list[Command]] = {}

    def run(self, script: Script) -> None:
        """Run `script` on empty databases. Raises Difference."""
        try:
            for name, protocol in zip(CONNECTIONS, script.protocols, strict=True):
                self._open(name, protocol)
            for burst in script.bursts:
                if burst.connection == TEST:
                    assert self._act is not None, "nobody does what the test should do"
                    if self._act(burst.commands[0]):
                        for name, protocol in zip(CONNECTIONS, script.protocols, strict=True):
                            self._connect(name, protocol)
                else:
                    self._run_burst(burst, script)
            self._compare_contents(script)
        finally:
            for pair in self._streams.values():
                for stream in pair:
                    stream.close()
            self._streams.clear()

    def _open(self, name: str, protocol: int) -> None:
        self._connect(name, protocol)
        if name == CONNECTIONS[0]:
            for stream in self._streams[name]:
                stream.call("FLUSHALL")

    def _connect(self, name: str, protocol: int) -> None:
        for stream in self._streams.get(name, ()):
            stream.close()
        streams = tuple(server.connect(REPLY_SECONDS_MAX) for server in self._servers)
        for stream in streams:
            stream.call("HELLO", protocol)
        self._streams[name] = streams
        self._queues[name] = []

    def _exchange(self, name: str, commands: tuple[Command, ...]) -> list[tuple[bytes, bytes]]:
        request = b"".join(encode(*command) for command in commands)
        replies = []
        for stream in self._streams[name]:
            stream.send(request)
            replies.append([stream.receive_raw() for _ in commands])
        return list(zip(*replies, strict=True))

    def _run_burst(self, burst: Burst, script: Script) -> None:
        try:
            pairs = self._exchange(burst.connection, burst.commands)
        except (OSError, ValueError) as error:
            where = Script(script.protocols, (burst,)).text()
            text = f"{type(error).__name__}: {error}\n\nat\n\n{where}\n\nin\n\n{script.text()}"
            raise Difference(text) from error
        for command, (expected, actual) in zip(burst.commands, pairs, strict=True):
            same = self._same(burst.connection, command, expected, actual)
            if same and command[0].lower() == b"randomkey" and len(burst.commands) == 1:
                same = self._is_key(burst.connection, actual)
            if not same:
                raise Difference(self._report(burst.connection, command, expected, actual, script))

    def _same(self, name: str, command: Command, expected: bytes, actual: bytes) -> bool:
        verb = command[0].lower()
        queue = self._queues[name]
        if expected == QUEUED:
            queue.append(command)
            return actual == QUEUED
        if verb in (b"exec", b"discard", b"reset"):
            self._queues[name] = []
        if verb == b"exec" and expected[:1] == b"*" and actual[:1] == b"*" and queue:
            return compare.same_transaction(queue, expected, actual)
        return compare.same_answer(command, expected, actual)

    def _is_key(self, name: str, reply: bytes) -> bool:
        """Return whether what RANDOMKEY picked exists; only asked before anything else is sent."""
        if reply[:1] != b"$" or reply in NIL_REPLIES:
            return True
        return self._streams[name][0].call("EXISTS", decode(reply)) == 1

    def _report(
        self, name: str, command: Command, expected: bytes, actual: bytes, script: Script
    ) -> str:
        words = " ".join(quote(argument) for argument in command)
        parts = [f"{name}> {words}"]
        for server, raw in zip(self._servers, (expected, actual), strict=True):
            parts += [f"  {server.name}:", *(f"    < {line}" for line in recorded_lines(raw))]
        return "\n".join(["the servers differ", *parts, "", "in", "", script.text()])

    def _compare_contents(self, script: Script) -> None:
        """Compare all keys with their values and deadlines, on a connection of its own."""
        self._open_reader()
        for database in DATABASES:
            heads = ((b"SELECT", b"%d" % database),)
            names = [*KEYS, b"x"]  # x: an argument too many
            if self._is_listed:
                heads += ((b"DBSIZE",), (b"KEYS", b"*"))
            pairs = self._exchange("reader", heads)
            if self._is_listed:
                names = sorted(decode(pairs[-1][0]))
            looks = tuple(look for key in names for look in ((b"TYPE", key), (b"PEXPIRETIME", key)))
            pairs += self._exchange("reader", looks) if looks else []
            # What the reference says; a server that says otherwise differs there already.
            types = [decode(expected) for expected, _ in pairs[len(heads) :: 2]]
            readers = [(READERS.get(kind), key) for key, kind in zip(names, types, strict=True)]
            values = tuple((words[0], key, *words[1:]) for words, key in readers if words)
            pairs += self._exchange("reader", values) if values else []
            commands = (*heads, *looks, *values)
            for command, (expected, actual) in zip(commands, pairs, strict=True):
                if not compare.same_answer(command, expected, actual):
                    where = f"at the end, database {database}"
                    raise Difference(self._report(where, command, expected, actual, script))

    def _open_reader(self) -> None:
        self._streams["reader"] = tuple(
            server.connect(REPLY_SECONDS_MAX) for server in self._servers
        )
