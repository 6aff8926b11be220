"""Sends an image of this node's store to another node, from one immutable LevelDB snapshot.

Reads are calls on a reader thread, one at a time, about a chunk each; the sequencer's thread cuts
what was read into chunks. At most a window of chunks, a read beyond it and one row are in memory.
The other side's pace is the pace: what it has not written is not sent further.

The snapshot and the chunks under way outlive the link, so that a broken one costs nothing; and a
receiver that lost its half gets the same image again. Who keeps the log from `needed_after` on
meanwhile makes sure that the receiver can go on from A (hard case 33).
"""

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack

from kvnode._core.keys import kind_bounds
from kvnode.base.errors import CorruptionError, RemoteProtocolError
from kvnode.base.limits import (
    IMAGE_CHUNK_BYTES,
    IMAGE_RESTARTS_MAX,
    IMAGE_ROWS_PER_READ,
    IMAGE_STALLED_MS,
    IMAGE_WINDOW_CHUNKS,
)
from kvnode.storage.engine import Engine, Reader
from kvnode.storage.executor import Executor, Slot
from kvnode.storage.image import (
    KINDS_LEFT_OUT,
    Abort,
    Ack,
    Begin,
    Chunk,
    End,
    ImageFacts,
    ImageMessage,
    encode_rows,
    extend_digest,
    make_chunk,
)
from kvnode.storage.local import LocalFacts, read_facts


