"""Crash rounds: write, kill, perhaps lose power, restart, verify; again, on the same directory.

    python -m tests.crash.harness --seed 7 --rounds 200 --power-loss
    python -m tests.crash.harness --server redis --options "--appendfsync no" --power-loss

Prints what each round did. A failure prints the seed and the command that repeats it. One seed
fixes every choice; the moment of a kill by time still depends on the machine, so a rare failure
may need several repetitions.
"""

import argparse
import contextlib
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from kvnode.server.failpoints import CHECKPOINT_POINTS, FAILPOINTS
from tests.crash.leftovers import leftovers_of, wait_swept
from tests.crash.workload import Workload
from tests.support import planted
from tests.support.faultfs import WatchedDirectory
from tests.support.powerloss import lose_power
from tests.support.resp import ErrorReply
from tests.support.servers import KvnodeServer, RedisServer, Server, ServerDied

WRITE_SECONDS_MAX = 0.4  # a round is killed within this after the writers start
SCENE_SHARE = 0.03  # of that time, in a round that is to end in the midst of something
SCENE_SECONDS_MAX = 10.0  # until that has begun
POLL_SECONDS = 0.002
DRAINED = 8  # elements that consumers have taken when a drain has begun
NOTHING_PUBLISHED = b"transactions_published_bytes:0\r"
SITE_SECONDS_MAX = 0.6  # a kill site that is not met within this becomes a kill by time
SYNC_US = [0, 200, 2000, 10_000]  # length of pretended syncs, one choice per round
SERVERS = {"kvnode": KvnodeServer, "redis": RedisServer}
SHIM_PLANTS = ["ignore_fdatasync", "early_fdatasync"]
# Commands that have the server do its background work while writers run.
NUDGES = {"kvnode": [["BGSAVE"], ["SAVE"]], "redis": []}


@dataclass(frozen=True, slots=True)
class KillSite:
    """A place to die: a rule of the disk shim, or a failpoint of a debug build.

    after_max: up to so many passes go well first.
    """

    text: str
    after_max: int = 0
    is_failpoint: bool = False


# By time, once something has begun.
PUBLISHING = KillSite("kill -9 of a publication")  # parts of large collections are written
PUBLISHED = KillSite("kill -9 behind a publication")
DRAINING = KillSite("kill -9 of a drain")  # the queue gets shorter, entry by entry
SCENES = {"publishing": PUBLISHING, "published": PUBLISHED, "draining": DRAINING}
TIMES = [PUBLISHING, DRAINING, None, None, None]  # None: at any moment
SHIM_SITES = [
    KillSite("write * kill", 300),
    KillSite("write * kill-after", 300),
    KillSite("sync * kill", 100),
    KillSite("sync * kill-after", 100),
    KillSite("open * kill-after", 10),
    KillSite("rename * kill", 3),
    KillSite("rename * kill-after", 3),
    KillSite("unlink * kill", 5),
    KillSite("unlink * kill-after", 5),
]

# Of debug builds of kvnode.
FAILPOINT_SITES = [
    *(KillSite(f"{name}=exit", 100, is_failpoint=True) for name in FAILPOINTS),
    *(KillSite(f"{name}=exit", 2, is_failpoint=True) for name in CHECKPOINT_POINTS),
]


@dataclass(slots=True)
class Plan:
    """What a run does.

    options: of the server's command line.   plant: a deliberate bug of the shim, or of kvnode.
    is_relaxed: a power loss may take acknowledged writes, but only the newest, and none by half.
    sites: a round draws one of them, or a time.   scene: of SCENES, all rounds end in it.
    """

    seed: int = 0
    rounds: int = 8
    server: str = "kvnode"
    options: list[str] = field(default_factory=list)
    is_power_loss: bool = False
    is_relaxed: bool = False
    plant: str | None = None
    sites: list[KillSite] = field(default_factory=lambda: SHIM_SITES)
    scene: str = ""

    def command(self) -> str:
        """Return the command line that repeats this run."""
        words = ["python", "-m", "tests.crash.harness", "--seed", str(self.seed)]
        words += ["--rounds", str(self.rounds), "--server", self.server]
        if self.options:
            words += ["--options", shlex.join(self.options)]
        if self.is_power_loss:
            words.append("--power-loss")
        if self.is_relaxed:
            words.append("--relaxed")
        if self.sites is FAILPOINT_SITES:
            words.append("--failpoints")
        if self.scene:
            words += ["--scene", self.scene]
        if self.plant:
            words += ["--plant", self.plant]
        return shlex.join(words)


class Violation(AssertionError):
    """The server broke its promise. The text tells what, in which round, and how to repeat it."""


