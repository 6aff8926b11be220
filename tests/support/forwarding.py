"""A leader and followers on simulated parts, joined by links under the test's hand.

A follower here has data of its own, which nobody looks at: whatever it answered from there would be
wrong, and whatever it wrote is found by `check`.
"""

import random
from collections import deque
from collections.abc import Callable, Iterable

from kvnode._core.dispatch import Command
from kvnode._core.front import Mirror, collect
from kvnode._core.serving import unblock
from kvnode._core.session import Session
from kvnode.base.errors import RemoteProtocolError
from kvnode.commands import table
from kvnode.server.forwarding import Forwarding
from kvnode.server.local import native_handlers
from kvnode.storage.memory import MemoryEngine
from tests.sim.disk import SimDisk
from tests.sim.node import S_CLOSED, STANDALONE, SimNode

TABLE = table.build(native_handlers())
S_CLOSING = 3
ROUNDS_MAX = 2000
FIRST_MIRROR_ID = 1_000_000
UNCERTAIN = b"UNCERTAIN the leader was lost: this command may or may not have been done"
RETRY = b"TRYAGAIN the leader was lost before it answered, and nothing was changed"
UNBLOCKED = b"UNBLOCKED the leader was lost, nothing was done"


class End:
    """One end of a link: what is sent waits until the test delivers it."""

    def __init__(self, owner: "ForwardingNode") -> None:
        self.owner = owner
        self.peer: End | None = None
        self.frames: deque[bytes] = deque()  # sent from here
        self.node_id = 0  # of the other node
        self.is_closed = False
        self.has_room: Callable[[], bool] = lambda: True

    def send(self, frame: bytes) -> bool:
        if self.is_closed or not self.has_room():
            return False
        self.frames.append(frame)
        return True


class ForwardingNode(SimNode):
    """A SimNode with the forwarding of production. It leads or follows as the test says."""

    def __init__(self, seed: int, commands: list[Command] | None = None) -> None:
        self.config = {**STANDALONE, "requirepass": b""}
        self.forwarding: Forwarding | None = None
        self.reads: list[Callable[[bool], None]] = []  # asked for, and not ended
        super().__init__(SimDisk(), MemoryEngine(), random.Random(seed), commands=commands or TABLE)
        assert self.sequencer.step_down(UNCERTAIN, RETRY, UNBLOCKED)
        self.serves = self.sequencer.serving = False
        self.sequencer.is_alone = False
        self.bugs: list[Exception] = []
        self.ids = FIRST_MIRROR_ID
        self.forwarding = Forwarding(
            self.sequencer,
            new_id=self._new_id,
            on_gone=self._gone,
            now_ms=lambda: self.now_ms,
            request_read=self.reads.append,
        )
        self.index_at_start = self.sequencer.last_index
        self.gone: list[Session] = []

    def report_bug(self, command: bytes, error: Exception) -> None:
        self.bugs.append(error)

    def _new_id(self) -> int:
        self.ids += 1
        return self.ids

    def _gone(self, session: Session) -> None:
        self.gone.append(session)
        self.watches.remove(session)
        self.view.pubsub.forget(session)
        self.sequencer.forget(session)

    # -- what SimNode does, with a way out for mirrors -------------------------------------------

    def _leave(self) -> None:
        if self.forwarding is not None:
            self.sequencer.serving = self.serves  # whatever its own raft thinks
        collect(self.sequencer.take_flushable())
        if self.forwarding is not None:
            self.forwarding.flush()

    def run_pass(self, work: Callable[[], object]) -> None:
        self.sequencer.begin(self.now_ms)
        work()
        self.sequencer.end()
        self._leave()

    def sync(self, n: int | None = None) -> None:
        self.log.write(n)
        self.log.sync_written()
        self.sequencer.log_moved()
        self.confirm()
        self._leave()

    def confirm(self) -> None:
        """Leadership is confirmed for all that has run."""
        number = self.sequencer.unconfirmed()
        if number:
            self.sequencer.confirm(number)

    def close_session(self, session: Session) -> None:
        super().close_session(session)
        assert self.forwarding is not None
        self.forwarding.forget(session)

    def authenticate(self, session: Session, granted: bool) -> None:
        session.authenticated = session.parser.authenticated = granted

    def client_beside(self, session: Session, client_id: int) -> Session | None:
        if isinstance(session, Mirror):
            assert self.forwarding is not None
            return self.forwarding.mirror_beside(session, client_id)
        return self.sessions.get(client_id)

    def unblock(self, session: Session, *, with_error: bool) -> bool:
        return unblock(self.sequencer, session, with_error)

    # -- roles ----------------------------------------------------------------------------------

    def lead(self, term: int) -> None:
        assert self.forwarding is not None
        self.forwarding.lead(term)

    def begin_to_serve(self) -> None:
        """It begins to execute; or goes on with it."""
        assert self.forwarding is not None
        sequencer = self.sequencer
        if not sequencer.leads:
            self.sync()
            sequencer.lead(self.replica.raft.term, sequencer.last_index, sequencer.highest_ts())
        self.serves = sequencer.serving = True
        self.forwarding.serve()

    def follow(self, term: int, link: End | None) -> None:
        assert self.forwarding is not None
        self.serves = self.sequencer.serving = False
        self.forwarding.leader_changed(term, link)

    def stop(self) -> None:
        """The node serves no more; it may still lead."""
        self.serves = self.sequencer.serving = False

    def step_down(self) -> None:
        """Its leadership ends, and nothing is lost of what it has done."""
        assert self.forwarding is not None
        self.sync()
        assert self.sequencer.step_down(UNCERTAIN, RETRY, UNBLOCKED)
        self.stop()
        self.forwarding.step_down()

    def work(self) -> None:
        """A pass, and all the syncs, fetches and jobs that it takes."""
        self.serve()
        for _ in range(2):  # what is read may want more
            if self.step_threads():
                self.serve()
        self.sync()

    def hold(self, *words: bytes | str | int) -> None:
        """Have data that the leader does not have, as if it were all applied from there."""
        self.serves = self.sequencer.serving = True
        self.ask(*words)
        self.stop()
        self.index_at_start = self.sequencer.last_index

    def end_reads(self, is_reached: bool) -> None:
        """What was asked for is applied here; or nobody knows."""
        reads, self.reads[:] = list(self.reads), []
        for done in reads:
            done(is_reached)

    @property
    def is_busy(self) -> bool:
        return bool(self.jobs) or self.sequencer.has_unsynced()


