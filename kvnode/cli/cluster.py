"""`kvnode cluster`: start a local group, look at a group, change it."""

import json
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import click

from kvnode.base.addresses import PORT_MAX
from kvnode.base.errors import ConfigError, KvnodeError
from kvnode.base.limits import LOCAL_NODES_MAX
from kvnode.base.resp import ErrorReply
from kvnode.cli import local_cluster
from kvnode.cli.client import NodeClient, NodeUnreachable
from kvnode.cli.status import Access, Status, describe, parse_status

EXIT_FAILED = 1
EXIT_USAGE = 2
TIMEOUT_SECONDS = 30.0  # adding a node waits for its greeting, a transfer for an election
TRANSFER_POLLS = 100  # looks at who leads, when who handed over could not say
TRANSFER_POLL_SECONDS = 0.1
LOST = ("UNCERTAIN", "TRYAGAIN", "UNBLOCKED")  # what a leader that ends answers
RECOVERY = """\
This makes node {node_id} a group of one. It is for when a majority of the voters is lost for ever.
  - What only lost nodes have of the acknowledged writes is lost.
  - What this node has, but nobody had acknowledged, may take effect.
  - The other nodes must never run again with their directories: empty them, then add them.
  - Of several nodes that are left take the one whose log ends last: with the highest term, and
    in that with the highest index. This log ends at term {last_term}, index {last_index}.
Say --yes if that is what you want."""


@click.group()
def cluster() -> None:
    """Start a group of nodes on this machine; look at a group, and change it."""


# -- options of all that ask a node -------------------------------------------------------------


