"""What a key holds, as the ledgers compare it."""

from dataclasses import dataclass

LIST, HASH, SET, ZSET = b"list", b"hash", b"set", b"zset"


@dataclass(frozen=True, slots=True)
class Collection:
    """A list, hash, set or sorted set.

    content: tuple of elements; dict of field: (value, has a deadline); frozenset; dict of member:
    score. Never changed in place.   has_deadline: of the key.
    """

    type: bytes
    content: tuple | dict | frozenset
    has_deadline: bool = False


Value = bytes | Collection
State = dict[bytes, Value]


def is_hash(value: Value | None) -> bool:
    """Whether a value is a hash."""
    return isinstance(value, Collection) and value.type == HASH
