"""MEMORY: what the node's memory holds. MEMORY USAGE of one key is native."""

from kvnode.commands.context import ReplyWriter, ViewContext
from kvnode.commands.fields import Field, write_fields
from kvnode.commands.help import help_row
from kvnode.commands.row import Key, Row

ALL_SHARDS = (
    "nondeterministic_output",
    "request_policy:all_shards",
    "response_policy:special",
)


def stats(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    s = view.node.statistics()
    keys = sum(count for count, _, _ in s.databases.values())
    dataset = max(0, s.used_memory - s.used_memory_startup - s.used_memory_clients)
    overhead = s.used_memory - dataset
    fields: list[Field] = [
        ("peak.allocated", s.used_memory_peak),
        ("total.allocated", s.used_memory),
        ("startup.allocated", s.used_memory_startup),
        ("replication.backlog", 0),
        ("clients.slaves", 0),
        ("clients.normal", s.used_memory_clients),
        ("cluster.links", 0),
        ("aof.buffer", s.log_unsynced_bytes),
        ("lua.caches", 0),
        ("functions.caches", 0),
        ("overhead.total", overhead),
        ("keys.count", keys),
        ("keys.bytes-per-key", dataset // keys if keys else 0),
        ("dataset.bytes", dataset),
        ("dataset.percentage", percentage(dataset, s.used_memory - s.used_memory_startup)),
        ("peak.percentage", percentage(s.used_memory, s.used_memory_peak)),
        ("cache.bytes", s.tip_bytes),
        ("cache.records", s.tip_records),
        ("fragmentation", s.used_memory_rss / s.used_memory if s.used_memory else 0.0),
        ("fragmentation.bytes", s.used_memory_rss - s.used_memory),
    ]
    reply.map(len(fields))
    write_fields(reply, fields)


def percentage(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole > 0 else 0.0


def doctor(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    s = view.node.statistics()
    limit = view.node.config["maxmemory"]
    text = (
        f"The cache holds {s.tip_records} records in {s.tip_bytes} bytes; maxmemory allows "
        f"{limit}. The process occupies {s.used_memory_rss} bytes. The data itself is on disk: "
        f"a full cache costs reads, never data.\n"
    )
    reply.verbatim(text.encode())


def purge(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    view.node.release_memory()
    reply.ok()


def malloc_stats(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.verbatim(view.node.describe_memory().encode())


SUBCOMMANDS = (
    Row(
        "memory|doctor",
        "",
        "Tells in words how memory is used.",
        "4.0.0",
        2,
        "server",
        tips=ALL_SHARDS,
        handler=doctor,
    ),
    help_row("memory", "4.0.0", "server"),
    Row(
        "memory|malloc-stats",
        "",
        "Returns the allocator's own statistics.",
        "4.0.0",
        2,
        "server",
        tips=ALL_SHARDS,
        handler=malloc_stats,
    ),
    Row(
        "memory|purge",
        "",
        "Gives free memory back to the system.",
        "4.0.0",
        2,
        "server",
        tips=("request_policy:all_shards", "response_policy:all_succeeded"),
        handler=purge,
    ),
    Row(
        "memory|stats",
        "",
        "Returns how much memory is used for what.",
        "4.0.0",
        2,
        "server",
        tips=ALL_SHARDS,
        handler=stats,
    ),
    Row(
        "memory|usage",
        "key:key [SAMPLES count:integer]",
        "Returns how many bytes a key and its value take in memory.",
        "4.0.0",
        -3,
        "server",
        "readonly",
        keys=(Key("RO", index=2),),
        complexity="O(1)",
        native="memory|usage",
    ),
)

ROWS = (
    Row(
        "memory",
        "",
        "Looks at the use of memory.",
        "4.0.0",
        -2,
        "server",
        complexity="Depends on the subcommand",
        subcommands=SUBCOMMANDS,
    ),
)
