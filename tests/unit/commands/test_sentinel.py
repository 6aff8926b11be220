"""SENTINEL: what clients of Redis Sentinel read of a group."""

import pytest

from kvnode.commands.group import NO_NODE, Kind
from tests.support.command_node import CommandNode, TableClient
from tests.support.fake_group import FakeGroup
from tests.support.resp import ErrorReply


@pytest.fixture
def node() -> CommandNode:
    return CommandNode()


@pytest.fixture
def group(node: CommandNode) -> FakeGroup:
    """A group as its node 2, which follows, knows it."""
    node.group = FakeGroup(2, later=node.later)
    return node.group


@pytest.fixture
def client(node: CommandNode) -> TableClient:
    client = node.connect()
    client.words("HELLO 3")
    return client


def error(reply: object) -> str:
    assert isinstance(reply, ErrorReply), reply
    return str(reply)


@pytest.mark.parametrize("name", ["mymaster", "any-other"])
def test_the_leader_is_found_by_any_name(group: FakeGroup, client: TableClient, name: str) -> None:
    assert client.words(f"SENTINEL GET-MASTER-ADDR-BY-NAME {name}") == [b"10.0.0.1", b"7001"]
    described = client.words(f"SENTINEL MASTER {name}")
    assert described[b"name"] == name.encode()
    assert described[b"ip"], described[b"port"] == (b"10.0.0.1", b"7001")
    assert described[b"num-slaves"] == b"2"
    assert described[b"quorum"] == b"2"
    assert described[b"flags"] == b"master"
    assert described[b"config-epoch"] == b"3"


def test_masters_are_listed_as_mymaster(group: FakeGroup, client: TableClient) -> None:
    (described,) = client.words("SENTINEL MASTERS")
    assert described == client.words("SENTINEL MASTER mymaster")


@pytest.mark.parametrize("name", ["REPLICAS", "SLAVES"])
def test_replicas(group: FakeGroup, client: TableClient, name: str) -> None:
    group.change_member(2, match_index=990)
    group.change_member(3, is_alive=False, lag_ms=7000)
    two, three = client.words(f"SENTINEL {name} mymaster")
    assert two[b"name"] == b"10.0.0.2:7002"
    assert (two[b"flags"], two[b"master-link-status"]) == (b"slave", b"ok")
    assert (two[b"master-host"], two[b"master-port"]) == (b"10.0.0.1", b"7001")
    assert two[b"slave-repl-offset"] == b"990"
    assert (three[b"flags"], three[b"master-link-status"]) == (b"slave,s_down,disconnected", b"err")
    assert three[b"last-ok-ping-reply"] == three[b"master-link-down-time"] == b"7000"


def test_the_other_nodes_are_sentinels(group: FakeGroup, client: TableClient) -> None:
    ports = [described[b"port"] for described in client.words("SENTINEL SENTINELS x")]
    assert ports == [b"7001", b"7003"]


def test_ids_differ(group: FakeGroup, client: TableClient) -> None:
    others = [described[b"runid"] for described in client.words("SENTINEL SENTINELS x")]
    mine = client.words("SENTINEL MYID")
    assert len({*others, mine}) == 3
    assert all(len(one) == 40 for one in (*others, mine))


def test_nobody_leads(node: CommandNode, group: FakeGroup, client: TableClient) -> None:
    group.change_status(leader_id=NO_NODE)
    assert client.words("SENTINEL GET-MASTER-ADDR-BY-NAME x") is None
    assert client.words("SENTINEL MASTERS") == []
    for name in ("MASTER", "REPLICAS", "SENTINELS"):
        text = "ERR No such master with that name"
        assert error(client.words(f"SENTINEL {name} x")) == text
    group.change_status(members=())
    assert client.words("SENTINEL MYID") == node.run_id.encode()


def test_quorum(group: FakeGroup, client: TableClient) -> None:
    ok = "usable Sentinels. Quorum and failover authorization can be reached"
    assert client.words("SENTINEL CKQUORUM x") == f"OK 3 {ok}".encode()
    group.change_member(1, is_alive=False)
    assert client.words("SENTINEL CKQUORUM x") == f"OK 2 {ok}".encode()
    group.change_member(3, kind=Kind.LEARNER)
    assert error(client.words("SENTINEL CKQUORUM x")).startswith("NOQUORUM 1 usable Sentinels. ")


def test_a_node_alone_is_its_own_sentinel(client: TableClient) -> None:
    assert client.words("SENTINEL GET-MASTER-ADDR-BY-NAME x") == [b"127.0.0.1", b"6379"]
    assert client.words("SENTINEL REPLICAS x") == []
    assert client.words("SENTINEL CKQUORUM x").startswith(b"OK 1 usable")
