"""Invariants of the rows, and the commands built from them."""

import re
from pathlib import Path

import pytest

import kvnode
from kvnode._core.dispatch import Dispatch
from kvnode.commands.keys import key_positions, keys_and_flags
from kvnode.commands.row import CATEGORIES, FLAG_BITS, FLAGS, KEY_FLAGS, Key, Row
from kvnode.commands.table import ROWS, build, built_rows
from kvnode.server.local import native_handlers

ALL = [*ROWS, *(subrow for row in ROWS for subrow in row.subcommands)]
BY_NAME = {row.name: row for row in ALL}


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_row_is_sound(row: Row) -> None:
    assert row.name == row.name.lower()
    assert row.arity != 0
    assert set(row.flags.split()) <= set(FLAGS)
    assert set(row.categories) <= set(CATEGORIES)
    assert re.fullmatch(r"\d+\.\d+\.\d+", row.since)
    assert row.summary.endswith(".")
    assert sum((row.handler is not None, row.native is not None, bool(row.subcommands))) == (
        2 if row.name == "command" else 1
    )
    for key in row.keys:
        assert set(key.flags.split()) <= set(KEY_FLAGS)
        assert abs(row.arity) > key.index or row.name == "sunsubscribe"  # all of them by default
    for subrow in row.subcommands:
        assert subrow.name.startswith(f"{row.name}|")
        assert not subrow.subcommands


def test_names_are_unique_and_sorted() -> None:
    names = [row.name for row in ROWS]
    assert names == sorted(set(names))


def test_every_native_row_has_its_handler() -> None:
    handlers = native_handlers()
    assert set(handlers) <= {row.native for row in ALL}
    assert {row.native for row in ALL if row.native} == set(handlers)
    assert {row.name for row in built_rows(handlers)} == set(BY_NAME)


def test_a_missing_native_handler_leaves_its_row_out() -> None:
    names = {command.name for command in build({})}
    assert b"get" not in names
    assert b"info" in names
    memory = next(command for command in build({}) if command.name == b"memory")
    assert b"USAGE" not in memory.subcommands
    assert b"STATS" in memory.subcommands


def test_commands_are_found_in_any_case() -> None:
    dispatch = Dispatch(build(native_handlers()))
    command = dispatch.lookup(b"cOnFiG")
    assert command.name == b"config"
    assert command.subcommands[b"GET"].row is BY_NAME["config|get"]


def test_flag_bits_are_those_of_dispatch_and_forwarding() -> None:
    core = Path(kvnode.__file__).parent / "_core"
    text = (core / "dispatch.pxd").read_text() + (core / "forwarding.pxd").read_text()
    native = {name.lower(): int(bit) for name, bit in re.findall(r"C_(\w+) = (\d+)", text)}
    assert native == FLAG_BITS
    assert BY_NAME["exec"].flag_bits & FLAG_BITS["no_queue"]
    assert not BY_NAME["get"].flag_bits & FLAG_BITS["no_queue"]


def test_each_row_has_a_place() -> None:
    places = {name: BY_NAME[name].place for name in ("get", "config|set", "memory|usage", "ping")}
    assert places == {"get": "", "config|set": "local", "memory|usage": "", "ping": "anywhere"}
    assert BY_NAME["memory|stats"].place == "local"
    assert BY_NAME["config|set"].flag_bits & FLAG_BITS["local"]


def test_what_runs_where_the_client_is_names_no_keys() -> None:
    assert [row.name for row in ROWS if row.place and row.keys] == []
    assert [row.name for row in ROWS if row.place and "write" in row.flags.split()] == []


@pytest.mark.parametrize(
    ("call", "positions"),
    [
        ("get a", [1]),
        ("mget a b c", [1, 2, 3]),
        ("mset a 1 b 2", [1, 3]),
        ("rename a b", [1, 2]),
        ("copy a b DB 1", [1, 2]),
        ("object|encoding encoding a", [2]),
        ("keys *", []),
        ("lcs a b LEN", [1, 2]),
        ("zunion 2 a b WITHSCORES", [2, 3]),
        ("zunionstore d 2 a b", [1, 3, 4]),
        ("bzpopmin a b 0", [1, 2]),
        ("bzmpop 0 2 a b MIN", [3, 4]),
        ("sintercard 2 a b LIMIT 1", [2, 3]),
        ("sintercard 3 a b", []),
        ("sort a", [1]),
        ("sort a STORE b", [1, 3]),
        ("sort a BY w LIMIT 0 1 GET # store b DESC", [1, 10]),
        ("sort a STORE b STORE c", [1, 5]),
        ("sort a BY STORE STORE b", [1, 5]),
        ("sort a BY STORE", [1]),
        ("sort a STORE", [1]),
        ("sort_ro a BY w", [1]),
    ],
)
def test_key_positions(call: str, positions: list[int]) -> None:
    name, *args = call.split()
    row = BY_NAME[name]
    words = [argument.encode() for argument in args]
    assert key_positions(row, [name.partition("|")[0].encode(), *words]) == positions


COUNTED = Row(
    "sum",
    "target:key numkeys:integer key:key1...",
    "Sums keys.",
    "1.0.0",
    -4,
    "generic",
    "write",
    (Key("OW update"), Key("RO access", index=2, counted=True)),
)


@pytest.mark.parametrize(
    ("call", "positions"),
    [
        ("sum t 1 a", [1, 3]),
        ("sum t 2 a b", [1, 3, 4]),
        ("sum t 2 a b WEIGHTS 1 2", [1, 3, 4]),
        ("sum t 0 a", []),
        ("sum t -1 a", []),
        ("sum t 01 a", []),
        ("sum t x a", []),
        ("sum t 2 a", []),
        ("sum t 2", []),
        ("sum t 99999999999999999999 a", []),
        ("sum t", []),
    ],
)
def test_positions_of_counted_keys(call: str, positions: list[int]) -> None:
    words = [word.encode() for word in call.split()]
    assert key_positions(COUNTED, words) == positions
    assert [key for key, _ in keys_and_flags(COUNTED, words)] == [words[at] for at in positions]


def test_counted_keys_are_flagged_and_outside_the_range() -> None:
    assert COUNTED.flag_words == ["write", "movablekeys"]
    assert COUNTED.key_range == (1, 1, 1)
    lone = Row("x", "", "X.", "1.0.0", -3, "generic", keys=(Key("RO", counted=True),))
    assert lone.key_range == (0, 0, 0)


def test_flags_of_a_key_depend_on_the_call() -> None:
    row = BY_NAME["set"]
    assert keys_and_flags(row, [b"SET", b"k", b"v"]) == [(b"k", ["OW", "update"])]
    assert keys_and_flags(row, [b"SET", b"k", b"v", b"get"]) == [(b"k", ["RW", "access", "update"])]


@pytest.mark.parametrize(
    ("name", "key_range"),
    [
        ("get", (1, 1, 1)),
        ("mset", (1, -1, 2)),
        ("copy", (1, 2, 1)),
        ("ping", (0, 0, 0)),
        ("object|encoding", (2, 2, 1)),
        ("zunion", (0, 0, 0)),
        ("zunionstore", (1, 1, 1)),
        ("bzpopmin", (1, -2, 1)),
        ("zrangestore", (1, 2, 1)),
    ],
)
def test_key_range(name: str, key_range: tuple[int, int, int]) -> None:
    assert BY_NAME[name].key_range == key_range
