"""The bounds past which a reactor lets its clients wait."""

from kvnode._core.messages import OUTPUT_LIMIT
from kvnode._core.reactor import Reactor
from kvnode.base.limits import (
    CATCH_UP_LOG_BYTES_MAX,
    CATCH_UP_LOG_BYTES_SOFT,
    FENCED_BYTES_MAX,
    UNSYNCED_BYTES_MAX,
)
from kvnode.server.config import Config
from kvnode.txn.state import State


def bound(reactor: Reactor, config: Config, state: State) -> None:
    """Bring the bounds of a reactor in line with the configuration and the memory it leaves."""
    reactor.dirty_bytes_max = state.dirty_bytes_max()
    reactor.pace.soft_bytes = state.dirty_bytes_soft()
    reactor.pace.hard_bytes = reactor.dirty_bytes_max
    reactor.catch_up.soft_bytes = CATCH_UP_LOG_BYTES_SOFT
    reactor.catch_up.hard_bytes = CATCH_UP_LOG_BYTES_MAX
    reactor.unsynced_bytes_max = UNSYNCED_BYTES_MAX
    reactor.fenced_bytes_max = FENCED_BYTES_MAX
    reactor.output_bytes_max = config[OUTPUT_LIMIT]["normal"].hard
    reactor.input_bytes_max = config["client-query-buffer-limit"]
