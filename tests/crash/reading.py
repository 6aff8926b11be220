"""Reads the whole contents of a server, and says what no server may hold."""

from dataclasses import replace
from itertools import pairwise

from tests.crash.collection_work import FLEETING_MS_MAX, LASTING_MS, MORTAL_PREFIX
from tests.crash.values import HASH, LIST, SET, ZSET, Collection, State, is_hash
from tests.support.resp import Connection, encode

LASTING, FLEETING = range(1, LASTING_MS + 1), range(-2, FLEETING_MS_MAX)  # what PTTL may say
READERS = {
    LIST: (("LRANGE", 0, -1), ("LLEN",)),
    HASH: (("HGETALL",), ("HLEN",)),
    SET: (("SMEMBERS",), ("SCARD",)),
    ZSET: (("ZRANGE", 0, -1, "WITHSCORES"), ("ZCARD",)),
}


def read_all(
    connection: Connection, databases: int, *, has_field_deadlines: bool
) -> tuple[State, list[str]]:
    """Return every key of every database with its value, and what is wrong with the deadlines."""
    state: State = {}
    wrong: list[str] = []
    for database in range(databases):
        connection.call("SELECT", database)
        keys = _read_keys(connection)
        found, inconsistent = _read_values(connection, [k for k in keys if not _is_fleeting(k)])
        wrong += inconsistent + _check_deadlines(connection, keys, found)
        if has_field_deadlines:
            wrong += _check_field_deadlines(connection, found)
        state |= found
    return state, wrong


def _is_fleeting(key: bytes) -> bool:
    return key.split(b":")[1] == b"fleeting"


def _read_keys(connection: Connection) -> list[bytes]:
    found: set[bytes] = set()
    cursor = b"0"
    while True:
        cursor, part = connection.call("SCAN", cursor, "COUNT", 100)
        found.update(part)
        if cursor == b"0":
            return sorted(found)


def _check_deadlines(connection: Connection, keys: list[bytes], state: State) -> list[str]:
    """Compare the deadlines of strings with what their names say; note those of collections."""
    expected = {b"lasting": LASTING, b"fleeting": FLEETING}
    connection.send(b"".join(encode("PTTL", key) for key in keys))
    wrong = []
    for key in keys:
        left_ms = connection.receive()
        value = state.get(key)
        if isinstance(value, Collection) and left_ms in LASTING:
            state[key] = replace(value, has_deadline=True)
        elif left_ms not in expected.get(key.split(b":")[1], [-1]):
            wrong.append(f"{key.decode()}: PTTL is {left_ms}")
    return wrong


def _check_field_deadlines(connection: Connection, state: State) -> list[str]:
    """Note the deadlines of fields, and leave out fields whose deadlines are short."""
    wrong = []
    fields: dict[bytes, dict] = {key: {} for key, value in state.items() if is_hash(value)}
    for (key, name), left_ms in _read_field_deadlines(connection, state).items():
        if name.startswith(MORTAL_PREFIX):
            if left_ms not in FLEETING:
                wrong.append(f"{key.decode()}: HPTTL of {name.decode()} is {left_ms}")
            continue
        if left_ms != -1 and left_ms not in LASTING:
            wrong.append(f"{key.decode()}: HPTTL of {name.decode()} is {left_ms}")
        fields[key][name] = (state[key].content[name][0], left_ms > 0)
    for key, content in fields.items():
        if content:
            state[key] = replace(state[key], content=content)
        else:
            del state[key]
    return wrong


def _read_values(connection: Connection, keys: list[bytes]) -> tuple[State, list[str]]:
    """Return the values of keys of the chosen database, and what no collection may look like.

    Absent keys are left out. A collection has no deadline yet, its fields neither: the caller
    knows which to expect.
    """
    types = _pipeline(connection, [("TYPE", key) for key in keys])
    state: State = {}
    strings = [key for key, type_ in zip(keys, types, strict=True) if type_ == b"string"]
    if strings:
        values = connection.call("MGET", *strings)
        state |= {k: value for k, value in zip(strings, values, strict=True) if value is not None}
    others = [(key, type_) for key, type_ in zip(keys, types, strict=True) if type_ in READERS]
    requests = [(name, key, *rest) for key, type_ in others for name, *rest in READERS[type_]]
    replies = iter(_pipeline(connection, requests))
    wrong = []
    for key, type_ in others:
        elements, length = next(replies), next(replies)
        if not elements and not length:
            continue  # its deadline passed meanwhile
        content = _content(type_, elements)
        found = len(elements) // (2 if type_ in (HASH, ZSET) else 1)
        if len(content) != found:
            wrong.append(f"{key.decode()}: the {type_.decode()} holds an element twice")
        if length != found:
            wrong.append(f"{key.decode()}: its length is {length}, it has {found} elements")
        if type_ == ZSET and not _is_ordered(content):
            wrong.append(f"{key.decode()}: members are out of order")
        state[key] = Collection(type_, content)
    return state, wrong


def _read_field_deadlines(connection: Connection, state: State) -> dict[tuple[bytes, bytes], int]:
    """Return ms left of each field of each hash in `state`, -1 without a deadline, -2 if gone."""
    fields = {key: list(value.content) for key, value in state.items() if is_hash(value)}
    requests = [("HPTTL", key, "FIELDS", len(part), *part) for key, part in fields.items()]
    replies = zip(fields.items(), _pipeline(connection, requests), strict=True)
    return {
        (key, name): left_ms
        for (key, part), lefts in replies
        for name, left_ms in zip(part, lefts or [-2] * len(part), strict=True)
    }


def _pipeline(connection: Connection, requests: list[tuple]) -> list:
    connection.send(b"".join(encode(*request) for request in requests))
    return [connection.receive() for _ in requests]


def _content(type_: bytes, elements: list[bytes]) -> tuple | dict | frozenset:
    if type_ == LIST:
        return tuple(elements)
    if type_ == SET:
        return frozenset(elements)
    pairs = zip(elements[::2], elements[1::2], strict=True)
    if type_ == HASH:
        return {name: (value, False) for name, value in pairs}
    return {member: float(score) for member, score in pairs}


def _is_ordered(scores: dict[bytes, float]) -> bool:
    order = [(score, member) for member, score in scores.items()]
    return all(before < after for before, after in pairwise(order))
