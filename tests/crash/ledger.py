"""What the writers know: which operations were sent, which acknowledged, and what that implies.

A writer owns its keys and uses one connection, so its operations take effect in order: after a
crash its keys must hold the state after some prefix of what it sent, a prefix that contains all
that was acknowledged or seen by a reader. That one rule finds lost writes, half-applied
transactions, and values that nobody wrote. Shared keys obey the weaker rules of SharedLedger.

Pure bookkeeping: no sockets, no clock.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.crash.values import Collection, State, Value

Effect = tuple[bytes, Callable[[Value | None], Value | None]]  # key, old value -> new value


@dataclass(slots=True)
class Operation:
    """One atomic step of a writer: a command or a MULTI...EXEC.

    request: encoded bytes.   reply_count: replies until it is acknowledged.
    expected: the last of them, None = any.
    """

    name: str
    request: bytes
    reply_count: int
    effects: list[Effect] = field(default_factory=list)
    shared: bytes = b""  # shared key or value that SharedLedger keeps books of
    expected: object = None


class WriterLedger:
    """Operations of one writer since the last verification.

    baseline: observed then; binding, since what was once read must never be lost.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.baseline: State = {}
        self.operations: list[Operation] = []
        self.acknowledged = 0
        self.sequence_base = 0  # number of the first operation in `operations`

    @property
    def next_sequence(self) -> int:
        """Number of the next operation, over all rounds."""
        return self.sequence_base + len(self.operations)

    def note_seen(self, sequence: int) -> None:
        """A reader saw the effect of this operation: it counts as acknowledged."""
        self.acknowledged = max(self.acknowledged, sequence - self.sequence_base + 1)

    def forgive(self) -> None:
        """Acknowledged writes may be lost after all, as with `appendfsync everysec`."""
        self.acknowledged = 0

    def verify(self, observed: State) -> list[str]:
        """Return what is wrong with the observed state of this writer's keys, in sentences."""
        state = dict(self.baseline)
        for operation in self.operations[: self.acknowledged]:
            _apply(state, operation)
        at_least = dict(state)
        wrong = {
            key for key in state.keys() | observed.keys() if state.get(key) != observed.get(key)
        }
        for operation in self.operations[self.acknowledged :]:
            if not wrong:
                return []
            _apply(state, operation)
            for key, _ in operation.effects:
                if state.get(key) == observed.get(key):
                    wrong.discard(key)
                else:
                    wrong.add(key)
        if not wrong:
            return []
        return [self._explain(at_least, observed)]

    def rebase(self, observed: State) -> None:
        """Start a new round from what was observed."""
        self.baseline = dict(observed)
        self.sequence_base = self.next_sequence
        self.operations = []
        self.acknowledged = 0

    def _explain(self, at_least: State, observed: State) -> str:
        """Say which keys differ, and which prefix each of them would fit."""
        lines = [
            f"{self.name}: no prefix of its operations fits; sent {len(self.operations)}, "
            f"of which acknowledged or seen {self.acknowledged}"
        ]
        keys = at_least.keys() | observed.keys()
        differing = sorted(key for key in keys if at_least.get(key) != observed.get(key))
        for key in differing[:5]:
            fits = self._prefixes_that_fit(key, observed.get(key))
            lines.append(
                f"  {key.decode()}: acknowledged {_short(at_least.get(key))}, "
                f"found {_short(observed.get(key))}, {fits}"
            )
        return "\n".join(lines)

    def _prefixes_that_fit(self, key: bytes, value: Value | None) -> str:
        state = dict(self.baseline)
        fitting = [0] if state.get(key) == value else []
        touched = 0
        for count, operation in enumerate(self.operations, 1):
            if any(name == key for name, _ in operation.effects):
                touched = count
                _apply(state, operation)
                if state.get(key) == value:
                    fitting.append(count)
        if not fitting:
            return "a value that nobody wrote"
        return f"as after operation {fitting[-1]}; written last by operation {touched}"


def _apply(state: State, operation: Operation) -> None:
    for key, change in operation.effects:
        value = change(state.get(key))
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value


def _short(value: Value | None) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Collection):
        content = sorted(value.content) if isinstance(value.content, frozenset) else value.content
        deadline = " with a deadline" if value.has_deadline else ""
        return f"{value.type.decode()} of {len(content)}{deadline}: {str(content)[:300]}"
    return repr(value) if len(value) <= 40 else f"{value[:40]!r}... ({len(value)} bytes)"


