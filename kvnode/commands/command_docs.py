"""COMMAND DOCS: the table as a tree of maps."""

from kvnode.commands import syntax
from kvnode.commands.context import ReplyWriter
from kvnode.commands.row import Row


def write_docs(reply: ReplyWriter, row: Row, children: list[Row]) -> None:
    """Write name and documentation of a command; `children`: rows of its subcommands."""
    arguments = syntax.parse(row.syntax)
    doc_flags = list(row.doc_flags)
    if row.deprecated is not None:
        doc_flags.insert(0, "deprecated")
    optional = (doc_flags, row.deprecated, row.deprecated, row.history, arguments, children)
    reply.bulk(row.name.encode())
    reply.map(4 + sum(1 for part in optional if part))
    write_text(reply, "summary", row.summary)
    write_text(reply, "since", row.since)
    write_text(reply, "group", row.group)
    write_text(reply, "complexity", row.complexity)
    if doc_flags:
        write_flags(reply, "doc_flags", doc_flags)
    if row.deprecated is not None:
        write_text(reply, "deprecated_since", row.deprecated[0])
        write_text(reply, "replaced_by", row.deprecated[1])
    if row.history:
        reply.bulk(b"history")
        reply.set(len(row.history))
        for version, change in row.history:
            reply.array(2)
            reply.bulk(version.encode())
            reply.bulk(change.encode())
    if arguments:
        write_arguments(reply, arguments)
    if children:
        reply.bulk(b"subcommands")
        reply.map(len(children))
        for child in children:
            write_docs(reply, child, [])


def write_arguments(reply: ReplyWriter, arguments: tuple[syntax.Argument, ...]) -> None:
    """Write a list of arguments and, below them, theirs."""
    reply.bulk(b"arguments")
    reply.array(len(arguments))
    for argument in arguments:
        write_argument(reply, argument)


def write_argument(reply: ReplyWriter, argument: syntax.Argument) -> None:
    is_group = argument.type in ("oneof", "block")
    parts = [("name", argument.name), ("type", argument.type)]
    if not is_group:
        parts.append(("display_text", argument.name))
    has_key = argument.key_spec >= 0
    optional = (
        ("token", argument.token),
        ("since", argument.since),
        ("deprecated_since", argument.deprecated_since),
    )
    tail = [(name, value) for name, value in optional if value]
    reply.map(len(parts) + has_key + len(tail) + bool(argument.flags) + is_group)
    for name, value in parts:
        write_text(reply, name, value)
    if has_key:
        reply.bulk(b"key_spec_index")
        reply.integer(argument.key_spec)
    for name, value in tail:
        write_text(reply, name, value)
    if argument.flags:
        write_flags(reply, "flags", argument.flags)
    if is_group:
        write_arguments(reply, argument.arguments)


def write_text(reply: ReplyWriter, name: str, value: str) -> None:
    reply.bulk(name.encode())
    reply.bulk(value.encode())


def write_flags(reply: ReplyWriter, name: str, flags: list[str]) -> None:
    reply.bulk(name.encode())
    reply.set(len(flags))
    for flag in flags:
        reply.simple(flag.encode())
