"""A node in memory, alone or one of a group, and a client of it."""

import pytest

from tests.support.command_node import CommandNode, TableClient
from tests.support.fake_group import FakeGroup


@pytest.fixture
def node() -> CommandNode:
    return CommandNode()


@pytest.fixture
def client(node: CommandNode) -> TableClient:
    return node.connect()


@pytest.fixture
def leader(node: CommandNode) -> FakeGroup:
    """The group of three as node 1, which leads it, knows it."""
    node.group = FakeGroup(1, later=node.later)
    return node.group


@pytest.fixture
def follower(node: CommandNode) -> FakeGroup:
    """The group of three as node 2, which follows node 1, knows it."""
    node.group = FakeGroup(2, later=node.later)
    return node.group
