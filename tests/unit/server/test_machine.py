"""How much memory the process may use."""

from pathlib import Path

import pytest

from kvnode.base.errors import ConfigError
from kvnode.server import machine


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that are read, all of them absent."""
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "CGROUP_LIMITS", (tmp_path / "memory.max",))
    monkeypatch.setattr(machine, "SELF_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "CGROUP_ROOT", tmp_path / "root")
    return tmp_path


def test_the_machine_without_limits(files: Path) -> None:
    (files / "meminfo").write_text("MemFree: 1 kB\nMemTotal:  2048 kB\n")
    (files / "memory.max").write_text("max\n")
    assert machine.available_memory_bytes() == 2048 * 1024


def test_the_smallest_limit_of_all_groups_above(files: Path) -> None:
    (files / "meminfo").write_text("MemTotal: 2048 kB\n")
    (files / "cgroup").write_text("0::/a/b\n")
    (files / "root" / "a" / "b").mkdir(parents=True)
    (files / "root" / "a" / "memory.max").write_text("100000\n")
    (files / "root" / "a" / "b" / "memory.max").write_text("200000\n")
    assert machine.available_memory_bytes() == 100000


def test_unreadable_memory_says_what_to_do(files: Path) -> None:
    with pytest.raises(ConfigError, match="give --maxmemory"):
        machine.available_memory_bytes()


def test_the_real_machine() -> None:
    assert machine.available_memory_bytes() > 64 << 20
