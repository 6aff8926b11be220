"""Images between this node and others: pumps their messages through the links."""

import os
from collections.abc import Callable

import structlog

from kvnode.base.errors import RemoteProtocolError
from kvnode.base.limits import IMAGE_QUEUED_BYTES_MAX
from kvnode.raft.messages import Snapshot
from kvnode.raft.wire import decode_membership, encode_membership
from kvnode.server.peers.peers import Peers
from kvnode.storage.engine import Engine
from kvnode.storage.executor import Executor
from kvnode.storage.image import (
    IMAGE_ID_BYTES,
    Abort,
    Ack,
    ImageFacts,
    ImageMessage,
    decode,
    encode,
)
from kvnode.storage.image_receiving import ImageReceiver, IncomingStore
from kvnode.storage.image_sending import ImageSender
from kvnode.txn.replica import Replica

log = structlog.get_logger()


def snapshot_of(facts: ImageFacts) -> Snapshot:
    """Return what Raft is told of an image."""
    at = facts.at
    return Snapshot(at.index, at.term, facts.high_water, decode_membership(facts.membership))


class Images:
    """Those that are sent, one for each receiver, and the one that is received."""

    def __init__(
        self,
        replica: Replica,
        peers: Peers,
        incoming: IncomingStore,
        identity: bytes,
        *,
        reader: Executor,
        writer: Executor,
        now_ms: Callable[[], int],
    ) -> None:
        self.receiver = ImageReceiver(writer, incoming, identity)
        self._replica = replica
        self._peers = peers
        self._reader = reader
        self._now_ms = now_ms
        self._senders: dict[int, ImageSender] = {}
        self._begun: set[int] = set()  # of which Raft knows
        self._told: ImageFacts | None = None  # received, and Raft knows
        self._answers: dict[int, ImageMessage] = {}  # the last one, by node; until there is a link

    def is_receiving(self, peer: int) -> bool:
        """Whether an image is on its way to a peer."""
        return peer in self._senders

    def begin(self, peer: int, engine: Engine) -> None:
        """Send an image to a peer, which needs one: that on its way, if a link broke meanwhile."""
        if self._may_go_on(peer):
            self._begun.discard(peer)  # Raft is told of it again
            return
        self._end(peer)
        self._senders[peer] = ImageSender(
            os.urandom(IMAGE_ID_BYTES),
            engine,
            self._reader,
            cut_index=self._replica.raft.log.base_index,
            sole_membership=encode_membership(self._replica.raft.memberships.at(0)),
            now_ms=self._now_ms(),
        )
        log.info("sending an image", to=peer)

    def _may_go_on(self, peer: int) -> bool:
        """Whether what an image on its way to a peer needs is still in the log."""
        sender = self._senders.get(peer)
        if sender is None or sender.facts is None or sender.failure or sender.is_done:
            return False
        return sender.needed_after >= self._replica.raft.log.base_index

    def expect(self, source: int, snapshot: Snapshot) -> None:
        """Raft has agreed to take an image."""
        self.receiver.expect(source, snapshot.index, snapshot.term, self._now_ms())

    def receive(self, source: int, body: bytes) -> None:
        """A message of an image came. Raises RemoteProtocolError."""
        message = decode(body)
        sender = self._senders.get(source)
        if sender is not None and message.image_id == sender.image_id:
            sender.receive(message, self._now_ms())
        elif isinstance(message, Ack):
            raise RemoteProtocolError("an acknowledgement of an image that nobody sends")
        elif not isinstance(message, Abort) or self.receiver.is_receiving:
            self.receiver.receive(source, message, self._now_ms())

    def lost(self, peer: int) -> None:
        """The link to a peer broke."""
        sender = self._senders.get(peer)
        if sender is not None:
            sender.disconnect()

    def take_received(self) -> ImageFacts:
        """Return what is whole and durable; it is about to be put in the place of the store."""
        facts = self.receiver.received
        assert facts is not None
        self.receiver.installed()
        self._told = None
        return facts

    def close_senders(self) -> None:
        """Leadership is over, or the store is about to be replaced."""
        for peer in list(self._senders):
            self._end(peer)

    def pump(self) -> None:
        """Go on with everything, as far as links take more. Between passes."""
        now_ms = self._now_ms()
        for peer, sender in list(self._senders.items()):
            self._pump_sender(peer, sender, now_ms)
        self.receiver.step(now_ms)
        while (answer := self.receiver.take()) is not None:
            target, message = answer
            self._answers[target] = message
        for target in [t for t in self._answers if self._peers.is_image_linked(t)]:
            self._peers.send_image(target, encode(self._answers.pop(target)))
        received = self.receiver.received
        if received is not None and received is not self._told:
            self._told = received
            log.info("received an image", index=received.at.index)
            if not self._replica.image_received(snapshot_of(received)):
                self.receiver.discard()
                self._told = None

    def _pump_sender(self, peer: int, sender: ImageSender, now_ms: int) -> None:
        sender.step(now_ms)
        if sender.failure or sender.is_done or self._is_there(peer, sender):
            if sender.failure:
                log.warning("an image was given up", to=peer, reason=sender.failure)
                self._replica.note_lost(peer)
            self._end(peer)
            return
        if sender.facts is None:
            return
        if peer not in self._begun:
            if not self._replica.image_begun(peer, snapshot_of(sender.facts)):
                self._end(peer)
                return
            self._begun.add(peer)
        # Of the links to a node that has just come this one may be the last.
        if not sender.is_connected and self._peers.is_image_linked(peer):
            sender.connect()
        while (
            sender.is_connected
            and self._peers.image_queued_bytes(peer) < IMAGE_QUEUED_BYTES_MAX
            and (message := sender.take()) is not None
        ):
            if not self._peers.send_image(peer, encode(message)):
                sender.disconnect()

    def _is_there(self, peer: int, sender: ImageSender) -> bool:
        """Whether the receiver has installed it, though its last word of that was lost."""
        leadership = self._replica.raft.leadership
        if leadership is None or sender.facts is None:
            return leadership is None
        return leadership.replication.match.get(peer, 0) >= sender.facts.at.index

    def reconnected(self, peer: int) -> None:
        """There is a link to a peer again."""
        sender = self._senders.get(peer)
        if sender is not None and peer in self._begun:
            sender.connect()

    def _end(self, peer: int) -> None:
        sender = self._senders.pop(peer, None)
        self._begun.discard(peer)
        if sender is not None:
            sender.close()
