"""What a Reactor is to its node, without sockets: passes on the simulation's loop, in its order."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from kvnode._core.front import Mirror, collect
from kvnode._core.session import Session
from kvnode.server.local import START_MS

if TYPE_CHECKING:
    from tests.sim.group.node import GroupNode

S_CLOSING, S_CLOSED, S_STREAMING = 3, 4, 5  # SessionState of session.pxd


class SimReactor:
    """Of one life of a node. Clients' bytes come by request(), and leave through the network."""

    def __init__(self, node: "GroupNode", sequencer: Any, floor_ms: int) -> None:
        self.sequencer = sequencer
        self.pace, self.catch_up = SimpleNamespace(), SimpleNamespace()
        self.wants_after = False
        self.on_close: Callable[[Session, str | None], None]
        self.on_wake: Callable[[], None]
        self.after_pass: Callable[[], None]
        self._node, self._world, self._rng = node, node.world, node.world.rng
        self._floor = (floor_ms, node.world.now)
        self._requests: list[tuple[Session, bytes | None]] = []
        self._is_after_due = False  # the node is to be told of passes
        self._is_woken = False  # by wake()
        self._is_due = False  # a pass is

    # -- what a node asks of it -------------------------------------------------------------------

    def now(self) -> int:
        """See NodeClock: the wall clock, but it never goes back."""
        floor, since = self._floor
        world = self._world
        wall = START_MS + int(world.now) + world.clock_offset[self._node.node_id]
        floor += int(world.now - since)
        if wall > floor:
            self._floor = (wall, world.now)
        return max(wall, floor)

    def raise_floor(self, ms: int) -> None:
        """From now on the node's time is never below `ms`."""
        if ms > self.now():
            self._floor = (ms, self._world.now)

    def run_pass(self, work: Callable[[], object]) -> Any:
        """Do something in a pass of its own."""
        self.sequencer.begin(self.now())
        result = work()
        self._finish_pass()
        if self._is_after_due:
            self._end_passes()
        return result

    def poll(self) -> None:
        """Run passes with all that is there, and tell the node of several at once."""
        if len(self._requests) > 1 and self._rng.random() < 0.5:
            self._run_pass(self._rng.randrange(1, len(self._requests)))
        self._run_pass(len(self._requests))
        if self._is_after_due:
            self._end_passes()

    def _run_pass(self, count: int) -> None:
        sequencer = self.sequencer
        sequencer.log_moved()
        sequencer.begin(self.now())
        requests, self._requests = self._requests[:count], self._requests[count:]
        at = self._rng.randrange(len(requests) + 1)
        for session, data in requests[:at]:
            self._read(session, data)
        if self._is_woken:
            self._is_woken = False
            self.on_wake()
        for session, data in requests[at:]:
            self._read(session, data)
        for session in sequencer.take_ready():
            if session.state != S_CLOSED:
                sequencer.serve(session)
        self._finish_pass()

    def adopt(self, sequencer: Any) -> None:
        """Go on with another sequencer. Between passes."""
        old, self.sequencer = self.sequencer, sequencer
        sequencer.take_over(list(self._node.clients.sessions.values()))
        self._send_all(old.take_flushable())
        self.wake()

    def flush_all(self) -> None:
        """Send what may leave."""
        self._send_all(self.sequencer.take_flushable())

    def kill(self, session: Session, reason: str | None) -> None:
        """Close a connection at once."""
        if session.state != S_CLOSED:
            session.state = S_CLOSED
            self._node.clients.gone(session, reason)
            self._world.network.reply(self._node, session, None)

    # -- events -----------------------------------------------------------------------------------

    def request(self, session: Session, data: bytes | None) -> None:
        """Bytes of a client have come; None: it is gone."""
        self._requests.append((session, data))
        self.poll_soon()

    def wake(self) -> None:
        """Something has happened outside of passes."""
        self._is_woken = True
        self.poll_soon()

    def poll_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._node.later(self._rng.uniform(0.01, 0.15), self._poll_due)

    def _poll_due(self) -> None:
        self._is_due = False
        self.poll()

    # -- inside -----------------------------------------------------------------------------------

    def _read(self, session: Session, data: bytes | None) -> None:
        if session.state == S_CLOSED:
            return
        if data is None:
            self.kill(session, "client closed the connection")
        elif session.state != S_CLOSING:
            session.feed(data)
            if session.state != S_STREAMING:
                self.sequencer.serve(session)

    def _finish_pass(self) -> None:
        sequencer = self.sequencer
        sequencer.end()
        sequencer.log_moved()
        self.flush_all()
        self._is_after_due = True
        if self.wants_after:
            self._end_passes()
        if self.sequencer.wants_pass():
            self.poll_soon()

    def _end_passes(self) -> None:
        self.wants_after = self._is_after_due = False
        self.after_pass()

    def _send_all(self, sessions: list[Session]) -> None:
        for session in sessions:
            if session.state == S_CLOSED:
                continue
            if isinstance(session, Mirror):
                collect([session])
                self._is_after_due = True
            else:
                self._send(session)

    def _send(self, session: Session) -> None:
        data = session.take()
        if data:
            self._world.network.reply(self._node, session, data)
        if session.state == S_CLOSING and not session.output_bytes:
            self.kill(session, session.close_reason)
