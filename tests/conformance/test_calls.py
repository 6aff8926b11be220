"""Calls made from the command table, against their recorded replies; see calls.py."""

import pytest

from kvnode.commands.row import Row
from tests.conformance import calls
from tests.conformance.calls import KINDS, MARKS, Desk, differences, load
from tests.conformance.model_server import ModelServer
from tests.conformance.record_calls import UNKNOWN
from tests.support.process import ServerProcess

KIND = pytest.mark.parametrize("kind", KINDS)


@KIND
def test_the_file_holds_all_calls(kind: str) -> None:
    """A command, option or number that is new in the table needs a reply."""
    lines = load(kind)
    assert [line.call for line in lines] == calls.calls(kind)
    assert not [line.text() for line in lines if line.reply == UNKNOWN]
    assert {line.mark for line in lines} <= {"", *MARKS}


@KIND
def test_kvnode_answers_as_recorded(kind: str, kvnode_server: ServerProcess) -> None:
    with kvnode_server.connect() as connection:
        found = differences(load(kind), connection)
    assert not found, "\n".join(found)


@KIND
def test_the_recording_is_true(kind: str, redis_server: ServerProcess) -> None:
    with redis_server.connect() as connection:
        found = differences([line for line in load(kind) if not line.mark], connection)
    assert not found, "\n".join(found)


def test_commands_of_one_type_refuse_others() -> None:
    """Each of them has a key in whose place other types are refused."""
    any_type = {"mget", "mset", "msetnx", "psetex", "set", "setex", "setnx"}
    own_text = {"lcs"}
    rows = {row.name.upper().encode(): row for row in calls.all_rows()}
    bound = {name for name, row in rows.items() if row.keys and row.group in calls.KEYS}
    bound -= {name.upper().encode() for name in any_type | own_text}
    refusing = {line.call[0] for line in load("types") if line.reply == calls.WRONG_TYPE}
    assert refusing - {b"SORT", b"SORT_RO"} == bound


def test_each_option_and_each_alternative_comes_once() -> None:
    syntax = "key:key way=<A | B n:integer> [LIMIT limit=<offset:integer count:integer>]"
    row = Row("get", syntax, "", "1.0.0", -3, "list")
    assert [b" ".join(form.call()) for form in calls.forms(row)] == [
        b"GET list A",
        b"GET list B 1",
        b"GET list A LIMIT 0 1",
    ]


def faulty(name: bytes, fault) -> list[str]:
    """Return what is found on a model on which `fault` runs in place of a command."""

    def change(call, arguments):
        return fault(call, arguments) if arguments[0] == name else call(*arguments)

    server = ModelServer(lambda: 1_700_000_000_000, change)
    stream = server.connect()
    desk = Desk(stream)
    desk.answer((b"GET", b"string"))
    lines = [line for line in load("numbers") if line.call[0] in (b"LSET", b"LINDEX", b"LREM")]
    return differences(lines, stream)


def test_a_model_answers_as_recorded() -> None:
    assert faulty(b"NOSUCH", None) == []


def test_a_wrong_text_is_noticed() -> None:
    def fault(call, arguments):
        reply = call(*arguments)
        return b"OK" if isinstance(reply, Exception) else reply

    assert any("LSET list x a" in text for text in faulty(b"LSET", fault))


def test_an_error_that_changed_something_is_noticed() -> None:
    def fault(call, arguments):
        reply = call(*arguments)
        if isinstance(reply, Exception):
            call(b"RPUSH", b"list", b"b")
        return reply

    assert any("something has changed" in text for text in faulty(b"LREM", fault))
