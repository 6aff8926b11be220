"""A CommandNode behind a real socket of the loopback interface, one connection after another."""

import contextlib
import socket
import threading
from collections.abc import Iterator

from tests.support.command_node import CommandNode
from tests.support.resp import encode_reply

RECEIVE_BYTES = 65536
STOP_SECONDS = 10.0


class FakeNode:
    """Answers with the command table. mute: takes commands and says nothing."""

    def __init__(self, node: CommandNode, *, mute: bool = False) -> None:
        self.node = node
        self._mute = mute
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        client = self.node.connect()
        client.session.laddr = f"127.0.0.1:{self.port}"
        while data := connection.recv(RECEIVE_BYTES):
            if not self._mute:
                client.send(data)  # each call of the tool's client is one command
                connection.sendall(encode_reply(client.receive()))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(STOP_SECONDS)


@contextlib.contextmanager
def serving(node: CommandNode, *, mute: bool = False) -> Iterator[FakeNode]:
    """Serve a node as long as the context lasts."""
    fake = FakeNode(node, mute=mute)
    try:
        yield fake
    finally:
        fake.close()
