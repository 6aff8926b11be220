"""What a client could see of a node, from the tip and the engine behind it: for comparisons."""

from dataclasses import dataclass

from kvnode._core import invariants, upkeep
from kvnode._core.tip import Tip
from kvnode.storage.engine import Engine

HEAD, CHUNK, FIELD = ord("H"), ord("C"), ord("F")
T_NONE, T_STRING, T_CHUNKED, T_LIST, T_HASH, T_SET, T_ZSET, T_RAW = 0, 1, 2, 3, 4, 5, 6, 15
PART_KINDS = {T_LIST: b"I", T_HASH: b"F", T_SET: b"M", T_ZSET: b"M"}
HAS_DEADLINE = 0x80
CHUNK_BYTES = 16 * 1024
PUT, DELETE = 1, 2

Meta = tuple[int, ...]  # length, head, tail, holes
Elements = tuple[tuple[bytes, int, bytes], ...]  # name or position, deadline, value


@dataclass(frozen=True)
class Value:
    """A string, or a collection by its type and elements. expire_at: ms, 0 = never."""

    data: bytes | tuple[int, Elements]
    flags: int
    expire_at: int


@dataclass(frozen=True)
class Contents:
    """databases: {db: {key: Value}}.   counts: {db: (keys, keys with a deadline)}."""

    databases: dict[int, dict[bytes, Value]]
    counts: dict[int, tuple[int, int]]


Record = tuple[int, int, int, bytes]  # type, flags, expire_at, data


def contents(tip: Tip, engine: Engine | None = None) -> Contents:
    """Return the newest state, committed or not.

    Raises AssertionError when the metadata of a collection are not those of its elements.
    """
    state = invariants.dump(tip)
    records = {}
    if engine is not None:
        for lo, hi in ((b"C", b"D"), (b"E", b"G"), (b"H", b"J"), (b"K", b"L"), (b"M", b"N")):
            records |= {key: decode(key, row) for key, row in engine.scan(lo, hi, 1 << 30)}
    for table in state["tables"].values():
        for key, (_, versions) in table["entries"].items():
            records[key] = versions[0][1:]
    parts = _by_owner(records)
    databases: dict[int, dict[bytes, Value]] = {}
    counts = {}
    for db, generation in enumerate(state["databases"]):
        table = state["tables"][HEAD, generation]
        counts[db] = table["keys"], table["volatile_keys"]
        heads = parts.get(bytes([HEAD]) + generation.to_bytes(8), {})
        databases[db] = {
            key[17:]: _value(record, records, parts, state["collections"])
            for key, record in heads.items()
            if record[0] != T_NONE
        }
    return Contents(databases, counts)


def decode(key: bytes, envelope: bytes) -> Record:
    """Return a record of LevelDB: type, flags, deadline, data."""
    value = upkeep.stored_value(envelope)
    if key[0] not in (HEAD, FIELD):
        return T_RAW, 0, 0, value
    type_, flags = value[0], value[1]
    if flags & HAS_DEADLINE:
        return type_, flags & ~HAS_DEADLINE, int.from_bytes(value[2:10]), value[10:]
    return type_, flags, 0, value[2:]


def _by_owner(records: dict[bytes, Record]) -> dict[bytes, dict[bytes, Record]]:
    """Return heads by their generation, parts of collections by kind and id."""
    parts: dict[bytes, dict[bytes, Record]] = {}
    for key, record in records.items():
        if key[:1] in b"EFHIM":
            parts.setdefault(key[:9], {})[key] = record
    return parts


def _value(
    record: Record,
    records: dict[bytes, Record],
    parts: dict[bytes, dict[bytes, Record]],
    metas: dict[int, Meta],
) -> Value:
    type_, flags, expire_at, data = record
    if type_ in PART_KINDS:
        meta = metas.get(int.from_bytes(data[:8]))
        meta = meta or stored_meta(data, parts.get(b"E" + data[:8], {}))
        own = parts.get(PART_KINDS[type_] + data[:8], {})
        return Value((type_, _elements(type_, data[:8], meta, own)), flags, expire_at)
    if type_ == T_CHUNKED:
        value_id, length = data[:8], int.from_bytes(data[8:])
        chunks = []
        for number in range(-(-length // CHUNK_BYTES)):
            chunk = records.get(b"C" + value_id + number.to_bytes(4))
            part = chunk[3] if chunk is not None and chunk[0] != T_NONE else b""
            chunks.append(part.ljust(CHUNK_BYTES, b"\0"))
        data = b"".join(chunks)[:length]
    else:
        assert type_ == T_STRING
    return Value(data, flags, expire_at)


def stored_meta(data: bytes, records: dict[bytes, Record]) -> Meta:
    """Return the metadata of a collection from its stored base and the deltas after it."""
    folded = int.from_bytes(data[8:16])
    meta = _read_meta(data, 16)
    for key, (type_, _, _, delta) in records.items():
        if key[:9] == b"E" + data[:8] and type_ != T_NONE and int.from_bytes(key[9:]) > folded:
            meta = tuple(a + b for a, b in zip(meta, _read_meta(delta, 8), strict=True))
    return meta


def _read_meta(data: bytes, at: int) -> Meta:
    numbers = []
    for _ in range(4):
        value, at = _varint(data, at)
        numbers.append(value >> 1 if not value & 1 else -(value >> 1) - 1)
    return tuple(numbers)


def _elements(type_: int, id_: bytes, meta: Meta, records: dict[bytes, Record]) -> Elements:
    prefix = PART_KINDS[type_] + id_
    skip = 9 if type_ == T_LIST else 17
    length, head, tail, holes = meta
    found = []
    for key, (kind, _, expire_at, data) in records.items():
        if not key.startswith(prefix) or kind == T_NONE:
            continue
        if type_ == T_LIST and not head <= int.from_bytes(key[9:]) - (1 << 63) < tail:
            continue
        found.append((key[skip:], expire_at, data))
    assert len(found) == length, f"{len(found)} elements, length {length}"
    assert type_ != T_LIST or tail - head - holes == length
    return tuple(sorted(found))


def replay(entries: list[tuple[int, bytes]], hash_key: bytes, *, mixed_until: int = 0) -> Tip:
    """Return a new tip to which the entries (commit_ts, payload) were applied.

    mixed_until: index up to which LevelDB may show effects already.
    """
    tip = Tip(hash_key, True)
    tip.mixed_until = mixed_until
    for commit_ts, payload in entries:
        tip.apply(payload, commit_ts)
        tip.durable = commit_ts
    tip.mixed_until = 0
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
    length, at = _varint(payload, at)
    return payload[at : at + length], at + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
