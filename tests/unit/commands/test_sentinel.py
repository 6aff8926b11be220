"""SENTINEL: what clients of Redis Sentinel read of a follower."""

import pytest

from kvnode.commands.group import NO_NODE, Kind
from tests.support.command_node import CommandNode, TableClient, error
from tests.support.fake_group import FakeGroup


@pytest.fixture
def client(node: CommandNode) -> TableClient:
    """A client that gets maps as maps."""
    client = node.connect()
    client.words("HELLO 3")
    return client


@pytest.mark.parametrize("name", ["mymaster", "any-other"])
def test_the_leader_is_found_by_any_name(
    follower: FakeGroup, client: TableClient, name: str
) -> None:
    assert client.words(f"SENTINEL GET-MASTER-ADDR-BY-NAME {name}") == [b"10.0.0.1", b"7001"]
    described = client.words(f"SENTINEL MASTER {name}")
    assert described[b"name"] == name.encode()
    assert described[b"ip"], described[b"port"] == (b"10.0.0.1", b"7001")
    assert described[b"num-slaves"] == b"2"
    assert described[b"quorum"] == b"2"
    assert described[b"flags"] == b"master"
    assert described[b"config-epoch"] == b"3"


def test_masters_are_listed_as_mymaster(follower: FakeGroup, client: TableClient) -> None:
    (described,) = client.words("SENTINEL MASTERS")
    assert described == client.words("SENTINEL MASTER mymaster")


@pytest.mark.parametrize("name", ["REPLICAS", "SLAVES"])
def test_replicas(follower: FakeGroup, client: TableClient, name: str) -> None:
    follower.change_member(2, match_index=990)
    follower.change_member(3, is_alive=False, lag_ms=7000)
    two, three = client.words(f"SENTINEL {name} mymaster")
    assert two[b"name"] == b"10.0.0.2:7002"
    assert (two[b"flags"], two[b"master-link-status"]) == (b"slave", b"ok")
    assert (two[b"master-host"], two[b"master-port"]) == (b"10.0.0.1", b"7001")
    assert two[b"slave-repl-offset"] == b"990"
    assert (three[b"flags"], three[b"master-link-status"]) == (b"slave,s_down,disconnected", b"err")
    assert three[b"last-ok-ping-reply"] == three[b"master-link-down-time"] == b"7000"


def test_the_other_nodes_are_sentinels(follower: FakeGroup, client: TableClient) -> None:
    ports = [described[b"port"] for described in client.words("SENTINEL SENTINELS x")]
    assert ports == [b"7001", b"7003"]


def test_ids_differ(follower: FakeGroup, client: TableClient) -> None:
    others = [described[b"runid"] for described in client.words("SENTINEL SENTINELS x")]
    mine = client.words("SENTINEL MYID")
    assert len({*others, mine}) == 3
    assert all(len(one) == 40 for one in (*others, mine))


def test_nobody_leads(node: CommandNode, follower: FakeGroup, client: TableClient) -> None:
    follower.change_status(leader_id=NO_NODE)
    assert client.words("SENTINEL GET-MASTER-ADDR-BY-NAME x") is None
    assert client.words("SENTINEL MASTERS") == []
    for name in ("MASTER", "REPLICAS", "SENTINELS"):
        text = "ERR No such master with that name"
        assert error(client.words(f"SENTINEL {name} x")) == text
    follower.change_status(members=())
    assert client.words("SENTINEL MYID") == node.run_id.encode()


def test_quorum(follower: FakeGroup, client: TableClient) -> None:
    ok = "usable Sentinels. Quorum and failover authorization can be reached"
    assert client.words("SENTINEL CKQUORUM x") == f"OK 3 {ok}".encode()
    follower.change_member(1, is_alive=False)
    assert client.words("SENTINEL CKQUORUM x") == f"OK 2 {ok}".encode()
    follower.change_member(3, kind=Kind.LEARNER)
    assert error(client.words("SENTINEL CKQUORUM x")).startswith("NOQUORUM 1 usable Sentinels. ")


def test_a_node_alone_is_its_own_sentinel(client: TableClient) -> None:
    assert client.words("SENTINEL GET-MASTER-ADDR-BY-NAME x") == [b"127.0.0.1", b"6379"]
    assert client.words("SENTINEL REPLICAS x") == []
    assert client.words("SENTINEL CKQUORUM x").startswith(b"OK 1 usable")
