"""The syntax lines of the command table."""

import pytest

from kvnode.commands.syntax import Argument, SyntaxLineError, parse, render
from kvnode.commands.table import ROWS


def test_plain_arguments_and_types() -> None:
    assert parse("key:key count:integer value") == (
        Argument("key", "key", key_spec=0),
        Argument("count", "integer"),
        Argument("value", "string"),
    )


def test_second_key_has_the_second_specification() -> None:
    assert [argument.key_spec for argument in parse("source:key destination:key1")] == [0, 1]


def test_a_colon_in_a_name_is_no_type() -> None:
    assert parse("[ADDR ip:port]") == (
        Argument("ip:port", "string", token="ADDR", is_optional=True),
    )


def test_tokens_alternatives_and_versions() -> None:
    (argument,) = parse("[condition=<NX | XX@6.0.0 | EX seconds:integer!7.0.0>@2.6.12]")
    assert argument.type == "oneof"
    assert argument.since == "2.6.12"
    assert argument.flags == ["optional"]
    assert argument.arguments == (
        Argument("nx", "pure-token", token="NX"),
        Argument("xx", "pure-token", token="XX", since="6.0.0"),
        Argument("seconds", "integer", token="EX", deprecated_since="7.0.0"),
    )


def test_blocks_repeat() -> None:
    (argument,) = parse("data=<key:key value>...")
    assert argument.type == "block"
    assert argument.flags == ["multiple"]
    (argument,) = parse("[GET pattern:pattern...+]")
    assert argument.flags == ["optional", "multiple", "multiple_token"]


@pytest.mark.parametrize("line", ["[key", "x=<a b | c>", "x=<a | b", "<a>", "key]", "a=<b", "%"])
def test_broken_lines_are_refused(line: str) -> None:
    with pytest.raises(SyntaxLineError):
        parse(line)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("key:key...", "key [key ...]"),
        ("key:key [condition=<NX | XX>] [GET]", "key [NX | XX] [GET]"),
        ("enabled=<ON | OFF>", "<ON | OFF>"),
        ("[MATCH pattern:pattern] [COUNT count:integer]", "[MATCH pattern] [COUNT count]"),
        ("[TYPE kind=<A | B>]", "[TYPE <A | B>]"),
        ("data=<key value>...", "key value [key value ...]"),
        ("[GET pattern...+]", "[GET pattern [GET pattern ...]]"),
    ],
)
def test_rendered_for_people(line: str, shown: str) -> None:
    assert render(parse(line)) == shown


def test_every_line_of_the_table_is_parsed() -> None:
    rows = [*ROWS, *(subrow for row in ROWS for subrow in row.subcommands)]
    for row in rows:
        tree = parse(row.syntax)
        specs = {argument.key_spec for argument in tree if argument.key_spec >= 0}
        assert all(spec < len(row.keys) for spec in specs), row.name
