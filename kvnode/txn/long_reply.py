"""Replies of many elements, as HGETALL of a large hash: written as the client takes them.

The command waits for a fence, as a transaction does; its commit is the moment of which the reply
speaks, and covers all that the client can have seen. So nothing of the reply waits for a commit.
All of it is read at one pin, see Reading.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from kvnode._core.element_reads import WRONG_TYPE, ZSET, pinned_head
from kvnode._core.session import Session
from kvnode._core.upkeep import generation_at, head_key
from kvnode.base.limits import (
    LONG_REPLIES_OPEN_MAX,
    LONG_REPLY_STALLED_MS,
    LONG_REPLY_UNSENT_BYTES,
    READINGS_MEMORY_SHARE,
)
from kvnode.storage.engine import Engine
from kvnode.storage.executor import Executor
from kvnode.storage.reading import Reading, open_reading
from kvnode.storage.snapshot import SnapshotReader
from kvnode.txn.element_replies import parts_of, reply_to_absence, type_of
from kvnode.txn.state import State


class LongReply:
    """The reply of one command that element_replies can make. Made by LongReplies.begin()."""

    def __init__(
        self, owner: "LongReplies", session: Session, words: list[bytes], fence_index: int
    ) -> None:
        self.session = session
        self.is_done = False
        self.is_open = False  # it has begun to read
        self.has_begun = False  # some of it is written
        self.reading: Reading | None = None
        self._owner = owner
        self._words = words
        self._fence_index = fence_index
        self._is_closed = False
        self._is_reading = False
        self._pin: int | None = None
        self._parts: Iterator[bytes] = iter(())
        self._part: bytes | None = None  # the next one
        self._error: BaseException | None = None
        self._sent = -1  # bytes of the connection at _sent_ms
        self._sent_ms = 0

    @property
    def is_waiting(self) -> bool:
        """Whether a completion, the client, or another reply has to come first."""
        return self.is_open or not self._owner.may_open()

    def step(self, state: State, engine: Engine, executor: Executor) -> None:
        """Write what there is if the client has taken what was before, and read on. In a pass."""
        if self._error is not None:
            raise self._error
        if not self.is_open:
            if state.sequencer.committed >= self._fence_index and self._owner.may_open():
                self._open(state, engine, executor)
        elif not self._is_reading:
            if self._part is not None and self.session.output_bytes < LONG_REPLY_UNSENT_BYTES:
                part, self._part = self._part, None
                self.has_begun = True
                state.sequencer.answer(self.session, lambda out: out.raw(part), False)
            if self._part is None:
                self._is_reading = True
                executor.submit(partial(next, self._parts, None), self._was_read)

    def _was_read(self, part: bytes | None, error: BaseException | None) -> None:
        self._is_reading = False
        self._error = error
        self._part = part
        self.is_done = part is None and error is None

    def write(self, reply: Any) -> None:
        """All is written."""

    def close(self, state: State) -> None:
        """Let go of what it reads."""
        self._is_closed = True
        self._unpin(state)
        self._owner.end(self)

    def has_stalled(self, now_ms: int) -> bool:
        """Whether the client has taken nothing for too long. Called now and then."""
        if self._part is None or self.session.bytes_out != self._sent:
            self._sent = self.session.bytes_out
            self._sent_ms = now_ms
        return now_ms - self._sent_ms > LONG_REPLY_STALLED_MS

    # -- opening --------------------------------------------------------------------------------

    def _open(self, state: State, engine: Engine, executor: Executor) -> None:
        """The fence is committed: this is the moment."""
        tip = state.tip
        self._pin = pin = tip.pin()
        self.is_open = self._is_reading = True
        key = head_key(tip, generation_at(tip, self.session.db, pin), self._words[1])
        epoch = tip.begin_fetch()
        pending = SnapshotReader(tip, engine, pin, pin >> 16).begin_get([key])

        def found(result: Any, error: BaseException | None) -> None:
            tip.end_fetch(epoch)
            if error is None and not self._is_closed:
                envelope = pending.finish(result).get(key)
                self._begin(state, engine, executor, pin, envelope)
            else:
                self._opened(state, error)

        executor.submit(pending.read or (lambda: None), found)

    def _begin(
        self,
        state: State,
        engine: Engine,
        executor: Executor,
        pin: int,
        envelope: bytes | None,
    ) -> None:
        """The head of the key is there."""
        name, proto, now_ms = self._words[0].lower(), self.session.proto, pin >> 16
        head = pinned_head(envelope) if envelope is not None else None
        if head is None or 0 < head.expire_at <= now_ms:
            self._parts = iter([reply_to_absence(name, proto)])
        elif head.type != type_of(name):
            self._parts = iter([b"-%s\r\n" % WRONG_TYPE])
        else:
            self.reading = Reading(
                head.kind,
                head.id,
                pin,
                is_by_score=head.type == ZSET,
                now_ms=now_ms if head.may_expire else 0,
            )
            self._parts = parts_of(self._words, proto, head, self.reading)
            then = partial(self._opened, state)
            open_reading(self.reading, state.tip, engine, executor, then)
            return
        self._opened(state, None)

    def _opened(self, state: State, error: BaseException | None) -> None:
        """All that needs the pin is done."""
        self._is_reading = False
        self._error = error
        self._unpin(state)
        self._owner.note_memory()

    def _unpin(self, state: State) -> None:
        if self._pin is not None:
            state.tip.unpin(self._pin)
            self._pin = None


class LongReplies:
    """All of a node. reader: reads LevelDB. on_memory: is told how many bytes they take."""

    def __init__(self, state: State, reader: Executor) -> None:
        self.on_memory: Callable[[int], None] = lambda taken: None
        self.started = 0
        self._state = state
        self._reader = reader
        self._replies: list[LongReply] = []

    def begin(self, session: Session, words: list[bytes]) -> LongReply:
        """Begin the reply of a waiting session with its fence. In a pass, or at the end of one."""
        self.started += 1
        reply = LongReply(self, session, words, self._state.sequencer.propose_empty())
        self._replies.append(reply)
        return reply

    def may_open(self) -> bool:
        """Whether one more may: not, beside others, while copies of what is written take much."""
        count = sum(reply.is_open for reply in self._replies)
        most = self._state.cache_bytes * READINGS_MEMORY_SHARE
        return not count or (count < LONG_REPLIES_OPEN_MAX and self.bytes <= most)

    def end(self, reply: LongReply) -> None:
        """A reply is whole, or given up."""
        self._replies.remove(reply)
        if reply.reading is not None:
            reply.reading.close(self._reader)
        self.note_memory()

    @property
    def bytes(self) -> int:
        """What they keep in memory, about."""
        return sum(reply.reading.bytes for reply in self._replies if reply.reading is not None)

    def note_memory(self) -> None:
        """A reading has been opened, or one has gone."""
        self.on_memory(self.bytes)

    def stalled(self, now_ms: int) -> list[Session]:
        """The sessions whose clients have taken nothing for too long. Called now and then."""
        return [reply.session for reply in self._replies if reply.has_stalled(now_ms)]

    def statistics(self) -> dict[str, int]:
        """Counters for INFO."""
        return {
            "long_replies_running": len(self._replies),
            "long_replies_memory": self.bytes,
            "long_replies_started": self.started,
        }
