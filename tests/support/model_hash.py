"""The model's hashes: fields with values and, perhaps, deadlines of their own.

A field past its deadline is absent for every command; Redis lets HLEN count it until it is deleted.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tests.support.model_keyspace import Client, Mortal
from tests.support.model_parsing import (
    LLONG_MAX,
    LLONG_MIN,
    CommandFailure,
    glob_expression,
    parse_integer,
    parse_random_count,
    parse_scan,
)
from tests.support.model_types import TypedKeyspace
from tests.support.resp import Reply, ReplyPairs, Status

FIELD_DEADLINE_MS_MAX = 2**46 - 1
INT_MAX = 2**31 - 1
NO_FIELD, NO_DEADLINE, REFUSED, DONE, DELETED = -2, -1, 0, 1, 2
POSITIVE = re.compile(rb"[1-9][0-9]*")
UNITS_MS = {b"ex": 1000, b"px": 1, b"exat": 1000, b"pxat": 1}


@dataclass(frozen=True)
class Field:
    """What a field holds. deadline_ms: Unix time, None without one."""

    value: bytes
    deadline_ms: int | None = None


class Hash(Mortal, dict[bytes, Field]):
    """Fields by name."""

    def live(self, now_ms: int) -> "Hash":
        """Return the fields that are not past their deadline."""
        return Hash(
            (name, field)
            for name, field in self.items()
            if field.deadline_ms is None or field.deadline_ms >= now_ms
        )

    def values_of(self, names: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each of several fields, None for an absent one."""
        return [self[name].value if name in self else None for name in names]

    def with_values(self, pairs: Sequence[tuple[bytes, bytes]]) -> "Hash":
        """Return the hash with fields set; their deadlines are gone."""
        return Hash({**self, **{name: Field(value) for name, value in pairs}})

    def without(self, names: Sequence[bytes]) -> "Hash":
        """Return the hash without some fields."""
        return Hash((name, field) for name, field in self.items() if name not in names)


def look(model: TypedKeyspace, client: Client, key: bytes) -> Hash:
    """Return the hash at `key`, an empty one when it is absent. Raises CommandFailure."""
    found = model.typed(client, key, Hash, Hash())
    assert isinstance(found, Hash)
    return found


# Contents


def _pairs(words: Sequence[bytes], name: str) -> list[tuple[bytes, bytes]]:
    if len(words) % 2:
        raise CommandFailure(f"ERR wrong number of arguments for '{name}' command")
    return list(zip(words[::2], words[1::2], strict=True))


def _set(
    model: TypedKeyspace, client: Client, key: bytes, words: Sequence[bytes], name: str
) -> int:
    pairs = _pairs(words, name)
    old = look(model, client, key)
    new = old.with_values(pairs)
    model.put(client, key, new)
    return len(new) - len(old)


def hset(model: TypedKeyspace, client: Client, key: bytes, *words: bytes) -> Reply:
    return _set(model, client, key, words, "hset")


def hmset(model: TypedKeyspace, client: Client, key: bytes, *words: bytes) -> Reply:
    _set(model, client, key, words, "hmset")
    return Status(b"OK")


def hsetnx(model: TypedKeyspace, client: Client, key: bytes, name: bytes, value: bytes) -> Reply:
    old = look(model, client, key)
    if name in old:
        return 0
    model.put(client, key, old.with_values([(name, value)]))
    return 1


def hget(model: TypedKeyspace, client: Client, key: bytes, name: bytes) -> Reply:
    return look(model, client, key).values_of([name])[0]


def hmget(model: TypedKeyspace, client: Client, key: bytes, *names: bytes) -> Reply:
    return look(model, client, key).values_of(names)


def hgetall(model: TypedKeyspace, client: Client, key: bytes) -> Reply:
    return {name: field.value for name, field in look(model, client, key).items()}


def hkeys(model: TypedKeyspace, client: Client, key: bytes) -> Reply:
    return list(look(model, client, key))


