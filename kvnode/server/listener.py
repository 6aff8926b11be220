"""Listening sockets and the limits of the process that they need."""

import resource
import socket

from kvnode.base.errors import ConfigError
from kvnode.base.limits import RESERVED_FILES


def open_listener(
    host: str, port: int, backlog: int, remedy: str = "--port (or make serve PORT=...)"
) -> socket.socket:
    """Return a non-blocking listening TCP socket. Raises ConfigError.

    remedy: of a port that cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another port with {remedy}"
        ) from error
    sock.setblocking(False)
    return sock


def tune_client(sock: socket.socket, keepalive_s: int) -> None:
    """Set what Redis sets on a client's socket. keepalive_s: 0 = off."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if keepalive_s:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, keepalive_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, keepalive_s // 3))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def raise_file_limit(maxclients: int) -> int:
    """Raise RLIMIT_NOFILE so that `maxclients` fit; return how many clients really do."""
    wanted = maxclients + RESERVED_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        for limit in (max(hard, wanted), hard):
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, limit), limit))
                break
            except (ValueError, OSError):
                continue
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return maxclients
    return max(1, soft - RESERVED_FILES)