class CrashRun:
    """One run of a plan on one directory.   say: takes one line of progress."""

    def __init__(self, plan: Plan, directory: Path, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.say = say
        self.random = Random(plan.seed)
        self.disk = WatchedDirectory(directory, lenient="db")
        self.server: Server = SERVERS[plan.server](self.disk.path, *plan.options)
        if plan.plant in planted.PLANTS:
            self.server.program = [planted.__name__, plan.plant]
        self.workload = Workload(self.random.getrandbits(32), is_redis=plan.server == "redis")
        self.round = 0
        self.history: list[str] = []

    def run(self) -> int:
        """Do all rounds and a clean stop; return how many writes were acknowledged.

        Raises Violation.
        """
        acknowledged = 0
        try:
            if self.plan.server == "redis":
                self._settle_first_start()
            while self.round < self.plan.rounds:
                self.round += 1
                acknowledged += self._crash_round()
            self._clean_stop()
        finally:
            self.server.kill()
        return acknowledged

    def _settle_first_start(self) -> None:
        """redis-server never syncs the directory that holds its own: not what is tested here."""
        self._start(None)
        self.server.terminate()
        self.disk.settle()

    def _crash_round(self) -> int:
        if self.random.random() < 0.2:
            self._die_during_start()
        site = self.random.choice([*self.plan.sites, *TIMES])
        scene = SCENES.get(self.plan.scene, site if site in SCENES.values() else None)
        if scene:
            site = None
        is_stopped = site is scene is None and self.random.random() < 0.3
        self._start(site)
        how = (site or scene).text if site or scene else "SIGTERM" if is_stopped else "kill -9"
        self._note(f"round {self.round}: writing, to be ended by {how}")
        publishes = scene in (PUBLISHING, PUBLISHED)
        self.workload.start(self.server, publishes=publishes, drains=scene is DRAINING)
        self._arm(site)
        seconds = SITE_SECONDS_MAX if site else self.random.uniform(0.02, WRITE_SECONDS_MAX)
        if scene:
            self._await(scene)
            seconds *= SCENE_SHARE
        else:  # what a scene is about shall be in the log
            self._nudge()
        self._expect_killed(seconds)
        if is_stopped:
            self._stop()
        self.server.kill()
        wrong = self.workload.join()
        self.disk.set_rules()
        acknowledged = self.workload.acknowledged
        self._note(f"round {self.round}: ended, {acknowledged} operations acknowledged")
        if wrong:
            self._fail(wrong)
        self._maybe_lose_power()
        return acknowledged

    def _await(self, scene: KillSite) -> None:
        """Return once the scene has begun, or it takes too long."""
        deadline = time.monotonic() + SCENE_SECONDS_MAX

        def wait(has_come: Callable[[], bool]) -> None:
            while not has_come() and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)

        if scene is DRAINING:
            wait(lambda: not self.workload.is_filling)
            self.workload.drain()
            wait(lambda: self.workload.queue.taken >= DRAINED)
        elif scene is PUBLISHED:
            wait(lambda: self.workload.has_published)
        else:
            with contextlib.suppress(OSError, ErrorReply), self.server.connect() as connection:
                wait(lambda: NOTHING_PUBLISHED not in connection.call("INFO", "kvnode"))

    def _die_during_start(self) -> None:
        """Recovery must be as safe as the rest: kill it, by time or at a disk operation."""
        site = self.random.choice([*(s for s in self.plan.sites if not s.is_failpoint), None])
        self._arm(site)
        self._launch(None)
        self._expect_killed(self.random.uniform(0.1, 0.8))
        self.server.kill()
        self.disk.set_rules()
        self._note(f"round {self.round}: killed while it started")
        self._maybe_lose_power()

    def _expect_killed(self, seconds: float) -> None:
        """Let it run; only a kill may end it meanwhile."""
        if self.server.process is None:
            return
        code = self.server.wait_exit(seconds)
        if code not in (None, -signal.SIGKILL):
            self._fail([f"it ended with exit code {code}; its log ends:\n{self.server.log()}"])

    def _stop(self) -> None:
        """SIGTERM must end it with exit code 0, also while writers write."""
        if self.server.process is None:
            return
        try:
            code = self.server.terminate()
        except TimeoutError as error:
            self._fail([str(error)])
        if code != 0:
            self._fail([f"SIGTERM: exit code {code}; its log ends:\n{self.server.log()}"])

    def _arm(self, site: KillSite | None) -> None:
        if site is not None and not site.is_failpoint:
            self.disk.set_rules(f"{site.text} after={self.random.randint(0, site.after_max)}")

    def _launch(self, site: KillSite | None) -> None:
        sync_us = self.random.choice(SYNC_US)
        plant = self.plan.plant if self.plan.plant in SHIM_PLANTS else None
        self.server.environment = self.disk.environment(sync_us=sync_us, plant=plant)
        self.server.options = list(self.plan.options)
        if site is not None and site.is_failpoint:
            after = self.random.randint(0, site.after_max)
            self.server.options += ["--failpoint", f"{site.text}@{after}"]
        self.server.start()

    def _start(self, site: KillSite | None) -> None:
        """Start it and compare its contents with what the writers know."""
        if not self._try_start(site):
            self._try_start(None)

    def _try_start(self, site: KillSite | None) -> bool:
        """Return False when a failpoint lay on the way and killed it."""
        self._launch(site)
        try:
            self.server.wait_ready()
            with self.server.connect() as connection:
                wrong = self.workload.verify(connection)
        except ServerDied as death:
            code, wrong = death.code, [f"it does not start any more: {death}"]
        except (OSError, ErrorReply) as error:
            code = self.server.wait_exit(1.0)
            wrong = [f"its contents cannot be read: {error}; its log ends:\n{self.server.log()}"]
        else:
            code = None
        if code == -signal.SIGKILL and site is not None and site.is_failpoint:
            return False
        if wrong:
            self._fail(wrong)
        return True

    def _nudge(self) -> None:
        nudges = NUDGES[self.plan.server]
        if not nudges or self.random.random() < 0.3:
            return
        command = self.random.choice(nudges)
        self._expect_killed(self.random.uniform(0, WRITE_SECONDS_MAX / 2))
        # It may die at any moment, or be at it already.
        with contextlib.suppress(OSError, ErrorReply), self.server.connect() as connection:
            connection.call(*command)

    def _maybe_lose_power(self) -> None:
        if not self.plan.is_power_loss:
            self.disk.settle()
        elif self.random.random() < 0.75:
            lost = lose_power(self.disk, self.random)
            if self.plan.is_relaxed:
                self.workload.forgive()
            self._note(
                f"round {self.round}: power lost; {'; '.join(lost) or 'nothing was unsynced'}"
            )

    def _clean_stop(self) -> None:
        """What a stop leaves is what it held, and of what was gone nothing."""
        self._start(None)
        self._stop()
        self._start(None)
        if self.plan.server == "kvnode":
            with self.server.connect() as connection:
                wait_swept(connection)
            self._stop()
            if wrong := leftovers_of(self.disk.path):
                self._fail(wrong)

    def _note(self, text: str) -> None:
        self.history.append(text)
        self.say(text)

    def _fail(self, wrong: list[str]) -> None:
        self.server.kill()
        recent = self.history[-6:]
        title = f"seed {self.plan.seed}, round {self.round}:"
        repeat = f"repeat: {self.plan.command()}"
        raise Violation("\n".join([title, *wrong, "before:", *recent, repeat]))


