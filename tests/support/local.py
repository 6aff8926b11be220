"""A node's data plane under the test's hand: when passes run, entries commit, records are fetched.

Nothing happens by itself. After each step the invariants of the tip are checked.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kvnode._core import invariants
from kvnode._core.dispatch import Command, Dispatch
from kvnode._core.pubsub import PubSub
from kvnode._core.sequencer import Sequencer
from kvnode._core.session import Session
from kvnode._core.tip import Tip, take_blind
from kvnode._core.transactions import Watches
from kvnode._core.upkeep import due_records
from kvnode._core.view import View
from kvnode.commands import table
from kvnode.commands.group import Group, LoneGroup
from kvnode.scripting import runtime
from kvnode.server.local import HASH_KEY, START_MS, native_handlers
from kvnode.storage.fetch import ElementRange, HeadRange, RangeKey, Span, Wanted, read_range
from kvnode.storage.memory import MemoryEngine
from kvnode.storage.parts import (
    ItemPage,
    Page,
    Records,
    ScorePage,
    read_page,
    read_records,
    read_span,
)
from kvnode.storage.unseen import with_old_rows
from tests.sim.log import SimLog
from tests.support.contents import Contents, contents
from tests.support.resp import Reply, ReplyStream, encode

UNCERTAIN = b"UNCERTAIN the outcome of the command is unknown"
TERM = 1
EXPIRED_AT_ONCE = 10  # deadlines looked at by one step of expire()
PASSES_MAX = 1000  # in settle(): more means that something never ends
S_READY, S_PARKED, S_WAITING, S_CLOSING, S_CLOSED = range(5)  # SessionState of session.pxd

Words = tuple[bytes | str | int, ...]


class Clock:
    """Wall time that the test sets."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_ms = now_ms

    def advance(self, ms: int) -> None:
        self.now_ms += ms


@dataclass
class Fetch:
    """What parked sessions lack. records, pages and found: once they are read."""

    epoch: int
    keys: list[bytes]
    ranges: list[Wanted]
    sessions: list[Session]
    records: Records | None = None
    pages: list[Page | ScorePage | ItemPage] = field(default_factory=list)
    found: dict[RangeKey, HeadRange | ElementRange] = field(default_factory=dict)


