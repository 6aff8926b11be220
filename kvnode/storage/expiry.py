"""Expiry: finds heads past their deadline, in memory and through LevelDB's expiry rows.

An expiry row is a hint (hard case 30): it may be early, because a deadline that moves out leaves
its row where it is, or speak of a key that is gone. Found due, it leads to the head, and then the
head is expired through the log, or the row is filed anew or dropped. Nothing here decides what a
reader sees: deletions are the sequencer's.
"""

from dataclasses import dataclass

from kvnode._core.keys import EXPIRY, expiry_key, expiry_start, kind_bounds, split_expiry
from kvnode._core.tip import Tip
from kvnode._core.upkeep import (
    deadline_due,
    due_records,
    forget_row,
    head_deadline,
    head_key,
    refile,
    stored_deadline,
    with_row_at,
)
from kvnode.base.limits import EXPIRY_HEADS_PER_STEP, EXPIRY_ROWS_PER_READ
from kvnode.storage.engine import Engine, Row
from kvnode.storage.executor import Executor, Slot

NEVER_MS = 1 << 63
UNDECIDED = -1  # of head_deadline: the newest version is not durable yet

Expired = tuple[int, bytes]  # generation and user key, or collection id and field


@dataclass(frozen=True, slots=True)
class Due:
    """An expiry row whose time has come."""

    row: bytes
    row_at: int  # ms
    owner: int  # generation of a head; collection id of a field
    name: bytes  # user key; field
    record: bytes  # record key of the head or field
    value: bytes = b""  # of the row
    place: bytes = b""  # of a field: where the head of its hash was, record key; empty: not known


