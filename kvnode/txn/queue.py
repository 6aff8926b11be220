"""EXEC past the step budget: its queue as the program of a transaction.

What the session watches counts up to the commit: if it has changed by then, EXEC answers null.
"""

from typing import Any

from kvnode._core.sequencer import Sequencer
from kvnode._core.session import Session
from kvnode._core.transactions import end_queue, is_void, take_queue
from kvnode.txn.attempt import Attempt
from kvnode.txn.program import Program

NULL_ARRAY = {2: b"*-1\r\n", 3: b"_\r\n"}  # by RESP version


class Queue(Program):
    """The queue of a session whose EXEC the sequencer gave up."""

    def __init__(self, sequencer: Sequencer, session: Session) -> None:
        self._sequencer = sequencer
        self._session = session
        self._queue, self._count = take_queue(session)
        self._at = 0
        self._replies = b""
        self._db: int | None = None  # in which it has ended
        self._scripts: list[Any] = []  # that it has run by their text for the first time

    def start(self) -> None:
        self._at = 0

    def run(self, attempt: Attempt) -> bool:
        self._at = attempt.run_queue(self._queue, self._at)
        if self._at < len(self._queue):
            return False
        self._replies = attempt.workspace.take_reply()
        self._db = attempt.workspace.session.db
        self._scripts = list(attempt.workspace.scripts.values())
        return True

    def reply_instead(self) -> bytes | None:
        if not is_void(self._sequencer, self._session):
            return None
        self._db = None
        return NULL_ARRAY[self._session.proto]

    def reply(self) -> bytes:
        return b"*%d\r\n" % self._count + self._replies

    def end(self, *, is_done: bool) -> None:
        if is_done and self._db is not None:
            end_queue(self._sequencer, self._session, self._db, self._scripts)
        else:
            end_queue(self._sequencer, self._session, None, [])
