"""Bad disks and bad starts: what a node does is stated here, one test for each.

A write or sync that fails ends the node: nothing after it can be trusted, and held replies become
an UNCERTAIN error or a closed connection. Damage is refused with the file and the place; it is
never guessed around. All that was acknowledged is there once the disk is well again.
"""

import signal
import struct
import time

import pytest

from tests.support.process import is_kvnode_complete
from tests.support.resp import ErrorReply, encode
from tests.support.servers import KvnodeServer, ServerDied

EXIT_SECONDS_MAX = 20.0
IDLE_SECONDS = 0.3  # by then an idle log has said up to where it is synced, and syncs no more
FENCE_TRIES = 5
SEGMENT_HEADER = struct.Struct(">8sI28s")  # magic, version, the rest; then its CRC-32C

pytestmark = pytest.mark.skipif(not is_kvnode_complete(), reason="there is no node yet")


@pytest.fixture
def server(disk):
    """A node on a watched directory, not started."""
    server = KvnodeServer(disk.path, "--appendfsync", "always")
    server.environment = disk.environment(sync_us=0)
    yield server
    server.kill()
    server.close_connections()


def start(server):
    """Start the node and return a connection."""
    server.start()
    server.wait_ready()
    return server.connect()


def refused(server):
    """Start the node, which must end by itself; return what it says."""
    server.start()
    with pytest.raises(ServerDied) as death:
        server.wait_ready()
    assert death.value.code not in (0, -signal.SIGKILL, -signal.SIGSEGV, -signal.SIGABRT)
    return death.value.log


def fill(connection, first, last):
    """Write and read back keys first..last-1."""
    for n in range(first, last):
        connection.send(encode("SET", f"key:{n}", f"value:{n}:" + "x" * 1000))
    for _ in range(first, last):
        assert connection.receive() == b"OK"


def check(connection, first, last):
    """All keys of fill are there."""
    if first == last:
        return
    found = connection.call("MGET", *(f"key:{n}" for n in range(first, last)))
    assert found == [f"value:{n}:".encode() + b"x" * 1000 for n in range(first, last)]


def last_replies(connection, count):
    """Return the replies until the connection ends, at most `count`."""
    replies = []
    try:
        while len(replies) < count:
            replies.append(connection.receive())
    except OSError:
        pass
    return replies


def segments(disk):
    """Return the paths of the log's segments, oldest first."""
    found = sorted(disk.path.rglob("*.seg"))
    assert found
    return found


