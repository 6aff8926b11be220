class Parser:
    """The parser of one connection.

    proto_max_bulk_bytes: longest argument accepted, 512 MiB by default, at least 99.
    authenticated: False holds it to Redis's limits for clients that did not authenticate.
    error: the line to answer (without '-') once the protocol is broken, None before.
    """

    proto_max_bulk_bytes: int
    authenticated: bool
    @property
    def error(self) -> bytes | None: ...
    def feed(self, data: bytes) -> None:
        """Take bytes from the client."""

    def next_command(self) -> list[bytes] | None:
        """Return the next command as a list of bytes, or None. Raises RemoteProtocolError."""

    def peek_commands(self) -> list[list[bytes]]:
        """Return the complete RESP commands that wait, up to the first that only next() judges."""

    @property
    def pending_bytes(self) -> int:
        """Bytes received and not parsed."""

    @property
    def capacity_bytes(self) -> int:
        """Memory of the input buffer."""

    @property
    def memory_bytes(self) -> int:
        """All memory of this parser."""
