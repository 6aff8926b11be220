"""The types of the model's values: lookups that refuse a value of another type."""

from tests.support.model_keyspace import KEEP, Client, Keyspace, Value
from tests.support.model_parsing import WRONG_TYPE, CommandFailure


class TypedKeyspace(Keyspace):
    """Databases whose keys hold strings or sorted sets. All lookups raise CommandFailure."""

    def string(self, client: Client, key: bytes) -> Value | None:
        """Return the live value of `key`, which must be a string."""
        value = self.lookup(client, key)
        if value is not None and not isinstance(value.data, bytes):
            raise CommandFailure(WRONG_TYPE)
        return value

    def data(self, client: Client, key: bytes) -> bytes:
        """Return the bytes of the string `key`, none when it is absent."""
        value = self.string(client, key)
        return value.data if value else b""

    def members(self, client: Client, key: bytes) -> dict[bytes, float]:
        """Return the scores of the sorted set `key` by member, none when it is absent."""
        value = self.lookup(client, key)
        if value is not None and not isinstance(value.data, dict):
            raise CommandFailure(WRONG_TYPE)
        return value.data if value else {}

    def put_members(self, client: Client, key: bytes, members: dict[bytes, float]) -> None:
        """Write a sorted set, which keeps its deadline; an empty one goes."""
        if members:
            self.store(client, key, members, KEEP)
        else:
            self.remove(client, key)
