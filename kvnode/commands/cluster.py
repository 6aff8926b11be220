"""CLUSTER and its kin: the group as a Redis Cluster of one shard, whose master is the leader.

A node without a listener for others says that it has no cluster support, in Redis's words, unless
`cluster-enabled` is yes. Texts and fields are those of Redis 7.
"""

from collections.abc import Iterable

from kvnode.commands.context import ReplyWriter, ViewContext
from kvnode.commands.errors import error, parse_integer
from kvnode.commands.fields import Field, write_fields
from kvnode.commands.group import GroupMember, GroupStatus
from kvnode.commands.group_words import Address, client_address, find_address
from kvnode.commands.help import help_row
from kvnode.commands.row import RANDOM, Handler, Row
from kvnode.commands.slots import SLOTS, slot_of

ID_BYTES = 20  # of a node, written as hex digits
NUMBER_BYTES = 8  # of its number, at the beginning
NO_MASTER = "-"


def is_shown(view: ViewContext, status: GroupStatus) -> bool:
    """Return whether this node shows itself as part of a cluster."""
    return status.is_networked or view.node.config["cluster-enabled"]


def require_cluster(view: ViewContext) -> GroupStatus:
    """Return the group. Raises CommandError where there is nothing to be seen of a cluster."""
    status = view.node.group.status()
    if not is_shown(view, status):
        raise error("This instance has cluster support disabled")
    return status


def node_id(member: GroupMember) -> str:
    """Return the id of a node in a cluster: its number, then its directory's identity, cut."""
    return f"{member.node_id:0{2 * NUMBER_BYTES}x}{member.identity.hex():0<40}"[: 2 * ID_BYTES]


def shard_id(status: GroupStatus) -> str:
    """Return the id of the group, as long as those of Redis."""
    return f"{status.group_id.hex():0<{2 * ID_BYTES}}"


def is_replica(status: GroupStatus, member: GroupMember) -> bool:
    return member.node_id != status.leader_id


def leader_first(status: GroupStatus) -> list[GroupMember]:
    """Return the members, the leader before the others."""
    return sorted(status.members, key=lambda member: (is_replica(status, member), member.node_id))


# -- what is about keys -------------------------------------------------------------------------


