"""CLUSTER and its kin in a group; what cluster clients read of it. Forms are Redis's."""

import pytest

from kvnode.commands.group import NO_ADDRESS, NO_NODE
from kvnode.commands.slots import crc16, slot_of
from kvnode.server.config import Config
from tests.support.command_node import MEMORY_BYTES, CommandNode, TableClient, error
from tests.support.fake_group import FakeGroup

IDS = [f"{i:016x}{f'{i:02x}' * 12}" for i in range(4)]
DISABLED = "ERR This instance has cluster support disabled"


def place(node_id: int) -> list:
    return [f"10.0.0.{node_id}".encode(), 7000 + node_id, IDS[node_id].encode(), []]


def test_slots_begin_with_the_leader(follower: FakeGroup, client: TableClient) -> None:
    follower.change_status(leader_id=3)
    assert client.words("CLUSTER SLOTS") == [[0, 16383, place(3), place(1), place(2)]]


def test_slots_without_those_that_cannot_serve(follower: FakeGroup, client: TableClient) -> None:
    follower.change_member(2, is_receiving=True)
    follower.change_member(3, is_alive=False)
    assert client.words("CLUSTER SLOTS") == [[0, 16383, place(1)]]


def test_nobody_leads(follower: FakeGroup, client: TableClient) -> None:
    follower.change_status(leader_id=NO_NODE)
    assert client.words("CLUSTER SLOTS") == []
    assert b"cluster_state:fail\r\n" in client.words("CLUSTER INFO")
    assert b"master" not in client.words("CLUSTER NODES")
    client.words("HELLO 3")
    (shard,) = client.words("CLUSTER SHARDS")
    assert [m[b"role"] for m in shard[b"nodes"]] == [b"replica"] * 3


def test_nodes(node: CommandNode, follower: FakeGroup, client: TableClient) -> None:
    follower.change_member(3, is_alive=False, lag_ms=5000)
    now = node.clock.now_ms
    assert client.words("CLUSTER NODES").decode() == (
        f"{IDS[1]} 10.0.0.1:7001@7101 master - 0 {now} 3 connected 0-16383\n"
        f"{IDS[2]} 10.0.0.2:7002@7102 myself,slave {IDS[1]} 0 0 3 connected\n"
        f"{IDS[3]} 10.0.0.3:7003@7103 slave,fail {IDS[1]} 0 {now - 5000} 3 disconnected\n"
    )


def test_shards(follower: FakeGroup, client: TableClient) -> None:
    client.words("HELLO 3")
    follower.change_member(2, is_receiving=True, match_index=7)
    follower.change_member(3, is_alive=False)
    (shard,) = client.words("CLUSTER SHARDS")
    assert shard[b"slots"] == [0, 16383]
    assert shard[b"nodes"][1] == {
        b"id": IDS[2].encode(),
        b"port": 7002,
        b"ip": b"10.0.0.2",
        b"endpoint": b"10.0.0.2",
        b"role": b"replica",
        b"replication-offset": 7,
        b"health": b"loading",
    }
    assert [m[b"health"] for m in shard[b"nodes"]] == [b"online", b"loading", b"failed"]


def test_ids(follower: FakeGroup, client: TableClient) -> None:
    assert client.words("CLUSTER MYID") == IDS[2].encode()
    assert client.words("CLUSTER MYSHARDID") == b"000102030405060708090a0b0c0d0e0f00000000"
    follower.change_status(members=follower.known.members[:1])
    assert "not in the group yet" in error(client.words("CLUSTER MYID"))


@pytest.mark.parametrize("name", ["REPLICAS", "SLAVES"])
def test_replicas(follower: FakeGroup, client: TableClient, name: str) -> None:
    lines = client.words(f"CLUSTER {name} {IDS[1].upper()}")
    assert [line.split()[0].decode() for line in lines] == IDS[2:]
    assert error(client.words(f"CLUSTER {name} x")) == "ERR Unknown node x"
    text = "ERR The specified node is not a master"
    assert error(client.words(f"CLUSTER {name} {IDS[2]}")) == text


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("COUNTKEYSINSLOT x", "value is not an integer or out of range"),
        ("COUNTKEYSINSLOT 16384", "Invalid slot"),
        ("COUNTKEYSINSLOT -1", "Invalid slot"),
        ("COUNTKEYSINSLOT 1", "keys are not kept by slot: use SCAN"),
        ("GETKEYSINSLOT 1 x", "value is not an integer or out of range"),
        ("GETKEYSINSLOT 1 -2", "Invalid slot or number of keys"),
        ("GETKEYSINSLOT 1 1", "keys are not kept by slot: use SCAN"),
    ],
)
def test_keys_of_slots(follower: FakeGroup, client: TableClient, words: str, text: str) -> None:
    assert error(client.words(f"CLUSTER {words}")) == f"ERR {text}"


def test_modes_of_a_connection(node: CommandNode, follower: FakeGroup, client: TableClient) -> None:
    assert client.words("ASKING") == b"OK"
    assert client.words("READONLY") == b"OK"
    assert follower.readers == {client.session.id}
    assert client.words("READWRITE") == b"OK"
    assert follower.readers == set()
    client.words("READONLY")
    client.words("RESET")
    assert follower.readers == set()


def test_a_node_tells_its_own_address_as_the_client_knows_it(
    follower: FakeGroup, client: TableClient
) -> None:
    client.session.laddr = "[fe80::1]:6400"
    for address in (NO_ADDRESS, ("0.0.0.0", 7002), ("::", 7002)):
        follower.change_member(2, client_address=address)
        assert client.words("CLUSTER SLOTS")[0][3][:2] == [b"fe80::1", 6400]
    follower.change_member(3, client_address=NO_ADDRESS)
    assert client.words("CLUSTER SLOTS")[0][4][:2] == [b"", 0]


def test_a_node_alone_has_no_cluster(client: TableClient) -> None:
    for words in ("INFO", "SLOTS", "NODES", "SHARDS", "MYID", "MYSHARDID", "LINKS", "KEYSLOT a"):
        assert error(client.words(f"CLUSTER {words}")) == DISABLED


def test_a_node_alone_that_is_told_to_have_one() -> None:
    node = CommandNode(Config.load(MEMORY_BYTES, None, {"cluster-enabled": "yes"}))
    client = node.connect()
    assert client.words("CLUSTER SLOTS")[0][:2] == [0, 16383]
    assert client.words("CLUSTER SLOTS")[0][2][:2] == [b"127.0.0.1", 6379]
    assert b"cluster_enabled:1\r\n" in client.words("INFO cluster")
    assert b"redis_mode:cluster\r\n" in client.words("INFO server")
    assert client.words("HELLO 3")[b"mode"] == b"cluster"


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        (b"", 0),
        (b"a", 15495),
        (b"123456789", 12739),
        (b"foo{bar}", 5061),
        (b"{bar}x{y}", 5061),
        (b"bar", 5061),
        (b"foo{}{bar}", 8363),
        (b"foo{{bar}}zap", 4015),
        (b"foo{bar", 15278),
    ],
)
def test_slots_of_keys(key: bytes, slot: int) -> None:
    assert slot_of(key) == slot


def test_crc16_is_the_one_of_the_specification() -> None:
    assert crc16(b"123456789") == 0x31C3
