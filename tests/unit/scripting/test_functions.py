"""Functions: durable, undone with their EXEC, run beside the sequencer; payloads of Redis."""

import contextlib

import pytest

from kvnode.base.errors import CommandError
from kvnode.commands import function_payload
from tests.sim.node import new_node
from tests.support import process
from tests.support.local import LocalNode, pipeline
from tests.support.resp import ErrorReply, decode_all, encode
from tests.support.scripts import S_WAITING, ask, finish

LONG = "for i = 1, 100000 do local x = i * 2 end "


def library(name: str, **functions: str) -> str:
    registered = (
        f"redis.register_function('{function}', function(keys, args) {body} end) "
        for function, body in functions.items()
    )
    return f"#!lua name={name}\n" + "".join(registered)


@pytest.fixture
def client():
    return LocalNode().client()


@pytest.mark.parametrize("with_checkpoint", [False, True])
def test_they_are_there_after_a_crash(with_checkpoint):
    node = new_node()
    session = node.session()
    ask(node, session, "FUNCTION", "LOAD", library("one", f="return 'first'", g="return args[1]"))
    ask(node, session, "FUNCTION", "LOAD", library("two", h="return 2"))
    ask(node, session, "FUNCTION", "DELETE", "two")
    if with_checkpoint:
        node.checkpoint()
    node = node.crash()
    session = node.session()
    assert ask(node, session, "FCALL", "f", "0") == b"first"
    assert ask(node, session, "FCALL", "G", "1", "k", "a") == b"a"
    assert isinstance(ask(node, session, "FCALL", "h", "0"), ErrorReply)
    ask(node, session, "FUNCTION", "FLUSH")
    node = node.crash()
    assert ask(node, node.session(), "FUNCTION", "LIST") == []


def test_they_are_found_among_very_many_records(client):
    """An EXEC that has changed libraries: what there is is read anew, and has to be all."""
    for i in range(3000):
        client.ask("SCRIPT", "LOAD", f"return {i}")
    client.send(
        encode("MULTI") + encode("FUNCTION", "LOAD", library("one", f="return 7")) + encode("EXEC")
    )
    for _ in range(3):
        client.receive()
    assert client.ask("FCALL", "f", "0") == 7


def test_a_reply_waits_for_the_entry_of_its_library():
    node = LocalNode()
    first, second = node.session(), node.session()
    assert node.run(first, encode("FUNCTION", "LOAD", library("one", f="return 7"))) == b""
    assert node.run(second, encode("FCALL", "f", "0")) == b""
    node.commit()
    assert second.take() == b":7\r\n"


@pytest.mark.parametrize(
    "change",
    [
        ("FUNCTION", "LOAD", "REPLACE", library("one", f="return 'new'", g="return 1")),
        ("FUNCTION", "DELETE", "one"),
        ("FUNCTION", "FLUSH"),
    ],
)
def test_what_an_exec_has_changed_is_undone_with_it(change):
    node = LocalNode()
    client = node.client()
    client.ask("SET", "cold", "v")
    client.ask("FUNCTION", "LOAD", library("one", f="return 'old'"))
    node.cool()
    session = node.session()
    node.run(session, pipeline(("MULTI",), change, ("RENAME", "cold", "c"), ("EXEC",)))
    node.commit()
    other = node.session()
    assert node.run(other, encode("FCALL", "f", "0")) == b"$3\r\nold\r\n"
    assert node.run(other, encode("FCALL", "g", "0")).startswith(b"-ERR Function not found")
    node.settle(session)
    after = client.ask("FCALL", "f", "0")
    if change[1] == "LOAD":
        assert after == b"new"
    else:
        assert str(after) == "ERR Function not found"


def test_upvalues_last_and_are_of_one_library(client):
    register = "redis.register_function('f', function() n = n + 1 return n end)"
    code = "#!lua name=one\nlocal n = 0 " + register
    client.ask("FUNCTION", "LOAD", code)
    assert [client.ask("FCALL", "f", "0") for _ in range(3)] == [1, 2, 3]
    client.ask("FUNCTION", "LOAD", "REPLACE", code)
    assert client.ask("FCALL", "f", "0") == 1
    client.ask("SCRIPT", "FLUSH")
    assert client.ask("FCALL", "f", "0") == 2


def test_functions_survive_a_state_that_ran_out_of_memory(client):
    """Each is loaded into the new state; what was dropped meanwhile is not taken for one of it."""
    scripts = client.node.view.scripts
    scripts.here.memory_max = 8 << 20
    names = [f"f{n}" for n in range(20)]
    for name in names:
        client.ask("FUNCTION", "LOAD", library(name, **{name: f"return '{name}'"}))
    hungry = "local t = {} for i = 1, 1e4 do t[i] = string.rep('x', 1e5) .. i end"
    assert "more memory" in str(client.ask("EVAL", hungry, "0"))
    for name in names[::2]:
        client.ask("FUNCTION", "DELETE", name)
    for _ in range(2):
        assert [client.ask("FCALL", name, "0") for name in names[1::2]] == [
            name.encode() for name in names[1::2]
        ]


def test_a_library_that_never_ends_is_refused(client):
    reply = client.ask("FUNCTION", "LOAD", "#!lua name=one\nwhile true do end")
    assert str(reply) == "ERR Error registering functions: ERR FUNCTION LOAD timeout"
    assert client.ask("FUNCTION", "LOAD", library("one", f="return 1")) == b"one"
    assert client.ask("EVAL", "return type(string.upper)", "0") == b"function"


