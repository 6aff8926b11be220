"""Links over loopback: what goes where, what is told, and what happens when they break."""

import random
import socket
import struct
from dataclasses import replace

import pytest
import trio
import trio.testing

from kvnode.base.limits import HANDSHAKES_PENDING_MAX, MESSAGE_QUEUE_BYTES_MAX, PEER_STALL_SECONDS
from kvnode.raft import messages as m
from kvnode.raft import wire
from kvnode.server.founding import Found, Founding, Pin, proposal
from kvnode.server.peers import links
from kvnode.server.peers.framing import FrameType, Greeting, encode
from kvnode.server.peers.handshake import NO_GROUP, LinkKind, Own, Peer
from kvnode.server.peers.links import Link, LinkLost, authenticate, dial
from tests.unit.server.peers.nodes import LinkedNode, linked, listener
from tests.unit.server.peers.pairs import SECRET, acceptor, dialer, own

GROUP = b"g" * 16
APPEND = m.Append(1, 2, 5, 10, 4, 5, 12, 11)
BEAT = m.Heartbeat(1, 2, 5, 11, 1)
PEER = Peer(2, b"\2" * 16, NO_GROUP, LinkKind.BULK, 1)


def run(test, *args) -> None:
    trio.run(test, *args)


# -- what goes where ----------------------------------------------------------------------------


def test_all_greet_each_other() -> None:
    async def body() -> None:
        async with linked(3) as nodes:
            for node in nodes:
                others = {other.node_id for other in nodes} - {node.node_id}
                await node.told.until(
                    lambda: {source for source, _, _ in node.told.greetings} == others  # noqa: B023
                )
                for source, identity, greeting in node.told.greetings:
                    assert identity == bytes([source]) * 16
                    assert greeting.client_address == f"client{source}:6379"
                    assert not greeting.is_founded
                    assert greeting.members == node.peers.greeting.members

    run(body)


def test_messages_entries_and_images_arrive() -> None:
    async def body() -> None:
        async with linked(2) as (a, b):
            block = bytes(range(256)) * 20_000
            a.peers.send(BEAT)
            a.peers.send_entries(APPEND, block)
            assert a.peers.send_image(2, b"part")
            assert not b.told.messages
            a.peers.flush()
            await b.told.until(lambda: len(b.told.messages) == 2 and b.told.images)
            found = {type(message): message for message, _ in b.told.messages}
            assert found == {m.Heartbeat: BEAT, m.Append: APPEND}
            assert found[m.Append].payload == block
            assert {identity for _, identity in b.told.messages} == {b"\1" * 16}
            assert b.told.images == [(1, b"part")]
            assert a.told.lost == b.told.lost == []

    run(body)


def test_what_is_sent_together_arrives_in_order_and_few_batches() -> None:
    async def body() -> None:
        async with linked(2) as (a, b):
            await b.told.until(lambda: len(b.told.greetings) == 2)
            b.told.batches = 0
            for number in range(1000):
                a.peers.send(replace(BEAT, round=number))
            a.peers.flush()
            await b.told.until(lambda: len(b.told.messages) == 1000)
            assert [message.round for message, _ in b.told.messages] == list(range(1000))
            assert b.told.batches < 20

    run(body)


def test_answers_leave_without_a_flush() -> None:
    async def body() -> None:
        async with linked(2) as (a, b):
            b.told.answer = lambda message: b.peers.send(m.HeartbeatReply(2, 1, 5, message.round))
            a.peers.send(BEAT)
            a.peers.flush()
            await a.told.until(lambda: a.told.messages)
            assert a.told.messages == [(m.HeartbeatReply(2, 1, 5, 1), b"\2" * 16)]

    run(body)


def test_one_who_is_not_dialed_is_answered_where_it_came_from() -> None:
    async def body() -> None:
        async with linked(2) as (a, b):
            b.peers.set_members({})
            b.peers.send(m.VoteReply(2, 1, 5, True))
            b.peers.flush()
            await a.told.until(lambda: a.told.messages)
            assert b.peers.is_linked(1)
            assert not b.told.lost

    run(body)


def test_small_messages_do_not_wait_behind_large_ones() -> None:
    """The entries are stuck: node 2 reads nothing of them."""

    async def body() -> None:
        async with linked(2) as (a, b):
            b.peers._accepted[1, LinkKind.BULK].pause()
            for _ in range(8):
                a.peers.send_entries(APPEND, bytes(4 << 20))
            a.peers.flush()
            assert a.peers._link_to(2, LinkKind.BULK).is_blocked
            a.peers.send(BEAT)
            a.peers.flush()
            await b.told.until(lambda: b.told.messages)
            assert b.told.messages[0][0] == BEAT
            b.peers._accepted[1, LinkKind.BULK].resume()
            await b.told.until(lambda: len(b.told.messages) == 9)

    run(body)


