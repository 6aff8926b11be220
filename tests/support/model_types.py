"""The types of the model's values: lookups that refuse a value of another type."""

from tests.support.model_keyspace import KEEP, Client, Keyspace, Value
from tests.support.model_parsing import WRONG_TYPE, CommandFailure


class TypedKeyspace(Keyspace):
    """Databases whose keys hold values of several types. All lookups raise CommandFailure."""

    def typed(self, client: Client, key: bytes, kind: type, default: object) -> object:
        """Return the live data of `key`, which must be of a kind; `default` when it is absent."""
        value = self.lookup(client, key)
        if value is None:
            return default
        if type(value.data) is not kind:
            raise CommandFailure(WRONG_TYPE)
        return value.data

    def put(self, client: Client, key: bytes, data: object) -> None:
        """Write a collection, which keeps its deadline; an empty one goes."""
        if data:
            self.store(client, key, data, KEEP)
        else:
            self.remove(client, key)

    def string(self, client: Client, key: bytes) -> Value | None:
        """Return the live value of `key`, which must be a string."""
        self.typed(client, key, bytes, None)
        return self.lookup(client, key)

    def data(self, client: Client, key: bytes) -> bytes:
        """Return the bytes of the string `key`, none when it is absent."""
        data = self.typed(client, key, bytes, b"")
        assert isinstance(data, bytes)
        return data

    def members(self, client: Client, key: bytes) -> dict[bytes, float]:
        """Return the scores of the sorted set `key` by member, none when it is absent."""
        members = self.typed(client, key, dict, {})
        assert isinstance(members, dict)
        return members

    def put_members(self, client: Client, key: bytes, members: dict[bytes, float]) -> None:
        """Write a sorted set, which keeps its deadline; an empty one goes."""
        self.put(client, key, members)
