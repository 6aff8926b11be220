"""Imports go strictly down, third-party packages have one owner, lower layers touch no clock."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "kvnode"

LAYERS = (
    "base",
    "_core",
    "storage",
    "raft",
    "txn",
    "commands",
    "scripting",
    "server",
    "cli",
    "__main__",
)
SIDEWAYS_FORBIDDEN = {("raft", "storage")}  # raft declares what it needs; storage fits it
OWNERS = {
    "plyvel": ("storage/leveldb.py",),
    "lupa": ("scripting/",),
    "trio": ("server/", "cli/"),
    "structlog": ("server/",),
    "click": ("__main__.py", "cli/"),
}
IMPURE = {"time", "random", "threading", "socket", "uuid", "secrets"}
IMPURE_ALLOWED = ("base/clock.py", "server/", "cli/", "__main__.py", "_core/reactor.pyx")


def modules() -> Iterator[tuple[str, str, list[str]]]:
    """Yield (path below kvnode/, layer, imported module names) of every module."""
    for path in sorted(PACKAGE.rglob("*.py")) + sorted(PACKAGE.rglob("*.p[yx][xd]")):
        name = path.relative_to(PACKAGE).as_posix()
        if name == "__init__.py":
            continue
        layer = name.split("/")[0].removesuffix(".py")
        imports = python_imports(path) if path.suffix == ".py" else cython_imports(path)
        yield name, layer, imports


def python_imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def cython_imports(path: Path) -> list[str]:
    pattern = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))", re.M)
    return [a or b for a, b in pattern.findall(path.read_text())]


def violations(found: Iterator[tuple[str, str, list[str]]]) -> list[str]:
    bad = []
    for name, layer, imports in found:
        for imported in imports:
            top, _, rest = imported.partition(".")
            if top == "kvnode":
                target = rest.split(".")[0]
                if target not in LAYERS:
                    continue
                if LAYERS.index(target) > LAYERS.index(layer):
                    bad.append(f"{name} imports {imported}: upward")
                if (layer, target) in SIDEWAYS_FORBIDDEN:
                    bad.append(f"{name} imports {imported}: not allowed")
            elif top in OWNERS and not name.startswith(OWNERS[top]):
                bad.append(f"{name} imports {top}, which belongs to {OWNERS[top]}")
            elif top in IMPURE and not name.startswith(IMPURE_ALLOWED):
                bad.append(f"{name} imports {top}: pass it in")
            elif top == "tests":
                bad.append(f"{name} imports tests")
    return bad


def test_imports_go_down() -> None:
    assert violations(modules()) == []


@pytest.mark.parametrize(
    ("name", "layer", "imported"),
    [
        ("base/x.py", "base", "kvnode._core.tip"),
        ("raft/x.py", "raft", "kvnode.storage.log"),
        ("txn/x.py", "txn", "trio"),
        ("storage/x.py", "storage", "time"),
        ("storage/memory.py", "storage", "plyvel"),
        ("commands/x.py", "commands", "kvnode.scripting.runtime"),
        ("server/x.py", "server", "lupa"),
    ],
)
def test_a_planted_violation_is_found(name: str, layer: str, imported: str) -> None:
    assert violations(iter([(name, layer, [imported])]))


def test_modules_stay_small() -> None:
    """One file, one concept; the few exceptions only shrink."""
    longest = {
        "_core/tip.pyx": 1010,
        "_core/view.pyx": 880,
        "_core/sequencer.pyx": 670,
        "_core/reactor.pyx": 530,
    }
    for path in sorted(PACKAGE.rglob("*.py")) + sorted(PACKAGE.rglob("*.p[yx][xd]")):
        name = path.relative_to(PACKAGE).as_posix()
        lines = len(path.read_text().splitlines())
        assert lines <= longest.get(name, 520), f"{name} has {lines} lines"


def test_sources_are_clean() -> None:
    """No leftovers: unfinished marks, overlong lines, module without a purpose line."""
    for path in sorted(PACKAGE.rglob("*.py")) + sorted(PACKAGE.rglob("*.p[yx][xd]")):
        text = path.read_text()
        assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text), path
        for number, line in enumerate(text.splitlines(), 1):
            assert len(line) <= 110, f"{path}:{number} is {len(line)} columns wide"