# -- losses -------------------------------------------------------------------------------------


def test_what_a_link_cannot_take_is_lost_and_told_once() -> None:
    async def body() -> None:
        async with linked(2) as (a, b):
            link = a.peers._link_to(2, LinkKind.BULK)
            b.peers._accepted[1, LinkKind.BULK].pause()
            for _ in range(40):
                a.peers.send_entries(APPEND, bytes(4 << 20))
                a.peers.flush()
            assert link.queued_bytes <= 64 << 20
            await a.told.until(lambda: a.told.lost)
            await trio.testing.wait_all_tasks_blocked()
            assert a.told.lost == [2]
            b.peers._accepted[1, LinkKind.BULK].resume()
            await a.told.until(lambda: link.queued_bytes == 0)
            a.peers.send_entries(APPEND, b"again")
            a.peers.flush()
            await b.told.until(lambda: b.told.messages[-1][0].payload == b"again")
            assert a.told.lost == [2]

    run(body)


def test_a_frame_above_the_bound_goes_alone() -> None:
    async def body() -> None:
        async with linked(2) as (a, b):
            link = a.peers._link_to(2, LinkKind.RAFT)
            assert link.queue(FrameType.MESSAGE, [bytes(MESSAGE_QUEUE_BYTES_MAX + 1)])
            assert not link.queue(FrameType.MESSAGE, [b"x"])
            b.peers._accepted[1, LinkKind.RAFT].close()

    run(body)


def test_nobody_there_is_told_once_and_sends_never_wait() -> None:
    async def body() -> None:
        sock, _ = listener()
        gone, address = listener()
        gone.close()
        a = LinkedNode(1, {1: "127.0.0.1:1", 2: address}, sock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.run)
            for _ in range(5):
                a.peers.send(BEAT)
                a.peers.send(BEAT)
            await a.told.until(lambda: a.told.lost)
            for _ in range(5):
                a.peers.send(BEAT)
            await trio.testing.wait_all_tasks_blocked()
            assert a.told.lost == [2]
            with trio.fail_after(5):
                while not a.peers.failures()[2]:
                    await trio.lowlevel.checkpoint()
            assert "cannot connect" in a.peers.failures()[2]
            a.stop()

    run(body)


def test_a_node_that_comes_back_is_linked_again() -> None:
    async def body() -> None:
        (sock_a, address_a), (sock_b, address_b) = listener(), listener()
        cluster = {1: address_a, 2: address_b}
        a, b = LinkedNode(1, cluster, sock_a), LinkedNode(2, cluster, sock_b)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.run)
            nursery.start_soon(b.run)
            await a.until_linked(2)
            b.stop()
            await a.told.until(lambda: a.told.lost)
            sock, _ = listener()
            moved = f"127.0.0.1:{sock.getsockname()[1]}"
            again = LinkedNode(2, cluster, sock, identity=b"other directory!")
            nursery.start_soon(again.run)
            a.peers.set_members({1: address_a, 2: moved})
            await a.until_linked(2)
            a.peers.send(BEAT)
            a.peers.flush()
            await again.told.until(lambda: again.told.messages)
            await a.told.until(lambda: a.told.greetings[-1][1] == b"other directory!")
            assert a.peers.failures() == {}
            nursery.cancel_scope.cancel()

    run(body)


@pytest.mark.parametrize("seed", range(5))
def test_cut_links_lose_messages_but_repeat_none(seed: int) -> None:
    """What goes over a new link may overtake what the old one has still to deliver."""
    chance = random.Random(seed)

    async def body() -> None:
        async with linked(2) as (a, b):
            for number in range(1, 400):
                a.peers.send(replace(BEAT, round=number))
                if chance.random() < 0.3:
                    a.peers.flush()
                if chance.random() < 0.02:
                    cut = chance.choice([a.peers._dialers[2, LinkKind.RAFT].link, *b.accepted(1)])
                    if cut is not None:
                        cut.close()
                if chance.random() < 0.3:
                    await trio.lowlevel.checkpoint()
            await a.until_linked(2)
            last = replace(BEAT, round=1000)
            while not b.told.messages or b.told.messages[-1][0] != last:
                a.peers.send(last)  # an end that is closed there may look open here
                a.peers.flush()
                await trio.lowlevel.checkpoint()
            rounds = [message.round for message, _ in b.told.messages if message != last]
            assert len(rounds) == len(set(rounds))
            assert len(rounds) == 399 or 2 in a.told.lost

    run(body)


