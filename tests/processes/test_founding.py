"""How groups begin: all nodes at once, one after the other, or from one that has data."""

from tests.processes.group import CHANGE_SECONDS_MAX, NODES, Group, wait_for
from tests.processes.workload import load


def test_nodes_wait_for_each_other(tmp_path):
    group = Group(tmp_path, NODES)
    try:
        *early, late = group.nodes.values()
        for node in group.nodes.values():
            node.cluster = ",".join(f"{n.node_id}={n.address}" for n in group.nodes.values())
        for node in early:
            node.start()
        said = '"missing": [3]'
        wait_for("they miss one", lambda: all(said in n.log() for n in early), CHANGE_SECONDS_MAX)
        late.start()
        group.wait_agreed()
        assert len({node.status()["group_id"] for node in group.nodes.values()}) == 1
    finally:
        group.close()


def test_a_group_of_one_grows(tmp_path):
    group = Group(tmp_path, 1)
    try:
        (first,) = group.nodes.values()
        first.start()
        first.wait_ready()
        with load(group) as workload:
            for node_id in (2, 3):
                node = group.new_node(node_id)
                node.cluster = f"{first.node_id}={first.address}"
                node.start()
                assert first.ask("KVNODE", "ADD", node_id, node.address, timeout_s=20) == b"OK"
                node.wait_ready()
                group.wait_caught_up(node)
                workload.wait_progress()

        def are_voters() -> bool:
            return [m["kind"] for m in first.status()["members"]] == ["voter"] * NODES

        wait_for("all are voters", are_voters, CHANGE_SECONDS_MAX)
        first.kill()
        group.wait_agreed(group.others(first))
        for node in group.others(first):
            assert node.ask("DBSIZE") > 0
    finally:
        group.close()
