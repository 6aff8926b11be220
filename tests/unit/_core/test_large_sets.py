"""A set of a million members goes in one small entry, and its memory in bounded steps."""

import pytest

from kvnode._core import upkeep
from tests.support.local import LocalNode

MEMBERS = 1_000_000
AT_ONCE = 10_000
ENTRY_BYTES_MAX = 300
STEPS = 2_000  # entries freed by one step


@pytest.mark.parametrize("is_deleted", [True, False])
def test_a_million_members_go_in_one_small_entry(is_deleted: bool) -> None:
    """By DEL, or past their deadline."""
    node = LocalNode()
    node.check = lambda: None  # it looks at every member
    client = node.client()
    for first in range(0, MEMBERS, AT_ONCE):
        client.ask("SADD", "s", *range(first, first + AT_ONCE))
    assert client.ask("SCARD", "s") == MEMBERS
    if is_deleted:
        assert client.ask("DEL", "s") == 1
    else:
        assert client.ask("PEXPIRE", "s", 1000) == 1
        assert len(node.entries[-1][1]) < ENTRY_BYTES_MAX
        node.clock.advance(1001)
        assert client.ask("EXISTS", "s") == 0
    assert len(node.entries[-1][1]) < ENTRY_BYTES_MAX
    assert client.ask("SADD", "s", "new") == 1
    assert client.ask("SMEMBERS", "s") in ({b"new"}, [b"new"])
    before = node.tip.bytes
    steps = 1
    while upkeep.sweep_collections(node.tip, STEPS):
        steps += 1
    assert steps > MEMBERS // STEPS // 4
    assert node.tip.bytes < before // 10
