"""Addresses as text: "host:port", and "[host]:port" for IPv6."""

import ipaddress

from kvnode.base.errors import ConfigError
from kvnode.base.limits import ADDRESS_BYTES_MAX

PORT_MAX = 65535
EVERYWHERE = ("0.0.0.0", "::", "*")  # hosts that say where a node listens, not where it is
UNUSUAL = frozenset(",=[]/\\\"'")  # in no host name, and in need of quotes somewhere


def split_address(text: str) -> tuple[str, int]:
    """Return host and port. Raises ConfigError with what is wrong."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise ConfigError(f"'{text}': brackets are for IPv6 addresses, as in [::1]:7000")
    elif ":" in host:
        raise ConfigError(f"'{text}': an IPv6 address stands in brackets, as in [::1]:7000")
    if not colon or not host:
        raise ConfigError(f"'{text}' is not HOST:PORT, for example 10.0.0.1:7000")
    if len(text) > ADDRESS_BYTES_MAX:
        raise ConfigError(f"an address of {len(text)} characters; at most {ADDRESS_BYTES_MAX}")
    if any(not 0x21 <= ord(char) <= 0x7E or char in UNUSUAL for char in host):
        raise ConfigError(f"'{text}': '{host}' is not a host name or an IP address")
    if not (port.isascii() and port.isdigit()) or not 1 <= int(port[:6]) <= PORT_MAX:
        raise ConfigError(f"'{text}': the port must be 1 to {PORT_MAX}")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """Return "host:port", with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`; a name other than localhost may be anything."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
