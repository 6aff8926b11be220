"""COMMAND and its subcommands: what the server says about its own commands."""

from collections.abc import Callable, Iterator
from typing import Any

from kvnode._core.glob import matches
from kvnode.base.errors import CommandError
from kvnode.commands.command_docs import write_docs
from kvnode.commands.context import CommandContext, ReplyWriter, ViewContext
from kvnode.commands.errors import error, syntax_error
from kvnode.commands.help import help_row
from kvnode.commands.keys import keys_and_flags
from kvnode.commands.row import CATEGORIES, UNORDERED, Handler, Key, Row


def all_commands(view: ViewContext) -> list[CommandContext]:
    """Return the top-level commands in the order of their names."""
    return sorted(view.node.commands.values(), key=lambda command: command.name)


def subcommands(command: CommandContext) -> list[CommandContext]:
    """Return the subcommands in the order of their names."""
    found = (command.subcommands or {}).values()
    return sorted(found, key=lambda subcommand: subcommand.name)


def find(view: ViewContext, name: bytes) -> CommandContext | None:
    """Return the command of this name, a subcommand as "config|get"."""
    container, bar, rest = name.upper().partition(b"|")
    command = view.node.commands.get(container)
    if command is None or not bar:
        return command
    return (command.subcommands or {}).get(rest)


