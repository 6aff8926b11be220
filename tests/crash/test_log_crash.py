"""The native log writer and its recovery on real files: kill -9, disk operations, power loss."""

import contextlib
import os
import subprocess
import sys
from random import Random

import pytest

from tests.support.powerloss import lose_power
from tests.support.process import REPOSITORY

pytest.importorskip("kvnode._core.logwriter", reason="the native core is not built")

LIVES = int(os.environ.get("KVNODE_CRASH_ROUNDS", "10"))
SEED = int(os.environ.get("KVNODE_CRASH_SEED", "1"))
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


class LogRun:
    """Lives of one log. Entries are known by the life that wrote them."""

    def __init__(self, disk, seed, plant=None):
        self.disk = disk
        self.random = Random(seed)
        self.plant = plant
        self.checkpoint = 0
        self.known = {}  # index -> life that wrote it, as last recovered
        self.writing_life = 0  # the last one that got as far as writing
        self.acked = 0

    def live_on(self, lives):
        for life in range(1, lives + 1):
            self.live(life)

    def live(self, life):
        """One process: what it recovers must fit what the one before acknowledged."""
        directory = str(self.disk.path / "log")
        environment = self.disk.environment(
            sync_us=self.random.choice([0, 300, 3000]), plant=self.plant
        )
        command = [sys.executable, "-m", "tests.crash.log_child", directory, str(life)]
        command += [str(self.checkpoint), str(self.random.getrandbits(32))]
        with subprocess.Popen(
            command,
            env=dict(os.environ, **environment),
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                self.watch(process, life)
            finally:
                process.kill()
        self.disk.set_rules()
        return lose_power(self.disk, self.random) if self.random.random() < 0.8 else []

    def watch(self, process, life):
        """Let one process live for a while."""
        # Rules from the start: a recovery that is killed must leave a log that recovers.
        if self.random.random() < 0.3:
            self.arm()
        recovered = []
        for line in process.stdout:
            recovered.append(line.split())
            if recovered[-1] == [b"ready"]:
                break
        self.disk.set_rules()
        if not recovered or recovered[-1] != [b"ready"]:
            assert process.wait() == -9, process.stderr.read().decode()
            return
        self.verify([(int(index), int(who)) for _, index, who in recovered[:-1]])
        self.writing_life = life
        if self.random.random() < 0.7:
            self.arm()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self.random.uniform(0.02, 0.15))
        process.kill()
        for kind, index in (line.split() for line in process.stdout):
            if kind == b"cut":
                self.checkpoint = int(index)
            else:
                self.acked = int(index)
        error = process.stderr.read().decode()
        assert not error, error

    def arm(self):
        site = self.random.choice(KILL_SITES)
        self.disk.set_rules(site.format(self.random.randint(0, 60)))

    def verify(self, entries):
        first = entries[0][0] if entries else self.checkpoint + 1
        assert [index for index, _ in entries] == list(range(first, first + len(entries)))
        assert first <= self.checkpoint + 1
        last = first + len(entries) - 1
        assert last >= self.acked, f"lost: acknowledged {self.acked}, recovered up to {last}"
        # Older entries are the ones known before; newer ones were all written by the last life.
        assert all(self.known.get(index, who) == who for index, who in entries)
        newer = {who for index, who in entries if index not in self.known}
        assert newer <= {self.writing_life}
        self.known = dict(entries)
        self.acked = last


@pytest.mark.parametrize("seed", range(SEED, SEED + 2))
def test_log_survives(disk, seed):
    run = LogRun(disk, seed)
    run.live_on(LIVES)
    assert run.acked > 0


@pytest.mark.parametrize("plant", ["ignore_fdatasync", "early_fdatasync"])
def test_planted_bug_is_found(disk, plant):
    run = LogRun(disk, SEED, plant)
    with pytest.raises(AssertionError):
        run.live_on(20)
