"""KVNODE: the group as operators see it, and changes of it. `kvnode cluster` speaks it.

STATUS and RECOVER are about the node that is asked; the others have to be done by the leader. ONCE
is for clients: see _core/once.pxd.
"""

from collections.abc import Callable
from typing import Any

from kvnode.base.addresses import join_address
from kvnode.commands.context import WAITING, ReplyWriter, ViewContext
from kvnode.commands.errors import error, parse_integer, syntax_error
from kvnode.commands.fields import Field, write_fields
from kvnode.commands.group import (
    NO_NODE,
    ChangeRefused,
    Done,
    GroupMember,
    GroupStatus,
)
from kvnode.commands.group_words import NO_ADDRESS, client_address, find_address
from kvnode.commands.help import help_row
from kvnode.commands.row import RANDOM, Handler, Row
from kvnode.raft.membership import Change, Demote, Promote, Remove

SINCE = "0.1.0"  # of kvnode


# -- STATUS -------------------------------------------------------------------------------------


def status(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    known = view.node.group.status()
    fields = describe_group(known)
    reply.map(len(fields) + 1)
    write_fields(reply, fields)
    reply.bulk(b"members")
    reply.array(len(known.members))
    for member in known.members:
        described = describe_member(view, known, member)
        reply.map(len(described))
        write_fields(reply, described)


def describe_group(known: GroupStatus) -> list[Field]:
    """Return what STATUS says of the group; booleans are 0 and 1."""
    return [
        ("node_id", known.node_id),
        ("role", known.role.value),
        ("term", known.term),
        ("leader_id", known.leader_id),
        ("group_id", known.group_id.hex()),
        ("is_networked", known.is_networked),
        ("is_founded", known.is_founded),
        ("is_joint", known.is_joint),
        ("is_transferring", known.is_transferring),
        ("last_term", known.last_term),
        ("last_index", known.last_index),
        ("committed_index", known.committed_index),
        ("applied_index", known.applied_index),
    ]


def describe_member(view: ViewContext, known: GroupStatus, member: GroupMember) -> list[Field]:
    """Return what STATUS says of a member; addresses are empty where they are not known."""
    address = client_address(view, known, member)
    return [
        ("node_id", member.node_id),
        ("kind", member.kind.value),
        ("raft_address", member.raft_address),
        ("client_address", "" if address == NO_ADDRESS else join_address(*address)),
        ("identity", member.identity.hex()),
        ("is_alive", member.is_alive),
        ("is_receiving", member.is_receiving),
        ("match_index", member.match_index),
        ("lag_ms", member.lag_ms),
    ]


# -- changes ------------------------------------------------------------------------------------


def parse_node_id(data: bytes) -> int:
    return parse_integer(data, "a node id is a number from 1 on", 1)


def parse_raft_address(data: bytes) -> str:
    """Return a Raft address as text. Raises CommandError unless it is "host:port"."""
    text = data.decode("utf-8", "replace")
    if find_address(text) == NO_ADDRESS:
        raise error("an address is HOST:PORT, that of the node's Raft listener")
    return text


def answer_when_done(view: ViewContext, begin: Callable[[Done], None]) -> int:
    """Begin a change, and answer OK or why not when it is done."""
    node, session = view.node, view.session

    def write(reply: ReplyWriter, reason: str | None) -> None:
        if reason is None:
            reply.ok()
        else:
            reply.error(f"ERR {reason}".encode())

    def done(reason: str | None) -> None:
        node.answer(session, lambda reply: write(reply, reason))

    try:
        begin(done)
    except ChangeRefused as refusal:
        raise error(str(refusal)) from None
    return WAITING


def add(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> int:
    node_id, address = parse_node_id(args[2]), parse_raft_address(args[3])
    if len(args) > 5 or (len(args) == 5 and args[4].upper() != b"LEARNER"):
        raise syntax_error()
    group = view.node.group
    return answer_when_done(
        view, lambda done: group.add(node_id, address, promote=len(args) == 4, done=done)
    )


def changer(make: Callable[[int], Change]) -> Handler:
    """Return the handler of a change that names one member."""

    def handler(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> int:
        wanted = make(parse_node_id(args[2]))
        return answer_when_done(view, lambda done: view.node.group.change(wanted, done))

    return handler


def transfer(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> int:
    if len(args) > 3:
        raise syntax_error()
    target = parse_node_id(args[2]) if len(args) == 3 else NO_NODE
    return answer_when_done(view, lambda done: view.node.group.transfer(target, done))


def recover(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> int:
    """The word guards against a slip: what only the others have acknowledged is lost by this."""
    if args[2].upper() != b"ALONE":
        raise syntax_error()
    return answer_when_done(view, view.node.group.force_alone)


def sub(name: str, handler: Handler, syntax: str, summary: str, arity: int, **more: Any) -> Row:
    """Return the row of a subcommand."""
    flags = "admin noscript loading stale no_multi"
    return Row(
        f"kvnode|{name}", syntax, summary, SINCE, arity, "cluster", flags, handler=handler, **more
    )


ROWS = (
    Row(
        "kvnode",
        "",
        "Shows and changes the group of nodes.",
        SINCE,
        -2,
        "cluster",
        complexity="Depends on the subcommand",
        subcommands=(
            sub(
                "add",
                add,
                "node-id:integer raft-address [LEARNER]",
                "Adds the node that listens there: it gets the data and becomes a voter in time, "
                "with LEARNER not.",
                -4,
            ),
            sub("demote", changer(Demote), "node-id:integer", "Makes a voter a learner.", 3),
            help_row("kvnode", SINCE, "cluster"),
            Row(
                "kvnode|once",
                "request-id:string command:string [arg:string...]",
                "Runs a command that writes, unless this was done under the same id before: then "
                "it answers as it did.",
                SINCE,
                -4,
                "cluster",
                "write noscript no_multi",
                complexity="That of the command",
                native="kvnode_once",
            ),
            sub(
                "promote",
                changer(Promote),
                "node-id:integer",
                "Makes a learner a voter as soon as it has caught up.",
                3,
            ),
            sub(
                "recover",
                recover,
                "ALONE",
                "Makes this node a group of one. What only the others have acknowledged is lost.",
                3,
            ),
            sub("remove", changer(Remove), "node-id:integer", "Takes a member out.", 3),
            sub("status", status, "", "Describes the group as this node knows it.", 2, tips=RANDOM),
            sub(
                "transfer",
                transfer,
                "[node-id:integer]",
                "Hands leadership to a voter, the given one or the best.",
                -2,
            ),
        ),
    ),
)
