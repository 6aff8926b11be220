"""The cache of scripts: records, bounded by bytes; what was used longest ago goes first."""

import hashlib

import pytest

from tests.sim.node import new_node
from tests.support.local import LocalNode, pipeline
from tests.support.resp import decode_all, encode
from tests.support.scripts import ask

OVERHEAD_BYTES = 512  # of script_cache.pxd


def sha(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


def texts(count: int) -> list[str]:
    return [f"return {n}" for n in range(count)]


@pytest.fixture
def client():
    return LocalNode().client()


def test_eval_and_load_cache_a_script(client):
    assert client.ask("EVAL", "return 'one'", "0") == b"one"
    assert client.ask("SCRIPT", "LOAD", "return 'two'") == sha("return 'two'").encode()
    for text in ("return 'one'", "return 'two'"):
        assert client.ask("EVALSHA", sha(text).upper(), "0") == text[8:-1].encode()
    names = [sha("return 'one'"), sha("return 'three'"), sha("return 'two'"), "x", ""]
    assert client.ask("SCRIPT", "EXISTS", *names) == [1, 0, 1, 0, 0]


@pytest.mark.parametrize(
    "text", ["", "return 1", "x" * 55, "x" * 56, "y" * 63, "z" * 64, "a" * 1000]
)
def test_names_are_sha1(client, text):
    assert client.ask("EVAL", "return redis.sha1hex(ARGV[1])", "0", text) == sha(text).encode()


def test_a_script_that_cannot_run_is_not_cached(client):
    for text in ("ret urn", "#!lua flags=unknown\nreturn 1", "#!js\n1"):
        client.ask("EVAL", text, "0")
        client.ask("SCRIPT", "LOAD", text)
        assert client.ask("SCRIPT", "EXISTS", sha(text)) == [0]


def test_only_the_first_run_of_a_text_is_logged(client):
    node = client.node
    client.ask("EVAL", "return 1", "0")
    entries = len(node.entries)
    client.ask("EVAL", "return 1", "0")
    client.ask("EVALSHA", sha("return 1"), "0")
    assert len(node.entries) == entries


def test_flush_forgets_all(client):
    client.ask("EVAL", "return 1", "0")
    assert client.ask("SCRIPT", "FLUSH") == b"OK"
    assert client.ask("SCRIPT", "EXISTS", sha("return 1")) == [0]
    assert str(client.ask("EVALSHA", sha("return 1"), "0")).startswith("NOSCRIPT")
    assert client.ask("EVAL", "return 1", "0") == 1
    assert client.ask("EVALSHA", sha("return 1"), "0") == 1


def test_what_was_used_longest_ago_goes_first(client):
    cache = client.node.view.scripts.cache
    cache.bytes_max = 4 * (OVERHEAD_BYTES + len("return 0"))
    for text in texts(4):
        client.ask("EVAL", text, "0")
    client.ask("EVALSHA", sha("return 0"), "0")
    client.ask("EVAL", "return 4", "0")
    names = [sha(text) for text in texts(5)]
    assert client.ask("SCRIPT", "EXISTS", *names) == [1, 0, 1, 1, 1]
    assert cache.bytes <= cache.bytes_max
    assert cache.evicted == 1


def test_many_different_scripts_take_bounded_memory(client):
    cache = client.node.view.scripts.cache
    cache.bytes_max = 100 * OVERHEAD_BYTES
    for text in texts(1200):  # more than functions are kept, too
        assert client.ask("EVAL", text, "0") == int(text[7:])
    assert cache.count < 100
    assert client.ask("EVAL", "return 0", "0") == 0


def test_an_exec_that_is_undone_takes_its_scripts_along():
    """A script cached by an EXEC that parks is cached once it has run, and not before."""
    node = LocalNode()
    client = node.client()
    client.ask("SET", "cold", "v")
    node.cool()
    session = node.session()
    commands = [("MULTI",), ("SCRIPT", "LOAD", "return 7"), ("RENAME", "cold", "c"), ("EXEC",)]
    node.run(session, pipeline(*commands))
    other = node.session()
    commands = [("SCRIPT", "EXISTS", sha("return 7")), ("EVALSHA", sha("return 7"), "0")]
    exists, error = decode_all(node.run(other, pipeline(*commands)))
    assert exists == [0]
    assert str(error).startswith("NOSCRIPT")
    node.settle(session)
    assert client.ask("EVALSHA", sha("return 7"), "0") == 7


def test_a_flush_that_is_undone_leaves_them():
    node = LocalNode()
    client = node.client()
    client.ask("SET", "cold", "v")
    client.ask("EVAL", "return 7", "0")
    node.cool()
    session = node.session()
    commands = [("MULTI",), ("SCRIPT", "FLUSH"), ("RENAME", "cold", "c"), ("EXEC",)]
    node.run(session, pipeline(*commands))
    assert client.ask("EVALSHA", sha("return 7"), "0") == 7


def test_a_reply_waits_for_the_entry_that_cached_its_script():
    node = LocalNode()
    first, second = node.session(), node.session()
    assert node.run(first, encode("SCRIPT", "LOAD", "return 7")) == b""
    assert node.run(second, encode("EVALSHA", sha("return 7"), "0")) == b""
    node.commit()
    assert second.take() == b":7\r\n"


@pytest.mark.parametrize("with_checkpoint", [False, True])
def test_it_is_there_after_a_crash(with_checkpoint):
    node = new_node()
    session = node.session()
    assert ask(node, session, "EVAL", "return 7", "0") == 7
    ask(node, session, "EVAL", "return 8", "0")
    if with_checkpoint:
        node.checkpoint()
    node = node.crash()
    session = node.session()
    assert ask(node, session, "EVALSHA", sha("return 7"), "0") == 7
    assert node.view.scripts.cache.count == 2
    ask(node, session, "SCRIPT", "FLUSH")
    node = node.crash()
    assert ask(node, node.session(), "SCRIPT", "EXISTS", sha("return 7")) == [0]


# -- records that are not in memory ---------------------------------------------------------------


def cold_node() -> LocalNode:
    node = LocalNode()
    client = node.client()
    for i in range(5):
        client.ask("SET", f"k{i}", i)
    client.ask("RPUSH", "list", *"abc")
    node.cool()
    return node


def test_a_record_that_is_missing_undoes_the_script():
    node = cold_node()
    text = (
        "redis.call('incr','made') local s = 0 "
        "for i = 0, 4 do s = s + redis.call('get','k' .. i) end "
        "redis.call('rpush','list',s) return {s, redis.call('get','made')}"
    )
    client = node.client()
    sha1 = client.ask("SCRIPT", "LOAD", text)
    before = len(node.entries)
    session = node.session()
    node.run(session, encode("EVALSHA", sha1, "0"))
    node.commit()
    assert len(node.entries) == before
    assert decode_all(node.settle(session)) == [[10, b"1"]]
    assert client.ask("LRANGE", "list", "0", "-1") == [b"a", b"b", b"c", b"10"]
    assert client.ask("GET", "made") == b"1"


def test_declared_keys_are_fetched_at_once():
    node = cold_node()
    client = node.client()
    text = "local s = 0 for _, k in ipairs(KEYS) do s = s + redis.call('get', k) end return s"
    sha1 = client.ask("SCRIPT", "LOAD", text)
    session = node.session()
    node.run(session, encode("EVALSHA", sha1, "5", *(f"k{i}" for i in range(5))))
    assert len(node.fetch()) == 5
    assert node.run(session) == b":10\r\n"


def test_chance_is_the_same_when_a_script_runs_again():
    """The position of math.random is part of what is undone."""
    numbers = []
    for is_cold in (False, True):
        node = cold_node()
        client = node.client()
        if not is_cold:
            client.ask("GET", "k1")
        text = "local r = math.random(1000000) redis.call('get','k1') return {r, math.random(10)}"
        numbers.append(client.ask("EVAL", text, "0"))
    assert numbers[0] == numbers[1]
