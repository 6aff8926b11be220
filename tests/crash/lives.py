"""Many lives of one child process on one directory, each ended by kill -9 and often a power loss.

A child prints what it found, `ready`, then facts with a number, until it is killed: at a random
moment or at an operation on the disk, while it recovers or later.
"""

import contextlib
import os
import subprocess
import sys
from random import Random

from tests.support.faultfs import WatchedDirectory
from tests.support.powerloss import lose_power
from tests.support.process import REPOSITORY

LIVES = int(os.environ.get("KVNODE_CRASH_ROUNDS", "10"))
SEED = int(os.environ.get("KVNODE_CRASH_SEED", "1"))
LIFE_SECONDS_MAX = 0.15  # of a child that is ready
SYNC_US = [0, 300, 3000]  # length of pretended syncs, one choice per life
KILL_SITES = [
    "write * kill after={}",
    "write * kill-after after={}",
    "sync * kill after={}",
    "sync * kill-after after={}",
    "write * short after={} count=1",
    "rename * kill",
    "rename * kill-after after=1",
    "unlink * kill",
    "open * kill-after",
]


class Lives:
    """One run. Subclasses say what to start and what must hold; they raise AssertionError."""

    module: str

    def __init__(self, disk: WatchedDirectory, random: Random, plant: str | None) -> None:
        self.disk = disk
        self.random = random
        self.plant = plant
        self.history: list[str] = []  # what happened, for the report of a failure

    def arguments(self, life: int) -> list:
        """Return the child's arguments."""
        raise NotImplementedError

    def verify(self, lines: list[list[str]], life: int) -> None:
        """Check what the child found when it started."""
        raise NotImplementedError

    def note(self, kind: str, number: int) -> None:
        """Take a fact that the child stated later."""
        raise NotImplementedError

    def live_on(self, lives: int) -> None:
        """Live so many lives."""
        for life in range(1, lives + 1):
            self.history.append(f"life {life}")
            try:
                self._live(life)
            except AssertionError as error:
                raise AssertionError("\n".join([str(error), *self.history[-40:]])) from error

    def _live(self, life: int) -> None:
        environment = self.disk.environment(sync_us=self.random.choice(SYNC_US), plant=self.plant)
        with subprocess.Popen(
            [sys.executable, "-m", self.module, *map(str, self.arguments(life))],
            env=dict(os.environ, **environment),
            cwd=REPOSITORY,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                self._watch(process, life)
            finally:
                process.kill()
        self.disk.set_rules()
        if self.random.random() < 0.8:
            self.history += lose_power(self.disk, self.random)

    def _watch(self, process: subprocess.Popen, life: int) -> None:
        # Rules from the start: a recovery that is killed must leave what recovers.
        if self.random.random() < 0.3:
            self._arm()
        found: list[list[str]] = []
        for line in process.stdout:
            found.append(line.split())
            if found[-1] == ["ready"]:
                break
        self.disk.set_rules()
        if not found or found.pop() != ["ready"]:
            assert process.wait() == -9, process.stderr.read()
            return
        self.verify(found, life)
        if self.random.random() < 0.7:
            self._arm()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self.random.uniform(0.02, LIFE_SECONDS_MAX))
        process.kill()
        for line in process.stdout:
            kind, number = line.split()
            self.note(kind, int(number))
            self.history.append(line.strip())
        error = process.stderr.read()
        assert not error, error

    def _arm(self) -> None:
        rule = self.random.choice(KILL_SITES).format(self.random.randint(0, 60))
        self.history.append(f"rule: {rule}")
        self.disk.set_rules(rule)
