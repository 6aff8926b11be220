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

    @property
    def can_wait(self) -> bool:
        """Whether `work` may wait inside itself, see wait()."""

    def wait(self, start: Callable[[Callable[[BaseException | None], None]], None]) -> None:
        """From inside of `work`: have `start(then)` called on the sequencer's thread, and return
        when then(error) was called. Raises the error."""


class Slot:
    """One call in flight at a time, and the failure that ended it."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._is_busy = False
        self._error: BaseException | None = None

    @property
    def is_free(self) -> bool:
        """Whether the next call may be submitted. Raises what the last one raised."""
        if self._error is not None:
            raise self._error
        return not self._is_busy

    def submit(self, work: Work, then: Callable[[Any], None] | None = None) -> None:
        """Run `work()` on the executor; `then(result)` is called unless it fails."""

        def completed(result: Any, error: BaseException | None) -> None:
            self._is_busy = False
            if error is not None:
                self._error = error
            elif then is not None:
                then(result)

        assert not self._is_busy
        self._is_busy = True
        self._executor.submit(work, completed)


class StepExecutor:
    """Runs each call when told to, on the caller's thread: for simulation, tests and shutdown."""

    can_wait = False

    def __init__(self) -> None:
        self._work: deque[tuple[Work, Completion]] = deque()

    def submit(self, work: Work, completion: Completion) -> None:
        self._work.append((work, completion))

    def wait(self, start: Callable[[Callable[[BaseException | None], None]], None]) -> None:
        raise NotImplementedError

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
