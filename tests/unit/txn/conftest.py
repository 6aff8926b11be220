"""A simulated node and one of its clients, for tests of transactions."""

from collections.abc import Callable

import pytest

from tests.sim.node import SimNode, new_node
from tests.support.resp import Reply
from tests.support.scripts import ask


@pytest.fixture
def node() -> SimNode:
    return new_node()


@pytest.fixture
def client(node: SimNode) -> Callable[..., Reply]:
    session = node.session()
    return lambda *words: ask(node, session, *words)
