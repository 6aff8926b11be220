"""A LocalNode that does at once what a server does in time: commits, fetches, jobs.

Its invariants are checked when the test says so, not after each step.
"""

from collections.abc import Iterable

from kvnode._core import invariants
from kvnode._core.dispatch import Command
from kvnode._core.session import Session
from kvnode.storage.snapshot import SnapshotReader
from tests.support.local import PASSES_MAX, S_PARKED, LocalNode

KEYS_PER_PAGE = 3


class PromptNode(LocalNode):
    """parks: how often a command had to wait for records."""

    def __init__(self, commands: Iterable[Command] | None = None) -> None:
        self.parks = 0
        super().__init__(commands=commands)

    def check(self) -> None:
        """Nothing: see verify()."""

    def verify(self) -> None:
        """Raise InvariantError if the tip is broken."""
        invariants.check(self.tip)

    def settle(self, session: Session, data: bytes = b"") -> bytes:
        session.feed(data)
        replies = []
        todo = [session]
        for _ in range(PASSES_MAX):
            self.run_pass(*todo)
            self.parks += session.state == S_PARKED
            self.fetch()
            self.commit()
            self._run_jobs()
            replies.append(session.take())
            todo = self.sequencer.take_ready()
            if not todo:
                return b"".join(replies)
        raise AssertionError("the commands never end")

    def _run_jobs(self) -> None:
        for session, args in self.sequencer.take_jobs():
            reply = session.waiting.run() if session.waiting else self._keys(session.db, args[1])
            self.sequencer.begin(self.clock.now_ms)
            self.sequencer.answer(session, lambda out, reply=reply: out.raw(reply))
            self._end()

    def _keys(self, db: int, pattern: bytes) -> bytes:
        """KEYS of a database that is not in memory: a walk over a pinned snapshot."""
        assert pattern == b"*"
        read_ts = self.tip.pin()
        reader = SnapshotReader(self.tip, self.engine, read_ts, self.clock.now_ms)
        generation = self.dump()["databases"][db]
        names, at = [], 0
        while at is not None:
            page = reader.keys_step(generation, at, KEYS_PER_PAGE)
            names += page.keys
            at = page.next_hash
        self.tip.unpin(read_ts)
        return b"*%d\r\n" % len(names) + b"".join(b"$%d\r\n%s\r\n" % (len(n), n) for n in names)

    def evict(self, steps: int = 4096) -> int:
        """Drop clean records from memory, in about `steps` buckets; return how many went."""
        return sum(self.tip.evict(0, steps) for _ in range(2))  # the second chance, taken away
