"""`--failpoint NAME=ACTION[:ARGUMENT][@AFTER]`: what to do at a named place. Debug builds only.

In the log writer: before_write, after_write, before_sync, after_sync, segment_switch, with the
actions exit (kill -9), error:ERRNO, delay:MS, skip. Of a checkpoint, with the action exit:
before_ and after_ checkpoint_slice, checkpoint_compact, checkpoint_record, and before_log_cut.
AFTER: hits that pass first (of exit also as its ARGUMENT).
"""

import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass

from kvnode._core.logwriter import ACTIONS, FAILPOINTS, LogWriter
from kvnode.base.errors import ConfigError

CHECKPOINT_POINTS = (
    *(
        f"{when}_checkpoint_{step}"
        for step in ("slice", "compact", "record")
        for when in ("before", "after")
    ),
    "before_log_cut",
)


@dataclass
class Failpoint:
    """One armed place."""

    name: str
    action: str
    argument: int
    after: int


def parse(text: str) -> Failpoint:
    """Raises ConfigError."""
    name, _, rest = text.partition("=")
    rest, _, after = rest.partition("@")
    action, _, argument = rest.partition(":")
    if name not in (*FAILPOINTS, *CHECKPOINT_POINTS):
        known = ", ".join((*FAILPOINTS, *CHECKPOINT_POINTS))
        raise ConfigError(f"no failpoint {name!r}: there are {known}")
    if action not in ACTIONS or (name in CHECKPOINT_POINTS and action != "exit"):
        raise ConfigError(f"failpoint {name} cannot {action!r}: see kvnode/server/failpoints.py")
    if action == "exit":
        after, argument = after or argument, ""
    return Failpoint(name, action, int(argument or 0), int(after or 0))


class Failpoints:
    """The armed places of a node. reached(name) is called at those of a checkpoint."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._points = [parse(text) for text in texts]

    def arm(self, log: LogWriter) -> None:
        """Arm those of the log writer. Raises ConfigError in a release build."""
        if not self._points:
            return
        try:
            log.arm_failpoint(FAILPOINTS[0], "off")
            for point in self._points:
                if point.name in FAILPOINTS:
                    log.arm_failpoint(point.name, point.action, point.argument, point.after)
        except RuntimeError as error:
            raise ConfigError(str(error)) from error

    def reached(self, name: str) -> None:
        """The node is at the place `name`."""
        for point in self._points:
            if point.name == name:
                if point.after == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                point.after -= 1
