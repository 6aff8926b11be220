"""The model's lists. Commands that may wait are none of its business."""

from collections.abc import Callable, Sequence

from tests.support.model_keyspace import Client
from tests.support.model_parsing import LLONG_MAX, LLONG_MIN, CommandFailure, parse_integer
from tests.support.model_types import TypedKeyspace
from tests.support.resp import NullArray, Reply, Status

List = tuple
OK = Status(b"OK")
NOT_POSITIVE = "ERR value is out of range, must be positive"
SYNTAX = "ERR syntax error"
RANK_ZERO = (
    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... "
    "or use negative to start from the end of the list"
)


def look(model: TypedKeyspace, client: Client, key: bytes) -> List:
    """Return the list at `key`, an empty one when it is absent. Raises CommandFailure."""
    found = model.typed(client, key, List, List())
    assert isinstance(found, List)
    return found


def _push(is_left: bool, needs_list: bool = False) -> Callable[..., Reply]:
    def command(model: TypedKeyspace, client: Client, key: bytes, *elements: bytes) -> Reply:
        old = look(model, client, key)
        if needs_list and not old:
            return 0
        new = elements[::-1] + old if is_left else old + elements
        model.put(client, key, new)
        return len(new)

    return command


def take(
    model: TypedKeyspace, client: Client, key: bytes, count: int, *, is_left: bool
) -> list[bytes]:
    """Pop up to `count` elements of a list, in the order in which they go."""
    old = look(model, client, key)
    if is_left:
        taken, rest = old[:count], old[count:]
    else:
        taken, rest = old[::-1][:count], old[: max(0, len(old) - count)]
    if taken:
        model.put(client, key, rest)
    return [*taken]


def _pop(is_left: bool, name: str) -> Callable[..., Reply]:
    def command(model: TypedKeyspace, client: Client, key: bytes, *words: bytes) -> Reply:
        if len(words) > 1:
            raise CommandFailure(f"ERR wrong number of arguments for '{name}' command")
        count = parse_integer(words[0], NOT_POSITIVE) if words else 1
        if count < 0:
            raise CommandFailure(NOT_POSITIVE)
        if not look(model, client, key):
            return NullArray() if words else None
        taken = take(model, client, key, count, is_left=is_left)
        return taken if words else taken[0]

    return command


def llen(model: TypedKeyspace, client: Client, key: bytes) -> Reply:
    return len(look(model, client, key))


def span(length: int, first: int, last: int) -> tuple[int, int]:
    """Return what two indexes mean for a list, as the bounds of a slice."""
    start = max(first + length, 0) if first < 0 else first
    end = last + length if last < 0 else last
    return (start, end + 1) if start <= end else (0, 0)


def lrange(model: TypedKeyspace, client: Client, key: bytes, first: bytes, last: bytes) -> Reply:
    bounds = parse_integer(first), parse_integer(last)
    found = look(model, client, key)
    start, end = span(len(found), *bounds)
    return [*found[start:end]]


def ltrim(model: TypedKeyspace, client: Client, key: bytes, first: bytes, last: bytes) -> Reply:
    bounds = parse_integer(first), parse_integer(last)
    old = look(model, client, key)
    if old:
        start, end = span(len(old), *bounds)
        model.put(client, key, old[start:end])
    return OK


def place(found: List, index: int) -> int | None:
    """Return the position that an index means, None when it is out of range."""
    at = index + len(found) if index < 0 else index
    return at if 0 <= at < len(found) else None


def lindex(model: TypedKeyspace, client: Client, key: bytes, index: bytes) -> Reply:
    found = look(model, client, key)
    if not found:
        return None
    at = place(found, parse_integer(index))
    return None if at is None else found[at]


def lset(model: TypedKeyspace, client: Client, key: bytes, index: bytes, element: bytes) -> Reply:
    old = look(model, client, key)
    if not old:
        raise CommandFailure("ERR no such key")
    at = place(old, parse_integer(index))
    if at is None:
        raise CommandFailure("ERR index out of range")
    model.put(client, key, (*old[:at], element, *old[at + 1 :]))
    return OK


def linsert(
    model: TypedKeyspace, client: Client, key: bytes, where: bytes, pivot: bytes, element: bytes
) -> Reply:
    if where.lower() not in (b"before", b"after"):
        raise CommandFailure(SYNTAX)
    old = look(model, client, key)
    if not old:
        return 0
    if pivot not in old:
        return -1
    at = old.index(pivot) + (where.lower() == b"after")
    model.put(client, key, (*old[:at], element, *old[at:]))
    return len(old) + 1


