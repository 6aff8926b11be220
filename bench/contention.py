"""50 clients on one collection against 50 clients on one each: `python -m bench.contention`.

Each client sends pipelines that add an element of its own and take one away; so the size stays what
it is, and each command writes. The two cases take turns on one server. docs/BENCHMARKS.md says how
to read it.
"""

import selectors
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import click

from bench import report, servers
from bench.servers import Server, ServerError

CLIENTS = 50
READ_BYTES = 1 << 16
RATIO_MIN = 0.9
RETRIES = ("transactions_started", "transactions_refused_tries", "transactions_reserved")

# What adds, what takes away, and the lines of both replies together.
PAIRS = {
    "list": (("RPUSH", "{key}", "{name}"), ("LPOP", "{key}"), 3),
    "set": (("SADD", "{key}", "{name}"), ("SREM", "{key}", "{name}"), 2),
    "hash": (("HSET", "{key}", "{name}", "v"), ("HDEL", "{key}", "{name}"), 2),
    "zset": (("ZADD", "{key}", "1", "{name}"), ("ZREM", "{key}", "{name}"), 2),
}


def encode(words: Sequence[str], key: str, name: str) -> bytes:
    """Return a command as a client sends it."""
    filled = [word.format(key=key, name=name).encode() for word in words]
    return b"*%d\r\n" % len(filled) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in filled)


class Client:
    """A connection that sends one pipeline after another, each once the one before is answered."""

    def __init__(self, server: Server, pipeline: bytes, lines: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port))
        self.pipeline = pipeline
        self.lines = lines  # of all replies to a pipeline
        self.left = 0

    def send(self) -> None:
        self.left = self.lines
        self.socket.sendall(self.pipeline)

    def receive(self) -> bool:
        """Read what is there; True once the pipeline is answered. Raises ServerError."""
        data = self.socket.recv(READ_BYTES)
        if not data or data.startswith(b"-"):
            raise ServerError(f"the server said {data[:80]!r}")
        self.left -= data.count(b"\n")
        return self.left == 0


def run(server: Server, kind: str, depth: int, pipelines: int, *, shared: bool) -> float:
    """Have each client send so many pipelines; return commands per second."""
    add, remove, lines = PAIRS[kind]
    clients = []
    for number in range(CLIENTS):
        key = f"{kind}:hot" if shared else f"{kind}:{number}"
        names = [f"element:{number}:{i}" for i in range(depth // 2)]
        text = b"".join(encode(add, key, name) + encode(remove, key, name) for name in names)
        clients.append(Client(server, text, lines * len(names)))
    left = dict.fromkeys(clients, pipelines)
    began = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.send()
        while left:
            for key, _ in selector.select():
                if not key.data.receive():
                    continue
                left[key.data] -= 1
                if left[key.data]:
                    key.data.send()
                else:
                    del left[key.data]
    seconds = time.perf_counter() - began
    for client in clients:
        client.socket.close()
    return CLIENTS * pipelines * (depth // 2) * 2 / seconds


def measure(server: Server, kind: str, depth: int, pipelines: int, rounds: int) -> list[str]:
    """Return a row of the table: rates and CPU time of both cases, in turns, and their ratio."""
    rates: dict[bool, list[float]] = {True: [], False: []}
    costs: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * rounds):
        shared = number % 4 in (0, 3)
        cpu = server.cpu_seconds()
        rates[shared].append(run(server, kind, depth, pipelines, shared=shared))
        cost = (server.cpu_seconds() - cpu) * 1e6 / (CLIENTS * pipelines * (depth // 2) * 2)
        costs[shared].append(cost)
    ratio = median(rates[True]) / median(rates[False])
    return [
        f"{kind} P={depth}",
        report.count(median(rates[True])),
        report.count(median(rates[False])),
        f"{ratio:.2f}",
        "reached" if ratio >= RATIO_MIN else "missed",
        f"{median(costs[True]):.2f}",
        f"{median(costs[False]):.2f}",
    ]


@click.command()
@click.option("--pipelines", default=400, show_default=True, help="Of each client, each time.")
@click.option("--depth", default=16, show_default=True, help="Commands in a pipeline, even.")
@click.option("--rounds", default=8, show_default=True)
def main(pipelines: int, depth: int, rounds: int) -> None:
    """Compare clients that share a collection with clients that do not, and count retries."""
    directory = Path(tempfile.mkdtemp(prefix="kvnode-bench-"))
    server = servers.start("kvnode", directory / "kvnode", ["--appendfsync", "always"])
    head = ["", "one/s", "one each/s", "ratio", f"at least {RATIO_MIN}", "CPU µs one", "one each"]
    try:
        rows = [measure(server, kind, depth, pipelines, rounds) for kind in PAIRS]
        report.say(report.table(head, rows))
        for name in RETRIES:
            report.say(f"{name}: {server.counter(name)}")
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