class _Source:
    """The snapshot, on a reader thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._resources = ExitStack()
        self._reader: Reader | None = None

    def open(self) -> LocalFacts:
        """Take the snapshot; return the facts that stand in it."""
        self._reader = self._resources.enter_context(self._engine.snapshot())
        facts = read_facts(self._reader)
        if facts is None:
            raise CorruptionError("LevelDB says nothing of its format")
        return facts

    def parts(self) -> Iterator[tuple[bytes, int]]:
        """Yield all rows of the image as bytes and their number, each time after one read."""
        assert self._reader is not None
        for lo, hi in _ranges():
            is_end = False
            while not is_end:
                rows, is_end = self._reader.scan_part(
                    lo, hi, IMAGE_ROWS_PER_READ, IMAGE_CHUNK_BYTES
                )
                if rows:
                    lo = rows[-1][0] + b"\0"
                    yield encode_rows(rows), len(rows)

    def close(self) -> None:
        self._resources.close()


def _ranges() -> Iterator[tuple[bytes, bytes | None]]:
    """Yield the ranges of keys that images are made of."""
    start = b""
    for kind in sorted(KINDS_LEFT_OUT):
        lo, hi = kind_bounds(kind)
        yield start, lo
        start = hi
    yield start, None


class ImageSender:
    """One image for one receiver.

    image_id: random. reader: on which LevelDB is read. cut_index: up to which the log may have
    been cut, at most A. sole_membership: encoded, with this node alone; it holds if A is from the
    time of a group of one, which states none.
    now_ms: of a clock that only goes forward.
    """

    def __init__(
        self,
        image_id: bytes,
        engine: Engine,
        reader: Executor,
        *,
        cut_index: int,
        sole_membership: bytes,
        now_ms: int,
    ) -> None:
        self.image_id = image_id
        self.facts: ImageFacts | None = None  # known soon
        self.needed_after = cut_index  # entries behind this index must stay in the log
        self.failure = ""  # why it was given up
        self.is_done = False  # the receiver has all of it, durably
        self.sent_bytes = 0  # of rows, those sent again included
        self._reader = reader
        self._slot = Slot(reader)
        self._source = _Source(engine)
        self._sole_membership = sole_membership
        self._news_ms = now_ms
        self._is_closed = False
        self._restarts = 0
        self._farewell: Abort | None = None
        # the link
        self._is_connected = False
        self._has_begun = False
        self._is_answered = False  # Begin is
        # the rows
        self._parts: Iterator[tuple[bytes, int]] = iter(())
        self._is_read = False  # to the end
        self._unsent = bytearray()  # read, not cut into chunks
        self._kept: deque[Chunk | End] = deque()  # cut, not acknowledged
        self._acked = 0  # number of the first of them
        self._next = 0  # number to be sent next
        self._chunks = 0
        self._rows = 0
        self._digest = 0
        self._slot.submit(self._source.open, self._opened)

    # -- what the host calls --------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    def connect(self) -> None:
        """There is a link to the receiver, on which nothing of this image was sent."""
        self._is_connected = True
        self._has_begun = self._is_answered = False

    def disconnect(self) -> None:
        """The link is gone."""
        self._is_connected = False

    def step(self, now_ms: int) -> None:
        """Read ahead if there is room; give up what has stalled.

        Raises CorruptionError or StorageIOError when LevelDB cannot be read: the node stops.
        """
        if not self._slot.is_free or self._is_over or self.facts is None:
            return
        if now_ms - self._news_ms > IMAGE_STALLED_MS:
            self._give_up(f"nothing was heard of the receiver for {IMAGE_STALLED_MS // 1000} s")
        elif self._is_answered and not self._is_read and len(self._unsent) < IMAGE_CHUNK_BYTES:
            parts = self._parts
            self._slot.submit(lambda: next(parts, None), lambda part: self._took(part, of=parts))

    def take(self) -> ImageMessage | None:
        """Return the next message for the link; None: nothing now."""
        if not self._is_connected:
            return None
        if self._farewell is not None:
            farewell, self._farewell = self._farewell, None
            return farewell
        if self._is_over or self.facts is None:
            return None
        if not self._has_begun:
            self._has_begun = True
            return Begin(self.image_id, self.facts)
        if not self._is_answered:
            return None
        if self._next == self._acked + len(self._kept) and not self._cut():
            return None
        message = self._kept[self._next - self._acked]
        self._next += 1
        if isinstance(message, Chunk):
            self.sent_bytes += len(message.data)
        return message

    def receive(self, message: ImageMessage, now_ms: int) -> None:
        """Take in what the receiver says. Raises RemoteProtocolError: close the link."""
        if message.image_id != self.image_id or self._is_over:
            return  # of an image that was given up
        match message:
            case Ack(_, wanted):
                self._acknowledged(wanted, now_ms)
            case Abort(_, reason):
                self.failure = f"the receiver gave up: {reason}"
                self._drop()
            case _:
                raise RemoteProtocolError("a receiver of an image sends one itself")

    def abort(self, reason: str) -> None:
        """The image is not needed any more; take() still has a message that says so."""
        if not self._is_over:
            self._give_up(reason)

    def close(self) -> None:
        """Let go of the snapshot."""
        if not self._is_closed:
            self._is_closed = True
            self._drop()
            self._reader.submit(self._source.close, lambda result, error: None)

    # -- inside ---------------------------------------------------------------------------------

    @property
    def _is_over(self) -> bool:
        return bool(self.failure) or self.is_done or self._is_closed

    def _opened(self, facts: LocalFacts) -> None:
        at = facts.checkpoint.at
        if not at.index:
            self._give_up("there was no checkpoint yet")
            return
        assert facts.group, "others need an image, so this is a group"
        assert self.needed_after <= at.index, "the log was cut beyond the checkpoint"
        self.needed_after = at.index
        self._parts = self._source.parts()
        self.facts = ImageFacts(
            at,
            max(facts.highest_index, at.index),
            facts.checkpoint.next_id,
            facts.hash_key,
            facts.group,
            facts.checkpoint.membership or self._sole_membership,
        )

    def _took(self, part: tuple[bytes, int] | None, of: Iterator[tuple[bytes, int]]) -> None:
        if of is not self._parts or self._is_over:
            return  # begun anew meanwhile
        if part is None:
            self._is_read = True
        else:
            self._unsent += part[0]
            self._rows += part[1]

    def _cut(self) -> bool:
        """Make the next message of the rows; False: it cannot be made yet."""
        if len(self._kept) == IMAGE_WINDOW_CHUNKS:
            return False
        if self._unsent if self._is_read else len(self._unsent) >= IMAGE_CHUNK_BYTES:
            chunk = make_chunk(self.image_id, self._chunks, bytes(self._unsent[:IMAGE_CHUNK_BYTES]))
            del self._unsent[:IMAGE_CHUNK_BYTES]
            self._digest = extend_digest(self._digest, chunk)
            self._chunks += 1
            self._kept.append(chunk)
            return True
        if self._is_read and self._acked + len(self._kept) == self._chunks:
            self._kept.append(End(self.image_id, self._chunks, self._rows, self._digest))
            return True
        return False

    def _acknowledged(self, wanted: int, now_ms: int) -> None:
        if not self._has_begun:
            raise RemoteProtocolError("an answer to nothing")
        is_answer, self._is_answered = not self._is_answered, True
        end = self._acked + len(self._kept) if is_answer else self._next
        if wanted == 0 < self._acked and is_answer:
            self._begin_anew()
        elif not self._acked <= wanted <= end:
            raise RemoteProtocolError(
                f"chunk {wanted} is wanted, where {self._acked} to {end} are on their way"
            )
        if is_answer:
            self._next = wanted
        if is_answer or wanted > self._acked:
            self._news_ms = now_ms
        while self._acked < wanted:
            self.is_done = isinstance(self._kept.popleft(), End)
            self._acked += 1
        if self.is_done:
            self._drop()

    def _begin_anew(self) -> None:
        """The receiver has lost what it had."""
        self._restarts += 1
        if self._restarts > IMAGE_RESTARTS_MAX:
            self._give_up(f"the receiver lost its half of the image {self._restarts} times")
            return
        self._drop()
        self._parts = self._source.parts()
        self._is_read = False
        self._acked = self._next = self._chunks = self._rows = self._digest = 0

    def _give_up(self, reason: str) -> None:
        self.failure = reason
        self._farewell = Abort(self.image_id, reason)
        self._drop()

    def _drop(self) -> None:
        self._unsent.clear()
        self._kept.clear()
        self._parts = iter(())