def command_(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    commands = all_commands(view)
    reply.array(len(commands))
    for command in commands:
        write_info(reply, command)


def count(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.integer(len(view.node.commands))


def info(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    if len(args) == 2:
        command_(view, args, reply)
        return
    reply.array(len(args) - 2)
    for name in args[2:]:
        command = find(view, name)
        if command is None:
            reply.null()
        else:
            write_info(reply, command)


def write_info(reply: ReplyWriter, command: CommandContext) -> None:
    """Write the ten elements that describe a command."""
    row = command.row
    reply.array(10)
    reply.bulk(row.name.encode())
    reply.integer(row.arity)
    write_statuses(reply, row.flag_words)
    for number in row.key_range:
        reply.integer(number)
    write_statuses(reply, [f"@{category}" for category in row.categories])
    reply.set(len(row.tips))
    for tip in row.tips:
        reply.bulk(tip.encode())
    reply.set(len(row.keys))
    for key in row.keys:
        write_key_spec(reply, key)
    children = subcommands(command)
    reply.array(len(children))
    for child in children:
        write_info(reply, child)


def write_statuses(reply: ReplyWriter, words: list[str]) -> None:
    reply.set(len(words))
    for word in words:
        reply.simple(word.encode())


def write_key_spec(reply: ReplyWriter, key: Key) -> None:
    """Write how the keys of a command are found."""
    reply.map(4 if key.notes else 3)
    if key.notes:
        reply.bulk(b"notes")
        reply.bulk(key.notes.encode())
    reply.bulk(b"flags")
    write_statuses(reply, key.ordered_flags())
    if key.find is not None:
        write_step(reply, b"begin_search", b"unknown", ())
        write_step(reply, b"find_keys", b"unknown", ())
        return
    write_step(reply, b"begin_search", b"index", ((b"index", key.index),))
    if key.counted:
        places = ((b"keynumidx", 0), (b"firstkey", 1), (b"keystep", key.step))
        write_step(reply, b"find_keys", b"keynum", places)
    else:
        limits = ((b"lastkey", key.last), (b"keystep", key.step), (b"limit", 0))
        write_step(reply, b"find_keys", b"range", limits)


def write_step(
    reply: ReplyWriter, name: bytes, kind: bytes, spec: tuple[tuple[bytes, int], ...]
) -> None:
    reply.bulk(name)
    reply.map(2)
    reply.bulk(b"type")
    reply.bulk(kind)
    reply.bulk(b"spec")
    reply.map(len(spec))
    for key, value in spec:
        reply.bulk(key)
        reply.integer(value)


def list_(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    chosen: Callable[[Row], bool] = parse_filter(args)
    names = [row.name.encode() for row in every_row(view) if chosen(row)]
    reply.set(len(names))
    for name in names:
        reply.bulk(name)


def every_row(view: ViewContext) -> Iterator[Row]:
    """Yield the rows of all commands, each followed by those of its subcommands."""
    for command in all_commands(view):
        yield command.row
        for child in subcommands(command):
            yield child.row


def parse_filter(args: list[bytes]) -> Callable[[Row], bool]:
    """Return which rows the options of COMMAND LIST choose. Raises CommandError."""
    if len(args) == 2:
        return lambda row: "|" not in row.name
    if len(args) != 5 or args[2].upper() != b"FILTERBY":
        raise syntax_error()
    kind, value = args[3].upper(), args[4]
    if kind == b"MODULE":
        return lambda row: False
    if kind == b"ACLCAT":
        category = value.decode("latin-1").lower()
        return lambda row: category in CATEGORIES and category in row.categories
    if kind == b"PATTERN":
        return lambda row: matches(value, row.name.encode(), True)
    raise syntax_error()


def docs(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    if len(args) == 2:
        commands = all_commands(view)
    else:
        found = (find(view, name) for name in args[2:])
        commands = [command for command in found if command is not None]
    reply.map(len(commands))
    for command in commands:
        write_docs(reply, command.row, [child.row for child in subcommands(command)])


def called_row(view: ViewContext, args: list[bytes]) -> Row:
    """Return the row of a whole command in `args`, whose keys are asked for."""
    command = view.node.commands.get(args[0].upper())
    if command is not None and command.subcommands and len(args) > 1:
        command = command.subcommands.get(args[1].upper())
    if command is None:
        raise error("Invalid command specified")
    if not command.row.keys:
        raise error("The command has no key arguments")
    if not command.row.accepts(len(args)):
        raise error("Invalid number of arguments specified for command")
    return command.row


def getkeys(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    found = require_keys(view, args[2:])
    reply.bulks([key for key, _ in found])


def getkeysandflags(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    found = require_keys(view, args[2:])
    reply.array(len(found))
    for key, flags in found:
        reply.array(2)
        reply.bulk(key)
        write_statuses(reply, flags)


def require_keys(view: ViewContext, args: list[bytes]) -> list[tuple[bytes, list[str]]]:
    """Return keys and flags of the command in `args`. Raises CommandError."""
    found = keys_and_flags(called_row(view, args), args)
    if not found:
        raise CommandError(b"ERR Invalid arguments specified for command")
    return found


def sub(
    name: str, syntax: str, summary: str, since: str, arity: int, handler: Handler, **more: Any
) -> Row:
    """Return the row of a subcommand."""
    return Row(
        f"command|{name}",
        syntax,
        summary,
        since,
        arity,
        "server",
        "loading stale",
        acl="connection",
        handler=handler,
        **more,
    )


EACH_COMMAND = "O(N), N being the number of commands"
EACH_ARGUMENT = "O(N), N being the number of arguments"

SUBCOMMANDS = (
    sub("count", "", "Returns how many commands there are.", "2.8.13", 2, count),
    sub(
        "docs",
        "[command-name...]",
        "Returns the documentation of commands.",
        "7.0.0",
        -2,
        docs,
        complexity=EACH_COMMAND,
        tips=UNORDERED,
    ),
    sub(
        "getkeys",
        "command [arg...]",
        "Returns the keys in a whole command.",
        "2.8.13",
        -3,
        getkeys,
        complexity=EACH_ARGUMENT,
    ),
    sub(
        "getkeysandflags",
        "command [arg...]",
        "Returns the keys in a whole command and what it does with them.",
        "7.0.0",
        -3,
        getkeysandflags,
        complexity=EACH_ARGUMENT,
    ),
    help_row("command", "5.0.0", "server", acl="connection"),
    sub(
        "info",
        "[command-name...]",
        "Describes commands, all of them if none is named.",
        "2.8.13",
        -2,
        info,
        complexity=EACH_COMMAND,
        tips=UNORDERED,
        history=(("7.0.0", "Without names."),),
    ),
    sub(
        "list",
        "[FILTERBY filterby=<MODULE module-name | ACLCAT category | PATTERN pattern:pattern>]",
        "Returns the names of commands.",
        "7.0.0",
        -2,
        list_,
        complexity=EACH_COMMAND,
        tips=UNORDERED,
    ),
)

ROWS = (
    Row(
        "command",
        "",
        "Describes all commands.",
        "2.8.13",
        -1,
        "server",
        "loading stale",
        complexity=EACH_COMMAND,
        acl="connection",
        tips=UNORDERED,
        handler=command_,
        subcommands=SUBCOMMANDS,
    ),
)
