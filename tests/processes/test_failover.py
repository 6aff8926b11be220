"""Nodes that die under load, and what clients were told of it."""

import pytest

from kvnode.base.limits import FORWARD_WAIT_MS
from kvnode.base.resp import encode
from tests.processes import group as groups
from tests.processes.workload import load
from tests.support.resp import Connection, ErrorReply

FUNCTION = "#!lua name=numbers\nredis.register_function('five', function() return 5 end)"


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    with groups.running(tmp_path_factory.mktemp("group") / "nodes") as running:
        yield running


def test_what_one_node_took_is_there_at_each(group):
    for node in group.nodes.values():
        assert node.ask("SET", f"from-{node.node_id}", node.node_id) == b"OK"
        for other in group.nodes.values():
            assert other.ask("GET", f"from-{node.node_id}") == b"%d" % node.node_id


def test_load_without_faults_meets_no_errors(group):
    with load(group) as workload:
        workload.wait_progress(500)
    assert not workload.codes()


def test_a_new_leader_knows_functions_and_scripts(group):
    leader = group.wait_agreed()
    leader.ask("FUNCTION", "LOAD", "REPLACE", FUNCTION)
    digest = leader.ask("SCRIPT", "LOAD", "return 7")
    successor = group.others(leader)[0]
    for node in (successor, leader):
        group.wait_leader().ask("KVNODE", "TRANSFER", node.node_id)
        assert node.ask("FCALL", "five", 0) == 5
        assert node.ask("EVALSHA", digest, 0) == 7
    leader.ask("FUNCTION", "DELETE", "numbers")
    leader.ask("KVNODE", "TRANSFER", successor.node_id)
    with pytest.raises(ErrorReply, match="Function not found"):
        successor.ask("FCALL", "five", 0)


def test_clients_go_on_when_nobody_takes_over(group):
    leader = group.wait_agreed()
    target, third = group.others(leader)
    seconds = FORWARD_WAIT_MS / 1000 - 1  # then they would go on by themselves, or be told so
    with (
        Connection(leader.port) as asked,
        Connection(leader.port, timeout_s=seconds) as here,
        Connection(third.port, timeout_s=seconds) as there,
    ):
        assert [client.call("SET", "k", "before") for client in (here, there)] == [b"OK"] * 2
        target.pause()
        try:
            asked.send(encode("KVNODE", "TRANSFER", target.node_id))
            for client in (here, there):
                client.send(encode("SET", "k", "meanwhile"))
            assert [client.receive() for client in (here, there)] == [b"OK"] * 2
        finally:
            target.resume()


def test_a_request_with_an_id_is_done_once_by_whoever_leads(group):
    leader = group.wait_agreed()
    request = ("KVNODE", "ONCE", "of-a-former-leader", "INCRBY", "balance", 50)
    assert group.others(leader)[0].ask(*request) == 50
    leader.kill()
    successor = group.wait_leader(group.others(leader))
    leader.start()
    leader.wait_ready()
    group.wait_caught_up(leader)
    for node in group.nodes.values():
        assert node.ask(*request) == 50
    assert successor.ask("GET", "balance") == b"50"
    group.wait_leader().ask("KVNODE", "TRANSFER", leader.node_id)
    assert leader.ask(*request) == 50
    assert b"request_ids:1\r\n" in leader.ask("INFO", "kvnode")


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_node_is_killed_and_comes_back(group, role):
    with load(group) as workload:
        leader = group.wait_agreed()
        victim = leader if role == "leader" else group.others(leader)[0]
        victim.kill()
        group.wait_leader(group.others(victim))
        workload.wait_progress()
        victim.start()
        victim.wait_ready()
        group.wait_caught_up(victim)


def test_nodes_restart_in_turn(group):
    with load(group) as workload:
        for node in group.nodes.values():
            assert node.terminate() == 0
            workload.wait_progress()
            node.start()
            node.wait_ready()
            group.wait_caught_up(node)
