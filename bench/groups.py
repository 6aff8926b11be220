"""Groups of three under measurement: of kvnode, and of etcd as it comes; both on loopback."""

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import redis

from bench import servers
from bench.servers import Process, Server, ServerError
from bench.workloads import CLIENTS, VALUE_BYTES, WorkloadError

NODES = 3
LEADER_SECONDS = 20
POLL_SECONDS = 0.05
HTTP_SECONDS = 5
ETCD_KEY = b"key:000000000000"
FINISHED = re.compile(r"finished in .*?, ([\d.]+) req/s")
SUCCEEDED = re.compile(r"(\d+) succeeded, (\d+) failed, (\d+) errored")

N = TypeVar("N", bound=Process)


def free_ports(count: int) -> list[int]:
    """Return different loopback ports that nobody listens on now."""
    ports: dict[int, None] = {}
    while len(ports) < count:
        ports[servers.free_port()] = None
    return list(ports)


class Nodes(Generic[N]):
    """Three nodes, of which one leads. name: for errors. nodes: those that were started."""

    def __init__(self, name: str, start: Iterable[N]) -> None:
        """Start them and wait for a leader. Raises ServerError; then none is left."""
        self.name = name
        self.nodes: list[N] = []
        self.leader: N
        try:
            for node in start:
                self.nodes.append(node)
            for node in self.nodes:
                node.wait_ready()
            self.find_leader()
        except BaseException:
            self.stop()
            raise

    def leads(self, node: N) -> bool:
        """Return whether a node leads now, and serves."""
        raise NotImplementedError

    def find_leader(self) -> None:
        """See which node leads now. Raises ServerError when there is none for long."""
        deadline = time.monotonic() + LEADER_SECONDS
        while time.monotonic() < deadline:
            for node in self.nodes:
                if self.leads(node):
                    self.leader = node
                    return
            time.sleep(POLL_SECONDS)
        raise ServerError(f"{self.name} had no leader within {LEADER_SECONDS} s")

    @property
    def follower(self) -> N:
        """One of those that do not lead."""
        return next(node for node in self.nodes if node is not self.leader)

    def parts(self) -> dict[str, Process]:
        """Return the leader and a follower: the one that clients ask, if they ask one."""
        return {"leader": self.leader, "follower": self.follower}

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


class Group(Nodes[Server]):
    """Three nodes of kvnode, `appendfsync always`."""

    def __init__(self, name: str, directory: Path, options: Sequence[str] = ()) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        secret = directory / "secret"
        secret.touch(mode=0o600)
        secret.write_bytes(base64.b64encode(os.urandom(32)))
        listens = [f"127.0.0.1:{port}" for port in free_ports(NODES)]
        cluster = ",".join(f"{i}={listen}" for i, listen in enumerate(listens, 1))

        def start() -> Iterator[Server]:
            for i, listen in enumerate(listens, 1):
                more = ["--node-id", str(i), "--raft-listen", listen, "--cluster", cluster]
                more += ["--raft-secret-file", str(secret), *options]
                one = f"node{i}"
                yield servers.start_kvnode(directory / one, more, f"{name} {one}", ready=False)

        super().__init__(name, start())

    def leads(self, node: Server) -> bool:
        try:
            if node.client.execute_command("ROLE")[0] != b"master":
                return False
            node.client.set("probe", b"x")
        except redis.RedisError:
            return False  # it does not lead any more, or not yet
        return True


def etcd_missing() -> str | None:
    """Return why there is no etcd to compare with, or None when there is one."""
    for program, package in (("etcd", "etcd-server"), ("h2load", "nghttp2-client")):
        if shutil.which(program) is None:
            return f"{program} (Debian: {package}) is not installed"
    return None


class EtcdNode(Process):
    """One etcd; nothing of how it treats its disk is changed."""

    def __init__(self, directory: Path, name: str, port: int, peers: dict[str, int]) -> None:
        """peers: ports of all nodes for each other, by name."""
        self.port = port
        client, peer = _url(port), _url(peers[name])
        cluster = ",".join(f"{node}={_url(peers[node])}" for node in peers)
        command = ["etcd", "--name", name, "--data-dir", str(directory), "--log-level", "error"]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        command += ["--initial-cluster", cluster, "--initial-cluster-state", "new"]
        super().__init__(f"etcd {name}", command, directory)

    def is_ready(self) -> bool:
        try:
            return int(self.status().get("leader", 0)) != 0
        except (OSError, urllib.error.URLError):
            return False

    def status(self) -> dict[str, Any]:
        """Return what the node says of itself and its group. Raises OSError."""
        request = urllib.request.Request(f"{_url(self.port)}/v3/maintenance/status", b"{}")
        with urllib.request.urlopen(request, timeout=HTTP_SECONDS) as answer:
            status: dict[str, Any] = json.load(answer)
        return status


class Etcd(Nodes[EtcdNode]):
    """Three nodes of etcd."""

    def __init__(self, directory: Path) -> None:
        ports = free_ports(2 * NODES)
        names = [f"n{i}" for i in range(1, NODES + 1)]
        peers = dict(zip(names, ports[NODES:], strict=True))
        clients = zip(names, ports[:NODES], strict=True)
        super().__init__(
            "etcd", (EtcdNode(directory / f"etcd-{n}", n, port, peers) for n, port in clients)
        )

    def leads(self, node: EtcdNode) -> bool:
        status = node.status()
        return bool(status["header"]["member_id"] == status.get("leader"))

    def put(self, depth: int, requests: int) -> float:
        """Have h2load put `requests` times at the leader; return puts per second.

        Raises WorkloadError when not all of them took effect.
        """
        before = self._revision()
        with tempfile.NamedTemporaryFile() as body:
            body.write(put_request(ETCD_KEY, b"x" * VALUE_BYTES))
            body.flush()
            command = ["h2load", "-n", str(requests), "-c", str(CLIENTS), "-t", "1"]
            command += ["-m", str(depth), "-d", body.name]
            command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
            command.append(f"{_url(self.leader.port)}/etcdserverpb.KV/Put")
            ran = subprocess.run(command, capture_output=True, text=True, errors="replace")
        rate, succeeded = FINISHED.search(ran.stdout), SUCCEEDED.search(ran.stdout)
        if ran.returncode or rate is None or succeeded is None:
            raise WorkloadError(f"h2load: {(ran.stderr or ran.stdout).strip()}")
        # A gRPC error is a success for HTTP: only the revision tells how many took effect.
        done = self._revision() - before
        if int(succeeded[1]) != requests or done != requests:
            raise WorkloadError(f"etcd did {done} of {requests} puts; {succeeded[0]}")
        return float(rate[1])

    def _revision(self) -> int:
        return int(self.leader.status()["header"]["revision"])


def put_request(key: bytes, value: bytes) -> bytes:
    """Return a gRPC message, not compressed, of an etcdserverpb.PutRequest {1: key, 2: value}."""
    assert max(len(key), len(value)) < 128, "lengths are varints of one byte"
    message = b"\x0a%c%b\x12%c%b" % (len(key), key, len(value), value)
    return b"\0" + len(message).to_bytes(4, "big") + message


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"
