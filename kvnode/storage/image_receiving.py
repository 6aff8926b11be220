"""Receives an image into a store of its own, beside the one in use.

Chunks are unpacked and written on the writer's thread, in order, and acknowledged when they are.
Nothing of the node depends on the incoming store until it is installed: whatever goes wrong with
it, a full disk included, removes it and leaves the node as it was. Half an image survives a broken
link, not the process: a start removes it (image_install.py), and the sender begins anew.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from kvnode.base.errors import InvariantError, RemoteProtocolError, StorageError
from kvnode.base.limits import IMAGE_STALLED_MS, IMAGE_WINDOW_CHUNKS
from kvnode.storage.engine import Engine
from kvnode.storage.executor import Executor
from kvnode.storage.image import (
    Abort,
    Ack,
    Begin,
    Chunk,
    End,
    ImageFacts,
    ImageMessage,
    RowDecoder,
    extend_digest,
)
from kvnode.storage.local import rows_of_image


class IncomingStore(Protocol):
    """Where images go. Both may block, and raise StorageError."""

    def make(self) -> Engine:
        """Return a new, empty store."""

    def remove(self) -> None:
        """Remove it, or what there is of it; it is closed. Fine if there is none."""


class _Target:
    """The incoming store, on the writer's thread."""

    def __init__(self, store: IncomingStore, identity: bytes, facts: ImageFacts) -> None:
        self._store = store
        self._identity = identity
        self._facts = facts
        self._engine: Engine | None = None
        self._decoder = RowDecoder()

    def open(self) -> None:
        self._store.remove()
        self._engine = self._store.make()

    def write(self, data: bytes) -> None:
        if self._engine is not None and (rows := self._decoder.take(data)):
            self._engine.write(rows)

    def finish(self, end: End) -> None:
        """Make the store whole, durable and this node's, and close it."""
        if self._engine is None:
            return  # it was dropped: a call before has failed
        if not self._decoder.is_between_rows or self._decoder.rows != end.rows:
            raise RemoteProtocolError(
                f"an image of {end.rows} rows ends after {self._decoder.rows}"
            )
        facts = self._facts
        self._engine.write(
            rows_of_image(
                self._identity, facts.hash_key, facts.group, facts.record, facts.high_water
            )
        )
        self._engine.compact_memtable()
        self._close()

    def drop(self) -> None:
        with suppress(StorageError):  # it is thrown away
            self._close()
        self._store.remove()

    def _close(self) -> None:
        if self._engine is not None:
            engine, self._engine = self._engine, None
            engine.close()


@dataclass(slots=True)
class _Image:
    """An image that comes in."""

    source: int
    image_id: bytes
    facts: ImageFacts
    target: _Target
    wanted: int = 0  # number that is expected next
    written: int = 0  # everything below is in the store
    digest: int = 0
    is_ended: bool = False
    news_ms: int = 0
    acked: int = -1  # what was told last; -1: nothing on this link


