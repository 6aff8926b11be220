"""The node's statistics: counters gathered from its parts, rates, memory. For INFO."""

import ctypes
import os
import resource
from typing import TYPE_CHECKING, Any

from kvnode._core import once
from kvnode._core.uplink import FORWARDED
from kvnode.commands.context import Statistics

if TYPE_CHECKING:
    from kvnode.server.node import Node

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
RATE_WINDOW_MS = 1600  # over which rates are averaged, as Redis's 16 samples of 100 ms


class Gauges:
    """Samples and totals of one node."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._startup_bytes = rss_bytes()
        self._peak_bytes = 0
        self._base: dict[str, int] = {}
        self._samples: list[tuple[int, int, int, int]] = []
        self._rates = (0, 0, 0)
        self.started_checkpoint_s = 0

    def sample(self, now_ms: int) -> None:
        """Take a sample for the rates; called regularly."""
        totals = self._totals()
        self._samples.append((now_ms, totals["commands"], totals["bytes_in"], totals["bytes_out"]))
        while len(self._samples) > 2 and now_ms - self._samples[0][0] > RATE_WINDOW_MS:
            self._samples.pop(0)
        first, last = self._samples[0], self._samples[-1]
        span = max(1, last[0] - first[0])
        self._rates = tuple(  # type: ignore[assignment]
            max(0, (b - a) * 1000 // span) for a, b in zip(first[1:], last[1:], strict=True)
        )
        self._peak_bytes = max(self._peak_bytes, rss_bytes())

    def reset(self) -> None:
        """CONFIG RESETSTAT: counters go on from zero."""
        self._base = self._totals()
        self._samples.clear()
        self._peak_bytes = 0
        self._node.reactor.pass_micros_max = 0

    def statistics(self) -> Statistics:
        """Return all of it."""
        node = self._node
        counts = {key: value - self._base.get(key, 0) for key, value in self._totals().items()}
        replica = node.replica.statistics()
        log = node.data.log_statistics()
        engine = node.data.engine.statistics()
        watched, watching = node.view.watches.counts()
        needed = node.replica.needed_bytes
        usage = resource.getrusage(resource.RUSAGE_SELF)
        thread = resource.getrusage(resource.RUSAGE_THREAD)
        rss = rss_bytes()
        self._peak_bytes = max(self._peak_bytes, rss)
        return Statistics(
            connections_received=counts["accepted"],
            connections_rejected=counts["rejected"],
            commands_processed=counts["commands"],
            net_input_bytes=counts["bytes_in"],
            net_output_bytes=counts["bytes_out"],
            ops_per_second=self._rates[0],
            input_bytes_per_second=self._rates[1],
            output_bytes_per_second=self._rates[2],
            expired_keys=counts["expired"],
            expired_fields=counts["expired_fields"],
            evicted_records=counts["evicted"],
            keyspace_hits=counts["hits"],
            keyspace_misses=counts["misses"],
            output_limit_disconnections=counts["output_limit"],
            input_limit_disconnections=counts["input_limit"],
            reads_processed=counts["reads"],
            writes_processed=counts["writes"],
            auth_failures=node.counters.auth_failures,
            used_memory=rss,
            used_memory_peak=self._peak_bytes,
            used_memory_rss=rss,
            used_memory_startup=self._startup_bytes,
            tip_bytes=replica["bytes"],
            leveldb_bytes=engine.table_bytes,
            leveldb_level0_files=engine.level0_files,
            trash_being_swept=replica["sweeping"],
            tip_records=replica["records"],
            total_system_memory=PAGE_BYTES * os.sysconf("SC_PHYS_PAGES"),
            batches=replica["entries"],
            log_index=replica["last_index"],
            log_index_committed=replica["committed"],
            log_index_synced=replica["synced"],
            log_bytes=log["bytes"],
            log_unsynced_bytes=replica["unsynced_bytes"],
            fsyncs=log["syncs"],
            parked_commands=replica["fetch_waiters"],
            pass_us_max=node.reactor.pass_micros_max,
            key_reads=sum(c.calls for c in node.dispatch.commands.values() if c.reads_keys),
            cold_reads=counts["cold"],
            disk_reads=replica["fetched_records"],
            checkpoint_running=bool(replica["checkpoint_running"]),
            checkpoint_index=replica["checkpoint_index"],
            checkpoint_last_s=node.checkpointed_s,
            checkpoints=replica["checkpoints"],
            changes_since_checkpoint=replica["dirty_records"],
            blocked_clients=sum(
                s.is_blocked or s.waiting not in (None, FORWARDED) for s in node.sessions()
            ),
            timed_clients=node.sequencer.waiters.timed,
            blocking_keys=node.sequencer.waiters.keys,
            watching_clients=watching,
            watched_keys=watched,
            paused_reason=node.paused_reason(),
            paused_actions=node.paused_actions(),
            paused_left_ms=max(0, node.paused_until_ms - node.reactor.now()),
            cpu_user_seconds=usage.ru_utime,
            cpu_system_seconds=usage.ru_stime,
            cpu_user_main_seconds=thread.ru_utime,
            cpu_system_main_seconds=thread.ru_stime,
            log_needed_bytes=0 if needed is None else node.sequencer.payload_bytes - needed,
            requests=once.statistics(node.view, node.now()) if node.replica.is_serving else {},
            transactions=node.jobs.transactions.statistics() | node.jobs.replies.statistics(),
            databases=node.tip.database_counts(),
        )

    def _totals(self) -> dict[str, int]:
        node = self._node
        counters = node.clients.counters
        return {
            "accepted": counters.accepted,
            "rejected": counters.rejected,
            "output_limit": counters.output_limit,
            "input_limit": counters.input_limit,
            "reads": node.reactor.reads,
            "writes": node.reactor.writes,
            "commands": node.sequencer.commands,
            "bytes_in": node.reactor.bytes_in,
            "bytes_out": node.reactor.bytes_out,
            "expired": node.view.expired,
            "expired_fields": node.view.expired_fields,
            "cold": node.sequencer.cold_reads,
            "evicted": node.tip.evicted_records,
            "hits": node.view.hits,
            "misses": node.view.misses,
        }

    def describe_memory(self) -> str:
        """Return what the tip and the process hold, for people."""
        tip: dict[str, Any] = self._node.tip.statistics()
        lines = [f"{name}: {value}" for name, value in sorted(tip.items())]
        return "\n".join([f"resident: {rss_bytes()}", *lines])

    def release_memory(self) -> None:
        """Give memory that malloc keeps free back to the system."""
        ctypes.CDLL(None).malloc_trim(0)


def rss_bytes() -> int:
    """Return the resident memory of this process."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * PAGE_BYTES
