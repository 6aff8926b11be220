"""Reads that wait: first for Raft to say up to where they must see, then until that is applied."""

from collections import deque
from collections.abc import Callable, Iterable

from kvnode.base.limits import READ_TICKS_MAX
from kvnode.raft.reads import ReadsDone

Done = Callable[[bool], None]


class PendingReads:
    """In the order in which they were asked for."""

    def __init__(self) -> None:
        self._asked: deque[tuple[int, Done]] = deque()  # by ticket
        self._settled: list[tuple[int, int, Done]] = []  # index to be applied, last tick
        self._ticks = 0

    def add(self, ticket: int, done: Done) -> None:
        """Call done(True) when the read of this ticket may be served; done(False): it may not."""
        self._asked.append((ticket, done))

    def settle(self, reads: Iterable[ReadsDone]) -> None:
        """Raft has answered."""
        for settled in reads:
            while self._asked and self._asked[0][0] <= settled.ticket:
                _, done = self._asked.popleft()
                if settled.index is None:
                    done(False)
                else:
                    self._settled.append((settled.index, self._ticks + READ_TICKS_MAX, done))

    def answer(self, applied: int) -> None:
        """Entries up to `applied` can be seen."""
        due, self._settled = self._settled, []
        for index, last_tick, done in due:
            if applied >= index:
                done(True)
            else:
                self._settled.append((index, last_tick, done))

    def tick(self) -> None:
        """Time passes: a node that is far behind keeps none for ever."""
        self._ticks += 1
        waiting, self._settled = self._settled, []
        for index, last_tick, done in waiting:
            if last_tick < self._ticks:
                done(False)
            else:
                self._settled.append((index, last_tick, done))

    def fail(self) -> None:
        """Nobody will answer."""
        asked, self._asked = self._asked, deque()
        for _, done in asked:
            done(False)