def hvals(model: TypedKeyspace, client: Client, key: bytes) -> Reply:
    return [field.value for field in look(model, client, key).values()]


def hlen(model: TypedKeyspace, client: Client, key: bytes) -> Reply:
    return len(look(model, client, key))


def hexists(model: TypedKeyspace, client: Client, key: bytes, name: bytes) -> Reply:
    return int(name in look(model, client, key))


def hstrlen(model: TypedKeyspace, client: Client, key: bytes, name: bytes) -> Reply:
    return len(look(model, client, key).values_of([name])[0] or b"")


def hdel(model: TypedKeyspace, client: Client, key: bytes, *names: bytes) -> Reply:
    old = look(model, client, key)
    new = old.without(names)
    if len(new) < len(old):
        model.put(client, key, new)
    return len(old) - len(new)


def hincrby(model: TypedKeyspace, client: Client, key: bytes, name: bytes, amount: bytes) -> Reply:
    increment = parse_integer(amount)
    old = look(model, client, key)
    field = old.get(name, Field(b"0"))
    result = parse_integer(field.value, "ERR hash value is not an integer") + increment
    if not LLONG_MIN <= result <= LLONG_MAX:
        raise CommandFailure("ERR increment or decrement would overflow")
    model.put(client, key, Hash({**old, name: replace(field, value=b"%d" % result)}))
    return result


def hrandfield(model: TypedKeyspace, client: Client, key: bytes, *words: bytes) -> Reply:
    """Return the first fields: a choice as good as any other."""
    count = parse_random_count(words[0]) if words else 1
    if len(words) > 2 or (len(words) == 2 and words[1].lower() != b"withvalues"):
        raise CommandFailure("ERR syntax error")
    if len(words) == 2 and not -LLONG_MAX // 2 < count <= LLONG_MAX // 2:
        raise CommandFailure("ERR value is out of range")
    fields = list(look(model, client, key).items())
    if not words:
        return fields[0][0] if fields else None
    chosen = fields[:count] if count >= 0 else (fields[:1] * -count)
    if len(words) == 2:
        return ReplyPairs((name, field.value) for name, field in chosen)
    return [name for name, _ in chosen]


def hscan(model: TypedKeyspace, client: Client, key: bytes, *words: bytes) -> Reply:
    """Return all fields at once, as a small hash does."""
    found = look(model, client, key) if words[0] == b"0" else None
    scan = parse_scan(words, is_absent=found is not None and not found, has_novalues=True)
    matches = glob_expression(scan.pattern).fullmatch
    assert found is not None, "only whole scans are asked of the model"
    pairs = [(name, field.value) for name, field in found.items() if matches(name)]
    items = [name for name, _ in pairs] if scan.is_novalues else [x for pair in pairs for x in pair]
    return [b"0", items]


# Deadlines of fields

Change = Callable[[Hash, bytes], tuple[Hash, int]]  # of one field: the new hash, and a code


def _deadline_ms(amount: bytes, unit_ms: int, base_ms: int, name: str) -> int:
    number = parse_integer(amount)
    if number < 0:
        raise CommandFailure("ERR invalid expire time, must be >= 0")
    if number * unit_ms + base_ms > FIELD_DEADLINE_MS_MAX:
        raise CommandFailure(f"ERR invalid expire time in '{name}' command")
    return number * unit_ms + base_ms


def _fields(words: Sequence[bytes], bad_number: str) -> Sequence[bytes]:
    """Return the names behind FIELDS and their number. Raises CommandFailure."""
    if words[0].lower() != b"fields":
        text = "ERR Mandatory argument FIELDS is missing or not at the right position"
        raise CommandFailure(text)
    if not POSITIVE.fullmatch(words[1]) or int(words[1]) > LLONG_MAX:
        raise CommandFailure(bad_number)
    if int(words[1]) != len(words) - 2:
        raise CommandFailure("ERR The `numfields` parameter must match the number of arguments")
    return words[2:]