class ImageReceiver:
    """What a node has of images from others: one at most.

    identity: of this node's directory; the received store gets it. writer: on which it is written.
    """

    def __init__(self, writer: Executor, store: IncomingStore, identity: bytes) -> None:
        self.received: ImageFacts | None = None  # whole and durable, ready to be installed
        self.failure = ""  # why the last one was given up
        self.failures = 0
        self._writer = writer
        self._store = store
        self._identity = identity
        self._expected: tuple[int, int, int] | None = None
        self._offer: tuple[int, Begin] | None = None  # that nobody expected yet
        self._image: _Image | None = None
        self._aborts: dict[int, Abort] = {}  # to be sent, by node
        self._error: BaseException | None = None

    @property
    def is_receiving(self) -> bool:
        """Whether there is an image, or a part of one."""
        return self._image is not None

    # -- what the host calls --------------------------------------------------------------------

    def expect(self, source: int, index: int, term: int, now_ms: int) -> None:
        """Raft has agreed to take the image as of (index, term) from `source`, and no other."""
        self._expected = (source, index, term)
        if self._offer is not None:
            (offerer, begin), self._offer = self._offer, None
            self._begin(offerer, begin, now_ms)

    def receive(self, source: int, message: ImageMessage, now_ms: int) -> None:
        """Take a message of the link from `source`.

        Raises RemoteProtocolError: close the link; what was received so far is kept.
        """
        image = self._image
        if isinstance(message, Begin):
            self._begin(source, message, now_ms)
        elif not isinstance(message, Chunk | End | Abort):
            raise RemoteProtocolError("a sender of an image acknowledges one")
        elif isinstance(message, Abort):
            if self._offer is not None and self._offer[1].image_id == message.image_id:
                self._offer = None
            if self.received is None and image is not None and image.image_id == message.image_id:
                self._fail(f"the sender gave up: {message.reason}", is_told=False)
        elif image is None or (image.source, image.image_id) != (source, message.image_id):
            self._aborts[source] = Abort(message.image_id, "this image is not expected")
        else:
            image.news_ms = now_ms
            self._take(image, message)

    def step(self, now_ms: int) -> None:
        """Throw away an image of which nothing more comes. Raises what is a bug of our own."""
        if self._error is not None:
            raise self._error
        image = self._image
        if (
            image is not None
            and self.received is None
            and now_ms - image.news_ms > IMAGE_STALLED_MS
        ):
            self._fail(f"nothing more came for {IMAGE_STALLED_MS // 1000} s", is_told=True)

    def take(self) -> tuple[int, ImageMessage] | None:
        """Return (node, message) to be sent to it; None: nothing now. Without a link, drop it."""
        if self._aborts:
            return self._aborts.popitem()
        image = self._image
        if image is not None and image.acked != image.written:
            image.acked = image.written
            return image.source, Ack(image.image_id, image.written)
        return None

    def installed(self) -> None:
        """The received image was moved to where the node uses it."""
        assert self.received is not None
        self._image = self.received = self._expected = None

    def discard(self) -> None:
        """Images are not needed any more; remove what there is, a whole one included."""
        self._expected = self._offer = None
        if self._image is not None:
            self._fail("it is not needed any more", is_told=True)

    # -- inside ---------------------------------------------------------------------------------

    def _begin(self, source: int, begin: Begin, now_ms: int) -> None:
        at = begin.facts.at
        image = self._image
        if image is not None and (image.source, image.image_id) == (source, begin.image_id):
            if image.facts != begin.facts:
                raise RemoteProtocolError("two images have one id")
            # Chunks on the way to the store come again, and are known by their number.
            image.acked, image.news_ms = -1, now_ms
            return
        if self._expected != (source, at.index, at.term) or self.received is not None:
            self._offer = (source, begin)  # Raft's word of it may come later; without, no answer
            return
        if image is not None:
            self._fail("another one has come", is_told=False)
        target = _Target(self._store, self._identity, begin.facts)
        image = _Image(source, begin.image_id, begin.facts, target, news_ms=now_ms)
        image.written = -1  # it is not even open
        self._image = image
        self._submit(image, target.open)

    def _take(self, image: _Image, message: Chunk | End) -> None:
        number = message.number if isinstance(message, Chunk) else message.chunks
        if number < image.wanted:
            return  # it was on its way when the link broke
        if number > image.wanted or image.is_ended:
            raise RemoteProtocolError(f"chunk {number} of an image where {image.wanted} is due")
        if image.wanted - image.written >= IMAGE_WINDOW_CHUNKS:
            raise RemoteProtocolError("more of an image was sent than was asked for")
        if isinstance(message, Chunk):
            data = message.data
            image.digest = extend_digest(image.digest, message)
            self._submit(image, lambda: image.target.write(data))
        elif message.digest != image.digest:
            self._fail("its chunks are not what its sender has read", is_told=True)
            return
        else:
            end = message
            image.is_ended = True
            self._submit(image, lambda: image.target.finish(end))
        image.wanted += 1

    def _submit(self, image: _Image, work: Callable[[], None]) -> None:
        """Run `work` on the writer; then one thing more of the image is written."""

        def completed(result: None, error: BaseException | None) -> None:
            if error is not None and not isinstance(error, StorageError | RemoteProtocolError):
                self._error = error
            elif image is not self._image:
                return  # given up
            elif error is not None:
                self._fail(str(error), is_told=True)
            else:
                image.written += 1
                if image.is_ended and image.written == image.wanted:
                    self.received = image.facts

        self._writer.submit(work, completed)

    def _fail(self, reason: str, *, is_told: bool) -> None:
        image = self._image
        if image is None:
            raise InvariantError("there is no image to be given up")
        self._image = self.received = None
        self.failure = reason
        self.failures += 1
        if is_told:
            self._aborts[image.source] = Abort(image.image_id, reason)

        def dropped(result: None, error: BaseException | None) -> None:
            if error is not None and not isinstance(error, StorageError):
                self._error = error
            elif error is not None:
                self.failure = f"{reason}; and then: {error}"

        self._writer.submit(image.target.drop, dropped)
