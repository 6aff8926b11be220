"""Parameters of a group: what goes together, and what is said about what does not."""

from pathlib import Path

import pytest
import trio

from kvnode.base.errors import ConfigError
from kvnode.base.limits import MIB
from kvnode.server.begin_group import begin_group
from kvnode.server.config import Config
from kvnode.server.data import DataDirectory
from kvnode.server.failpoints import Failpoints
from kvnode.server.group_config import GroupConfig, client_address, read_secret, require_synced
from kvnode.server.listener import open_listener
from kvnode.server.node import Node
from tests.support.process import free_port

LOOPBACK = {"raft-listen": "127.0.0.1:7000"}


def load(**options: str) -> Config:
    return Config.load(1 << 30, None, {k.replace("_", "-"): v for k, v in options.items()})


def group(**options: str) -> GroupConfig | None:
    return GroupConfig.of(load(**options))


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(b"0123456789abcdef\n")
    path.chmod(0o600)
    return path


def test_a_node_alone() -> None:
    assert group() is None
    assert group(node_id="7", appendfsync="no") is None


def test_a_node_of_a_group(secret: Path) -> None:
    found = group(
        node_id="2",
        raft_listen="[::]:7000",
        cluster="2=b.example:7000,1=[fd00::1]:7000",
        raft_secret_file=str(secret),
        lease_reads="no",
    )
    assert found == GroupConfig(
        2,
        ("::", 7000),
        {1: "[fd00::1]:7000", 2: "b.example:7000"},
        b"0123456789abcdef",
        False,
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.3.2.1"])
def test_on_one_machine_no_secret_is_needed(host: str) -> None:
    found = group(raft_listen=f"{host}:7000")
    assert found is not None
    assert found.secret == b""


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"raft_listen": "10.0.0.1:7000"}, "give all nodes the same --raft-secret-file FILE"),
        ({"raft_listen": "0.0.0.0:7000"}, "can be reached from other machines"),
        ({"raft_listen": "db1.example:7000"}, "can be reached from other machines"),
        ({"cluster": "1=a:1"}, "--cluster is for a group: give --raft-listen HOST:PORT"),
        ({"raft_secret_file": "/x"}, "--raft-secret-file is for a group"),
        (
            {"raft_listen": "127.0.0.1:7000", "appendfsync": "everysec"},
            "appendfsync everysec is for a node alone: in a group .* must be always",
        ),
        (
            {"raft_listen": "127.0.0.1:7000", "raft_secret_file": "/nope"},
            "cannot read raft-secret-file /nope: No such file",
        ),
        ({"raft_listen": "127.0.0.1:7000", "cluster_announce_ip": "a b"}, "announce-ip 'a b' is"),
    ],
)
def test_what_does_not_go_together(options: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        group(**options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"node_id": "0"}, "between 1 and 9223372036854775807"),
        ({"node_id": "x"}, "couldn't be parsed into an integer"),
        ({"raft_listen": "7000"}, "'7000' is not HOST:PORT, for example"),
        ({"raft_listen": ":7000"}, "is not HOST:PORT"),
        ({"raft_listen": "a:0"}, "the port must be 1 to 65535"),
        ({"raft_listen": "a:65536"}, "the port must be 1 to 65535"),
        ({"raft_listen": "a:"}, "the port must be 1 to 65535"),
        ({"raft_listen": "::1:7000"}, "an IPv6 address stands in brackets"),
        ({"raft_listen": "[a]:7000"}, "brackets are for IPv6"),
        ({"raft_listen": "a b:7000"}, "'a b' is not a host name"),
        ({"raft_listen": "é:7000"}, "is not a host name"),
        ({"raft_listen": "a" * 300 + ":1"}, "an address of 302 characters"),
        ({"cluster": "a:1,b:1"}, "'a:1' is not ID=HOST:PORT, for example"),
        ({"cluster": "x=a:1"}, "'x' is no node id"),
        ({"cluster": "0=a:1"}, "'0' is no node id"),
        ({"cluster": "1=a:1,1=b:1"}, "node 1 is named twice"),
        ({"cluster": "1=a:1,2=a:1"}, "two nodes have the address a:1"),
        ({"cluster": "1=a"}, "'a' is not HOST:PORT"),
        ({"cluster": ",".join(f"{n}=a:{n}" for n in range(1, 66))}, "65 nodes; a group has at"),
        ({"lease_reads": "maybe"}, "must be 'yes' or 'no'"),
        ({"cluster_announce_port": "65536"}, "between 0 and 65535"),
    ],
)
def test_wrong_values(options: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load(**options)


def test_the_map_is_shown_sorted() -> None:
    config = load(cluster="3=c:1,1=a:1,")
    assert config.text("cluster") == b"1=a:1,3=c:1"


def test_appendfsync_cannot_be_changed_later() -> None:
    config = load(**LOOPBACK)
    config.on_change(lambda: require_synced(config))
    with pytest.raises(ConfigError, match="appendfsync must be always"):
        config.change([(b"appendfsync", b"everysec")])
    assert config["appendfsync"] == "always"


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({}, "127.0.0.1:6379"),
        ({"bind": "0.0.0.0 10.0.0.1", "port": "7"}, "10.0.0.1:7"),
        ({"bind": "-::1"}, "[::1]:6379"),
        ({"cluster_announce_ip": "db.example", "cluster_announce_port": "99"}, "db.example:99"),
    ],
)
def test_where_clients_are_sent(options: dict[str, str], address: str) -> None:
    assert client_address(load(**options)) == address


def test_secrets(secret: Path) -> None:
    assert read_secret(secret) == b"0123456789abcdef"
    secret.write_bytes(b"short\n")
    with pytest.raises(ConfigError, match="has 5 bytes; a secret has at least 16: head -c 32"):
        read_secret(secret)
    secret.write_bytes(bytes(4097))
    with pytest.raises(ConfigError, match="more than 4096"):
        read_secret(secret)
    secret.chmod(0o604)
    with pytest.raises(ConfigError, match=f"by every user of this machine: chmod 600 {secret}"):
        read_secret(secret)
    with pytest.raises(ConfigError, match="Is a directory"):
        read_secret(secret.parent)


@pytest.mark.parametrize("value", ["yes", "no"])
def test_leases_are_used_by_raft_if_they_are_wanted(tmp_path: Path, value: str) -> None:
    port, raft_port = str(free_port()), free_port()
    config = load(port=port, raft_listen=f"127.0.0.1:{raft_port}", lease_reads=value)
    found = GroupConfig.of(config)
    assert found is not None
    listener = open_listener(*found.listen, 1)
    data = DataDirectory(
        tmp_path / "data",
        node_id=1,
        appendfsync="always",
        cache_bytes=MIB,
        failpoints=Failpoints(""),
    )
    trio.run(begin_group, data, found, client_address(config), listener)
    node = Node(config, data, found, listener)
    try:
        assert node.replica.raft.uses_leases is (value == "yes")
        assert (node.sequencer.has_lease is not None) is (value == "yes")
    finally:
        for sock in (listener, *node._listeners):
            sock.close()
        node.close()