def test_a_link_that_takes_nothing_is_closed() -> None:
    """Time is not real here, and only goes on when nobody has anything to do."""

    async def body() -> None:
        left, right = socket.socketpair()
        left.setblocking(False)
        link = Link(left, PEER)
        began = trio.current_time()
        reason = ""

        async def serve() -> None:
            nonlocal reason
            reason = await link.run(lambda frames: None, lambda: None)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            link.queue(FrameType.IMAGE, [bytes(8 << 20)])
            link.flush()
        assert reason == "it took nothing for 5 s"
        assert trio.current_time() - began == pytest.approx(PEER_STALL_SECONDS)
        assert not link.queue(FrameType.IMAGE, [b"x"])
        assert link.queued_bytes == 0
        right.close()

    trio.run(body, clock=trio.testing.MockClock(autojump_threshold=0.05))


# -- who is let in ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "secret", "sentence"),
    [
        (Own(9, b"9" * 16), b"not the secret..", "the secrets differ"),
        (Own(9, b"9" * 16, b"h" * 16), SECRET, "belongs to group 6767"),
        (Own(1, b"9" * 16), SECRET, "both ends are node 1"),
    ],
)
def test_strangers_are_told_why(node: Own, secret: bytes, sentence: str) -> None:
    async def body() -> None:
        async with linked(1, GROUP) as (a,):
            address = a.peers._acceptor._listener.getsockname()
            sock = await dial(*address)
            handshake = dialer(node, 1, secret=secret, seed=99)
            with sock, pytest.raises(LinkLost, match=sentence):
                await authenticate(sock, handshake, handshake.begin())
            await a.told.until(lambda: True)
            assert not a.told.greetings

    run(body)


def test_who_says_nothing_is_closed_in_time() -> None:
    async def body() -> None:
        left, right = socket.socketpair()
        for sock in (left, right):
            sock.setblocking(False)
        with left, right, pytest.raises(LinkLost, match="no handshake within 5 s"):
            await authenticate(left, acceptor(own(1)))

    trio.run(body, clock=trio.testing.MockClock(autojump_threshold=0.05))


def test_silent_strangers_keep_nobody_out() -> None:
    async def body() -> None:
        async with linked(1) as (a,):
            address = a.peers._acceptor._listener.getsockname()
            silent = [await dial(*address) for _ in range(HANDSHAKES_PENDING_MAX + 5)]
            b_sock, b_address = listener()
            cluster = {1: f"127.0.0.1:{address[1]}", 2: b_address}
            b = LinkedNode(2, cluster, b_sock)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(b.run)
                await b.until_linked(1)
                assert a.peers._acceptor.pending <= HANDSHAKES_PENDING_MAX
                assert silent[0].recv(1) == b""
                nursery.cancel_scope.cancel()
            for sock in silent:
                sock.close()

    run(body)


