"""Naive twins of the record keys, as docs/FORMATS.md writes them down."""

HASHED = b"HFM"  # kinds with an id, a hash and a name
PLACED = b"IK"  # kinds with an id and a position
KIND, NUMBER, LENGTH = 1, 8, 4


def u32(value: int) -> bytes:
    return value.to_bytes(LENGTH, "big")


def u64(value: int) -> bytes:
    return value.to_bytes(NUMBER, "big")


def head_start(generation: int, hash_: int) -> bytes:
    """Return the lowest key of the heads of a generation from a hash on."""
    return b"H" + u64(generation) + u64(hash_)


def split_head(key: bytes) -> tuple[int, int, bytes]:
    """Return (generation, hash, user key)."""
    generation, hash_ = key[KIND : KIND + NUMBER], key[KIND + NUMBER : KIND + 2 * NUMBER]
    return int.from_bytes(generation, "big"), int.from_bytes(hash_, "big"), key[17:]


def expiry_key(kind: int, expire_at_ms: int, owner: int, name: bytes) -> bytes:
    """Return the key of the expiry row of a head or field."""
    return bytes([kind]) + u64(expire_at_ms) + u64(owner) + name


def fixed_bytes(kind: int) -> int:
    """Return how many bytes of a record's key come before its variable part."""
    if kind in HASHED:
        return KIND + 2 * NUMBER
    return KIND + NUMBER if kind in PLACED else KIND


def history_of(record_key: bytes, commit_ts: int) -> bytes:
    """Return the key of an older version: later ones sort first."""
    fixed = fixed_bytes(record_key[0])
    rest = record_key[fixed:]
    return b"Y" + record_key[:fixed] + u32(len(rest)) + rest + u64((1 << 64) - 1 - commit_ts)


def number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def kind_bounds(kind: int) -> tuple[bytes, bytes]:
    """Return the bounds of all keys of a kind."""
    return bytes([kind]), bytes([kind + 1])


def local_key(name: bytes) -> bytes:
    """Return the key of one of the node's own facts."""
    return b"L" + name


def head_end(generation: int) -> bytes:
    """Return what lies between the heads of a generation and those of the next."""
    return b"H" + u64(generation + 1)


def expiry_start(kind: int, expire_at_ms: int) -> bytes:
    """Return the lowest key of the expiry rows from a deadline on."""
    return bytes([kind]) + u64(expire_at_ms)


def split_expiry(key: bytes) -> tuple[int, int, bytes]:
    """Return (deadline, owner, name)."""
    return number(key[1:9]), number(key[9:17]), key[17:]


def split_history(key: bytes) -> tuple[bytes, int]:
    """Return (record key, commit_ts)."""
    record, time = key[KIND:-NUMBER], (1 << 64) - 1 - number(key[-NUMBER:])
    fixed = fixed_bytes(record[0])
    return record[:fixed] + record[fixed + LENGTH :], time


def order_start(kind: int, id_: int, order: int) -> bytes:
    """Return the lowest key of a table's records from an order on."""
    return bytes([kind]) + u64(id_) + u64(order)


def history_start(kind: int, id_: int, order: int) -> bytes:
    """Return the lowest key of their history; of a placed record the position is variable."""
    if kind in PLACED:
        return b"Y" + bytes([kind]) + u64(id_) + u32(NUMBER) + u64(order)
    return b"Y" + order_start(kind, id_, order)


def part_bounds(kind: int, id_: int) -> tuple[bytes, bytes]:
    """Return the bounds of the records of a kind under an id."""
    return bytes([kind]) + u64(id_), bytes([kind]) + u64(id_ + 1)


def record_order(key: bytes) -> int:
    """Return the hash or the position in a record's key."""
    return number(key[9:17])


def score_key(member_key: bytes, score: bytes) -> bytes:
    """Return the key of a member's score row."""
    return b"Z" + member_key[1:9] + score + member_key[17:]


def score_bound(id_: int, bound: bytes) -> bytes:
    """Return the lowest key of score rows from a bound on."""
    return b"Z" + u64(id_) + bound


def bound_of_score(key: bytes) -> bytes:
    """Return the bound at which a score row stands."""
    return key[9:]
