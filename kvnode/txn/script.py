"""A script past its budget, as the program of a transaction.

It reads from the snapshot and its own writes only, and runs as often as the transaction is tried.
Where the worker's thread can wait, a record that is missing is read inside of the run; elsewhere
the script runs again from its start. Killed, or past its hard limit, it answers an error and does
nothing.
"""

from typing import Any

from kvnode.storage.executor import Executor
from kvnode.txn.attempt import Attempt
from kvnode.txn.program import Command

KILLED = b"-ERR Script killed by user with SCRIPT KILL.\r\n"


class Script(Command):
    """The program of EVAL, FCALL and their kin. scripts: the Scripts of the node."""

    def __init__(
        self, words: list[bytes], scripts: Any, worker: Executor, reader: Executor
    ) -> None:
        super().__init__(words)
        self.words = words
        self.began_ms = scripts.now_ms
        self._scripts = scripts
        self._worker = worker
        self._reader = reader
        self._is_stopped = False
        self._is_killed = False
        self._is_running = False  # on the worker's thread
        scripts.programs.add(self)

    def run(self, attempt: Attempt) -> bool:
        engine = self._scripts.beside
        engine.revive()
        self._is_running = True
        try:
            if self._is_killed:
                self._reply, self._is_stopped = KILLED, True
                return True
            if self._worker.can_wait:
                engine.read_missing = lambda: attempt.read_at_hand() or self._worker.wait(
                    lambda then: attempt.read_missing(self._reader, then)
                )
            is_finished = super().run(attempt)
            self._is_stopped = is_finished and engine.was_stopped
            return is_finished
        finally:
            engine.read_missing = None
            self._is_running = False

    def reply_instead(self) -> bytes | None:
        return self._reply if self._is_stopped else None

    def kill(self) -> None:
        """SCRIPT KILL: it ends with an error, at once or when it is its turn."""
        self._is_killed = True
        if self._is_running:
            self._scripts.beside.kill()

    def cancel(self) -> None:
        self._scripts.programs.discard(self)
        self.kill()

    def end(self, *, is_done: bool) -> None:
        self._scripts.programs.discard(self)
