"""Whether replies of concurrent operations are those of some serial order that respects real time.

A keyspace of a few commands, and a search over all orders of few operations.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

# A string; members of a set; (field, value) pairs of a hash; elements of a list.
Value = bytes | frozenset | tuple
State = dict[tuple[int, bytes], Value]  # by database and key

LAST = b"<last>"  # an argument: the reply before, as text
BLIND = b"<blind>"  # before LPUSH or RPUSH: its reply is nil
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
    return bytes(reply) if isinstance(reply, bytes) else str(reply).encode()


def execute(state: State, words: tuple[bytes, ...], last: object) -> object:
    """Run a command on a state, which changes; return its reply."""
    name, *args = (text_of(last) if word == LAST else word for word in words)
    if name == BLIND:
        reply = execute(state, tuple(args), last)
        return None if isinstance(reply, int) else reply
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
    if name[:1] == b"L" or name in (b"RPUSH", b"RPOP"):
        if value is not None and not isinstance(value, tuple):
            return WRONGTYPE
        return _list(state, place, value, name, args)
    if name[:1] == b"Z":
        return _ranked(state, place, value, name, args)
    if isinstance(value, tuple):
        return WRONGTYPE
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


def _put(state: State, place: tuple[int, bytes], elements: frozenset | tuple) -> None:
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


def _ranked(state, place, value, name, args) -> object:
    """A sorted set whose members all have the score 0, under a key that holds nothing else."""
    members = value or frozenset()
    ranked = sorted(members)
    if name == b"ZADD":
        given = frozenset(args[2::2])
        _put(state, place, members | given)
        return len(given - members)
    if name == b"ZRANGE":
        return ranked
    count = int(args[2]) + 1 if name == b"ZREMRANGEBYRANK" else int(args[1])
    _put(state, place, frozenset(ranked[count:]))
    if name == b"ZREMRANGEBYRANK":
        return min(count, len(ranked))
    return [word for member in ranked[:count] for word in (member, b"0")]


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


def _list(state, place, value, name, args) -> object:
    """Run a command on a list, `value` if it is there."""
    elements = list(value or ())
    given = args[1:]

    def at(index: int) -> int:
        return index + len(elements) if index < 0 else index

    if name in (b"LPUSH", b"RPUSH"):
        elements = [*reversed(given), *elements] if name == b"LPUSH" else elements + given
        reply: object = len(elements)
    elif name in (b"LPOP", b"RPOP"):
        count = int(given[0]) if given else 1
        taken = [elements.pop(0 if name == b"LPOP" else -1) for _ in elements[:count]]
        reply = taken if given and value else taken[0] if taken else None
    elif name == b"LLEN":
        return len(elements)
    elif name == b"LINDEX":
        index = at(int(given[0]))
        return elements[index] if 0 <= index < len(elements) else None
    elif name in (b"LRANGE", b"LTRIM"):
        span = elements[max(at(int(given[0])), 0) : max(at(int(given[1])) + 1, 0)]
        if name == b"LRANGE":
            return span
        elements, reply = span, b"OK"
    elif name == b"LSET":
        index = at(int(given[0]))
        if not 0 <= index < len(elements):
            return "ERR"
        elements[index], reply = given[1], b"OK"
    elif name == b"LPOS":
        return elements.index(given[0]) if given[0] in elements else None
    elif name == b"LREM":
        order = range(len(elements))[:: -1 if int(given[0]) < 0 else 1]
        equal = [i for i in order if elements[i] == given[1]][: abs(int(given[0])) or None]
        elements = [element for i, element in enumerate(elements) if i not in equal]
        reply = len(equal)
    elif name == b"LINSERT":
        if given[1] not in elements:
            return -1 if value else 0
        elements.insert(elements.index(given[1]) + (given[0] == b"AFTER"), given[2])
        reply = len(elements)
    else:
        return _move(state, place, elements, given)
    _put(state, place, tuple(elements))
    return reply


def _move(state, place, elements, given) -> object:
    """LMOVE from the elements at a place; given: the other key, and the two ends."""
    target = state.get((0, given[0]))
    if not elements:
        return None
    if target is not None and not isinstance(target, tuple):
        return WRONGTYPE
    moved = elements.pop(0 if given[1] == b"LEFT" else -1)
    _put(state, place, tuple(elements))
    target = state.get((0, given[0]), ())
    state[0, given[0]] = (moved, *target) if given[2] == b"LEFT" else (*target, moved)
    return moved


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
