"""Addresses as text, of IPv4, IPv6 and names; what is none."""

import pytest

from kvnode.base.addresses import is_loopback, join_address, split_address
from kvnode.base.errors import ConfigError
from kvnode.base.limits import ADDRESS_BYTES_MAX
from kvnode.commands.group import NO_ADDRESS
from kvnode.commands.group_words import find_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1:7000", ("10.0.0.1", 7000)),
        ("node-1.example:1", ("node-1.example", 1)),
        ("[fd00::1]:65535", ("fd00::1", 65535)),
        ("[fe80::1%eth0]:7000", ("fe80::1%eth0", 7000)),
    ],
)
def test_addresses_are_split_and_joined(text: str, address: tuple[str, int]) -> None:
    assert split_address(text) == find_address(text) == address
    assert join_address(*address) == text


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "is not HOST:PORT"),
        ("host", "is not HOST:PORT"),
        (":7000", "is not HOST:PORT"),
        ("fd00::1:7000", "stands in brackets"),
        ("[host]:7000", "brackets are for IPv6"),
        ("two words:7000", "is not a host name"),
        ("a,b:7000", "is not a host name"),
        ("hôte:7000", "is not a host name"),
        ("host:0", "the port must be"),
        ("host:65536", "the port must be"),
        ("host:+1", "the port must be"),
        ("host:", "the port must be"),
        ("h" * ADDRESS_BYTES_MAX + ":1", "characters; at most"),
    ],
)
def test_what_is_no_address(text: str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        split_address(text)
    assert find_address(text) == NO_ADDRESS


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1", "localhost"])
def test_hosts_of_this_machine_only(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "::", "0.0.0.0", "::ffff:10.0.0.1", "example", ""])
def test_hosts_that_others_may_reach(host: str) -> None:
    assert not is_loopback(host)
