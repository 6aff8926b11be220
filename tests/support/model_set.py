"""The model's sets."""

from collections.abc import Callable, Sequence
from functools import reduce

from tests.support.model_keyspace import Client
from tests.support.model_parsing import (
    LLONG_MAX,
    CommandFailure,
    glob_expression,
    parse_integer,
    parse_random_count,
    parse_scan,
)
from tests.support.model_types import TypedKeyspace
from tests.support.resp import Reply, ReplySet

Set = frozenset
Combine = Callable[[Sequence[Set]], Set]


def look(model: TypedKeyspace, client: Client, key: bytes) -> Set:
    """Return the set at `key`, an empty one when it is absent. Raises CommandFailure."""
    found = model.typed(client, key, Set, Set())
    assert isinstance(found, Set)
    return found


def sadd(model: TypedKeyspace, client: Client, key: bytes, *members: bytes) -> Reply:
    old = look(model, client, key)
    new = old.union(members)
    if len(new) > len(old):
        model.put(client, key, new)
    return len(new) - len(old)


def srem(model: TypedKeyspace, client: Client, key: bytes, *members: bytes) -> Reply:
    old = look(model, client, key)
    new = old.difference(members)
    if len(new) < len(old):
        model.put(client, key, new)
    return len(old) - len(new)


def scard(model: TypedKeyspace, client: Client, key: bytes) -> Reply:
    return len(look(model, client, key))


def sismember(model: TypedKeyspace, client: Client, key: bytes, member: bytes) -> Reply:
    return int(member in look(model, client, key))


def smismember(model: TypedKeyspace, client: Client, key: bytes, *members: bytes) -> Reply:
    found = look(model, client, key)
    return [int(member in found) for member in members]


def smembers(model: TypedKeyspace, client: Client, key: bytes) -> Reply:
    return ReplySet(look(model, client, key))


def smove(
    model: TypedKeyspace, client: Client, source: bytes, target: bytes, member: bytes
) -> Reply:
    if model.lookup(client, source) is None:
        return 0
    found = look(model, client, source)
    look(model, client, target)
    if member not in found:
        return 0
    if source != target:
        srem(model, client, source, member)
        # Who watches the target is told even if it had the member.
        model.put(client, target, look(model, client, target) | {member})
    return 1


def spop(model: TypedKeyspace, client: Client, key: bytes, *words: bytes) -> Reply:
    """Remove the first members: a choice as good as any other."""
    if len(words) > 1:
        raise CommandFailure("ERR syntax error")
    text = "ERR value is out of range, must be positive"
    count = parse_integer(words[0], text) if words else 1
    if count < 0:
        raise CommandFailure(text)
    chosen = sorted(look(model, client, key))[:count]
    srem(model, client, key, *chosen)
    if words:
        return ReplySet(chosen)
    return chosen[0] if chosen else None


def srandmember(model: TypedKeyspace, client: Client, key: bytes, *words: bytes) -> Reply:
    """Return the first members: a choice as good as any other."""
    if len(words) > 1:
        raise CommandFailure("ERR syntax error")
    count = parse_random_count(words[0]) if words else 1
    members = sorted(look(model, client, key))
    if not words:
        return members[0] if members else None
    return members[:count] if count >= 0 else members[:1] * -count


def sscan(model: TypedKeyspace, client: Client, key: bytes, *words: bytes) -> Reply:
    """Return all members at once, as a small set does."""
    found = look(model, client, key) if words[0] == b"0" else None
    scan = parse_scan(words, is_absent=found is not None and not found)
    assert found is not None, "only whole scans are asked of the model"
    matches = glob_expression(scan.pattern).fullmatch
    return [b"0", [member for member in found if matches(member)]]


def union(sets: Sequence[Set]) -> Set:
    """Return what is in any of the sets."""
    return reduce(Set.union, sets)


def intersection(sets: Sequence[Set]) -> Set:
    """Return what is in all of the sets."""
    return reduce(Set.intersection, sets)


def difference(sets: Sequence[Set]) -> Set:
    """Return what is in the first set only."""
    return reduce(Set.difference, sets)


def _combination(combine: Combine) -> Callable[..., Reply]:
    def command(model: TypedKeyspace, client: Client, *keys: bytes) -> Reply:
        return ReplySet(combine([look(model, client, key) for key in keys]))

    return command


def _storing(combine: Combine) -> Callable[..., Reply]:
    def command(model: TypedKeyspace, client: Client, target: bytes, *keys: bytes) -> Reply:
        result = combine([look(model, client, key) for key in keys])
        if result:
            model.store(client, target, result, None)
        else:
            model.remove(client, target)
        return len(result)

    return command


def sintercard(model: TypedKeyspace, client: Client, number: bytes, *words: bytes) -> Reply:
    text = "ERR numkeys should be greater than 0"
    count = parse_integer(number, text)
    if count < 1:
        raise CommandFailure(text)
    if count > len(words):
        raise CommandFailure("ERR Number of keys can't be greater than number of args")
    keys, rest = words[:count], list(words[count:])
    limit = 0
    while rest:
        if rest.pop(0).lower() != b"limit" or not rest:
            raise CommandFailure("ERR syntax error")
        limit = parse_integer(rest.pop(0), "ERR LIMIT can't be negative")
        if limit < 0:
            raise CommandFailure("ERR LIMIT can't be negative")
    size = len(intersection([look(model, client, key) for key in keys]))
    return min(size, limit or LLONG_MAX)


# Name: (function, arity); negative for at least so many words, the name included.
COMMANDS: dict[bytes, tuple[Callable[..., Reply], int]] = {
    b"sadd": (sadd, -3),
    b"scard": (scard, 2),
    b"sdiff": (_combination(difference), -2),
    b"sdiffstore": (_storing(difference), -3),
    b"sinter": (_combination(intersection), -2),
    b"sintercard": (sintercard, -3),
    b"sinterstore": (_storing(intersection), -3),
    b"sismember": (sismember, 3),
    b"smembers": (smembers, 2),
    b"smismember": (smismember, -3),
    b"smove": (smove, 4),
    b"spop": (spop, -2),
    b"srandmember": (srandmember, -2),
    b"srem": (srem, -3),
    b"sscan": (sscan, -3),
    b"sunion": (_combination(union), -2),
    b"sunionstore": (_storing(union), -3),
}
