"""Memory and CPU time that idle connections cost.

`python -m bench.idle`; docs/BENCHMARKS.md says how to read it.
"""

import resource
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

import click

from bench import machine, report, servers
from bench.servers import Server, ServerError

GROWTH_BYTES_MAX = 200 * 2**20
SPARE_DESCRIPTORS = 100
SETTLE_SECONDS = 2.0
PING, PONG = b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"


def allow_descriptors(count: int) -> None:
    """Raise this process's limit of open files. Raises ServerError when the system refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + SPARE_DESCRIPTORS
    if soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ServerError(f"the hard limit of open files is {hard}, {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connect(server: Server, count: int) -> list[socket.socket]:
    """Open `count` connections that have each sent one PING: their buffers have been in use."""
    opened: list[socket.socket] = []
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", server.port))
        client.sendall(PING)
        if client.recv(64) != PONG:
            raise ServerError(f"{server.name}: no PONG on connection {len(opened) + 1}")
        opened.append(client)
    return opened


@click.command()
@click.option("--connections", default=10_000, show_default=True)
@click.option("--server", "kind", type=click.Choice(["kvnode", "redis"]), default="kvnode")
@click.option("--gate", is_flag=True, help="Fail when memory grew too much.")
def main(connections: int, kind: str, gate: bool) -> None:
    """Open CONNECTIONS idle connections and see what the server pays for them."""
    allow_descriptors(connections)
    directory = Path(tempfile.mkdtemp(prefix="kvnode-bench-"))
    options = ["--maxclients", str(connections + SPARE_DESCRIPTORS)]
    server = servers.start(kind, directory / kind, options)
    opened: list[socket.socket] = []
    try:
        server.client.set("probe", b"x")
        before = server.memory_bytes()
        opened = connect(server, connections)
        cpu = server.cpu_seconds()
        time.sleep(SETTLE_SECONDS)
        cpu = (server.cpu_seconds() - cpu) / SETTLE_SECONDS
        growth = server.memory_bytes() - before
        began = time.perf_counter()
        server.client.ping()
        ping_ms = (time.perf_counter() - began) * 1000
    finally:
        for client in opened:
            client.close()
        server.stop()
        shutil.rmtree(directory)
    verdict = "reached" if growth <= GROWTH_BYTES_MAX else "MISSED"
    report.say(
        f"{machine.processor()}, commit {machine.commit()}, {kind}, "
        f"{connections} idle connections\n"
    )
    report.say(
        f"RssAnon grew by {report.mib(growth)}, {growth / connections / 1024:.1f} KiB each; "
        f"{cpu:.1%} of a CPU; PING among them {ping_ms:.2f} ms\n"
        f"{verdict}: limit {report.mib(GROWTH_BYTES_MAX)}"
    )
    report.remember(
        "idle",
        {
            "server": kind,
            "connections": connections,
            "growth_bytes": growth,
            "cpu": cpu,
            "ping_ms": ping_ms,
            "verdict": verdict,
        },
    )
    if gate and verdict != "reached":
        sys.exit(1)


if __name__ == "__main__":
    main()
