"""The table of all commands, made of the rows that stand beside their handlers."""

from collections.abc import Mapping

from kvnode._core.dispatch import Command, NativeHandler
from kvnode.base.errors import InvariantError
from kvnode.commands import (
    acl,
    administration,
    client,
    cluster,
    command,
    config,
    connection,
    debug,
    functions,
    generic,
    hashes,
    latency,
    lists,
    memory,
    persistence,
    pubsub,
    replication,
    scripting,
    sentinel,
    server,
    sets,
    slowlog,
    sort,
    sorted_sets,
    strings,
    transactions,
)
from kvnode.commands.row import Row

ROWS: tuple[Row, ...] = tuple(
    sorted(
        (
            *strings.ROWS,
            *hashes.ROWS,
            *sets.ROWS,
            *sorted_sets.ROWS,
            *lists.ROWS,
            *generic.ROWS,
            *sort.ROWS,
            *transactions.ROWS,
            *connection.ROWS,
            *client.ROWS,
            *command.ROWS,
            *config.ROWS,
            *server.ROWS,
            *persistence.ROWS,
            *pubsub.ROWS,
            *scripting.ROWS,
            *functions.ROWS,
            *slowlog.ROWS,
            *memory.ROWS,
            *latency.ROWS,
            *debug.ROWS,
            *acl.ROWS,
            *cluster.ROWS,
            *replication.ROWS,
            *sentinel.ROWS,
            *administration.ROWS,
        ),
        key=lambda row: row.name,
    )
)


def build(native_handlers: Mapping[str, NativeHandler]) -> list[Command]:
    """Return the commands that dispatch runs.

    native_handlers: the HANDLERS of the native modules, by row name. A row whose native handler is
    missing is left out: clients see an unknown command.
    """
    commands = [command for row in ROWS if (command := _command(row, native_handlers))]
    names = {command.name for command in commands}
    if len(names) != len(commands):
        raise InvariantError("two rows of the command table have one name")
    return commands


def built_rows(native_handlers: Mapping[str, NativeHandler]) -> list[Row]:
    """Return the rows of what `build` returns, each followed by those of its subcommands."""
    rows = []
    for built in build(native_handlers):
        rows.append(built.row)
        rows += [subcommand.row for subcommand in (built.subcommands or {}).values()]
    return rows


def _command(row: Row, native_handlers: Mapping[str, NativeHandler]) -> Command | None:
    handler: object = row.handler
    if row.native is not None:
        handler = native_handlers.get(row.native)
        if handler is None:
            return None
    subcommands = None
    if row.subcommands:
        subcommands = {}
        for subrow in row.subcommands:
            subcommand = _command(subrow, native_handlers)
            if subcommand is not None:
                subcommands[subrow.name.partition("|")[2].upper().encode()] = subcommand
    return Command(
        row.name.encode(), row.arity, row.flag_bits, row.key_range, handler, row, subcommands
    )