def test_past_the_budget_a_function_runs_beside():
    node = new_node()
    node.view.scripts.here.set_budget(0, grant=1000, grants=20)
    session = node.session()
    body = "redis.call('incr', keys[1]) " + LONG + "return redis.call('get', keys[1])"
    ask(node, session, "FUNCTION", "LOAD", library("one", f=body))
    session.feed(encode("FCALL", "f", "1", "n"))
    node.serve(session)
    assert session.state == S_WAITING
    other = node.session()
    stats = decode_all(node.settle(other, encode("FUNCTION", "STATS")))
    assert b"running_script" in stats[0]
    assert decode_all(finish(node, session))[-1] == b"1"
    assert node.jobs.transactions.committed == 1


def test_killed_nothing_of_a_function_stays():
    node = new_node()
    node.view.scripts.here.set_budget(0, grant=1000, grants=20)
    session = node.session()
    ask(node, session, "FUNCTION", "LOAD", library("one", f="redis.call('set','a','1') " + LONG))
    session.feed(encode("FCALL", "f", "0"))
    node.serve(session)
    other = node.session()
    assert ask(node, other, "FUNCTION", "KILL") == b"OK"
    assert isinstance(decode_all(finish(node, session))[-1], ErrorReply)
    assert ask(node, other, "EXISTS", "a") == 0


# -- payloads -------------------------------------------------------------------------------------


def test_dump_and_restore(client):
    client.ask("FUNCTION", "LOAD", library("one", f="return 'one'"))
    client.ask("FUNCTION", "LOAD", library("two", g="return 'two'"))
    payload = client.ask("FUNCTION", "DUMP")
    assert str(client.ask("FUNCTION", "RESTORE", payload)).startswith("ERR Library one already")
    assert client.ask("FUNCTION", "RESTORE", payload, "REPLACE") == b"OK"
    client.ask("FUNCTION", "DELETE", "one")
    client.ask("FUNCTION", "LOAD", library("three", f="return 'three'"))
    reply = client.ask("FUNCTION", "RESTORE", payload, "REPLACE")
    assert str(reply) == "ERR Function f already exists"
    assert client.ask("FCALL", "f", "0") == b"three"
    assert client.ask("FUNCTION", "RESTORE", payload, "FLUSH") == b"OK"
    assert client.ask("FCALL", "f", "0") == b"one"
    assert client.ask("FCALL", "g", "0") == b"two"


def test_a_payload_counts_whole_or_not_at_all(client):
    codes = [library("one", f="return 1"), "#!lua name=two\nnonsense"]
    payload = function_payload.dump([code.encode() for code in codes])
    assert isinstance(client.ask("FUNCTION", "RESTORE", payload), ErrorReply)
    assert client.ask("FUNCTION", "LIST") == []


def test_every_damage_of_a_payload_is_noticed():
    payload = function_payload.dump([library("one", f="return 1").encode()])
    for at in range(len(payload)):
        with pytest.raises(CommandError):
            function_payload.restore(payload[:at] + bytes((payload[at] ^ 1,)) + payload[at + 1 :])
        with pytest.raises(CommandError):
            function_payload.restore(payload[:at])


@pytest.mark.parametrize("n", [0, 1, 63, 64, 16383, 16384, 70000])
def test_lengths_of_payloads(n):
    assert function_payload.restore(function_payload.dump([b"x" * n])) == [b"x" * n]


def test_payloads_of_redis_are_understood_and_understood_by_it(client):
    if process.redis_server_path() is None:
        pytest.skip("redis-server is not installed")
    code = library("one", f="return 'one'", g="return 'two'", other="return 'one' .. 'two'")
    with process.running("redis") as server, contextlib.closing(server.connect()) as redis:
        redis.call("FUNCTION", "LOAD", code)
        payload = redis.call("FUNCTION", "DUMP")
        assert len(payload) < len(code), "it is not compressed"
        assert client.ask("FUNCTION", "RESTORE", payload) == b"OK"
        assert client.ask("FCALL", "other", "0") == b"onetwo"
        assert redis.call("FUNCTION", "RESTORE", client.ask("FUNCTION", "DUMP"), "FLUSH") == b"OK"
        assert redis.call("FCALL", "g", "0") == b"two"


def test_what_loads_once_always_loads(client):
    """The top level is bounded by steps, not by the clock: a restart takes no library away."""

    def code(rounds: int) -> str:
        register = "redis.register_function('f', function() return n end)"
        return f"#!lua name=one\nlocal n = 0 for i = 1, {rounds} do n = n + 1 end " + register

    most = 1
    while client.ask("FUNCTION", "LOAD", "REPLACE", code(2 * most)) == b"one":
        most *= 2
    step = most // 2
    while step:
        if client.ask("FUNCTION", "LOAD", "REPLACE", code(most + step)) == b"one":
            most += step
        step //= 2
    client.ask("FUNCTION", "LOAD", "REPLACE", code(most))
    for _ in range(20):
        client.node.view.scripts.functions.load_records()
        assert client.ask("FCALL", "f", "0") == most
    assert 10_000 < most < 1_000_000
