"""Raft scenarios as text: tests/data/raft/*.txt."""

from pathlib import Path

import pytest

from kvnode.raft.core import RaftCore, Role
from kvnode.raft.log_terms import LogTerms
from kvnode.raft.messages import HardState, Heartbeat, Message, PreVote, PreVoteReply, Vote
from tests import datadriven

SCENARIOS = sorted((Path(__file__).parents[2] / "data" / "raft").glob("*.txt"))


class Nodes:
    """A few cores, the hard state each has on its disk, and the messages between them."""

    def __init__(self):
        self.cores: dict[int, RaftCore] = {}
        self.disk: dict[int, HardState] = {}
        self.mail: list[Message] = []
        self.out: list[str] = []

    def handle(self, case: datadriven.Case) -> str:
        """Run one verb. Node ids are words: `tick 1 2 n=5` ticks nodes 1 and 2."""
        self.out = []
        action = getattr(self, f"do_{case.verb.replace('-', '_')}")
        for word in case.words or ["0"]:
            action(int(word), case)
        return "\n".join(self.out)

    def do_start(self, node, case):
        """`start 1 voters=(1,2) term=3 vote=1 log=(1:1,4:3) last=9 committed=4`: make or restart.

        log: first index and term of each stretch.
        """
        state = self.disk.get(node, HardState())
        if "term" in case.values:
            state = HardState(case.number("term"), case.number("vote", 0))
        self.disk[node] = state
        if "log" in case.values or node not in self.cores:
            terms = [(0, 0), *(tuple(map(int, s.split(":"))) for s in case.items("log"))]
            log = LogTerms(terms, case.number("last", 0))
        else:
            log = self.cores[node].log
        self.cores[node] = RaftCore(
            node,
            [int(v) for v in case.items("voters")] or list(self.cores[node].voters),
            state,
            log,
            committed=case.number("committed", 0),
            random_ticks=lambda n: node % n,
            heartbeat_ticks=case.number("heartbeat", 1),
        )

    def do_tick(self, node, case):
        for _ in range(case.number("n", 1)):
            self.cores[node].tick()
        self.show(node)

    def do_campaign(self, node, case):
        self.cores[node].campaign()
        self.show(node)

    def do_ready(self, node, case):
        """Do what one `ready` says, in its order. With lose=1 the node dies before the sync."""
        core = self.cores[node]
        if not core.has_ready():
            self.out.append(f"{node} nothing to do")
            return
        r = core.ready()
        self.out.append(
            f"{node} {r.role.value} term={r.term} leader={r.leader} committed={r.committed}"
        )
        if r.hard_state is not None:
            self.out.append(f"  sync term={r.hard_state.term} vote={r.hard_state.vote}")
            if case.number("lose", 0):
                return
            self.disk[node] = r.hard_state
        for message in r.messages:
            self.out.append(f"  send {describe(message)}")
        self.mail += r.messages
        if r.fence_index:
            self.out.append(f"  append {r.term}:{r.fence_index}")
            core.note_appended(r.term, r.fence_index, r.fence_index)
        core.advance(r)

    def do_deliver(self, _, case):
        """Deliver all mail; `drop=2` loses what comes from or goes to node 2."""
        mail, self.mail = self.mail, []
        lost = {int(n) for n in case.items("drop")}
        for message in mail:
            if lost & {message.source, message.target} or message.target not in self.cores:
                continue
            self.out.append(f"deliver {describe(message)}")
            self.cores[message.target].step(message)

    def do_settle(self, _, case):
        """Readies and deliveries until nothing happens any more."""
        while True:
            for node in sorted(self.cores):
                while self.cores[node].has_ready():
                    self.do_ready(node, case)
            if not self.mail:
                return
            self.do_deliver(0, case)

    def do_append(self, node, case):
        term = case.number("term", self.cores[node].term)
        self.cores[node].note_appended(term, case.number("first"), case.number("last"))
        self.show(node)

    def do_synced(self, node, case):
        self.cores[node].note_synced(case.number("term"), case.number("index"))
        self.show(node)

    def do_state(self, node, case):
        self.show(node)

    def do_heartbeat(self, node, case):
        """`heartbeat 2 from=3 term=5 committed=7`"""
        self.cores[node].step(
            Heartbeat(case.number("from"), node, case.number("term"), case.number("committed", 0))
        )
        self.show(node)

    def do_vote(self, node, case):
        """`vote 3 from=2 term=5 last=1:4`"""
        term, index = map(int, case.values["last"].split(":"))
        self.cores[node].step(Vote(case.number("from"), node, case.number("term"), index, term))
        self.show(node)

    def show(self, node):
        c = self.cores[node]
        serving = " serving" if c.is_serving else ""
        self.out.append(
            f"{node} {c.role.value} term={c.term} vote={c.vote} leader={c.leader} "
            f"last={c.log.last_term}:{c.log.last_index} committed={c.committed}{serving}"
        )


def describe(message: Message) -> str:
    text = f"{message.source}->{message.target} {type(message).__name__} term={message.term}"
    if isinstance(message, PreVote | Vote):
        return f"{text} last={message.last_term}:{message.last_index}"
    if isinstance(message, Heartbeat):
        return f"{text} committed={message.committed}"
    granted = getattr(message, "granted", None)
    return text if granted is None else f"{text} {'granted' if granted else 'refused'}"


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path, rewrite):
    datadriven.run(path, Nodes().handle, rewrite=rewrite)


def test_scenarios_exist():
    assert len(SCENARIOS) >= 5


def test_a_wrong_expectation_is_found(tmp_path):
    path = tmp_path / "wrong.txt"
    path.write_text("start 1 voters=1\n----\nok\n\nstate 1\n----\n1 leader\n")
    with pytest.raises(AssertionError, match=r"wrong.txt:5"):
        datadriven.run(path, Nodes().handle)


def lone_node(**values) -> RaftCore:
    options = {"committed": 0, "random_ticks": lambda n: 0}
    return RaftCore(1, [1], HardState(), LogTerms(), **(options | values))


def test_committed_entry_is_never_replaced():
    core = lone_node()
    core.campaign()
    core.advance(core.ready())
    r = core.ready()
    core.note_appended(r.term, 1, 1)
    core.advance(r)
    core.note_synced(1, 1)
    assert core.is_serving
    with pytest.raises(AssertionError, match="committed entry"):
        core.note_appended(1, 1, 1)


def test_unappended_fence_is_our_bug():
    core = lone_node()
    core.campaign()
    core.advance(core.ready())
    assert core.role is Role.LEADER
    with pytest.raises(AssertionError, match="empty entry"):
        core.advance(core.ready())


def test_grants_of_strangers_do_not_count():
    core = RaftCore(1, [1, 2, 3], HardState(), LogTerms(), committed=0, random_ticks=lambda n: 0)
    core.campaign()
    core.step(PreVoteReply(9, 1, 1, True))
    assert core.role is Role.PRE_CANDIDATE
    core.step(PreVoteReply(2, 1, 1, True))
    assert core.role is Role.CANDIDATE
