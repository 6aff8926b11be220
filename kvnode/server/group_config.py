"""The part of the configuration that makes a node one of a group, read and checked together."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from kvnode.base.addresses import EVERYWHERE, is_loopback, join_address, split_address
from kvnode.base.errors import ConfigError
from kvnode.base.limits import ADDRESS_BYTES_MAX, SECRET_BYTES_MAX, SECRET_BYTES_MIN
from kvnode.server.config import Config


@dataclass(frozen=True)
class GroupConfig:
    """listen: host and port for other nodes. cluster: node id -> address, at founding.

    secret: b"" if all is on this machine and there is none.
    """

    node_id: int
    listen: tuple[str, int]
    cluster: dict[int, str]
    secret: bytes
    has_lease_reads: bool

    @classmethod
    def of(cls, config: Config) -> "GroupConfig | None":
        """Return what the configuration says; None: this node is alone. Raises ConfigError."""
        listen = config["raft-listen"]
        if not listen:
            for name in ("cluster", "raft-secret-file"):
                if config[name]:
                    raise ConfigError(
                        f"--{name} is for a group: give --raft-listen HOST:PORT, too, "
                        f"on which this node listens for the others"
                    )
            return None
        require_synced(config)
        client_address(config)
        host, port = split_address(listen)
        path = config["raft-secret-file"]
        if not path and not is_loopback(host):
            raise ConfigError(
                f"--raft-listen {listen} can be reached from other machines: give all nodes the "
                f"same --raft-secret-file FILE (head -c 32 /dev/urandom > FILE; chmod 600 FILE)"
            )
        secret = read_secret(Path(path)) if path else b""
        cluster = dict(config["cluster"])
        return cls(config["node-id"], (host, port), cluster, secret, config["lease-reads"])


def require_synced(config: Config) -> None:
    """Raise ConfigError unless replies wait for the log; also to be called by CONFIG SET.

    A node that forgets what it has acknowledged breaks the group's promises, not only its own.
    """
    if config["raft-listen"] and config["appendfsync"] != "always":
        raise ConfigError(
            f"appendfsync {config['appendfsync']} is for a node alone: in a group (raft-listen) "
            f"appendfsync must be always"
        )


def client_address(config: Config) -> str:
    """Return "host:port" by which clients are told to reach this node. Raises ConfigError."""
    host = config["cluster-announce-ip"].decode("ascii", "backslashreplace")
    if not host:
        addresses = [host.lstrip("-") for host in config["bind"]] or ["127.0.0.1"]
        host = next((host for host in addresses if host not in EVERYWHERE), addresses[0])
    port = config["cluster-announce-port"] or config["port"]
    address = join_address(host, port)
    if not address.isprintable() or " " in address or len(address) > ADDRESS_BYTES_MAX:
        raise ConfigError(f"cluster-announce-ip '{host}' is not a host name or an IP address")
    return address


def read_secret(path: Path) -> bytes:
    """Return the secret in a file, without line ends behind it. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            secret = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read raft-secret-file {path}: {error.strerror}") from error
    if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IRWXO:
        raise ConfigError(
            f"raft-secret-file {path} can be read by every user of this machine: chmod 600 {path}"
        )
    if len(secret) > SECRET_BYTES_MAX:
        raise ConfigError(f"raft-secret-file {path} has more than {SECRET_BYTES_MAX} bytes")
    secret = secret.rstrip(b"\r\n")
    if len(secret) < SECRET_BYTES_MIN:
        raise ConfigError(
            f"raft-secret-file {path} has {len(secret)} bytes; a secret has at least "
            f"{SECRET_BYTES_MIN}: head -c 32 /dev/urandom > {path}"
        )
    return secret
