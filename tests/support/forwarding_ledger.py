"""What clients of forwarding nodes were told, held against what the leader has in the end.

Each client appends tokens of its own to a list of its own. A token whose reply came is there once,
at the place that the reply says; one that was not done is not there; of those that are uncertain
some may be there, the first ones. All of them are in the order in which they were sent.
"""

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.forwarding import UNCERTAIN, Client, End, ForwardingNode, Group, Net
from tests.support.resp import ErrorReply, ReplyStream, decode, encode

DONE, NOT_DONE, UNKNOWN = "done", "not done", "unknown"
ENDS = ("UNCERTAIN", "TRYAGAIN the leader was lost")
HEADER = struct.Struct(">BQQQ")


class Broken(AssertionError):
    """What was told and what is there do not fit."""


@dataclass
class Sent:
    """A command. token: what it appends.   place: that its reply says."""

    name: str
    token: bytes | None = None
    state: str = UNKNOWN
    place: int = 0


@dataclass
class Person:
    """Somebody who connects anew when the connection has closed."""

    node: ForwardingNode
    key: bytes
    client: Client | None = None
    connections: list[list[Sent]] = field(default_factory=list)
    outputs: list[Client] = field(default_factory=list)
    tokens: int = 0


class Storm:
    """Random clients on a leader and two followers, whose links and terms change."""

    def __init__(self, seed: int, plant: Callable[["Storm"], None] = lambda storm: None) -> None:
        self.rng = random.Random(seed)
        self.group = Group(2, seed)
        self.term = 1
        self.persons = [
            Person(node, b"list-%d" % n)
            for n, node in enumerate((self.group.leader, *self.group.followers * 2))
        ]
        self.on_reconnect: Callable[[End, End], None] = lambda old, new: None
        plant(self)

    # -- what happens ---------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        calm = self.rng.choice((1, 2, 5))  # the more, the less breaks
        acts = (
            *[self.send] * 5 * calm,
            *[self.deliver] * 18 * calm,
            *[self.work] * 12 * calm,
            *[self.take] * 5 * calm,
            self.cut,
            self.cut_one_side,
            self.leave,
            *[self.reconnect] * 4,
            self.change_term,
            *[self.serve] * 4,
            *[self.pass_time] * 2,
        )
        for _ in range(steps):
            self.rng.choice(acts)()
        self.heal()
        self.check()

    def send(self) -> None:
        person = self.rng.choice(self.persons)
        if person.client is None or person.client.is_closed:
            person.client = self.group.client(person.node)
            person.outputs.append(person.client)
            person.connections.append([])
        data = b"".join(self.command(person) for _ in range(self.rng.randrange(1, 6)))
        cut = self.rng.randrange(len(data))
        for part in (data[:cut], data[cut:]):
            person.client.send(part)

    def command(self, person: Person) -> bytes:
        sent = person.connections[-1]
        kind = self.rng.randrange(10)
        if kind < 5:
            return self.push(person)
        if kind == 5:
            sent.append(Sent("PING"))
            return encode("PING")
        if kind == 6:
            sent.append(Sent("CLIENT"))
            return encode("CLIENT", "GETNAME")
        if kind == 7:
            sent.append(Sent("LLEN"))
            return encode("LLEN", person.key)
        sent.append(Sent("MULTI"))
        data = encode("MULTI") + self.push(person, "QUEUED") + self.push(person, "QUEUED")
        sent.append(Sent("EXEC"))
        return data + encode("EXEC")

    def push(self, person: Person, name: str = "RPUSH") -> bytes:
        person.tokens += 1
        token = b"%d" % person.tokens
        person.connections[-1].append(Sent(name, token))
        return encode("RPUSH", person.key, token)

    def deliver(self) -> None:
        link = self.rng.choice(self.group.net.links[-4:])
        self.group.net.deliver(self.rng.choice(link), self.rng.randrange(1, 4))

    def work(self) -> None:
        node = self.rng.choice(self.group.nodes)
        node.serve()
        if self.rng.random() < 0.6:
            node.sync(self.rng.choice((1, None)))

    def take(self) -> None:
        for client in self.group.clients:
            client.take()

    def cut(self) -> None:
        self.group.net.cut(self.rng.choice(self.group.ends))

    def cut_one_side(self) -> None:
        end = self.rng.choice(self.group.ends)
        if not end.is_closed:
            self.group.net.cut_one_side(end)
            end.is_closed = False  # what is on its way still arrives

    def reconnect(self) -> None:
        """A follower hears of the leader, if that is news; now and then its link breaks unseen."""
        n = self.rng.randrange(2)
        forwarding = self.group.followers[n].forwarding
        assert forwarding is not None
        uplink = forwarding.clients.uplink
        if uplink is None or uplink.port.term != self.term or self.rng.random() < 0.1:
            self.connect(n)

    def leave(self) -> None:
        """A follower knows of no leader."""
        self.rng.choice(self.group.followers).follow(self.term, None)

    def connect(self, n: int) -> None:
        old, node = self.group.ends[n], self.group.followers[n]
        new = self.group.net.connect(node, self.group.leader)
        self.group.ends[n] = new
        node.follow(self.term, new)
        self.on_reconnect(old, new)

    def change_term(self) -> None:
        leader = self.group.leader
        assert leader.forwarding is not None
        if self.rng.random() < 0.5:
            leader.step_down()
        else:  # with entries that are not committed yet
            leader.stop()
            leader.sequencer.fail_held(UNCERTAIN)
            leader.forwarding.step_down()
        self.term += 1
        if self.rng.random() < 0.5:
            leader.forwarding.lead(self.term)
        else:
            leader.forwarding.leader_changed(self.term, None)
            self.term += 1
            leader.forwarding.lead(self.term)

    def serve(self) -> None:
        self.group.leader.begin_to_serve()

    def pass_time(self) -> None:
        for node in self.group.nodes:
            node.now_ms += self.rng.choice((100, 1000, 3000))
            assert node.forwarding is not None
            node.forwarding.tick()

    # -- the end --------------------------------------------------------------------------------

    def heal(self) -> None:
        self.serve()
        for n in range(2):
            self.connect(n)
        self.group.settle()
        self.group.tick(10_000)
        self.group.settle()

    def check(self) -> None:
        self.group.check()
        for person in self.persons:
            for sent, client in zip(person.connections, person.outputs, strict=True):
                note_replies(sent, client)
            check_list(person, self.items(person.key))

    def items(self, key: bytes) -> list[bytes]:
        client = self.group.client(self.group.leader)
        output = self.group.ask(client, encode("LRANGE", key, 0, -1))
        replies = read_replies(output)
        assert len(replies) == 1
        return replies[0]  # type: ignore[return-value]


