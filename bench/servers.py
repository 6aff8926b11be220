"""Servers under measurement: started on loopback with directories of their own, and stopped."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from bench import ROOT

READY_SECONDS = 60
STOP_SECONDS = 60
POLL_SECONDS = 0.005
KIB = 1024

# What a client meets while a server starts: nobody listens, or the data is still being loaded.
NOT_READY = (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError)


class ServerError(Exception):
    """A server did not start, or ended by itself; the message holds the end of its log."""


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """One process under measurement. `name` is what tables call it; `directory` holds its data."""

    def __init__(self, name: str, command: Sequence[str], directory: Path) -> None:
        """Start it; what it prints goes to a file beside its directory."""
        self.name = name
        self.command = list(command)
        self.directory = directory
        self.began = time.monotonic()
        directory.mkdir(parents=True, exist_ok=True)
        self.log = directory.with_name(directory.name + ".log")
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
            )

    def is_ready(self) -> bool:
        """Whether it serves by now."""
        raise NotImplementedError

    def wait_ready(self) -> float:
        """Wait until it serves; return the seconds since its start.

        Raises ServerError when it ends or takes longer than READY_SECONDS.
        """
        while time.monotonic() - self.began < READY_SECONDS:
            if self.process.poll() is not None:
                raise ServerError(f"{self.name} ended with {self.process.returncode}{self.tail()}")
            if self.is_ready():
                return time.monotonic() - self.began
            time.sleep(POLL_SECONDS)
        self.kill()
        raise ServerError(f"{self.name} was not ready after {READY_SECONDS} s{self.tail()}")

    def tail(self) -> str:
        """Return the last lines of its log, for an error message."""
        lines = self.log.read_text(errors="replace").splitlines()[-15:]
        return "".join(f"\n  | {line}" for line in lines)

    @property
    def pid(self) -> int:
        return self.process.pid

    def cpu_seconds(self) -> float:
        """Return the CPU time of all its threads, ended ones too.

        It is the process's CPU clock, which has no 10 ms ticks as /proc/PID/stat has.
        """
        return time.clock_gettime((~self.pid << 3) | 2)

    def memory_bytes(self, field: str = "RssAnon") -> int:
        """Return a field of /proc/PID/status: resident memory that is no file's."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * KIB
        raise ServerError(f"{self.name}: no {field} in /proc/{self.pid}/status")

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it cleanly; kill it when that takes longer than STOP_SECONDS."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()


class Server(Process):
    """A process that speaks the Redis protocol on loopback."""

    def __init__(
        self, name: str, command: Sequence[str], port: int, directory: Path, ready: bool = True
    ) -> None:
        """Start it; with `ready`, return once it answers PING."""
        super().__init__(name, command, directory)
        self.port = port
        never = Retry(NoBackoff(), 0)  # retries of the library would be measured with the server
        self.client = redis.Redis(port=port, socket_timeout=READY_SECONDS, retry=never)
        if ready:
            self.wait_ready()

    def is_ready(self) -> bool:
        """Whether it answers PING."""
        try:
            return bool(self.client.ping())
        except NOT_READY:
            return False

    def info(self) -> dict[str, Any]:
        """Return the fields of INFO, those of our own section included."""
        fields: dict[str, Any] = self.client.info("everything")
        return fields

    def counter(self, field: str) -> int | None:
        """Return a counter of INFO, None where this server has no such field."""
        value = self.info().get(field)
        return None if value is None else int(value)

    def kill(self) -> None:
        """End it as a crash would."""
        self.client.close()
        super().kill()

    def stop(self) -> None:
        """End it cleanly; kill it when that takes longer than STOP_SECONDS."""
        self.client.close()
        super().stop()

    def restart(self) -> "Server":
        """Start the same command again on the same directory; it may not be ready yet."""
        return Server(self.name, self.command, self.port, self.directory, ready=False)


def redis_missing() -> str | None:
    """Return why there is no redis-server to compare with, or None when there is one."""
    for program in ("redis-server", "redis-benchmark"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return None


def start_redis(
    directory: Path, durable: bool, name: str = "redis", options: Sequence[str] = ()
) -> Server:
    """Start redis-server, with `appendfsync always` or without any persistence."""
    port = free_port()
    if durable:
        persistence = ["--appendonly", "yes", "--appendfsync", "always"]
    else:
        persistence = ["--appendonly", "no"]
    directory.mkdir(parents=True, exist_ok=True)
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    command += ["--dir", str(directory), "--enable-debug-command", "local", *persistence, *options]
    return Server(name, command, port, directory)


def start_kvnode(
    directory: Path, options: Sequence[str] = (), name: str = "kvnode", *, ready: bool = True
) -> Server:
    """Start a kvnode with `appendfsync always`; `options` are further words of its command line."""
    port = free_port()
    command = [sys.executable, "-m", "kvnode", "serve", "--port", str(port), "--bind", "127.0.0.1"]
    command += ["--data-dir", str(directory), "--appendfsync", "always", *options]
    return Server(name, command, port, directory, ready)


def start(kind: str, directory: Path, options: Sequence[str] = ()) -> Server:
    """Start the server of a `--server` option: kvnode, or redis to check the benchmark itself."""
    if kind == "redis":
        return start_redis(directory, durable=True, options=options)
    return start_kvnode(directory, options)
