"""A request with an id that goes on beside the sequencer, as the program of a transaction.

Its record is written in the batch of its effects. A try of the same request on another connection
may have taken effect since: then this one answers as that did.
"""

from kvnode._core import once
from kvnode._core.sequencer import Sequencer
from kvnode._core.session import Session
from kvnode.txn.attempt import Attempt
from kvnode.txn.program import Program


class Once(Program):
    """`program` runs the command `words` of a request."""

    def __init__(
        self,
        sequencer: Sequencer,
        session: Session,
        request_id: bytes,
        words: list[bytes],
        program: Program,
    ) -> None:
        self._sequencer = sequencer
        self._session = session
        self._request_id = request_id
        self._words = words
        self._program = program
        self._has_effects = False

    def start(self) -> None:
        self._has_effects = False
        self._program.start()

    def run(self, attempt: Attempt) -> bool:
        is_finished = self._program.run(attempt)
        workspace = attempt.workspace
        self._has_effects = bool(workspace.wrote or workspace.events)
        return is_finished

    def reply_instead(self) -> bytes | None:
        reply = once.recorded(self._sequencer, self._session, self._request_id, self._words)
        return self._program.reply_instead() if reply is None else reply

    def take_effect(self) -> None:
        self._program.take_effect()
        reply = self.reply()
        if self._has_effects or not reply.startswith(b"-"):
            once.record(self._sequencer, self._session, self._request_id, self._words, reply)

    def reply(self) -> bytes:
        return self._program.reply()

    def cancel(self) -> None:
        self._program.cancel()

    def end(self, *, is_done: bool) -> None:
        self._program.end(is_done=is_done)
