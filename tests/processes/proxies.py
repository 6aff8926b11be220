"""TCP proxies in front of the nodes' Raft listeners: any link can be cut, one way or both.

All nodes have to be told the same addresses, so there is one proxy for each node that listens; who
dials stands in the first record that the dialer sends. What a cut link carries stays where it is,
as packets do that are sent again and again; connections stay open until their ends give up.
"""

import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Iterable

RECEIVE_BYTES = 64 * 1024
HELLO_BYTES = 30  # of a dialer's first record, up to its node id (server/peers/handshake.py)
SOURCE = struct.Struct(">22xQ")
POLL_SECONDS = 0.02  # between looks at what was cut and healed
BACKLOG = 64


class _Pipe:
    """One direction of a connection. link: (from, to), None until it is known who dials."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target
        self.link: tuple[int, int] | None = None
        self.pending = bytearray()
        self.is_ended = False


class Proxy:
    """The proxy before one node. It belongs to Proxies, whose lock guards `cut`."""

    def __init__(self, node_id: int, target_port: int, owner: "Proxies") -> None:
        self.node_id = node_id
        self._target_port = target_port
        self._owner = owner
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._listener.setblocking(False)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._pairs: list[tuple[_Pipe, _Pipe]] = []  # from the dialer, to the dialer
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"proxy-{node_id}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping = True
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            with selectors.DefaultSelector() as selector:
                selector.register(self._listener, selectors.EVENT_READ)
                for pipe in [pipe for pair in self._pairs for pipe in pair]:
                    self._watch(selector, pipe)
                ready = selector.select(POLL_SECONDS)
            if any(key.fileobj is self._listener for key, _ in ready):
                self._accept()
            self._pairs = [pair for pair in self._pairs if self._move(*pair)]
        for pair in self._pairs:
            self._end(*pair)
        self._listener.close()

    def _watch(self, selector: selectors.BaseSelector, pipe: _Pipe) -> None:
        if pipe.link is not None and self._owner.is_cut(pipe.link):
            return
        wanted = [(pipe.target, selectors.EVENT_WRITE)] if pipe.pending else []
        if not pipe.pending and not pipe.is_ended:
            wanted = [(pipe.source, selectors.EVENT_READ)]
        for sock, events in wanted:
            with contextlib.suppress(KeyError):
                events |= selector.unregister(sock).events
            selector.register(sock, events)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            dialer, _ = self._listener.accept()
            try:
                target = socket.create_connection(("127.0.0.1", self._target_port), 1.0)
            except OSError:
                dialer.close()  # as if nobody listened
                return
            for sock in (dialer, target):
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            there, back = _Pipe(dialer, target), _Pipe(target, dialer)
            self._pairs.append((there, back))

    def _move(self, there: _Pipe, back: _Pipe) -> bool:
        """Move what can be moved. Returns False once the connection has ended."""
        try:
            for pipe in (there, back):
                self._pump(pipe)
            if there.link is None and len(there.pending) >= HELLO_BYTES:
                (source,) = SOURCE.unpack_from(there.pending)
                there.link, back.link = (source, self.node_id), (self.node_id, source)
                self._pump(there)
        except OSError:
            self._end(there, back)
            return False
        # An end is told as soon as it is seen: a node that died does not hold its links open.
        if there.is_ended or back.is_ended:
            self._end(there, back)
            return False
        return True

    def _pump(self, pipe: _Pipe) -> None:
        if pipe.link is not None and self._owner.is_cut(pipe.link):
            return
        with contextlib.suppress(BlockingIOError):
            while True:
                if pipe.pending and pipe.link is not None:
                    del pipe.pending[: pipe.target.send(pipe.pending)]
                    continue
                if pipe.link is None and len(pipe.pending) >= HELLO_BYTES:
                    return
                data = pipe.source.recv(RECEIVE_BYTES)
                if not data:
                    pipe.is_ended = True
                    return
                pipe.pending += data

    def _end(self, there: _Pipe, back: _Pipe) -> None:
        there.source.close()
        back.source.close()


class Proxies:
    """Proxies before all nodes of a group. ports: node id -> where its Raft listener is."""

    def __init__(self, ports: dict[int, int]) -> None:
        self._lock = threading.Lock()
        self._cut: frozenset[tuple[int, int]] = frozenset()
        self._proxies = {node_id: Proxy(node_id, port, self) for node_id, port in ports.items()}

    @property
    def addresses(self) -> dict[int, str]:
        return {node_id: proxy.address for node_id, proxy in self._proxies.items()}

    def is_cut(self, link: tuple[int, int]) -> bool:
        return link in self._cut

    def cut(self, links: Iterable[tuple[int, int]]) -> None:
        """Let nothing pass any more from the first to the second node of each link."""
        with self._lock:
            self._cut |= frozenset(links)

    def isolate(self, node_id: int) -> None:
        """Cut all links of a node, both ways."""
        self.cut(self.links_from(node_id) | self.links_to(node_id))

    def links_from(self, node_id: int) -> set[tuple[int, int]]:
        return {(node_id, other) for other in self._proxies if other != node_id}

    def links_to(self, node_id: int) -> set[tuple[int, int]]:
        return {(other, node_id) for other in self._proxies if other != node_id}

    def heal(self) -> None:
        with self._lock:
            self._cut = frozenset()

    def close(self) -> None:
        for proxy in self._proxies.values():
            proxy.close()
