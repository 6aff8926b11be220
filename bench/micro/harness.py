"""Runs every scenario once under callgrind's marks; started by bench.micro.callgrind.

A target is "module:function". The function takes nothing and returns feed(bytes) -> bytes, which
executes all complete requests on one session, lets their batch commit, and returns the replies.
"""

import ctypes
import gc
import importlib
import sys
from collections.abc import Callable

from bench.load import build
from bench.micro.scenarios import Scenario, scenarios

Feed = Callable[[bytes], bytes]
WARM_ROUNDS = 2  # tables have grown, records are resident
ROUNDS = 3


class TargetError(Exception):
    """The target answered a request with an error."""


def resolve(target: str) -> Feed:
    """Return the feed function of a target."""
    module, _, function = target.partition(":")
    feed: Feed = getattr(importlib.import_module(module), function)()
    return feed


def run_round(feed: Feed, scenario: Scenario) -> bytes:
    """Feed one round; return the last replies."""
    replies = b""
    for piece in scenario.arrivals():
        replies = feed(piece)
    return replies


def main(target: str) -> None:
    """Run all scenarios against `target`."""
    marks = ctypes.CDLL(str(build("marks", shared=True)))
    feed = resolve(target)
    gc.disable()  # a collection in one scenario and not in another would be counted
    for scenario in scenarios():
        if scenario.prepare:
            feed(scenario.prepare)
        for _ in range(WARM_ROUNDS):
            replies = run_round(feed, scenario)
        if replies.startswith(b"-"):
            raise TargetError(f"{scenario.name}: {replies[:80]!r}")
        marks.scenario_begin()
        for _ in range(ROUNDS):
            run_round(feed, scenario)
        marks.scenario_end(scenario.name.encode())


if __name__ == "__main__":
    main(sys.argv[1])
