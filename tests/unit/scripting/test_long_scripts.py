"""Long scripts on a server: others are served meanwhile, and SCRIPT KILL ends them."""

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.process import ServerProcess, running
from tests.support.resp import ErrorReply, Reply

REPLY_SECONDS_MAX = 30.0
ENDLESS = "redis.call('set','left','1') while true do redis.call('get','a') end"
KEYS = 300


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running("kvnode") as started:
        yield started


@pytest.fixture
def client(server):
    with contextlib.closing(server.connect(REPLY_SECONDS_MAX)) as connection:
        connection.call("FLUSHALL")
        yield connection


class Waiting:
    """A command of a client of its own, under way."""

    def __init__(self, server: ServerProcess, *words: object) -> None:
        self.reply: Reply = None
        self._thread = threading.Thread(target=self._run, args=(server, words))
        self._thread.start()

    def _run(self, server: ServerProcess, words: tuple[object, ...]) -> None:
        with contextlib.closing(server.connect(REPLY_SECONDS_MAX)) as connection:
            try:
                self.reply = connection.call(*words)
            except (ErrorReply, EOFError, OSError) as error:
                self.reply = error

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> Reply:
        self._thread.join(REPLY_SECONDS_MAX)
        assert not self._thread.is_alive()
        return self.reply


def kill(client) -> None:
    """SCRIPT KILL, as soon as the script is known to run."""
    for _ in range(1000):
        try:
            assert client.call("SCRIPT", "KILL") == b"OK"
        except ErrorReply:
            time.sleep(0.01)
        else:
            return
    raise AssertionError("no script has run")


def kill_all(client) -> None:
    """SCRIPT KILL until its error says that none runs."""
    for _ in range(1000):
        client.call("SCRIPT", "KILL")
        time.sleep(0.01)


def test_others_are_served_while_an_endless_script_runs(server, client):
    endless = Waiting(server, "EVAL", ENDLESS, "0")
    for n in range(200):
        client.call("SET", f"k{n}", n)
        assert client.call("GET", f"k{n}") == str(n).encode()
    assert endless.is_running
    kill(client)
    assert str(endless.join()).startswith("ERR Script killed by user with SCRIPT KILL.")
    assert client.call("EXISTS", "left") == 0


@pytest.mark.parametrize(
    "text",
    [
        "while true do end",
        "while true do pcall(redis.call, 'get', 'a') end",
        "local f = coroutine.wrap(function() while true do end end) f()",
        "while true do pcall(error, 'x') end",
    ],
)
def test_no_script_escapes_its_kill(server, client, text):
    endless = Waiting(server, "EVAL", "redis.call('set','left','1') " + text, "0")
    kill(client)
    assert str(endless.join()).startswith("ERR Script killed by user with SCRIPT KILL.")
    assert client.call("EXISTS", "left") == 0


def test_records_that_it_lacks_are_read_inside_of_the_run(server, client):
    for n in range(KEYS):
        client.call("SET", f"k{n}", n)
    text = (
        "for i = 1, 3000000 do local x = i end local s = 0 "
        f"for i = 0, {KEYS - 1} do s = s + redis.call('get', 'k' .. i) end "
        "redis.call('set','sum',s) return s"
    )
    assert client.call("EVAL", text, "0") == sum(range(KEYS))
    assert client.call("GET", "sum") == str(sum(range(KEYS))).encode()


def test_many_long_scripts_on_one_counter_all_count(server, client):
    text = "local n = redis.call('get','n') or 0 for i = 1, 1500000 do local x = i end "
    text += "redis.call('set','n',n + 1) return n + 1"
    scripts = [Waiting(server, "EVAL", text, "0") for _ in range(6)]
    replies = sorted(script.join() for script in scripts)
    assert replies == [1, 2, 3, 4, 5, 6]
    assert client.call("GET", "n") == b"6"


def test_a_pause_of_writes_holds_back_scripts_that_may_write(server, client):
    client.call("CLIENT", "PAUSE", "60000", "WRITE")
    assert client.call("EVAL_RO", "return redis.call('get','a')", "0") is None
    writing = Waiting(server, "EVAL", "return redis.call('incr','a')", "0")
    while b"flags=b" not in client.call("CLIENT", "LIST"):
        pass
    assert writing.is_running
    assert client.call("GET", "a") is None
    client.call("CLIENT", "UNPAUSE")
    assert writing.join() == 1


def test_the_hard_limit_ends_a_script(server, client):
    client.call("CONFIG", "SET", "script-time-limit", "50")
    try:
        with pytest.raises(ErrorReply, match="took longer than it may"):
            client.call("EVAL", ENDLESS, "0")
    finally:
        client.call("CONFIG", "SET", "script-time-limit", "300000")
    assert client.call("EXISTS", "left") == 0


def test_a_client_that_leaves_takes_its_script_along(server, client):
    connection = server.connect(REPLY_SECONDS_MAX)
    connection.send(
        b"*3\r\n$4\r\nEVAL\r\n$%d\r\n%s\r\n$1\r\n0\r\n" % (len(ENDLESS), ENDLESS.encode())
    )
    time.sleep(0.1)
    connection.close()
    with pytest.raises(ErrorReply, match="NOTBUSY"):
        kill_all(client)
    assert client.call("EVAL", "return 1", "0") == 1


def test_a_node_ends_while_a_script_runs():
    with running("kvnode") as started:
        endless = Waiting(started, "EVAL", ENDLESS, "0")
        time.sleep(0.2)
        assert endless.is_running
    assert isinstance(endless.join(), Exception)
