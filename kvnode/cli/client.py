"""A blocking client for one node, for tools that ask one thing at a time."""

import socket
from types import TracebackType

from kvnode.base.errors import KvnodeError, RemoteProtocolError
from kvnode.base.limits import CLIENT_RECEIVE_BYTES
from kvnode.base.resp import NOT_YET, ErrorReply, Reply, ReplyReader, encode


class NodeUnreachable(KvnodeError):
    """A node cannot be asked, or did not answer in time; the text says which and why."""


class NodeClient:
    """One connection. Raises NodeUnreachable, and ErrorReply for an error that is answered."""

    def __init__(
        self, host: str, port: int, *, password: str | None = None, timeout_s: float
    ) -> None:
        """timeout_s: for the connection, and for each part of a reply."""
        self.address = f"{host}:{port}"
        self._reader = ReplyReader()
        try:
            self._socket = socket.create_connection((host, port), timeout_s)
        except OSError as error:
            raise self._unreachable(error) from None
        if password:
            try:
                self.call("AUTH", password)
            except KvnodeError:
                self.close()
                raise

    def __enter__(self) -> "NodeClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def call(self, *arguments: bytes | str | int) -> Reply:
        """Send one command and return its reply."""
        try:
            self._socket.sendall(encode(*arguments))
            while (reply := self._reader.next_reply()) is NOT_YET:
                data = self._socket.recv(CLIENT_RECEIVE_BYTES)
                if not data:
                    raise NodeUnreachable(f"the node at {self.address} closed the connection")
                self._reader.feed(data)
        except OSError as error:
            raise self._unreachable(error) from None
        except RemoteProtocolError as error:
            raise NodeUnreachable(f"no kvnode at {self.address}: {error}") from None
        if isinstance(reply, ErrorReply):
            raise reply
        return reply  # type: ignore[return-value]

    def _unreachable(self, error: OSError) -> NodeUnreachable:
        reason = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or error
        return NodeUnreachable(f"the node at {self.address} cannot be reached: {reason}")
