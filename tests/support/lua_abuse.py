"""Runs tests/data/lua/abuse.txt: attempts to break out of a Lua state, or to break it.

    python -m tests.support.lua_abuse [--rewrite] [--unsealed] [words]

In a process of its own: a crash or a hang is a failure, and the last line printed names the
attempt. With words, only attempts that contain one of them.
"""

import argparse
import signal
from pathlib import Path

from kvnode.scripting.runtime import OUT_OF_MEMORY, new_state
from tests import datadriven

PATH = Path(__file__).parents[1] / "data" / "lua" / "abuse.txt"
STEPS = 3_000_000
MEMORY_BYTES = 64 << 20
SECONDS_MAX = 60  # an attempt that takes longer was not stopped
GLOBALS = 32.0

# Works as ever, and whatever an attempt could have left behind is not there.
HEALTH = b"""
local n = 0
for k, v in pairs(_G) do n = n + 1 end
return n, string.format('%d', 7), ('x'):upper(), pcall(rawset, string, 'evil', 1),
    rawget(string, 'evil'), rawget(_G, 'x'), rawget(getmetatable(''), '__add'), cjson.encode({1}),
    collectgarbage('count') < 30000
"""
HEALTHY = [GLOBALS, b"7", b"X", False, None, None, None, b"[1]", True]


class Abuse:
    """Attempts one after another, in one state as long as it lasts."""

    def __init__(self, words: list[str], *, sealed: bool) -> None:
        self._words = words
        self._sealed = sealed
        self._state = None

    def handle(self, case: datadriven.Case) -> str:
        """Return what one attempt came to."""
        if self._words and not any(word in case.body for word in self._words):
            return case.expected
        print(case.where, case.body[:100], flush=True)
        if self._state is None:
            self._state = new_state()
            if self._sealed:
                self._state.seal()
        signal.alarm(SECONDS_MAX)
        stopped, values, error = self._state.evaluate(
            case.body.encode(), steps=case.number("steps", STEPS), memory_bytes=MEMORY_BYTES
        )
        if stopped == OUT_OF_MEMORY:
            self._state = None
        else:
            self._check_health()
        signal.alarm(0)
        if stopped:
            if case.verb == "stops":
                return "stopped"
            return "out of memory" if stopped == OUT_OF_MEMORY else "out of steps"
        if error is not None:
            return f"error: {error!r}"
        return f"values: {values!r}"

    def _check_health(self) -> None:
        run = self._state.evaluate
        run(b"collectgarbage() collectgarbage()", steps=STEPS, memory_bytes=MEMORY_BYTES)
        found = run(HEALTH, steps=STEPS, memory_bytes=MEMORY_BYTES)
        assert found == (0, HEALTHY, None), f"afterwards: {found!r}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rewrite", action="store_true")
    parser.add_argument(
        "--unsealed", action="store_true", help="planted: globals as Lua makes them"
    )
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    abuse = Abuse(options.words, sealed=not options.unsealed)
    datadriven.run(PATH, abuse.handle, rewrite=options.rewrite)


if __name__ == "__main__":
    main()
