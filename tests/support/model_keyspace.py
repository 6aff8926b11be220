"""The data of the model: databases of values with deadlines, and what clients watch.

A deadline that has passed deletes the key when somebody looks at it. The clock is given.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

DATABASES_COUNT = 16
KEEP = object()  # in place of a deadline: the one that the key has


@dataclass
class Value:
    """What a key holds: a string's bytes, or a collection, see model.TYPES.

    Data is never changed in place.   deadline_ms: Unix time, None without one.
    """

    data: object
    deadline_ms: int | None = None


class Mortal:
    """A collection whose parts have deadlines of their own."""

    def live(self, now_ms: int) -> "Mortal":
        """Return the collection without the parts that are past their deadline."""
        raise NotImplementedError


@dataclass
class Client:
    """What the server knows about one connection."""

    database: int = 0
    queue: list[tuple[bytes, ...]] | None = None  # None outside MULTI
    is_spoiled: bool = False  # a queued command was refused
    watched: set[tuple[int, bytes]] = field(default_factory=set)
    is_dirty: bool = False  # a watched key changed


class Keyspace:
    """All databases, and the clients that watch them. clock_ms: returns the Unix time."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self._now_ms = clock_ms()
        self.databases: list[dict[bytes, Value]] = [{} for _ in range(DATABASES_COUNT)]
        self._clients: list[Client] = []

    def connect(self) -> Client:
        """Return a new client."""
        self._clients.append(Client())
        return self._clients[-1]

    def disconnect(self, client: Client) -> None:
        """Forget a client."""
        self._clients.remove(client)

    def lookup(self, client: Client, key: bytes) -> Value | None:
        """Return the live value of `key`; delete it if its deadline has passed."""
        return self._lookup(client.database, key)

    def _lookup(self, database: int, key: bytes) -> Value | None:
        value = self.databases[database].get(key)
        if value is None:
            return None
        if value.deadline_ms is None or value.deadline_ms >= self._now_ms:
            return self._live(database, key, value)
        self._delete(database, key)
        return None

    def _live(self, database: int, key: bytes, value: Value) -> Value | None:
        """Return a value without its parts that are past their deadline, None without parts."""
        if not isinstance(value.data, Mortal):
            return value
        data = value.data.live(self._now_ms)
        if data == value.data:
            return value
        if not data:
            self._delete(database, key)
            return None
        self._put(database, key, Value(data, value.deadline_ms))
        return self.databases[database][key]

    def _delete(self, database: int, key: bytes) -> None:
        del self.databases[database][key]
        self._touch_watchers(database, [key])

    def store(self, client: Client, key: bytes, data: object, deadline_ms: object = KEEP) -> None:
        """Write `key`. deadline_ms: KEEP leaves the deadline that it has."""
        old = self.lookup(client, key)
        if deadline_ms is KEEP:
            deadline_ms = old.deadline_ms if old else None
        self._put(client.database, key, Value(data, deadline_ms))

    def _put(self, database: int, key: bytes, value: Value) -> None:
        self.databases[database][key] = value
        self._touch_watchers(database, [key])

    def remove(self, client: Client, key: bytes) -> bool:
        """Delete `key` and return whether it was there."""
        if self.lookup(client, key) is None:
            return False
        self._delete(client.database, key)
        return True

    def set_deadline(self, client: Client, key: bytes, deadline_ms: int | None) -> None:
        """Give an existing key a deadline; one that has passed deletes it."""
        if deadline_ms is not None and deadline_ms <= self._now_ms:
            self.remove(client, key)
            return
        value = self.databases[client.database][key]
        self._put(client.database, key, Value(value.data, deadline_ms))

    def swap(self, one: int, other: int) -> None:
        """Exchange two databases; who watches a key that is in either of them notices."""
        if one == other:
            return
        names = [*self.databases[one], *self.databases[other]]
        self.databases[one], self.databases[other] = self.databases[other], self.databases[one]
        self._touch_watchers(one, names)
        self._touch_watchers(other, names)

    def flush(self, databases: Iterable[int]) -> None:
        """Empty some databases."""
        for database in databases:
            names = list(self.databases[database])
            self.databases[database].clear()
            self._touch_watchers(database, names)

    def take_time(self) -> None:
        """Read the clock; time stands still until the next call."""
        self._now_ms = self._clock_ms()

    def keys(self, database: int) -> Iterable[bytes]:
        """Return the live keys of a database."""
        return [key for key in list(self.databases[database]) if self._lookup(database, key)]

    def _touch_watchers(self, database: int, keys: Iterable[bytes]) -> None:
        names = {(database, key) for key in keys}
        for client in self._clients:
            if names & client.watched:
                client.is_dirty = True

    def now_ms(self) -> int:
        """Return the time at which the current command runs."""
        return self._now_ms