def keyslot(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    require_cluster(view)
    reply.integer(slot_of(args[2]))


def countkeysinslot(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    require_cluster(view)
    if not 0 <= parse_integer(args[2]) < SLOTS:
        raise error("Invalid slot")
    raise error("keys are not kept by slot: use SCAN")


def getkeysinslot(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    require_cluster(view)
    slot, count = parse_integer(args[2]), parse_integer(args[3])
    if not 0 <= slot < SLOTS or count < 0:
        raise error("Invalid slot or number of keys")
    raise error("keys are not kept by slot: use SCAN")


# -- what is about nodes ------------------------------------------------------------------------


def myid(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    status = require_cluster(view)
    member = status.member(status.node_id)
    if member is None:
        raise error("this node is not in the group yet")
    reply.bulk(node_id(member).encode())


def myshardid(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.bulk(shard_id(require_cluster(view)).encode())


def info(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    status = require_cluster(view)
    is_ok = status.leader is not None
    fields = (
        ("cluster_state", "ok" if is_ok else "fail"),
        ("cluster_slots_assigned", SLOTS),
        ("cluster_slots_ok", SLOTS if is_ok else 0),
        ("cluster_slots_pfail", 0),
        ("cluster_slots_fail", 0 if is_ok else SLOTS),
        ("cluster_known_nodes", len(status.members)),
        ("cluster_size", 1),
        ("cluster_current_epoch", status.term),
        ("cluster_my_epoch", status.term),
        ("cluster_stats_messages_sent", 0),
        ("cluster_stats_messages_received", 0),
        ("total_cluster_links_buffer_limit_exceeded", 0),
    )
    reply.verbatim("".join(f"{name}:{value}\r\n" for name, value in fields).encode())


def node_line(view: ViewContext, status: GroupStatus, member: GroupMember) -> str:
    """Return the line of a member in CLUSTER NODES, without its end."""
    host, port = client_address(view, status, member)
    flags = ["myself"] if member.node_id == status.node_id else []
    replica = is_replica(status, member)
    flags.append("slave" if replica else "master")
    if not member.is_alive:
        flags.append("fail")
    leader = status.leader
    heard_ms = 0 if member.node_id == status.node_id else max(0, view.now_ms - member.lag_ms)
    words = [
        node_id(member),
        f"{host}:{port}@{find_address(member.raft_address)[1]}",
        ",".join(flags),
        node_id(leader) if replica and leader is not None else NO_MASTER,
        "0",
        str(heard_ms),
        str(status.term),
        "connected" if member.is_alive else "disconnected",
    ]
    return " ".join(words if replica else [*words, f"0-{SLOTS - 1}"])


def nodes(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    status = require_cluster(view)
    lines = [node_line(view, status, member) for member in status.members]
    reply.verbatim("".join(f"{line}\n" for line in lines).encode())


def replicas(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    status = require_cluster(view)
    asked = args[2].decode("latin-1").lower()
    found = next((member for member in status.members if node_id(member) == asked), None)
    if found is None:
        raise error(f"Unknown node {args[2].decode('utf-8', 'surrogateescape')}")
    if is_replica(status, found):
        raise error("The specified node is not a master")
    lines = [node_line(view, status, member) for member in status.followers]
    reply.bulks([line.encode() for line in lines])


def slots(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    """One range, its leader first. None at all while nobody leads: clients ask again."""
    status = require_cluster(view)
    if status.leader is None:
        reply.array(0)
        return
    usable = [
        member
        for member in leader_first(status)
        if not is_replica(status, member) or (member.is_alive and not member.is_receiving)
    ]
    reply.array(1)
    reply.array(2 + len(usable))
    reply.integer(0)
    reply.integer(SLOTS - 1)
    for member in usable:
        host, port = client_address(view, status, member)
        reply.array(4)
        reply.bulk(host.encode())
        reply.integer(port)
        reply.bulk(node_id(member).encode())
        reply.map(0)


def health(member: GroupMember) -> str:
    if not member.is_alive:
        return "failed"
    return "loading" if member.is_receiving else "online"


def shards(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    status = require_cluster(view)
    reply.array(1)
    reply.map(2)
    reply.bulk(b"slots")
    reply.array(2)
    reply.integer(0)
    reply.integer(SLOTS - 1)
    reply.bulk(b"nodes")
    reply.array(len(status.members))
    for member in leader_first(status):
        _write_node(reply, status, member, client_address(view, status, member))


def _write_node(
    reply: ReplyWriter, status: GroupStatus, member: GroupMember, address: Address
) -> None:
    host, port = address
    fields: list[Field] = [
        ("id", node_id(member)),
        ("port", port),
        ("ip", host),
        ("endpoint", host),
        ("role", "replica" if is_replica(status, member) else "master"),
        ("replication-offset", member.match_index),
        ("health", health(member)),
    ]
    reply.map(len(fields))
    write_fields(reply, fields)


def links(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    """The links between nodes are not those of a cluster's bus: none are shown."""
    require_cluster(view)
    reply.array(0)


# -- modes of a connection ----------------------------------------------------------------------


def readonly(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    require_cluster(view)
    view.node.group.serve_reads(view.session, True)
    reply.ok()


def readwrite(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    require_cluster(view)
    view.node.group.serve_reads(view.session, False)
    reply.ok()


def asking(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    require_cluster(view)
    reply.ok()


def sub(
    name: str,
    handler: Handler,
    syntax: str,
    summary: str,
    since: str,
    arity: int,
    *,
    is_stable: bool = False,
    deprecated: tuple[str, str] | None = None,
    flags: str = "stale",
) -> Row:
    """Return the row of a subcommand."""
    return Row(
        f"cluster|{name}",
        syntax,
        summary,
        since,
        arity,
        "cluster",
        flags,
        tips=() if is_stable else RANDOM,
        handler=handler,
        deprecated=deprecated,
    )


SUBCOMMANDS: Iterable[Row] = (
    sub(
        "countkeysinslot",
        countkeysinslot,
        "slot:integer",
        "Would count the keys of a slot; they are not kept by slot.",
        "3.0.0",
        3,
        is_stable=True,
    ),
    sub(
        "getkeysinslot",
        getkeysinslot,
        "slot:integer count:integer",
        "Would return keys of a slot; they are not kept by slot.",
        "3.0.0",
        4,
    ),
    help_row("cluster", "5.0.0", "cluster"),
    sub("info", info, "", "Describes the state of the cluster.", "3.0.0", 2),
    sub("keyslot", keyslot, "key", "Returns the slot of a key.", "3.0.0", 3, is_stable=True),
    sub("links", links, "", "Describes links of a cluster's bus: there are none.", "7.0.0", 2),
    sub("myid", myid, "", "Returns the id of this node.", "3.0.0", 2, is_stable=True),
    sub("myshardid", myshardid, "", "Returns the id of the group.", "7.2.0", 2),
    sub("nodes", nodes, "", "Describes the nodes, one line for each.", "3.0.0", 2),
    sub(
        "replicas",
        replicas,
        "node-id",
        "Describes the nodes that follow the leader.",
        "5.0.0",
        3,
        flags="admin stale",
    ),
    sub("shards", shards, "", "Maps slots to nodes: all to one shard.", "7.0.0", 2),
    sub(
        "slaves",
        replicas,
        "node-id",
        "Older name of CLUSTER REPLICAS.",
        "3.0.0",
        3,
        deprecated=("5.0.0", "`CLUSTER REPLICAS`"),
        flags="admin stale",
    ),
    sub("slots", slots, "", "Maps slots to nodes, the older form.", "3.0.0", 2),
)


def mode_row(name: str, handler: Handler, summary: str, flags: str = "loading stale fast") -> Row:
    return Row(name, "", summary, "3.0.0", 1, "cluster", flags, acl="connection", handler=handler)


ROWS = (
    mode_row("asking", asking, "Announces a command for a slot that moves: none does.", "fast"),
    Row(
        "cluster",
        "",
        "Looks at the group as a cluster of one shard.",
        "3.0.0",
        -2,
        "cluster",
        complexity="Depends on the subcommand",
        subcommands=tuple(SUBCOMMANDS),
    ),
    mode_row("readonly", readonly, "Lets reads be served by a node that follows."),
    mode_row("readwrite", readwrite, "Ends READONLY."),
)
