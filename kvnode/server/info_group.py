"""Fields of INFO about the group: those of Redis's replication, then our own in Raft's words."""

from typing import Any

from kvnode.commands.cluster import shard_id
from kvnode.commands.context import ViewContext
from kvnode.commands.group import GroupMember, GroupStatus, Kind
from kvnode.commands.group_words import client_address, leader_address
from kvnode.commands.replication import online_replicas, replication_offset

NO_REPLICATION_ID = "0" * 40
REPLICA_PRIORITY = 100  # Redis's default; a group elects without it

Field = tuple[str, Any]


def replication_fields(view: ViewContext) -> list[Field]:
    """Return the fields of INFO replication."""
    status = view.node.group.status()
    offset = replication_offset(status)
    fields: list[Field] = [("role", "master")] if status.is_leader else follower(view, status)
    replicas = online_replicas(status) if status.is_leader else []
    fields.append(("connected_slaves", len(replicas)))
    fields += [replica(view, status, i, member) for i, member in enumerate(replicas)]
    group_id = shard_id(status) if status.group_id else view.node.run_id
    failover = "failover-in-progress" if status.is_transferring else "no-failover"
    return [
        *fields,
        ("master_failover_state", failover),
        ("master_replid", group_id),
        ("master_replid2", NO_REPLICATION_ID),
        ("master_repl_offset", offset),
        ("second_repl_offset", -1),
        ("repl_backlog_active", 0),
        ("repl_backlog_size", 0),
        ("repl_backlog_first_byte_offset", 0),
        ("repl_backlog_histlen", 0),
        *raft_fields(status),
    ]


def follower(view: ViewContext, status: GroupStatus) -> list[Field]:
    """Return what a replica says of its master and of itself."""
    host, port = leader_address(view, status)
    leader = status.leader
    is_up = leader is not None and leader.is_alive
    me = status.member(status.node_id)
    return [
        ("role", "slave"),
        ("master_host", host),
        ("master_port", port),
        ("master_link_status", "up" if is_up else "down"),
        ("master_last_io_seconds_ago", leader.lag_ms // 1000 if leader is not None else -1),
        ("master_sync_in_progress", int(me is not None and me.is_receiving)),
        ("slave_read_repl_offset", status.last_index),
        ("slave_repl_offset", status.applied_index),
        ("slave_priority", REPLICA_PRIORITY),
        ("slave_read_only", 1),
        ("replica_announced", 1),
    ]


def replica(view: ViewContext, status: GroupStatus, number: int, member: GroupMember) -> Field:
    """Return the field of one connected replica."""
    host, port = client_address(view, status, member)
    state = "send_bulk" if member.is_receiving else "online"
    words = f"ip={host},port={port},state={state},offset={member.match_index}"
    return f"slave{number}", f"{words},lag={member.lag_ms // 1000}"


def raft_fields(status: GroupStatus) -> list[Field]:
    """Return what Redis has no words for."""
    voters = sum(member.kind is Kind.VOTER for member in status.members)
    return [
        ("raft_node_id", status.node_id),
        ("raft_role", status.role.value),
        ("raft_term", status.term),
        ("raft_leader_id", status.leader_id),
        ("raft_members", len(status.members)),
        ("raft_voters", voters),
        ("raft_last_index", status.last_index),
        ("raft_committed_index", status.committed_index),
        ("raft_applied_index", status.applied_index),
    ]
