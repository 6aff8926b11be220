"""A group of nodes as processes: started on new directories, killed by pid, asked who leads."""

import contextlib
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from kvnode.cli.status import Status, parse_status
from tests.processes.proxies import Proxies
from tests.support.process import POLL_SECONDS, free_port
from tests.support.resp import Connection, ErrorReply
from tests.support.servers import Server

LEADER_SECONDS_MAX = 30.0  # until somebody leads; elections take one, a machine may be busy
ASK_SECONDS_MAX = 5.0
CHANGE_SECONDS_MAX = 30.0
MAXMEMORY = "64mb"
NODES = 3
PLANTED = "tests.processes.planted"

T = TypeVar("T")


class Unknown(Exception):
    """A node does not say what it knows of its group."""


def wait_for(what: str, look: Callable[[], T | None], seconds: float) -> T:
    """Return what look() returns once that is true. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(POLL_SECONDS)


class GroupNode(Server):
    """One node. raft_port: where it listens for others.   cluster: of its first start.

    program: another module that does the same as kvnode, and its arguments.
    """

    program: Sequence[str] = ("kvnode",)

    def __init__(self, directory: Path, node_id: int, secret: Path, *options: str) -> None:
        super().__init__(directory, *options)
        self.raft_port = free_port()
        self.address = f"127.0.0.1:{self.raft_port}"
        self.node_id = node_id
        self.cluster = ""
        self._secret = secret

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", *self.program, "serve"),
            *("--node-id", str(self.node_id)),
            *("--port", str(self.port), "--raft-listen", f"127.0.0.1:{self.raft_port}"),
            *(("--cluster", self.cluster) if self.cluster else ()),
            *("--raft-secret-file", str(self._secret), "--data-dir", str(self.directory)),
            *("--bind", "127.0.0.1", "--maxmemory", MAXMEMORY),
        ]

    @property
    def is_up(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ask(self, *words: str | bytes | int, timeout_s: float = ASK_SECONDS_MAX) -> object:
        """Return the reply to one command, on a new connection. Raises OSError, ErrorReply."""
        with Connection(self.port, timeout_s=timeout_s) as connection:
            return connection.call(*words)

    def status(self) -> Status:
        """Return what it knows of the group. Raises Unknown."""
        try:
            return parse_status(self.ask("KVNODE", "STATUS", timeout_s=1.0))
        except (OSError, ErrorReply) as error:
            raise Unknown(str(error)) from None

    def pause(self) -> None:
        """SIGSTOP, and return when it has stopped."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.process.pid}/stat")
        wait_for("it has stopped", lambda: stat.read_text().rsplit(")")[-1].split()[0] == "T", 5)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process is not None:
            self.resume()  # a stopped process is told of its end, too, but is only then gone
        super().kill()

    def wipe(self) -> None:
        """Remove its directory."""
        assert self.process is None
        shutil.rmtree(self.directory)


class Group:
    """Nodes of one group. proxies: before all nodes that have founded it, where there are any."""

    proxies: Proxies

    def __init__(self, directory: Path, count: int, *options: str) -> None:
        self._directory = directory
        self._options = options
        self.secret = directory / "secret"
        self.secret.write_text(secrets.token_hex(32))
        os.chmod(self.secret, 0o600)
        self.nodes: dict[int, GroupNode] = {}
        for node_id in range(1, count + 1):
            self.new_node(node_id)

    def new_node(self, node_id: int, *options: str) -> GroupNode:
        """Return a node that is not started yet."""
        directory = self._directory / f"node-{node_id}"
        self.nodes[node_id] = GroupNode(directory, node_id, self.secret, *self._options, *options)
        return self.nodes[node_id]

    def found(self, addresses: Mapping[int, str] | None = None) -> None:
        """Start all nodes, and wait until each answers and one leads.

        addresses: of proxies before the nodes.
        """
        at = addresses or {node.node_id: node.address for node in self.nodes.values()}
        for node in self.nodes.values():
            node.cluster = ",".join(f"{node_id}={address}" for node_id, address in at.items())
            node.start()
        for node in self.nodes.values():
            node.wait_ready()
        self.wait_leader()

    def others(self, *nodes: GroupNode) -> list[GroupNode]:
        return [node for node in self.nodes.values() if node not in nodes]

    def leader(self, among: list[GroupNode] | None = None) -> GroupNode | None:
        """Return who leads in the newest term that anybody asked knows of, None if nobody."""
        known = []
        for node in self.nodes.values() if among is None else among:
            with contextlib.suppress(Unknown):
                if node.is_up:
                    known.append((node, node.status()))
        term = max((status["term"] for _, status in known), default=0)
        leading = [n for n, s in known if s["role"] == "leader" and s["term"] == term]
        return leading[0] if leading else None

    def wait_leader(self, among: list[GroupNode] | None = None) -> GroupNode:
        """Return who leads, once somebody does. among: ask these only."""
        return wait_for("somebody leads", lambda: self.leader(among), LEADER_SECONDS_MAX)

    def wait_agreed(self, among: list[GroupNode] | None = None) -> GroupNode:
        """Return the leader once all nodes that are asked follow it."""
        asked = list(self.nodes.values()) if among is None else among

        def look() -> GroupNode | None:
            leader = self.leader(asked)
            with contextlib.suppress(Unknown):
                if leader and all(n.status()["leader_id"] == leader.node_id for n in asked):
                    return leader
            return None

        return wait_for("all follow one leader", look, LEADER_SECONDS_MAX)

    def wait_caught_up(self, node: GroupNode) -> None:
        """Return once a node has applied what the leader has committed by now."""
        committed = self.wait_leader().status()["committed_index"]

        def look() -> bool:
            with contextlib.suppress(Unknown):
                return node.status()["applied_index"] >= committed
            return False

        wait_for(f"node {node.node_id} has applied {committed}", look, CHANGE_SECONDS_MAX)

    def close(self) -> None:
        """End all processes."""
        for node in self.nodes.values():
            node.close_connections()
            node.kill()

    def logs(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(f"-- node {n.node_id}\n{n.log()}" for n in self.nodes.values())


@contextlib.contextmanager
def running(directory: Path, *options: str, plant: str = "") -> Iterator[Group]:
    """Three nodes that have founded a group; they end with the context, and what fails in it says
    what they logged. plant: a bug of planted.py."""
    directory.mkdir(exist_ok=True)
    group = Group(directory, NODES, *options)
    for node in group.nodes.values() if plant else ():
        node.program = (PLANTED, plant)
    proxies = Proxies({node_id: node.raft_port for node_id, node in group.nodes.items()})
    group.proxies = proxies
    try:
        group.found(proxies.addresses)
        yield group
    except BaseException as error:
        error.add_note(group.logs())
        raise
    finally:
        group.close()
        proxies.close()
