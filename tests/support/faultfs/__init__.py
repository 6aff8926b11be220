"""Watched directories: build the preloaded shim, hand out its environment, set its fault rules.

The shim itself is C (shim.c says what it does). It is built on demand into the user's temporary
directory, under a name that contains a digest of the sources.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent
COMPILE_SECONDS_MAX = 60


class ShimUnavailable(Exception):
    """The shim cannot be built here. Tests skip with this text."""


def build_shim() -> Path:
    """Return the path of the shared object, compiled if its sources are newer than any build."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise ShimUnavailable("the disk shim needs a C compiler (gcc)")
    sources = sorted(SOURCES.glob("*.c"))
    digest = hashlib.sha256()
    for path in [*sources, SOURCES / "shim.h"]:
        digest.update(path.read_bytes())
    cache = Path(tempfile.gettempdir()) / f"kvnode-faultfs-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    target = cache / f"{digest.hexdigest()[:16]}.so"
    if not target.exists():
        # Built beside and renamed: two test runs at once must not load half a file.
        partial = target.with_suffix(f".{os.getpid()}")
        command = [compiler, "-shared", "-fPIC", "-O1", "-U_FORTIFY_SOURCE", "-Wall", "-Wextra"]
        command += ["-o", str(partial), *map(str, sources), "-ldl", "-lpthread"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMPILE_SECONDS_MAX, check=False
        )
        if done.returncode != 0:
            raise ShimUnavailable(f"the disk shim does not compile here: {done.stderr.strip()}")
        partial.rename(target)
    return target


class WatchedDirectory:
    """A directory whose unsynced changes are known, with what the shim needs beside it.

    path: the directory, created if absent.   state: `<path>.faultfs`, on the same file system.
    lenient: pattern of the directories in which the sync of a new file keeps its name, too.
    """

    def __init__(self, path: Path, *, lenient: str = "") -> None:
        self.lenient = lenient
        path.mkdir(parents=True, exist_ok=True)
        self.path = path.resolve()
        self.state = self.path.with_name(self.path.name + ".faultfs")
        self.control = self.state / "control"
        (self.state / "inodes").mkdir(parents=True, exist_ok=True)
        self._shim = build_shim()

    @property
    def journal(self) -> Path:
        """The undo journal that watched processes append to."""
        return self.state / "journal"

    def environment(self, *, sync_us: int | None = None, plant: str | None = None) -> dict:
        """Return the variables that make a process watched.

        sync_us: pretend syncs of so many microseconds; None: real ones.
        plant: ignore_fdatasync or early_fdatasync, the deliberate bugs.
        """
        # Behind what is preloaded already: a sanitizer's runtime insists on being first.
        preloaded = [os.environ.get("LD_PRELOAD", ""), str(self._shim)]
        variables = {
            "LD_PRELOAD": ":".join(filter(None, preloaded)),
            "FAULTFS_ROOT": str(self.path),
            "FAULTFS_STATE": str(self.state),
            "FAULTFS_CONTROL": str(self.control),
        }
        if sync_us is not None:
            variables["FAULTFS_SYNC_US"] = str(sync_us)
        if plant is not None:
            variables["FAULTFS_PLANT"] = plant
        return variables

    def set_rules(self, *rules: str) -> None:
        """Replace the fault rules (grammar: rules.c), also those of running processes."""
        partial = self.control.with_suffix(".new")
        partial.write_text("".join(f"{rule}\n" for rule in rules))
        partial.replace(self.control)

    def settle(self) -> None:
        """Declare all that was written to be on disk. No watched process may be running."""
        self.journal.unlink(missing_ok=True)
        for kept in (self.state / "inodes").iterdir():
            kept.unlink()
