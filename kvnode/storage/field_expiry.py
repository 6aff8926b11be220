"""Expiry of fields of hashes that memory does not know: found through rows of their own.

A row names the hash by its id. Under which key its head is says the owner row of the hash, which
the flush of the head writes; without one, what the expiry row itself says. If there is no head, the
row leads nowhere and is dropped.
"""

from kvnode._core.keys import FIELD_EXPIRY, OWNER, expiry_key, part_bounds, split_expiry
from kvnode._core.upkeep import field_deadline, field_key, forget_row, head_key, refile
from kvnode.storage.engine import Row
from kvnode.storage.expiry import UNDECIDED, Due, Expired, ExpirySweeper
from kvnode.storage.parts import Records, read_records

GENERATION_BYTES = 8


class FieldSweeper(ExpirySweeper):
    """As ExpirySweeper, for fields; those that memory knows are taken by that one."""

    kind = FIELD_EXPIRY
    _records: Records | None = None  # read: heads and fields
    _asked: frozenset[bytes] = frozenset()  # fields that were read

    def _is_due_in_memory(self, now_ms: int) -> bool:
        return False

    def _take_from_memory(self, now_ms: int) -> list[Expired]:
        return []

    def _open(self, row: bytes, value: bytes) -> Due:
        row_at, id_, field = split_expiry(row)
        place = b""
        if len(value) >= GENERATION_BYTES:
            generation = int.from_bytes(value[:GENERATION_BYTES], "big")
            place = head_key(self._tip, generation, value[GENERATION_BYTES:])
        return Due(row, row_at, id_, field, field_key(self._tip, id_, field), value, place)

    def _is_read(self) -> bool:
        return self._records is not None

    def _forget_read(self) -> None:
        self._records, self._asked = None, frozenset()

    def _read_missing(self) -> bool:
        """Start to read the fields that are not in memory, and the heads of their hashes."""
        missing = [due for due in self._due if field_deadline(self._tip, due.record) is None]
        if not missing:
            return False
        self._asked = frozenset(due.record for due in missing)
        places = {due.owner: due.place for due in missing}
        has_deltas = self._tip.has_delta_rows
        self._epoch = self._tip.begin_fetch()

        def read() -> Records:
            owners = self._engine.get_many([part_bounds(OWNER, id_)[0] for id_ in places])
            heads = {owner or place for owner, place in zip(owners, places.values(), strict=True)}
            keys = sorted(heads - {b""}) + sorted(self._asked)
            return read_records(self._engine, keys, has_deltas)

        def then(records: Records) -> None:
            self._records = records

        self._read.submit(read, then)
        return True

    def _judge(self, now_ms: int) -> list[Expired]:
        """Decide on every due row; return the fields to expire."""
        fields: list[Expired] = []
        rows: list[Row] = []
        if self._records is not None:
            self._records.install(self._tip)
        for due in self._due:
            deadline = field_deadline(self._tip, due.record)
            if deadline is None and due.record in self._asked:
                deadline = 0  # its hash is elsewhere, or gone
            if deadline is None or deadline == UNDECIDED:
                self._is_rewound = True
            elif deadline == 0:
                forget_row(self._tip, due.record, due.row_at)
                rows.append((due.row, None))
                self.rows_dropped += 1
            elif deadline <= now_ms:
                fields.append((due.owner, due.name))
            else:
                rows.append((due.row, None))
                rows.append((expiry_key(self.kind, deadline, due.owner, due.name), due.value))
                refile(self._tip, due.record)
                self.rows_refiled += 1
        self._forget_read()
        self._finish(rows)
        return fields
