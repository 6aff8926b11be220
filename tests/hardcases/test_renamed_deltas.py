"""Deltas follow their collection to its new name (hard case 16).

A delta in LevelDB names its collection by the key of then. Once that is another one's, nobody finds
the collection by it: so RENAME and MOVE fold in their own batch, and no delta survives under an old
name.
"""

from collections.abc import Callable

import pytest

from kvnode.base.errors import CorruptionError
from tests.sim.node import SimNode
from tests.support.resp import encode
from tests.support.rewriting import Row, rewrite_rows, split_head
from tests.unit.storage.test_compact import MEMBERS, deltas, node_with_deltas, settle

SETS = 5

Bug = Callable[[SimNode], None]


def rename(node: SimNode, name: str) -> None:
    assert node.ask("RENAME", name, "new " + name) == b"OK"


def move(node: SimNode, name: str) -> None:
    assert node.ask("MOVE", name, 1) == 1


def sound(node: SimNode) -> None:
    """Nothing is broken."""


def deltas_stay_behind(node: SimNode) -> None:
    """The head has a new name and holds all, its deltas are still there."""
    rewrite_rows(node.engine, lambda row: [] if row[0][:1] == b"E" and row[1] is None else [row])


def bases_stay_behind(node: SimNode) -> None:
    """The head gets a new name and says what it said under the old one; its deltas go."""
    heads = node.engine.scan(b"H", b"I", 1 << 20)
    said = {split_head(envelope)[0][-8:]: (key, split_head(envelope)[1]) for key, envelope in heads}

    def change(row: Row) -> list[Row]:
        key, envelope = row
        if key[:1] == b"H" and envelope is not None:
            start, _ = split_head(envelope)
            old_key, old_body = said.get(start[-8:], (key, b""))
            if old_key != key:
                return [(key, start + old_body)]
        return [row]

    rewrite_rows(node.engine, change)


def check(leave: Callable[[SimNode, str], None], bug: Bug) -> None:
    """Collections with deltas in LevelDB leave their keys, which other ones take."""
    node = node_with_deltas(SETS)
    assert deltas(node) >= SETS - 1
    bug(node)
    names = [f"s{number}" for number in range(SETS)]
    for name in names:
        leave(node, name)
        assert node.ask("SADD", name, "other") == 1
    for _ in range(2):
        node.checkpoint()
        settle(node)
    assert deltas(node) == 0
    node = node.kill()
    assert [node.ask("SCARD", name) for name in names] == [1] * SETS
    if leave is rename:
        assert [node.ask("SCARD", "new " + name) for name in names] == [MEMBERS + 1] * SETS
        return
    for name in names:
        replies = node.settle(node.session(), encode("SELECT", 1) + encode("SCARD", name))
        assert replies == b"+OK\r\n:%d\r\n" % (MEMBERS + 1)


@pytest.mark.parametrize("leave", [rename, move])
def test_deltas_follow_their_collection(leave):
    check(leave, sound)


@pytest.mark.parametrize("bug", [deltas_stay_behind, bases_stay_behind])
@pytest.mark.parametrize("leave", [rename, move])
def test_a_planted_bug_is_found(leave, bug):
    with pytest.raises((AssertionError, CorruptionError)):
        check(leave, bug)
