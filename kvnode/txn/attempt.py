"""One try of an optimistic transaction: a pinned snapshot, and the workspace filled from it."""

from collections.abc import Callable, Generator, Sequence
from typing import Any

from kvnode._core.items import ItemSpan
from kvnode._core.keys import CLAIM, HEAD, ITEM, MEMBER, bound_of_score, score_bound
from kvnode._core.scan import ALL_NAMES
from kvnode._core.tip import Tip
from kvnode._core.view import View
from kvnode._core.workspace import Workspace
from kvnode._core.zset_reach import MemberAt, RankOf, ScoreSpan
from kvnode.base.errors import InvariantError, WorkspaceFullError
from kvnode.base.limits import JOB_PAGE_KEYS, LOAD_RECORDS_PER_STEP, LOAD_ROWS_PER_PAGE
from kvnode.storage.engine import Engine
from kvnode.storage.executor import Executor
from kvnode.storage.ranks import Ranks
from kvnode.storage.reading import Reading, open_reading
from kvnode.storage.snapshot import PendingPage, SnapshotReader

DONE, PARK = range(2)  # Outcome of dispatch.pxd
ABOVE_ALL = b"\xff" * 8  # a bound, as in score_windows.hpp

OrderSpan = ScoreSpan | RankOf | MemberAt
Span = ItemSpan | OrderSpan


class Attempt:
    """Commands run on a snapshot taken now; commit() of the sequencer compares and carries over.

    run() may be called on another thread. Everything else belongs to the sequencer's thread, while
    no run() is under way.
    """

    def __init__(self, view: View, engine: Engine, db: int, proto: int) -> None:
        self._tip: Tip = view.tip
        self._pin = self._tip.pin()
        self._is_open = True
        self._snapshot = SnapshotReader(self._tip, engine, self._pin, self._pin >> 16)
        self._engine = engine
        self._orders: dict[int, tuple[Reading, Ranks]] = {}  # of sorted sets, by id
        self._reader: Executor | None = None
        self._lacking: tuple[list[Any], ...] | None = None  # taken from the workspace, not read
        self.workspace = Workspace(self._tip, view, self._pin, db, proto)

    @property
    def start_ts(self) -> int:
        """The commit_ts of the snapshot: the time that its commands see, too."""
        return self._pin

    @property
    def memory_bytes(self) -> int:
        """What the workspace takes, and what is kept for reading sorted sets in order, about."""
        return self.workspace.bytes + sum(reading.bytes for reading, _ in self._orders.values())

    def run(self, words: list[bytes]) -> bytes | None:
        """Run one command, which must be in order; return its reply.

        None: it lacks records. Nothing of it stays; run it again after read_missing().
        """
        while (outcome := self.workspace.run(words)) == PARK:
            if not self.read_at_hand():
                return None
        if outcome != DONE:
            raise InvariantError(f"{words[0]!r} in a transaction: outcome {outcome}")
        return self.workspace.take_reply()

    def append(self, words: list[bytes]) -> bytes | None:
        """Run LPUSH or RPUSH whose reply is nil, like run(): see Workspace.append()."""
        return self.workspace.take_reply() if self.workspace.append(words) == DONE else None

    def read_missing(
        self, executor: Executor, then: Callable[[BaseException | None], None]
    ) -> None:
        """Read what the last command lacked; then(error) is called when the workspace has it."""
        self._reader = executor
        lacking, self._lacking = self._lacking or self.workspace.take_missing(), None
        _Reads(self, executor, then).start(*lacking)

    def read_at_hand(self) -> bool:
        """Give the workspace the records that the last command lacked, if memory has all of them.

        On the thread of run(): nobody waits for the other. What a pin sees does not change, and the
        tip is whole whenever another thread than the sequencer's has the interpreter. False: call
        read_missing().
        """
        keys, *others = self._lacking = self.workspace.take_missing()
        if not keys or any(others):
            return False
        pending = self._snapshot.begin_get(keys)
        if pending.read is not None:
            return False
        self.workspace.install(keys, pending.finish(None))
        self._lacking = None
        if holed := self.workspace.take_holed():
            self._lacking = [], [], [], [], holed
        return not holed

    def run_queue(self, queue: bytes, at: int) -> int:
        """Run commands that a MULTI has queued, from byte `at` on; return where the next one is.

        Before the end: that one lacks records, go on after read_missing().
        """
        at = self.workspace.run_queue(queue, at)
        while at < len(queue) and self.read_at_hand():
            at = self.workspace.run_queue(queue, at)
        return at

    def close(self, worker: Executor) -> None:
        """Let go of the snapshot; the workspace's memory is freed by the worker."""
        if self._is_open:
            self._is_open = False
            self._tip.unpin(self._pin)
            for reading, _ in self._orders.values():
                assert self._reader is not None
                reading.close(self._reader)
            # Else they are a cycle, which the collector frees on whatever thread it runs.
            self.workspace.view.on_message = self.workspace.view.on_event = None
            holder = [self.workspace]
            del self.workspace
            worker.submit(holder.clear, lambda result, error: None)


