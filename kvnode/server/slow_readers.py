"""Subscribers that take their messages too slowly: the soft limit of their output."""

from kvnode._core.front import collect
from kvnode._core.messages import OUTPUT_LIMIT
from kvnode._core.pubsub import PubSub
from kvnode._core.reactor import Reactor
from kvnode._core.session import Session
from kvnode.commands.context import STATE_CLOSING
from kvnode.server.values import BufferLimit


class SlowReaders:
    """Who is above the limit, and since when. The hard limit is the reactor's."""

    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub
        self._since_ms: dict[Session, int] = {}

    def overdue(self, now_ms: int, limit: BufferLimit) -> list[Session]:
        """Return those that have been above the soft limit for longer than it allows.

        Called now and then: what goes below and above again in between counts as one time.
        """
        behind = self._pubsub.above(limit.soft) if limit.soft else ()
        self._since_ms = {s: self._since_ms.get(s, now_ms) for s in behind}
        return [s for s, since in self._since_ms.items() if now_ms - since > limit.seconds * 1000]

    def close(self, now_ms: int, limit: BufferLimit, reactor: Reactor) -> None:
        """Close those at once; one that is connected to another node is closed there."""
        for session in self.overdue(now_ms, limit):
            session.state, session.close_reason = STATE_CLOSING, OUTPUT_LIMIT
            collect([session])
            reactor.kill(session, OUTPUT_LIMIT)
