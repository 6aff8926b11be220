"""Optimistic transactions under the test's hand: scripts are generators, on a simulated node."""

from collections.abc import Callable, Generator

from kvnode._core.session import Session
from kvnode.txn.attempt import Attempt
from kvnode.txn.optimistic import Transaction
from kvnode.txn.program import Program
from tests.reference.serial import BLIND
from tests.sim.node import SimNode, new_node
from tests.support.resp import Reply, decode, encode

S_READY, S_WAITING, S_CLOSED = 0, 2, 4  # SessionState of session.pxd
ROUNDS_MAX = 1000
LONG = "for i = 1, 100000 do local x = i * 2 end "  # past the budget of impatient_node()

Word = bytes | str | int
Script = Callable[[], Generator[tuple[Word, ...], Reply, object]]


def impatient_node() -> SimNode:
    """A node on which scripts of more than 20,000 instructions run beside the sequencer."""
    node = new_node()
    node.view.scripts.here.set_budget(0, grant=1000, grants=20)
    return node


class GeneratorProgram(Program):
    """A Program that yields commands, is sent their replies, and returns its result."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.starts = 0
        self.start_ts: list[int] = []  # of its tries
        self.result: object = None

    def start(self) -> None:
        self.starts += 1
        self._steps = self._script()
        self._words = self._next(None)

    def run(self, attempt: Attempt) -> bool:
        if not self.start_ts or self.start_ts[-1] != attempt.start_ts:
            self.start_ts.append(attempt.start_ts)
        while self._words is not None:
            is_blind = self._words[0] == BLIND
            reply = attempt.append(self._words[1:]) if is_blind else attempt.run(self._words)
            if reply is None:
                return False
            self._words = self._next(decode(reply))
        return True

    def _next(self, reply: Reply) -> list[bytes] | None:
        try:
            words = next(self._steps) if reply is None else self._steps.send(reply)
        except StopIteration as end:
            self.result = end.value
            return None
        return [word if isinstance(word, bytes) else str(word).encode() for word in words]

    def reply(self) -> bytes:
        return b"+done\r\n"


class Running:
    """One script of a client: of one that is ready, or of its own."""

    def __init__(self, node: SimNode, script: Script, session: Session | None = None) -> None:
        self.node = node
        self.session = session or node.session()
        self.session.state = S_WAITING
        self.program = GeneratorProgram(script)
        self.transaction: Transaction
        node.run_pass(self._begin)

    def _begin(self) -> None:
        self.transaction = self.node.jobs.transactions.begin(self.session, self.program)

    @property
    def is_ended(self) -> bool:
        return self.session.state != S_WAITING

    def open(self) -> None:
        """Let its fence be committed, so that its snapshot is taken."""
        self.node.sync()
        step(self.node)

    def finish(self) -> bytes:
        """Run it to its end; return what the client gets."""
        return finish(self.node, self.session)


def finish(node: SimNode, session: Session) -> bytes:
    """Let everything go on until a waiting session has its reply; return that."""
    for _ in range(ROUNDS_MAX):
        node.step_threads()
        node.sync()
        node.serve()
        if reply := session.take():
            return reply
    raise AssertionError("the transaction never ends")


def step(node: SimNode) -> None:
    """A pass in which transactions go on."""
    node.run_pass(lambda: node.jobs.transactions.step(lambda session: session.state == S_CLOSED))


def run_program(node: SimNode, *, reads: int = 100) -> None:
    """Let programs run, and their reads end, up to the point where they would commit."""
    for _ in range(reads):
        if not node.reader.step():
            return


def ask(node: SimNode, session: Session, *words: Word) -> Reply:
    """Send one command and return its reply, once it is there."""
    return decode(node.settle(session, encode(*words)))
