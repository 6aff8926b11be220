"""Where blocking calls run: the storage layer has no threads, it hands its calls to an Executor."""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

Work = Callable[[], Any]
Completion = Callable[[Any, BaseException | None], None]


class Executor(Protocol):
    """Runs submitted calls one after another, in the order of submission."""

    def submit(self, work: Work, completion: Completion) -> None:
        """Run `work()`; later `completion(result, error)` is called on the sequencer's thread."""


class StepExecutor:
    """Runs each call when told to, on the caller's thread: for simulation, tests and shutdown."""

    def __init__(self) -> None:
        self._work: deque[tuple[Work, Completion]] = deque()

    def submit(self, work: Work, completion: Completion) -> None:
        self._work.append((work, completion))

    def step(self) -> bool:
        """Run the oldest call and deliver its result; False when there is none."""
        if not self._work:
            return False
        work, completion = self._work.popleft()
        result, error = None, None
        try:
            result = work()
        except Exception as caught:  # its completion decides
            error = caught
        completion(result, error)
        return True

    def run(self) -> int:
        """Run calls until none are left; return how many."""
        count = 0
        while self.step():
            count += 1
        return count

    def __len__(self) -> int:
        return len(self._work)
