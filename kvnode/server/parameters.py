"""The table of configuration parameters: every name of redis.conf 7, and what it means here."""

from dataclasses import dataclass
from typing import Any

from kvnode.base.addresses import PORT_MAX
from kvnode.base.limits import DATABASES_MAX, GIB, MIB, STRING_BYTES_MAX
from kvnode.server.values import (
    INT32_MAX,
    INT64_MAX,
    UINT32_MAX,
    Address,
    Addresses,
    Boolean,
    BufferLimit,
    BufferLimits,
    Choice,
    EventClasses,
    Ignored,
    Integer,
    Kind,
    Memory,
    Only,
    Path,
    Text,
    Words,
)


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    doc: one sentence for --help and the documentation; empty = it has no meaning in kvnode.
    alias: its older name.   option: its name on the command line, when not `name`.
    """

    name: str
    kind: Kind
    default: Any
    doc: str = ""
    is_mutable: bool = True
    is_secret: bool = False
    alias: str = ""
    option: str = ""

    @property
    def has_meaning(self) -> bool:
        """Whether kvnode does anything with it."""
        return bool(self.doc)


POLICIES = (
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
)
OUTPUT_LIMITS = {
    "normal": BufferLimit(256 * MIB, 0, 0),
    "slave": BufferLimit(256 * MIB, 64 * MIB, 60),
    "pubsub": BufferLimit(32 * MIB, 8 * MIB, 60),
}

SINGLE = (
    Parameter(
        "port",
        Integer(0, PORT_MAX),
        6379,
        "TCP port to listen on.",
        is_mutable=False,
    ),
    Parameter(
        "bind",
        Words(),
        ("127.0.0.1",),
        "Addresses to listen on; one that begins with '-' may be missing.",
        is_mutable=False,
    ),
    Parameter(
        "dir",
        Path(),
        "./data",
        "Directory of the data; made if it is missing.",
        is_mutable=False,
        option="data-dir",
    ),
    Parameter(
        "appendfsync",
        Choice(("everysec", "always", "no")),
        "always",
        "When the log is synced: always = before the reply.",
    ),
    Parameter(
        "maxmemory",
        Memory(),
        0,
        "Bytes of the cache; 0 = half of what the process may use. Never refuses or drops data.",
    ),
    Parameter(
        "maxmemory-policy",
        Choice(
            POLICIES,
            ("noeviction",),
            "kvnode keeps all data on disk and drops none: maxmemory-policy must be noeviction",
        ),
        "noeviction",
        "Only noeviction.",
    ),
    Parameter("maxclients", Integer(1, UINT32_MAX), 10000, "Most connections at a time."),
    Parameter("timeout", Integer(0, INT32_MAX), 0, "Seconds after which idle clients are closed."),
    Parameter("tcp-keepalive", Integer(0, INT32_MAX), 300, "Seconds between probes; 0 = none."),
    Parameter(
        "tcp-backlog",
        Integer(0, INT32_MAX),
        511,
        "Connections that may wait to be accepted.",
        is_mutable=False,
    ),
    Parameter(
        "databases",
        Integer(1, DATABASES_MAX),
        DATABASES_MAX,
        "Number of databases that SELECT knows.",
        is_mutable=False,
    ),
    Parameter(
        "requirepass",
        Text(),
        b"",
        "Password of the default user; empty = none is needed.",
        is_secret=True,
    ),
    Parameter(
        "protected-mode",
        Boolean(),
        True,
        "Without a password only clients of this machine may connect.",
    ),
    Parameter(
        "client-output-buffer-limit",
        BufferLimits(),
        OUTPUT_LIMITS,
        "Per class of clients: unsent output at which a connection is closed.",
    ),
    Parameter(
        "client-query-buffer-limit",
        Memory(1 * MIB),
        1 * GIB,
        "Unparsed input at which a connection is closed.",
    ),
    Parameter(
        "proto-max-bulk-len",
        Memory(
            1 * MIB,
            most=STRING_BYTES_MAX,
            most_reason="a string of kvnode has at most 512mb: proto-max-bulk-len cannot be more",
        ),
        STRING_BYTES_MAX,
        "Longest argument of a command and longest string.",
    ),
    Parameter(
        "slowlog-log-slower-than",
        Integer(-1),
        10000,
        "Microseconds from which a command is noted in SLOWLOG; -1 = never.",
    ),
    Parameter(
        "script-time-budget",
        Integer(1, INT32_MAX),
        5000,
        "Microseconds that a script may hold up others; past it, it runs beside them.",
    ),
    Parameter(
        "script-time-limit",
        Integer(0, INT32_MAX),
        300000,
        "Milliseconds after which a script is stopped, with nothing of it done; 0 = never.",
    ),
    Parameter("slowlog-max-len", Integer(0), 128, "Commands that SLOWLOG keeps."),
    Parameter("hz", Integer(0, INT32_MAX), 10, "How often a second regular work is done."),
    Parameter(
        "cluster-enabled",
        Boolean(),
        False,
        "Whether INFO and HELLO call the group a Redis Cluster of one shard, as some clients ask.",
        is_mutable=False,
    ),
    Parameter(
        "enable-debug-command",
        Choice(("no", "yes", "local")),
        "no",
        "Whether DEBUG is allowed.",
        is_mutable=False,
    ),
    Parameter(
        "loglevel",
        Choice(("debug", "verbose", "notice", "warning", "nothing")),
        "notice",
        "How much is logged.",
    ),
    Parameter(
        "shutdown-timeout",
        Integer(0, INT32_MAX),
        10,
        "Seconds that a shutdown waits for replies to leave.",
    ),
    Parameter(
        "notify-keyspace-events",
        EventClasses(),
        "",
        "Classes of keyspace events that are published.",
    ),
    Parameter(
        "hash-max-listpack-entries",
        Integer(0),
        512,
        "OBJECT ENCODING: fields of a small hash.",
        alias="hash-max-ziplist-entries",
    ),
    Parameter(
        "hash-max-listpack-value",
        Memory(),
        64,
        "OBJECT ENCODING: longest value of a small hash.",
        alias="hash-max-ziplist-value",
    ),
    Parameter(
        "list-max-listpack-size",
        Integer(-INT32_MAX - 1, INT32_MAX),
        -2,
        "OBJECT ENCODING: elements of a small list; -1 to -5: its size, 4 KB to 64 KB.",
        alias="list-max-ziplist-size",
    ),
    Parameter(
        "set-max-intset-entries", Integer(0), 512, "OBJECT ENCODING: integers of a small set."
    ),
    Parameter(
        "set-max-listpack-entries", Integer(0), 128, "OBJECT ENCODING: members of a small set."
    ),
    Parameter(
        "set-max-listpack-value",
        Memory(),
        64,
        "OBJECT ENCODING: longest member of a small set.",
    ),
    Parameter(
        "zset-max-listpack-entries",
        Integer(0),
        128,
        "OBJECT ENCODING: members of a small sorted set.",
        alias="zset-max-ziplist-entries",
    ),
    Parameter(
        "zset-max-listpack-value",
        Memory(),
        64,
        "OBJECT ENCODING: longest member of a small sorted set.",
        alias="zset-max-ziplist-value",
    ),
)

# What makes a node one of a group; checked together in group_config.py.
GROUP = (
    Parameter(
        "node-id",
        Integer(1, INT64_MAX),
        1,
        "Number of this node in its group; each has its own, for ever.",
        is_mutable=False,
    ),
    Parameter(
        "raft-listen",
        Address(),
        "",
        "HOST:PORT to listen on for the other nodes of a group; empty = this node is alone.",
        is_mutable=False,
    ),
    Parameter(
        "cluster",
        Addresses(),
        (),
        "The nodes that found a group: 1=HOST:PORT,2=HOST:PORT,..., the same on all of them. "
        "Means nothing once the group exists.",
        is_mutable=False,
    ),
    Parameter(
        "raft-secret-file",
        Path(is_optional=True),
        "",
        "File with the secret by which nodes of a group know each other: at least 16 random bytes.",
        is_mutable=False,
    ),
    Parameter(
        "lease-reads",
        Boolean(),
        False,
        "Whether a leader may read without asking the others for as long as they have promised "
        "not to elect another one; relies on clocks that run equally fast within 5 %.",
        is_mutable=False,
    ),
    Parameter(
        "cluster-announce-ip",
        Text(),
        b"",
        "Address under which clients reach this node, as other nodes tell it; empty = `bind`.",
    ),
    Parameter(
        "cluster-announce-port",
        Integer(0, PORT_MAX),
        0,
        "Port under which clients reach this node, as other nodes tell it; 0 = `port`.",
    ),
)
MEANINGFUL = (*SINGLE, *GROUP)

# Accepted whatever they say, since what they ask for is always or never so. name -> what is shown.
FIXED = {"appendonly": b"yes", "save": b""}

# Names without meaning here, with Redis's defaults; its type follows from the default.
# A second name is the older one.
WITHOUT_MEANING = """
acl-pubsub-default resetchannels
acllog-max-len 128
active-defrag-cycle-max 25
active-defrag-cycle-min 1
active-defrag-ignore-bytes 104857600
active-defrag-max-scan-fields 1000
active-defrag-threshold-lower 10
active-defrag-threshold-upper 100
active-expire-effort 1
activedefrag no
activerehashing yes
always-show-logo no
aof-disable-auto-gc no
aof-load-truncated yes
aof-rewrite-incremental-fsync yes
aof-timestamp-enabled no
aof-use-rdb-preamble yes
aof_rewrite_cpulist ""
appenddirname appendonlydir
appendfilename appendonly.aof
auto-aof-rewrite-min-size 67108864
auto-aof-rewrite-percentage 100
bgsave_cpulist ""
bind-source-addr ""
bio_cpulist ""
busy-reply-threshold|lua-time-limit 5000
cluster-allow-pubsubshard-when-down yes
cluster-allow-reads-when-down no
cluster-allow-replica-migration yes
cluster-announce-bus-port 0
cluster-announce-hostname ""
cluster-announce-human-nodename ""
cluster-announce-tls-port 0
cluster-config-file nodes.conf
cluster-link-sendbuf-limit 0
cluster-migration-barrier 1
cluster-node-timeout 15000
cluster-port 0
cluster-preferred-endpoint-type ip
cluster-replica-no-failover|cluster-slave-no-failover no
cluster-replica-validity-factor|cluster-slave-validity-factor 10
cluster-require-full-coverage yes
crash-log-enabled yes
crash-memcheck-enabled yes
daemonize no
dbfilename dump.rdb
disable-thp yes
dynamic-hz yes
enable-module-command no
enable-protected-configs no
hide-user-data-from-log no
hll-sparse-max-bytes 3000
ignore-warnings ""
io-threads 1
io-threads-do-reads no
jemalloc-bg-thread yes
latency-monitor-threshold 0
latency-tracking yes
latency-tracking-info-percentiles "50 99 99.9"
lazyfree-lazy-eviction no
lazyfree-lazy-expire no
lazyfree-lazy-server-del no
lazyfree-lazy-user-del no
lazyfree-lazy-user-flush no
lfu-decay-time 1
lfu-log-factor 10
list-compress-depth 0
locale-collate ""
logfile ""
masterauth ""
masteruser ""
max-new-connections-per-cycle 10
max-new-tls-connections-per-cycle 1
maxmemory-clients 0
maxmemory-eviction-tenacity 10
maxmemory-samples 5
min-replicas-max-lag|min-slaves-max-lag 10
min-replicas-to-write|min-slaves-to-write 0
no-appendfsync-on-rewrite no
oom-score-adj no
oom-score-adj-values "0 200 800"
pidfile ""
proc-title-template "{title} {listen-addr} {server-mode}"
propagation-error-behavior ignore
rdb-del-sync-files no
rdb-save-incremental-fsync yes
rdbchecksum yes
rdbcompression yes
repl-backlog-size 1048576
repl-backlog-ttl 3600
repl-disable-tcp-nodelay no
repl-diskless-load disabled
repl-diskless-sync yes
repl-diskless-sync-delay 5
repl-diskless-sync-max-replicas 0
repl-ping-replica-period|repl-ping-slave-period 10
repl-timeout 60
replica-announce-ip|slave-announce-ip ""
replica-announce-port|slave-announce-port 0
replica-announced yes
replica-ignore-disk-write-errors no
replica-ignore-maxmemory|slave-ignore-maxmemory yes
replica-lazy-flush|slave-lazy-flush no
replica-priority|slave-priority 100
replica-read-only|slave-read-only yes
replica-serve-stale-data|slave-serve-stale-data yes
sanitize-dump-payload no
server_cpulist ""
set-proc-title yes
shutdown-on-sigint default
shutdown-on-sigterm default
socket-mark-id 0
stop-writes-on-bgsave-error yes
stream-node-max-bytes 4096
stream-node-max-entries 100
supervised no
syslog-enabled no
syslog-facility local0
syslog-ident redis
tls-auth-clients yes
tls-ca-cert-dir ""
tls-ca-cert-file ""
tls-cert-file ""
tls-ciphers ""
tls-ciphersuites ""
tls-client-cert-file ""
tls-client-key-file ""
tls-client-key-file-pass ""
tls-cluster no
tls-dh-params-file ""
tls-key-file ""
tls-key-file-pass ""
tls-prefer-server-ciphers no
tls-protocols ""
tls-replication no
tls-session-cache-size 20480
tls-session-cache-timeout 300
tls-session-caching yes
tracking-table-max-keys 1000000
"""
SECRETS = ("masterauth", "masteruser", "tls-key-file-pass", "tls-client-key-file-pass")

# To ignore these would be worse than to refuse them: their one value, and why.
ONLY = {
    "aclfile": (b"", "kvnode has no ACL files: it has one user, see requirepass"),
    "replicaof": (b"", "kvnode cannot be a replica of a Redis server: remove the line"),
    "tls-port": (b"0", "kvnode does not speak TLS: tls-port must be 0"),
    "unixsocket": (b"", "kvnode listens on TCP only: remove the line"),
    "unixsocketperm": (b"0", "kvnode listens on TCP only: remove the line"),
}
ONLY_ALIASES = {"replicaof": "slaveof"}

# Lines of redis.conf that are no parameters, refused for the same reason.
REFUSED_LINES = {
    "loadmodule": "kvnode loads no modules: remove the line",
    "rename-command": "kvnode does not rename commands: remove the line",
    "user": "kvnode has one user: remove the line, see requirepass",
}


def _without_meaning(line: str) -> Parameter:
    names, _, text = line.partition(" ")
    name, _, alias = names.partition("|")
    default = text.strip('"')
    kind: Kind = Words() if " " in default else Text()
    value: Any = tuple(default.split()) if " " in default else default.encode()
    if default in ("yes", "no"):
        kind, value = Boolean(), default == "yes"
    elif default.isdigit():
        kind, value = Memory(high=INT64_MAX), int(default)
    return Parameter(name, kind, value, alias=alias, is_secret=name in SECRETS)


PARAMETERS: dict[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        *MEANINGFUL,
        *(Parameter(name, Ignored(shown), shown) for name, shown in FIXED.items()),
        *(
            Parameter(
                name, Only(*only), only[0], is_mutable=False, alias=ONLY_ALIASES.get(name, "")
            )
            for name, only in ONLY.items()
        ),
        *(_without_meaning(line) for line in WITHOUT_MEANING.strip().splitlines()),
    )
}
ALIASES = {parameter.alias: parameter.name for parameter in PARAMETERS.values() if parameter.alias}


def find(name: str) -> Parameter | None:
    """Return the parameter of this name or older name, in any case."""
    name = name.lower()
    return PARAMETERS.get(ALIASES.get(name, name))
