"""The native registry of subscriptions against a model, under the sanitizers."""

import subprocess
from pathlib import Path

import pytest

from tests.support.process import REPOSITORY

SOURCE = REPOSITORY / "tests" / "native" / "subscriptions_test.cpp"
OPERATIONS = 100_000


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    built = tmp_path_factory.mktemp("native") / "subscriptions_test"
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-fsanitize=address,undefined"]
    command = ["g++", *flags, f"-I{REPOSITORY / 'kvnode' / '_core'}"]
    subprocess.run([*command, str(SOURCE), "-o", str(built)], check=True)
    return built


def run(program: Path, *words: object) -> str:
    command = [str(program), *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.stdout + ended.stderr


@pytest.mark.parametrize("seed", [1, 2])
def test_it_holds_what_the_model_holds(program, seed):
    assert run(program, seed, OPERATIONS) == "ok\n"


def test_a_lost_removal_is_seen(program):
    assert run(program, 1, OPERATIONS, "loses").startswith("FAILED: ")
