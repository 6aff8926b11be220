"""Python handlers, where transcripts of a server do not reach."""

import pytest

from kvnode.server.config import Config
from tests.support.command_node import MEMORY_BYTES, CommandNode, TableClient, error


@pytest.fixture
def node() -> CommandNode:
    return CommandNode(Config.load(MEMORY_BYTES, None, {"enable-debug-command": "yes"}))


# -- connections --------------------------------------------------------------------------------


def test_hello_describes_the_server(client: TableClient) -> None:
    assert client.words("HELLO 3") == {
        b"server": b"redis",
        b"version": b"7.4.0",
        b"proto": 3,
        b"id": 1,
        b"mode": b"standalone",
        b"role": b"master",
        b"modules": [],
    }


def test_failed_authentications_are_counted(node: CommandNode, client: TableClient) -> None:
    client.words("CONFIG SET requirepass secret")
    stranger = node.connect()
    assert "WRONGPASS" in error(stranger.words("AUTH guess"))
    assert "WRONGPASS" in error(stranger.words("HELLO 3 AUTH default guess"))
    assert "acl_access_denied_auth:2" in client.words("INFO stats").decode()


def test_client_line_has_the_fields_of_7_4(node: CommandNode, client: TableClient) -> None:
    client.words("CLIENT SETINFO LIB-NAME lib")
    client.words("CLIENT SETINFO LIB-VER 1.2")
    client.words("WATCH a b")
    node.clock.now_ms += 5000
    line = client.words("CLIENT INFO").decode()
    fields = dict(field.split("=", 1) for field in line.split())
    assert list(fields) == (
        "id addr laddr fd name age idle flags db sub psub ssub multi watch qbuf qbuf-free "
        "argv-mem multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp "
        "lib-name lib-ver"
    ).split(" ")
    assert fields["watch"] == "2"
    assert fields["age"] == "5"
    assert (fields["lib-name"], fields["lib-ver"]) == ("lib", "1.2")


def test_flags_of_a_client(node: CommandNode, client: TableClient) -> None:
    other = node.connect()
    other.words("CLIENT NO-EVICT on")
    other.words("CLIENT NO-TOUCH on")
    other.words("WATCH k")
    other.words("MULTI")
    client.words("SET k v")
    assert b"flags=xdeT" in client.words(f"CLIENT LIST ID {other.session.id}")


def test_kill_by_address_age_and_user(node: CommandNode, client: TableClient) -> None:
    first, second, third = node.connect(), node.connect(), node.connect()
    assert client.words(f"CLIENT KILL {first.session.addr}") == b"OK"
    assert client.words(f"CLIENT KILL ADDR {second.session.addr}") == 1
    node.clock.now_ms += 10_000
    young = node.connect()
    assert client.words("CLIENT KILL MAXAGE 10 USER default") == 1
    assert third.is_closed
    assert not young.is_closed
    assert not client.is_closed


def test_pause_is_handed_to_the_node(node: CommandNode, client: TableClient) -> None:
    client.words("CLIENT PAUSE 1000 WRITE")
    client.words("CLIENT PAUSE 5")
    client.words("CLIENT UNPAUSE")
    assert node.asked == [("pause", 1000, True), ("pause", 5, False), ("unpause",)]
    too_long = error(client.words(f"CLIENT PAUSE {(1 << 63) - 1}"))
    assert too_long == "ERR timeout is out of range"


def test_tracking_is_off(client: TableClient) -> None:
    assert client.words("CLIENT GETREDIR") == -1
    client.words("HELLO 3")
    assert client.words("CLIENT TRACKINGINFO") == {
        b"flags": [b"off"],
        b"redirect": -1,
        b"prefixes": [],
    }


# -- persistence and shutdown -------------------------------------------------------------------


def test_save_answers_when_the_checkpoint_is_made(node: CommandNode, client: TableClient) -> None:
    assert client.words("SAVE") == b"OK"
    assert node.asked == [("checkpoint",)]
    node.checkpoint_fails = True
    assert "checkpoint failed" in error(client.words("SAVE"))


def test_background_saves(node: CommandNode, client: TableClient) -> None:
    assert client.words("BGSAVE") == b"Background saving started"
    assert client.words("BGREWRITEAOF") == b"Background append only file rewriting started"
    node.checkpoint_running = True
    assert error(client.words("BGSAVE")) == "ERR Background save already in progress"
    assert client.words("BGSAVE SCHEDULE") == b"Background saving scheduled"
    assert client.words("BGREWRITEAOF") == b"Background append only file rewriting scheduled"


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("SHUTDOWN", ("shutdown", None, False, False)),
        ("SHUTDOWN NOSAVE NOW", ("shutdown", False, True, False)),
        ("shutdown save force", ("shutdown", True, False, True)),
    ],
)
def test_shutdown(node: CommandNode, client: TableClient, line: str, asked: tuple) -> None:
    with pytest.raises(ConnectionResetError):
        client.call(*line.split())
    assert node.asked == [asked]
    assert node.connect().words("SHUTDOWN ABORT") == b"OK"