class _Reads:
    """What one command lacked, read one call after another: the tip's part now, LevelDB's there."""

    def __init__(
        self, attempt: Attempt, executor: Executor, then: Callable[[BaseException | None], None]
    ) -> None:
        self._attempt = attempt
        self._executor = executor
        self._then = then
        self._epoch = 0  # of the fetch that keeps the deltas of heads
        self._steps: list[Callable[[], None]] = []

    def start(
        self,
        keys: list[bytes],
        ranges: list[Any],
        loads: list[int],
        spans: list[Span],
        holed: Sequence[int] = (),
    ) -> None:
        """Read records, ranges of heads, whole collections, elements in their order, and claims."""
        keys = list(dict.fromkeys(keys))
        self._steps = [lambda id_=id_: self._claims(id_, 0, []) for id_ in holed]
        self._steps += [lambda id_=id_: self._load(id_) for id_ in loads]
        self._steps += [lambda span=span: self._span(span) for span in spans]
        for wanted in ranges:
            if wanted[2] == ALL_NAMES:
                self._steps.append(lambda wanted=wanted: self._names(wanted, 0, []))
            else:
                self._steps.append(lambda wanted=wanted: self._range(wanted, wanted[1], []))
        for first in range(0, len(keys), LOAD_RECORDS_PER_STEP):
            some = keys[first : first + LOAD_RECORDS_PER_STEP]
            self._steps.append(lambda some=some: self._records(some))
        self._next()

    def _next(self) -> None:
        """Go on with what is left; an attempt that was closed meanwhile needs nothing."""
        if self._steps and self._attempt._is_open:
            self._steps.pop()()
        else:
            self._then(None)

    def _run(self, read: Callable[[], Any] | None, take: Callable[[Any], None]) -> None:
        """Have `read` run beside the sequencer, then take what it found."""

        def completed(result: Any, error: BaseException | None) -> None:
            if error is not None:
                self._then(error)
            elif self._attempt._is_open:
                try:
                    self._attempt.workspace.require_room()
                except WorkspaceFullError as full:
                    self._then(full)
                    return
                take(result)
            else:
                self._next()

        # With nothing to read, too, the next page is taken in a later pass.
        self._executor.submit(read or (lambda: None), completed)

    def _records(self, keys: list[bytes]) -> None:
        attempt, tip = self._attempt, self._attempt._tip
        epoch = tip.begin_fetch()
        pending = attempt._snapshot.begin_get(keys)

        def completed(result: Any, error: BaseException | None) -> None:
            tip.end_fetch(epoch)
            if error is not None:
                self._then(error)
                return
            if attempt._is_open:
                attempt.workspace.install(keys, pending.finish(result))
                for id_ in attempt.workspace.take_holed():
                    self._steps.append(lambda id_=id_: self._claims(id_, 0, []))
            self._next()

        if pending.read is None and not self._steps:
            completed(None, None)
        else:  # with more to come, that in a later pass
            self._executor.submit(pending.read or (lambda: None), completed)

    def _load(self, id_: int) -> None:
        """Read a collection page by page until it is whole.

        Pages are put into the workspace where they are read: it is not running, and what a thread
        of its own allocates and frees costs the sequencer nothing.
        """
        workspace = self._attempt.workspace
        place = workspace.begin_load(id_)
        if place is None:
            self._next()
            return
        page = self._page(place[0], id_, place[1], LOAD_ROWS_PER_PAGE)

        def read() -> None:
            workspace.end_load(id_, page.finish(None if page.read is None else page.read()))

        self._run(read, lambda _: self._load(id_))

    def _items(self, span: ItemSpan, first: int) -> None:
        """Read the items of a span, from a position on."""
        page = self._page(ITEM, span.id, first, span.end - first)

        def take(result: Any) -> None:
            found = page.finish(result)
            self._attempt.workspace.install_items(span, first, found)
            if found.end < span.end:
                self._items(span, found.end)
            else:
                self._next()

        self._run(page.read, take)

    def _span(self, wanted: Span) -> None:
        """Read items of a list, or members of a sorted set by score, or count these."""
        attempt = self._attempt
        if not attempt._is_open:
            self._next()
            return
        if isinstance(wanted, ItemSpan):
            self._items(wanted, wanted.first)
            return
        if wanted.id not in attempt._orders:
            self._open_order(wanted)
            return
        reading, ranks = attempt._orders[wanted.id]
        if isinstance(wanted, ScoreSpan):
            self._members(wanted, reading)
        elif isinstance(wanted, RankOf):
            bound = score_bound(wanted.id, wanted.bound)
            self._search(wanted, ranks.below(bound), lambda found: found)
        else:
            above = reading.bounds[1]
            self._search(
                wanted,
                ranks.key_at(wanted.rank),
                lambda key: ABOVE_ALL if key == above else bound_of_score(key),
            )

    def _open_order(self, wanted: OrderSpan) -> None:
        attempt, id_ = self._attempt, wanted.id
        reading = Reading(MEMBER, id_, attempt._pin, is_by_score=True)
        attempt._orders[id_] = reading, Ranks(reading, attempt.workspace.length_of(id_))

        def opened(error: BaseException | None) -> None:
            if error is not None:
                self._then(error)
            else:
                self._span(wanted)

        open_reading(reading, attempt._tip, attempt._engine, self._executor, opened)

    def _members(self, span: ScoreSpan, reading: Reading) -> None:
        lo, hi = score_bound(span.id, span.low), score_bound(span.id, span.high)

        def take(result: Any) -> None:
            rows, edge = result
            end = bound_of_score(edge)
            low, high = (end, span.high) if span.is_backward else (span.low, end)
            self._attempt.workspace.install_scores(span.id, rows, low, high)
            self._next()

        self._run(lambda: reading.page(lo, hi, span.count, is_backward=span.is_backward), take)

    def _search(
        self,
        wanted: OrderSpan,
        search: Generator[None, None, Any],
        answer_of: Callable[[Any], int | bytes],
    ) -> None:
        def read() -> tuple[Any] | None:
            try:
                next(search)
            except StopIteration as end:
                return (end.value,)
            return None

        def take(result: tuple[Any] | None) -> None:
            if result is None:
                self._search(wanted, search, answer_of)
            else:
                self._attempt.workspace.install_counted(wanted, answer_of(result[0]))
                self._next()

        self._run(read, take)

    def _claims(self, id_: int, first: int, rows: list[Any]) -> None:
        """Read the claims of a list."""
        page = self._page(CLAIM, id_, first, LOAD_ROWS_PER_PAGE)

        def take(result: Any) -> None:
            found = page.finish(result)
            rows.extend(found.rows)
            if found.is_last:
                self._attempt.workspace.install_claims(id_, rows)
                self._next()
            else:
                self._claims(id_, found.end, rows)

        self._run(page.read, take)

    def _range(self, wanted: tuple[int, int, int], first: int, rows: list[Any]) -> None:
        """Read heads from a hash on, until the range reaches far enough for a cursor."""
        workspace = self._attempt.workspace
        generation, _, count = wanted
        page = self._page(HEAD, generation, first, count)

        def take(result: Any) -> None:
            found = page.finish(result)
            rows.extend(found.rows)
            if workspace.install_range(wanted, rows, found.end):
                self._next()
            else:
                self._range(wanted, found.end, rows)

        self._run(page.read, take)

    def _names(self, wanted: tuple[int, int, int], first: int, names: list[bytes]) -> None:
        """Read the names of a database, from a hash on."""
        snapshot = self._attempt._snapshot
        page = snapshot.begin_keys(wanted[0], first, JOB_PAGE_KEYS)

        def take(result: Any) -> None:
            found = snapshot.visible_keys(page.finish(result))
            names.extend(found.keys)
            self._attempt.workspace.count_names(found.keys)
            if found.next_hash is None:
                self._attempt.workspace.install_names(wanted, names)
                self._next()
            else:
                self._names(wanted, found.next_hash, names)

        self._run(page.read, take)

    def _page(self, kind: int, id_: int, first: int, count: int) -> PendingPage:
        return self._attempt._snapshot.begin_page(kind, id_, first, count)
