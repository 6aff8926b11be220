"""ROLE, WAIT, FAILOVER, REPLICAOF: the group in the words of Redis's replication.

The leader is the master, the others are replicas, and offsets are indexes of the log.
"""

from collections.abc import Callable

from kvnode.base.addresses import PORT_MAX, join_address
from kvnode.commands.client import parse_timeout_ms
from kvnode.commands.context import WAITING, ReplyWriter, ViewContext
from kvnode.commands.errors import UNBLOCKED, error, parse_integer, syntax_error
from kvnode.commands.group import NO_ADDRESS, NO_NODE, ChangeRefused, GroupMember, GroupStatus
from kvnode.commands.group_words import Address, client_address, leader_address
from kvnode.commands.row import Row

ALL_SHARDS = "request_policy:all_shards"
OFFSET_UNKNOWN = -1  # of a replica that has no master
ON_REPLICA = (
    "WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a "
    "replica is configured to be writable (which is not the default) writes to replicas are just "
    "local and are not propagated."
)
AOF_ON_REPLICA = (
    "WAITAOF cannot be used with replica instances. Please also note that writes to replicas are "
    "just local and are not propagated."
)
FORCE_NEEDS = "FAILOVER with force option requires both a timeout and target HOST and IP."


def online_replicas(status: GroupStatus) -> list[GroupMember]:
    """Return the members that a master of Redis would show as connected."""
    return [member for member in status.followers if member.is_alive]


def replication_offset(status: GroupStatus) -> int:
    """Return how far a node's data are; 0 where there is nobody to compare with, as in Redis."""
    if not status.is_networked:
        return 0
    return status.last_index if status.is_leader else status.applied_index


