"""Checkpoints, recovery and refusals, one sequence of events at a time."""

import random

import pytest

from kvnode.base.errors import CorruptionError, FormatError, InvariantError, StorageIOError
from kvnode.storage.local import Position, join_group, open_facts
from kvnode.storage.memory import MemoryEngine
from kvnode.storage.recovery import recover
from tests.support.storage_rig import HASH_KEY, IDENTITY, Rig, string_value


def facts_of(engine):
    return open_facts(engine, identity=bytes(16), hash_key=bytes(16))


def test_facts_are_made_once_and_kept():
    engine = MemoryEngine()
    made = open_facts(engine, identity=IDENTITY, hash_key=HASH_KEY)
    assert made.is_fresh
    found = facts_of(engine.crash(lambda file, batch: False))
    assert not found.is_fresh
    assert (found.identity, found.hash_key) == (IDENTITY, HASH_KEY)
    assert found.checkpoint.at == Position(0, 0, 0)


def test_a_group_is_joined_durably():
    engine = MemoryEngine()
    made = facts_of(engine)
    assert (made.group, made.checkpoint.membership) == (b"", b"")
    join_group(engine, b"g" * 16, b"founders")
    found = facts_of(engine.crash(lambda file, batch: False))
    assert (found.group, found.checkpoint.membership) == (b"g" * 16, b"founders")
    assert found.checkpoint.at == Position(0, 0, 0)


def test_a_group_of_one_that_grows_has_no_membership_before_its_entries():
    engine = MemoryEngine()
    facts_of(engine)
    join_group(engine, b"g" * 16)
    found = facts_of(engine)
    assert (found.group, found.checkpoint.membership) == (b"g" * 16, b"")


def test_a_checkpoint_keeps_the_membership_as_of_it():
    rig = Rig()
    rig.write({b"k": string_value(b"1")})
    rig.sync()
    at = Position(rig.synced, 1, rig.tip.durable)
    rig.checkpointer.begin(at, 2, b"members")
    rig.finish_checkpoint()
    record = facts_of(rig.engine.crash(lambda file, batch: False)).checkpoint
    assert record == rig.checkpointer.last
    assert (record.at, record.membership) == (at, b"members")
    with pytest.raises(InvariantError, match="group"):
        rig.checkpointer.begin(at, 2)


def test_newer_format_is_refused_with_a_sentence():
    engine = MemoryEngine()
    facts_of(engine)
    engine.write([(b"Lformat", (99).to_bytes(4, "big"))])
    with pytest.raises(FormatError, match="format 99, this kvnode knows formats up to 2"):
        facts_of(engine)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ((b"Lformat", None), "Lformat"),
        ((b"Lhashkey", b"short"), "Lhashkey"),
        ((b"Lidentity", None), "Lidentity"),
        ((b"Lcheckpoint", b"short"), "Lcheckpoint"),
        ((b"Lhighest", b""), "Lhighest"),
        ((b"Lgroup", b"short"), "Lgroup"),
    ],
)
def test_damaged_facts_are_refused(row, text):
    engine = MemoryEngine()
    facts_of(engine)
    engine.write([row])
    with pytest.raises(CorruptionError, match=text):
        facts_of(engine)


def test_rows_without_a_format_are_refused():
    with pytest.raises(CorruptionError, match="nothing of its format"):
        facts_of(MemoryEngine({b"H" + bytes(17): b""}))


def test_a_log_beside_an_empty_store_is_refused():
    rig = Rig()
    entries = [(1, e.index, e.commit_ts, e.payload) for e in rig.log]
    engine = MemoryEngine()
    with pytest.raises(CorruptionError, match="LevelDB is empty"):
        recover(engine, facts_of(engine), entries)


@pytest.mark.parametrize(
    "entries",
    [
        [(1, 4, 100, b"")],  # a gap
        [(1, 2, 100, b""), (1, 2, 110, b"")],
        [(2, 2, 100, b""), (1, 3, 110, b"")],  # a term that falls
        [(1, 2, 100, b""), (1, 3, 100, b"")],  # time that stands still
        [(1, 2, 100, b"\x04")],  # no such operation
    ],
)
def test_entries_that_cannot_follow_are_refused(entries):
    rig = Rig()
    rig.checkpoint()
    with pytest.raises(CorruptionError):
        recover(rig.engine, facts_of(rig.engine), entries)


