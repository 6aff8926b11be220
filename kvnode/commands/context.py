"""What Python handlers need of the session, the node and the reply: protocols that server/ fulfils.

A handler is `handler(view, args, reply)`; `args[0]` is the command's name. It answers by writing to
`reply` or by raising CommandError, and returns None, or WAITING when the node answers later.
"""

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from kvnode.commands.row import Row

if TYPE_CHECKING:
    from kvnode.commands.group import Group

WAITING = 2  # Outcome.WAIT of _core/dispatch.pxd: the session waits, the node answers later

REPLY_ON = 0  # ReplyMode of _core/session.pxd
REPLY_OFF = 1
REPLY_SKIP = 2

STATE_WAITING = 2  # SessionState of _core/session.pxd
STATE_CLOSING = 3
STATE_CLOSED = 4

REDIS_VERSION = "7.4.0"  # whose replies and texts these are
RUN_ID_BYTES = 40


class ReplyWriter(Protocol):
    """Writes one reply; see _core/reply.pyx."""

    proto: int

    def ok(self) -> None: ...
    def simple(self, text: bytes) -> None: ...
    def error(self, text: bytes) -> None: ...
    def integer(self, value: int) -> None: ...
    def bulk(self, value: bytes | None) -> None: ...
    def null(self) -> None: ...
    def null_array(self) -> None: ...
    def array(self, count: int) -> None: ...
    def map(self, count: int) -> None: ...
    def set(self, count: int) -> None: ...
    def push(self, count: int) -> None: ...
    def double(self, value: float) -> None: ...
    def boolean(self, value: bool) -> None: ...
    def verbatim(self, text: bytes) -> None: ...
    def bulks(self, values: list[bytes]) -> None: ...
    def raw(self, data: bytes) -> None: ...


class SessionContext(Protocol):
    """One client, as handlers see it; _core/session.pxd says what the attributes mean."""

    id: int
    db: int
    name: bytes
    user: bytes
    proto: int
    addr: str
    laddr: str
    fd: int
    lib_name: bytes
    lib_ver: bytes
    created_ms: int
    active_ms: int
    authenticated: bool
    in_multi: bool
    is_in_transaction: bool  # here or at the leader
    in_exec: bool
    cas_dirty: bool
    is_blocked: bool  # waits for data of keys
    waiting: object  # what it waits for, or None
    channels: int  # that it is subscribed to
    patterns: int
    shard_channels: int
    queued_count: int
    watched: set[tuple[int, bytes]] | None
    state: int
    reply_mode: int
    no_evict: bool
    no_touch: bool
    last_command: bytes
    commands: int
    input_bytes: int
    output_bytes: int
    multi_bytes: int

    def leave_multi(self) -> None: ...


class CommandContext(Protocol):
    """A command of the running node: its row and its counters; _core/dispatch.pxd."""

    name: bytes
    row: Row
    subcommands: "dict[bytes, CommandContext] | None"
    calls: int
    microseconds: int
    rejected: int
    failed: int

    def reset(self) -> None: ...


class Configuration(Protocol):
    """The node's parameters; server/config.py."""

    def __getitem__(self, name: str) -> Any: ...
    def matching(self, pattern: bytes) -> list[tuple[bytes, bytes]]: ...
    def change(self, pairs: list[tuple[bytes, bytes]]) -> None: ...
    def rewrite(self) -> None: ...


class SlowlogContext(Protocol):
    """Commands that took long; slowlog.py."""

    def newest(self, count: int) -> list[Any]: ...
    def clear(self) -> None: ...
    def __len__(self) -> int: ...


@dataclass(slots=True)
class Statistics:
    """Counters of a node since its start or CONFIG RESETSTAT, and gauges. Bytes unless said.

    The node keeps the counters and refreshes the gauges when `NodeContext.statistics` is called.
    """

    connections_received: int = 0
    connections_rejected: int = 0
    commands_processed: int = 0
    net_input_bytes: int = 0
    net_output_bytes: int = 0
    ops_per_second: int = 0
    input_bytes_per_second: int = 0
    output_bytes_per_second: int = 0
    expired_keys: int = 0
    expired_fields: int = 0
    evicted_records: int = 0
    keyspace_hits: int = 0
    keyspace_misses: int = 0
    input_limit_disconnections: int = 0
    output_limit_disconnections: int = 0
    reads_processed: int = 0
    writes_processed: int = 0
    auth_failures: int = 0
    used_memory: int = 0
    used_memory_peak: int = 0
    used_memory_rss: int = 0
    used_memory_startup: int = 0
    used_memory_clients: int = 0
    tip_bytes: int = 0
    leveldb_bytes: int = 0
    leveldb_level0_files: int = 0
    trash_being_swept: int = 0
    tip_records: int = 0
    total_system_memory: int = 0
    batches: int = 0
    log_index: int = 0
    log_index_committed: int = 0
    log_index_synced: int = 0
    log_bytes: int = 0
    log_unsynced_bytes: int = 0
    fsyncs: int = 0
    fsync_errors: int = 0
    parked_commands: int = 0
    pass_us_max: int = 0  # the longest that all clients had to wait for one pass
    key_reads: int = 0  # commands that only read keys
    cold_reads: int = 0  # of them, those that waited for LevelDB
    disk_reads: int = 0  # records fetched from LevelDB, for whatever command
    checkpoint_running: bool = False
    checkpoint_index: int = 0
    checkpoint_last_s: int = 0  # Unix time of the last one, of the start if there was none
    checkpoint_last_ok: bool = True
    checkpoint_last_seconds: int = -1
    checkpoints: int = 0
    changes_since_checkpoint: int = 0
    blocked_clients: int = 0
    timed_clients: int = 0  # blocked ones that wait for a time too
    blocking_keys: int = 0
    watching_clients: int = 0
    watched_keys: int = 0
    paused_reason: str = "none"  # or "client_pause"
    paused_actions: str = "none"  # or "all", "write"
    paused_left_ms: int = 0
    cpu_user_seconds: float = 0.0
    cpu_system_seconds: float = 0.0
    cpu_user_main_seconds: float = 0.0
    cpu_system_main_seconds: float = 0.0
    log_needed_bytes: int = 0  # of the log, by a node that gets an image
    requests: dict[str, int] = field(default_factory=dict)  # name of an INFO field -> value
    transactions: dict[str, int] = field(default_factory=dict)  # the same
    # database -> (keys, keys with a deadline, mean time left in ms)
    databases: dict[int, tuple[int, int, int]] = field(default_factory=dict)


