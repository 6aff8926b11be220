CHUNK: int
DATABASE: int
GENERATION: int
HEAD: int
LOCAL: int
COUNTER: int
PENDING: int
SCRIPT: int
LIBRARY: int
TRASH: int
EXPIRY: int
FIELD_EXPIRY: int
HISTORY: int
DELTA: int
ITEM: int
CLAIM: int
MEMBER: int
SCORE: int
OWNER: int
PARTS: tuple[int, ...]

def kind_bounds(kind: int) -> tuple[bytes, bytes]:
    """Return (lo, hi) of all keys of a kind."""

def local_key(name: bytes) -> bytes:
    """Return the key of one of this node's own facts."""

def head_start(generation: int, hash: int) -> bytes:
    """Return the lowest key of the heads of `generation` from `hash` on."""

def head_end(generation: int) -> bytes:
    """Return a key above all heads of `generation` and below those of the next."""

def split_head(key: bytes) -> tuple[int, int, bytes]:
    """Return (generation, hash, user key) of a head's key. Raises CorruptionError."""

def expiry_key(kind: int, expire_at_ms: int, owner: int, name: bytes) -> bytes:
    """Return the key of the expiry row of a head or field. owner: generation or collection id."""

def expiry_start(kind: int, expire_at_ms: int) -> bytes:
    """Return the lowest key of the expiry rows of a kind from a deadline on."""

def split_expiry(key: bytes) -> tuple[int, int, bytes]:
    """Return (deadline ms, generation or collection id, user key or field) of an expiry row.

    Raises CorruptionError.
    """

def history_of(record_key: bytes, commit_ts: int) -> bytes:
    """Return the history key of a version of a record. Raises CorruptionError."""

def split_history(key: bytes) -> tuple[bytes, int]:
    """Return (record key, commit_ts) of a history key. Raises CorruptionError."""

def history_start(kind: int, id: int, order: int) -> bytes:
    """Return the lowest key of the history of a table's records from an order on."""

def part_bounds(kind: int, id: int) -> tuple[bytes, bytes]:
    """Return (lo, hi) of the records of a kind that belong to the generation or collection `id`."""

def order_start(kind: int, id: int, order: int) -> bytes:
    """Return the lowest key of a table's records from an order on, see record_order()."""

def record_order(key: bytes) -> int:
    """Return what orders the records of a table: a hash, or a position as a sortable number.

    Raises CorruptionError.
    """

def score_key(member_key: bytes, score: bytes) -> bytes:
    """Return the key of a member's score row, by its record key and eight bytes of score.

    Raises CorruptionError.
    """

def score_bound(id: int, bound: bytes) -> bytes:
    """Return the lowest key of score rows from a bound on: eight sortable bytes, and a name."""

def bound_of_score(key: bytes) -> bytes:
    """Return the bound at which a score row stands. Raises CorruptionError."""
