"""Configuration: defaults, files, options, CONFIG SET and CONFIG REWRITE."""

from pathlib import Path

import pytest

from kvnode.base.errors import ConfigError
from kvnode.server.config import Config
from kvnode.server.parameters import ALIASES, MEANINGFUL, PARAMETERS, find
from kvnode.server.values import BufferLimit

AVAILABLE = 8 << 30
MIB = 1 << 20


def load(tmp_path: Path, text: str, **options: str) -> Config:
    file = tmp_path / "kvnode.conf"
    file.write_text(text)
    return Config.load(AVAILABLE, file, {k.replace("_", "-"): v for k, v in options.items()})


def shown(config: Config, name: str) -> bytes:
    ((_, value),) = config.matching(name.encode())
    return value


# -- defaults -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maxmemory", b"%d" % (AVAILABLE // 2)),
        ("maxmemory-policy", b"noeviction"),
        ("appendfsync", b"always"),
        ("appendonly", b"yes"),
        ("save", b""),
        ("databases", b"16"),
        ("maxclients", b"10000"),
        ("bind", b"127.0.0.1"),
        ("protected-mode", b"yes"),
        ("cluster-enabled", b"no"),
        ("unixsocket", b""),
        (
            "client-output-buffer-limit",
            b"normal 268435456 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        ),
        ("oom-score-adj-values", b"0 200 800"),
        ("proc-title-template", b"{title} {listen-addr} {server-mode}"),
        ("hash-max-ziplist-entries", b"512"),
    ],
)
def test_defaults(name: str, value: bytes) -> None:
    assert shown(Config(AVAILABLE), name) == value


def test_every_default_is_accepted_as_a_value() -> None:
    config = Config(AVAILABLE)
    for name, parameter in PARAMETERS.items():
        text = parameter.kind.format(parameter.default)
        value = parameter.kind.parse([text])
        assert value == parameter.default, name
        assert config.text(name) is not None


def test_the_table_is_sound() -> None:
    assert not set(ALIASES) & set(PARAMETERS)
    assert find("Slave-Read-Only") is PARAMETERS["replica-read-only"]
    assert all(parameter.doc.endswith(".") for parameter in MEANINGFUL)
    assert find("nope") is None


# -- files and options --------------------------------------------------------------------------


