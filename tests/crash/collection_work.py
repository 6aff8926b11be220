"""Operations on one writer's collections, each with the reply that it must get.

Nobody else touches these keys, and the connection is one: so what a command does and answers
follows from the commands before it, also from those whose replies never came.
"""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from tests.crash.ledger import Operation, WriterLedger
from tests.crash.values import HASH, LIST, SET, ZSET, Collection, Value
from tests.support.resp import encode

KEYS = 12  # of any type
NAMES = 300  # of fields and members
SEVERAL_MAX = 6  # elements of most commands
MANY = 200  # of some: more than what is read with the head of its collection
LENGTH_MAX = 600  # a longer collection is deleted
LASTING_MS = 10_000_000
FLEETING_MS_MAX = 150
LONG_STEPS = 50_100  # elements: more than a command may look at on the sequencer
LONG_SET_MIN = 50  # members of a set that is named so often in a command
LONG_UNIONS_MAX = 3  # of a writer in a round
# Collections of all writers; each owns the elements that begin with its name.
SHARED = {SET: b"shared:set", HASH: b"shared:hash", ZSET: b"shared:zset"}
SHARED_NAMES = 40  # of each writer
TALLY = b"shared:tally"  # hash: pushes of each writer to the queue
QUEUE = b"shared:queue"
MORTAL_PREFIX = b"f~"  # of fields with a deadline that has passed when the server is back
ABSENT = Collection(b"none", ())


class Step(NamedTuple):
    """One command: its words, its reply, and values of the keys that it changes."""

    words: tuple
    reply: object
    changes: dict[bytes, Value | None]


