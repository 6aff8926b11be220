"""Writes the pages of docs/ that are made from tables: COMMANDS.md and CONFIGURATION.md.

python -m ci.tables
"""

from pathlib import Path

from kvnode.commands import syntax
from kvnode.commands.row import Row
from kvnode.commands.table import built_rows
from kvnode.server.local import native_handlers
from kvnode.server.parameters import (
    FIXED,
    MEANINGFUL,
    ONLY,
    PARAMETERS,
    REFUSED_LINES,
    Parameter,
)

DOCS = Path(__file__).parents[1] / "docs"
GROUPS = (
    "string",
    "list",
    "hash",
    "set",
    "sorted-set",
    "generic",
    "transactions",
    "scripting",
    "pubsub",
    "connection",
    "server",
    "cluster",
    "sentinel",
)
PLACES = {"": "the leader", "local": "the client's node", "anywhere": "any node"}  # Row.place
GENERATED = "<!-- Made by `python -m ci.tables` from {source}: do not edit. -->\n"


def cell(text: str) -> str:
    """Return `text` so that it stays within a table's cell."""
    return text.replace("|", "\\|")


def command_line(row: Row) -> str:
    """Return a row as a line of a table."""
    usage = f"{row.title} {syntax.render(syntax.parse(row.syntax))}".strip()
    summary = row.summary
    if row.deprecated is not None:
        summary += f" Deprecated since {row.deprecated[0]}: {row.deprecated[1]}."
    place = PLACES[row.place]
    cells = (f"`{cell(usage)}`", cell(summary), cell(row.complexity), place, row.since)
    return f"| {' | '.join(cells)} |\n"


def commands() -> str:
    """Return docs/COMMANDS.md."""
    rows = [row for row in built_rows(native_handlers()) if row.handler or row.native]
    parts = [
        "# Commands\n",
        "\n",
        GENERATED.format(source="the command table"),
        "\n",
        f"{len(rows)} commands, with the arguments, replies and error texts of Redis 7.4. What is\n"
        "different on purpose is in [COMPATIBILITY.md](COMPATIBILITY.md). `COMMAND DOCS` returns\n"
        "the same to a client.\n",
    ]
    for group in GROUPS:
        if not any(row.group == group for row in rows):
            continue
        parts += [
            f"\n## {group.replace('-', ' ').capitalize()}\n",
            "\n",
            "| Command | | Cost | Runs at | Since |\n",
            "|---|---|---|---|---|\n",
            *(command_line(row) for row in rows if row.group == group),
        ]
    return "".join(parts)


def parameter_line(parameter: Parameter) -> str:
    """Return a parameter as a line of a table."""
    default = parameter.kind.format(parameter.default).decode()
    names = f"`{parameter.name}`"
    if parameter.option:
        names += f" (`--{parameter.option}`)"
    if parameter.alias:
        names += f", older `{parameter.alias}`"
    change = "yes" if parameter.is_mutable else "no"
    return f"| {names} | {cell(parameter.doc)} | `{default}` | {change} |\n"


def configuration() -> str:
    """Return docs/CONFIGURATION.md."""
    ignored = [
        parameter.name
        for parameter in PARAMETERS.values()
        if not parameter.has_meaning and parameter.name not in {*FIXED, *ONLY}
    ]
    refused = [(name, reason) for name, (_, reason) in ONLY.items()] + [*REFUSED_LINES.items()]
    parts = [
        "# Configuration\n",
        "\n",
        GENERATED.format(source="the table of parameters"),
        "\n",
        "A parameter is an option of `kvnode serve` (`--timeout 300`), a line of the file that\n"
        "`--config` names (`timeout 300`, the syntax of redis.conf with comments, quotes and\n"
        "`include`), and an argument of CONFIG GET and CONFIG SET. Options win over the file.\n"
        "Bytes may carry a unit: `k` = 1000, `kb` = 1024, `m`, `mb`, `g`, `gb`.\n",
        "\n",
        "| Parameter | | Default | CONFIG SET |\n",
        "|---|---|---|---|\n",
        *(parameter_line(parameter) for parameter in MEANINGFUL),
        "\n## Always so\n\n",
        "Accepted with any value, since kvnode always has its log and chooses its own time for\n"
        "checkpoints:\n\n",
        *(f"- `{name}` shows `{shown.decode()}`\n" for name, shown in FIXED.items()),
        "\n## Refused\n\n",
        "To ignore these would be worse than to refuse them:\n\n",
        *(f"- `{name}`: {reason}\n" for name, reason in refused),
        "\n## Accepted without meaning\n\n",
        "Known names of redis.conf 7 that mean nothing here. Their values are kept and shown, and\n"
        "the log says in one line which of them the file sets.\n\n",
        *(f"- `{name}`\n" for name in ignored),
    ]
    return "".join(parts)


PAGES = {"COMMANDS.md": commands, "CONFIGURATION.md": configuration}


def main() -> None:
    """Write all pages."""
    for name, make in PAGES.items():
        (DOCS / name).write_text(make())


if __name__ == "__main__":
    main()