def read_replies(output: bytes) -> list[object]:
    """Return the replies in `output`. Raises Broken for an incomplete one."""
    parts = [b"", output]
    stream = ReplyStream(lambda data: None, parts.pop)
    replies: list[object] = []
    at = 0
    while at < len(output):
        try:
            raw = stream.receive_raw()
        except ConnectionResetError as error:
            raise Broken(f"half a reply: {output[at:]!r}") from error
        at += len(raw)
        replies.append(decode(raw))
    return replies


def note_replies(sent: list[Sent], client: Client) -> None:
    """Note on each command of a connection what its reply says. Raises Broken."""
    replies = read_replies(client.output)
    queued: list[Sent] = []
    is_over = False
    for n, reply in enumerate(replies):
        if isinstance(reply, ErrorReply) and str(reply).startswith(ENDS):
            is_over = True
            if n != len(replies) - 1 or not client.is_closed:
                raise Broken(f"something follows {reply}")
            break
        if n >= len(sent):
            raise Broken(f"a reply to nothing: {reply!r}")
        note_reply(sent[n], reply, queued)
    if len(replies) < len(sent) and not is_over:
        raise Broken(f"{len(sent)} commands got {len(replies)} replies")


def note_reply(sent: Sent, reply: object, queued: list[Sent]) -> None:
    failed = isinstance(reply, ErrorReply) and reply.code == "TRYAGAIN"
    expected: dict[str, tuple[object, ...]] = {
        "PING": (b"PONG",),
        "CLIENT": (None,),
        "MULTI": (b"OK",),
        "QUEUED": (b"QUEUED",),
    }
    if sent.name == "EXEC":
        is_done = isinstance(reply, list) and len(reply) == len(queued) == 2
        if not is_done and not (failed or getattr(reply, "code", "") in ("EXECABORT", "ERR")):
            raise Broken(f"EXEC answers {reply!r}")
        for n, each in enumerate(queued):
            each.state = DONE if is_done else NOT_DONE
            each.place = reply[n] if is_done else 0  # type: ignore[index]
        queued.clear()
    elif sent.name in ("RPUSH", "LLEN"):
        if not failed and not isinstance(reply, int):
            raise Broken(f"{sent.name} answers {reply!r}")
        sent.state = NOT_DONE if failed else DONE
        sent.place = 0 if failed else reply  # type: ignore[assignment]
    else:
        if not failed and reply not in expected[sent.name]:
            raise Broken(f"{sent.name} answers {reply!r}")
        if sent.name == "QUEUED":
            if failed:
                sent.state = NOT_DONE
            else:
                queued.append(sent)