BAD_NUMBER = "ERR Number of fields must be a positive integer"
BAD_EXPIRE_NUMBER = "ERR Parameter `numFields` should be greater than 0"


def _each(
    model: TypedKeyspace, client: Client, key: bytes, names: Sequence[bytes], change: Change
) -> list[int]:
    """Change fields one after another, write the hash if it is another one, return the codes."""
    old = new = look(model, client, key)
    codes = []
    for name in names:
        if name in new:
            new, code = change(new, name)
        else:
            code = NO_FIELD
        codes.append(code)
    if new is not old:
        model.put(client, key, new)
    return codes


def _with_deadline(now_ms: int, deadline_ms: int, condition: bytes = b"") -> Change:
    """Return the change that gives a field a deadline, or deletes it if that has passed."""

    def change(found: Hash, name: bytes) -> tuple[Hash, int]:
        old = found[name].deadline_ms
        refused = {
            b"nx": old is not None,
            b"xx": old is None,
            b"gt": old is None or deadline_ms <= old,
            b"lt": old is not None and deadline_ms >= old,
        }
        if refused.get(condition, False):
            return found, REFUSED
        if deadline_ms <= now_ms:
            return found.without([name]), DELETED
        field = replace(found[name], deadline_ms=deadline_ms)
        return Hash({**found, name: field}), DONE

    return change


def _persist(found: Hash, name: bytes) -> tuple[Hash, int]:
    if found[name].deadline_ms is None:
        return found, NO_DEADLINE
    return Hash({**found, name: Field(found[name].value)}), DONE


def _expire(unit_ms: int, is_absolute: bool, command_name: str) -> Callable[..., Reply]:
    def command(
        model: TypedKeyspace, client: Client, key: bytes, amount: bytes, *words: bytes
    ) -> Reply:
        look(model, client, key)  # the type comes before the arguments
        base_ms = 0 if is_absolute else model.now_ms()
        deadline_ms = _deadline_ms(amount, unit_ms, base_ms, command_name)
        condition = words[0].lower() if words[0].lower() in (b"nx", b"xx", b"gt", b"lt") else b""
        names = _fields(words[1:] if condition else words, BAD_EXPIRE_NUMBER)
        change = _with_deadline(model.now_ms(), deadline_ms, condition)
        return _each(model, client, key, names, change)

    return command


