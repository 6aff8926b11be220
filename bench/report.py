"""Results as Markdown for people and as one JSON object per line for history."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from bench import OUT, machine

HISTORY = OUT / "history.ndjson"


def say(text: str = "") -> None:
    """Write a line of the report to stdout."""
    click.echo(text)


def progress(text: str) -> None:
    """Write a line of progress to stderr."""
    click.echo(text, err=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is a name, the others are figures."""
    lines = [
        "| " + " | ".join(header) + " |",
        "|" + "---|" * 1 + "---:|" * (len(header) - 1),
    ]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def count(value: float) -> str:
    """Return a number with three significant digits: 1.23M, 45.6k, 789."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def mib(value: float) -> str:
    """Return a number of bytes in MiB."""
    return f"{value / 2**20:.0f} MiB"


def remember(scenario: str, fields: dict[str, Any], history: Path = HISTORY) -> None:
    """Append one result to the history, with commit, time and machine."""
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": machine.commit(),
        "machine": machine.processor(),
        "scenario": scenario,
        **fields,
    }
    history.parent.mkdir(exist_ok=True)
    with history.open("a") as file:
        file.write(json.dumps(line) + "\n")