def test_wait_for_replicas_that_do_not_exist(node: CommandNode, client: TableClient) -> None:
    before = node.clock.now_ms
    assert client.words("WAIT 0 0") == 0
    assert node.clock.now_ms == before
    assert client.words("WAIT 1 50") == 0
    assert node.clock.now_ms == before + 50


def test_wait_does_not_wait_in_a_transaction(client: TableClient) -> None:
    client.words("MULTI")
    client.words("WAIT 1 0")
    client.words("WAITAOF 1 1 0")
    assert client.words("EXEC") == [0, [1, 0]]


def test_waitaof(node: CommandNode, client: TableClient) -> None:
    assert client.words("WAITAOF 1 0 0") == [1, 0]
    before = node.clock.now_ms
    assert client.words("WAITAOF 1 1 20") == [1, 0]
    assert node.clock.now_ms == before + 20
    node.synced = False
    assert client.words("WAITAOF 0 0 0") == [0, 0]
    assert client.words("WAITAOF 1 0 20") == [0, 0]
    assert "value must between 0 and 1" in error(client.words("WAITAOF 2 0 0"))
    assert "must be positive" in error(client.words("WAITAOF 0 -1 0"))


# -- DEBUG --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "addr", "is_allowed"),
    [
        ("no", "127.0.0.1:1", False),
        ("local", "127.0.0.1:1", True),
        ("local", "[::1]:1", True),
        ("local", "10.0.0.1:1", False),
        ("yes", "10.0.0.1:1", True),
    ],
)
def test_who_may_debug(allowed: str, addr: str, is_allowed: bool) -> None:
    node = CommandNode(Config.load(MEMORY_BYTES, None, {"enable-debug-command": allowed}))
    client = node.connect()
    client.session.addr = addr
    reply = client.words("DEBUG CHANGE-REPL-ID")
    if is_allowed:
        assert reply == b"OK"
    else:
        assert error(reply).startswith("ERR DEBUG command not allowed.")


def test_debug_hands_on(node: CommandNode, client: TableClient) -> None:
    client.words("DEBUG SLEEP 0.5")
    client.words("DEBUG SLEEP 1e9")
    client.words("DEBUG SLEEP nan")
    client.words("DEBUG SET-ACTIVE-EXPIRE 0")
    client.words("DEBUG LOG hello")
    client.words("DEBUG RELOAD")
    assert node.asked == [
        ("stall", 0.5),
        ("stall", 1000.0),
        ("expiry", False),
        ("log", "hello"),
        ("checkpoint",),
        ("reload",),
    ]
    assert client.words("DEBUG OBJECT k") == b"Value at:0x0"
    assert error(client.words("DEBUG OBJECT nope")) == "ERR no such key"
    assert error(client.words("DEBUG ERROR oops")) == "oops"


def test_debug_protocol(client: TableClient) -> None:
    kinds = "string integer double bignum null array set map verbatim true false".split()
    two = [client.words(f"DEBUG PROTOCOL {kind}") for kind in kinds]
    assert two[-2:] == [1, 0]
    assert "not supported in RESP2" in error(client.words("DEBUG PROTOCOL attrib"))
    client.words("HELLO 3")
    three = [client.words(f"DEBUG PROTOCOL {kind}") for kind in kinds]
    assert three == [
        b"Hello World",
        12345,
        3.141,
        1234567999999999999999999999999999999,
        None,
        [0, 1, 2],
        [0, 1, 2],
        {0: False, 1: True, 2: False},
        b"txt:This is a verbatim\nstring",
        True,
        False,
    ]
    assert client.words("DEBUG PROTOCOL push") == [b"server-cpu-usage", 42]
    assert "attribute" in client.words("DEBUG PROTOCOL attrib").decode()


# -- the rest -----------------------------------------------------------------------------------


def test_slow_commands_are_shortened_and_secrets_hidden(
    node: CommandNode, client: TableClient
) -> None:
    node.slowlog.add([b"SET", b"k", b"x" * 200], 7, 5000, addr=b"a:1", name=b"n")
    node.slowlog.add([b"MGET", *[b"k"] * 40], 8, 6000, addr=b"a:1", name=b"")
    node.slowlog.add([b"auth", b"secret"], 9, 7000, addr=b"a:1", name=b"")
    node.slowlog.add([b"CONFIG", b"SET", b"requirepass", b"secret"], 9, 7000, addr=b"", name=b"")
    node.slowlog.add([b"HELLO", b"3", b"AUTH", b"u", b"secret"], 9, 7000, addr=b"", name=b"")
    node.slowlog.add([b"EXEC"], 9, 7000, addr=b"", name=b"")
    entries = client.words("SLOWLOG GET")
    assert b"secret" not in repr(entries).encode()
    assert entries[0] == [4, 7, 9, [b"HELLO", b"3", b"AUTH", *[b"(redacted)"] * 2], b"", b""]
    assert entries[1][3] == [b"CONFIG", b"SET", b"requirepass", b"(redacted)"]
    assert entries[3][3] == [b"MGET", *[b"k"] * 30, b"... (10 more arguments)"]
    assert entries[4][3][2] == b"x" * 128 + b"... (72 more bytes)"
    assert client.words("SLOWLOG GET 1") == entries[:1]
    client.words("CONFIG SET slowlog-max-len 2")
    assert client.words("SLOWLOG LEN") == 2


