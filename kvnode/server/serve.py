"""Runs a node from its configuration to its end: opens the directory, begins a group, serves."""

from pathlib import Path

import trio

from kvnode.base.limits import PEERS_BACKLOG
from kvnode.scripting import runtime
from kvnode.server.begin_group import begin_group
from kvnode.server.config import Config
from kvnode.server.data import DataDirectory
from kvnode.server.failpoints import Failpoints
from kvnode.server.group_config import GroupConfig, client_address
from kvnode.server.listener import open_listener
from kvnode.server.node import Node


def serve(config: Config) -> int:
    """Run a node until it is told to stop; return the process's exit code.

    Raises ConfigError and StorageError for what stands in the way of a start.
    """
    runtime.check_library()
    group = GroupConfig.of(config)
    data = DataDirectory(
        Path(config["dir"]),
        node_id=config["node-id"],
        appendfsync=config["appendfsync"],
        cache_bytes=config["maxmemory"],
        failpoints=Failpoints(config.failpoints),
    )
    return trio.run(_serve, config, group, data)


async def _serve(config: Config, group: GroupConfig | None, data: DataDirectory) -> int:
    if group is None:
        return await Node(config, data).run()
    listener = open_listener(*group.listen, PEERS_BACKLOG, "--raft-listen")
    if not data.facts.group:
        await begin_group(data, group, client_address(config), listener)
    return await Node(config, data, group, listener).run()
