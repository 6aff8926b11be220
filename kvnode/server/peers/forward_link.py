"""A link between a follower and the leader, over which the commands of clients go and come back."""

from collections.abc import Callable

from kvnode.server.peers.framing import FrameType
from kvnode.server.peers.links import Link


def _ignore() -> None:
    """Nobody listens yet."""


class ForwardLink:
    """Frames in both directions, in order, none lost while the link is open.

    node_id, identity: of the other end.   link_id: given by the accepting node, at both ends the
    same, and of no other link: what a former link asked for can be told by it.   is_accepted: the
    other node opened it; that is how a follower comes to a leader.

    Set in `on_forward`: on_frame(body); on_closed(); on_drained(): after the socket had not taken
    all, nothing is queued any more. on_frame may raise RemoteProtocolError to close the link.
    """

    def __init__(
        self, link: Link, *, is_accepted: bool, note_unflushed: Callable[[Link], None]
    ) -> None:
        self.node_id = link.peer.node_id
        self.identity = link.peer.identity
        self.link_id = link.peer.link
        self.is_accepted = is_accepted
        self.on_frame: Callable[[bytes], None] = lambda body: None
        self.on_closed: Callable[[], None] = _ignore
        self.on_drained: Callable[[], None] = _ignore
        self._link = link
        self._note_unflushed = note_unflushed

    @property
    def is_open(self) -> bool:
        return self._link.is_open

    @property
    def queued_bytes(self) -> int:
        """Bytes that the socket has not taken yet."""
        return self._link.queued_bytes

    def send(self, body: bytes) -> bool:
        """Queue a frame until `Peers.flush`. False: closed, or too much is queued; nothing done."""
        queued = self._link.queue(FrameType.FORWARD, (body,))
        if queued:
            self._note_unflushed(self._link)
        return queued

    def pause(self) -> None:
        """Take no more input until `resume`; the other end feels it by its queue.

        What was received already still comes. After PEER_STALL_SECONDS the other end gives up.
        """
        self._link.pause()

    def resume(self) -> None:
        self._link.resume()

    def close(self) -> None:
        self._link.close()