class NodeContext(Protocol):
    """The node, as handlers see it."""

    config: Configuration
    commands: Mapping[bytes, CommandContext]  # upper-case name -> top-level command
    errors: MutableMapping[bytes, int]  # error code -> count
    slowlog: SlowlogContext
    counters: Statistics  # those that handlers count themselves
    run_id: str  # RUN_ID_BYTES hex digits, new at each start
    started_ms: int
    kvnode_version: str
    info_sections: Mapping[str, Callable[["ViewContext"], str]]  # server/info.py
    group: "Group"

    def sessions(self) -> Iterable[SessionContext]:
        """Return the clients in the order of their ids."""

    def close_session(self, session: SessionContext, reason: str) -> None:
        """Close another client's connection: what it has not received is lost."""

    def authenticate(self, session: SessionContext, granted: bool) -> None:
        """Note whether a session has authenticated; lifts or sets the limits for strangers."""

    def statistics(self) -> Statistics:
        """Return the statistics with fresh gauges."""

    def reset_statistics(self) -> None:
        """Set the counters to zero, those of commands and errors included."""

    def pause(self, until_ms: int, *, writes_only: bool) -> None:
        """Hold back commands until a time of the node's clock; reasons add up as in Redis."""

    def unpause(self) -> None:
        """Let held commands run."""

    def client_beside(self, session: SessionContext, client_id: int) -> SessionContext | None:
        """Return a client of the node that `session` is connected to, by its id there."""

    def unblock(self, session: SessionContext, *, with_error: bool) -> bool:
        """End a blocking command early; False if the session is not blocked by one."""

    def answer_after(
        self, session: SessionContext, delay_ms: int, write: Callable[[ReplyWriter], None]
    ) -> None:
        """Answer a session that waits in `delay_ms`; 0 = never, until it closes."""

    def checkpoint(self, done: Callable[[bool], None] | None = None) -> bool:
        """Start a checkpoint; `done(ok)` is called in a pass. False: one was running already, and
        `done` is called when that one is over and another has followed."""

    def answer(self, session: SessionContext, write: Callable[[ReplyWriter], None]) -> None:
        """Answer a session that waits, now."""

    def is_synced(self) -> bool:
        """Return whether all that was executed so far is synced in the own log."""

    def answer_when(
        self,
        session: SessionContext,
        timeout_ms: int,
        is_due: Callable[[], bool],
        write: Callable[[ReplyWriter], None],
    ) -> None:
        """Answer a session that waits once is_due() holds, or in `timeout_ms`; 0 = never.

        It may ask for the log to be synced; is_due is asked often, so it has to be cheap.
        """

    def shutdown(self, *, checkpoint: bool | None, now: bool, force: bool) -> None:
        """Begin to stop. checkpoint: None = as the node finds best."""

    def abort_shutdown(self) -> bool:
        """Take shutdown() back if it has not gone too far; False: none was in progress."""

    def stall(self, seconds: float) -> None:
        """Do nothing at all for a while (DEBUG SLEEP)."""

    def reload(self) -> None:
        """Drop all that memory holds and can be read from disk (DEBUG RELOAD)."""

    def describe_object(self, session: SessionContext, key: bytes) -> str | None:
        """Return what DEBUG OBJECT says of a key, None if absent. Raises RecordMissing."""

    def set_expiry_active(self, active: bool) -> None:
        """Let the expiry sweeper run or not (DEBUG SET-ACTIVE-EXPIRE)."""

    def log_message(self, text: str) -> None:
        """Write to the server's log (DEBUG LOG)."""

    def describe_memory(self) -> str:
        """Return allocator statistics for people (MEMORY MALLOC-STATS)."""

    def release_memory(self) -> None:
        """Give free memory back to the system (MEMORY PURGE)."""


class WatchesContext(Protocol):
    """The registry of watched keys; _core/transactions.pyx."""

    def remove(self, session: SessionContext) -> None:
        """The session watches nothing any more."""


class PubSubContext(Protocol):
    """Who is subscribed to what; _core/pubsub.pyx. kind: of SubscriptionKind."""

    clients: int

    def forget(self, session: SessionContext) -> None:
        """The session is subscribed to nothing any more."""

    def names(self, kind: int) -> list[bytes]:
        """Return the names of all channels of a kind, or patterns."""

    def count(self, kind: int) -> int:
        """Return how many channels of a kind, or patterns, there are."""

    def subscribers(self, kind: int, name: bytes) -> int:
        """Return how many clients are subscribed to one."""


class ViewContext(Protocol):
    """What a handler is given. now_ms: the batch's time, the only one a handler knows."""

    session: SessionContext
    node: NodeContext
    now_ms: int
    watches: WatchesContext
    pubsub: PubSubContext

    def select(self, db: int) -> None:
        """Make `db` the session's database, for this and the following commands."""
