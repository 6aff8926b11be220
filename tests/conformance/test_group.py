"""What a group says of itself, beside a master, a replica, a cluster and a Sentinel of Redis.

Values differ; names, order and types of fields do not.
"""

import time
from collections.abc import Callable, Iterator

import pytest

from kvnode.commands.slots import SLOTS
from tests.support.command_node import CommandNode, TableClient
from tests.support.fake_group import FakeGroup
from tests.support.process import READY_SECONDS_MAX, redis_server_path, running
from tests.support.resp import Connection, ErrorReply, Reply

pytestmark = pytest.mark.skipif(redis_server_path() is None, reason="redis-server is missing")
POLL_SECONDS = 0.01
MEASURED = ("cluster_stats_messages_",)  # a line for each kind of message that was sent


def eventually(ask: Callable[[], Reply], is_there: Callable[[Reply], bool]) -> Reply:
    """Return a reply as soon as it is as wanted."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    while not is_there(reply := ask()):
        assert time.monotonic() < deadline, f"still {reply!r}"
        time.sleep(POLL_SECONDS)
    return reply


def ours(node_id: int) -> TableClient:
    """Return a client of a node of a group that node 1 leads."""
    node = CommandNode()
    node.group = FakeGroup(node_id, later=node.later)
    return node.connect()


def names(text: Reply, without: tuple[str, ...] = ()) -> list[str]:
    """Return the names of fields in a text of lines."""
    assert isinstance(text, bytes)
    found = [line.partition(":")[0] for line in text.decode().split("\r\n") if ":" in line]
    return [name for name in found if not name.startswith(without)] if without else found


def shape(reply: Reply) -> object:
    """Return a reply with types in place of values, but for names of fields."""
    if isinstance(reply, dict):
        return {key: shape(value) for key, value in reply.items()}
    if isinstance(reply, list):
        return [shape(item) for item in reply]
    return type(reply).__name__


@pytest.fixture(scope="module")
def master() -> Iterator[Connection]:
    with running("redis") as server, server.connect() as connection:
        connection.call("CONFIG", "SET", "repl-diskless-sync-delay", 0)
        yield connection


@pytest.fixture(scope="module")
def replica(master: Connection) -> Iterator[Connection]:
    port = master.socket.getpeername()[1]
    with running("redis") as server, server.connect() as connection:
        connection.call("REPLICAOF", "127.0.0.1", port)
        eventually(lambda: connection.call("ROLE")[3], lambda state: state == b"connected")
        eventually(lambda: master.call("ROLE")[2], bool)
        yield connection


@pytest.fixture(scope="module")
def cluster() -> Iterator[Connection]:
    with running("redis-cluster") as server, server.connect() as connection:
        connection.call("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        is_ok = lambda text: b"cluster_state:ok" in text  # noqa: E731
        eventually(lambda: connection.call("CLUSTER", "INFO"), is_ok)
        yield connection


def test_role(master: Connection, replica: Connection) -> None:
    leader = ours(1)
    leader.node.group.change_member(3, is_alive=False)
    assert shape(leader.words("ROLE")) == shape(master.call("ROLE"))
    assert shape(ours(2).words("ROLE")) == shape(replica.call("ROLE"))


def test_info_replication(master: Connection, replica: Connection) -> None:
    leader = ours(1)
    leader.node.group.change_member(3, is_alive=False)
    for mine, theirs in ((leader, master), (ours(2), replica)):
        found = names(mine.words("INFO replication"))
        own = [name for name in found if name.startswith("raft_")]
        assert found[: -len(own)] == names(theirs.call("INFO", "replication"))


def test_hello(replica: Connection) -> None:
    theirs = replica.call("HELLO", "2")
    mine = ours(2).words("HELLO 2")
    assert shape(mine) == shape(theirs)
    assert mine[-4:] == theirs[-4:] == [b"role", b"replica", b"modules", []]


@pytest.mark.parametrize("words", ["WAIT 1 0", "FAILOVER", "FAILOVER ABORT"])
def test_errors_of_a_replica(replica: Connection, words: str) -> None:
    with pytest.raises(ErrorReply) as theirs:
        replica.call(*words.split())
    assert ours(2).words(words) == theirs.value


def test_replicaof_the_same_master(master: Connection, replica: Connection) -> None:
    port = master.socket.getpeername()[1]
    theirs = replica.call("REPLICAOF", "127.0.0.1", port)
    assert ours(2).words("REPLICAOF 10.0.0.1 7001") == theirs


@pytest.mark.parametrize(
    "words",
    [
        "FAILOVER TO {host} 1",
        "FAILOVER TO {host} {port} FORCE",
        "FAILOVER FORCE TIMEOUT 1",
        "FAILOVER TIMEOUT 0",
        "FAILOVER TO {host}",
        "FAILOVER ABORT x",
        "FAILOVER ABORT",
    ],
)
def test_errors_of_failover(master: Connection, replica: Connection, words: str) -> None:
    host, port = replica.socket.getpeername()
    with pytest.raises(ErrorReply) as theirs:
        master.call(*words.format(host=host, port=port).split())
    assert ours(1).words(words.format(host="10.0.0.2", port=7002)) == theirs.value


def test_cluster_info(cluster: Connection) -> None:
    mine, theirs = ours(1).words("CLUSTER INFO"), cluster.call("CLUSTER", "INFO")
    assert names(mine, MEASURED) == names(theirs, MEASURED)


@pytest.mark.parametrize(
    "words",
    [
        *("MYID", "KEYSLOT a", "NODES"),
        *("COUNTKEYSINSLOT x", "COUNTKEYSINSLOT 16384", "COUNTKEYSINSLOT -1"),
        *("GETKEYSINSLOT x 1", "GETKEYSINSLOT 1 x", "GETKEYSINSLOT 1 -1"),
        *("GETKEYSINSLOT 16384 1", "REPLICAS x", "SLAVES x"),
    ],
)
def test_cluster(cluster: Connection, words: str) -> None:
    cluster.send(b"CLUSTER " + words.encode() + b"\r\n")
    theirs = cluster.receive()
    mine = ours(1).words(f"CLUSTER {words}")
    if isinstance(theirs, ErrorReply):
        assert mine == theirs
    assert shape(mine) == shape(theirs)


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("words", ["SLOTS", "SHARDS"])
def test_maps_of_slots(cluster: Connection, words: str, protocol: int) -> None:
    """The cluster has one node; ours is made to show one."""
    leader = ours(1)
    leader.node.group.change_status(members=leader.node.group.known.members[:1])
    cluster.call("HELLO", protocol)
    leader.words(f"HELLO {protocol}")
    theirs = cluster.call("CLUSTER", words)
    cluster.call("HELLO", 2)
    mine = leader.words(f"CLUSTER {words}")
    assert shape(mine) == shape(theirs)
    if words == "SHARDS" and protocol == 3:
        assert list(mine[0][b"nodes"][0]) == list(theirs[0][b"nodes"][0])


def test_a_line_of_nodes(cluster: Connection) -> None:
    mine = ours(1).words("CLUSTER NODES").split(b"\n")[0].split(b" ")
    theirs = cluster.call("CLUSTER", "NODES").split(b"\n")[0].split(b" ")
    assert len(mine) == len(theirs)
    assert mine[2:5] == theirs[2:5] == [b"myself,master", b"-", b"0"]
    assert mine[7:] == theirs[7:] == [b"connected", b"0-16383"]


@pytest.mark.parametrize("words", ["READONLY", "READWRITE", "ASKING"])
def test_modes(cluster: Connection, words: str) -> None:
    assert ours(2).words(words) == cluster.call(words)


def test_sentinel(master: Connection, replica: Connection) -> None:
    port = master.socket.getpeername()[1]
    mine = ours(1)
    with running("sentinel") as server, server.connect() as sentinel:
        sentinel.call("SENTINEL", "MONITOR", "m", "127.0.0.1", port, 2)
        replicas = eventually(lambda: sentinel.call("SENTINEL", "REPLICAS", "m"), bool)
        assert mine.words("SENTINEL REPLICAS m")[0][::2] == replicas[0][::2]
        theirs = sentinel.call("SENTINEL", "MASTER", "m")
        assert mine.words("SENTINEL MASTER m")[::2] == theirs[::2]
        found = sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m")
        assert shape(mine.words("SENTINEL GET-MASTER-ADDR-BY-NAME m")) == shape(found)
        assert len(mine.words("SENTINEL MYID")) == len(sentinel.call("SENTINEL", "MYID"))
        mine.node.group.change_member(2, is_alive=False)
        mine.node.group.change_member(3, is_alive=False)
        with pytest.raises(ErrorReply) as refusal:
            sentinel.call("SENTINEL", "CKQUORUM", "m")
        # It knows one Sentinel, whose majority it is.
        assert str(mine.words("SENTINEL CKQUORUM m")).startswith(f"{refusal.value}. ")


def test_another_shape_is_noticed() -> None:
    assert shape([b"a", 1]) != shape([b"a", b"1"])
    assert shape({b"a": 1}) != shape({b"b": 1})
    assert names(b"# X\r\na:1\r\nb:2\r\n") == ["a", "b"]
