"""Threads for blocking calls: LevelDB's writes and reads, off the sequencer's thread.

Work is submitted with the function that takes its result; completions queue up, the reactor is
woken, and they are delivered on the sequencer's thread inside a pass.
"""

import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from kvnode.base.limits import EXECUTOR_QUEUE_MAX

CLOSING_SECONDS = 0.1  # so often a thread that waits looks whether the node ends

Work = Callable[[], Any]
Completion = Callable[[Any, BaseException | None], None]


class ThreadExecutor:
    """One thread that runs submitted calls in order.

    name: of the thread. wake_fd: an eventfd, written once per completion. niceness: of the thread,
    whose work others need not wait for.
    """

    can_wait = True

    def __init__(self, name: str, wake_fd: int, niceness: int = 0) -> None:
        self._wake_fd = wake_fd
        self._niceness = niceness
        self._work: queue.Queue[tuple[Work, Completion] | None] = queue.Queue(EXECUTOR_QUEUE_MAX)
        self._done: deque[tuple[Completion, Any, BaseException | None]] = deque()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Work, completion: Completion) -> None:
        """Run `work()` on the thread; `completion(result, error)` is called by deliver()."""
        self._work.put_nowait((work, completion))

    def deliver(self) -> int:
        """Call the completions that are due; return how many. On the sequencer's thread."""
        count = 0
        while self._done:
            completion, result, error = self._done.popleft()
            completion(result, error)
            count += 1
        return count

    def wait(self, start: Callable[[Callable[[BaseException | None], None]], None]) -> None:
        """See Executor. Raises RuntimeError when the node ends."""
        ended = threading.Event()
        errors: list[BaseException | None] = []

        def then(error: BaseException | None) -> None:
            errors.append(error)
            ended.set()

        self._done.append((lambda result, error: start(then), None, None))
        os.eventfd_write(self._wake_fd, 1)
        while not ended.wait(CLOSING_SECONDS):
            if self._is_closing:
                raise RuntimeError("the node ends")
        if errors[0] is not None:
            raise errors[0]

    def close(self) -> None:
        """Finish what is queued and end the thread."""
        self._is_closing = True
        self._work.put(None)
        self._thread.join()

    def abandon(self) -> None:
        """Let what runs end by itself, and run nothing more; nothing is delivered any more."""
        self._is_closing = True
        self._done = deque(maxlen=0)
        self._work.put(None)

    def _run(self) -> None:
        if self._niceness:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._niceness)
        while (item := self._work.get()) is not None:
            work, completion = item
            result, error = None, None
            try:
                result = work()
            except BaseException as caught:  # delivered to the sequencer's thread, which decides
                error = caught
            self._done.append((completion, result, error))
            os.eventfd_write(self._wake_fd, 1)