def test_config_set_is_refused_as_a_whole_by_the_node(
    node: CommandNode, client: TableClient
) -> None:
    reply = client.words("CONFIG SET slowlog-max-len 7 timeout 666")
    assert error(reply).endswith("related to argument 'timeout') - the node refuses")
    assert node.config["slowlog-max-len"] == 128


def test_config_rewrite_needs_a_file(client: TableClient) -> None:
    assert (
        error(client.words("CONFIG REWRITE")) == "ERR The server is running without a config file"
    )
    assert client.words("CONFIG SET a 1 b").args[0] == "ERR syntax error"


def test_acl_categories(client: TableClient) -> None:
    assert client.words("ACL WHOAMI") == b"default"
    assert b"keyspace" in client.words("ACL CAT")
    assert b"multi" in client.words("ACL CAT transaction")
    assert b"client|id" in client.words("ACL CAT connection")
    assert error(client.words("ACL CAT bogus")) == "ERR Unknown category 'bogus'"


def test_no_cluster_no_master_no_modules(client: TableClient) -> None:
    disabled = "ERR This instance has cluster support disabled"
    for line in ("CLUSTER INFO", "CLUSTER SLOTS", "READONLY", "READWRITE", "ASKING"):
        assert error(client.words(line)) == disabled
    assert client.words("REPLICAOF NO ONE") == b"OK"
    assert error(client.words("REPLICAOF h x")) == "ERR Invalid master port"
    assert "cannot be a replica" in error(client.words("SLAVEOF h 1"))
    assert client.words("MODULE LIST") == []


def test_latency_and_memory(node: CommandNode, client: TableClient) -> None:
    assert client.words("LATENCY LATEST") == []
    assert client.words("LATENCY HISTORY x") == []
    assert client.words("LATENCY RESET") == 0
    assert client.words("LATENCY HISTOGRAM") == []
    assert error(client.words("LATENCY GRAPH x")) == "ERR No samples available for event 'x'"
    assert b"SLOWLOG" in client.words("LATENCY DOCTOR")
    node.counters.used_memory, node.counters.used_memory_peak = 50, 100
    client.words("HELLO 3")
    stats = client.words("MEMORY STATS")
    assert stats[b"peak.allocated"] == 100
    assert stats[b"peak.percentage"] == 50.0
    assert client.words("MEMORY PURGE") == b"OK"
    assert node.asked == [("release",)]
    assert b"statistics" in client.words("MEMORY MALLOC-STATS")
    assert b"maxmemory" in client.words("MEMORY DOCTOR")


def test_every_container_has_help(node: CommandNode, client: TableClient) -> None:
    containers = [command for command in node.commands.values() if command.subcommands]
    assert len(containers) > 8
    for command in [*containers, node.commands[b"DEBUG"]]:
        lines = client.ask(command.name, "HELP")
        assert lines[0].startswith(command.row.title.encode() + b" <subcommand> ")
        assert lines[-2:] == [b"HELP", b"    Print this help."]
        shown = b"\n".join(lines)
        for name in command.subcommands or ():
            assert name in shown


def test_time_stands_still_in_a_transaction(node: CommandNode, client: TableClient) -> None:
    client.words("MULTI")
    client.words("TIME")
    client.words("TIME")
    first, second = client.words("EXEC")
    assert (
        first
        == second
        == [b"%d" % (node.clock.now_ms // 1000), b"%d" % (node.clock.now_ms % 1000 * 1000)]
    )


def test_docs_of_everything(client: TableClient) -> None:
    client.words("HELLO 3")
    docs = client.words("COMMAND DOCS")
    assert len(docs) == client.words("COMMAND COUNT")
    assert docs[b"getset"][b"doc_flags"] == [b"deprecated"]
    assert docs[b"getset"][b"deprecated_since"] == b"6.2.0"
    assert docs[b"config"][b"subcommands"][b"config|get"][b"group"] == b"server"
    condition = docs[b"set"][b"arguments"][2]
    assert condition == {
        b"name": b"condition",
        b"type": b"oneof",
        b"since": b"2.6.12",
        b"flags": [b"optional"],
        b"arguments": [
            {b"name": b"nx", b"type": b"pure-token", b"display_text": b"nx", b"token": b"NX"},
            {b"name": b"xx", b"type": b"pure-token", b"display_text": b"xx", b"token": b"XX"},
        ],
    }
    assert docs[b"get"][b"arguments"] == [
        {b"name": b"key", b"type": b"key", b"display_text": b"key", b"key_spec_index": 0}
    ]
