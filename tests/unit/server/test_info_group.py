"""INFO replication on both sides of a group."""

import pytest

from kvnode.commands.group import NO_NODE, Role
from tests.support.command_node import CommandNode
from tests.support.fake_group import FakeGroup


@pytest.fixture
def node() -> CommandNode:
    return CommandNode()


def fields(node: CommandNode) -> dict[str, str]:
    text = node.connect().words("INFO replication").decode()
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def test_leader(node: CommandNode) -> None:
    group = node.group = FakeGroup(1)
    group.change_member(2, match_index=990, lag_ms=1500)
    group.change_member(3, is_receiving=True)
    found = fields(node)
    assert found["role"] == "master"
    assert found["connected_slaves"] == "2"
    assert found["slave0"] == "ip=10.0.0.2,port=7002,state=online,offset=990,lag=1"
    assert found["slave1"] == "ip=10.0.0.3,port=7003,state=send_bulk,offset=1000,lag=0"
    assert found["master_repl_offset"] == "1000"
    assert found["master_replid"] == "000102030405060708090a0b0c0d0e0f00000000"
    assert found["master_failover_state"] == "no-failover"
    assert (found["raft_role"], found["raft_term"], found["raft_voters"]) == ("leader", "3", "3")
    group.change_status(is_transferring=True)
    group.change_member(2, is_alive=False)
    found = fields(node)
    assert found["master_failover_state"] == "failover-in-progress"
    assert (found["connected_slaves"], found["slave0"][:11]) == ("1", "ip=10.0.0.3")


def test_follower(node: CommandNode) -> None:
    group = node.group = FakeGroup(2)
    group.change_status(last_index=1000, applied_index=900)
    group.change_member(1, lag_ms=2500)
    found = fields(node)
    assert found["role"] == "slave"
    assert (found["master_host"], found["master_port"]) == ("10.0.0.1", "7001")
    assert (found["master_link_status"], found["master_last_io_seconds_ago"]) == ("up", "2")
    assert (found["slave_read_repl_offset"], found["slave_repl_offset"]) == ("1000", "900")
    assert (found["connected_slaves"], found["master_repl_offset"]) == ("0", "900")


def test_nobody_leads(node: CommandNode) -> None:
    group = node.group = FakeGroup(2)
    group.change_status(leader_id=NO_NODE, role=Role.CANDIDATE)
    found = fields(node)
    assert (found["role"], found["master_host"], found["master_port"]) == ("slave", "", "0")
    assert (found["master_link_status"], found["raft_role"]) == ("down", "candidate")


def test_alone(node: CommandNode) -> None:
    found = fields(node)
    assert (found["role"], found["connected_slaves"]) == ("master", "0")
    assert found["master_replid"] == node.run_id
    assert found["master_repl_offset"] == "0"
