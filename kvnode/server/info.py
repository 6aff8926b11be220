"""INFO: each section as text, with Redis's names of sections and fields.

Fields about what kvnode does not have (forks, replication backlog) are there with the
value that says so, since monitoring expects them. The section "kvnode" holds what is our own.
"""

import os
import platform
import sys
from collections.abc import Callable, Iterator
from typing import Any

from kvnode.commands.client_list import is_subscribed
from kvnode.commands.context import REDIS_VERSION, CommandContext, NodeContext, ViewContext
from kvnode.commands.group_words import redis_mode
from kvnode.commands.pubsub import CHANNELS, PATTERNS, SHARD_CHANNELS
from kvnode.server.info_group import replication_fields

UNITS = ((1 << 50, "P"), (1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K"))
SECONDS_PER_DAY = 86400
LRU_CLOCK_MASK = (1 << 24) - 1

Field = tuple[str, Any]


def human(count: int) -> str:
    """Return a number of bytes as people read it: 1.50M."""
    for size, unit in UNITS:
        if count >= size:
            return f"{count / size:.2f}{unit}"
    return f"{count}B"


def section(title: str, fields: list[Field]) -> str:
    """Return the text of a section."""
    lines = [f"# {title}", *(f"{name}:{value}" for name, value in fields)]
    return "".join(f"{line}\r\n" for line in lines)


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def percent(part: float, whole: float) -> str:
    return f"{100 * ratio(part, whole):.2f}%"


def server(view: ViewContext) -> str:
    node, now_ms = view.node, view.now_ms
    uptime_s = max(0, now_ms - node.started_ms) // 1000
    system = os.uname()
    file = getattr(node.config, "file", None)
    return section(
        "Server",
        [
            ("redis_version", REDIS_VERSION),
            ("redis_git_sha1", "00000000"),
            ("redis_git_dirty", 0),
            ("redis_build_id", node.run_id[:16]),
            ("redis_mode", redis_mode(view)),
            ("server_name", "kvnode"),
            ("kvnode_version", node.kvnode_version),
            ("os", f"{system.sysname} {system.release} {system.machine}"),
            ("arch_bits", 64),
            ("monotonic_clock", "POSIX clock_gettime"),
            ("multiplexing_api", "epoll"),
            ("atomicvar_api", "c11-builtin"),
            ("gcc_version", platform.python_compiler().removeprefix("GCC ")),
            ("python_version", platform.python_version()),
            ("process_id", os.getpid()),
            ("process_supervised", "no"),
            ("run_id", node.run_id),
            ("tcp_port", node.config["port"]),
            ("server_time_usec", now_ms * 1000),
            ("uptime_in_seconds", uptime_s),
            ("uptime_in_days", uptime_s // SECONDS_PER_DAY),
            ("hz", node.config["hz"]),
            ("configured_hz", node.config["hz"]),
            ("lru_clock", now_ms // 1000 & LRU_CLOCK_MASK),
            ("executable", sys.executable),
            ("config_file", file or ""),
            ("io_threads_active", 0),
        ],
    )


def clients(view: ViewContext) -> str:
    node = view.node
    s = node.statistics()
    sessions = list(node.sessions())
    return section(
        "Clients",
        [
            ("connected_clients", len(sessions)),
            ("cluster_connections", 0),
            ("maxclients", node.config["maxclients"]),
            ("client_recent_max_input_buffer", max((c.input_bytes for c in sessions), default=0)),
            ("client_recent_max_output_buffer", max((c.output_bytes for c in sessions), default=0)),
            ("blocked_clients", s.blocked_clients),
            ("tracking_clients", 0),
            ("pubsub_clients", sum(map(is_subscribed, sessions))),
            ("watching_clients", s.watching_clients),
            ("clients_in_timeout_table", s.timed_clients),
            ("total_watched_keys", s.watched_keys),
            ("total_blocking_keys", s.blocking_keys),
            ("total_blocking_keys_on_nokey", 0),
            ("paused_reason", s.paused_reason),
            ("paused_actions", s.paused_actions),
            ("paused_timeout_milliseconds", s.paused_left_ms),
        ],
    )


def memory(view: ViewContext) -> str:
    node = view.node
    s = node.statistics()
    limit = node.config["maxmemory"]
    overhead = s.used_memory_startup + s.used_memory_clients
    dataset = max(0, s.used_memory - overhead)
    fields: list[Field] = []
    for name, value in (
        ("used_memory", s.used_memory),
        ("used_memory_rss", s.used_memory_rss),
        ("used_memory_peak", s.used_memory_peak),
    ):
        fields += [(name, value), (f"{name}_human", human(value))]
    fields += [
        ("used_memory_peak_perc", percent(s.used_memory, s.used_memory_peak)),
        ("used_memory_overhead", overhead),
        ("used_memory_startup", s.used_memory_startup),
        ("used_memory_dataset", dataset),
        ("used_memory_dataset_perc", percent(dataset, s.used_memory - s.used_memory_startup)),
        ("total_system_memory", s.total_system_memory),
        ("total_system_memory_human", human(s.total_system_memory)),
    ]
    scripts = view.scripts
    vm, cached = scripts.here.memory_used + scripts.beside.memory_used, scripts.cache.bytes
    for name, value in (
        ("used_memory_lua", vm),
        ("used_memory_vm_total", vm),
        ("used_memory_scripts", cached),
    ):
        fields += [(name, value), (f"{name}_human", human(value))]
    fields += [
        ("used_memory_vm_eval", vm),
        ("used_memory_vm_functions", 0),
        ("used_memory_scripts_eval", cached),
        ("used_memory_functions", 0),
        ("number_of_cached_scripts", scripts.cache.count),
        ("number_of_functions", scripts.functions.count),
        ("number_of_libraries", len(scripts.functions.libraries)),
        ("maxmemory", limit),
        ("maxmemory_human", human(limit)),
        ("maxmemory_policy", node.config["maxmemory-policy"]),
        ("allocator_allocated", s.used_memory),
        ("allocator_active", s.used_memory_rss),
        ("allocator_resident", s.used_memory_rss),
        ("allocator_frag_ratio", "1.00"),
        ("allocator_frag_bytes", 0),
        ("allocator_rss_ratio", "1.00"),
        ("allocator_rss_bytes", 0),
        ("rss_overhead_ratio", "1.00"),
        ("rss_overhead_bytes", 0),
        ("mem_fragmentation_ratio", f"{ratio(s.used_memory_rss, s.used_memory):.2f}"),
        ("mem_fragmentation_bytes", s.used_memory_rss - s.used_memory),
        ("mem_not_counted_for_evict", 0),
        ("mem_replication_backlog", 0),
        ("mem_total_replication_buffers", 0),
        ("mem_clients_slaves", 0),
        ("mem_clients_normal", s.used_memory_clients),
        ("mem_cluster_links", 0),
        ("mem_aof_buffer", s.log_unsynced_bytes),
        ("mem_allocator", "libc"),
        ("active_defrag_running", 0),
        ("lazyfree_pending_objects", 0),
        ("lazyfreed_objects", 0),
    ]
    return section("Memory", fields)


def persistence(view: ViewContext) -> str:
    s = view.node.statistics()
    status = "ok" if s.checkpoint_last_ok else "err"
    running = int(s.checkpoint_running)
    return section(
        "Persistence",
        [
            ("loading", 0),
            ("async_loading", 0),
            ("current_cow_peak", 0),
            ("current_cow_size", 0),
            ("current_cow_size_age", 0),
            ("current_fork_perc", "0.00"),
            ("current_save_keys_processed", 0),
            ("current_save_keys_total", 0),
            ("rdb_changes_since_last_save", s.changes_since_checkpoint),
            ("rdb_bgsave_in_progress", running),
            ("rdb_last_save_time", s.checkpoint_last_s),
            ("rdb_last_bgsave_status", status),
            ("rdb_last_bgsave_time_sec", s.checkpoint_last_seconds),
            ("rdb_current_bgsave_time_sec", 0 if running else -1),
            ("rdb_saves", s.checkpoints),
            ("rdb_last_cow_size", 0),
            ("rdb_last_load_keys_expired", 0),
            ("rdb_last_load_keys_loaded", 0),
            ("aof_enabled", 1),
            ("aof_rewrite_in_progress", running),
            ("aof_rewrite_scheduled", 0),
            ("aof_last_rewrite_time_sec", s.checkpoint_last_seconds),
            ("aof_current_rewrite_time_sec", 0 if running else -1),
            ("aof_last_bgrewrite_status", status),
            ("aof_rewrites", s.checkpoints),
            ("aof_rewrites_consecutive_failures", 0 if s.checkpoint_last_ok else 1),
            ("aof_last_write_status", "ok" if s.fsync_errors == 0 else "err"),
            ("aof_last_cow_size", 0),
            ("module_fork_in_progress", 0),
            ("module_fork_last_cow_size", 0),
            ("aof_current_size", s.log_bytes),
            ("aof_base_size", 0),
            ("aof_pending_rewrite", 0),
            ("aof_buffer_length", s.log_unsynced_bytes),
            ("aof_pending_bio_fsync", 0),
            ("aof_delayed_fsync", 0),
        ],
    )


# Fields of Redis whose value is 0 here, since what they count does not happen.
STATS_ZERO_BEFORE_HITS = (
    "expired_stale_perc",
    "expired_time_cap_reached_count",
    "expire_cycle_cpu_milliseconds",
    "evicted_keys",
    "evicted_clients",
    "total_eviction_exceeded_time",
    "current_eviction_exceeded_time",
)
STATS_ZERO_AFTER_HITS = (
    "latest_fork_usec",
    "total_forks",
    "migrate_cached_sockets",
    "slave_expires_tracked_keys",
    "active_defrag_hits",
    "active_defrag_misses",
    "active_defrag_key_hits",
    "active_defrag_key_misses",
    "total_active_defrag_time",
    "current_active_defrag_time",
    "tracking_total_keys",
    "tracking_total_items",
    "tracking_total_prefixes",
    "unexpected_error_replies",
)


def stats(view: ViewContext) -> str:
    node = view.node
    s = node.statistics()
    return section(
        "Stats",
        [
            ("total_connections_received", s.connections_received),
            ("total_commands_processed", s.commands_processed),
            ("instantaneous_ops_per_sec", s.ops_per_second),
            ("total_net_input_bytes", s.net_input_bytes),
            ("total_net_output_bytes", s.net_output_bytes),
            ("total_net_repl_input_bytes", 0),
            ("total_net_repl_output_bytes", 0),
            ("instantaneous_input_kbps", f"{s.input_bytes_per_second / 1024:.2f}"),
            ("instantaneous_output_kbps", f"{s.output_bytes_per_second / 1024:.2f}"),
            ("instantaneous_input_repl_kbps", "0.00"),
            ("instantaneous_output_repl_kbps", "0.00"),
            ("rejected_connections", s.connections_rejected),
            ("sync_full", 0),
            ("sync_partial_ok", 0),
            ("sync_partial_err", 0),
            ("expired_subkeys", s.expired_fields),
            ("expired_keys", s.expired_keys),
            *((name, 0) for name in STATS_ZERO_BEFORE_HITS),
            ("keyspace_hits", s.keyspace_hits),
            ("keyspace_misses", s.keyspace_misses),
            ("pubsub_channels", view.pubsub.count(CHANNELS)),
            ("pubsub_patterns", view.pubsub.count(PATTERNS)),
            ("pubsubshard_channels", view.pubsub.count(SHARD_CHANNELS)),
            *((name, 0) for name in STATS_ZERO_AFTER_HITS),
            ("total_error_replies", sum(node.errors.values())),
            ("dump_payload_sanitizations", 0),
            ("total_reads_processed", s.reads_processed),
            ("total_writes_processed", s.writes_processed),
            ("io_threaded_reads_processed", 0),
            ("io_threaded_writes_processed", 0),
            ("client_query_buffer_limit_disconnections", s.input_limit_disconnections),
            ("client_output_buffer_limit_disconnections", s.output_limit_disconnections),
            ("reply_buffer_shrinks", 0),
            ("reply_buffer_expands", 0),
            ("acl_access_denied_auth", s.auth_failures),
            ("acl_access_denied_cmd", 0),
            ("acl_access_denied_key", 0),
            ("acl_access_denied_channel", 0),
        ],
    )


def replication(view: ViewContext) -> str:
    return section("Replication", replication_fields(view))


def cpu(view: ViewContext) -> str:
    s = view.node.statistics()
    return section(
        "CPU",
        [
            ("used_cpu_sys", f"{s.cpu_system_seconds:.6f}"),
            ("used_cpu_user", f"{s.cpu_user_seconds:.6f}"),
            ("used_cpu_sys_children", "0.000000"),
            ("used_cpu_user_children", "0.000000"),
            ("used_cpu_sys_main_thread", f"{s.cpu_system_main_seconds:.6f}"),
            ("used_cpu_user_main_thread", f"{s.cpu_user_main_seconds:.6f}"),
        ],
    )


def modules(view: ViewContext) -> str:
    return section("Modules", [])


def each_command(node: NodeContext) -> Iterator[CommandContext]:
    """Yield all commands, each before its subcommands, in the order of their names."""
    for command in sorted(node.commands.values(), key=lambda command: command.name):
        yield command
        children = (command.subcommands or {}).values()
        yield from sorted(children, key=lambda child: child.name)


def commandstats(view: ViewContext) -> str:
    fields: list[Field] = []
    for command in each_command(view.node):
        if command.calls or command.rejected or command.failed:
            per_call = ratio(command.microseconds, command.calls)
            fields.append(
                (
                    f"cmdstat_{command.name.decode()}",
                    f"calls={command.calls},usec={command.microseconds},"
                    f"usec_per_call={per_call:.2f},rejected_calls={command.rejected},"
                    f"failed_calls={command.failed}",
                )
            )
    return section("Commandstats", fields)


def errorstats(view: ViewContext) -> str:
    counts = sorted(view.node.errors.items())
    return section(
        "Errorstats",
        [(f"errorstat_{code.decode('latin-1')}", f"count={count}") for code, count in counts],
    )


def latencystats(view: ViewContext) -> str:
    return section("Latencystats", [])


def cluster(view: ViewContext) -> str:
    return section("Cluster", [("cluster_enabled", int(view.node.config["cluster-enabled"]))])


def keyspace(view: ViewContext) -> str:
    fields: list[Field] = [
        (f"db{db}", f"keys={keys},expires={expires},avg_ttl={ttl_ms},subexpiry=0")
        for db, (keys, expires, ttl_ms) in sorted(view.node.statistics().databases.items())
        if keys
    ]
    return section("Keyspace", fields)


def own(view: ViewContext) -> str:
    node = view.node
    s = node.statistics()
    return section(
        "Kvnode",
        [
            ("kvnode_version", node.kvnode_version),
            ("data_dir", node.config["dir"]),
            ("appendfsync", node.config["appendfsync"]),
            ("cache_bytes", s.tip_bytes),
            ("cache_records", s.tip_records),
            ("cache_evicted_records", s.evicted_records),
            # Commands that only read keys: answered from memory, or after waiting for LevelDB.
            ("cache_hits", max(0, s.key_reads - s.cold_reads)),
            ("cache_misses", s.cold_reads),
            ("disk_reads", s.disk_reads),
            ("parked_commands", s.parked_commands),
            ("pass_us_max", s.pass_us_max),
            ("batches", s.batches),
            ("log_index", s.log_index),
            ("log_index_committed", s.log_index_committed),
            ("log_index_synced", s.log_index_synced),
            ("log_bytes", s.log_bytes),
            ("log_unsynced_bytes", s.log_unsynced_bytes),
            ("log_needed_bytes", s.log_needed_bytes),
            ("log_fsyncs", s.fsyncs),
            ("checkpoint_index", s.checkpoint_index),
            ("leveldb_bytes", s.leveldb_bytes),
            ("leveldb_level0_files", s.leveldb_level0_files),
            ("trash_being_swept", s.trash_being_swept),
            *s.requests.items(),
            *s.transactions.items(),
        ],
    )


# In the order of INFO.
SECTIONS: dict[str, Callable[[ViewContext], str]] = {
    "server": server,
    "clients": clients,
    "memory": memory,
    "persistence": persistence,
    "stats": stats,
    "replication": replication,
    "cpu": cpu,
    "modules": modules,
    "commandstats": commandstats,
    "errorstats": errorstats,
    "latencystats": latencystats,
    "cluster": cluster,
    "keyspace": keyspace,
    "kvnode": own,
}
