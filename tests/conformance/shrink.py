"""Makes a script that fails shorter, within a bounded time.

Hypothesis could do it better, and would take minutes where each try is a conversation with two
servers: in a test run that is too long.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.conformance.differential import Difference
from tests.conformance.generators import Burst, Script

SHRINK_SECONDS_MAX = 10.0


def run_and_shrink(run: Callable[[Script], None], script: Script) -> None:
    """Run `script`; if it fails, raise the Difference of the shortest script found to fail."""
    try:
        run(script)
    except Difference as difference:
        raise _shortest(run, script, difference) from None


def _shortest(run: Callable[[Script], None], script: Script, found: Difference) -> Difference:
    deadline = time.monotonic() + SHRINK_SECONDS_MAX
    is_shorter = True
    while is_shorter:
        is_shorter = False
        for candidate in _shorter(script):
            if time.monotonic() > deadline:
                return found
            try:
                run(candidate)
            except Difference as difference:
                script, found, is_shorter = candidate, difference, True
                break
    return found


def _shorter(script: Script) -> Iterator[Script]:
    """Yield scripts without some of the bursts, many at first, then without single commands."""
    bursts = script.bursts
    size = len(bursts) // 2
    while size:
        for at in range(0, len(bursts), size):
            yield replace(script, bursts=bursts[:at] + bursts[at + size :])
        size //= 2
    for at, burst in enumerate(bursts):
        for index in range(len(burst.commands) if len(burst.commands) > 1 else 0):
            commands = burst.commands[:index] + burst.commands[index + 1 :]
            less = Burst(burst.connection, commands)
            yield replace(script, bursts=(*bursts[:at], less, *bursts[at + 1 :]))
