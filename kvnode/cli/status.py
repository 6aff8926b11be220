"""The group as operators see it: asked from a node, and written for people."""

from dataclasses import dataclass
from typing import Any

from kvnode.base.addresses import split_address
from kvnode.base.errors import KvnodeError
from kvnode.base.resp import Reply
from kvnode.cli.client import NodeClient, NodeUnreachable

Status = dict[str, Any]

BOOLEANS = frozenset(
    {"is_networked", "is_founded", "is_joint", "is_transferring", "is_alive", "is_receiving"}
)
HEADERS = ("node", "role", "kind", "clients", "raft", "behind", "heard")
RIGHT_ALIGNED = frozenset({"node", "behind"})


def parse_status(reply: Reply) -> Status:
    """Return a reply of KVNODE STATUS as a dict. Raises NodeUnreachable if it is none."""
    try:
        status = _fields(reply)
        status["members"] = [_fields(member) for member in status["members"]]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise NodeUnreachable("the node does not say what its group is: another version?") from None
    return status


def _fields(reply: Any) -> Status:
    fields = {}
    for name, value in zip(reply[::2], reply[1::2], strict=True):
        key = name.decode()
        value = value.decode() if isinstance(value, bytes) else value
        fields[key] = bool(value) if key in BOOLEANS else value
    return fields


def member(status: Status, node_id: int) -> Status | None:
    """Return a member of a status, None if there is none of this id."""
    return next((m for m in status["members"] if m["node_id"] == node_id), None)


def is_leader(status: Status) -> bool:
    return bool(status["leader_id"] == status["node_id"])


@dataclass(frozen=True)
class Access:
    """How nodes are asked."""

    password: str | None
    timeout_s: float

    def client(self, host: str, port: int) -> NodeClient:
        return NodeClient(host, port, password=self.password, timeout_s=self.timeout_s)

    def leader_client(self, status: Status) -> NodeClient | None:
        """Return a connection to the leader, None if it is not known, or out of reach from here."""
        leader = member(status, status["leader_id"])
        if leader is None or is_leader(status) or not leader["client_address"]:
            return None
        try:
            return self.client(*split_address(leader["client_address"]))
        except KvnodeError:
            return None

    def complete(self, status: Status) -> Status:
        """Return a status with the members as the leader knows them, if it can be asked.

        `reported_by` says who told of the members.
        """
        client = self.leader_client(status)
        told = status
        if client is not None:
            try:
                with client:
                    answer = parse_status(client.call("KVNODE", "STATUS"))
                told = answer if is_leader(answer) else status
            except KvnodeError:
                told = status  # what the asked node knows is better than nothing
        return {
            **status,
            "committed_index": told["committed_index"],
            "members": told["members"],
            "reported_by": told["node_id"],
        }


# -- for people ---------------------------------------------------------------------------------


def describe(status: Status) -> str:
    """Return a status as lines of text."""
    lines = [headline(status)]
    if not status["members"]:
        return "\n".join([*lines, "it waits for the other nodes, or to be added to a group"])
    lines += table([member_row(status, m) for m in status["members"]])
    lines += [quorum_line(status)]
    if status["is_joint"]:
        lines.append("voters are being exchanged: both the old and the new ones have to agree")
    if status["is_transferring"]:
        lines.append("leadership is being handed over")
    return "\n".join(lines)


def headline(status: Status) -> str:
    group = status["group_id"] or "of one"
    if not status["is_founded"]:
        return f"node {status['node_id']} is in no group yet"
    leader = f"node {status['leader_id']} leads" if status["leader_id"] else "nobody leads"
    committed = f"committed up to {status['committed_index']}"
    return f"group {group}: {leader}, term {status['term']}, {committed}"


def member_row(status: Status, m: Status) -> tuple[str, ...]:
    is_self = m["node_id"] == status["reported_by"]
    role = "leader" if m["node_id"] == status["leader_id"] else "follower"
    if not m["is_alive"]:
        role = "unreachable"
    elif m["is_receiving"]:
        role = "gets an image"
    behind = status["committed_index"] - m["match_index"]
    is_known = bool(m["match_index"])
    return (
        str(m["node_id"]),
        role,
        m["kind"],
        m["client_address"] or "?",
        m["raft_address"] or "-",
        str(max(0, behind)) if is_known else "?",
        "-" if is_self else f"{m['lag_ms']} ms ago",
    )


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Return lines with columns below each other."""
    rows = [HEADERS, *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADERS))]
    return [
        "  ".join(
            cell.rjust(width) if name in RIGHT_ALIGNED else cell.ljust(width)
            for name, cell, width in zip(HEADERS, row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def quorum_line(status: Status) -> str:
    """Say how many voters may still fail."""
    voters = [m for m in status["members"] if m["kind"] in ("voter", "leaving")]
    alive = sum(m["is_alive"] for m in voters)
    needed = len(voters) // 2 + 1
    spare = alive - needed
    text = f"{alive} of {len(voters)} voters are there, {needed} are needed: "
    if spare < 0:
        return text + "nothing can be written or read"
    return text + (f"{spare} more may fail" if spare else "no more may fail")
