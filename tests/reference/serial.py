"""Whether replies of concurrent operations are those of some serial order that respects real time.

A keyspace of a few commands, and a search over all orders of few operations.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

Value = bytes | frozenset  # a string; members of a set; (field, value) pairs of a hash
State = dict[tuple[int, bytes], Value]  # by database and key

LAST = b"<last>"  # an argument: the reply before, as text
WRONGTYPE = "WRONGTYPE"


@dataclass
class Operation:
    """Commands that take effect together. begun, ended: moments; their replies came in between.

    followed_by: what the same client sent next, without waiting for the reply.
    """

    commands: list[tuple[bytes, ...]]
    begun: int
    ended: int = 0
    replies: list[object] = field(default_factory=list)
    followed_by: "Operation | None" = None


def text_of(reply: object) -> bytes:
    """Return a reply as it stands for LAST."""
    return reply if isinstance(reply, bytes) else str(reply).encode()


def execute(state: State, words: tuple[bytes, ...], last: object) -> object:
    """Run a command on a state, which changes; return its reply."""
    name, *args = (text_of(last) if word == LAST else word for word in words)
    if name == b"FLUSHDB":
        for place in [place for place in state if place[0] == 0]:
            del state[place]
        return b"OK"
    if name == b"SWAPDB":
        swapped = {(1 - db if db < 2 else db, key): value for (db, key), value in state.items()}
        state.clear()
        state.update(swapped)
        return b"OK"
    if name == b"DBSIZE":
        return sum(db == 0 for db, _ in state)
    place = 0, args[0]
    value = state.get(place)
    if name == b"RENAME":
        if value is None:
            return "ERR"
        state[0, args[1]] = state.pop(place)
        return b"OK"
    if name == b"SET":
        state[place] = args[1]
        return b"OK"
    if name == b"DEL":
        return int(state.pop(place, None) is not None)
    if name == b"EXISTS":
        return int(value is not None)
    if name in (b"GET", b"APPEND"):
        return _string(state, place, value, name, args)
    if name[:1] == b"S":
        return _set(state, place, value, name, args)
    return _hash(state, place, value, name, args)


def _string(state, place, value, name, args) -> object:
    if isinstance(value, frozenset):
        return WRONGTYPE
    if name == b"GET":
        return value
    state[place] = (value or b"") + args[1]
    return len(state[place])


def _put(state: State, place: tuple[int, bytes], elements: frozenset) -> None:
    if elements:
        state[place] = elements
    else:
        state.pop(place, None)


def _set(state, place, value, name, args) -> object:
    if isinstance(value, bytes) or (value and isinstance(next(iter(value)), tuple)):
        return WRONGTYPE
    members = value or frozenset()
    given = frozenset(args[1:])
    if name == b"SADD":
        _put(state, place, members | given)
        return len(given - members)
    if name == b"SREM":
        _put(state, place, members - given)
        return len(given & members)
    if name == b"SISMEMBER":
        return int(args[1] in members)
    if name == b"SCARD":
        return len(members)
    return sorted(members)


def _hash(state, place, value, name, args) -> object:
    if isinstance(value, bytes) or (value and isinstance(next(iter(value)), bytes)):
        return WRONGTYPE
    fields = dict(value or ())
    if name == b"HGET":
        return fields.get(args[1])
    if name == b"HGETALL":
        return sorted(fields.items())
    if name == b"HLEN":
        return len(fields)
    if name == b"HSET":
        is_new = args[1] not in fields
        fields[args[1]] = args[2]
        _put(state, place, frozenset(fields.items()))
        return int(is_new)
    was_there = fields.pop(args[1], None) is not None
    _put(state, place, frozenset(fields.items()))
    return int(was_there)


def is_serializable(state: State, operations: Iterable[Operation]) -> bool:
    """Whether the replies come from an order in which nothing is before what it follows."""
    todo = list(operations)
    followed = [
        frozenset(
            i
            for i, other in enumerate(todo)
            if other.ended < operation.begun or other.followed_by is operation
        )
        for operation in todo
    ]
    seen = set()

    def search(done: frozenset, state: State) -> bool:
        if len(done) == len(todo):
            return True
        key = done, frozenset(state.items())
        if key in seen:
            return False
        seen.add(key)
        for i, operation in enumerate(todo):
            if i in done or not followed[i] <= done:
                continue
            after = dict(state)
            replies: list[object] = []
            for words in operation.commands:
                replies.append(execute(after, words, replies[-1] if replies else None))
            if replies == operation.replies and search(done | {i}, after):
                return True
        return False

    return search(frozenset(), state)
