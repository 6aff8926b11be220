"""What a reader at a pin finds under a key, record by record and page by page."""

from collections.abc import Callable

from kvnode._core.keys import CLAIM
from kvnode.storage.snapshot import ORDER_END, SnapshotReader
from tests.support.contents import (
    CHUNK_BYTES,
    HAS_DEADLINE,
    PART_KINDS,
    T_LIST,
    T_STRING,
    Elements,
    decode,
    stored_meta,
)

ROWS_PER_PAGE = 3


def value_at(
    reader: SnapshotReader, value: bytes, between: Callable[[], object] = lambda: None
) -> bytes | tuple[int, Elements]:
    """Return what a key holds, from the value of its head, in the form of a contents.Value's data.

    between: called when the tip's part of a page is read and LevelDB's is not.
    Raises AssertionError when the metadata of a collection at the pin, or the claims of a list,
    are not those of its elements.
    """
    data = value[10:] if value[1] & HAS_DEADLINE else value[2:]
    if value[0] not in PART_KINDS:
        return _string(reader, value[0], data)
    kind, id_ = PART_KINDS[value[0]][0], int.from_bytes(data[:8])
    found = [(key, *decode(key, row)[2:]) for key, row in _rows(reader, kind, id_, between)]
    length, head, tail, holes = stored_meta(data, {})
    if value[0] == T_LIST:  # popped items lie outside until they are swept
        found = [row for row in found if head <= _position(row[0]) < tail]
        assert tail - head - holes == length
        taken = {_position(key) for key, *_ in found}
        assert set(range(head, tail)) - taken == _claimed(reader, id_, head, tail, between)
    skip = 9 if value[0] == T_LIST else 17
    assert length == len(found), f"{len(found)} elements, length {length}"
    return value[0], tuple(sorted((key[skip:], *rest) for key, *rest in found))


def _position(key: bytes) -> int:
    return int.from_bytes(key[9:]) - (1 << 63)


def _rows(
    reader: SnapshotReader, kind: int, id_: int, between: Callable[[], object]
) -> list[tuple[bytes, bytes]]:
    rows: list[tuple[bytes, bytes]] = []
    at = 0
    while at < ORDER_END:
        pending = reader.begin_page(kind, id_, at, ROWS_PER_PAGE)
        between()
        page = pending.finish(pending.read() if pending.read is not None else None)
        rows += page.rows
        at = page.end
    return rows


def _claimed(
    reader: SnapshotReader, id_: int, head: int, tail: int, between: Callable[[], object]
) -> set[int]:
    """Return the positions in [head, tail) that claims say are dead."""
    dead = set()
    for key, row in _rows(reader, CLAIM, id_, between):
        count = int.from_bytes(decode(key, row)[3])
        dead |= set(range(_position(key), _position(key) + count)) & set(range(head, tail))
    return dead


def _string(reader: SnapshotReader, type_: int, data: bytes) -> bytes:
    """Return the bytes of a string from the data of its head."""
    if type_ == T_STRING:
        return data
    value_id, length = data[:8], int.from_bytes(data[8:])
    parts = [
        (reader.get(b"C" + value_id + number.to_bytes(4)) or b"").ljust(CHUNK_BYTES, b"\0")
        for number in range(-(-length // CHUNK_BYTES))
    ]
    return b"".join(parts)[:length]