def check_list(person: Person, items: list[bytes]) -> None:
    """Raise Broken if the list of a client is not what it was told."""
    at = 0
    for sent in person.connections:
        is_ending = False  # an uncertain one was not done: nor is any after it
        for each in sent:
            if each.token is None:
                continue
            is_there = at < len(items) and items[at] == each.token
            if each.state == DONE and not (is_there and each.place == at + 1):
                raise Broken(f"{each} is not at {at} of {items}")
            if is_there and (each.state == NOT_DONE or is_ending):
                raise Broken(f"{each} is there: {items}")
            if each.state == UNKNOWN and not is_there:
                is_ending = True
            at += is_there
    if at != len(items):
        raise Broken(f"{items[at:]} are there too often, or in the wrong order")


# -- bugs on purpose ------------------------------------------------------------------------------


def obey_old_links(storm: Storm) -> None:
    """A leader takes commands from a link that was given up."""
    forwarding = storm.group.leader.forwarding
    assert forwarding is not None

    arrive = storm.group.net.arrive

    def arrive_first(end: End, frame: bytes) -> None:
        if end.peer is not None and end.peer.owner is storm.group.leader:
            forwarding._newest[end.peer.node_id] = end.peer
        arrive(end, frame)

    storm.group.net.arrive = arrive_first  # type: ignore[method-assign]


def send_again(storm: Storm) -> None:
    """A follower sends what is not answered again over the next link."""
    last: dict[ForwardingNode, bytes] = {}
    net: Net = storm.group.net

    deliver = net.deliver

    def deliver_and_note(end: End, n: int = 1) -> int:
        for frame in list(end.frames)[:n]:
            if frame[0] == 1 and len(frame) > HEADER.size:
                last[end.owner] = frame
        return deliver(end, n)

    def again(old: End, new: End) -> None:
        frame = last.get(new.owner)
        assert new.owner.forwarding is not None
        uplink = new.owner.forwarding.clients.uplink
        if frame is not None and uplink is not None:
            head = HEADER.pack(1, uplink.port.term, uplink.port.uplink, 0)
            new.frames.append(head + frame[HEADER.size :])

    net.deliver = deliver_and_note  # type: ignore[method-assign]
    storm.on_reconnect = again


def answer_too_early(storm: Storm) -> None:
    """A leader says that all is answered what is executed: local commands overtake."""

    def lie(frame: bytes) -> tuple[bytes, ...]:
        if frame[0] != 2:
            return (frame,)
        data, at = bytearray(frame), HEADER.size
        while at < len(data):
            if data[at] == 6:
                data[at + 19 : at + 27] = data[at + 11 : at + 19]
                at += 31 + int.from_bytes(data[at + 27 : at + 31], "big")
            else:
                at += 14 + int.from_bytes(data[at + 10 : at + 14], "big")
        return (bytes(data),)

    storm.group.net.tampers = lie


def run_what_is_returned(storm: Storm) -> None:
    """A leader that steps down executes what it gives back as not done."""
    leader = storm.group.leader
    forwarding = leader.forwarding
    assert forwarding is not None
    step_down = forwarding.step_down

    def wrong() -> None:
        waiting = [mirror.parser.peek_commands() for mirror in forwarding.mirrors()]
        step_down()
        session = leader.session()
        leader.serves = leader.sequencer.serving = True
        for commands in waiting:
            for command in commands:
                session.feed(encode(*command))
        leader.serve(session)
        leader.stop()

    forwarding.step_down = wrong  # type: ignore[method-assign]
