"""A node on a simulated disk against the model, and against redis-server where there is one.

Between commands it makes checkpoints or parts of them, folds, sweeps, forgets what it can read
back, and loses power. With a step budget of a few elements most commands that look at collections
run as transactions.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvnode.base.errors import CorruptionError, InvariantError
from kvnode.commands import table
from kvnode.server.local import START_MS, native_handlers
from kvnode.storage import recovery
from tests.conformance import generators_hash, generators_list, generators_set, generators_zset
from tests.conformance.differential import Difference, Pair, Server
from tests.conformance.generators import (
    GENERIC,
    STRINGS,
    TRANSACTION,
    Command,
    Script,
    commands,
    scripts,
)
from tests.conformance.model_server import ModelServer
from tests.conformance.shrink import run_and_shrink
from tests.conformance.test_differential import BRIEF, EXAMPLES, SETTINGS
from tests.sim.node import SimNode, new_node
from tests.support import planted
from tests.support.contents import PUT
from tests.support.resp import ReplyStream

SIM_SETTINGS = settings(SETTINGS, max_examples=EXAMPLES // 8)
PLANTED_EXAMPLES = 120
BUDGETS = pytest.mark.parametrize("steps_max", [None, 8])
ACTS = ("checkpoint", "part", "background", "evict", "evict", "crash", "crash", "kill", "kill")
acts = st.tuples(st.sampled_from(ACTS), st.integers(0, 9)).map(
    lambda act: (act[0].encode(), b"%d" % act[1])
)
COMMON_FEW = ((1, STRINGS), (2, GENERIC), (2, TRANSACTION))
# A script is about one type mostly: collections shall live through some of what happens.
FOCUSES = (
    generators_hash.GROUPS,
    generators_set.GROUPS,
    generators_zset.ZSET_GROUPS,
    generators_list.GROUPS,
)
SCRIPTS = st.sampled_from(FOCUSES).flatmap(
    lambda groups: scripts(commands(*groups, *groups, *COMMON_FEW), acts, least=3)
)
TABLE = table.build(native_handlers())  # the rows are the same for all nodes, and take long


class SimServer:
    """A SimNode as something to compare with. clock: ms."""

    name = "simulated node"

    def __init__(self, clock: Callable[[], int], steps_max: int | None) -> None:
        self.clock = clock
        self.node: SimNode = new_node(now_ms=clock(), commands=TABLE, steps_max=steps_max)

    def connect(self, timeout_s: float = 0.0) -> "SimClient":
        """Return a new session. timeout_s: not needed, nothing waits."""
        return SimClient(self)

    def act(self, command: Command) -> bool:
        """Do one of ACTS, for so many steps; True: it was a restart."""
        act, steps = command[0].decode(), int(command[1])
        node = self.node
        if act in ("crash", "kill"):
            self.node = getattr(node, act)()
            return True
        if act in ("checkpoint", "evict"):
            getattr(node, act)()
        else:
            if act == "part":
                node.replica.request_checkpoint(lambda _: None)
            node.upkeep(steps, calls=1 + steps % 3)
        node.check()
        return False


class SimClient(ReplyStream):
    """A session of a SimServer; every command settles."""

    def __init__(self, server: SimServer) -> None:
        self._server = server
        self._node = server.node
        self._session = server.node.session()
        self._output = b""
        super().__init__(self._settle, self._take)

    def _settle(self, data: bytes) -> None:
        self._node.now_ms = max(self._node.now_ms, self._server.clock())
        self._output += self._node.settle(self._session, data)

    def _take(self) -> bytes:
        data, self._output = self._output, b""
        return data

    def close(self) -> None:
        """The client is gone, if its node is not."""
        if self._node is self._server.node:
            self._node.close_session(self._session)


def run(reference: Server, clock: Callable[[], int], steps_max: int | None, script: Script) -> None:
    """Run a script on a new simulated node and on `reference`."""
    server = SimServer(clock, steps_max)
    Pair(reference, server, server.act).run(script if steps_max is None else unwatched(script))


def unwatched(script: Script) -> Script:
    """Return a script without WATCH: see docs/COMPATIBILITY.md on what a long EXEC changes back."""

    def without(command: Command) -> Command:
        return (b"UNWATCH",) if command[0].upper() == b"WATCH" else command

    bursts = [replace(b, commands=tuple(map(without, b.commands))) for b in script.bursts]
    return replace(script, bursts=tuple(bursts))


def fixed_ms() -> int:
    return START_MS


def real_ms() -> int:
    return time.time_ns() // 1_000_000


@BUDGETS
@BRIEF
@SIM_SETTINGS
@given(script=SCRIPTS)
def test_node_answers_as_the_model(steps_max: int | None, script: Script) -> None:
    run_and_shrink(lambda s: run(ModelServer(fixed_ms), fixed_ms, steps_max, s), script)


@BUDGETS
@BRIEF
@SIM_SETTINGS
@given(script=SCRIPTS)
def test_node_answers_as_redis(redis_server: Server, steps_max: int | None, script: Script) -> None:
    run_and_shrink(lambda s: run(redis_server, real_ms, steps_max, s), script)


def no_deltas(operation: planted.Operation) -> planted.Operation | None:
    """A planted bug: replay knows nothing of what changed in lengths."""
    return None if operation[1][:1] == b"E" else operation


def no_tombstones(operation: planted.Operation) -> planted.Operation | None:
    """A planted bug: replay brings back what was removed."""
    return None if operation[0] != PUT and operation[1][:1] in (b"F", b"M", b"K") else operation


@pytest.mark.parametrize("bug", [no_deltas, no_tombstones])
def test_a_planted_bug_is_found(bug: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = recovery._replay

    def wrong(tip: object, facts: object, entries: Iterable) -> tuple:
        return replay(tip, facts, ((*e[:3], planted.changed(e[3], bug)) for e in entries))

    monkeypatch.setattr(recovery, "_replay", wrong)

    found: list[Exception] = []

    @settings(SETTINGS, max_examples=PLANTED_EXAMPLES)
    @given(script=SCRIPTS)
    def search(script: Script) -> None:
        if not found:
            try:
                run(ModelServer(fixed_ms), fixed_ms, None, script)
            except (Difference, CorruptionError, InvariantError) as error:
                found.append(error)

    search()
    assert found