def _ttl(unit_ms: int, is_absolute: bool) -> Callable[..., Reply]:
    def command(model: TypedKeyspace, client: Client, key: bytes, *words: bytes) -> Reply:
        found = look(model, client, key)
        base_ms = 0 if is_absolute else model.now_ms()

        def left(name: bytes) -> int:
            if name not in found:
                return NO_FIELD
            deadline_ms = found[name].deadline_ms
            if deadline_ms is None:
                return NO_DEADLINE
            return -((base_ms - deadline_ms) // unit_ms)  # rounded up

        return [left(name) for name in _fields(words, BAD_NUMBER)]

    return command


def hpersist(model: TypedKeyspace, client: Client, key: bytes, *words: bytes) -> Reply:
    look(model, client, key)
    return _each(model, client, key, _fields(words, BAD_NUMBER), _persist)


def hgetdel(model: TypedKeyspace, client: Client, key: bytes, *words: bytes) -> Reply:
    found = look(model, client, key)
    names = _fields(words, BAD_NUMBER)
    replies = []
    for name in names:
        replies += found.values_of([name])
        found = found.without([name])
    hdel(model, client, key, *names)
    return replies


def hgetex(model: TypedKeyspace, client: Client, key: bytes, *words: bytes) -> Reply:
    found = look(model, client, key)
    option = words[0].lower()
    change: Change = lambda same, name: (same, DONE)  # noqa: E731
    rest = words
    if option in UNITS_MS:
        base_ms = 0 if option.endswith(b"at") else model.now_ms()
        deadline_ms = _deadline_ms(words[1], UNITS_MS[option], base_ms, "hgetex")
        change, rest = _with_deadline(model.now_ms(), deadline_ms), words[2:]
    elif option == b"persist":
        change, rest = _persist, words[1:]
    names = _fields(rest, BAD_NUMBER)
    codes = _each(model, client, key, names, change)
    values = found.values_of(names)
    return [None if code == NO_FIELD else value for value, code in zip(values, codes, strict=True)]


def hsetex(model: TypedKeyspace, client: Client, key: bytes, *words: bytes) -> Reply:
    wrong_number = CommandFailure("ERR wrong number of arguments for 'hsetex' command")
    deadline_ms, condition, is_keepttl = None, b"", False
    rest = list(words)
    while rest[0].lower() != b"fields":
        word = rest.pop(0)
        option = word.lower()
        if option in UNITS_MS or option == b"keepttl":
            if deadline_ms is not None or is_keepttl:
                text = "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"
                raise CommandFailure(text)
            if option == b"keepttl":
                is_keepttl = True
            elif not rest:
                raise CommandFailure("ERR missing expire time")
            else:
                base_ms = 0 if option.endswith(b"at") else model.now_ms()
                deadline_ms = _deadline_ms(rest.pop(0), UNITS_MS[option], base_ms, "hsetex")
        elif option in (b"fnx", b"fxx"):
            if condition:
                raise CommandFailure("ERR Only one of FXX or FNX arguments can be specified")
            condition = option
        else:
            raise CommandFailure(f"ERR unknown argument: {word.decode('latin-1')}")
    if len(rest) < 4:
        raise wrong_number
    if not POSITIVE.fullmatch(rest[1]) or int(rest[1]) > INT_MAX:
        raise CommandFailure("ERR invalid number of fields")
    if len(rest) != 2 + 2 * int(rest[1]):
        raise wrong_number
    pairs = _pairs(rest[2:], "hsetex")
    old = look(model, client, key)
    known = [name in old for name, _ in pairs]
    if (condition == b"fnx" and any(known)) or (condition == b"fxx" and not all(known)):
        return 0
    new = old.with_values(pairs)
    for name, value in pairs:
        if is_keepttl and name in old:
            new[name] = Field(value, old[name].deadline_ms)
        elif deadline_ms is not None:
            new[name] = Field(value, deadline_ms)
    model.put(client, key, new if deadline_ms is None else new.live(model.now_ms() + 1))
    return 1


# Name: (function, arity); negative for at least so many words, the name included.
COMMANDS: dict[bytes, tuple[Callable[..., Reply], int]] = {
    b"hdel": (hdel, -3),
    b"hexists": (hexists, 3),
    b"hexpire": (_expire(1000, False, "hexpire"), -6),
    b"hexpireat": (_expire(1000, True, "hexpireat"), -6),
    b"hexpiretime": (_ttl(1000, True), -5),
    b"hget": (hget, 3),
    b"hgetall": (hgetall, 2),
    b"hgetdel": (hgetdel, -5),
    b"hgetex": (hgetex, -5),
    b"hincrby": (hincrby, 4),
    b"hkeys": (hkeys, 2),
    b"hlen": (hlen, 2),
    b"hmget": (hmget, -3),
    b"hmset": (hmset, -4),
    b"hpersist": (hpersist, -5),
    b"hpexpire": (_expire(1, False, "hpexpire"), -6),
    b"hpexpireat": (_expire(1, True, "hpexpireat"), -6),
    b"hpexpiretime": (_ttl(1, True), -5),
    b"hpttl": (_ttl(1, False), -5),
    b"hrandfield": (hrandfield, -2),
    b"hscan": (hscan, -3),
    b"hset": (hset, -4),
    b"hsetex": (hsetex, -6),
    b"hsetnx": (hsetnx, 4),
    b"hstrlen": (hstrlen, 3),
    b"httl": (_ttl(1000, False), -5),
    b"hvals": (hvals, 2),
}
