"""What a client could see of a node, from the tip and the engine behind it: for comparisons."""

from dataclasses import dataclass

from kvnode._core import invariants, upkeep
from kvnode._core.tip import Tip
from kvnode.storage.engine import Engine

HEAD, CHUNK = ord("H"), ord("C")
T_NONE, T_STRING, T_CHUNKED, T_RAW = 0, 1, 2, 15
HAS_DEADLINE = 0x80
CHUNK_BYTES = 16 * 1024
PUT, DELETE = 1, 2


@dataclass(frozen=True)
class Value:
    """A string. expire_at: ms, 0 = never."""

    data: bytes
    flags: int
    expire_at: int


@dataclass(frozen=True)
class Contents:
    """databases: {db: {key: Value}}.   counts: {db: (keys, keys with a deadline)}."""

    databases: dict[int, dict[bytes, Value]]
    counts: dict[int, tuple[int, int]]


Record = tuple[int, int, int, bytes]  # type, flags, expire_at, data


def contents(tip: Tip, engine: Engine | None = None) -> Contents:
    """Return the newest state, committed or not."""
    state = invariants.dump(tip)
    records = {}
    if engine is not None:
        records |= {key: _decode(key, row) for key, row in engine.scan(b"C", b"I", 1 << 30)}
    for table in state["tables"].values():
        for key, (_, versions) in table["entries"].items():
            records[key] = versions[0][1:]
    databases: dict[int, dict[bytes, Value]] = {}
    counts = {}
    for db, generation in enumerate(state["databases"]):
        table = state["tables"][HEAD, generation]
        counts[db] = table["keys"], table["volatile_keys"]
        prefix = bytes([HEAD]) + generation.to_bytes(8)
        databases[db] = {
            key[17:]: _value(record, records)
            for key, record in records.items()
            if key.startswith(prefix) and record[0] != T_NONE
        }
    return Contents(databases, counts)


def _decode(key: bytes, envelope: bytes) -> Record:
    value = upkeep.stored_value(envelope)
    if key[0] != HEAD:
        return T_RAW, 0, 0, value
    type_, flags = value[0], value[1]
    if flags & HAS_DEADLINE:
        return type_, flags & ~HAS_DEADLINE, int.from_bytes(value[2:10]), value[10:]
    return type_, flags, 0, value[2:]


def _value(record: Record, records: dict[bytes, Record]) -> Value:
    type_, flags, expire_at, data = record
    if type_ == T_CHUNKED:
        value_id, length = data[:8], int.from_bytes(data[8:])
        parts = []
        for number in range(-(-length // CHUNK_BYTES)):
            chunk = records.get(b"C" + value_id + number.to_bytes(4))
            part = chunk[3] if chunk is not None and chunk[0] != T_NONE else b""
            parts.append(part.ljust(CHUNK_BYTES, b"\0"))
        data = b"".join(parts)[:length]
    else:
        assert type_ == T_STRING
    return Value(data, flags, expire_at)


def replay(entries: list[tuple[int, bytes]], hash_key: bytes) -> Tip:
    """Return a new tip to which the entries (commit_ts, payload) were applied."""
    tip = Tip(hash_key, True)
    for commit_ts, payload in entries:
        tip.replay(payload, commit_ts)
        tip.durable = commit_ts
    return tip


def operations(payload: bytes) -> list[tuple[int, bytes, bytes | None]]:
    """Return the operations of an entry: (PUT or DELETE, record key, value or None)."""
    found: list[tuple[int, bytes, bytes | None]] = []
    at = 0
    while at < len(payload):
        op = payload[at]
        key, at = _counted(payload, at + 1)
        value = None
        if op == PUT:
            value, at = _counted(payload, at)
        found.append((op, key, value))
    return found


def _counted(payload: bytes, at: int) -> tuple[bytes, int]:
    length = shift = 0
    while True:
        byte = payload[at]
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return payload[at : at + length], at + length
