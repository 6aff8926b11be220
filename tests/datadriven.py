"""Tests as text files: a command, "----", what it must print.

    # comments are kept
    verb word key=value key=(1,2)
    lines of input, if any
    ----
    expected output

Cases are separated by empty lines. `pytest --rewrite` writes what was printed into the files;
commit only a difference that you can explain.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Case:
    """One command of a file."""

    verb: str
    words: list[str]
    values: dict[str, str]
    body: str
    where: str
    head: list[str] = field(repr=False)  # its lines up to and with "----"
    expected: str = ""

    def number(self, key: str, default: int | None = None) -> int:
        if key not in self.values:
            assert default is not None, f"{self.where}: {key}= is missing"
            return default
        return int(self.values[key])

    def items(self, key: str) -> list[str]:
        """Return the parts of key=(a,b), or of key=a."""
        text = self.values.get(key, "").strip("()")
        return [part for part in text.split(",") if part]


def parse(path: Path) -> list[list[str] | Case]:
    """Return the cases of a file, and the comments between them as lists of lines."""
    parts: list[list[str] | Case] = []
    blocks = path.read_text().split("\n\n")
    line = 1
    for block in blocks:
        lines = block.strip("\n").split("\n")
        where = f"{path.name}:{line}"
        line += block.count("\n") + 2
        if "----" in lines:
            parts.append(_parse_case(lines, where))
        elif block.strip():
            parts.append(lines)
    return parts


def _parse_case(lines: list[str], where: str) -> Case:
    bar = lines.index("----")
    first = next(n for n, text in enumerate(lines) if not text.startswith("#"))
    verb, *rest = lines[first].split()
    return Case(
        verb,
        [word for word in rest if "=" not in word],
        dict(word.split("=", 1) for word in rest if "=" in word),
        "\n".join(lines[first + 1 : bar]),
        where,
        lines[: bar + 1],
        "\n".join(lines[bar + 1 :]),
    )


def run(path: Path, handle: Callable[[Case], str], *, rewrite: bool = False) -> None:
    """Run each case of a file through `handle`; it prints by returning."""
    parts = parse(path)
    assert any(isinstance(part, Case) for part in parts), f"{path.name} has no cases"
    for part in parts:
        if isinstance(part, Case):
            printed = handle(part).strip("\n") or "ok"
            assert "\n\n" not in printed, "an empty line ends a case"
            if rewrite:
                part.expected = printed
            assert printed == part.expected, (
                f"{part.where}: {' '.join(part.head)}\n--- printed:\n{printed}\n"
                f"--- expected:\n{part.expected}"
            )
    if rewrite:
        blocks = [
            "\n".join([*part.head, part.expected] if isinstance(part, Case) else part)
            for part in parts
        ]
        path.write_text("\n\n".join(blocks) + "\n")
