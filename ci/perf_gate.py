"""Fails when an operation takes more instructions than the committed baseline allows.

`python -m ci.perf_gate` compares; with `--update` it writes ci/perf_baseline.json anew, to be
committed together with the change that explains the difference.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from bench import report
from bench.micro import callgrind

BASELINE = Path(__file__).resolve().parent / "perf_baseline.json"
GROWTH_MAX = 0.02


def complaints(baseline: Mapping[str, float], counts: Mapping[str, float]) -> list[str]:
    """Return a sentence per scenario that grew past the limit, or is not in both."""
    said = []
    for name in sorted(baseline.keys() | counts.keys()):
        if name not in counts:
            said.append(f"{name} was not counted")
        elif name not in baseline:
            said.append(f"{name} has no baseline")
        elif counts[name] > baseline[name] * (1 + GROWTH_MAX):
            said.append(f"{name} grew by {counts[name] / baseline[name] - 1:.1%}")
    return said


def changes(baseline: Mapping[str, float], counts: Mapping[str, float]) -> str:
    """Return a table of both."""
    rows = []
    for name, value in counts.items():
        before = baseline.get(name)
        change = f"{value / before - 1:+.1%}" if before else "new"
        rows.append([name, f"{before:.0f}" if before else "-", f"{value:.0f}", change])
    return report.table(["instructions/op", "baseline", "now", "change"], rows)


def write_baseline(path: Path, environment: str, counts: Mapping[str, float]) -> None:
    """Make `counts` the baseline."""
    rounded = {name: round(value) for name, value in counts.items()}
    path.write_text(
        json.dumps({"environment": environment, "instructions": rounded}, indent=2) + "\n"
    )


@click.command()
@click.option("--target", default=callgrind.TARGET, show_default=True)
@click.option("--baseline", "path", default=BASELINE, type=click.Path(path_type=Path))
@click.option("--update", is_flag=True, help="Make the present counts the baseline.")
def main(target: str, path: Path, update: bool) -> None:
    """Compare instructions per operation with the baseline."""
    if reason := callgrind.missing():
        report.say(f"skipped: {reason}")
        return
    environment = callgrind.environment()
    if update:
        write_baseline(path, environment, callgrind.count(target))
        return
    if not path.exists():
        report.say(f"there is no {path.name}: write it with --update")
        sys.exit(1)
    stored = json.loads(path.read_text())
    if stored["environment"] != environment:
        report.say(f"skipped: {environment} here, the baseline is of {stored['environment']}")
        return
    counts = callgrind.count(target)
    report.say(changes(stored["instructions"], counts))
    if said := complaints(stored["instructions"], counts):
        report.say(f"\nthe limit is {GROWTH_MAX:.0%}: " + "; ".join(said))
        sys.exit(1)


if __name__ == "__main__":
    main()
