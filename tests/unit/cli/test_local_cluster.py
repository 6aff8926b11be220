"""`kvnode cluster start`: the directory, the processes, and how it ends."""

import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from kvnode.__main__ import main
from kvnode.base.errors import ConfigError
from kvnode.cli import local_cluster
from kvnode.cli.local_cluster import LocalCluster, Plan, prepare
from kvnode.cli.status import Access
from tests.support.process import free_port

OBEDIENT = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
print("ready", flush=True)
signal.pause()
"""
STUBBORN = OBEDIENT.replace('sys.exit("stopped")', 'print("no", flush=True)').replace(
    "signal.pause()", "while True: signal.pause()"
)


def test_a_new_directory(tmp_path: Path) -> None:
    plan = prepare(tmp_path / "a" / "b", None, None)
    assert (plan.nodes, plan.base_port) == (3, 7001)
    secret = plan.directory / "secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert len(secret.read_text().strip()) == 64


def test_a_directory_is_used_again(tmp_path: Path) -> None:
    prepare(tmp_path, 5, 8001)
    secret = (tmp_path / "secret").read_text()
    for nodes, port in ((None, None), (5, None), (None, 8001), (5, 8001)):
        assert prepare(tmp_path, nodes, port) == Plan(tmp_path, 5, 8001)
    assert (tmp_path / "secret").read_text() == secret
    with pytest.raises(ConfigError, match="a group of 5 nodes"):
        prepare(tmp_path, 3, None)
    with pytest.raises(ConfigError, match="base port is 8001"):
        prepare(tmp_path, None, 7001)


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot use"):
        prepare(tmp_path / "file", None, None)
    (tmp_path / "cluster.json").write_text("[]")
    with pytest.raises(ConfigError, match="damaged"):
        prepare(tmp_path, None, None)
    result = CliRunner().invoke(main, ["cluster", "start", "--data-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "cluster.json is damaged" in result.output


def test_the_command_of_a_node(tmp_path: Path) -> None:
    plan = Plan(tmp_path, 2, 7001)
    assert plan.command(2, ["--maxmemory", "1gb"])[1:] == [
        *("-m", "kvnode", "serve", "--node-id", "2", "--port", "7002"),
        *("--raft-listen", "127.0.0.1:7102"),
        *("--cluster", "1=127.0.0.1:7101,2=127.0.0.1:7102"),
        *("--raft-secret-file", str(tmp_path / "secret")),
        *("--data-dir", str(tmp_path / "node-2"), "--maxmemory", "1gb"),
    ]


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(local_cluster, "run", lambda plan, options, access: started.append(options))
    words = ["cluster", "start", "--nodes", "1", "--data-dir", str(tmp_path), "--", "--hz", "5"]
    assert CliRunner().invoke(main, words).exit_code == 0
    assert started == [("--hz", "5")]


# -- processes ----------------------------------------------------------------------------------


class Said:
    """What was said, and what is to be done when something is."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.reactions: dict[tuple[str, str], Callable[[], None]] = {}

    def __call__(self, who: str, line: str) -> None:
        self.lines.append((who, line))
        if reaction := self.reactions.get((who, line)):
            reaction()


def interrupt() -> None:
    signal.raise_signal(signal.SIGTERM)


def script(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def leads(node_id: int) -> Callable[[int], dict]:
    return lambda asked: {"node_id": asked, "leader_id": node_id}


def make(scripts: dict[int, str], ask: Callable[[int], dict | None], said: Said) -> LocalCluster:
    return LocalCluster({i: script(text) for i, text in scripts.items()}, ask, said)


def run(scripts: dict[int, str], ask: Callable[[int], dict | None], said: Said) -> int:
    return trio.run(make(scripts, ask, said).run)


def test_a_leader_is_told_and_a_signal_stops_all() -> None:
    said = Said()
    said.reactions["cluster", "node 2 leads"] = interrupt
    assert run({1: OBEDIENT, 2: OBEDIENT}, leads(2), said) == 0
    assert said.lines.count(("cluster", "stopping")) == 1
    for node_id in (1, 2):
        who = f"node {node_id}"
        own = [line for name, line in said.lines if name == who]
        assert set(own) <= {"ready", "stopped"}
        assert any(line.startswith(f"{who} has ended with") for _, line in said.lines)


def test_lines_are_relayed_whole_and_long_ones_in_pieces() -> None:
    said = Said()
    text = "import sys; sys.stdout.write('a\\nb' + 'x' * 200000 + '\\nc')"
    assert run({1: text}, lambda node_id: None, said) == 1
    lines = [line for who, line in said.lines if who == "node 1"]
    assert lines[0] == "a"
    assert "".join(lines[1:]) == "b" + "x" * 200000 + "c"
    assert lines[-1] == "c"


def test_a_node_that_cannot_start_ends_all() -> None:
    said = Said()
    scripts = {1: OBEDIENT, 2: "raise SystemExit('port taken')"}
    assert run(scripts, lambda node_id: None, said) == 1
    assert ("node 2", "port taken") in said.lines
    assert ("cluster", "node 2 has ended with 1") in said.lines
    assert any(line.startswith("node 1 has ended") for _, line in said.lines)


def test_others_go_on_without_a_node_once_there_was_a_leader() -> None:
    """The leader ends, nobody leads, another one leads; only then a signal comes."""
    said = Said()
    leader = [1]
    scripts = {1: OBEDIENT, 2: OBEDIENT}
    cluster = make(scripts, lambda asked: leads(leader[0])(asked), said)
    said.reactions["cluster", "node 1 leads"] = lambda: cluster.processes[1].kill()
    killed = f"node 1 has ended with {-signal.SIGKILL}"
    said.reactions["cluster", killed] = lambda: leader.__setitem__(0, 0)
    said.reactions["cluster", "nobody leads"] = lambda: leader.__setitem__(0, 2)
    said.reactions["cluster", "node 2 leads"] = interrupt
    assert trio.run(cluster.run) == 0
    assert ("cluster", "nobody leads") in said.lines


def test_nobody_leads_any_more() -> None:
    said = Said()
    leader = [1]
    said.reactions["cluster", "node 1 leads"] = lambda: leader.__setitem__(0, 0)
    said.reactions["cluster", "nobody leads"] = interrupt
    assert run({1: OBEDIENT}, lambda asked: leads(leader[0])(asked), said) == 0


def test_a_second_signal_kills() -> None:
    said = Said()
    said.reactions["node 1", "ready"] = interrupt
    said.reactions["node 1", "no"] = interrupt
    assert run({1: STUBBORN}, lambda node_id: None, said) == 0
    assert ("cluster", f"node 1 has ended with {-signal.SIGKILL}") in said.lines


def test_a_node_that_does_not_answer_is_not_known() -> None:
    assert local_cluster.ask(Access(None, 1.0), {1: free_port()}, 1) is None
