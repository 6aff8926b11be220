"""MEMORY: what the node's memory holds. MEMORY USAGE of one key is native."""

from kvnode.commands.context import ReplyWriter, ViewContext
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
    entries: list[tuple[bytes, int | float]] = [
        (b"peak.allocated", s.used_memory_peak),
        (b"total.allocated", s.used_memory),
        (b"startup.allocated", s.used_memory_startup),
        (b"replication.backlog", 0),
        (b"clients.slaves", 0),
        (b"clients.normal", s.used_memory_clients),
        (b"cluster.links", 0),
        (b"aof.buffer", s.log_unsynced_bytes),
        (b"lua.caches", 0),
        (b"functions.caches", 0),
        (b"overhead.total", overhead),
        (b"keys.count", keys),
        (b"keys.bytes-per-key", dataset // keys if keys else 0),
        (b"dataset.bytes", dataset),
        (b"dataset.percentage", percentage(dataset, s.used_memory - s.used_memory_startup)),
        (b"peak.percentage", percentage(s.used_memory, s.used_memory_peak)),
        (b"cache.bytes", s.tip_bytes),
        (b"cache.records", s.tip_records),
        (b"fragmentation", s.used_memory_rss / s.used_memory if s.used_memory else 0.0),
        (b"fragmentation.bytes", s.used_memory_rss - s.used_memory),
    ]
    reply.map(len(entries))
    for name, value in entries:
        reply.bulk(name)
        if isinstance(value, float):
            reply.double(value)
        else:
            reply.integer(value)


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
