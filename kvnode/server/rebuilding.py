"""Replaces a node's state: once all calls of the old one have ended, and between passes."""

from collections.abc import Callable, Sequence

from kvnode.raft.messages import Snapshot
from kvnode.storage.executor import Executor


class Rebuilding:
    """Asked for at any time, done once for all that asked.

    executors: those whose calls touch store or log. rebuild: does it, with the newest image that
    was named; calls step() of this never from inside.
    """

    def __init__(
        self, executors: Sequence[Executor], rebuild: Callable[[Snapshot | None], None]
    ) -> None:
        self._executors = executors
        self._rebuild = rebuild
        self._image: Snapshot | None = None
        self._is_wanted = False
        self._left = 0  # calls that were submitted before, as far as is known

    def ask(self, image: Snapshot | None) -> None:
        """Have it done; image: to be put in the place of the store first."""
        self._image = image or self._image
        if self._is_wanted:
            return
        self._is_wanted = True
        self._left = len(self._executors)
        for executor in self._executors:
            executor.submit(lambda: None, self._passed)

    def _passed(self, result: None, error: BaseException | None) -> None:
        self._left -= 1

    def step(self) -> None:
        """Do it if it is due. Between passes."""
        if self._is_wanted and not self._left:
            self._is_wanted = False
            image, self._image = self._image, None
            self._rebuild(image)
