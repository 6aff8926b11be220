"""redis-py finds the leader of a group, as a cluster and through Sentinels, from any node."""

import contextlib
from collections.abc import Iterator

import pytest
from redis import Redis
from redis.cluster import LoadBalancingStrategy, RedisCluster
from redis.sentinel import MasterNotFoundError, Sentinel

from kvnode.commands.group import NO_NODE, Role
from kvnode.server.config import Config
from tests.support.command_node import MEMORY_BYTES, CommandNode
from tests.support.fake_group import FakeGroup
from tests.support.fake_node import FakeNode, serving

LEADER = 2


@pytest.fixture
def nodes() -> Iterator[list[FakeNode]]:
    """Three nodes of a group that node 2 leads; each has data of its own."""
    with contextlib.ExitStack() as stack:
        fakes = []
        for node_id in (1, 2, 3):
            config = Config.load(MEMORY_BYTES, None, {"cluster-enabled": "yes"})
            node = CommandNode(config)
            node.group = FakeGroup(node_id, leader_id=LEADER, later=node.later)
            fakes.append(stack.enter_context(serving(node)))
        for fake in fakes:
            for i, other in enumerate(fakes):
                fake.node.group.change_member(i + 1, client_address=("127.0.0.1", other.port))
        yield fakes


@pytest.mark.parametrize("asked", [0, 1, 2])
def test_as_a_cluster(nodes: list[FakeNode], asked: int) -> None:
    with contextlib.closing(RedisCluster(host="127.0.0.1", port=nodes[asked].port)) as cluster:
        assert [node.port for node in cluster.get_primaries()] == [nodes[LEADER - 1].port]
        assert len(cluster.get_replicas()) == 2
        cluster.set("a", 1)
        cluster.set("b", 2)
        assert cluster.get("a") == b"1"
        assert cluster.cluster_info()["cluster_state"] == "ok"
        assert len(cluster.cluster_nodes()) == 3
        (shard,) = cluster.cluster_shards()
        assert len(shard["nodes"]) == 3
    with contextlib.closing(Redis(port=nodes[LEADER - 1].port)) as leader:
        assert leader.mget("a", "b") == [b"1", b"2"]


def test_reads_of_replicas(nodes: list[FakeNode]) -> None:
    """READONLY comes first on each connection to a follower."""
    strategy = LoadBalancingStrategy.ROUND_ROBIN
    where = {"host": "127.0.0.1", "port": nodes[0].port, "load_balancing_strategy": strategy}
    with contextlib.closing(RedisCluster(**where)) as cluster:
        for _ in range(3):
            cluster.get("a")
        assert any(fake.node.group.readers for fake in nodes)


@pytest.mark.parametrize("asked", [0, 1, 2])
def test_through_sentinels(nodes: list[FakeNode], asked: int) -> None:
    sentinel = Sentinel([("127.0.0.1", nodes[asked].port)])
    try:
        assert sentinel.discover_master("mymaster") == ("127.0.0.1", nodes[LEADER - 1].port)
        assert {port for _, port in sentinel.discover_slaves("mymaster")} == {
            fake.port for i, fake in enumerate(nodes) if i != LEADER - 1
        }
        with contextlib.closing(sentinel.master_for("mymaster")) as master:
            master.set("a", 1)
            assert master.connection_pool.master_address == (
                "127.0.0.1",
                nodes[LEADER - 1].port,
            )
            assert master.role()[0] == b"master"
    finally:
        for one in sentinel.sentinels:
            one.close()


def test_while_nobody_leads(nodes: list[FakeNode]) -> None:
    nodes[0].node.group.change_status(leader_id=NO_NODE, role=Role.CANDIDATE)
    sentinel = Sentinel([("127.0.0.1", nodes[0].port)])
    try:
        with pytest.raises(MasterNotFoundError):
            sentinel.discover_master("mymaster")
    finally:
        for one in sentinel.sentinels:
            one.close()
