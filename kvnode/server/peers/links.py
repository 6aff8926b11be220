"""Authenticated connections on Trio: opening and accepting them, and what goes over one.

Writing is direct: `flush` gives what is queued to the socket at once, in as few calls as possible,
and a task only takes over when the socket does not take all of it. So a message leaves without a
turn of the scheduler, and whoever sends never waits.
"""

import socket
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice

import trio

from kvnode.base.errors import RemoteProtocolError
from kvnode.base.limits import (
    BULK_QUEUE_BYTES_MAX,
    DIAL_SECONDS,
    FORWARD_QUEUE_BYTES_MAX,
    FRAME_BYTES_MAX,
    HANDSHAKE_RECORD_BYTES_MAX,
    HANDSHAKE_SECONDS,
    IMAGE_QUEUE_BYTES_MAX,
    LINK_RECEIVE_BYTES,
    LINK_SEND_PIECES_MAX,
    MESSAGE_FRAME_BYTES_MAX,
    MESSAGE_QUEUE_BYTES_MAX,
    PEER_KEEPALIVE_SECONDS,
    PEER_STALL_SECONDS,
)
from kvnode.server.peers.framing import Frame, FrameReader, FrameType, encode
from kvnode.server.peers.handshake import Handshake, HandshakeError, LinkKind, Peer

FRAME_BYTES = {
    LinkKind.RAFT: MESSAGE_FRAME_BYTES_MAX,
    LinkKind.BULK: FRAME_BYTES_MAX,
    LinkKind.IMAGE: FRAME_BYTES_MAX,
    LinkKind.FORWARD: FRAME_BYTES_MAX,
}
QUEUE_BYTES = {
    LinkKind.RAFT: MESSAGE_QUEUE_BYTES_MAX,
    LinkKind.BULK: BULK_QUEUE_BYTES_MAX,
    LinkKind.IMAGE: IMAGE_QUEUE_BYTES_MAX,
    LinkKind.FORWARD: FORWARD_QUEUE_BYTES_MAX,
}

# All links receive here, one after another, and what they keep is copied: fresh memory for each
# receive costs more than the receive.
_INPUT = memoryview(bytearray(LINK_RECEIVE_BYTES))


class LinkLost(Exception):
    """There is no connection, or no more; the text says why. Links are then made anew."""


async def dial(host: str, port: int) -> socket.socket:
    """Return a connection. Raises LinkLost."""
    try:
        with trio.fail_after(DIAL_SECONDS):
            stream = await trio.open_tcp_stream(host, port)
    except (OSError, UnicodeError) as error:  # UnicodeError: of a name that DNS cannot have
        reason = getattr(error, "strerror", None) or error
        raise LinkLost(f"cannot connect: {reason}") from error
    except trio.TooSlowError:
        raise LinkLost(f"no connection within {DIAL_SECONDS:g} s") from None
    sock = socket.socket(fileno=stream.socket.detach())
    sock.setblocking(False)
    return sock


async def authenticate(sock: socket.socket, handshake: Handshake, first: bytes = b"") -> Peer:
    """Do a handshake over a connection, sending `first` to begin. Raises LinkLost."""
    try:
        with trio.fail_after(HANDSHAKE_SECONDS):
            await _send_all(sock, first)
            while handshake.peer is None:
                data = await _receive(sock, HANDSHAKE_RECORD_BYTES_MAX)
                if not data:
                    raise LinkLost("closed before it was known who is there")
                await _send_all(sock, handshake.receive(data))
    except HandshakeError as error:
        _send_best_effort(sock, error.answer)
        raise LinkLost(str(error)) from None
    except trio.TooSlowError:
        raise LinkLost(f"no handshake within {HANDSHAKE_SECONDS:g} s") from None
    except OSError as error:
        raise LinkLost(f"lost: {error.strerror or error}") from error
    return handshake.peer


async def _receive(sock: socket.socket, bytes_max: int) -> bytes:
    while True:
        await trio.lowlevel.wait_readable(sock)
        try:
            return sock.recv(bytes_max)
        except BlockingIOError:
            continue


async def _send_all(sock: socket.socket, data: bytes) -> None:
    while data:
        try:
            data = data[sock.send(data) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)


def _send_best_effort(sock: socket.socket, data: bytes) -> None:
    """Say why the connection is closed. The rest of the input is taken, or a reset eats it."""
    try:
        sock.send(data)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(HANDSHAKE_RECORD_BYTES_MAX)
    except OSError:
        return


def tune(sock: socket.socket) -> None:
    """Send at once, and notice a peer that is gone without a word."""
    if sock.family == socket.AF_UNIX:
        return
    seconds = PEER_KEEPALIVE_SECONDS
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, seconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(PEER_STALL_SECONDS * 1000))


