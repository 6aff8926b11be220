"""Any node takes any command: what a node does for its clients while another one leads.

This is done per batch; what is done per command is native: `_core/forwarding` at the node of the
clients, `_core/downlink` at the leader; `_core/link_port.pxd` says what is in the frames.
No sockets: a link is an object with `send`; its owner gives what arrives to `on_frame`, and says
when it is closed.

All calls come on the sequencer's thread, between passes or inside one, never inside the run of a
session. What they make ready runs in the next pass; `flush` comes at the end of each pass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from kvnode._core import answers
from kvnode._core.downlink import Downlink
from kvnode._core.forwarding import UNCERTAIN, Clients
from kvnode._core.front import Mirror
from kvnode._core.link_port import frame_facts
from kvnode._core.sequencer import Sequencer
from kvnode._core.session import Session
from kvnode._core.uplink import Uplink
from kvnode.base.errors import RemoteProtocolError
from kvnode.base.limits import FORWARD_DRAIN_MS, FORWARD_FORMER_MAX, FORWARD_WAIT_MS


class ForwardLink(Protocol):
    """A duplex link to another node, which keeps frames whole and in order.

    node_id: of the other node.
    """

    node_id: int

    def send(self, frame: bytes) -> bool:
        """Queue a frame; False: there is no room now, or it is closed, and nothing was done."""


@dataclass
class Former:
    """An uplink to a leader of the past. until_ms: when its answers are waited for no more."""

    uplink: Uplink
    link: ForwardLink
    until_ms: int


class Forwarding:
    """Both ends of forwarding of one node.

    new_id: an id for a session. on_gone: called with each mirror that was closed, as for a client
    that is gone. now_ms: the node's time.
    request_read: ask for a read index; `done(True)` once it is applied here, `done(False)` when
    there is none to be had. Without it, READONLY changes nothing.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        *,
        new_id: Callable[[], int],
        on_gone: Callable[[Session], None],
        now_ms: Callable[[], int],
        request_read: Callable[[Callable[[bool], None]], None] | None = None,
    ) -> None:
        self.clients = Clients(sequencer, FORWARD_WAIT_MS)
        self.output_bytes_max = 0  # of a mirror: client-output-buffer-limit
        self._sequencer = sequencer
        self._new_id = new_id
        self._on_gone = on_gone
        self._now_ms = now_ms
        self._request_read = request_read
        self._link: ForwardLink | None = None  # of clients.uplink
        self._former: list[Former] = []
        self._numbers = 0  # uplinks made, ever
        self._term = 0  # in which this node leads, or 0
        self._downlinks: dict[ForwardLink, Downlink] = {}
        self._newest: dict[int, ForwardLink] = {}  # by node: from which commands are taken

    # -- another node leads ---------------------------------------------------------------------

    def leader_changed(self, term: int, link: ForwardLink | None) -> None:
        """Another node leads `term`, reached by `link`; None: nobody that is known or reached.

        Also when the link to the same leader was made anew.
        """
        uplink = self.clients.uplink
        if uplink is not None and link is self._link and term == uplink.port.term:
            return
        self._part()
        if link is not None:
            self._numbers += 1
            self._link = link
            self.clients.go_to(Uplink(term, self._numbers, link.send))

    def _part(self) -> None:
        """The leader so far is none: what it owes may come for a while."""
        uplink, link, self._link = self.clients.uplink, self._link, None
        self.clients.go_to(None)
        if uplink is None or link is None or uplink.is_empty:
            return
        self._former.append(Former(uplink, link, self._now_ms() + FORWARD_DRAIN_MS))
        if len(self._former) > FORWARD_FORMER_MAX:
            self.clients.lose(self._former.pop(0).uplink)

    @property
    def former_leaders(self) -> frozenset[int]:
        """Nodes that led before, and of which answers may still come."""
        return frozenset(former.link.node_id for former in self._former)

    # -- this node leads ------------------------------------------------------------------------

    def lead(self, term: int) -> None:
        """This node leads `term`: it takes commands for it, which run once it serves."""
        self._part()
        self._term = term

    def serve(self) -> None:
        """The sequencer serves from now on: what has come for it runs in the next pass."""
        self.clients.begin_to_serve()

    def step_down(self) -> None:
        """This node leads no more, and its sequencer has stepped down; before anything else runs.

        What mirrors have not executed goes back to their nodes, as not done.
        """
        self._term = 0
        for downlink in self._downlinks.values():
            downlink.step_down(UNCERTAIN)
        self.clients.drop_stalled()
        self.flush()

    def adopt(self, sequencer: Sequencer) -> None:
        """The node goes on with another sequencer, after step_down()."""
        self._sequencer = sequencer
        self.clients.adopt(sequencer)

    # -- links ----------------------------------------------------------------------------------

    def link_opened(self, link: ForwardLink) -> None:
        """Another node has opened a link: the one that it had before is over for it.

        What is still on its way there comes too late, and is not executed.
        """
        former = self._newest.get(link.node_id)
        if former is not None:
            self._close_downlink(former)
        self._newest[link.node_id] = link

    def _close_downlink(self, link: ForwardLink) -> None:
        downlink = self._downlinks.pop(link, None)
        if downlink is not None:
            downlink.close()

    def on_frame(self, link: ForwardLink, frame: bytes) -> None:
        """A frame has come. Raises RemoteProtocolError: `link` has to be closed."""
        is_for_leader, term, number = frame_facts(frame)
        if is_for_leader:
            self._downlink(link, term, number).receive(frame, self._now_ms())
        else:
            uplink = self._uplink(link, term, number)
            if uplink is not None:
                answers.receive(self.clients, uplink, frame)
                self._drop_empty()

    def _uplink(self, link: ForwardLink, term: int, number: int) -> Uplink | None:
        """Return the uplink to which an answer belongs; None: it is waited for no more."""
        uplinks = [former.uplink for former in self._former if former.link is link]
        if self._link is link and self.clients.uplink is not None:
            uplinks.append(self.clients.uplink)
        for uplink in uplinks:
            if (uplink.port.term, uplink.port.uplink) == (term, number):
                return uplink
        if number > self._numbers:
            raise RemoteProtocolError("forwarding: an answer to what was not asked")
        return None

    def _downlink(self, link: ForwardLink, term: int, number: int) -> Downlink:
        """Return the end of the uplink `number`, which ends all former ones of its link."""
        if self._newest.get(link.node_id) is not link:
            raise RemoteProtocolError("forwarding: the node has another link by now")
        downlink = self._downlinks.get(link)
        if downlink is not None:
            if number == downlink.port.uplink:
                return downlink
            if number < downlink.port.uplink:
                raise RemoteProtocolError("forwarding: an uplink comes back")
            downlink.close()
            downlink.flush()
        downlink = Downlink(self._sequencer, term, number, link.send, self._new_id, self._on_gone)
        downlink.output_bytes_max = self.output_bytes_max
        if term != self._term:
            downlink.refuse()
        self._downlinks[link] = downlink
        return downlink

    def link_closed(self, link: ForwardLink) -> None:
        """A link is closed. Before anything else runs: nobody is there to get what was popped."""
        self._close_downlink(link)
        if self._newest.get(link.node_id) is link:
            del self._newest[link.node_id]
        if self._link is link:
            self._part()
        for former in [former for former in self._former if former.link is link]:
            self._former.remove(former)
            self.clients.lose(former.uplink)

    # -- passes and time ------------------------------------------------------------------------

    def forget(self, session: Session) -> None:
        """A client is gone."""
        self.clients.forget(session)

    def serve_reads(self, session: Session, here: bool) -> None:
        """READONLY and READWRITE: whether this node answers reads of `session` as a follower."""
        self.clients.serve_reads(session, here and self._request_read is not None)

    def flush(self) -> None:
        """A pass ends: what it left for other nodes goes out."""
        readers = self.clients.take_readers()
        if readers is not None and self._request_read is not None:
            self._request_read(partial(self.clients.end_reads, readers))
        if self.clients.uplink is not None:
            self.clients.uplink.flush()
        for former in self._former:
            former.uplink.flush()
        for downlink in self._downlinks.values():
            downlink.flush()

    def tick(self) -> None:
        """Time passes, at least ten times a second: waits end."""
        now_ms = self._now_ms()
        self.clients.tick(now_ms)
        for former in [former for former in self._former if former.until_ms <= now_ms]:
            self._former.remove(former)
            self.clients.lose(former.uplink)

    def _drop_empty(self) -> None:
        self._former = [former for former in self._former if not former.uplink.is_empty]

    def mirror_beside(self, mirror: Mirror, client_id: int) -> Mirror | None:
        """Return the mirror of another client of the same node, by that client's id there."""
        for downlink in self._downlinks.values():
            mirrors = downlink.sessions
            if mirror in mirrors:
                return next((other for other in mirrors if other.client == client_id), None)
        return None

    def mirrors(self) -> list[Mirror]:
        """Return the sessions of other nodes' clients."""
        return [mirror for downlink in self._downlinks.values() for mirror in downlink.sessions]