def role(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    status = view.node.group.status()
    if status.is_leader:
        _role_of_master(view, status, reply)
        return
    host, port = leader_address(view, status)
    leader = status.leader
    is_connected = leader is not None and leader.is_alive
    reply.array(5)
    reply.bulk(b"slave")
    reply.bulk(host.encode())
    reply.integer(port)
    reply.bulk(b"connected" if is_connected else b"connect")
    reply.integer(replication_offset(status) if is_connected else OFFSET_UNKNOWN)


def _role_of_master(view: ViewContext, status: GroupStatus, reply: ReplyWriter) -> None:
    replicas = [member for member in online_replicas(status) if not member.is_receiving]
    reply.array(3)
    reply.bulk(b"master")
    reply.integer(replication_offset(status))
    reply.array(len(replicas))
    for member in replicas:
        host, port = client_address(view, status, member)
        reply.bulks([host.encode(), b"%d" % port, b"%d" % member.match_index])


# -- WAIT ---------------------------------------------------------------------------------------


def wait(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> int | None:
    """Count members that have all that was executed here, of this connection or of others."""
    group = view.node.group
    if not group.leading_term():
        raise error(ON_REPLICA)
    wanted = parse_integer(args[1])
    timeout_ms = parse_timeout_ms(args[2], view.now_ms)
    index = group.executed_index()
    return answer_when_replicated(
        view,
        reply,
        timeout_ms,
        lambda: group.replicas_with(index) >= wanted,
        lambda reply: reply.integer(group.replicas_with(index)),
    )


def waitaof(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> int | None:
    """As WAIT: what a member has acknowledged is synced there."""
    node, group = view.node, view.node.group
    local = parse_integer(args[1])
    if not 0 <= local <= 1:
        raise error("value is out of range, value must between 0 and 1")
    replicas = parse_integer(args[2])
    if replicas < 0:
        raise error("value is out of range, must be positive")
    timeout_ms = parse_timeout_ms(args[3], view.now_ms)
    if not group.leading_term():
        raise error(AOF_ON_REPLICA)
    index = group.executed_index()

    def is_due() -> bool:
        return (local == 0 or node.is_synced()) and group.replicas_with(index) >= replicas

    def write(reply: ReplyWriter) -> None:
        reply.array(2)
        reply.integer(1 if node.is_synced() else 0)
        reply.integer(group.replicas_with(index))

    return answer_when_replicated(view, reply, timeout_ms, is_due, write)


def answer_when_replicated(
    view: ViewContext,
    reply: ReplyWriter,
    timeout_ms: int,
    is_due: Callable[[], bool],
    write: Callable[[ReplyWriter], None],
) -> int | None:
    """Answer at once if it is due or nothing may wait, else later; UNBLOCKED if leadership ends."""
    node, group = view.node, view.node.group
    if is_due() or view.session.in_exec:
        write(reply)
        return None
    term = group.leading_term()

    def write_later(reply: ReplyWriter) -> None:
        if group.leading_term() == term:
            write(reply)
        else:
            reply.error(UNBLOCKED)

    node.answer_when(
        view.session,
        timeout_ms,
        lambda: group.leading_term() != term or is_due(),
        write_later,
    )
    return WAITING


# -- FAILOVER, REPLICAOF ------------------------------------------------------------------------


def failover(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    """Hand leadership over. Raft bounds the time itself, and nothing is lost, so that TIMEOUT and
    FORCE have nothing to do."""
    group = view.node.group
    if len(args) == 2 and args[1].lower() == b"abort":
        if not group.abort_transfer():
            raise error("No failover in progress.")
        reply.ok()
        return
    target, is_forced = _failover_options(args)
    status = group.status()
    if status.is_transferring:
        raise error("FAILOVER already in progress.")
    if not status.is_leader:
        raise error("FAILOVER is not valid when server is a replica.")
    if not online_replicas(status):
        raise error("FAILOVER requires connected replicas.")
    if is_forced:
        raise error(FORCE_NEEDS)
    try:
        group.transfer(NO_NODE if target is None else _replica_at(view, status, target))
    except ChangeRefused as refusal:
        raise error(str(refusal)) from None
    reply.ok()


def _failover_options(args: list[bytes]) -> tuple[Address | None, bool]:
    """Return the target, and whether FORCE lacks what it needs. Raises CommandError."""
    timeout_ms, target, is_forced = 0, None, False
    at = 1
    while at < len(args):
        option, left = args[at].lower(), len(args) - at - 1
        if option == b"timeout" and left >= 1 and not timeout_ms:
            timeout_ms = parse_integer(args[at + 1])
            if timeout_ms <= 0:
                raise error("FAILOVER timeout must be greater than 0")
            at += 2
        elif option == b"to" and left >= 2 and target is None:
            target = args[at + 1].decode("utf-8", "replace"), parse_integer(args[at + 2])
            at += 3
        elif option == b"force" and not is_forced:
            is_forced = True
            at += 1
        else:
            raise syntax_error()
    return target, is_forced and not (timeout_ms and target)


def _replica_at(view: ViewContext, status: GroupStatus, address: Address) -> int:
    for member in status.followers:
        if client_address(view, status, member) == address:
            if not member.is_alive or member.is_receiving:
                raise error("FAILOVER target replica is not online.")
            return member.node_id
    raise error("FAILOVER target HOST and PORT is not a replica.")


def replicaof(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    status = view.node.group.status()
    if args[1].lower() == b"no" and args[2].lower() == b"one":
        if not status.is_leader:
            raise error(
                f"who leads is decided by the group: KVNODE TRANSFER {status.node_id} makes this "
                "node the leader"
            )
        reply.ok()
        return
    if not args[2].isdigit() or int(args[2]) > PORT_MAX:
        raise error("Invalid master port")
    if not status.is_networked:
        raise error("kvnode cannot be a replica of a Redis server")
    address = args[1].decode("utf-8", "replace"), int(args[2])
    if not status.is_leader and address == leader_address(view, status) != NO_ADDRESS:
        reply.simple(b"OK Already connected to specified master")
        return
    raise error(
        f"who follows whom is decided by the group: see KVNODE ADD, REMOVE and TRANSFER, not "
        f"{join_address(*address)}"
    )


REPLICA_SYNTAX = "args=<host-port=<host port:integer> | no-one=<NO ONE>>"

ROWS = (
    Row(
        "failover",
        "[target=<TO host port:integer [FORCE]>] [ABORT] [TIMEOUT milliseconds:integer]",
        "Hands leadership to another node, the given one or the best.",
        "6.2.0",
        -1,
        "server",
        "admin noscript stale",
        handler=failover,
    ),
    Row(
        "replicaof",
        REPLICA_SYNTAX,
        "NO ONE is accepted where it is so; who follows whom is decided by the group.",
        "5.0.0",
        3,
        "server",
        "admin noscript stale no_async_loading",
        handler=replicaof,
    ),
    Row(
        "role",
        "",
        "Returns the role in the group: the leader is the master.",
        "2.8.12",
        1,
        "server",
        "noscript loading stale fast",
        acl="admin dangerous",
        handler=role,
    ),
    Row(
        "slaveof",
        REPLICA_SYNTAX,
        "Older name of REPLICAOF.",
        "1.0.0",
        3,
        "server",
        "admin noscript stale no_async_loading",
        handler=replicaof,
        deprecated=("5.0.0", "`REPLICAOF`"),
    ),
    Row(
        "wait",
        "numreplicas:integer timeout:integer",
        "Waits until so many other nodes have the writes of this connection.",
        "3.0.0",
        3,
        "generic",
        "blocking",
        acl="connection",
        tips=(ALL_SHARDS, "response_policy:agg_min"),
        handler=wait,
    ),
    Row(
        "waitaof",
        "numlocal:integer numreplicas:integer timeout:integer",
        "Waits until all writes of this connection are synced, here and on so many other nodes.",
        "7.2.0",
        4,
        "generic",
        "blocking",
        acl="connection",
        tips=(ALL_SHARDS, "response_policy:agg_min"),
        handler=waitaof,
    ),
)