def run_plan(plan: Plan, directory: Path, say: Callable[[str], None] = lambda line: None) -> int:
    """Run a plan in a directory that does not exist yet; return the writes acknowledged.

    Raises Violation; then the directory stays for inspection, else it is removed.
    """
    try:
        acknowledged = CrashRun(plan, directory / "data", say).run()
    except Violation as violation:
        raise Violation(f"{violation}\ndata: {directory}") from None
    shutil.rmtree(directory)
    return acknowledged


def main(arguments: list[str]) -> int:
    """Run the plan of the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--server", choices=SERVERS, default="kvnode")
    parser.add_argument("--options", default="", help="more options of the server, quoted")
    parser.add_argument("--power-loss", action="store_true", help="lose what was not synced")
    parser.add_argument("--failpoints", action="store_true", help="of a debug build; no others")
    parser.add_argument("--relaxed", action="store_true", help="power loss may take the newest")
    parser.add_argument("--scene", choices=SCENES, default="", help="all rounds end in this one")
    parser.add_argument("--plant", choices=[*SHIM_PLANTS, *planted.PLANTS])
    chosen = parser.parse_args(arguments)
    plan = Plan(
        seed=chosen.seed,
        rounds=chosen.rounds,
        server=chosen.server,
        options=shlex.split(chosen.options),
        is_power_loss=chosen.power_loss,
        is_relaxed=chosen.relaxed,
        plant=chosen.plant,
        scene=chosen.scene,
        sites=FAILPOINT_SITES if chosen.failpoints else SHIM_SITES,
    )

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    try:
        directory = Path(tempfile.mkdtemp(prefix="kvnode-crash-"))
        say(f"{run_plan(plan, directory, say)} operations acknowledged, none lost")
    except Violation as violation:
        say(str(violation))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
