"""A redis-server or a kvnode as a child process on a free port, with a directory of its own."""

import contextlib
import importlib.util
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.resp import Connection

REPOSITORY = Path(__file__).parents[2]
READY_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 20.0
POLL_SECONDS = 0.01  # between two tries to connect to a server that starts
LOG_TAIL_BYTES = 4000
WORKERS = 4  # processes that run tests at once, at most
PORTS = range(12_000, 30_000)  # below those that the kernel gives to outgoing connections


def redis_server_path() -> str | None:
    """Return the path of redis-server, or None where it is not installed."""
    return shutil.which("redis-server")


def is_kvnode_complete() -> bool:
    """Return whether this tree holds a server that can be started."""
    try:
        return importlib.util.find_spec("kvnode.server.node") is not None
    except ModuleNotFoundError:
        return False


def redis_command(port: int, directory: str) -> list[str]:
    """Return the command line of a redis-server without persistence."""
    path = redis_server_path()
    assert path is not None, "redis-server is not installed"
    options = f"--port {port} --bind 127.0.0.1 --dir {directory} --appendonly no"
    return [path, *options.split(), "--save", "", "--enable-debug-command", "yes"]


def sentinel_command(port: int, directory: str) -> list[str]:
    """Return the command line of a Redis Sentinel of a master that is not there."""
    path = redis_server_path()
    assert path is not None, "redis-server is not installed"
    file = Path(directory, "sentinel.conf")
    watched = "sentinel monitor mymaster 127.0.0.1 1 2"
    file.write_text(f"port {port}\nbind 127.0.0.1\ndir {directory}\n{watched}\n")
    return [path, str(file), "--sentinel"]


def cluster_command(port: int, directory: str) -> list[str]:
    """Return the command line of a redis-server in cluster mode."""
    bus = str(free_port())  # by default 10000 more than the port, which may be too many
    return [*redis_command(port, directory), "--cluster-enabled", "yes", "--cluster-port", bus]


def kvnode_command(port: int, directory: str) -> list[str]:
    """Return the command line of a kvnode of this tree.

    appendfsync no: these tests compare replies, and a sync for each would only slow them down.
    """
    serve = [sys.executable, "-m", "kvnode", "serve", "--port", str(port), "--bind", "127.0.0.1"]
    return [*serve, "--data-dir", directory, "--appendfsync", "no", "--enable-debug-command", "yes"]


COMMANDS = {
    "redis": redis_command,
    "redis-cluster": cluster_command,
    "sentinel": sentinel_command,
    "kvnode": kvnode_command,
}


_given: set[int] = set()  # ports of this process


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on, once.

    No outgoing connection takes it while a server is down, and processes that run tests at the
    same time have ports of their own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    while True:
        port = random.SystemRandom().choice(PORTS)
        if port in _given or port % WORKERS != worker % WORKERS:
            continue
        _given.add(port)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class ServerProcess:
    """A running server. `name` labels it in reports."""

    def __init__(self, name: str, port: int, process: subprocess.Popen, log: Path) -> None:
        self.name = name
        self.port = port
        self.pid = process.pid
        self._process = process
        self._log = log

    def connect(self, timeout_s: float = 20.0) -> Connection:
        """Return a new connection."""
        return Connection(self.port, timeout_s=timeout_s)

    def log_tail(self) -> str:
        """Return the end of what the process wrote to stdout and stderr."""
        return self._log.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace")

    def wait_ready(self) -> None:
        """Return once a connection is accepted. Raises RuntimeError with the log if it ends."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended at start; its log ends:\n{self.log_tail()}")
            try:
                self.connect().close()
                return
            except OSError:
                time.sleep(POLL_SECONDS)
        raise RuntimeError(f"{self.name} does not accept connections:\n{self.log_tail()}")

    def is_running(self) -> bool:
        """Return whether the process still exists."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the process, politely first."""
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def running(name: str) -> Iterator[ServerProcess]:
    """Run a server of COMMANDS as long as the context lasts."""
    build = COMMANDS[name]
    with tempfile.TemporaryDirectory(prefix="conformance-") as directory:
        data = Path(directory, "data")
        data.mkdir()
        log = Path(directory, "log")
        port = free_port()
        with log.open("wb") as output:
            process = subprocess.Popen(
                build(port, str(data)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=REPOSITORY,
                env={**os.environ, "LC_ALL": "C"},  # redis-server sorts words as the locale does
            )
        server = ServerProcess(name, port, process, log)
        try:
            server.wait_ready()
            yield server
        finally:
            server.stop()
