"""SLOWLOG: the latest commands that took longer than slowlog-log-slower-than."""

from collections import deque
from dataclasses import dataclass
from itertools import islice

from kvnode.base.limits import (
    SLOWLOG_ARGUMENT_BYTES_MAX,
    SLOWLOG_ARGUMENTS_MAX,
    SLOWLOG_REPLY_DEFAULT,
)
from kvnode.commands.context import ReplyWriter, ViewContext
from kvnode.commands.errors import parse_integer, subcommand_error
from kvnode.commands.help import help_row
from kvnode.commands.redact import redact
from kvnode.commands.row import Row

BAD_COUNT = "count should be greater than or equal to -1"
NEVER_LOGGED = b"EXEC"  # the commands inside are logged themselves


@dataclass(frozen=True, slots=True)
class SlowCommand:
    """One slow command. at_s: Unix time.   args: shortened, without secrets."""

    id: int
    at_s: int
    microseconds: int
    args: list[bytes]
    addr: bytes
    name: bytes


class Slowlog:
    """The log. Ids grow and are not used again after clear()."""

    def __init__(self, entries_max: int) -> None:
        self._entries: deque[SlowCommand] = deque(maxlen=entries_max)
        self._next_id = 0

    def __len__(self) -> int:
        return len(self._entries)

    def resize(self, entries_max: int) -> None:
        """Keep so many entries from now on (slowlog-max-len)."""
        self._entries = deque(islice(self._entries, entries_max), maxlen=entries_max)

    def add(
        self, args: list[bytes], microseconds: int, now_ms: int, *, addr: bytes, name: bytes
    ) -> None:
        """Note a slow command of the client at `addr` whose name is `name`."""
        if args[0].upper() == NEVER_LOGGED:
            return
        shown = shorten(redact(args))
        entry = SlowCommand(self._next_id, now_ms // 1000, microseconds, shown, addr, name)
        self._next_id += 1
        self._entries.appendleft(entry)

    def newest(self, count: int) -> list[SlowCommand]:
        """Return up to `count` entries, the newest first; -1 = all."""
        return list(self._entries if count < 0 else islice(self._entries, count))

    def clear(self) -> None:
        """Forget all entries."""
        self._entries.clear()


def shorten(args: list[bytes]) -> list[bytes]:
    """Return `args` cut to what the log keeps, as Redis writes it."""
    kept = args
    if len(args) > SLOWLOG_ARGUMENTS_MAX:
        kept = args[: SLOWLOG_ARGUMENTS_MAX - 1]
    shown = [
        argument
        if len(argument) <= SLOWLOG_ARGUMENT_BYTES_MAX
        else argument[:SLOWLOG_ARGUMENT_BYTES_MAX]
        + b"... (%d more bytes)" % (len(argument) - SLOWLOG_ARGUMENT_BYTES_MAX)
        for argument in kept
    ]
    if kept is not args:
        shown.append(b"... (%d more arguments)" % (len(args) - len(kept)))
    return shown


def get(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    if len(args) > 3:
        raise subcommand_error(args)
    count = SLOWLOG_REPLY_DEFAULT
    if len(args) == 3:
        count = parse_integer(args[2], BAD_COUNT, -1)
    entries = view.node.slowlog.newest(count)
    reply.array(len(entries))
    for entry in entries:
        reply.array(6)
        reply.integer(entry.id)
        reply.integer(entry.at_s)
        reply.integer(entry.microseconds)
        reply.bulks(entry.args)
        reply.bulk(entry.addr)
        reply.bulk(entry.name)


def length(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.integer(len(view.node.slowlog))


def clear(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    view.node.slowlog.clear()
    reply.ok()


ADMIN = "admin loading stale"

SUBCOMMANDS = (
    Row(
        "slowlog|get",
        "[count:integer]",
        "Returns slow commands, the latest first; -1 for all of them.",
        "2.2.12",
        -2,
        "server",
        ADMIN,
        complexity="O(N), N being the number of entries returned",
        tips=("request_policy:all_nodes", "nondeterministic_output"),
        handler=get,
        history=(("4.0.0", "Address and name of the client."),),
    ),
    help_row("slowlog", "6.2.0", "server"),
    Row(
        "slowlog|len",
        "",
        "Returns how many slow commands are kept.",
        "2.2.12",
        2,
        "server",
        ADMIN,
        tips=("request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"),
        handler=length,
    ),
    Row(
        "slowlog|reset",
        "",
        "Forgets the slow commands.",
        "2.2.12",
        2,
        "server",
        ADMIN,
        complexity="O(N), N being the number of entries",
        tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
        handler=clear,
    ),
)

ROWS = (
    Row(
        "slowlog",
        "",
        "Looks at commands that took long.",
        "2.2.12",
        -2,
        "server",
        complexity="Depends on the subcommand",
        subcommands=SUBCOMMANDS,
    ),
)
