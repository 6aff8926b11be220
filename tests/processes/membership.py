"""Changes of the membership, as operators ask for them."""

import subprocess
import sys

from tests.processes.group import CHANGE_SECONDS_MAX, Group, GroupNode, Unknown, wait_for
from tests.support.process import REPOSITORY


def kind_of(asked: GroupNode, node_id: int) -> str:
    members = {member["node_id"]: member for member in asked.status()["members"]}
    return members[node_id]["kind"] if node_id in members else ""


def wait_kind(group: Group, node_id: int, kind: str) -> None:
    def look() -> bool:
        try:
            return kind_of(group.wait_leader(), node_id) == kind
        except Unknown:
            return False

    wait_for(f"node {node_id} is '{kind}'", look, CHANGE_SECONDS_MAX)


def change(asked: GroupNode, *words: str | int) -> None:
    """Ask any node for a change, as operators do."""
    command = [sys.executable, "-m", "kvnode", "cluster", *map(str, words)]
    done = subprocess.run(
        [*command, "--port", str(asked.port)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=CHANGE_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def add_again(group: Group, wiped: GroupNode, asked: GroupNode) -> None:
    """Let a node that runs on an empty directory be a voter as before. asked: another node."""
    change(asked, "remove", wiped.node_id)
    wait_kind(group, wiped.node_id, "")
    change(asked, "add", wiped.node_id, group.proxies.addresses[wiped.node_id])
    wait_kind(group, wiped.node_id, "voter")
    wiped.wait_ready()
