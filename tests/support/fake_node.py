"""A CommandNode behind a real socket of the loopback interface."""

import contextlib
import socket
import threading
from collections.abc import Iterator

from tests.support.command_node import CommandNode

RECEIVE_BYTES = 65536
STOP_SECONDS = 10.0


class FakeNode:
    """Answers with the command table, one client at a time. mute: takes commands, says nothing."""

    def __init__(self, node: CommandNode, *, mute: bool = False) -> None:
        self.node = node
        self._mute = mute
        self._lock = threading.Lock()  # the node belongs to who holds it
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self._threads.append(threading.Thread(target=self._talk, args=(connection,)))
                self._threads[-1].start()

    def _talk(self, connection: socket.socket) -> None:
        with self._lock:
            client = self.node.connect()
            client.session.laddr = f"127.0.0.1:{self.port}"
        with connection, contextlib.suppress(ConnectionError):
            while data := connection.recv(RECEIVE_BYTES):
                if self._mute:
                    continue
                with self._lock:
                    client.send(data)
                    answer = client.take()
                connection.sendall(answer)

    def close(self) -> None:
        """End all connections, and all threads."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(STOP_SECONDS)
        for connection in self._connections:
            with contextlib.suppress(OSError):  # ended by the client
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(STOP_SECONDS)


@contextlib.contextmanager
def serving(node: CommandNode, *, mute: bool = False) -> Iterator[FakeNode]:
    """Serve a node as long as the context lasts."""
    fake = FakeNode(node, mute=mute)
    try:
        yield fake
    finally:
        fake.close()
