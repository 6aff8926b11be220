"""This node's own facts in LevelDB: never in the log, never the same on two nodes.

Lformat      version u32         refused unless it is FORMAT_VERSION
Lidentity    16 bytes            of this data directory
Lhashkey     16 bytes            keys the hash of user keys
Lcheckpoint  index, term, commit_ts, next id: u64 each
Lhighest     index u64           of the newest entry that any row may be an effect of
Lgroup       16 bytes            id of the group; absent: this node never was in one with others
Lfounders    raft/wire.py        the members with whom this directory founds its group, if it does
Lmembership  raft/wire.py        the membership as of the checkpoint; absent: a group of one
"""

import struct
from dataclasses import dataclass, replace

from kvnode._core.keys import LOCAL, kind_bounds, local_key
from kvnode.base.errors import CorruptionError, FormatError
from kvnode.storage.engine import Engine, Reader, Row

FORMAT_VERSION = 2  # of LevelDB's rows and of the log's payloads. On disk: DO NOT CHANGE

IDENTITY_BYTES = 16
HASH_KEY_BYTES = 16
GROUP_BYTES = 16

_FORMAT = local_key(b"format")
_IDENTITY = local_key(b"identity")
_HASH_KEY = local_key(b"hashkey")
_CHECKPOINT = local_key(b"checkpoint")
_HIGHEST = local_key(b"highest")
_GROUP = local_key(b"group")
_MEMBERSHIP = local_key(b"membership")
_FOUNDERS = local_key(b"founders")

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_RECORD = struct.Struct(">QQQQ")


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the log. commit_ts: the highest of all entries up to it."""

    index: int
    term: int
    commit_ts: int


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """LevelDB has every effect up to `at`; the log before it is not needed."""

    at: Position
    next_id: int  # first unused id of generations and values, as known at `at`
    membership: bytes = b""  # as of `at`, see raft/wire.py; b"": a group of one

    def rows(self) -> list[Row]:
        """Return the rows that store it, for one write."""
        at = self.at
        record = _RECORD.pack(at.index, at.term, at.commit_ts, self.next_id)
        rows: list[Row] = [(_CHECKPOINT, record)]
        if self.membership:
            rows.append((_MEMBERSHIP, self.membership))
        return rows


NO_CHECKPOINT = CheckpointRecord(Position(0, 0, 0), 1)


class HighWater:
    """H, the newest entry whose effects any row may show: every write of effects carries its row.

    An image of the store is readable only when entries up to H have been applied to it, because
    rows of up to H lie beside rows of much older entries.
    """

    def __init__(self, index: int) -> None:
        self.index = index

    def row(self, index: int) -> Row:
        """Return the row for a write with effects of entries up to `index`."""
        self.index = max(self.index, index)
        return _HIGHEST, _U64.pack(self.index)


@dataclass(frozen=True, slots=True)
class LocalFacts:
    """What a start finds."""

    identity: bytes
    hash_key: bytes
    checkpoint: CheckpointRecord
    highest_index: int
    is_fresh: bool  # made by this start
    group: bytes = b""  # b"": never in a group with others
    founders: bytes = b""  # b"": it has founded none


def open_facts(engine: Engine, *, identity: bytes, hash_key: bytes) -> LocalFacts:
    """Read this node's facts; an empty store gets `identity` and `hash_key`, random bytes.

    Raises FormatError, CorruptionError, StorageIOError.
    """
    assert len(identity) == IDENTITY_BYTES
    assert len(hash_key) == HASH_KEY_BYTES
    facts = read_facts(engine)
    if facts is None:
        if engine.scan_keys(b"", None, 1):
            raise CorruptionError("LevelDB has data but says nothing of its format")
        facts = LocalFacts(identity, hash_key, NO_CHECKPOINT, 0, True)
        engine.write(_fixed_rows(identity, hash_key), sync=True)
    return facts


def read_facts(reader: Reader) -> LocalFacts | None:
    """Read a node's facts from one state of its store; None: it has none.

    Raises FormatError, CorruptionError.
    """
    rows = dict(reader.scan(*kind_bounds(LOCAL), limit=16))
    if not rows:
        return None
    version = _number(rows, _FORMAT, _U32)
    if version > FORMAT_VERSION:
        raise FormatError(
            f"the data has format {version}, this kvnode knows formats up to {FORMAT_VERSION}: "
            "start the kvnode that wrote it, or a newer one"
        )
    if version < FORMAT_VERSION:
        raise FormatError(
            f"the data has format {version}, without score rows; this kvnode reads format "
            f"{FORMAT_VERSION} only: start the kvnode that wrote it"
        )
    record = NO_CHECKPOINT
    if _CHECKPOINT in rows:
        index, term, commit_ts, next_id = _unpack(rows, _CHECKPOINT, _RECORD)
        record = CheckpointRecord(Position(index, term, commit_ts), next_id)
    record = replace(record, membership=rows.get(_MEMBERSHIP, b""))
    highest = _number(rows, _HIGHEST, _U64) if _HIGHEST in rows else 0
    return LocalFacts(
        _bytes(rows, _IDENTITY, IDENTITY_BYTES),
        _bytes(rows, _HASH_KEY, HASH_KEY_BYTES),
        record,
        highest,
        False,
        _bytes(rows, _GROUP, GROUP_BYTES) if _GROUP in rows else b"",
        rows.get(_FOUNDERS, b""),
    )


def join_group(
    engine: Engine, group: bytes, membership: bytes = b"", hash_key: bytes = b""
) -> None:
    """Note durably that this node belongs to a group, before its first entry with others.

    membership: that of the founding, which holds before the first entry of an empty log; an empty
    one of a node that is to be added. A group of one that grows has none: its first membership is
    an entry of its log. hash_key: the group's, if the store has no user keys yet.
    Raises StorageIOError.
    """
    assert len(group) == GROUP_BYTES
    rows: list[Row] = [(_GROUP, group)]
    if membership:
        rows.append((_MEMBERSHIP, membership))
    if hash_key:
        rows.append((_HASH_KEY, hash_key))
    engine.write(rows, sync=True)


def pin_founders(engine: Engine, membership: bytes) -> None:
    """Note durably with whom this directory founds a group, and with nobody else for ever."""
    engine.write([(_FOUNDERS, membership)], sync=True)


def rows_of_image(
    identity: bytes, hash_key: bytes, group: bytes, record: CheckpointRecord, highest_index: int
) -> list[Row]:
    """Return the facts of a store that is an image of another node's, as of `record`.

    Its membership is stated even if it is that of one: this node is not that one.
    """
    assert record.membership
    assert len(group) == GROUP_BYTES
    return [
        *_fixed_rows(identity, hash_key),
        (_GROUP, group),
        *record.rows(),
        HighWater(0).row(highest_index),
    ]


def _fixed_rows(identity: bytes, hash_key: bytes) -> list[Row]:
    return [(_FORMAT, _U32.pack(FORMAT_VERSION)), (_IDENTITY, identity), (_HASH_KEY, hash_key)]


def _unpack(rows: dict[bytes, bytes], key: bytes, form: struct.Struct) -> tuple[int, ...]:
    value = rows.get(key)
    if value is None or len(value) != form.size:
        raise CorruptionError(f"LevelDB: row {key.decode()} is missing or malformed")
    return form.unpack(value)


def _number(rows: dict[bytes, bytes], key: bytes, form: struct.Struct) -> int:
    return int(_unpack(rows, key, form)[0])


def _bytes(rows: dict[bytes, bytes], key: bytes, size: int) -> bytes:
    value = rows.get(key)
    if value is None or len(value) != size:
        raise CorruptionError(f"LevelDB: row {key.decode()} is missing or malformed")
    return value
