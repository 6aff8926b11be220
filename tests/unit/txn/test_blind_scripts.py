"""Pushes without a reply, in scripts that are undone: only what they appended goes."""

import pytest

from tests.sim.node import SimNode, new_node
from tests.support.local import pipeline
from tests.support.resp import decode_all

FLAGS = "#!lua flags=blind-appends\n"
LONG = "for i = 1, 100000 do local x = i * 2 end "


@pytest.fixture
def node() -> SimNode:
    """A list, in the store only; every script runs beside, and a long one is stopped there."""
    node = new_node()
    node.settle(node.session(), pipeline(("RPUSH", "l", "a"), ("SET", "k", "v")))
    node.checkpoint()
    node.evict()
    scripts = node.view.scripts
    scripts.here.set_budget(0, grant=1, grants=0)
    scripts.beside.set_budget(0, grant=1000, grants=5)
    return node


def run(node: SimNode, *commands: tuple) -> list:
    return decode_all(node.settle(node.session(), pipeline(*commands)))


def elements(node: SimNode) -> list[bytes]:
    (found,) = run(node, ("LRANGE", "l", 0, -1))
    return found


def script(text: str) -> tuple:
    return ("EVAL", FLAGS + text, 0)


def test_a_run_that_lacked_a_record_counts_once(node):
    assert run(node, script("redis.call('rpush','l','x') return redis.call('get','k')")) == [b"v"]
    assert elements(node) == [b"a", b"x"]


@pytest.mark.parametrize("looks", ["", "redis.call('llen','l') "], ids=["blind", "looked at"])
def test_a_stopped_script_in_an_exec_appends_nothing(node, looks):
    text = f"redis.call('rpush','l','x') {looks}redis.call('set','k','w') {LONG}"
    replies = run(node, ("MULTI",), ("INCR", "n"), script(text), ("EXEC",))[-1]
    assert replies[0] == 1
    assert "took longer" in str(replies[1])
    assert elements(node) == [b"a"]
    assert run(node, ("GET", "k")) == [b"v"]


@pytest.mark.parametrize("looks", ["", "redis.call('llen','l') "], ids=["blind", "looked at"])
def test_what_was_appended_before_a_stopped_script_stays(node, looks):
    first = script("return redis.call('rpush','l','first')")
    text = f"redis.call('lpush','l','x') {looks}{LONG}"
    replies = run(node, ("MULTI",), first, script(text), ("EXEC",))[-1]
    assert replies[0] is None
    assert "took longer" in str(replies[1])
    assert elements(node) == [b"a", b"first"]


def test_a_command_that_looks_at_the_list_keeps_the_replies_before_it(node):
    first = script("return redis.call('rpush','l','first')")
    commands = [("MULTI",), ("INCR", "n"), first, ("LRANGE", "l", 0, -1), ("LLEN", "l"), ("EXEC",)]
    assert run(node, *commands)[-1] == [1, None, [b"a", b"first"], 2]
    assert elements(node) == [b"a", b"first"]
