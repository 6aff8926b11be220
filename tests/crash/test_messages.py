"""Nobody reads a message of what a kill -9 and a power loss then take.

Writers raise a counter and publish it, in scripts, in MULTI and as two commands; a subscriber notes
what it reads until the node dies. After the loss the counter must be at least that.
"""

import os
import threading
from random import Random

import pytest

from tests.support.powerloss import lose_power
from tests.support.process import is_kvnode_complete
from tests.support.resp import Connection, encode
from tests.support.servers import KvnodeServer, ServerDied

ROUNDS = int(os.environ.get("KVNODE_CRASH_ROUNDS", "6"))
PLANTED_ROUNDS_MAX = 40  # within so many a planted bug must be found; one or two do as a rule
SEED = int(os.environ.get("KVNODE_CRASH_SEED", "1"))
WRITERS = 3
MESSAGES_MAX = 300  # that a subscriber reads before the node is killed
TELL = "return redis.call('publish', 'news', redis.call('get', 'n'))"
WORK = (
    [("EVAL", "redis.call('incr', 'n') " + TELL, "0")],
    [("MULTI",), ("INCR", "n"), ("EVAL", TELL, "0"), ("EXEC",)],
    [("INCR", "n"), ("EVAL", TELL, "0")],
)

pytestmark = pytest.mark.skipif(not is_kvnode_complete(), reason="there is no node yet")


def write(connection: Connection, random: Random) -> None:
    """Send work, and read its replies, until the node is gone."""
    try:
        while True:
            commands = random.choice(WORK) * random.choice((1, 4, 16))
            connection.send(b"".join(encode(*words) for words in commands))
            for _ in commands:
                connection.receive_raw()
    except OSError:
        pass


def live(server: KvnodeServer, random: Random) -> int:
    """Let all work, and kill the node; return the highest value that was read."""
    reader, highest = server.connect(), 0
    reader.call("SUBSCRIBE", "news")
    writers = [
        threading.Thread(target=write, args=(server.connect(), Random(random.random())))
        for _ in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    dies_at = random.randrange(1, MESSAGES_MAX)
    try:
        for count in range(1 << 20):
            value = int(reader.receive()[2])
            assert value >= highest
            highest = value
            if count == dies_at:
                server.kill()
    except OSError:
        pass
    for writer in writers:
        writer.join()
    server.close_connections()
    return highest


def run(disk, rounds: int, plant: str | None = None) -> None:
    random, highest = Random(SEED), 0
    server = KvnodeServer(disk.path, "--appendfsync", "always")
    try:
        for number in range(rounds + 1):
            sync_us = random.choice((0, 300, 3000))
            server.environment = disk.environment(sync_us=sync_us, plant=plant)
            server.start()
            server.wait_ready()
            found = int(server.connect().call("GET", "n") or 0)
            assert found >= highest, f"round {number}: {highest} was read, {found} is there"
            highest = live(server, random)
            lose_power(disk, random)
    finally:
        server.kill()
        server.close_connections()


def test_what_was_read_is_there(disk):
    run(disk, ROUNDS)


@pytest.mark.parametrize("plant", ["ignore_fdatasync", "early_fdatasync"])
def test_messages_ahead_of_the_sync_are_found(disk, plant):
    """A message was read of what is gone, or so much is gone that the node refuses to start."""
    with pytest.raises((AssertionError, ServerDied), match=r"was read|exit code"):
        run(disk, PLANTED_ROUNDS_MAX, plant)
