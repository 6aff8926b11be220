"""A node's native core without sockets, threads or disk: RESP bytes in, RESP bytes out.

Commands that lack a record are parked and run again after a fetch from a MemoryEngine, so a node
with a tiny cache answers as one that has everything in memory. Time stands where the test puts it.
"""

from collections.abc import Iterable

from kvnode._core.dispatch import Command, Dispatch
from kvnode._core.logwriter import PythonSink
from kvnode._core.sequencer import Sequencer
from kvnode._core.session import Session
from kvnode._core.tip import Tip
from kvnode._core.transactions import Watches
from kvnode._core.view import View
from kvnode.storage.memory import MemoryEngine
from tests.support.resp import Reply, ReplyStream

START_MS = 1_700_000_000_000
HASH_KEY = bytes(range(16))
PUMPS_MAX = 100  # rounds of fetching after which a command is called stuck


class _PromptLog(PythonSink):
    """A log on which every entry is safe as soon as it is submitted."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, bytes]] = []

    def on_submit(self, term: int, index: int, commit_ts: int, payload: bytes) -> None:
        self.entries.append((commit_ts, payload))
        self.set_written(term, index)
        self.set_synced(term, index)


class MemoryNode:
    """commands: the rows of its dispatch."""

    def __init__(self, commands: Iterable[Command]) -> None:
        self.now_ms = START_MS
        self.engine = MemoryEngine()
        self.log = _PromptLog()
        self.tip = Tip(HASH_KEY, True)
        self.view = View(self.tip, 1)
        self.dispatch = Dispatch(list(commands))
        self.watches = Watches(self.tip)
        self.view.connect(self.dispatch, self.watches, self)
        self.sequencer = Sequencer(self.tip, self.view, self.dispatch, self.log, 1, 0, 0, 0)
        self.sequencer.serving = True
        self.parks = 0
        self._sessions = 0
        self._ranges: dict[tuple[int, int, int], object] = {}
        self.sequencer.begin(self.now_ms)
        self.sequencer.create_databases()
        self._end()

    def connect(self) -> "MemoryConnection":
        self._sessions += 1
        session = Session(self._sessions, self.now_ms)
        session.authenticated = True
        session.parser.authenticated = True
        return MemoryConnection(self, session)

    def run(self, session: Session) -> None:
        """Execute what was fed to `session`, with all the fetches that it takes."""
        sessions = [session]
        for _ in range(PUMPS_MAX):
            if not sessions:
                return
            self.sequencer.begin(self.now_ms)
            self.view.ranges = self._ranges
            for each in sessions:
                self.sequencer.serve(each)
            self._end()
            self._fetch()
            self._run_jobs()
            sessions = self.sequencer.take_ready()
        raise AssertionError("the command does not end")

    def _end(self) -> None:
        self.sequencer.end()
        self._ranges = {}
        self.sequencer.log_moved()
        self.sequencer.take_flushable()

    def _run_jobs(self) -> None:
        for session, _ in self.sequencer.take_jobs():
            reply = session.waiting.run()
            self.sequencer.begin(self.now_ms)
            self.sequencer.answer(session, lambda out, reply=reply: out.raw(reply))
            self._end()

    def _fetch(self) -> None:
        sessions, keys, ranges = self.sequencer.take_parked()
        if not sessions:
            return
        self.parks += len(sessions)
        epoch = self.tip.begin_fetch()
        for key, envelope in zip(keys, self.engine.get_many(keys), strict=True):
            self.tip.install(key, envelope)
        self._ranges = {wanted: self._read_range(*wanted) for wanted in ranges}
        self.tip.end_fetch(epoch)
        for session in sessions:
            self.sequencer.resume(session)

    def _read_range(self, generation: int, from_hash: int, count: int) -> object:
        prefix = b"H" + generation.to_bytes(8)
        end = b"H" + (generation + 1).to_bytes(8)
        rows = [
            (int.from_bytes(key[9:17]), key[17:], value)
            for key, value in self.engine.scan(prefix + from_hash.to_bytes(8), end, count + 1)
        ]
        if len(rows) <= count:
            return rows, 0, True
        return rows[:-1], rows[-1][0], False

    def checkpoint(self) -> None:
        """Write all that is dirty to the engine."""
        self.tip.begin_checkpoint()
        while self.tip.flush_left():
            self.engine.write(self.tip.flush_slice(50, 1 << 20))
            self.tip.flushed()

    def evict(self) -> int:
        """Drop all clean records from memory; return how many went."""
        return sum(self.tip.evict(0, 1 << 20) for _ in range(2))  # the second chance, taken away


class MemoryConnection(ReplyStream):
    """A session of a MemoryNode, used like a connection."""

    def __init__(self, node: MemoryNode, session: Session) -> None:
        self.node = node
        self.session = session
        super().__init__(session.feed, self._receive)

    def _receive(self) -> bytes:
        self.node.run(self.session)
        return self.session.take()

    def close(self) -> None:
        """The client is gone."""
        self.node.watches.remove(self.session)
        self.node.sequencer.forget(self.session)

    def ask(self, *arguments: bytes | str | int) -> Reply:
        """Send one command and return its reply; an error is a value."""
        try:
            return self.call(*arguments)
        except Exception as error:
            if type(error).__name__ != "ErrorReply":
                raise
            return error
