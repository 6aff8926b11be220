"""Counts the instructions of every scenario: `python -m bench.micro.callgrind`."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from bench import ROOT, report
from bench.micro.harness import ROUNDS
from bench.micro.scenarios import scenarios

TARGET = "kvnode.server.local:connect"
TRIGGER = re.compile(r"^desc: Trigger: Client Request: (.*)$", re.MULTILINE)
TOTALS = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


class CountError(Exception):
    """The harness failed under valgrind; the message is what it said."""


def missing() -> str | None:
    """Return why nothing can be counted here, or None."""
    for program in ("valgrind", "gcc"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if not Path("/usr/include/valgrind/callgrind.h").exists():
        return "valgrind's headers are not installed"
    return None


def environment() -> str:
    """Return what decides the machine code: counts compare only where this is the same."""
    compiler = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True)
    version = ".".join(str(part) for part in sys.version_info[:3])
    return f"python {version}, gcc {compiler.stdout.strip()}, {os.uname().machine}"


def count(target: str = TARGET, keep: Path | None = None) -> dict[str, float]:
    """Return user-mode instructions per operation by scenario.

    `keep`: a directory for callgrind's files, to be read with callgrind_annotate.
    Raises CountError.
    """
    with tempfile.TemporaryDirectory() as scratch:
        directory = keep or Path(scratch)
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet"]
        command += [f"--callgrind-out-file={directory}/callgrind.%p", "--dump-instr=no"]
        command += [sys.executable, "-m", "bench.micro.harness", target]
        # A fixed hash seed: the order of Python's sets and dicts is part of the count.
        fixed = os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=fixed)
        if ran.returncode:
            raise CountError(ran.stderr.strip())
        return read(directory)


def read(directory: Path) -> dict[str, float]:
    """Read the dumps that callgrind left in `directory`."""
    operations = {one.name: one.operations * ROUNDS for one in scenarios()}
    counts = {}
    for path in directory.glob("callgrind.*"):
        text = path.read_text(errors="replace")
        trigger = TRIGGER.search(text)
        if trigger and trigger[1] in operations:
            counts[trigger[1]] = sum(map(int, TOTALS.findall(text)[:1])) / operations[trigger[1]]
    return {name: counts[name] for name in operations if name in counts}


@click.command()
@click.option("--target", default=TARGET, show_default=True)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Keep callgrind's files here, for callgrind_annotate.",
)
def main(target: str, keep: Path | None) -> None:
    """Print instructions per operation."""
    if reason := missing():
        report.say(f"skipped: {reason}")
        return
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
    counts = count(target, keep)
    report.say(f"{environment()}\n")
    rows = [[name, f"{value:.0f}"] for name, value in counts.items()]
    report.say(report.table(["", "instructions/op"], rows))
    report.remember("micro", {"environment": environment(), "instructions": counts})


if __name__ == "__main__":
    main()
