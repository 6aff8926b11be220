"""A node without sockets against the model.

It needs no other server, moves time as it likes, and empties the node's memory between commands,
so that what is read comes from storage. The node checks its own invariants after each step.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance import generators_hash, generators_list, generators_set, generators_zset
from tests.conformance.differential import Pair
from tests.conformance.generators import ADVANCES, TIMED_GROUPS, Command, Script, commands, scripts
from tests.conformance.model_server import ModelServer
from tests.conformance.shrink import run_and_shrink
from tests.conformance.test_differential import BRIEF, EXAMPLES, SETTINGS

local = pytest.importorskip("tests.support.local", reason="the native core is not built")

LOCAL_SETTINGS = settings(SETTINGS, max_examples=EXAMPLES // 2)
COOLINGS = st.just((b"cool",))
TIMED = (
    *TIMED_GROUPS,
    *generators_hash.TIMED_GROUPS,
    *generators_set.GROUPS,
    *generators_zset.ZSET_GROUPS,
    *generators_list.GROUPS,
)


class InProcess:
    """A LocalNode as something to compare with."""

    name = "node in process"

    def __init__(self) -> None:
        self.node = local.LocalNode()

    def connect(self, timeout_s: float = 0.0) -> "Client":
        """Return a new session. timeout_s: not needed, nothing waits."""
        return Client(self.node, self.node.session())

    def now_ms(self) -> int:
        """Return the node's time."""
        return self.node.clock.now_ms

    def act(self, command: Command) -> None:
        """Move time, or let memory hold nothing that storage has.

        After time moved the sweeper runs: until then a field past its deadline counts for HLEN.
        """
        if command[0] == b"advance":
            self.node.clock.advance(int(command[1]))
            self.node.expire()
        else:
            self.node.cool()


class Client(local.LocalClient):
    """A session that can be closed."""

    def close(self) -> None:
        """The client is gone."""
        self.node.close(self.session)


@BRIEF
@LOCAL_SETTINGS
@given(script=scripts(commands(*TIMED), st.one_of(ADVANCES, COOLINGS)))
def test_node_answers_as_the_model(script: Script) -> None:
    run_and_shrink(run, script)


def run(script: Script) -> None:
    """Run `script` on a new node and a new model."""
    node = InProcess()
    Pair(ModelServer(node.now_ms), node, node.act, is_listed=False).run(script)
