"""What an optimistic transaction runs."""

from kvnode.txn.attempt import Attempt


class Program:
    """Commands that depend on each other's replies. The base of all programs."""

    def start(self) -> None:
        """A try begins: forget the one before."""
        raise NotImplementedError

    def run(self, attempt: Attempt) -> bool:
        """Run commands by `attempt` until the end: True; or until one lacks records: False.

        On the executor. Called again where it stopped once the records are there. A program that
        cannot stop waits inside instead, see Transaction.read_missing().
        """
        raise NotImplementedError

    def reply_instead(self) -> bytes | None:
        """Just before it would take effect, in that pass: a reply in place of all of it."""
        return None

    def take_effect(self) -> None:
        """Add what is no effect of its commands, in their batch. In that pass."""

    def reply(self) -> bytes:
        """The whole reply, once run() has ended."""
        raise NotImplementedError

    def cancel(self) -> None:
        """It ends without taking effect: a run() that is under way need not go on."""

    def end(self, *, is_done: bool) -> None:
        """It has taken effect, or ends without. In a pass; not called when the client is gone."""


class Command(Program):
    """The program of one command."""

    def __init__(self, words: list[bytes]) -> None:
        self._words = words
        self._reply: bytes | None = None

    def start(self) -> None:
        self._reply = None

    def run(self, attempt: Attempt) -> bool:
        self._reply = attempt.run(self._words)
        return self._reply is not None

    def reply(self) -> bytes:
        assert self._reply is not None
        return self._reply