def asks_node(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options by which a node is found, and turn what goes wrong into a sentence.

    The function is called with `ask`, an Asking.
    """

    @click.option("--host", default="127.0.0.1", show_default=True, help="Of any node.")
    @click.option(
        "--port", type=click.IntRange(1, PORT_MAX), required=True, help="Its clients' port."
    )
    @click.option(
        "--password", envvar="KVNODE_PASSWORD", help="requirepass of the nodes.", show_envvar=True
    )
    @click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=TIMEOUT_SECONDS,
        show_default=True,
        help="Seconds to wait for an answer.",
    )
    @click.option("--json", "is_json", is_flag=True, help="Answer in JSON.")
    @wraps(function)
    def wrapper(
        host: str, port: int, password: str | None, timeout: float, is_json: bool, **rest: Any
    ) -> None:
        ask = Asking(host, port, Access(password, timeout), is_json)
        try:
            function(ask, **rest)
        except KvnodeError as error:
            ask.fail(str(error).removeprefix("ERR "))

    return wrapper


class Asking:
    """One call of a command that asks a node."""

    def __init__(self, host: str, port: int, access: Access, is_json: bool) -> None:
        self.access = access
        self._where = (host, port)
        self._is_json = is_json

    def client(self) -> NodeClient:
        return self.access.client(*self._where)

    def status(self) -> Status:
        """Return what the asked node knows."""
        with self.client() as client:
            return parse_status(client.call("KVNODE", "STATUS"))

    def change(self, sentence: str, *words: str | int) -> None:
        """Have the leader do something, and say so.

        Where the leader is out of reach from here the asked node hands it on.
        """
        client = self.access.leader_client(self.status()) or self.client()
        with client:
            client.call("KVNODE", *words)
        self.answer({"ok": True}, sentence)

    def transfer(self, sentence: str, node_id: int | None) -> None:
        """Have leadership handed over, and say so once somebody else leads.

        Who hands over may not be able to tell that it is done: then the group is asked.
        """
        before = self.status()["leader_id"]
        try:
            self.change(sentence, "TRANSFER", *([] if node_id is None else [node_id]))
        except (ErrorReply, NodeUnreachable) as error:
            if isinstance(error, ErrorReply) and not str(error).startswith(LOST):
                raise
            for _ in range(TRANSFER_POLLS):
                time.sleep(TRANSFER_POLL_SECONDS)
                leader = self.status()["leader_id"]
                if leader and (leader == node_id or (node_id is None and leader != before)):
                    self.answer({"ok": True}, sentence)
                    return
            raise

    def answer(self, data: dict[str, Any], text: str) -> None:
        click.echo(json.dumps(data, indent=2) if self._is_json else text)

    def fail(self, sentence: str, code: int = EXIT_FAILED) -> NoReturn:
        if self._is_json:
            click.echo(json.dumps({"ok": False, "error": sentence}))
        else:
            click.echo(f"kvnode: {sentence}", err=True)
        sys.exit(code)


# -- looking and changing -----------------------------------------------------------------------


@cluster.command()
@asks_node
def status(ask: Asking) -> None:
    """Show the group: who leads, who is behind. Ends with 1 while nobody leads."""
    found = ask.access.complete(ask.status())
    ask.answer(found, describe(found))
    if not found["leader_id"]:
        sys.exit(EXIT_FAILED)


NODE_ID = click.argument("node_id", metavar="ID", type=click.IntRange(min=1))


@cluster.command()
@NODE_ID
@click.argument("address", metavar="HOST:PORT")
@click.option("--learner", is_flag=True, help="It gets the data, and never votes.")
@asks_node
def add(ask: Asking, node_id: int, address: str, learner: bool) -> None:
    """Add the node whose Raft listener is at HOST:PORT. It was started on an empty directory."""
    words = ["LEARNER"] if learner else []
    later = "" if learner else "; it becomes a voter once it has caught up"
    ask.change(f"node {node_id} is a learner now{later}", "ADD", node_id, address, *words)


@cluster.command()
@NODE_ID
@asks_node
def remove(ask: Asking, node_id: int) -> None:
    """Take a node out of the group. Its directory is of no use afterwards."""
    ask.change(f"node {node_id} is no member any more", "REMOVE", node_id)


@cluster.command()
@NODE_ID
@asks_node
def promote(ask: Asking, node_id: int) -> None:
    """Make a learner a voter, as soon as it has caught up."""
    ask.change(f"node {node_id} is a voter, or will be once it has caught up", "PROMOTE", node_id)


@cluster.command()
@NODE_ID
@asks_node
def demote(ask: Asking, node_id: int) -> None:
    """Make a voter a learner."""
    ask.change(f"node {node_id} is a learner now", "DEMOTE", node_id)


@cluster.command()
@click.argument("node_id", metavar="[ID]", type=click.IntRange(min=1), required=False)
@asks_node
def transfer(ask: Asking, node_id: int | None) -> None:
    """Hand leadership to a node, or to the one that is best."""
    who = "another node" if node_id is None else f"node {node_id}"
    ask.transfer(f"{who} leads now", node_id)


@cluster.command()
@click.option("--yes", is_flag=True, help="Do it.")
@asks_node
def recover(ask: Asking, yes: bool) -> None:
    """Make the asked node a group of one, when a majority of the voters is lost for ever."""
    found = ask.status()
    if not yes:
        ask.fail(RECOVERY.format(**found), EXIT_USAGE)
    with ask.client() as client:
        client.call("KVNODE", "RECOVER", "ALONE")
    ask.answer({"ok": True}, f"node {found['node_id']} is a group of one now; add the others anew")


# -- a local group ------------------------------------------------------------------------------


@cluster.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--nodes",
    type=click.IntRange(1, LOCAL_NODES_MAX),
    help=f"How many.  [default: {local_cluster.NODES}, or as it was]",
)
@click.option(
    "--base-port",
    type=click.IntRange(1, PORT_MAX - local_cluster.RAFT_OFFSET - LOCAL_NODES_MAX),
    help=f"Clients' port of the first node; the Raft port is {local_cluster.RAFT_OFFSET} more."
    f"  [default: {local_cluster.BASE_PORT}, or as it was]",
)
@click.option(
    "--data-dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("cluster"),
    show_default=True,
    help="Holds a directory for each node, and their secret.",
)
@click.option("--password", envvar="KVNODE_PASSWORD", help="To ask the nodes who leads.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTIONS OF SERVE]")
def start(
    nodes: int | None,
    base_port: int | None,
    directory: Path,
    password: str | None,
    options: tuple[str, ...],
) -> None:
    """Run a group of nodes on this machine, until Ctrl-C. Start it again on the same directory."""
    try:
        plan = local_cluster.prepare(directory, nodes, base_port)
        code = local_cluster.run(plan, options, Access(password, local_cluster.ASK_SECONDS))
    except ConfigError as error:
        click.echo(f"kvnode: {error}", err=True)
        sys.exit(EXIT_USAGE)
    sys.exit(code)