class Link:
    """One authenticated connection: frames in, a bounded queue of frames out.

    peer: who is at the other end. rest: bytes that came behind the handshake.

    Invariant: what is queued is on its way, or `is_blocked` and the writer waits for the socket, or
    a flush is due.
    """

    def __init__(self, sock: socket.socket, peer: Peer, rest: bytes = b"") -> None:
        tune(sock)
        self.peer = peer
        self.is_open = True
        self.is_blocked = False  # the socket did not take all
        self.queued_bytes = 0
        self.sent_frames = 0
        self._sock = sock
        self._rest = rest
        self._out: deque[bytes | memoryview] = deque()
        self._queue_bytes_max = QUEUE_BYTES[peer.kind]
        self._frames = FrameReader(FRAME_BYTES[peer.kind])
        self._blocked = trio.Event()
        self._resumed = trio.Event()
        self._resumed.set()
        self._reason = "closed here"
        self._scope = trio.CancelScope()

    def queue(self, kind: FrameType, parts: Iterable[bytes]) -> bool:
        """Queue a frame; False if the link is closed or has too much queued: nothing was done."""
        if not self.is_open:
            return False
        pieces = encode(kind, parts)
        size = sum(map(len, pieces))
        if self._out and self.queued_bytes + size > self._queue_bytes_max:
            return False
        self._out += pieces
        self.queued_bytes += size
        self.sent_frames += 1
        return True

    def flush(self) -> None:
        """Give what is queued to the socket, as far as it takes it now."""
        if self.is_blocked or not self.is_open:
            return
        self._write()
        if self._out and self.is_open:
            self.is_blocked = True
            self._blocked.set()

    def close(self, reason: str = "closed here") -> None:
        """End the link; `run` returns. What is queued is lost."""
        if self.is_open:
            self.is_open = False
            self._reason = reason
            self._scope.cancel()

    def pause(self) -> None:
        """Read nothing more until `resume`; TCP holds the peer back."""
        if self._resumed.is_set():
            self._resumed = trio.Event()

    def resume(self) -> None:
        self._resumed.set()

    async def run(
        self, on_frames: Callable[[list[Frame]], None], on_drained: Callable[[], None]
    ) -> str:
        """Serve the link until it ends; return why it did.

        on_frames: gets all frames of one receive; raises RemoteProtocolError if they are wrong.
        on_drained: after the socket had not taken all, nothing is queued any more.
        """
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write_blocked, on_drained)
                    await self._read(on_frames)
        finally:
            self.is_open = False
            self._out.clear()
            self.queued_bytes = 0
            self._sock.close()
        return self._reason

    async def _read(self, on_frames: Callable[[list[Frame]], None]) -> None:
        data = memoryview(self._rest)
        try:
            while self.is_open:
                frames = self._frames.feed(data)
                if frames:
                    on_frames(frames)
                data = await self._receive(is_more=len(data) == LINK_RECEIVE_BYTES)
        except (RemoteProtocolError, LinkLost) as error:
            self.close(str(error))

    async def _receive(self, *, is_more: bool) -> memoryview:
        """Return what arrived, which is good until the next await. Raises LinkLost.

        is_more: surely there is something, so only let others have a turn.
        """
        while True:
            if not self._resumed.is_set():  # a wait for what has happened still is a turn
                await self._resumed.wait()
            if is_more:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self._sock)
            try:
                size = self._sock.recv_into(_INPUT)
            except BlockingIOError:
                is_more = False
                continue
            except OSError as error:
                raise LinkLost(f"lost: {error.strerror or error}") from error
            if not size:
                raise LinkLost("closed by the other end")
            return _INPUT[:size]

    async def _write_blocked(self, on_drained: Callable[[], None]) -> None:
        """Go on where `flush` could not."""
        while True:
            await self._blocked.wait()
            self._blocked = trio.Event()
            while self._out:
                with trio.move_on_after(PEER_STALL_SECONDS) as scope:
                    await trio.lowlevel.wait_writable(self._sock)
                if scope.cancelled_caught:
                    self.close(f"it took nothing for {PEER_STALL_SECONDS:g} s")
                    return
                self._write()
            self.is_blocked = False
            on_drained()

    def _write(self) -> None:
        """Write until nothing is queued, or the socket takes no more."""
        out = self._out
        try:
            while out:
                sent = self._sock.sendmsg(list(islice(out, LINK_SEND_PIECES_MAX)))
                self.queued_bytes -= sent
                while sent:
                    piece = out[0]
                    if sent < len(piece):
                        out[0] = memoryview(piece)[sent:]
                        break
                    sent -= len(piece)
                    out.popleft()
        except BlockingIOError:
            return
        except OSError as error:
            out.clear()
            self.close(f"lost: {error.strerror or error}")
