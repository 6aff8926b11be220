"""INFO's sections and fields."""

import pytest

from kvnode.server.info import SECTIONS, human
from tests.support.command_node import CommandNode

# Fields that clients and monitoring read.
FIELDS = {
    "server": "redis_version redis_mode kvnode_version run_id tcp_port uptime_in_seconds "
    "executable config_file process_id os arch_bits hz",
    "clients": "connected_clients maxclients blocked_clients cluster_connections",
    "memory": "used_memory used_memory_human used_memory_rss used_memory_peak maxmemory "
    "maxmemory_policy mem_fragmentation_ratio total_system_memory mem_allocator",
    "persistence": "loading rdb_last_bgsave_status rdb_bgsave_in_progress aof_enabled "
    "rdb_last_save_time aof_last_write_status rdb_changes_since_last_save",
    "stats": "total_connections_received total_commands_processed instantaneous_ops_per_sec "
    "rejected_connections expired_keys evicted_keys keyspace_hits keyspace_misses "
    "total_error_replies latest_fork_usec pubsub_channels",
    "replication": "role connected_slaves master_replid master_repl_offset",
    "cpu": "used_cpu_sys used_cpu_user",
    "cluster": "cluster_enabled",
    "kvnode": "log_index_synced cache_bytes appendfsync",
}


@pytest.fixture
def node() -> CommandNode:
    return CommandNode()


def parse(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


@pytest.mark.parametrize(("section", "names"), FIELDS.items())
def test_fields(node: CommandNode, section: str, names: str) -> None:
    text = SECTIONS[section](node.view)
    assert text.startswith("# ")
    assert text.endswith("\r\n")
    assert set(names.split()) <= set(parse(text))


def test_values(node: CommandNode) -> None:
    node.clock.now_ms += 90_000_000
    node.connect().words("PING")
    server = parse(SECTIONS["server"](node.view))
    assert server["uptime_in_seconds"] == "90000"
    assert server["uptime_in_days"] == "1"
    assert server["redis_version"] == "7.4.0"
    node.counters.databases = {0: (2, 1, 50), 3: (0, 0, 0), 2: (5, 0, 0)}
    assert SECTIONS["keyspace"](node.view) == (
        "# Keyspace\r\n"
        "db0:keys=2,expires=1,avg_ttl=50,subexpiry=0\r\n"
        "db2:keys=5,expires=0,avg_ttl=0,subexpiry=0\r\n"
    )


def test_commands_and_errors_are_counted(node: CommandNode) -> None:
    client = node.connect()
    client.words("GET k")
    client.words("CONFIG GET hz")
    client.words("GET")
    commands = parse(SECTIONS["commandstats"](node.view))
    assert commands["cmdstat_get"].startswith("calls=1,usec=")
    assert commands["cmdstat_get"].endswith("rejected_calls=1,failed_calls=0")
    assert "cmdstat_config|get" in commands
    assert "cmdstat_set" not in commands
    assert parse(SECTIONS["errorstats"](node.view)) == {"errorstat_ERR": "count=1"}


@pytest.mark.parametrize(
    ("asked", "titles"),
    [
        ("INFO server cpu", ["Server", "CPU"]),
        ("INFO CPU cpu", ["CPU"]),
        ("INFO nope", []),
        (
            "INFO",
            "Server Clients Memory Persistence Stats Replication CPU Modules Errorstats Cluster "
            "Keyspace".split(),
        ),
        ("INFO default commandstats", None),
        (
            "INFO all",
            "Server Clients Memory Persistence Stats Replication CPU Modules Commandstats "
            "Errorstats Latencystats Cluster Keyspace Kvnode".split(),
        ),
    ],
)
def test_chosen_sections(node: CommandNode, asked: str, titles: list[str] | None) -> None:
    text = node.connect().words(asked).decode()
    found = [line[2:] for line in text.split("\r\n") if line.startswith("# ")]
    if titles is None:
        assert {"Commandstats", "Server"} <= set(found)
    else:
        assert found == titles


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (1536, "1.50K"), (3 << 30, "3.00G")],
)
def test_human(count: int, text: str) -> None:
    assert human(count) == text


def test_the_cache_counts_commands_that_read(node: CommandNode) -> None:
    node.counters.key_reads, node.counters.cold_reads, node.counters.disk_reads = 10, 3, 400
    node.counters.expired_fields = 7
    own = parse(SECTIONS["kvnode"](node.view))
    assert (own["cache_hits"], own["cache_misses"], own["disk_reads"]) == ("7", "3", "400")
    assert parse(SECTIONS["stats"](node.view))["expired_subkeys"] == "7"
