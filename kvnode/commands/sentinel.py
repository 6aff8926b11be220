"""SENTINEL: every node tells clients of Redis Sentinel who leads, whatever name they ask for.

Each member is a sentinel, and the followers are replicas. Fields are those of Redis 7; a time that
nobody measures here is 0. While nobody leads there is no master, and clients ask again.
"""

from typing import Any

from kvnode.base.addresses import join_address
from kvnode.base.errors import CommandError
from kvnode.commands.cluster import node_id
from kvnode.commands.context import ReplyWriter, ViewContext
from kvnode.commands.errors import error
from kvnode.commands.group import GroupMember, GroupStatus, Kind
from kvnode.commands.group_words import client_address
from kvnode.commands.help import help_row
from kvnode.commands.row import Handler, Row

MASTER_NAME = b"mymaster"  # in SENTINEL MASTERS, and Redis's own default
PRIORITY = 100  # of each replica, Redis's default
OUT_OF_REACH = (
    "Not enough available Sentinels to reach the specified quorum for this master. "
    "Not enough available Sentinels to reach the majority and authorize a failover"
)

Fields = list[tuple[str, str | int]]


def require_master(view: ViewContext) -> tuple[GroupStatus, GroupMember]:
    """Return the group and its leader. Raises CommandError while it is not known."""
    status = view.node.group.status()
    if status.leader is None:
        raise error("No such master with that name")
    return status, status.leader


def quorum(status: GroupStatus) -> int:
    """Return how many voters are a majority."""
    return len(voters(status)) // 2 + 1


def voters(status: GroupStatus) -> list[GroupMember]:
    return [member for member in status.members if member.kind in (Kind.VOTER, Kind.LEAVING)]


# -- who is described, and how ------------------------------------------------------------------


def _instance(
    view: ViewContext, status: GroupStatus, member: GroupMember, name: str, kind: str
) -> Fields:
    """Return the fields that masters, replicas and sentinels have in common."""
    host, port = client_address(view, status, member)
    flags = kind if member.is_alive else f"{kind},s_down,disconnected"
    return [
        ("name", name),
        ("ip", host),
        ("port", port),
        ("runid", node_id(member)),
        ("flags", flags),
        ("link-pending-commands", 0),
        ("link-refcount", 1),
        ("last-ping-sent", 0),
        ("last-ok-ping-reply", member.lag_ms),
        ("last-ping-reply", member.lag_ms),
        ("down-after-milliseconds", 0),
    ]


def _reported(kind: str) -> Fields:
    return [("info-refresh", 0), ("role-reported", kind), ("role-reported-time", 0)]


def describe_master(
    view: ViewContext, status: GroupStatus, leader: GroupMember, name: bytes
) -> Fields:
    others = len(status.members) - 1
    return [
        *_instance(view, status, leader, name.decode("utf-8", "surrogateescape"), "master"),
        *_reported("master"),
        ("config-epoch", status.term),
        ("num-slaves", others),
        ("num-other-sentinels", others),
        ("quorum", quorum(status)),
        ("failover-timeout", 0),
        ("parallel-syncs", 1),
    ]


def describe_replica(
    view: ViewContext, status: GroupStatus, leader: GroupMember, member: GroupMember
) -> Fields:
    host, port = client_address(view, status, leader)
    name = join_address(*client_address(view, status, member))
    return [
        *_instance(view, status, member, name, "slave"),
        *_reported("slave"),
        ("master-link-down-time", 0 if member.is_alive else member.lag_ms),
        ("master-link-status", "ok" if member.is_alive else "err"),
        ("master-host", host),
        ("master-port", port),
        ("slave-priority", PRIORITY),
        ("slave-repl-offset", member.match_index),
        ("replica-announced", 1),
    ]


def describe_sentinel(view: ViewContext, status: GroupStatus, member: GroupMember) -> Fields:
    return [
        *_instance(view, status, member, node_id(member), "sentinel"),
        ("last-hello-message", member.lag_ms),
        ("voted-leader", "?"),
        ("voted-leader-epoch", 0),
    ]


def write_fields(reply: ReplyWriter, fields: Fields) -> None:
    """Write a map of bulk strings; all values of a Sentinel are."""
    reply.map(len(fields))
    for name, value in fields:
        reply.bulk(name.encode())
        reply.bulk(str(value).encode("utf-8", "surrogateescape"))


def write_all(reply: ReplyWriter, described: list[Fields]) -> None:
    reply.array(len(described))
    for fields in described:
        write_fields(reply, fields)


# -- handlers -----------------------------------------------------------------------------------


def get_master_addr_by_name(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    status = view.node.group.status()
    if status.leader is None:
        reply.null_array()
        return
    host, port = client_address(view, status, status.leader)
    reply.bulks([host.encode(), b"%d" % port])


def masters(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    status = view.node.group.status()
    leader = status.leader
    described = [describe_master(view, status, leader, MASTER_NAME)] if leader else []
    write_all(reply, described)


def master(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    write_fields(reply, describe_master(view, *require_master(view), args[2]))


def replicas(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    status, leader = require_master(view)
    write_all(
        reply, [describe_replica(view, status, leader, member) for member in status.followers]
    )


def sentinels(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    status, _ = require_master(view)
    others = [member for member in status.members if member.node_id != status.node_id]
    write_all(reply, [describe_sentinel(view, status, member) for member in others])


def ckquorum(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    status = view.node.group.status()
    usable = sum(member.is_alive for member in voters(status))
    if usable < quorum(status):
        raise CommandError(f"NOQUORUM {usable} usable Sentinels. {OUT_OF_REACH}".encode())
    text = f"OK {usable} usable Sentinels. Quorum and failover authorization can be reached"
    reply.simple(text.encode())


def myid(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    status = view.node.group.status()
    member = status.member(status.node_id)
    reply.bulk(view.node.run_id.encode() if member is None else node_id(member).encode())


def sub(
    name: str, handler: Handler, syntax: str, summary: str, since: str = "2.8.4", **more: Any
) -> Row:
    """Return the row of a subcommand."""
    arity = 2 + bool(syntax)
    return Row(
        f"sentinel|{name}",
        syntax,
        summary,
        since,
        arity,
        "sentinel",
        "admin",
        handler=handler,
        **more,
    )


ROWS = (
    Row(
        "sentinel",
        "",
        "Tells clients of Redis Sentinel who leads.",
        "2.8.4",
        -2,
        "sentinel",
        "admin",
        complexity="Depends on the subcommand",
        subcommands=(
            sub("ckquorum", ckquorum, "master-name", "Checks whether a majority is there."),
            sub(
                "get-master-addr-by-name",
                get_master_addr_by_name,
                "master-name",
                "Returns host and port of the leader, whatever the name.",
            ),
            help_row("sentinel", "6.2.0", "sentinel"),
            sub("master", master, "master-name", "Describes the leader."),
            sub("masters", masters, "", "Describes the leader, under the name `mymaster`."),
            sub("myid", myid, "", "Returns the id of this node.", "6.2.0"),
            sub("replicas", replicas, "master-name", "Describes the followers.", "5.0.0"),
            sub("sentinels", sentinels, "master-name", "Describes the other nodes."),
            sub(
                "slaves",
                replicas,
                "master-name",
                "Older name of SENTINEL REPLICAS.",
                "2.8.0",
                deprecated=("5.0.0", "`SENTINEL REPLICAS`"),
            ),
        ),
    ),
)
