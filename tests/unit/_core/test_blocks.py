"""Containers that never copy all they hold, against the standard library's; what a step costs."""

import subprocess
from pathlib import Path

import pytest

from tests.support.process import REPOSITORY

SOURCE = REPOSITORY / "tests" / "native" / "blocks_test.cpp"
OPERATIONS = 200_000


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    built = tmp_path_factory.mktemp("native") / "blocks_test"
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Wno-mismatched-new-delete"]
    command = ["g++", *flags, f"-I{REPOSITORY / 'kvnode' / '_core'}", "-Wl,--wrap=malloc"]
    subprocess.run([*command, str(SOURCE), "-o", str(built)], check=True)
    return built


def run(program: Path, *words: object) -> str:
    command = [str(program), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("seed", [1, 2])
def test_they_hold_what_the_model_holds_and_no_step_is_long(program, seed):
    assert run(program, seed, OPERATIONS) == "ok\n"


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("vector", "FAILED: one operation allocates a bounded block\n"),
        ("map", "FAILED: one operation moves the elements of one bucket\n"),
    ],
)
def test_containers_that_are_copied_as_they_grow_are_seen(program, planted, found):
    assert run(program, 1, OPERATIONS, planted) == found