@pytest.mark.parametrize(
    ("kind", "frame", "sentence"),
    [
        (LinkKind.RAFT, b"".join(encode(FrameType.IMAGE, [b"x"])), "type 4 on a RAFT link"),
        (LinkKind.RAFT, b"".join(encode(FrameType.MESSAGE, [b"x"])), "a message of 1 bytes"),
        (LinkKind.IMAGE, b"".join(encode(FrameType.MESSAGE, [b"x"])), "type 2 on a IMAGE link"),
        (LinkKind.BULK, struct.pack(">IIB", 1 << 31, 0, 3), "a frame of 2147483648 bytes"),
        (LinkKind.BULK, struct.pack(">IIB", 1, 0, 3) + b"x", "damaged"),
    ],
)
def test_nonsense_of_a_node_closes_its_link(
    kind: LinkKind, frame: bytes, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = []
    close = Link.close
    monkeypatch.setattr(
        links.Link, "close", lambda self, reason="": (reasons.append(reason), close(self, reason))
    )

    async def body() -> None:
        async with linked(1) as (a,):
            sock = await dial(*a.peers._acceptor._listener.getsockname())
            handshake = dialer(own(2), 1, kind, seed=99)
            with sock:
                await authenticate(sock, handshake, handshake.begin())
                sock.send(frame)
                with trio.fail_after(5):
                    while await links._receive(sock, 1000):
                        pass
            assert not a.told.messages

    run(body)
    assert sentence in reasons[0]


def test_a_message_in_the_name_of_another_is_refused() -> None:
    async def body() -> None:
        async with linked(2) as (a, b):
            link = a.peers._link_to(2, LinkKind.RAFT)
            link.queue(FrameType.MESSAGE, [wire.encode(replace(BEAT, source=7))])
            link.flush()
            await a.told.until(lambda: a.told.lost)
            assert not b.told.messages

    run(body)


# -- founding and forwarding --------------------------------------------------------------------


def test_a_changed_greeting_is_told_on_open_links() -> None:
    async def body() -> None:
        async with linked(2) as (a, b):
            members = proposal({1: "a:1"})
            a.peers.set_greeting(group=GROUP, members=members, client_address="new:1")
            await b.told.until(lambda: b.told.greetings[-1][2].is_founded)
            greeting = b.told.greetings[-1][2]
            assert (greeting.group, greeting.members) == (GROUP, members)
            assert greeting.client_address == "new:1"
            b.peers.set_greeting(group=b"h" * 16)
            await a.told.until(lambda: a.told.lost)  # two groups: the links are closed

    run(body)


def test_nodes_found_a_group_over_their_links() -> None:
    """The third comes later than the others."""

    def take_part(node: LinkedNode, cluster: dict[int, str], found: dict[int, Found]) -> None:
        state = Founding(node.node_id, node.peers.own.identity, cluster)
        hear = node.told.on_greeting

        def on_greeting(source: int, identity: bytes, greeting: Greeting) -> None:
            hear(source, identity, greeting)
            decision = state.greeted(source, identity, greeting)
            if isinstance(decision, Pin):
                decision = state.note_pinned()
                node.peers.set_greeting(members=state.members)
            if isinstance(decision, Found):
                found[node.node_id] = decision
                node.peers.set_greeting(group=decision.group, members=decision.members)

        node.told.on_greeting = on_greeting  # type: ignore[method-assign]

    async def body() -> None:
        sockets = {n: listener() for n in (1, 2, 3)}
        cluster = {n: address for n, (_, address) in sockets.items()}
        found: dict[int, Found] = {}
        nodes = {n: LinkedNode(n, cluster, sock) for n, (sock, _) in sockets.items()}
        async with trio.open_nursery() as nursery:
            for node_id, node in nodes.items():
                take_part(node, cluster, found)
                nursery.start_soon(node.run)
                if node_id == 2:
                    await node.until_linked(1)
                    assert not found
            for node in nodes.values():
                await node.told.until(lambda: len(found) == 3)
            assert found[1] == found[2] == found[3]
            nursery.cancel_scope.cancel()

    run(body)


def test_forwarding_to_the_leader_and_back() -> None:
    async def body() -> None:
        async with linked(3) as (a, b, c):
            for node in (a, b, c):
                node.peers.set_leader(1)
            await a.told.until(lambda: len(a.told.links) == 2)
            await b.told.until(lambda: b.told.links)
            (link,) = b.told.links
            assert (link.node_id, link.is_accepted) == (1, False)
            other = next(found for found in a.told.links if found.node_id == 2)
            assert other.is_accepted
            assert other.link_id == link.link_id
            assert other.identity == b"\2" * 16
            assert len({found.link_id for found in a.told.links}) == 2
            assert link.send(b"command")
            b.peers.flush()
            await a.told.until(lambda: a.told.frames)
            assert a.told.frames == [(link.link_id, b"command")]
            assert other.send(b"reply")
            a.peers.flush()
            await b.told.until(lambda: b.told.frames)
            # Another leader: the link to the old one is closed, at both ends.
            b.peers.set_leader(3)
            await b.told.until(lambda: len(b.told.links) == 2)
            assert b.told.closed == [link.link_id]
            assert not link.send(b"late")
            assert b.told.links[1].link_id != link.link_id
            await a.told.until(lambda: a.told.closed == [link.link_id])
            assert a.told.lost == b.told.lost == []

    run(body)


def test_forwarding_holds_back_who_sends_too_much() -> None:
    async def body() -> None:
        async with linked(2) as (a, b):
            b.peers.set_leader(1)
            await b.told.until(lambda: b.told.links)
            await a.told.until(lambda: a.told.links)
            a.told.links[0].pause()
            link, drained = b.told.links[0], []
            link.on_drained = lambda: drained.append(link.queued_bytes)
            count = 0
            while link.send(bytes(1 << 20)):
                b.peers.flush()
                count += 1
            assert link.queued_bytes <= 64 << 20
            a.told.links[0].resume()
            await b.told.until(lambda: drained)
            assert drained == [0]
            await a.told.until(lambda: len(a.told.frames) == count)

    run(body)
