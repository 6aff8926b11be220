"""Links that carry nothing, one way or both, and a leader that stands still, under load."""

import pytest

from tests.processes import group as groups
from tests.processes.workload import load


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    with groups.running(tmp_path_factory.mktemp("group") / "nodes") as running:
        yield running


def to_leader(group, leader):
    return group.proxies.links_to(leader.node_id)


def from_leader(group, leader):
    return group.proxies.links_from(leader.node_id)


def both_ways(group, leader):
    return to_leader(group, leader) | from_leader(group, leader)


def to_one_follower(group, leader):
    follower = group.others(leader)[0]
    return {(leader.node_id, follower.node_id), (follower.node_id, leader.node_id)}


@pytest.mark.parametrize("links", [both_ways, from_leader, to_leader])
def test_the_leader_is_cut_off(group, links):
    with load(group) as workload:
        leader = group.wait_agreed()
        group.proxies.cut(links(group, leader))
        group.wait_leader(group.others(leader))
        workload.wait_progress(200)
        group.proxies.heal()
        group.wait_agreed()
        for node in group.nodes.values():
            group.wait_caught_up(node)


def test_two_nodes_cannot_see_each_other(group):
    """The third one sees both: somebody leads, and it does not go to and fro."""
    with load(group) as workload:
        leader = group.wait_agreed()
        group.proxies.cut(to_one_follower(group, leader))
        workload.wait_progress(300)
        terms = [group.wait_leader().status()["term"] for _ in range(2)]
        workload.wait_progress(300)
        terms.append(group.wait_leader().status()["term"])
        group.proxies.heal()
        group.wait_agreed()
    assert terms[0] == terms[-1]


def test_the_leader_stands_still(group):
    with load(group) as workload:
        for _ in range(2):
            leader = group.wait_agreed()
            leader.pause()
            group.wait_leader(group.others(leader))
            workload.wait_progress(200)
            leader.resume()
            workload.wait_progress(100)
