"""The leader of a group under the test's hand: its entries commit, and its leadership is confirmed,
only when the test says so."""

from typing import Any

from kvnode._core.session import Session
from tests.support.local import LocalNode, pipeline

UNCERTAIN = b"UNCERTAIN leadership was lost: this command may or may not have been done"
RETRY = b"UNAVAILABLE leadership was lost: nothing of this command is done"
UNBLOCKED = b"UNBLOCKED force unblock from blocking operation, instance state changed"


class Leader(LocalNode):
    """A node of a group that leads it. Its log syncs with commit(); agree() commits."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sequencer.on_stable = lambda term, index: self.sequencer.committed
        self.sequencer.is_alone = False

    def agree(self, n: int | None = None) -> None:
        """A quorum has the oldest `n` entries, by default all."""
        committed, last = self.sequencer.committed, self.sequencer.last_index
        self.sequencer.commit_to(last if n is None else min(last, committed + n))
        self.sequencer.take_flushable()
        self.check()

    def confirm(self, number: int | None = None) -> None:
        """Leadership is confirmed for the input up to a pass, by default all."""
        self.sequencer.confirm(self.sequencer.passes if number is None else number)
        self.sequencer.take_flushable()

    def step_down(self) -> bool:
        """Lose the leadership; returns whether memory stays."""
        stays = self.sequencer.step_down(UNCERTAIN, RETRY, UNBLOCKED)
        self.sequencer.take_flushable()
        return stays

    def finish(self) -> None:
        """Commit and confirm all."""
        self.commit()
        self.agree()
        self.confirm()


def ask(node: LocalNode, *words: bytes | str | int) -> Session:
    """Run one command on a new session, in a pass of its own."""
    session = node.session()
    session.feed(pipeline(words))
    node.run_pass(session)
    return session


def error(line: bytes) -> bytes:
    """An error reply."""
    return b"-%b\r\n" % line
