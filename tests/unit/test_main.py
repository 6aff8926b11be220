"""The command line: options, sentences and exit codes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

import kvnode
from kvnode.__main__ import main
from kvnode.base.errors import ConfigError, DirectoryInUseError
from kvnode.server import serve as serving
from kvnode.server.config import Config
from kvnode.server.parameters import MEANINGFUL


class Served:
    """Stands in for the node: keeps the configuration that it would run with."""

    config: Config | None = None
    error: Exception | None = None

    def serve(self, config: Config) -> int:
        self.config = config
        if self.error:
            raise self.error
        return 0


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    stand_in = Served()
    monkeypatch.setattr(serving, "serve", stand_in.serve)
    yield stand_in
    structlog.reset_defaults()


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args, prog_name="kvnode")


def test_version() -> None:
    assert run("--version").output == f"kvnode, version {kvnode.__version__}\n"


def test_every_parameter_is_an_option() -> None:
    text = run("serve", "--help").output
    for parameter in MEANINGFUL:
        assert f"--{parameter.option or parameter.name}" in text


def test_options_reach_the_node(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "kvnode.conf"
    file.write_text("timeout 5\nport 7000\nactivedefrag yes\n")
    result = run(
        "serve",
        *("--config", str(file)),
        *("--port", "7001", "--data-dir", "/x", "--maxmemory", "1gb"),
        *("--failpoint", "before_sync=kill", "--requirepass", "secret"),
    )
    assert result.exit_code == 0
    config = served.config
    assert config is not None
    assert (config["port"], config["dir"], config["timeout"]) == (7001, "/x", 5)
    assert config["maxmemory"] == 1 << 30
    assert config["requirepass"] == b"secret"
    assert config.failpoints == ("before_sync=kill",)
    assert "activedefrag" in result.output


def test_dir_is_another_name_of_data_dir(served: Served) -> None:
    run("serve", "--dir", "/y")
    assert served.config is not None
    assert served.config["dir"] == "/y"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--port", "99999"), "--port 99999: argument must be between 0 and 65535 inclusive"),
        (("--appendfsync", "x"), "--appendfsync x: argument(s) must be one of the following:"),
        (("--maxmemory-policy", "allkeys-lru"), "maxmemory-policy must be noeviction"),
        (("--failpoint", "x"), "--failpoint x: must be NAME=ACTION"),
        (("--config", "/nope"), "cannot read the configuration file /nope"),
    ],
)
def test_a_wrong_value_is_a_sentence(served: Served, args: tuple[str, ...], sentence: str) -> None:
    result = run("serve", *args)
    assert result.exit_code == 2
    assert sentence in result.output
    assert len(result.output.splitlines()) == 1
    assert served.config is None


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigError("taken"), 2), (DirectoryInUseError("in use"), 1)]
)
def test_what_stands_in_the_way_is_a_sentence(served: Served, error: Exception, code: int) -> None:
    served.error = error
    result = run("serve")
    assert result.exit_code == code
    assert result.output == f"kvnode: {error}\n"