class Client:
    """A connection to a node. output: all that it has got."""

    def __init__(self, node: ForwardingNode) -> None:
        self.node = node
        self.session = node.session()
        self.output = b""

    def send(self, data: bytes) -> None:
        if not self.is_closed:
            self.session.feed(data)
            self.node.serve(self.session)

    def take(self) -> bytes:
        """Get what may leave; a connection that has said all it has to is closed."""
        data = self.session.take()
        self.output += data
        if self.session.state == S_CLOSING and not self.session.output_bytes:
            self.close()
        return data

    @property
    def is_closed(self) -> bool:
        return self.session.state == S_CLOSED

    def close(self) -> None:
        if not self.is_closed:
            self.node.close_session(self.session)


class Net:
    """The links. errors: what ended a link from inside."""

    def __init__(self) -> None:
        self.links: list[tuple[End, End]] = []
        self.errors: list[RemoteProtocolError] = []
        self.tampers: Callable[[bytes], Iterable[bytes]] = lambda frame: (frame,)

    @property
    def is_busy(self) -> bool:
        """Whether something is on its way."""
        return any(end.frames for link in self.links for end in link if not end.is_closed)

    def connect(self, follower: ForwardingNode, leader: ForwardingNode) -> End:
        """Return the follower's end of a new link."""
        ours, theirs = End(follower), End(leader)
        ours.peer, theirs.peer = theirs, ours
        ours.node_id, theirs.node_id = id(leader), id(follower)
        self.links.append((ours, theirs))
        assert leader.forwarding is not None
        leader.forwarding.link_opened(theirs)
        return ours

    def deliver(self, end: End, n: int = 1) -> int:
        """Let the oldest `n` frames sent from `end` arrive; return how many there were."""
        done = 0
        while done < n and end.frames and not end.is_closed:
            done += 1
            for frame in self.tampers(end.frames.popleft()):
                self.arrive(end, frame)
        return done

    def arrive(self, end: End, frame: bytes) -> None:
        peer = end.peer
        assert peer is not None
        forwarding = peer.owner.forwarding
        assert forwarding is not None
        if peer.is_closed:
            return
        try:
            forwarding.on_frame(peer, frame)
        except RemoteProtocolError as error:
            self.errors.append(error)
            self.cut(peer)

    def cut(self, end: End) -> None:
        """The link of `end` breaks: both sides notice at once."""
        for side in (end, end.peer):
            assert side is not None
            if not side.is_closed:
                side.is_closed = True
                assert side.owner.forwarding is not None
                side.owner.forwarding.link_closed(side)
                side.frames.clear()

    def cut_one_side(self, end: End) -> None:
        """Only the owner of `end` notices; what it sent before may still arrive."""
        end.is_closed = True
        assert end.owner.forwarding is not None
        end.owner.forwarding.link_closed(end)


class Group:
    """A leader, followers, and a link of each to it."""

    def __init__(self, followers: int = 1, seed: int = 0) -> None:
        self.net = Net()
        self.leader = ForwardingNode(seed)
        self.leader.lead(1)
        self.leader.begin_to_serve()
        self.followers = [ForwardingNode(seed + 1 + n) for n in range(followers)]
        self.ends = [self.net.connect(node, self.leader) for node in self.followers]
        for node, end in zip(self.followers, self.ends, strict=True):
            node.follow(1, end)
        self.clients: list[Client] = []

    @property
    def nodes(self) -> list[ForwardingNode]:
        return [self.leader, *self.followers]

    def client(self, node: ForwardingNode | None = None) -> Client:
        client = Client(node or self.followers[0])
        self.clients.append(client)
        return client

    def settle(self) -> None:
        """Until nothing moves any more."""
        for _ in range(ROUNDS_MAX):
            moved = sum(self.net.deliver(end, 1000) for link in self.net.links for end in link)
            for node in self.nodes:
                node.work()
            taken = sum(len(client.take()) for client in self.clients)
            for node in self.nodes:
                node.work()  # what was taken is said
            is_busy = any(node.is_busy for node in self.nodes) or self.net.is_busy
            if not moved and not taken and not is_busy:
                return
        raise AssertionError("it never ends")

    def ask(self, client: Client, data: bytes) -> bytes:
        """Send, and return what comes until nothing moves."""
        before = len(client.output)
        client.send(data)
        self.settle()
        return client.output[before:]

    def tick(self, ms: int) -> None:
        """Time passes."""
        for node in self.nodes:
            node.now_ms += ms
            assert node.forwarding is not None
            node.forwarding.tick()
        self.settle()

    def check(self) -> None:
        """No follower has written; no handler failed."""
        for node in self.followers:
            assert node.sequencer.last_index == node.index_at_start, "a follower wrote"
        for node in self.nodes:
            assert not node.bugs, node.bugs

    def mirrors(self) -> list[Mirror]:
        assert self.leader.forwarding is not None
        return self.leader.forwarding.mirrors()
