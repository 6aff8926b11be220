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