def _sum(purse: Collection | None) -> int:
    """Return the sum of the values of a hash, or of the scores of a sorted set."""
    numbers = [] if purse is None else purse.content.values()
    return sum(int(n[0] if isinstance(n, tuple) else n) for n in numbers)


@dataclass(slots=True)
class PairWrite:
    """A write of the shared pair; times of one clock, end None: not acknowledged."""

    value: bytes
    start: float
    end: float | None = None


class SharedLedger:
    """Rules for keys that all writers use. Thread-safe.

    counters: within [acknowledged, sent].   accounts: their sum never changes.
    purses: collections; neither does the sum of the numbers in them.
    pair: two keys written by MSET, always equal, and never older than an acknowledged write.
    """

    def __init__(
        self,
        counters: list[bytes],
        accounts: list[bytes],
        pair: list[bytes],
        purses: Iterable[bytes] = (),
    ) -> None:
        self.counters = counters
        self.accounts = accounts
        self.purses = list(purses)
        self.pair = pair
        self._lock = threading.Lock()
        self.rebase({})

    def rebase(self, observed: State) -> None:
        """Start a new round from what was observed."""
        self._base = {key: int(observed.get(key, b"0")) for key in self.counters}
        self._sent = dict.fromkeys(self.counters, 0)
        self._seen = dict.fromkeys(self.counters, 0)
        self._replies: dict[bytes, list[int]] = {key: [] for key in self.counters}
        initial = observed.get(self.pair[0], b"")
        self._pair_writes = {initial: PairWrite(initial, 0.0, 0.0)}

    def send_increment(self, key: bytes) -> None:
        """An INCR of this counter is about to be sent."""
        with self._lock:
            self._sent[key] += 1

    def acknowledge_increment(self, key: bytes, reply: int) -> None:
        """An INCR of this counter was answered."""
        with self._lock:
            self._replies[key].append(reply)

    def see_counter(self, key: bytes, value: int) -> None:
        """A reader saw this value."""
        with self._lock:
            self._seen[key] = max(self._seen[key], value)

    def send_pair(self, value: bytes, now: float) -> None:
        """An MSET of the pair is about to be sent."""
        with self._lock:
            self._pair_writes[value] = PairWrite(value, now)

    def settle_pair(self, value: bytes, now: float) -> None:
        """An MSET of the pair was answered, or a reader saw its value."""
        with self._lock:
            write = self._pair_writes.get(value)
            if write is not None and write.end is None:
                write.end = now

    def forgive(self) -> None:
        """Acknowledged writes may be lost after all, as with `appendfsync everysec`."""
        self._seen = dict.fromkeys(self.counters, 0)
        self._replies = {key: [] for key in self.counters}
        for write in self._pair_writes.values():
            write.end = None

    def verify(self, observed: State) -> list[str]:
        """Return what is wrong with the observed shared keys, in sentences."""
        total = sum(int(observed.get(key, b"0")) for key in self.accounts)
        wrong = [f"accounts: the sum is {total}, a transfer was half done"] if total else []
        total = sum(_sum(observed.get(key)) for key in self.purses)
        wrong += [f"purses: the sum is {total}, a transfer was half done"] if total else []
        return wrong + self._verify_counters(observed) + self._verify_pair(observed)

    def _verify_counters(self, observed: State) -> list[str]:
        wrong = []
        for key in self.counters:
            replies = self._replies[key]
            base, found = self._base[key], int(observed.get(key, b"0"))
            if len(set(replies)) != len(replies):
                wrong.append(f"{key.decode()}: two INCR got the same reply")
            low = max([base + len(replies), self._seen[key], *replies])
            high = base + self._sent[key]
            if not low <= found <= high:
                wrong.append(f"{key.decode()}: {found} is outside of [{low}, {high}]")
        return wrong

    def _verify_pair(self, observed: State) -> list[str]:
        left, right = (observed.get(key, b"") for key in self.pair)
        if left != right:
            return [f"pair: MSET half done, {_short(left)} and {_short(right)}"]
        found = self._pair_writes.get(left)
        if found is None:
            return [f"pair: {_short(left)} was written by nobody"]
        for write in self._pair_writes.values():
            if None not in (found.end, write.end) and write.start > found.end:
                return [f"pair: {_short(left)} was replaced by acknowledged {_short(write.value)}"]
        return []
