"""This node's part in its group: links, ticks and images; and what commands ask of the group."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
import trio

from kvnode._core.sequencer import Sequencer
from kvnode.base.limits import (
    ADD_SECONDS,
    CHANGE_SECONDS,
    GROUP_POLL_MICROS_MAX,
    RAFT_TICK_MS,
)
from kvnode.commands.context import SessionContext
from kvnode.commands.group import (
    NO_ADDRESS,
    ChangeRefused,
    Done,
    GroupMember,
    GroupStatus,
    Kind,
    Role,
)
from kvnode.commands.group_words import find_address
from kvnode.raft.core import RaftCore
from kvnode.raft.membership import AddLearner, Change, Demote, Member, Promote, Remove
from kvnode.raft.messages import NO_NODE, Message
from kvnode.server.config import Config
from kvnode.server.forwarding import Forwarding
from kvnode.server.group_config import GroupConfig, client_address
from kvnode.server.images import Images
from kvnode.server.peers.forward_link import ForwardLink
from kvnode.server.peers.framing import Greeting
from kvnode.server.peers.handshake import Own
from kvnode.server.peers.peers import Peers
from kvnode.txn.replica import TIMESTAMP_COUNTER_BITS

if TYPE_CHECKING:
    from kvnode.server.node import Node

log = structlog.get_logger()

NOBODY = 2**64 - 1  # as Reactor.needed_bytes: no node needs the log


@dataclass(slots=True)
class _Awaited:
    """A change that somebody waits for."""

    is_done: Callable[[], bool]
    done: Done
    deadline_ms: int
    what: str
    is_leaders: bool = True  # it fails when this node does not lead any more


@dataclass(slots=True)
class _Heard:
    """What is known of another node."""

    identity: bytes
    greeting: Greeting
    at_ms: int = 0  # of its last message


class NodeGroup:
    """The group as one networked node sees it. Implements commands.group.Group and PeerEvents."""

    def __init__(self, node: "Node", config: GroupConfig, listener: socket.socket) -> None:
        """listener: for other nodes."""
        self._node = node
        self.replica = node.replica
        self.group_id = node.data.facts.group
        self._cluster = config.cluster
        identity = node.data.facts.identity
        self.peers = self._make_peers(
            Own(config.node_id, identity, self.group_id),
            Greeting(self.group_id, client_address(node.config), node.data.founders()),
            config.secret,
            listener,
        )
        self.images = Images(
            node.replica,
            self.peers,
            node.data.incoming_folder(),
            identity,
            reader=node.readers[-1],
            writer=node.writer,
            now_ms=self._now_ms,
        )
        self.forwarding = Forwarding(
            node.sequencer,
            new_id=node.clients.new_id,
            on_gone=node.forget,
            now_ms=self._now_ms,
            request_read=self.replica.request_read,
        )
        # Other nodes' messages wait for the host, too.
        node.reactor.lingers = False
        node.reactor.poll_micros_max = GROUP_POLL_MICROS_MAX
        self._has_frames = False  # of forwarding, which run in the next pass
        self._leader_links: dict[int, ForwardLink] = {}  # to who leads, and who has led
        self._forwards_told: object = None
        self.adopt(node.sequencer)
        self._heard: dict[int, _Heard] = {}
        self._awaited: list[_Awaited] = []
        self._candidates: dict[int, str] = {}  # addresses of nodes that are to be added
        self._members_told: object = None

    def _make_peers(
        self, own: Own, greeting: Greeting, secret: bytes, listener: socket.socket
    ) -> Peers:
        return Peers(own, greeting, secret, listener, os.urandom, self)

    def _now_ms(self) -> int:
        return self._node.reactor.now()

    # -- tasks ----------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep links, and tell Raft that time passes, until cancelled."""
        self.start()
        async with trio.open_nursery() as nursery:
            await nursery.start(self.peers.run)
            task_status.started()
            while True:
                await trio.sleep(RAFT_TICK_MS / 1000)
                self.tick()

    def start(self) -> None:
        """Begin to keep links."""
        self._follow_membership()

    def tick(self) -> None:
        """Raft's unit of time has passed. Between passes."""
        self.replica.tick()
        # What followers show is as of the time that their leader has stated last.
        self._node.reactor.raise_floor(self.replica.log.last_ts >> TIMESTAMP_COUNTER_BITS)
        needed_bytes = self.replica.needed_bytes
        self._node.reactor.needed_bytes = NOBODY if needed_bytes is None else needed_bytes
        self.forwarding.tick()
        self._keep_forward_links()
        self.after_input()
        self.peers.flush()

    def after_input(self) -> None:
        """All that arrived at once was told to the replica. Between passes."""
        self.replica.run()
        if self.replica.has_more:
            self._node.wake()
        self.images.pump()
        self._follow_membership()
        self._look_at_awaited()
        if self._has_frames or self._node.sequencer.wants_pass():
            self._has_frames = False
            self._node.reactor.poll()
        self.peers.flush()  # first of all: others go on meanwhile
        # Not all that has come runs in a pass: answers, and what a round has confirmed.
        self._node.reactor.flush_all()
        self.forwarding.flush()

    def after_pass(self) -> None:
        """A pass has ended: what it made is to be sent."""
        self.forwarding.flush()
        if not self.replica.is_executing:
            self.replica.run()  # for reads that have to be asked for at the leader
        self.images.pump()
        self.peers.flush()

    def adopt(self, sequencer: Sequencer) -> None:
        """The node goes on with another sequencer."""
        self.forwarding.adopt(sequencer)
        sequencer.front = self.forwarding.clients

    def serve(self) -> None:
        """This node leads, and takes commands from here on."""
        # Libraries came in entries that were applied; a sequencer that follows runs none of them.
        self._node.view.scripts.functions.load_records()
        self.forwarding.serve()

    def apply_config(self, config: Config) -> None:
        """The configuration has changed."""
        self.forwarding.output_bytes_max = config["client-output-buffer-limit"]["normal"].hard
        address = client_address(config)
        if address != self.peers.greeting.client_address:
            self.peers.set_greeting(client_address=address)

    def role_changed(self, role: Role, term: int, leader: int) -> None:
        """Somebody else leads, or nobody does."""
        log.info("leader", role=role.value, term=term, leader=leader or None)
        if role is Role.LEADER:
            self.forwarding.lead(term)
        else:
            self._follow(term, leader)
        self._keep_forward_links()

    def _keep_forward_links(self) -> None:
        """Keep a link to the leader, and those over which former ones still answer."""
        leader = self.replica.raft.leader
        wanted = (leader if leader != NO_NODE else None, self.forwarding.former_leaders)
        if wanted != self._forwards_told:
            self._forwards_told = wanted
            self.peers.set_leader(*wanted)

    def _follow(self, term: int, leader: int) -> None:
        link = self._leader_links.get(leader)
        is_there = link is not None and link.is_open
        self.forwarding.leader_changed(term, link if is_there else None)

    # -- what links tell ------------------------------------------------------------------------

    def on_greeting(self, node_id: int, identity: bytes, greeting: Greeting) -> None:
        heard = self._heard.get(node_id)
        at_ms = 0 if heard is None else heard.at_ms
        self._heard[node_id] = _Heard(identity, greeting, at_ms)
        self.images.reconnected(node_id)

    def on_message(self, message: Message, identity: bytes) -> None:
        heard = self._heard.get(message.source)
        if heard is not None:
            heard.at_ms = self._now_ms()
        self.replica.step(message, identity)

    def on_image(self, source: int, body: bytes) -> None:
        self.images.receive(source, body)

    def on_image_drained(self, target: int) -> None:
        pass  # after_input goes on with it

    def on_lost(self, node_id: int) -> None:
        self.images.lost(node_id)
        self.replica.note_lost(node_id)

    def on_forward(self, link: ForwardLink) -> None:
        def on_frame(body: bytes) -> None:
            self.forwarding.on_frame(link, body)
            self._has_frames = True

        def on_closed() -> None:
            if self._leader_links.get(link.node_id) is link:
                del self._leader_links[link.node_id]
            self.forwarding.link_closed(link)
            self._node.wake()

        link.on_frame, link.on_closed = on_frame, on_closed
        if link.is_accepted:
            self.forwarding.link_opened(link)
            return
        self._leader_links[link.node_id] = link
        raft = self.replica.raft
        if raft.role is not Role.LEADER:
            self._follow(raft.term, raft.leader)

    # -- what commands ask ----------------------------------------------------------------------

    def status(self) -> GroupStatus:
        raft = self.replica.raft
        return GroupStatus(
            node_id=raft.node_id,
            group_id=self.group_id,
            is_networked=True,
            is_founded=True,
            role=raft.role,
            term=raft.term,
            leader_id=raft.leader,
            last_term=raft.log.last_term,
            last_index=self.replica.log.last_index,
            committed_index=raft.committed,
            applied_index=self.replica.applied,
            is_joint=raft.membership.is_joint,
            is_transferring=raft.leadership is not None and raft.leadership.transfer is not None,
            members=tuple(self._member(member) for member in raft.membership.members),
        )

    def _member(self, member: Member) -> GroupMember:
        raft = self.replica.raft
        heard = self._heard.get(member.node_id)
        is_self = member.node_id == raft.node_id
        lag_ms = 0 if is_self or heard is None else max(0, self._now_ms() - heard.at_ms)
        matches = {} if raft.leadership is None else raft.leadership.replication.match
        return GroupMember(
            member.node_id,
            member.identity,
            member.address,
            self.client_address(member.node_id),
            self._kind(member.node_id),
            raft.synced_index if is_self else matches.get(member.node_id, 0),
            is_alive=is_self or (heard is not None and lag_ms < self._silence_ms),
            is_receiving=self.images.is_receiving(member.node_id),
            lag_ms=lag_ms,
        )

    @property
    def _silence_ms(self) -> int:
        """So long a node may be silent before it counts as dead."""
        return 20 * RAFT_TICK_MS

    def client_address(self, node_id: int) -> tuple[str, int]:
        """Return where clients reach a node, as it has told itself."""
        if node_id == self.replica.raft.node_id:
            return find_address(self.peers.greeting.client_address)
        heard = self._heard.get(node_id)
        return NO_ADDRESS if heard is None else find_address(heard.greeting.client_address)

    def _kind(self, node_id: int) -> Kind:
        membership = self.replica.raft.membership
        if node_id in membership.learners:
            return Kind.JOINING if node_id in membership.promotable else Kind.LEARNER
        return Kind.VOTER if node_id in membership.voters else Kind.LEAVING

    def executed_index(self) -> int:
        last = self.replica.log.last_index
        return last + bool(self._node.sequencer.has_open_writes())

    def leading_term(self) -> int:
        return self.replica.raft.term if self.replica.is_serving else 0

    def replicas_with(self, index: int) -> int:
        leadership = self.replica.raft.leadership
        if leadership is None:
            return 0
        own = self.replica.raft.node_id
        matches = leadership.replication.match.items()
        return sum(match >= index for peer, match in matches if peer != own)

    def add(self, node_id: int, address: str, *, promote: bool, done: Done) -> None:
        self._require_leader()
        if self.replica.raft.membership.member(node_id) is not None:
            raise ChangeRefused(f"node {node_id} is a member already")
        if node_id in self._candidates:
            raise ChangeRefused(f"node {node_id} is being added")
        self._follow_membership()  # a link to what was removed under this id is none to what comes
        self._heard.pop(node_id, None)  # its directory may be another one
        self._candidates[node_id] = address
        self._follow_membership()

        def greeted(error: str | None) -> None:
            if error is not None:
                self._give_up(node_id)
                done(error)
                return
            # A node that joins begins with an image, which is as of a checkpoint.
            self.replica.request_checkpoint(lambda ok: self._propose_add(node_id, promote, done))

        self._await(lambda: node_id in self._heard, greeted, ADD_SECONDS, "it did not answer")

    def _propose_add(self, node_id: int, promote: bool, done: Done) -> None:
        address = self._candidates.get(node_id)
        heard = self._heard.get(node_id)
        if address is None or heard is None:
            done("the node is gone again")
            return
        member = Member(node_id, heard.identity, address)
        try:
            self.change(AddLearner(member, promote), done)
        except ChangeRefused as error:
            self._give_up(node_id)
            done(str(error))

    def _give_up(self, node_id: int) -> None:
        self._candidates.pop(node_id, None)
        self._follow_membership()

    def change(self, change: Change, done: Done) -> None:
        self._require_leader()
        self.replica.propose_change([change])
        self._await(lambda: self._has_changed(change), done, CHANGE_SECONDS, "no majority agreed")

    def _has_changed(self, change: Change) -> bool:
        raft = self.replica.raft
        if raft.memberships.index > raft.committed or raft.membership.is_joint:
            return False
        if raft.leadership is not None and raft.leadership.wanted is not None:
            return False
        membership = raft.membership
        match change:
            case AddLearner(member, _):
                return membership.member(member.node_id) is not None
            case Promote(node_id):
                return node_id in membership.voters or node_id in membership.promotable
            case Demote(node_id):
                return node_id in membership.learners
            case Remove(node_id):
                return membership.member(node_id) is None

    def transfer(self, target: int, done: Done | None = None) -> None:
        self._require_leader()
        if target == NO_NODE:
            target = self._best_successor()
        self.replica.transfer(target)
        if done is not None:
            raft = self.replica.raft
            self._await(
                lambda: raft.leader == target,
                done,
                CHANGE_SECONDS,
                f"node {target} did not take over",
                is_leaders=False,
            )

    def _best_successor(self) -> int:
        raft = self.replica.raft
        leadership = raft.leadership
        assert leadership is not None
        others = [peer for peer in raft.membership.voters if peer != raft.node_id]
        alive = [peer for peer in others if self.peers.is_linked(peer)]
        if not alive:
            raise ChangeRefused("there is no other voter to take over")
        return max(sorted(alive), key=lambda peer: leadership.replication.match.get(peer, 0))

    def abort_transfer(self) -> bool:
        return self.replica.abort_transfer()

    def serve_reads(self, session: SessionContext, wanted: bool) -> None:
        self.forwarding.serve_reads(session, wanted)

    def force_alone(self, done: Done) -> None:
        raft = self.replica.raft
        others = [peer for peer in raft.membership.voters if peer != raft.node_id]
        linked = [peer for peer in others if self.peers.is_linked(peer)]
        if raft.leader != NO_NODE:
            raise ChangeRefused("there is a leader")
        if (len(linked) + 1) * 2 > len(raft.membership.voters):
            raise ChangeRefused("a majority of the voters can be reached from here")
        alone = self._node.data.make_raft(has_leases=raft.uses_leases, instead_of=raft)
        log.warning("this node is made a group of one", last_index=self.replica.log.last_index)
        self._node.after_pass_once(lambda: self._go_alone(alone, done))

    def _go_alone(self, alone: RaftCore, done: Done) -> None:
        try:
            self.replica.force_alone(alone)
        except ChangeRefused as error:
            self._tell(done, str(error))
            return
        self._await(lambda: self.replica.is_serving, done, CHANGE_SECONDS, "it does not lead yet")

    def _require_leader(self) -> None:
        if not self.replica.is_serving:
            raise ChangeRefused("this node does not lead")

    # -- inside ---------------------------------------------------------------------------------

    def _await(
        self,
        is_done: Callable[[], bool],
        done: Done,
        seconds: int,
        what: str,
        *,
        is_leaders: bool = True,
    ) -> None:
        deadline_ms = self._now_ms() + seconds * 1000
        self._awaited.append(_Awaited(is_done, done, deadline_ms, what, is_leaders))

    def _look_at_awaited(self) -> None:
        if not self._awaited:
            return
        awaited, self._awaited = self._awaited, []
        for item in awaited:
            if item.is_done():
                self._tell(item.done, None)
            elif item.is_leaders and self.replica.raft.role is not Role.LEADER:
                self._tell(item.done, "leadership was lost meanwhile")
            elif self._now_ms() > item.deadline_ms:
                self._tell(item.done, item.what)
            else:
                self._awaited.append(item)

    def _tell(self, done: Done, error: str | None) -> None:
        self._node.reactor.run_pass(lambda: done(error))

    def _follow_membership(self) -> None:
        """Keep links to all members, and to those that are to be added."""
        membership = self.replica.raft.membership
        for member in membership.members:
            self._candidates.pop(member.node_id, None)
        wanted = {member.node_id: member.address for member in membership.members}
        wanted |= self._candidates
        if self.replica.raft.node_id not in wanted:
            wanted |= self._cluster  # it is to be added, and answers those that send it an image
        if wanted != self._members_told:
            self._members_told = wanted
            self.peers.set_members(wanted)