class ExpirySweeper:
    """Walks the due expiry rows from where it stopped; advanced by step().

    reader: for reads; writer: the executor through which all writes to the engine go, in order.
    """

    kind = EXPIRY  # of its rows

    def __init__(self, tip: Tip, engine: Engine, reader: Executor, writer: Executor) -> None:
        self._tip = tip
        self._engine = engine
        self._read = Slot(reader)
        self._write = Slot(writer)
        self._lo, self._hi = kind_bounds(self.kind)
        self._place = self._lo
        self._next_row_ms = 0  # no row behind the place is due before
        self._is_rewound = True
        self._due: list[Due] = []  # read, to be judged
        self._envelopes: dict[bytes, bytes | None] | None = None  # of heads not in memory
        self._epoch: int | None = None  # of the fetch that read them
        self.rows_dropped = 0
        self.rows_refiled = 0

    def rewind(self) -> None:
        """Rows may have come before the place: a checkpoint ended, or expiry was switched on."""
        self._is_rewound = True

    def rest(self) -> None:
        """Nothing expires by this node now: let go of what was read; step() begins anew."""
        self._is_rewound = True
        if not self._read.is_free:
            return
        if self._epoch is not None:
            self._tip.end_fetch(self._epoch)
            self._epoch = None
        self._due = []
        self._forget_read()

    def has_more(self, now_ms: int) -> bool:
        """Whether step() would do more at once."""
        if not (self._read.is_free and self._write.is_free):
            return False
        return bool(self._due) or now_ms >= self._next_row_ms or self._is_due_in_memory(now_ms)

    def step(self, now_ms: int) -> list[Expired]:
        """Return what is to expire through the log before the next step; in this pass.

        Raises StorageIOError or CorruptionError when a call failed: the node stops.
        """
        found = self._take_from_memory(now_ms)
        if not (self._read.is_free and self._write.is_free):
            return found
        if self._due and (self._is_read() or not self._read_missing()):
            return found + self._judge(now_ms)
        if self._due:
            return found
        if self._epoch is not None:  # the heads that the last step returned are expired by now
            self._tip.end_fetch(self._epoch)
            self._epoch = None
        if self._is_rewound:
            self._is_rewound = False
            self._place = self._lo
            self._next_row_ms = 0
        if now_ms >= self._next_row_ms:
            self._read_rows(now_ms)
        return found

    # -- what is particular to heads ------------------------------------------------------------

    def _is_due_in_memory(self, now_ms: int) -> bool:
        return bool(deadline_due(self._tip, now_ms))

    def _take_from_memory(self, now_ms: int) -> list[Expired]:
        """Return heads, and fields, past their deadlines that the queue in memory names."""
        found: list[Expired] = due_records(self._tip, now_ms, EXPIRY_HEADS_PER_STEP)
        return found

    def _open(self, row: bytes, value: bytes) -> Due:
        """Return what a row says."""
        row_at, generation, user_key = split_expiry(row)
        return Due(row, row_at, generation, user_key, head_key(self._tip, generation, user_key))

    def _is_read(self) -> bool:
        return self._envelopes is not None

    def _forget_read(self) -> None:
        self._envelopes = None

    def _read_rows(self, now_ms: int) -> None:
        """Read due rows from the place on, and at their end the deadline of the one after them."""
        lo, end = self._place, expiry_start(self.kind, now_ms + 1)

        def work() -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
            rows = self._engine.scan(lo, end, EXPIRY_ROWS_PER_READ)
            if len(rows) == EXPIRY_ROWS_PER_READ:
                return rows, []
            return rows, self._engine.scan_keys(max(lo, end), self._hi, 1)

        def then(found: tuple[list[tuple[bytes, bytes]], list[bytes]]) -> None:
            rows, later = found
            if rows:
                self._place = rows[-1][0] + b"\0"
            if len(rows) < EXPIRY_ROWS_PER_READ:
                self._next_row_ms = split_expiry(later[0])[0] if later else NEVER_MS
            self._due += [self._open(row, value) for row, value in rows]

        self._read.submit(work, then)

    def _read_missing(self) -> bool:
        """Start to read the heads that are not in memory; False when none is missing."""
        missing = [due.record for due in self._due if head_deadline(self._tip, due.record) is None]
        if not missing:
            return False
        # What changes from here on stays in the tip, so what is read counts unless it is there.
        self._epoch = self._tip.begin_fetch()

        def then(found: list[bytes | None]) -> None:
            self._envelopes = dict(zip(missing, found, strict=True))

        self._read.submit(lambda: self._engine.get_many(missing), then)
        return True

    def _judge(self, now_ms: int) -> list[Expired]:
        """Decide on every due row; return the heads to expire."""
        heads: list[Expired] = []
        rows: list[Row] = []
        envelopes = self._envelopes or {}
        for due in self._due:
            envelope = None
            deadline = head_deadline(self._tip, due.record)
            if deadline is None and due.record in envelopes:
                envelope = envelopes[due.record]
                deadline = stored_deadline(envelope)[1] if envelope is not None else 0
            if deadline is None or deadline == UNDECIDED:
                self._is_rewound = True  # evicted since, or not durable yet: again, from the start
            elif deadline == 0:
                forget_row(self._tip, due.record, due.row_at)
                rows.append((due.row, None))
                self.rows_dropped += 1
            elif deadline <= now_ms:
                if envelope is not None:
                    self._tip.install(due.record, envelope)
                heads.append((due.owner, due.name))
            else:
                rows += self._refile(due, deadline, envelope)
                self.rows_refiled += 1
        self._forget_read()
        self._finish(rows)
        return heads

    def _finish(self, rows: list[Row]) -> None:
        """All due rows are judged: write what follows."""
        self._due = []
        if rows:
            self._write.submit(lambda: self._engine.write(rows))

    def _refile(self, due: Due, deadline: int, envelope: bytes | None) -> list[Row]:
        """Return the rows that move an expiry row to its head's deadline, all in one write."""
        rows: list[Row] = [
            (expiry_key(self.kind, deadline, due.owner, due.name), b""),
            (due.row, None),
        ]
        if envelope is None:
            refile(self._tip, due.record)
        else:
            # The tip has nothing of this head, so the stored one is the newest; and a later slice
            # with a newer one is written after this.
            rows.append((due.record, with_row_at(envelope, deadline)))
        return rows
