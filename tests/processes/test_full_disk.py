"""A node whose disk is full ends by itself; the others go on, and it comes back when it can."""

import pytest

from tests.processes import group as groups
from tests.processes.workload import load
from tests.support.faultfs import ShimUnavailable, WatchedDirectory

EXIT_SECONDS_MAX = 20.0


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_full_disk_ends_one_node(tmp_path, role):
    group = groups.Group(tmp_path, groups.NODES)
    try:
        disks = {node: WatchedDirectory(node.directory) for node in group.nodes.values()}
    except ShimUnavailable as reason:
        pytest.skip(str(reason))
    for node, disk in disks.items():
        node.environment = disk.environment(sync_us=0)
    try:
        group.found()
        with load(group) as workload:
            leader = group.wait_agreed()
            victim = leader if role == "leader" else group.others(leader)[0]
            disks[victim].set_rules("write log/* enospc")
            assert victim.wait_exit(EXIT_SECONDS_MAX) == 1
            group.wait_leader(group.others(victim))
            workload.wait_progress()
            disks[victim].set_rules()
            victim.start()
            victim.wait_ready()
            group.wait_caught_up(victim)
    finally:
        group.close()
