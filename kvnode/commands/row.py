"""Row: everything that is known about one command, as the table holds it.

COMMAND, COMMAND DOCS, the ACL categories, key extraction and docs/COMMANDS.md are made from rows.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# Flags in the order in which COMMAND INFO lists them.
FLAGS = (
    "write",
    "readonly",
    "denyoom",
    "admin",
    "pubsub",
    "noscript",
    "blocking",
    "loading",
    "stale",
    "skip_monitor",
    "skip_slowlog",
    "asking",
    "fast",
    "no_auth",
    "may_replicate",
    "no_mandatory_keys",
    "no_async_loading",
    "no_multi",
    "movablekeys",
    "allow_busy",
)

# What dispatch and forwarding act on: the bits of CommandFlag in _core/dispatch.pxd, and of
# PlaceFlag in _core/forwarding.pxd.
FLAG_BITS = {
    "write": 1,
    "readonly": 2,
    "denyoom": 4,
    "admin": 8,
    "noscript": 16,
    "loading": 32,
    "stale": 64,
    "fast": 128,
    "no_auth": 256,
    "no_multi": 512,
    "allow_busy": 1024,
    "no_queue": 2048,
    "blocking": 4096,
    "may_replicate": 8192,
    "local": 16384,
    "anywhere": 32768,
    "in_pubsub": 65536,
    "subscribes": 131072,
}

CATEGORIES = (
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
)

# The category that a group's commands have of themselves.
GROUP_CATEGORY = {
    "string": "string",
    "list": "list",
    "hash": "hash",
    "set": "set",
    "sorted-set": "sortedset",
    "generic": "keyspace",
    "transactions": "transaction",
    "scripting": "scripting",
    "connection": "connection",
}

KEY_FLAGS = (
    "RO",
    "RW",
    "OW",
    "RM",
    "access",
    "update",
    "insert",
    "delete",
    "not_key",
    "incomplete",
    "variable_flags",
)

# Commands that act at once between MULTI and EXEC instead of being queued.
NEVER_QUEUED = frozenset({"multi", "exec", "discard", "watch", "quit", "reset"})

# Commands that run commands of their own choice, which may write.
RUN_COMMANDS = frozenset({"eval", "evalsha", "fcall"})

# Commands about a node or a connection, with their subcommands: they run on the node that got them.
LOCAL = frozenset(
    {
        "acl",
        "asking",
        "auth",
        "bgrewriteaof",
        "bgsave",
        "client",
        "cluster",
        "config",
        "debug",
        "failover",
        "hello",
        "info",
        "kvnode|help",
        "kvnode|recover",
        "kvnode|status",
        "lastsave",
        "latency",
        "memory|doctor",
        "memory|help",
        "memory|malloc-stats",
        "memory|purge",
        "memory|stats",
        "module",
        "quit",
        "readonly",
        "readwrite",
        "replicaof",
        "reset",
        "role",
        "save",
        "sentinel",
        "shutdown",
        "slaveof",
        "slowlog",
    }
)

# Of these, what is about sessions that wait at the leader.
AT_LEADER = frozenset({"client|unblock"})

# Commands that answer the same on each node, with their subcommands.
ANYWHERE = frozenset({"command", "echo", "ping"})

# Commands that have effects beside writes: a pause of writes concerns them, and no script that may
# not write calls them.
HAVE_EFFECTS = RUN_COMMANDS | {"publish", "spublish"}

# Commands that change what a client is subscribed to, and what else one may call in RESP2 that is.
SUBSCRIBING = frozenset(
    {"subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ssubscribe", "sunsubscribe"}
)
FOR_SUBSCRIBERS = SUBSCRIBING | {"ping", "quit", "reset"}

COUNT = re.compile(rb"[1-9][0-9]*")  # a number of keys

Handler = Callable[..., object]  # handler(view, args, reply), see context.py


@dataclass(frozen=True, slots=True)
class Key:
    """Where a command's keys lie.

    flags: words of KEY_FLAGS.   index: of the first key.   last: of the last key, relative to
    `index`, or negative to count from the end.   counted: the argument at `index` says how many
    keys follow it ("numkeys"); `last` means nothing then.   find: returns the positions in the
    arguments, where only the command itself knows; the others mean nothing then.
    variable: flags of a given call.
    """

    flags: str
    index: int = 1
    last: int = 0
    step: int = 1
    notes: str = ""
    variable: Callable[[Sequence[bytes]], str] | None = None
    counted: bool = False
    find: Callable[[Sequence[bytes]], range] | None = None

    def positions(self, args: Sequence[bytes]) -> range:
        """Return the positions of the keys in `args`, the command's name included.

        None of them when the call states a wrong number of keys.
        """
        if self.find is not None:
            return self.find(args)
        if self.counted:
            return self._counted_positions(args)
        last = len(args) + self.last if self.last < 0 else self.index + self.last
        return range(self.index, min(last, len(args) - 1) + 1, self.step)

    def _counted_positions(self, args: Sequence[bytes]) -> range:
        first = self.index + 1
        room = len(range(first, len(args), self.step))
        text = args[self.index] if self.index < len(args) else b""
        # As many digits as the room has: a longer number is too large, and not worth parsing.
        if not COUNT.fullmatch(text) or len(text) > len(str(room)) or int(text) > room:
            return range(0)
        return range(first, first + int(text) * self.step, self.step)

    @property
    def is_movable(self) -> bool:
        """Whether the positions depend on the arguments, and not on their number alone."""
        return self.counted or self.find is not None

    def ordered_flags(self) -> list[str]:
        """Return the flags in the order of COMMAND INFO."""
        words = self.flags.split()
        if self.variable is not None:
            words.append("variable_flags")
        return sorted(words, key=KEY_FLAGS.index)


@dataclass(frozen=True, slots=True)
class Row:
    """One command or subcommand.

    name: lower case, a subcommand as "config|get".   arity: number of arguments with the name;
    negative = at least.   acl: categories beside those that follow from flags; None: the group's.
    syntax: see syntax.py.   native: name of its handler in the native core; else `handler`.
    history: (version, what came).   deprecated: (version, what replaces it).
    """

    name: str
    syntax: str
    summary: str
    since: str
    arity: int
    group: str
    flags: str = ""
    keys: tuple[Key, ...] = ()
    complexity: str = "O(1)"
    acl: str | None = None
    tips: tuple[str, ...] = ()
    handler: Handler | None = None
    native: str | None = None
    subcommands: tuple["Row", ...] = ()
    history: tuple[tuple[str, str], ...] = ()
    deprecated: tuple[str, str] | None = None
    doc_flags: tuple[str, ...] = ()

    @property
    def flag_words(self) -> list[str]:
        """Flags in the order of COMMAND INFO."""
        words = self.flags.split()
        if any(key.is_movable for key in self.keys):
            words.append("movablekeys")
        return sorted(words, key=FLAGS.index)

    @property
    def flag_bits(self) -> int:
        """Flags as dispatch wants them."""
        words = self.flags.split()
        if self.name in NEVER_QUEUED:
            words.append("no_queue")
        if self.name in HAVE_EFFECTS:
            words.append("may_replicate")
        if self.place:
            words.append(self.place)
        if self.name in FOR_SUBSCRIBERS:
            words.append("in_pubsub")
        if self.name in SUBSCRIBING:
            words.append("subscribes")
        return sum(FLAG_BITS.get(word, 0) for word in words)

    @property
    def place(self) -> str:
        """Return where a client of a follower runs it: "local", "anywhere"; "": at the leader."""
        names = {self.name, self.name.partition("|")[0]}
        if names & LOCAL and self.name not in AT_LEADER:
            return "local"
        return "anywhere" if names & ANYWHERE else ""

    @property
    def categories(self) -> list[str]:
        """ACL categories, without "@", in the order of COMMAND INFO."""
        flags = set(self.flags.split())
        if self.acl is None:
            own = {GROUP_CATEGORY.get(self.group, "")} if not self.subcommands else set()
        else:
            own = set(self.acl.split())
        if "write" in flags:
            own.add("write")
        if "readonly" in flags and "scripting" not in own:
            own.add("read")
        if "admin" in flags:
            own |= {"admin", "dangerous"}
        own |= flags & {"pubsub", "blocking"}
        own.add("fast" if "fast" in flags else "slow")
        return [category for category in CATEGORIES if category in own]

    @property
    def key_range(self) -> tuple[int, int, int]:
        """First key, last key and step, the older and coarser form of `keys`.

        It knows nothing of keys whose positions depend on arguments.
        """
        keys = [key for key in self.keys if not key.is_movable]
        if not keys:
            return 0, 0, 0
        lasts = [key.last if key.last < 0 else key.index + key.last for key in keys]
        last = min(lasts) if min(lasts) < 0 else max(lasts)
        return keys[0].index, last, keys[0].step

    @property
    def title(self) -> str:
        """Name as people write it, for example "CONFIG GET"."""
        return self.name.replace("|", " ").upper()

    def accepts(self, count: int) -> bool:
        """Return whether a call with `count` arguments, the name included, has the right arity."""
        return count == self.arity if self.arity > 0 else count >= -self.arity


# Keys and tips that many rows have.
READ = (Key("RO access"),)
READ_ALL = (Key("RO access", last=-1),)
EXISTENCE = (Key("RO"),)
UNORDERED = ("nondeterministic_output_order",)
RANDOM = ("nondeterministic_output",)


def native_row(
    name: str,
    syntax: str,
    arity: int,
    flags: str,
    keys: tuple[Key, ...],
    since: str,
    summary: str,
    *,
    group: str,
    **more: Any,
) -> Row:
    """Return a row whose handler is native and has its name."""
    return Row(name, syntax, summary, since, arity, group, flags, keys, native=name, **more)