def lrem(model: TypedKeyspace, client: Client, key: bytes, count: bytes, element: bytes) -> Reply:
    limit = parse_integer(count)
    old = look(model, client, key)
    matches = [at for at, value in enumerate(old) if value == element]
    if limit:
        matches = matches[:limit] if limit > 0 else matches[limit:]
    if matches:
        gone = {*matches}
        model.put(client, key, List(v for at, v in enumerate(old) if at not in gone))
    return len(matches)


def lpos(model: TypedKeyspace, client: Client, key: bytes, element: bytes, *words: bytes) -> Reply:
    rank, count, limit = _lpos_options(words)
    found = look(model, client, key)
    matches = _matches(found, element, limit, is_reversed=rank < 0)[abs(rank) - 1 :]
    if count is None:
        return matches[0] if matches else None
    return matches[:count] if count else matches


def _lpos_options(words: Sequence[bytes]) -> tuple[int, int | None, int]:
    rank, count, limit = 1, None, 0
    rest = [*words]
    while rest:
        word = rest.pop(0).lower()
        if word not in (b"rank", b"count", b"maxlen") or not rest:
            raise CommandFailure(SYNTAX)
        value = rest.pop(0)
        if word == b"rank":
            rank = parse_integer(value)
            if rank == 0:
                raise CommandFailure(RANK_ZERO)
            if rank == LLONG_MIN:
                text = f"value must between {-LLONG_MAX} and {LLONG_MAX}"
                raise CommandFailure(f"ERR value is out of range, {text}")
        elif word == b"count":
            count = _not_negative(value, "COUNT")
        else:
            limit = _not_negative(value, "MAXLEN")
    return rank, count, limit


def _not_negative(data: bytes, name: str) -> int:
    text = f"ERR {name} can't be negative"
    value = parse_integer(data, text)
    if value < 0:
        raise CommandFailure(text)
    return value


def _matches(found: List, element: bytes, limit: int, *, is_reversed: bool) -> list[int]:
    """Return the positions of an element in the order of the search."""
    places = [*range(len(found))]
    if is_reversed:
        places.reverse()
    return [at for at in (places[:limit] if limit else places) if found[at] == element]


def _is_left(word: bytes) -> bool:
    if word.lower() not in (b"left", b"right"):
        raise CommandFailure(SYNTAX)
    return word.lower() == b"left"


def lmove(
    model: TypedKeyspace, client: Client, source: bytes, target: bytes, *ends: bytes
) -> Reply:
    is_from_left, is_to_left = (_is_left(word) for word in ends)
    if not look(model, client, source):
        return None
    look(model, client, target)
    value = model.lookup(client, source)
    assert value is not None
    (element,) = take(model, client, source, 1, is_left=is_from_left)
    if source == target and model.lookup(client, source) is None:
        model.store(client, source, List((element,)), value.deadline_ms)
    else:
        _push(is_to_left)(model, client, target, element)
    return element


def rpoplpush(model: TypedKeyspace, client: Client, source: bytes, target: bytes) -> Reply:
    return lmove(model, client, source, target, b"right", b"left")


def lmpop(model: TypedKeyspace, client: Client, number: bytes, *words: bytes) -> Reply:
    text = "ERR numkeys should be greater than 0"
    numkeys = parse_integer(number, text)
    if numkeys < 1:
        raise CommandFailure(text)
    if numkeys >= len(words):
        raise CommandFailure(SYNTAX)
    is_left = _is_left(words[numkeys])
    count = None
    rest = [*words[numkeys + 1 :]]
    while rest:
        if rest.pop(0).lower() != b"count" or not rest or count is not None:
            raise CommandFailure(SYNTAX)
        text = "ERR count should be greater than 0"
        count = parse_integer(rest.pop(0), text)
        if count < 1:
            raise CommandFailure(text)
    for key in words[:numkeys]:
        if look(model, client, key):
            return [key, take(model, client, key, count or 1, is_left=is_left)]
    return NullArray()


COMMANDS: dict[bytes, tuple[Callable[..., Reply], int]] = {
    b"lindex": (lindex, 3),
    b"linsert": (linsert, 5),
    b"llen": (llen, 2),
    b"lmove": (lmove, 5),
    b"lmpop": (lmpop, -4),
    b"lpop": (_pop(True, "lpop"), -2),
    b"lpos": (lpos, -3),
    b"lpush": (_push(True), -3),
    b"lpushx": (_push(True, needs_list=True), -3),
    b"lrange": (lrange, 4),
    b"lrem": (lrem, 4),
    b"lset": (lset, 4),
    b"ltrim": (ltrim, 4),
    b"rpop": (_pop(False, "rpop"), -2),
    b"rpoplpush": (rpoplpush, 3),
    b"rpush": (_push(False), -3),
    b"rpushx": (_push(False, needs_list=True), -3),
}