def test_the_log_may_go_only_when_a_is_stored():
    rig = Rig()
    rig.write({b"k": string_value(b"1")})
    rig.sync()
    rig.begin_checkpoint()
    steps = []
    while rig.checkpointer.is_running:
        record = rig.checkpointer.step(rig.synced)
        at = facts_of(rig.engine).checkpoint.at
        steps.append((record is not None, at.index))
        rig.writer.step()
    assert steps == [(False, 0)] * 3 + [(True, 2)]


def test_a_store_between_a_and_h_needs_the_log_up_to_h():
    """Hard case 3: rows newer than A lie beside rows of A until entries up to H are applied."""
    rig = Rig()
    rig.write({b"k%d" % i: string_value(b"old") for i in range(600)})
    rig.sync()
    rig.begin_checkpoint()
    rig.write({b"k%d" % i: string_value(b"new") for i in range(600)})
    rig.sync()
    for _ in range(2):  # sorted, then one slice of "new", then the end
        rig.step_checkpoint()
        rig.writer.step()
    engine = MemoryEngine(rig.engine._table.rows)
    entries = [(1, e.index, e.commit_ts, e.payload) for e in rig.log]
    with pytest.raises(CorruptionError, match="effects of entry 3, the log ends at 2"):
        recover(engine, facts_of(engine), entries[:2])
    assert recover(engine, facts_of(engine), entries).last.index == 3


def test_a_failed_write_stops_the_checkpoint_and_the_node():
    rig = Rig()
    rig.begin_checkpoint()
    rig.step_checkpoint()
    rig.engine.close()
    rig.writer.step()
    for _ in range(2):
        with pytest.raises(StorageIOError):
            rig.step_checkpoint()
    assert facts_of(MemoryEngine(rig.engine._table.rows)).checkpoint.at.index == 0


def test_one_checkpoint_at_a_time_and_never_backwards():
    rig = Rig()
    rig.checkpoint()
    rig.begin_checkpoint()
    with pytest.raises(InvariantError):
        rig.begin_checkpoint()
    rig.finish_checkpoint()
    with pytest.raises(InvariantError):
        rig.checkpointer.begin(Position(0, 1, 0), 2)


def test_replay_keeps_one_version_of_a_hot_key():
    rig = Rig()
    for i in range(2000):
        rig.write({b"hot": string_value(b"%04d" % i)})
    rig.sync()
    before = rig.tip.bytes
    rig.crash(random.Random(1))
    assert rig.tip.bytes < 3000 < before
    rig.check_now()


def test_a_generation_without_rows_is_resident_after_a_restart():
    rig = Rig()
    rig.checkpoint()
    rig.crash(random.Random(1))
    rig.require([rig.key(b"absent")])
    assert rig.fetcher.fetches == 0
    rig.write({b"k": string_value(b"1")})
    rig.sync()
    rig.checkpoint()
    rig.crash(random.Random(1))
    rig.require([rig.key(b"absent")])
    assert rig.fetcher.fetches == 1


def test_ids_go_on_above_all_in_use():
    rig = Rig()
    facts = facts_of(rig.engine)
    entries = [(1, e.index, e.commit_ts, e.payload) for e in rig.log]
    assert recover(rig.engine, facts, entries).next_id == 2


def test_history_outlives_eviction_while_a_pin_needs_it():
    rig = Rig()
    rig.write({b"k": string_value(b"1"), b"gone": string_value(b"1")})
    rig.sync()
    rig.pin()
    rig.write({b"k": string_value(b"2"), b"gone": None, b"late": string_value(b"1")})
    rig.sync()
    rig.pin()
    rig.write({b"k": None, b"gone": string_value(b"3")})
    rig.sync()
    rig.checkpoint()
    rig.tip.evict(0, 100_000)
    rig.tip.evict(0, 100_000)
    assert rig.tip.statistics()["bytes"] < 2000
    for pin in rig.pins:
        rig.check_pin(pin)
    rig.check_now()
    for pin in rig.pins:  # what check_now fetched hides nothing
        rig.check_pin(pin)