class CollectionWork:
    """Makes operations. ledger: what it holds is what the commands so far led to."""

    def __init__(self, random: Random, ledger: WriterLedger) -> None:
        self.random = random
        self.ledger = ledger
        self.name = ledger.name.encode()
        self.has_transactions = True
        self.has_field_deadlines = True
        self.state = dict(ledger.baseline)
        self._unions_left = LONG_UNIONS_MAX
        self._steps = 0

    def next(self) -> Operation:
        """Return one command, or several as a transaction."""
        self._steps = 0
        chance = self.random.random()
        if chance < 0.02 and self._unions_left and (step := self._long_union()):
            return self._single(step)
        if chance < 0.1 and self.has_field_deadlines:
            return self._mortal()
        if chance < 0.25 and self.has_transactions:
            steps = [self._step() for _ in range(self.random.randint(2, 5))]
            request = b"".join(encode(*step.words) for step in steps)
            request = encode("MULTI") + request + encode("EXEC")
            changes = [change for step in steps for change in step.changes.items()]
            operation = Operation("EXEC", request, 2 + len(steps), effects(changes))
            operation.expected = [step.reply for step in steps]
            return operation
        return self._single(self._step())

    def push(self, count: int) -> tuple[Operation, list[bytes]]:
        """Return a push of new elements to the queue of all, and the elements."""
        elements = [self._element() for _ in range(count)]
        request = encode("RPUSH", QUEUE, *elements)
        if not self.has_transactions:
            return Operation("queue push", request, 1), elements
        place = TALLY + b"/" + self.name
        total = int(self.state.get(place, b"0")) + count
        self.state[place] = b"%d" % total
        request = encode("MULTI") + request + encode("HINCRBY", TALLY, self.name, count)
        request += encode("EXEC")
        return Operation("queue push", request, 4, effects([(place, b"%d" % total)])), elements

    def _single(self, step: Step) -> Operation:
        request = encode(*step.words)
        operation = Operation(step.words[0], request, 1, effects(list(step.changes.items())))
        operation.expected = step.reply
        return operation

    def _step(self) -> Step:
        chance = self.random.random()
        if chance < 0.2:
            step = self._shared()
        else:
            key = self._key()
            value = self.state.get(key)
            if value is None:
                makers = [self._push, self._hset, self._sadd, self._zadd]
                step = self.random.choice(makers)(key, ABSENT)
            elif chance < 0.3 or len(value.content) > LENGTH_MAX:
                step = self._change_key(key, value)
            else:
                step = self.random.choice(self._makers[value.type])(self, key, value)
        for key, value in step.changes.items():
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        return step

    # -- parts ----------------------------------------------------------------------------------

    def _key(self) -> bytes:
        return b"%s:any:%d" % (self.name, self.random.randrange(KEYS))

    def _element(self) -> bytes:
        """Return an element that no other command writes."""
        self._steps += 1
        stamp = b"%d:%s:%d:" % (self.ledger.next_sequence, self.name, self._steps)
        return stamp + b"x" * self.random.choice([0, 0, 10, 100])

    def _count(self) -> int:
        return MANY if self.random.random() < 0.03 else self.random.randint(1, SEVERAL_MAX)

    def _names(self) -> list[bytes]:
        count = self._count()
        return list({b"m%d" % self.random.randrange(NAMES): None for _ in range(count)})

    # -- keys -----------------------------------------------------------------------------------

    def _change_key(self, key: bytes, value: Collection) -> Step:
        target = self._key()
        choice = self.random.choice(["DEL", "RENAME", "PEXPIRE", "PERSIST", "COPY"])
        if len(value.content) > LENGTH_MAX:
            choice = "DEL"
        if choice == "RENAME" and target != key:
            return Step(("RENAME", key, target), b"OK", {key: None, target: value})
        if choice == "COPY" and target != key:
            return Step(("COPY", key, target, "REPLACE"), 1, {target: value})
        if choice == "PEXPIRE":
            changed = Collection(value.type, value.content, has_deadline=True)
            return Step(("PEXPIRE", key, LASTING_MS), 1, {key: changed})
        if choice == "PERSIST":
            changed = Collection(value.type, value.content)
            return Step(("PERSIST", key), int(value.has_deadline), {key: changed})
        return Step(("UNLINK" if self.random.random() < 0.5 else "DEL", key), 1, {key: None})

    def _long_union(self) -> Step | None:
        """SUNIONSTORE past the step budget, an optimistic transaction; None without large sets."""
        keys = sorted(
            key
            for key, value in self.state.items()
            if isinstance(value, Collection)
            and value.type == SET
            and len(value.content) >= LONG_SET_MIN
        )
        if not keys:
            return None
        self._unions_left -= 1
        key, other, target = self.random.choice(keys), self.random.choice(keys), self._key()
        members = self.state[key].content
        united = Collection(SET, members | self.state[other].content)
        self.state[target] = united
        words = ("SUNIONSTORE", target, other, *[key] * (LONG_STEPS // len(members) + 1))
        return Step(words, len(united.content), {target: united})

    # -- lists ----------------------------------------------------------------------------------

    def _push(self, key: bytes, value: Collection) -> Step:
        elements = tuple(self._element() for _ in range(self._count()))
        if self.random.random() < 0.5:
            changed = _with(value, LIST, (*value.content, *elements))
            return Step(("RPUSH", key, *elements), len(changed.content), {key: changed})
        changed = _with(value, LIST, (*reversed(elements), *value.content))
        return Step(("LPUSH", key, *elements), len(changed.content), {key: changed})

    def _pop(self, key: bytes, value: Collection) -> Step:
        is_left = self.random.random() < 0.5
        count = self.random.randint(1, SEVERAL_MAX)
        items = value.content if is_left else value.content[::-1]
        taken, rest = items[:count], items[count:]
        changed = _with(value, LIST, rest if is_left else rest[::-1])
        words = ("LPOP" if is_left else "RPOP", key, count)
        return Step(words, list(taken), {key: changed})

    def _blocking_pop(self, key: bytes, value: Collection) -> Step:
        changed = _with(value, LIST, value.content[1:])
        return Step(("BLPOP", key, 1), [key, value.content[0]], {key: changed})

    def _move(self, key: bytes, value: Collection) -> Step:
        target = self._key()
        other = self.state.get(target, ABSENT)
        if target == key or other.type not in (LIST, b"none"):
            return self._pop(key, value)
        element, rest = value.content[0], value.content[1:]
        changes = {key: _with(value, LIST, rest)}
        changes[target] = _with(other, LIST, (*other.content, element))
        if self.random.random() < 0.5:
            return Step(("LMOVE", key, target, "LEFT", "RIGHT"), element, changes)
        return Step(("BLMOVE", key, target, "LEFT", "RIGHT", 1), element, changes)

    def _remove(self, key: bytes, value: Collection) -> Step:
        element = self.random.choice(value.content)
        rest = list(value.content)
        rest.remove(element)
        return Step(("LREM", key, 1, element), 1, {key: _with(value, LIST, tuple(rest))})

    def _set_or_insert(self, key: bytes, value: Collection) -> Step:
        at = self.random.randrange(len(value.content))
        element, pivot = self._element(), value.content[at]
        items = list(value.content)
        if self.random.random() < 0.5:
            items[at] = element
            return Step(("LSET", key, at, element), b"OK", {key: _with(value, LIST, tuple(items))})
        items.insert(items.index(pivot), element)
        words = ("LINSERT", key, "BEFORE", pivot, element)
        return Step(words, len(items), {key: _with(value, LIST, tuple(items))})

    def _trim(self, key: bytes, value: Collection) -> Step:
        first, last = self.random.randrange(3), self.random.randrange(len(value.content))
        changed = _with(value, LIST, value.content[first : last + 1])
        return Step(("LTRIM", key, first, last), b"OK", {key: changed})

    # -- hashes ---------------------------------------------------------------------------------

    def _hset(self, key: bytes, value: Collection) -> Step:
        fields = {name: (self._element(), False) for name in self._names()}
        changed = _with(value, HASH, {**dict(value.content), **fields})
        words = [word for name, (data, _) in fields.items() for word in (name, data)]
        added = len(changed.content) - len(value.content)
        return Step(("HSET", key, *words), added, {key: changed})

    def _hincrby(self, key: bytes, value: Collection) -> Step:
        amount = self.random.randint(-50, 50)
        old, has_deadline = value.content.get(b"n", (b"0", False))
        total = int(old) + amount
        changed = _with(value, HASH, {**value.content, b"n": (b"%d" % total, has_deadline)})
        return Step(("HINCRBY", key, "n", amount), total, {key: changed})

    def _hdel(self, key: bytes, value: Collection) -> Step:
        names = self._some(value)
        rest = {name: data for name, data in value.content.items() if name not in names}
        return Step(("HDEL", key, *names), len(names), {key: _with(value, HASH, rest)})

    def _hexpire(self, key: bytes, value: Collection) -> Step:
        if not self.has_field_deadlines:
            return self._hset(key, value)
        name = self.random.choice(list(value.content))
        data, had = value.content[name]
        has_deadline = self.random.random() < 0.7
        changed = _with(value, HASH, {**value.content, name: (data, has_deadline)})
        if has_deadline:
            words = ("HPEXPIRE", key, LASTING_MS, "FIELDS", 1, name)
            return Step(words, [1], {key: changed})
        return Step(("HPERSIST", key, "FIELDS", 1, name), [1 if had else -1], {key: changed})

    def _mortal(self) -> Operation:
        """Fields whose deadlines pass, among others that stay."""
        key = self.name + b":mortal:0"
        name, mortal = b"m%d" % self.random.randrange(5), MORTAL_PREFIX + self._element()
        data = self._element()
        old = self.state.get(key, ABSENT)
        self.state[key] = _with(old, HASH, {**dict(old.content), name: (data, False)})
        request = encode("HSET", key, name, data, mortal, "1")
        deadline = self.random.randint(20, FLEETING_MS_MAX)
        request += encode("HPEXPIRE", key, deadline, "FIELDS", 1, mortal)
        if self.has_transactions:
            request = encode("MULTI") + request + encode("EXEC")
        replies = 4 if self.has_transactions else 2
        return Operation("HPEXPIRE", request, replies, effects([(key, self.state[key])]))

    # -- sets and sorted sets -------------------------------------------------------------------

    def _some(self, value: Collection) -> list[bytes]:
        return self.random.sample(sorted(value.content), min(len(value.content), self._count()))

    def _sadd(self, key: bytes, value: Collection) -> Step:
        names = self._names()
        changed = _with(value, SET, frozenset(value.content).union(names))
        added = len(changed.content) - len(value.content)
        return Step(("SADD", key, *names), added, {key: changed})

    def _srem(self, key: bytes, value: Collection) -> Step:
        names = self._some(value)
        return Step(
            ("SREM", key, *names), len(names), {key: _with(value, SET, value.content - {*names})}
        )

    def _smove(self, key: bytes, value: Collection) -> Step:
        target = self._key()
        other = self.state.get(target, ABSENT)
        if target == key or other.type not in (SET, b"none"):
            return self._srem(key, value)
        member = self.random.choice(sorted(value.content))
        changes = {key: _with(value, SET, value.content - {member})}
        changes[target] = _with(other, SET, frozenset(other.content) | {member})
        return Step(("SMOVE", key, target, member), 1, changes)

    def _union(self, key: bytes, value: Collection) -> Step:
        target, other_key = self._key(), self._key()
        other = self.state.get(other_key, ABSENT)
        if other.type not in (SET, b"none"):
            return self._sadd(key, value)
        united = Collection(SET, value.content.union(other.content))
        return Step(("SUNIONSTORE", target, key, other_key), len(united.content), {target: united})

    def _zadd(self, key: bytes, value: Collection) -> Step:
        scores = {name: float(self.random.randint(-99, 99)) for name in self._names()}
        changed = _with(value, ZSET, {**dict(value.content), **scores})
        words = [word for name, score in scores.items() for word in (int(score), name)]
        added = len(changed.content) - len(value.content)
        return Step(("ZADD", key, *words), added, {key: changed})

    def _zincrby(self, key: bytes, value: Collection) -> Step:
        name, amount = b"m%d" % self.random.randrange(NAMES), self.random.randint(-50, 50)
        score = value.content.get(name, 0.0) + amount
        changed = _with(value, ZSET, {**value.content, name: score})
        return Step(("ZINCRBY", key, amount, name), b"%d" % score, {key: changed})

    def _zrem(self, key: bytes, value: Collection) -> Step:
        names = self._some(value)
        rest = {name: score for name, score in value.content.items() if name not in names}
        return Step(("ZREM", key, *names), len(names), {key: _with(value, ZSET, rest)})

    def _zpop(self, key: bytes, value: Collection) -> Step:
        order = sorted((score, name) for name, score in value.content.items())
        score, name = order[0]
        rest = {other: data for other, data in value.content.items() if other != name}
        changes = {key: _with(value, ZSET, rest)}
        if self.random.random() < 0.5:
            return Step(("ZPOPMIN", key), [name, b"%d" % score], changes)
        return Step(("BZPOPMIN", key, 1), [key, name, b"%d" % score], changes)

    # -- collections of all writers -------------------------------------------------------------

    def _shared(self) -> Step:
        """Change an element that this writer owns."""
        type_ = self.random.choice(list(SHARED))
        key, name = SHARED[type_], b"%s:%d" % (self.name, self.random.randrange(SHARED_NAMES))
        place = key + b"/" + name
        old = self.state.get(place)
        if old is not None and self.random.random() < 0.4:
            command = {SET: "SREM", HASH: "HDEL", ZSET: "ZREM"}[type_]
            return Step((command, key, name), 1, {place: None})
        if type_ == SET:
            return Step(("SADD", key, name), int(old is None), {place: b""})
        total = int(old or b"0") + self.random.randint(1, 50)
        amount = total - int(old or b"0")
        new = b"%d" % total
        if type_ == HASH:
            return Step(("HINCRBY", key, name, amount), total, {place: new})
        return Step(("ZINCRBY", key, amount, name), new, {place: new})

    _makers = {
        LIST: [_push, _push, _pop, _blocking_pop, _move, _remove, _set_or_insert, _trim],
        HASH: [_hset, _hset, _hincrby, _hdel, _hexpire],
        SET: [_sadd, _sadd, _srem, _smove, _union],
        ZSET: [_zadd, _zadd, _zincrby, _zrem, _zpop],
    }


def _with(value: Collection, type_: bytes, content: tuple | dict | frozenset) -> Collection | None:
    """Return the value with other content; None when nothing is left."""
    return Collection(type_, content, value.has_deadline) if content else None


def effects(changes: list[tuple[bytes, Value | None]]) -> list[tuple[bytes, Callable]]:
    """Return the effects that give keys these values."""
    return [(key, lambda _, value=value: value) for key, value in changes]
