"""What a node is made of on a real machine; a simulation of nodes has other parts."""

import os

from kvnode._core.dispatch import Dispatch
from kvnode._core.reactor import Reactor
from kvnode._core.sequencer import Sequencer
from kvnode.commands.table import build
from kvnode.server.executor import ThreadExecutor
from kvnode.server.local import native_handlers


class NodeParts:
    """The part of a Node that makes its parts."""

    _wake_fd: int

    def _make_wake_fd(self) -> int:
        return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def _make_executor(self, name: str, niceness: int = 0) -> ThreadExecutor:
        return ThreadExecutor(name, self._wake_fd, niceness)

    def _make_dispatch(self) -> Dispatch:
        return Dispatch(build(native_handlers()))

    def _make_reactor(self, sequencer: Sequencer) -> Reactor:
        return Reactor(sequencer, sequencer.highest_ts() >> 16, self._wake_fd)
