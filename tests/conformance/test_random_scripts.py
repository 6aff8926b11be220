"""Random commands inside of scripts: redis-server, kvnode, and kvnode beside its sequencer.

Each burst of commands is one EVAL, which answers all of their replies.
"""

import time
from collections.abc import Callable

from hypothesis import given, settings

from tests.conformance import generators_hash, generators_list, generators_set, generators_zset
from tests.conformance.differential import Difference, Pair
from tests.conformance.generators import (
    COMMON_GROUPS,
    NUMERIC_TAILS,
    Burst,
    Command,
    Script,
    commands,
    scripts,
)
from tests.conformance.shrink import run_and_shrink
from tests.conformance.test_differential import BRIEF, EXAMPLES, SETTINGS
from tests.sim.node import SimNode, new_node
from tests.support.process import ServerProcess
from tests.support.resp import ReplyStream, split_array

# Arguments: for each command how many words it has, then these.
RUN_ALL = (
    b"local replies, at = {}, 1 "
    b"while at <= #ARGV do "
    b"local n = tonumber(ARGV[at]) "
    b"replies[#replies + 1] = redis.pcall(unpack(ARGV, at + 1, at + n)) "
    b"at = at + n + 1 end "
    b"return replies"
)
GROUPS = (
    *COMMON_GROUPS,
    (1, NUMERIC_TAILS),
    *generators_hash.GROUPS,
    *generators_set.GROUPS,
    *generators_zset.ZSET_GROUPS,
    *generators_list.GROUPS,
)
# 7.2 lets commands that may wait run in scripts; a noscript command has no effect worth comparing.
WAITING = frozenset((b"blmove", b"blpop", b"brpop", b"brpoplpush", b"bzpopmax", b"bzpopmin"))


class ScriptPair(Pair):
    """Two servers, each burst as one script."""

    def _exchange(self, name: str, commands: tuple[Command, ...]) -> list[tuple[bytes, bytes]]:
        if name == "reader":
            return super()._exchange(name, commands)
        words = [part for command in commands for part in (b"%d" % len(command), *command)]
        (pair,) = super()._exchange(name, ((b"EVAL", RUN_ALL, b"0", *words),))
        return list(zip(*map(split_array, pair), strict=True))


def of_scripts(script: Script) -> Script:
    """Leave out commands that scripts of 7.0 may not run, and ours may."""
    bursts = []
    for burst in script.bursts:
        kept = tuple(command for command in burst.commands if command[0].lower() not in WAITING)
        if kept:
            bursts.append(Burst(burst.connection, kept))
    return Script(script.protocols, tuple(bursts))


def check(run: Callable[[Script], None], script: Script) -> None:
    run_and_shrink(run, of_scripts(script))


@BRIEF
@settings(SETTINGS, max_examples=EXAMPLES // 3)
@given(script=scripts(commands(*GROUPS)))
def test_scripts_answer_as_those_of_redis(
    redis_server: ServerProcess, kvnode_server: ServerProcess, script: Script
) -> None:
    check(ScriptPair(redis_server, kvnode_server).run, script)


class Beside:
    """A node whose scripts have no budget on the sequencer: all of them run beside it."""

    name = "kvnode beside its sequencer"

    def __init__(self) -> None:
        self.node = new_node()
        self.node.view.scripts.here.set_budget(0, grant=1, grants=0)

    def connect(self, timeout_s: float = 0.0) -> "Client":
        """Return a new session. timeout_s: not needed, nothing waits."""
        return Client(self.node)


class Client(ReplyStream):
    """A session of a SimNode; every command settles."""

    def __init__(self, node: SimNode) -> None:
        self._node = node
        self._session = node.session()
        self._output = b""
        super().__init__(self._transmit, self._receive)

    def _transmit(self, data: bytes) -> None:
        self._node.now_ms = max(self._node.now_ms, int(time.time() * 1000))
        self._output += self._node.settle(self._session, data)

    def _receive(self) -> bytes:
        data, self._output = self._output, b""
        return data

    def close(self) -> None:
        self._node.close_session(self._session)


@BRIEF
@settings(SETTINGS, max_examples=EXAMPLES // 6)
@given(script=scripts(commands(*GROUPS)))
def test_scripts_beside_the_sequencer_answer_as_those_on_it(
    kvnode_server: ServerProcess, script: Script
) -> None:
    beside = Beside()
    check(ScriptPair(kvnode_server, beside).run, script)
    assert beside.node.jobs.transactions.committed > 0


class WrongPair(ScriptPair):
    """The second of both loses the last command of each script."""

    def _exchange(self, name: str, commands: tuple[Command, ...]) -> list[tuple[bytes, bytes]]:
        pairs = super()._exchange(name, commands)
        if name != "reader":
            self._streams[name][1].call("DEL", b"k")
        return pairs


def test_a_lost_write_is_noticed(kvnode_server: ServerProcess) -> None:
    script = Script((2, 2), (Burst("a", ((b"SET", b"k", b"v"),)), Burst("a", ((b"GET", b"k"),))))
    found = None
    try:
        WrongPair(kvnode_server, Beside()).run(script)
    except Difference as difference:
        found = difference
    assert found is not None
