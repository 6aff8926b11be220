"""Attempts to break out of a Lua state (tests/data/lua/abuse.txt), in a process of their own."""

import subprocess
import sys

from tests.support.process import REPOSITORY


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tests.support.lua_abuse", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_no_attempt_succeeds(rewrite: bool) -> None:
    ended = run("--rewrite") if rewrite else run()
    assert ended.returncode == 0, ended.stdout[-500:] + ended.stderr[-2000:]


def test_a_state_without_protection_is_found() -> None:
    ended = run("--unsealed", "string.x = 1")
    assert ended.returncode != 0
    assert "AssertionError" in ended.stderr
