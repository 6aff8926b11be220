"""What the machine gives this process: memory."""

import ctypes
from pathlib import Path

from kvnode.base.errors import ConfigError

MEMINFO = Path("/proc/meminfo")
CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
M_MXFAST = 1  # of mallopt()
SELF_CGROUP = Path("/proc/self/cgroup")
CGROUP_ROOT = Path("/sys/fs/cgroup")


def total_memory_bytes() -> int:
    """Return the machine's memory. Raises ConfigError where it cannot be found out."""
    try:
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    raise ConfigError(f"cannot tell the machine's memory from {MEMINFO}: give --maxmemory")


def order_memory_at_once() -> None:
    """Have free() put neighbouring pieces together, instead of a later malloc() with millions.

    glibc keeps small pieces that were freed in lists, and goes through all of them when somebody
    asks for a large one: 40 ms in one pass after a set of 1,000,000 members was freed.
    """
    ctypes.CDLL(None).mallopt(M_MXFAST, 0)


def available_memory_bytes() -> int:
    """Return how much memory this process may use: the machine's, or less by its control group."""
    limits = [limit for path in _limit_files() if (limit := _read_limit(path)) is not None]
    return min([total_memory_bytes(), *limits])


def _limit_files() -> list[Path]:
    paths = list(CGROUP_LIMITS)
    try:
        for line in SELF_CGROUP.read_text().splitlines():
            number, _, rest = line.partition(":")
            if number == "0":  # control groups, version 2
                own = CGROUP_ROOT / rest.partition(":")[2].lstrip("/")
                paths += [parent / "memory.max" for parent in (own, *own.parents)]
    except OSError:
        pass
    return paths


def _read_limit(path: Path) -> int | None:
    """Return the limit in a file of a control group, None when there is none."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