class LocalNode:
    """One node. commands: the rows of its dispatch, by default the whole table.

    clock, log: see Clock and SimLog; the node's own by default.
    """

    config: Mapping[str, Any] = {"cluster-enabled": False}  # what commands ask of it
    group: Group = LoneGroup(lambda: (0, 0))

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        log: SimLog | None = None,
        commands: Iterable[Command] | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.log = log or SimLog()
        self.engine = MemoryEngine()
        self.tip = Tip(HASH_KEY, True)
        self.view = View(self.tip, 1)
        self.watches = Watches(self.tip)
        self.dispatch = Dispatch(list(commands or table.build(native_handlers())))
        self.view.connect(self.dispatch, self.watches, self)
        runtime.connect(self.view)
        self.view.scripts.budget_micros = 0  # nothing runs beside the sequencer of this node
        self.view.scripts.misses_max = 1_000_000
        self.sequencer = Sequencer(self.tip, self.view, self.dispatch, self.log, TERM, 0, 0, 0)
        self.sequencer.serving = True
        PubSub(self.sequencer).connect()
        self.entries: list[tuple[int, bytes]] = []  # (commit_ts, payload) of all submitted
        self._listen()
        self._sessions = 0
        self.score_pages = 0  # read so far
        self._ranges: dict[RangeKey, object] = {}  # for the next pass
        self._epochs: list[int] = []  # of fetches whose sessions have not run
        self.sequencer.begin(self.clock.now_ms)
        self.sequencer.create_databases()
        self._end()
        self.commit()

    def _listen(self) -> None:
        submit = self.log.on_submit

        def on_submit(term: int, index: int, commit_ts: int, payload: bytes) -> None:
            self.entries.append((commit_ts, payload))
            submit(term, index, commit_ts, payload)

        self.log.on_submit = on_submit

    # -- sessions and passes --------------------------------------------------------------------

    def session(self) -> Session:
        """Return a new client."""
        self._sessions += 1
        session = Session(self._sessions, self.clock.now_ms)
        session.authenticated = session.parser.authenticated = True
        return session

    def run(self, session: Session, data: bytes = b"") -> bytes:
        """Feed `data` to one session, run a pass, and return the bytes that may leave."""
        session.feed(data)
        self.run_pass(session)
        return session.take()

    def run_pass(self, *sessions: Session) -> None:
        """Run one pass over sessions that were fed, and over those that are ready by themselves."""
        self.sequencer.begin(self.clock.now_ms)
        self.view.ranges, self._ranges = self._ranges, {}
        for session in (*sessions, *self.sequencer.take_ready()):
            self.sequencer.serve(session)
        self._end()

    def _end(self) -> None:
        self.sequencer.end()
        self.sequencer.take_flushable()
        while self._epochs:
            self.tip.end_fetch(self._epochs.pop())
        self.check()

    def commit(self, n: int | None = None) -> None:
        """Write, sync and commit the oldest `n` entries, by default all."""
        self.log.complete(n)
        self.sequencer.log_moved()
        self.sequencer.take_flushable()
        self.check()

    def close(self, session: Session) -> None:
        """The client is gone."""
        session.state = S_CLOSED
        self.watches.remove(session)
        self.sequencer.forget(session)

    def visible(self) -> Contents:
        """Return what clients can see, committed or not."""
        return contents(self.tip, self.engine)

    def settle(self, session: Session, data: bytes = b"") -> bytes:
        """Run `data` to its end with all fetches and commits it takes; return all replies."""
        session.feed(data)
        replies = []
        todo = [session]
        for _ in range(PASSES_MAX):
            self.run_pass(*todo)
            self.fetch()
            self.commit()
            replies.append(session.take())
            todo = self.sequencer.take_ready()
            if not todo:
                return b"".join(replies)
        raise AssertionError("the commands never end")

    def client(self) -> "LocalClient":
        """Return a new client that settles each command."""
        return LocalClient(self, self.session())

    # -- behind the tip -------------------------------------------------------------------------

    def fetch(self) -> list[bytes]:
        """Read what parked sessions lack and let them run in the next pass; return the keys."""
        fetch = self.begin_fetch()
        self.end_fetch(fetch)
        return fetch.keys

    def begin_fetch(self) -> "Fetch":
        """Begin to read what parked sessions lack; nothing reaches the tip before end_fetch()."""
        sessions, keys, ranges = self.sequencer.take_parked()
        epoch = self.tip.begin_fetch() if sessions else 0
        return Fetch(epoch, keys, ranges, sessions)

    def read(self, fetch: "Fetch") -> None:
        """Read from the engine as it is now; by default the last moment, in end_fetch()."""
        fetch.records = read_records(self.engine, fetch.keys, self.tip.has_delta_rows)
        for wanted in fetch.ranges:
            if isinstance(wanted, Span):
                fetch.pages.append(read_span(self.engine, wanted))
                self.score_pages += isinstance(fetch.pages[-1], ScorePage)
            elif isinstance(wanted, tuple):
                fetch.found[wanted] = read_range(self.engine, wanted)
            elif (load := self.tip.begin_load(wanted)) is not None:
                fetch.pages.append(read_page(self.engine, load[0], wanted, load[1]))

    def end_fetch(self, fetch: "Fetch") -> None:
        """Give the tip what was read; its records stay there until the next pass has run."""
        if not fetch.sessions:
            return
        if fetch.records is None:
            self.read(fetch)
        for part in (fetch.records, *fetch.pages):
            part.install(self.tip)
        for wanted, found in fetch.found.items():
            if found.install(self.tip):
                self._ranges[wanted] = found.rows, found.next_hash, found.is_done
        for session in fetch.sessions:
            self.sequencer.resume(session)
        if fetch.epoch:
            self._epochs.append(fetch.epoch)
        self.check()

    def checkpoint(self, *, records: int = 50) -> None:
        """Write all that is dirty and durable to the engine."""
        self.tip.begin_checkpoint()
        while self.tip.flush_left():
            self.flush_slice(records)
        self.tip.end_checkpoint()

    def flush_slice(self, records: int = 50) -> list[tuple[bytes, bytes | None]]:
        """Write one slice of the running checkpoint; return its rows."""
        rows = self.tip.flush_slice(records, 1 << 20)
        self.check()
        self.engine.write(with_old_rows(self.engine, rows, take_blind(self.tip), {}))
        self.tip.flushed()
        self.check()
        return rows

    def evict(self) -> int:
        """Drop all clean records from memory; return how many went."""
        dropped = sum(self.tip.evict(0, 1 << 20) for _ in range(2))  # the second chance, taken
        self.check()
        return dropped

    def expire(self) -> None:
        """Delete what is past its deadline and was not touched, as the sweeper does."""
        while records := due_records(self.tip, self.clock.now_ms, EXPIRED_AT_ONCE):
            self.sequencer.begin(self.clock.now_ms)
            self.sequencer.expire_records(records)
            self._end()
            self.commit()

    def cool(self) -> None:
        """Make everything committed cold: in the engine, not in memory, as after a restart."""
        self.checkpoint()
        self.evict()
        for db in self.tip.database_counts():
            self.tip.set_resident(self.tip.current_generation(db), False)

    # -- looking inside -------------------------------------------------------------------------

    def check(self) -> None:
        """Raise InvariantError if the tip is broken."""
        invariants.check(self.tip)

    def dump(self) -> dict:
        """Return the state of the tip; see kvnode._core.invariants."""
        return invariants.dump(self.tip)

    def head_key(self, key: bytes, db: int = 0) -> bytes:
        """Return the record key of a key that is in memory."""
        generation = self.dump()["databases"][db]
        for record in self.dump()["tables"][ord("H"), generation]["entries"]:
            if record[17:] == key:
                return record
        raise KeyError(key)

    def versions(self, key: bytes, db: int = 0) -> list[tuple[int, int, int, int, bytes]]:
        """Return the versions of a key in memory, newest first; none if it has no entry."""
        state = self.dump()
        entries = state["tables"][ord("H"), state["databases"][db]]["entries"]
        return next((v for record, (_, v) in entries.items() if record[17:] == key), [])


class LocalClient(ReplyStream):
    """A session of a LocalNode, used like a connection; every command settles."""

    def __init__(self, node: LocalNode, session: Session) -> None:
        self.node = node
        self.session = session
        self._output = b""
        super().__init__(self._transmit, self.take)

    def _transmit(self, data: bytes) -> None:
        self._output += self.node.settle(self.session, data)

    def take(self) -> bytes:
        """Return what was answered since the last call, as it is."""
        data, self._output = self._output, b""
        return data

    def ask(self, *arguments: bytes | str | int) -> Reply:
        """Send one command and return its reply; an error is a value."""
        self.send(encode(*arguments))
        return self.receive()


def pipeline(*commands: Words) -> bytes:
    """Return the bytes of several commands."""
    return b"".join(encode(*command) for command in commands)