def flip(path, offset):
    """Turn one bit of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def used_bytes(path):
    """Return the length of a preallocated file without the zeros at its end."""
    return len(path.read_bytes().rstrip(b"\0"))


# -- the disk says no --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("write *.seg enospc", ["errno 28", "no space left"]),
        ("write *.seg eio count=1", ["errno 5", "input/output error"]),
        ("sync *.seg eio count=1", ["errno 5", "input/output error"]),
    ],
)
def test_log_that_fails_ends_the_node(disk, server, rule, words):
    connection = start(server)
    fill(connection, 0, 20)
    disk.set_rules(rule)
    connection.send(b"".join(encode("SET", f"key:{n}", "new") for n in range(20, 30)))
    for reply in last_replies(connection, 10):
        assert isinstance(reply, ErrorReply), "acknowledged without being on the disk"
        assert reply.code == "UNCERTAIN"
    assert server.wait_exit(EXIT_SECONDS_MAX) not in (None, 0, -signal.SIGABRT, -signal.SIGSEGV)
    log = server.log().lower()
    assert "log write failed" in log
    assert any(word in log for word in words), log
    assert "traceback" not in log
    disk.set_rules()
    connection = start(server)
    check(connection, 0, 20)
    fill(connection, 20, 30)


@pytest.mark.parametrize("kind", ["EVAL", "EXEC"])
def test_a_fence_that_fails_is_the_answer_of_a_long_script(disk, server, kind):
    """Unless the log failed before the script began: then the connection ends, and it is tried
    again."""
    connection = start(server)
    for _ in range(FENCE_TRIES):
        script = encode("EVAL", "for i = 1, 2e7 do end redis.call('set', 'left', '1')", "0")
        if kind == "EXEC":
            connection.send(encode("MULTI") + script)
            last_replies(connection, 2)
            script = encode("EXEC")
        time.sleep(IDLE_SECONDS)
        disk.set_rules("sync *.seg eio count=1")
        connection.send(script)
        replies = last_replies(connection, 1)
        assert server.wait_exit(EXIT_SECONDS_MAX) == 1
        disk.set_rules()
        connection = start(server)
        assert connection.call("EXISTS", "left") == 0
        if replies:
            break
    (reply,) = replies
    assert isinstance(reply, ErrorReply)
    assert reply.code in ("UNAVAILABLE", "UNCERTAIN")


def test_who_waits_for_data_is_told_when_the_log_fails(disk, server):
    writer = start(server)
    waiting = server.connect()
    waiting.send(encode("BLPOP", "queue", "0"))
    while not writer.call("CLIENT", "LIST").count(b"cmd=blpop"):
        pass
    disk.set_rules("sync *.seg eio")
    writer.send(encode("SET", "a", "1"))
    (reply,) = last_replies(waiting, 1)
    assert isinstance(reply, ErrorReply)
    assert reply.code == "UNAVAILABLE"
    assert waiting.at_end()
    assert server.wait_exit(EXIT_SECONDS_MAX) == 1


@pytest.mark.parametrize(
    "rule",
    [
        "write *.ldb enospc",
        "open *.ldb enospc",
        "sync *.ldb eio",
        "write *MANIFEST* enospc",
        "sync *MANIFEST* eio",
        "write *[0-9].log enospc",
    ],
)
def test_leveldb_that_fails_loses_nothing(disk, server, rule):
    """A checkpoint cannot be written: an error or an end that says so, and the log keeps all."""
    connection = start(server)
    fill(connection, 0, 200)
    disk.set_rules(rule)
    connection.send(encode("SAVE"))
    replies = last_replies(connection, 1)
    assert replies != [b"OK"], "a checkpoint that failed was called done"
    if replies:
        assert server.process.poll() is None
        server.kill()
    else:
        assert server.wait_exit(EXIT_SECONDS_MAX) not in (None, 0)
        assert "leveldb" in server.log().lower() or "checkpoint" in server.log().lower()
        assert "traceback" not in server.log().lower()
    disk.set_rules()
    connection = start(server)
    check(connection, 0, 200)
    fill(connection, 200, 210)
    assert connection.call("SAVE") == b"OK"


@pytest.mark.parametrize(
    ("rule", "is_fresh"),
    [
        ("open db/* enospc", True),
        ("rename raft.state* eio", True),
        ("write log/* enospc", True),
        ("write db/* enospc", False),
        ("sync raft.state* eio", False),
        ("allocate log/* enospc", False),
        ("rename log/* eio", False),
    ],
)
def test_start_on_a_bad_disk_is_refused(disk, server, rule, is_fresh):
    """With a sentence; a start on the same directory works when the disk is well again."""
    if not is_fresh:
        fill(start(server), 0, 20)
        server.kill()
    disk.set_rules(rule)
    log = refused(server)
    assert ("No space left" if "enospc" in rule else "Input/output error") in log
    assert "Traceback" not in log
    disk.set_rules()
    connection = start(server)
    check(connection, 0, 0 if is_fresh else 20)
    fill(connection, 20, 30)


def test_slow_syncs_hold_replies_only(disk, server):
    connection = start(server)
    disk.set_rules("sync *.seg delay=300")
    connection.send(encode("SET", "slow", "1"))
    other = server.connect()
    assert other.call("PING") == b"PONG"
    assert connection.receive() == b"OK"


# -- damage ------------------------------------------------------------------------------------


def test_torn_record_is_cut(disk, server):
    connection = start(server)
    fill(connection, 0, 20)
    disk.set_rules("write *.seg short", "write *.seg kill after=1")
    connection.send(encode("SET", "torn", "x" * 20_000))
    assert last_replies(connection, 1) == []
    assert server.wait_exit(EXIT_SECONDS_MAX) == -signal.SIGKILL
    disk.set_rules()
    connection = start(server)
    check(connection, 0, 20)
    assert connection.call("EXISTS", "torn") == 0
    fill(connection, 20, 30)


def test_flipped_byte_in_the_log_is_refused(disk, server):
    connection = start(server)
    for n in range(50):
        fill(connection, n, n + 1)  # an entry each
    server.kill()
    newest = max(segments(disk), key=used_bytes)
    flip(newest, used_bytes(newest) // 2)
    log = refused(server)
    assert newest.name in log
    assert "at byte" in log
    assert "Traceback" not in log
    flip(newest, used_bytes(newest) // 2)
    check(start(server), 0, 50)


def test_flipped_byte_in_a_table_is_an_error(disk, server):
    """No read of it gives a wrong value; the rest may be served or refused."""
    connection = start(server)
    fill(connection, 0, 500)
    assert connection.call("SAVE") == b"OK"
    server.terminate()
    table = max(disk.path.rglob("*.ldb"), key=lambda path: path.stat().st_size)
    flip(table, table.stat().st_size // 2)
    server.start()
    try:
        server.wait_ready()
    except ServerDied as death:
        refusal = death.log
    else:
        refusal = ""
    if refusal:
        assert "corrupt" in refusal.lower()
        assert "Traceback" not in refusal
        return
    connection = server.connect()
    failed = 0
    for n in range(500):
        try:
            connection.send(encode("GET", f"key:{n}"))
            reply = connection.receive()
        except OSError:
            failed += 1
            break
        if isinstance(reply, ErrorReply):
            failed += 1
        else:
            assert reply == f"value:{n}:".encode() + b"x" * 1000
    assert failed
    assert "corrupt" in server.log().lower()


# -- starts and stops --------------------------------------------------------------------------


def test_second_node_on_the_directory_is_refused(disk, server):
    connection = start(server)
    second = KvnodeServer(disk.path)
    second.log_path = disk.path.with_name("second.log")
    log = refused(second)
    assert "in use" in log
    assert "Traceback" not in log
    fill(connection, 0, 10)


def test_log_without_its_hard_state_is_refused(disk, server):
    start(server).close()
    server.terminate()
    (path,) = disk.path.rglob("raft.state")
    path.unlink()
    log = refused(server)
    assert "raft.state is missing" in log
    assert "Traceback" not in log


def test_newer_format_is_refused(disk, server):
    from kvnode._core import crc32c

    start(server).close()
    server.terminate()
    path = segments(disk)[-1]
    data = bytearray(path.read_bytes())
    magic, version, rest = SEGMENT_HEADER.unpack_from(data)
    SEGMENT_HEADER.pack_into(data, 0, magic, version + 1, rest)
    header = bytes(data[: SEGMENT_HEADER.size])
    struct.pack_into(">I", data, SEGMENT_HEADER.size, crc32c.extend(0, header))
    path.write_bytes(data)
    log = refused(server)
    assert path.name in log
    assert "format" in log
    assert "Traceback" not in log


def test_sigterm_stops_cleanly_and_starts_again(disk, server):
    connection = start(server)
    fill(connection, 0, 200)
    idle = server.connect()
    assert server.terminate() == 0
    assert last_replies(idle, 1) == []
    server.environment = {}
    check(start(server), 0, 200)
