"""Servers that tests kill and start again: kvnode, and redis-server as the control."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.process import (
    LOG_TAIL_BYTES,
    POLL_SECONDS,
    READY_SECONDS_MAX,
    REPOSITORY,
    STOP_SECONDS_MAX,
    free_port,
    redis_server_path,
)
from tests.support.resp import Connection, ErrorReply


class ServerDied(Exception):
    """The process ended before it answered. Carries its exit code and the end of its log."""

    def __init__(self, code: int, log: str) -> None:
        super().__init__(f"exit code {code}; its log ends:\n{log}")
        self.code = code
        self.log = log


class Server:
    """A server on one directory, started and killed many times; one process at a time.

    directory: its data.   options: appended to the command line.   environment: added to ours.
    """

    def __init__(self, directory: Path, *options: str, environment: dict | None = None) -> None:
        self.directory = directory
        self.options = list(options)
        self.environment = environment or {}
        self.log_path = directory.with_name(directory.name + ".log")
        self.port = free_port()
        self.process: subprocess.Popen | None = None
        self._connections: list[Connection] = []

    def command(self) -> list[str]:
        """Return the command line without options."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the process, without waiting until it answers."""
        assert self.process is None
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*self.command(), *self.options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(os.environ, **self.environment),
                cwd=REPOSITORY,
            )

    def wait_ready(self) -> None:
        """Return once PING is answered. Raises ServerDied, or TimeoutError."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            code = self.process.poll()
            if code is not None:
                self.process = None
                raise ServerDied(code, self.log())
            try:
                connection = Connection(self.port)
                try:
                    connection.call("PING")
                    return
                finally:
                    connection.close()
            except (OSError, ErrorReply):
                time.sleep(POLL_SECONDS)
        raise TimeoutError(f"no answer in {READY_SECONDS_MAX} s; the log:\n{self.log()}")

    def connect(self) -> Connection:
        """Return a new connection."""
        self._connections.append(Connection(self.port))
        return self._connections[-1]

    def close_connections(self) -> None:
        """Close all connections that connect() made."""
        while self._connections:
            self._connections.pop().close()

    def log(self) -> str:
        """Return the end of what the process wrote to stdout and stderr."""
        return self.log_path.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace")

    def kill(self) -> None:
        """kill -9, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def wait_exit(self, timeout_s: float) -> int | None:
        """Return the exit code, or None when it still runs after so long."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        self.process = None
        return code

    def terminate(self) -> int:
        """SIGTERM; return the exit code. Kills it, and raises, when it does not end."""
        self.process.terminate()
        code = self.wait_exit(STOP_SECONDS_MAX)
        if code is None:
            self.kill()
            raise TimeoutError(f"SIGTERM did not end it; the log:\n{self.log()}")
        return code


class KvnodeServer(Server):
    """`python -m kvnode serve`. program: another module that does the same, and its arguments."""

    program: Sequence[str] = ("kvnode",)

    def command(self) -> list[str]:
        """Return the command line of the development tree."""
        serve = [sys.executable, "-m", *self.program, "serve", "--port", str(self.port)]
        return [*serve, "--data-dir", str(self.directory)]


class RedisServer(Server):
    """redis-server with an append-only file."""

    def command(self) -> list[str]:
        """Return the command line; tests skip where redis-server is absent."""
        serve = [
            redis_server_path() or "redis-server",
            "--port",
            str(self.port),
            "--dir",
            str(self.directory),
        ]
        return [*serve, "--save", "", "--appendonly", "yes", "--enable-debug-command", "yes"]
