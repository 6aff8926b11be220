"""A follower's clients against the model: the leader's answers, whatever the commands are."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance import generators_hash, generators_list, generators_set, generators_zset
from tests.conformance.differential import Pair
from tests.conformance.generators import GENERIC, STRINGS, TRANSACTION, Script, commands, scripts
from tests.conformance.model_server import ModelServer
from tests.conformance.shrink import run_and_shrink
from tests.conformance.test_differential import BRIEF, EXAMPLES, SETTINGS
from tests.conformance.test_sim_node import fixed_ms
from tests.support.forwarding import Group
from tests.support.resp import ReplyStream

FORWARDED_SETTINGS = settings(SETTINGS, max_examples=EXAMPLES // 8)
GROUPS = (
    generators_hash.GROUPS,
    generators_set.GROUPS,
    generators_zset.ZSET_GROUPS,
    generators_list.GROUPS,
)
FEW = ((1, STRINGS), (1, GENERIC), (3, TRANSACTION))
SCRIPTS = st.sampled_from(GROUPS).flatmap(lambda groups: scripts(commands(*groups, *FEW)))


class FollowerServer:
    """A group; its clients are at two followers."""

    name = "follower"

    def __init__(self) -> None:
        self.group = Group(2)
        self._connections = 0

    def connect(self, timeout_s: float = 0.0) -> "FollowerClient":
        """Return a client. timeout_s: not needed, nothing waits."""
        self._connections += 1
        return FollowerClient(self.group, self._connections % 2)


class FollowerClient(ReplyStream):
    """A client of a follower; every command settles."""

    def __init__(self, group: Group, follower: int) -> None:
        self._group = group
        self._client = group.client(group.followers[follower])
        self._output = b""
        super().__init__(self._settle, self._take)

    def _settle(self, data: bytes) -> None:
        self._output += self._group.ask(self._client, data)

    def _take(self) -> bytes:
        data, self._output = self._output, b""
        return data

    def close(self) -> None:
        """The client is gone."""
        self._client.close()


def run(script: Script) -> None:
    server = FollowerServer()
    Pair(ModelServer(fixed_ms), server).run(script)
    server.group.check()


@BRIEF
@FORWARDED_SETTINGS
@given(script=SCRIPTS)
def test_follower_answers_as_the_model(script: Script) -> None:
    run_and_shrink(run, script)
