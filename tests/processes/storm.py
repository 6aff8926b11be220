"""Rounds of faults by chance under load; after each, all nodes have to hold what clients were told.

    python -m tests.processes.storm --seed 7 --rounds 200

One seed fixes which faults come, not when exactly: a rare failure may need several repetitions.
"""

import argparse
import contextlib
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.processes import group as groups
from tests.processes.group import Group, GroupNode
from tests.processes.membership import add_again
from tests.processes.workload import Workload, load
from tests.support.resp import ErrorReply

FAULTS_PER_ROUND = 2
PROGRESS = 60  # answers between two faults


class Storm:
    """say: takes one line for each round."""

    def __init__(
        self, group: Group, seed: int, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.group = group
        self.random = random.Random(seed)
        self.say = say

    def run(self, rounds: int) -> None:
        for number in range(rounds):
            faults = [self.random.choice(FAULTS) for _ in range(FAULTS_PER_ROUND)]
            self.say(f"round {number}: {', '.join(fault.__name__ for fault in faults)}")
            with load(self.group) as workload:
                for fault in faults:
                    fault(self, workload)
                    self.heal()
                    workload.wait_progress(PROGRESS)
                self.group.wait_agreed()
                for node in self.group.nodes.values():
                    self.group.wait_caught_up(node)
            self.say(f"    {workload.done} answers, {dict(workload.codes())}")

    def heal(self) -> None:
        """Let all nodes run and see each other."""
        self.group.proxies.heal()
        for node in self.group.nodes.values():
            if node.process is None:
                node.start()
            node.resume()
        for node in self.group.nodes.values():
            node.wait_ready()

    # -- faults ---------------------------------------------------------------------------------

    def any_node(self) -> GroupNode:
        return self.random.choice(list(self.group.nodes.values()))

    def kill_leader(self, workload: Workload) -> None:
        leader = self.group.wait_leader()
        leader.kill()
        self.await_others(leader, workload)

    def kill_any(self, workload: Workload) -> None:
        node = self.any_node()
        node.kill()
        self.await_others(node, workload)

    def kill_majority(self, workload: Workload) -> None:
        for node in self.random.sample(list(self.group.nodes.values()), 2):
            node.kill()

    def kill_all(self, workload: Workload) -> None:
        for node in self.group.nodes.values():
            node.kill()

    def kill_twice(self, workload: Workload) -> None:
        """It dies again while it recovers or catches up."""
        node = self.any_node()
        node.kill()
        node.start()
        node.wait_ready()
        node.kill()

    def pause_leader(self, workload: Workload) -> None:
        leader = self.group.wait_leader()
        leader.pause()
        self.await_others(leader, workload)

    def pause_follower(self, workload: Workload) -> None:
        self.group.others(self.group.wait_leader())[0].pause()
        workload.wait_progress(PROGRESS)

    def cut_off_leader(self, workload: Workload) -> None:
        leader = self.group.wait_leader()
        links = (
            self.group.proxies.links_from(leader.node_id),
            self.group.proxies.links_to(leader.node_id),
        )
        self.group.proxies.cut(self.random.choice([*links, links[0] | links[1]]))
        self.await_others(leader, workload)

    def cut_any_links(self, workload: Workload) -> None:
        nodes = list(self.group.nodes)
        links = [(a, b) for a in nodes for b in nodes if a != b]
        self.group.proxies.cut(self.random.sample(links, self.random.randint(1, 3)))

    def hand_over(self, workload: Workload) -> None:
        with contextlib.suppress(ErrorReply, OSError):
            self.group.wait_leader().ask("KVNODE", "TRANSFER")

    def checkpoint(self, workload: Workload) -> None:
        with contextlib.suppress(ErrorReply, OSError):
            self.any_node().ask("BGSAVE")

    def checkpoint_and_kill(self, workload: Workload) -> None:
        """A node comes back to a log that has been cut."""
        node = self.any_node()
        node.kill()
        self.await_others(node, workload)
        for other in self.group.others(node):
            with contextlib.suppress(ErrorReply, OSError):
                other.ask("SAVE")

    def restart(self, workload: Workload) -> None:
        node = self.any_node()
        node.terminate()
        self.await_others(node, workload)

    def wipe(self, workload: Workload) -> None:
        """A node has lost its directory; clients ask it all the same, before it is added again."""
        leader = self.group.wait_agreed()
        wiped = self.random.choice(self.group.others(leader))
        wiped.kill()
        wiped.wipe()
        wiped.start()
        workload.wait_progress(PROGRESS)
        add_again(self.group, wiped, leader)

    def await_others(self, node: GroupNode, workload: Workload) -> None:
        self.group.wait_leader(self.group.others(node))
        workload.wait_progress(PROGRESS)


FAULTS: tuple[Callable[[Storm, Workload], None], ...] = (
    Storm.kill_leader,
    Storm.kill_any,
    Storm.kill_majority,
    Storm.kill_all,
    Storm.kill_twice,
    Storm.pause_leader,
    Storm.pause_follower,
    Storm.cut_off_leader,
    Storm.cut_any_links,
    Storm.hand_over,
    Storm.checkpoint,
    Storm.checkpoint_and_kill,
    Storm.restart,
    Storm.wipe,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="storm-") as directory,
        groups.running(Path(directory, "nodes")) as group,
    ):
        Storm(group, options.seed, lambda line: print(line, flush=True)).run(options.rounds)


if __name__ == "__main__":
    sys.exit(main())
