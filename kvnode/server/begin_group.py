"""How a node on a new directory becomes one of a group, before it serves: founds it with others, or
finds it founded without itself and waits to be added."""

import hashlib
import hmac
import os
import socket

import structlog
import trio

from kvnode.base.addresses import join_address
from kvnode.base.errors import ConfigError
from kvnode.raft import wire
from kvnode.raft.membership import Member, Membership
from kvnode.raft.messages import Message
from kvnode.server.data import HASH_KEY_BYTES, DataDirectory
from kvnode.server.founding import Found, Founding, Outside, Pin, Wait, group_of
from kvnode.server.group_config import GroupConfig
from kvnode.server.peers.forward_link import ForwardLink
from kvnode.server.peers.framing import Greeting
from kvnode.server.peers.handshake import NO_GROUP, Own
from kvnode.server.peers.peers import Peers

log = structlog.get_logger()

_HASH_KEY = b"kvnode hash key\0"


def hash_key_of(members: Membership, secret: bytes) -> bytes:
    """Return what keys the hash of user keys: the same on all founding nodes, and not to be guessed
    by clients, since identities are random and leave the nodes for each other only."""
    data = _HASH_KEY + wire.encode_membership(members)
    return hmac.digest(secret or b"\0", data, hashlib.sha256)[:HASH_KEY_BYTES]


async def begin_group(
    data: DataDirectory, config: GroupConfig, client_address: str, listener: socket.socket
) -> None:
    """Return when it is decided what this directory is: see DataDirectory.group."""
    identity = data.facts.identity
    if not config.cluster:
        address = join_address(*config.listen)
        members = Membership.of_voters([Member(config.node_id, identity, address)])
        data.pin(members)
        data.found(group_of(members), members, hash_key_of(members, config.secret))
        log.info("founded a group of one", group=data.facts.group.hex())
        return
    if not data.is_empty:
        raise ConfigError(
            f"{data.path} has data, and a group is founded by nodes without: start this node "
            f"without --cluster, as a group of one, and add the others to it"
        )
    pinned = data.founders()
    founding = Founding(
        config.node_id, identity, config.cluster, pinned if pinned.members else None
    )
    beginning = _Beginning(data, config, founding, client_address, listener)
    await beginning.run()


class _Beginning:
    """PeerEvents of a node that has no group yet."""

    def __init__(
        self,
        data: DataDirectory,
        config: GroupConfig,
        founding: Founding,
        client_address: str,
        listener: socket.socket,
    ) -> None:
        self._data = data
        self._config = config
        self._founding = founding
        self._decided = trio.Event()
        self._last_said: Wait | None = None
        self.peers = Peers(
            Own(config.node_id, data.facts.identity),
            Greeting(NO_GROUP, client_address, founding.members),
            config.secret,
            listener.dup(),
            os.urandom,
            self,
        )

    async def run(self) -> None:
        self.peers.set_members(self._config.cluster)
        async with trio.open_nursery() as nursery:
            await nursery.start(self.peers.run)
            self._act()
            await self._decided.wait()
            nursery.cancel_scope.cancel()

    def on_greeting(self, node_id: int, identity: bytes, greeting: Greeting) -> None:
        self._founding.greeted(node_id, identity, greeting)

    def after_input(self) -> None:
        self._act()

    def on_message(self, message: Message, identity: bytes) -> None:
        pass  # Raft of a group that this node is not in yet; what matters is sent again

    def on_image(self, source: int, body: bytes) -> None:
        pass

    def on_image_drained(self, target: int) -> None:
        pass

    def on_lost(self, node_id: int) -> None:
        pass

    def on_forward(self, link: ForwardLink) -> None:
        link.close()

    def _act(self) -> None:
        """Do what is decided, until it is to wait."""
        while not self._decided.is_set():
            decision = self._founding.decision
            match decision:
                case Pin(members):
                    self._data.pin(members)
                    self._founding.note_pinned()
                    self.peers.set_greeting(members=members)
                case Found(members, group):
                    key = hash_key_of(members, self._config.secret)
                    self._data.found(group, members, key)
                    log.info("founded a group", group=group.hex(), members=len(members.members))
                    self._decided.set()
                case Outside(source, group):
                    self._data.found(group, Membership(), self._data.facts.hash_key)
                    log.info("the group exists without this node", told_by=source)
                    self._decided.set()
                case Wait():
                    self._say(decision)
                    return

    def _say(self, waiting: Wait) -> None:
        if waiting == self._last_said:
            return
        self._last_said = waiting
        if waiting.problem:
            log.error("cannot begin", problem=waiting.problem)
        else:
            log.info("waiting for nodes", missing=list(waiting.missing))
