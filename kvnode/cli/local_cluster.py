"""A group of nodes on this machine: one process for each, started, watched and stopped together.

The directory holds `node-N` for each node, `secret`, by which they know each other, and
`cluster.json`, which says how many there are and on which ports: those cannot change later.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click
import trio

from kvnode.base.errors import ConfigError, KvnodeError
from kvnode.base.limits import LOCAL_LINE_BYTES_MAX, LOCAL_STOP_SECONDS
from kvnode.cli.status import Access, Status, is_leader, parse_status

HOST = "127.0.0.1"
NODES = 3
BASE_PORT = 7001
RAFT_OFFSET = 100  # from a clients' port to the Raft port
SECRET_BYTES = 32
WATCH_SECONDS = 0.5  # between looks at who leads
ASK_SECONDS = 1.0  # for an answer to that
EXIT_FAILED = 1

Say = Callable[[str, str], None]  # say(who, line)


@dataclass(frozen=True)
class Plan:
    """nodes: how many.   base_port: the clients' port of node 1."""

    directory: Path
    nodes: int
    base_port: int

    @property
    def ids(self) -> range:
        return range(1, self.nodes + 1)

    def port(self, node_id: int) -> int:
        return self.base_port + node_id - 1

    def raft_address(self, node_id: int) -> str:
        return f"{HOST}:{self.port(node_id) + RAFT_OFFSET}"

    def command(self, node_id: int, options: Sequence[str]) -> list[str]:
        """Return the command line of a node."""
        members = ",".join(f"{i}={self.raft_address(i)}" for i in self.ids)
        return [
            *(sys.executable, "-m", "kvnode", "serve"),
            *("--node-id", str(node_id), "--port", str(self.port(node_id))),
            *("--raft-listen", self.raft_address(node_id), "--cluster", members),
            *("--raft-secret-file", str(self.directory / "secret")),
            *("--data-dir", str(self.directory / f"node-{node_id}")),
            *options,
        ]


# -- the directory ------------------------------------------------------------------------------


def prepare(directory: Path, nodes: int | None, base_port: int | None) -> Plan:
    """Make or check the directory. None: as it was, or the default. Raises ConfigError."""
    file = directory / "cluster.json"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        known = json.loads(file.read_text()) if file.exists() else None
        if known is None:
            plan = Plan(directory, nodes or NODES, base_port or BASE_PORT)
            secret = directory / "secret"
            if not secret.exists():
                _write_whole(secret, secrets.token_hex(SECRET_BYTES) + "\n")
            known = {"nodes": plan.nodes, "base_port": plan.base_port}
            _write_whole(file, json.dumps(known) + "\n")
            return plan
        plan = Plan(directory, int(known["nodes"]), int(known["base_port"]))
    except OSError as error:
        raise ConfigError(f"cannot use {directory}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"{file} is damaged") from None
    if nodes not in (None, plan.nodes):
        raise ConfigError(
            f"{directory} holds a group of {plan.nodes} nodes; to change it use kvnode cluster "
            "add or remove"
        )
    if base_port not in (None, plan.base_port):
        raise ConfigError(f"{directory} holds a group whose base port is {plan.base_port}")
    return plan


def _write_whole(path: Path, text: str) -> None:
    """Make a file that only this user can read; it is there with all of its text, or not at all."""
    unfinished = path.with_suffix(".tmp")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


# -- the processes ------------------------------------------------------------------------------


def say(who: str, line: str) -> None:
    """Write a line, prefixed by who says it."""
    click.echo(f"{who:<7} | {line}")


def run(plan: Plan, options: Sequence[str], access: Access) -> int:
    """Run the nodes until a signal; return the exit code."""
    commands = {node_id: plan.command(node_id, options) for node_id in plan.ids}
    ports = {node_id: plan.port(node_id) for node_id in plan.ids}
    return trio.run(LocalCluster(commands, partial(ask, access, ports), say).run)


def ask(access: Access, ports: dict[int, int], node_id: int) -> Status | None:
    """Return what a node knows of the group, None if it does not answer."""
    try:
        with access.client(HOST, ports[node_id]) as client:
            return parse_status(client.call("KVNODE", "STATUS"))
    except KvnodeError:
        return None


@dataclass
class LocalCluster:
    """The processes.

    commands: of each node.   ask: node id -> what it knows of the group, or None; it blocks.
    """

    commands: dict[int, list[str]]
    ask: Callable[[int], Status | None]
    say: Say
    processes: dict[int, trio.Process] = field(default_factory=dict)
    leader: int = 0
    had_leader: bool = False
    exit_code: int = 0

    async def run(self) -> int:
        """Run until a signal, or until all nodes have ended; return the exit code."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as relays:  # ends when all is said
                try:
                    await self._start(relays)
                    await self._watch_over(signals)
                finally:
                    with trio.CancelScope(shield=True):
                        await self._stop(signals)
        return self.exit_code

    async def _watch_over(self, signals: AsyncIterator[int]) -> None:
        """Return at a signal, or when it is over without one."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_leader)
            nursery.start_soon(self._look_for_the_end, nursery.cancel_scope)
            await anext(signals)
            self.say("cluster", "stopping")
            nursery.cancel_scope.cancel()

    async def _start(self, relays: trio.Nursery) -> None:
        for node_id, command in self.commands.items():
            # A session of its own: Ctrl-C is for us, and we stop the nodes.
            process = await trio.lowlevel.open_process(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self.processes[node_id] = process
            relays.start_soon(self._relay, node_id, process)

    async def _relay(self, node_id: int, process: trio.Process) -> None:
        """Pass on what a node writes, and tell when it has ended."""
        assert process.stdout is not None
        rest = b""
        async for data in process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > LOCAL_LINE_BYTES_MAX:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self.say(f"node {node_id}", line.decode("utf-8", "replace"))
        if rest:
            self.say(f"node {node_id}", rest.decode("utf-8", "replace"))
        code = await process.wait()
        self.say("cluster", f"node {node_id} has ended with {code}")

    async def _look_for_the_end(self, scope: trio.CancelScope) -> None:
        """End with an error if no node runs any more, or one could not even start."""
        while True:
            ended = [p for p in self.processes.values() if p.poll() is not None]
            if len(ended) == len(self.processes) or (ended and not self.had_leader):
                self.exit_code = EXIT_FAILED
                scope.cancel()
                return
            await trio.sleep(WATCH_SECONDS)

    async def _tell_leader(self) -> None:
        """Tell who leads, whenever that changes."""
        while True:
            found = await self._find_leader()
            if found and found != self.leader:
                self.say("cluster", f"node {found} leads")
            elif self.leader and not found:
                self.say("cluster", "nobody leads")
            self.leader = found
            self.had_leader |= found != 0
            await trio.sleep(WATCH_SECONDS)

    async def _find_leader(self) -> int:
        """Return the id of a node that says that it leads, 0 if none does."""
        for node_id in self.processes:
            status = await trio.to_thread.run_sync(self.ask, node_id, abandon_on_cancel=True)
            if status is not None and is_leader(status):
                return node_id
        return 0

    async def _stop(self, signals: AsyncIterator[int]) -> None:
        """Stop the nodes: politely, then after a time or a second signal by force."""
        running = [p for p in self.processes.values() if p.poll() is None]
        for process in running:
            process.terminate()
        with trio.move_on_after(LOCAL_STOP_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hurry, signals, nursery.cancel_scope)
                for process in running:
                    await process.wait()
                nursery.cancel_scope.cancel()
        for process in running:
            if process.poll() is None:
                process.kill()
                await process.wait()

    async def _hurry(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        await anext(signals)
        scope.cancel()
