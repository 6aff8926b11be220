"""A running server and GETs of 512 MB: little memory, and others are served in the middle of them.

Nothing is timed. A client that stops taking its reply stops the steps, so what others are answered
then, they are answered in the middle of it; a reply made at once would show as memory.
"""

import contextlib
import re
from pathlib import Path

from tests.support.process import ServerProcess, running
from tests.support.resp import Connection, encode

MIB = 1 << 20
SIZE = 512 * MIB
MEMORY_BYTES_MAX = 64 * MIB  # that the replies and what is kept for them may take
READERS = 4
WRITES = 50
RECEIVE_BYTES = 1 << 20


def anonymous_bytes(server: ServerProcess) -> int:
    text = Path(f"/proc/{server.pid}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) * 1024


def receive_rest(reader: Connection, count: int) -> tuple[bool, bytes]:
    """Read `count` bytes; return whether there is a '#' in them, and the last few."""
    found, tail = False, b""
    while count:
        data = reader.socket.recv(min(count, RECEIVE_BYTES))
        assert data, "the connection was closed"
        found |= b"#" in data
        tail = (tail + data)[-20:]
        count -= len(data)
    return found, tail


def test_others_are_answered_in_the_middle_of_large_replies() -> None:
    with running("kvnode") as server, contextlib.ExitStack() as stack:
        other = stack.enter_context(server.connect())
        assert other.call("SETRANGE", "big", SIZE - 5, b"tail!") == SIZE
        before = anonymous_bytes(server)
        readers = [stack.enter_context(server.connect()) for _ in range(READERS)]
        head = b"$%d\r\n" % SIZE
        for reader in readers:
            reader.send(encode("GET", "big") + encode("PING"))
            assert reader.socket.recv(len(head)) == head
        for i in range(WRITES):
            assert other.call("PING") == b"PONG"
            assert other.call("SETRANGE", "big", SIZE - 10 * MIB * (i + 1), b"#") == SIZE
        assert anonymous_bytes(server) - before < MEMORY_BYTES_MAX
        for reader in readers[1:]:
            reader.close()
        end = b"tail!\r\n+PONG\r\n"
        found, tail = receive_rest(readers[0], SIZE - 5 + len(end))
        assert tail.endswith(end)
        assert not found
        assert other.call("GETRANGE", "big", SIZE - 10 * MIB, SIZE - 10 * MIB) == b"#"


def test_a_client_that_sends_no_more_still_gets_its_reply() -> None:
    with running("kvnode") as server, server.connect() as client:
        client.call("SETRANGE", "big", 20 * MIB - 1, b"!")
        client.send(encode("GET", "big"))
        client.socket.shutdown(1)
        received = b""
        while data := client.socket.recv(RECEIVE_BYTES):
            received += data
        assert len(received) == len(b"$%d\r\n" % (20 * MIB)) + 20 * MIB + 2