def test_file_then_options(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        # a comment
        port 7000
        MaxMemory 1gb
        requirepass "a b\\x21"
        client-output-buffer-limit normal 1mb 512k 10
        client-output-buffer-limit pubsub 2mb 0 0
        bind 127.0.0.1 -::1
        """,
        port="7001",
    )
    assert config["port"] == 7001
    assert config["maxmemory"] == 1 << 30
    assert config["requirepass"] == b"a b!"
    assert config["bind"] == ("127.0.0.1", "-::1")
    limits = config["client-output-buffer-limit"]
    assert limits["normal"] == BufferLimit(MIB, 512_000, 10)
    assert limits["pubsub"] == BufferLimit(2 * MIB, 0, 0)
    assert limits["slave"].hard == 256 * MIB
    assert config.ignored == []


def test_what_has_no_meaning_is_listed(tmp_path: Path) -> None:
    config = load(tmp_path, "activedefrag no\nslave-read-only yes\nsave 900 1\nappendonly no\n")
    assert config.ignored == ["activedefrag", "slave-read-only", "save", "appendonly"]
    assert shown(config, "appendonly") == b"yes"
    assert shown(config, "save") == b""


def test_includes(tmp_path: Path) -> None:
    (tmp_path / "a.inc").write_text("timeout 5\n")
    (tmp_path / "b.inc").write_text("hz 20\n")
    config = load(tmp_path, f"include {tmp_path}/*.inc\ninclude {tmp_path}/*.none\ntimeout 6\n")
    assert (config["timeout"], config["hz"]) == (6, 20)


def test_a_file_that_includes_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="include each other"):
        load(tmp_path, f"include {tmp_path}/kvnode.conf\n")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("port 99999", "between 0 and 65535"),
        ("port abc", "parsed into an integer"),
        ("port", "wrong number of arguments"),
        ("port 1 2", "wrong number of arguments"),
        ("nope 1", "no parameter of redis.conf 7 is called 'nope'"),
        ("maxmemory 1x", "memory value"),
        ("maxmemory -1", "memory value"),
        ("maxmemory-policy allkeys-lru", "must be noeviction"),
        ("maxmemory-policy bogus", "one of the following: volatile-lru"),
        ("appendfsync sometimes", "everysec, always, no"),
        ("protected-mode maybe", "'yes' or 'no'"),
        ("requirepass 'a", "unbalanced quotes"),
        ("include /nope/nope.conf", "cannot read the configuration file /nope/nope.conf"),
        ("user x on", "see requirepass"),
        ("rename-command FLUSHALL x", "does not rename commands"),
        ("loadmodule x.so", "loads no modules"),
        ("tls-port 6380", "does not speak TLS"),
        ("replicaof 127.0.0.1 6379", "cannot be a replica"),
        ("slaveof 127.0.0.1 6379", "cannot be a replica"),
        ("cluster-enabled maybe", "'yes' or 'no'"),
        ("proto-max-bulk-len 1gb", "at most 512mb"),
        ("proto-max-bulk-len 1", "between 1048576"),
        ("databases 17", "between 1 and 16"),
        ("client-output-buffer-limit normal 1", "number of arguments in buffer limit"),
        ("client-output-buffer-limit bogus 1 1 1", "Invalid client class"),
        ("client-output-buffer-limit normal x 1 1", "Error in hard, soft"),
        ("notify-keyspace-events q", "Invalid event class character"),
    ],
)
def test_wrong_lines_are_refused_with_file_and_line(
    tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        load(tmp_path, f"# first\n{text}\n")
    if "cannot read" not in sentence:
        assert "kvnode.conf, line 2" in str(caught.value)


def test_a_password_is_not_repeated_in_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "requirepass secret extra\n")
    assert "secret" not in str(caught.value)


def test_wrong_options_name_the_option() -> None:
    with pytest.raises(ConfigError, match=r"--port 0x1: argument couldn't be parsed"):
        Config.load(AVAILABLE, None, {"port": "0x1"})
    with pytest.raises(ConfigError, match=r"--data-dir : argument must be a path"):
        Config.load(AVAILABLE, None, {"dir": ""})


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("1b", 1),
        ("1k", 1000),
        ("1KB", 1024),
        ("2m", 2_000_000),
        ("2mb", 2 * MIB),
        ("1g", 10**9),
        ("1Gb", 1 << 30),
    ],
)
def test_memory_units(text: str, size: int) -> None:
    assert Config.load(AVAILABLE, None, {"maxmemory": text})["maxmemory"] == size


# -- CONFIG GET and SET -------------------------------------------------------------------------


def test_patterns() -> None:
    config = Config(AVAILABLE)
    assert [name for name, _ in config.matching(b"DATA*S")] == [b"databases"]
    assert [name for name, _ in config.matching(b"slave-r*")] == [b"slave-read-only"]
    assert config.matching(b"DataBases") == [(b"DataBases", b"16")]
    assert len(config.matching(b"*")) == len(PARAMETERS) + len(ALIASES)


def test_dir_is_shown_absolute() -> None:
    assert shown(Config(AVAILABLE), "dir") == bytes(Path.cwd() / "data")


def test_change_is_all_or_nothing() -> None:
    config = Config(AVAILABLE)
    with pytest.raises(ConfigError, match="related to argument 'hz'"):
        config.change([(b"timeout", b"5"), (b"hz", b"x")])
    assert config["timeout"] == 0
    config.change([(b"timeout", b"5"), (b"HZ", b"20")])
    assert (config["timeout"], config["hz"]) == (5, 20)


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        ([(b"nope", b"1")], "Unknown option or number of arguments for CONFIG SET - 'nope'"),
        ([(b"port", b"1")], "can't set immutable config"),
        ([(b"tls-port", b"1")], "can't set immutable config"),
        ([(b"hz", b"1"), (b"HZ", b"2")], "duplicate parameter"),
        ([(b"lua-time-limit", b"1"), (b"busy-reply-threshold", b"2")], "duplicate parameter"),
    ],
)
def test_change_refuses(pairs: list[tuple[bytes, bytes]], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Config(AVAILABLE).change(pairs)


def test_a_listener_may_refuse() -> None:
    config = Config(AVAILABLE)
    seen = []

    def listener() -> None:
        seen.append(config["maxclients"])
        if config["maxclients"] > 20000:
            raise ConfigError("not so many")

    config.on_change(listener)
    config.change([(b"maxclients", b"15000")])
    with pytest.raises(ConfigError, match=r"'maxclients'.* - not so many"):
        config.change([(b"maxclients", b"30000")])
    assert seen == [15000, 30000, 15000]
    assert config["maxclients"] == 15000


def test_one_class_of_output_limits_changes_alone() -> None:
    config = Config(AVAILABLE)
    config.change([(b"client-output-buffer-limit", b"normal 1mb 0 0 replica 5 4 3")])
    limits = config["client-output-buffer-limit"]
    assert limits["normal"].hard == MIB
    assert limits["slave"] == BufferLimit(5, 4, 3)
    assert limits["pubsub"].hard == 32 * MIB


@pytest.mark.parametrize(
    ("given", "kept"),
    [("", ""), ("KEA", "AKE"), ("AKE", "AKE"), ("xK", "xK"), ("Kg$lshzxetd", "AK"), ("nEg", "gnE")],
)
def test_event_classes(given: str, kept: str) -> None:
    config = Config(AVAILABLE)
    config.change([(b"notify-keyspace-events", given.encode())])
    assert config["notify-keyspace-events"] == kept


# -- CONFIG REWRITE -----------------------------------------------------------------------------


def test_rewrite_keeps_comments_and_order(tmp_path: Path) -> None:
    before = (
        "# the port\n"
        "port 7000\n"
        "\n"
        "maxmemory 1gb\n"
        "slave-read-only   yes\n"
        "client-output-buffer-limit normal 1mb 0 0\n"
        "save 900 1\n"
        "timeout 3\n"
        "timeout 4\n"
        "# the end\n"
    )
    config = load(tmp_path, before)
    config.change([(b"timeout", b"9"), (b"requirepass", b'p w"d'), (b"maxmemory", b"1gb")])
    config.rewrite()
    assert (tmp_path / "kvnode.conf").read_text() == (
        "# the port\n"
        "port 7000\n"
        "\n"
        "maxmemory 1gb\n"
        "slave-read-only   yes\n"
        "client-output-buffer-limit normal 1mb 0 0\n"
        "save 900 1\n"
        "timeout 9\n"
        "# the end\n"
        "# Generated by CONFIG REWRITE\n"
        'requirepass "p w\\"d"\n'
    )
    again = Config.load(AVAILABLE, tmp_path / "kvnode.conf")
    assert again["requirepass"] == b'p w"d'
    assert again["timeout"] == 9


def test_rewrite_twice_adds_nothing(tmp_path: Path) -> None:
    config = load(tmp_path, "port 7000\n", timeout="5")
    config.rewrite()
    first = (tmp_path / "kvnode.conf").read_text()
    config.rewrite()
    assert (tmp_path / "kvnode.conf").read_text() == first
    assert first == "port 7000\n# Generated by CONFIG REWRITE\ntimeout 5\n"


def test_rewrite_of_a_list_and_of_a_return_to_the_default(tmp_path: Path) -> None:
    config = load(tmp_path, "timeout 3\noom-score-adj-values 1 2 3\n")
    config.change([(b"timeout", b"0"), (b"client-output-buffer-limit", b"pubsub 1 2 3")])
    config.rewrite()
    text = (tmp_path / "kvnode.conf").read_text()
    assert "timeout 0\n" in text
    assert "oom-score-adj-values 1 2 3\n" in text
    assert "client-output-buffer-limit pubsub 1 2 3\n" in text
    assert Config.load(AVAILABLE, tmp_path / "kvnode.conf")["timeout"] == 0


def test_rewrite_without_a_file_and_into_a_missing_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="The server is running without a config file"):
        Config(AVAILABLE).rewrite()
    config = load(tmp_path, "port 7000\n")
    (tmp_path / "kvnode.conf").unlink()
    with pytest.raises(ConfigError, match="cannot read"):
        config.rewrite()
