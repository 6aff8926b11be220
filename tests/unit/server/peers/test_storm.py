"""Three nodes whose links are cut, moved, blocked and used at random; then all is well again."""

import random

import pytest
import trio

from kvnode.raft import messages as m
from tests.unit.server.peers.nodes import WAIT_SECONDS, LinkedNode, linked

STEPS = 300
IDS = (1, 2, 3)


def others(node: LinkedNode) -> list[int]:
    return [node_id for node_id in IDS if node_id != node.node_id]


def disturb(node: LinkedNode, addresses: dict[int, str], chance: random.Random) -> None:
    """Do one thing that a driver may do, or that happens to links."""
    peers, target, forwards = node.peers, chance.choice(others(node)), node.told.links
    match chance.randrange(12):
        case 0 | 1 | 2:
            peers.send(m.Heartbeat(node.node_id, target, 5, 1))
        case 3:
            append = m.Append(node.node_id, target, 5, 10, 4, 5, 12, 11)
            peers.send_entries(append, bytes(chance.randrange(1, 3_000_000)))
        case 4:
            peers.send_image(target, bytes(chance.randrange(100_000)))
        case 5:
            peers.set_leader(chance.choice([None, *IDS]))
        case 6:
            peers.set_members({k: v for k, v in addresses.items() if chance.random() < 0.8})
        case 7:
            peers.set_members(addresses)
        case 8:
            dialed = [dialer.link for dialer in peers._dialers.values() if dialer.link]
            if links := dialed + list(peers._accepted.values()):
                chance.choice(links).close()
        case 9:
            for forward in forwards:
                forward.send(bytes(chance.randrange(100_000)))
        case 10:
            peers.set_greeting(client_address=f"moved:{chance.randrange(1, 9)}")
        case 11:
            for forward in forwards:
                (forward.pause if chance.random() < 0.3 else forward.resume)()
    if chance.random() < 0.5:
        peers.flush()


@pytest.mark.parametrize("seed", range(4))
def test_links_come_back_after_anything(seed: int) -> None:
    chance = random.Random(seed)

    async def body() -> None:
        async with linked(3) as nodes:
            addresses = {k: v for node in nodes for k, v in node.peers._addresses.items()}
            for _ in range(STEPS):
                disturb(chance.choice(nodes), addresses, chance)
                for _ in range(chance.randrange(3)):
                    await trio.lowlevel.checkpoint()
            for node in nodes:
                node.peers.set_members(addresses)
                for forward in node.told.links:
                    forward.resume()
            with trio.fail_after(WAIT_SECONDS):
                while not all(heard_from(node) == set(others(node)) for node in nodes):
                    for node in nodes:
                        for target in others(node):
                            node.peers.send(m.Heartbeat(node.node_id, target, 6, 1))
                        node.peers.flush()
                    await trio.lowlevel.checkpoint()

    trio.run(body)


def heard_from(node: LinkedNode) -> set[int]:
    """Return the nodes whose messages arrived after all was well again."""
    return {message.source for message, _ in node.told.messages if message.term == 6}
