"""What leaves the tip, when, and in which form: slices, history for pins, eviction, dead tables."""

import pytest

from kvnode._core import flush_order, upkeep
from kvnode.base.errors import CorruptionError
from kvnode.storage.snapshot import SnapshotReader
from tests.support.contents import contents
from tests.support.local import LocalNode, pipeline

HISTORY, EXPIRY, HEAD = b"YH", b"X", b"H"


@pytest.fixture
def node():
    return LocalNode()


def stored(node, key, db=0):
    """Return the value of a key as the engine has it, without the bytes that say its type."""
    generation = upkeep.database_generations(node.tip)[db]
    envelope = node.engine.get_many([upkeep.head_key(node.tip, generation, key)])[0]
    return None if envelope is None else upkeep.stored_value(envelope)[2:]


def snapshot(node, pin):
    """Return get(key) at a pin."""
    reader = SnapshotReader(node.tip, node.engine, pin, node.clock.now_ms)
    generation = upkeep.database_generations(node.tip)[0]

    def get(key):
        value = reader.get(upkeep.head_key(node.tip, generation, key))
        return None if value is None else value[2:]

    return get


def keys(client):
    """Return all keys of a small database."""
    cursor, found = client.call("SCAN", 0, "COUNT", 10_000)
    assert cursor == b"0"
    return found


def rows(node, kind):
    return [key for key, _ in node.engine.scan(kind, kind + b"\xff", 10_000)]


# -- slices -------------------------------------------------------------------------------------


def test_only_durable_versions_are_written(node):
    """I5: of an entry with a newer, uncommitted version the durable one goes."""
    client = node.client()
    client.call("SET", "a", "1")
    node.run(node.session(), pipeline(("SET", "a", "2"), ("SET", "b", "1")))
    node.checkpoint()
    assert (stored(node, b"a"), stored(node, b"b")) == (b"1", None)
    assert [v[4] for v in node.versions(b"a")] == [b"2", b"1"]
    node.commit()
    node.checkpoint()
    assert (stored(node, b"a"), stored(node, b"b")) == (b"2", b"1")
    assert [v[4] for v in node.versions(b"a")] == [b"2"]


def test_committed_but_not_synced_is_not_written(node):
    """Hard case 2: others may have committed what this disk does not have."""
    node.sequencer.relaxed = True
    client = node.client()
    client.call("SET", "a", "1")
    node.run(node.session(), pipeline(("SET", "a", "2")))
    node.log.write()
    node.sequencer.log_moved()
    assert node.tip.durable < node.tip.watermark
    node.checkpoint()
    assert stored(node, b"a") == b"1"


def test_slices_are_bounded(node):
    client = node.client()
    for i in range(30):
        client.call("SET", f"k{i}", b"v" * 1000)
    node.tip.begin_checkpoint()
    sizes = []
    while node.tip.flush_left():
        sizes.append(len(node.flush_slice(7)))
    assert max(sizes) <= 8
    assert sum(sizes) >= 30


def test_a_record_written_again_during_a_checkpoint_is_written_by_it_or_the_next(node):
    client = node.client()
    for i in range(30):
        client.call("SET", f"k{i}", "old")
    node.tip.begin_checkpoint()
    node.flush_slice(45)  # meta records are among them
    for i in range(30):
        client.call("SET", f"k{i}", "new")
    while node.tip.flush_left():
        node.flush_slice(5)
    node.tip.end_checkpoint()
    found = [stored(node, b"k%d" % i) for i in range(30)]
    assert set(found) == {b"old", b"new"}
    node.checkpoint()
    assert {stored(node, b"k%d" % i) for i in range(30)} == {b"new"}


def test_a_record_in_flight_is_not_clean(node):
    client = node.client()
    client.call("SET", "a", "1")
    node.tip.begin_checkpoint()
    node.engine.write(node.tip.flush_slice(100, 1 << 20))
    node.evict()
    assert node.versions(b"a") != []
    client.call("SET", "a", "2")
    node.tip.flushed()
    node.check()
    node.evict()
    assert node.versions(b"a")[0][4] == b"2"


def test_a_deletion_removes_the_row(node):
    client = node.client()
    client.call("SET", "a", "1", "PX", 1000)
    node.checkpoint()
    assert stored(node, b"a") is not None
    client.call("DEL", "a")
    node.checkpoint()
    assert stored(node, b"a") is None
    assert rows(node, HEAD) == []


def test_an_expiry_row_is_written_where_the_deadline_comes_nearer(node):
    client = node.client()
    client.call("SET", "a", "1", "PX", 1000)
    node.checkpoint()
    assert len(rows(node, EXPIRY)) == 1
    client.call("PEXPIRE", "a", 5000)
    node.checkpoint()
    assert len(rows(node, EXPIRY)) == 1
    client.call("PEXPIRE", "a", 10)
    node.checkpoint()
    assert len(rows(node, EXPIRY)) == 2


# -- pins ---------------------------------------------------------------------------------------


def test_versions_that_a_pin_sees_stay(node):
    """I4: one version per pin, nothing between; the last but one goes with the next write."""
    client = node.client()
    pins = []
    for i in range(10):
        client.call("SET", "a", i)
        if i % 3 == 0:
            pins.append(node.tip.pin())
    assert [v[4] for v in node.versions(b"a")] == [b"9", b"8", b"6", b"3", b"0"]
    assert [snapshot(node, pin)(b"a") for pin in pins] == [b"0", b"3", b"6", b"9"]
    node.tip.unpin(pins[1])
    client.call("SET", "a", "x")
    assert b"3" not in [v[4] for v in node.versions(b"a")]
    for pin in (pins[0], *pins[2:]):
        node.tip.unpin(pin)
    client.call("SET", "a", "y")
    node.checkpoint()
    assert [v[4] for v in node.versions(b"a")] == [b"y"]


def test_a_pin_taken_twice_is_released_twice(node):
    client = node.client()
    client.call("SET", "a", "1")
    pin = node.tip.pin()
    assert node.tip.pin() == pin
    node.tip.unpin(pin)
    client.call("SET", "a", "2")
    node.checkpoint()
    assert snapshot(node, pin)(b"a") == b"1"
    node.tip.unpin(pin)
    with pytest.raises(ValueError, match="pin"):
        node.tip.unpin(pin)


def test_history_is_written_for_pins_alone(node):
    client = node.client()
    client.call("SET", "a", "1")
    node.checkpoint()
    client.call("SET", "a", "2")
    node.checkpoint()
    assert rows(node, HISTORY) == []
    pin = node.tip.pin()
    client.call("SET", "a", "3")
    client.call("DEL", "a")
    client.call("SET", "b", "1")
    node.cool()
    assert len(rows(node, HISTORY)) == 1
    assert (stored(node, b"a"), stored(node, b"b")) == (None, b"1")
    get = snapshot(node, pin)
    assert (get(b"a"), get(b"b")) == (b"2", None)


def test_a_pin_that_saw_an_absence_sees_it_after_the_flush(node):
    """Present, absent and present again: three pins, three answers, from memory and from disk."""
    client = node.client()
    client.call("SET", "a", "1")
    pins = [node.tip.pin()]
    client.call("DEL", "a")
    pins.append(node.tip.pin())
    client.call("SET", "a", "2")
    pins.append(node.tip.pin())
    expected = [b"1", None, b"2"]
    assert [snapshot(node, pin)(b"a") for pin in pins] == expected
    node.cool()
    assert node.versions(b"a") == []
    assert [snapshot(node, pin)(b"a") for pin in pins] == expected
    client.call("SET", "a", "3")
    node.cool()
    assert [snapshot(node, pin)(b"a") for pin in pins] == expected


def test_a_pin_sees_chunks_that_were_replaced(node):
    """Also chunks replaced whole while they were cold."""
    client = node.client()
    client.call("SET", "big", b"1" * 100_000)
    pin = node.tip.pin()
    node.cool()
    client.call("SETRANGE", "big", 0, b"2" * 70_000)
    node.cool()
    value_id = snapshot(node, pin)(b"big")[:8]
    reader = SnapshotReader(node.tip, node.engine, pin, node.clock.now_ms)
    chunks = [reader.get(b"C" + value_id + number.to_bytes(4)) for number in range(7)]
    assert b"".join(chunks) == b"1" * 100_000
    assert client.call("GET", "big") == b"2" * 70_000 + b"1" * 30_000


# -- eviction -----------------------------------------------------------------------------------


def test_eviction_takes_clean_records_only(node):
    client = node.client()
    for i in range(100):
        client.call("SET", f"k{i}", "1")
    assert node.evict() == 0
    node.checkpoint()
    client.call("SET", "k5", "2")
    node.run(node.session(), pipeline(("SET", "k6", "2")))
    assert node.evict() > 90
    assert node.versions(b"k5")[0][4] == b"2"
    assert node.versions(b"k6")[0][4] == b"2"
    assert node.versions(b"k7") == []
    assert client.call("DBSIZE") == 100


def test_eviction_gives_a_second_chance(node):
    client = node.client()
    for i in range(100):
        client.call("SET", f"k{i}", "1")
    node.checkpoint()
    a_round = 128 + 15 + 1  # buckets for 100 entries; a step for each empty table, and for chunks
    assert node.tip.evict(0, a_round) == 0
    client.call("GET", "k1")
    shorter = 115  # buckets go with what was in them
    assert node.tip.evict(0, shorter) == 99
    assert node.versions(b"k1") != []
    assert node.tip.evict(0, a_round) == 1


def test_eviction_stops_at_its_target(node):
    client = node.client()
    for i in range(500):
        client.call("SET", f"k{i}", b"v" * 200)
    node.checkpoint()
    target = node.tip.bytes // 2
    while node.tip.bytes > target:
        assert node.tip.evict(target, 100_000) >= 0
    assert node.tip.bytes > target - 5_000
    node.check()
    assert sorted(keys(client)) == sorted(b"k%d" % i for i in range(500))


def test_everything_is_answered_from_the_engine(node):
    client = node.client()
    client.call("SET", "a", "1", "PX", 5000)
    client.call("SET", "big", b"x" * 70_000)
    client.call("SELECT", 3)
    client.call("SET", "c", "3.0")
    client.call("INCRBYFLOAT", "c", "0.5")
    before = node.visible()
    node.cool()
    assert contents(node.tip) != before
    assert node.visible() == before
    assert client.call("GET", "c") == b"3.5"
    client.call("SELECT", 0)
    assert client.call("PTTL", "a") == 5000
    assert client.call("GET", "big") == b"x" * 70_000


# -- generations --------------------------------------------------------------------------------


def test_a_flushed_database_is_freed_when_its_death_is_final(node):
    client = node.client()
    for i in range(300):
        client.call("SET", f"k{i}", "1")
    pin = node.tip.pin()
    session = node.session()
    node.run(session, pipeline(("FLUSHDB",), ("SET", "new", "1")))
    assert upkeep.trash(node.tip, 0, 1000)[0] == []  # not committed
    node.commit()
    assert upkeep.trash(node.tip, 0, 1000)[0] == []  # a pin sees what was there
    node.tip.unpin(pin)
    ((dead, kind, _),) = upkeep.trash(node.tip, 0, 1000)[0]
    assert (kind, upkeep.kill_generation(node.tip, dead)) == (ord("G"), True)
    node.check()
    node.checkpoint()
    bytes_before = node.tip.bytes
    while not upkeep.free_generation(node.tip, dead, 20):
        node.check()
    assert dead not in node.tip.generation_ids()
    assert node.tip.bytes < bytes_before
    assert client.call("GET", "new") == b"1"


def test_a_database_in_use_cannot_be_killed(node):
    with pytest.raises(CorruptionError):
        upkeep.kill_generation(node.tip, upkeep.database_generations(node.tip)[0])


def test_key_counts(node):
    client = node.client()
    for db in (0, 1):
        client.call("SELECT", db)
        for i in range(db + 3):
            client.call("SET", f"k{i}", "1", "PX", 1000 + i)
    client.call("SWAPDB", 0, 1)
    assert [node.visible().counts[db] for db in (0, 1)] == [(4, 4), (3, 3)]
    client.call("PERSIST", "k1")
    client.call("DEL", "k0")
    assert node.visible().counts[1] == (2, 1)
    client.call("FLUSHDB")
    assert [node.visible().counts[db] for db in (0, 1)] == [(4, 4), (0, 0)]
    client.call("SELECT", 0)
    client.call("RENAME", "k1", "k2")
    client.call("MOVE", "k2", 1)
    client.call("COPY", "k3", "k4")
    assert [node.visible().counts[db] for db in (0, 1)] == [(3, 3), (1, 1)]
    node.cool()
    assert client.call("DBSIZE") == 3
    node.clock.advance(5000)
    assert keys(client) == []
    assert client.call("EXISTS", "k0", "k3", "k4") == 0
    assert node.visible().counts[0] == (0, 0)


# -- order --------------------------------------------------------------------------------------


def test_a_sorted_checkpoint_writes_in_the_order_of_the_keys(node):
    client = node.client()
    client.call("SET", "large", b"v" * 100_000)
    for i in range(200):
        client.call("SET", f"k{i}", "1")
    client.call("SELECT", 1)
    for i in range(50):
        client.call("SET", f"k{i}", "1")
    node.tip.begin_checkpoint()
    assert node.tip.flush_left() > 250
    flush_order.sort_flush(node.tip)
    node.check()
    written = []
    while node.tip.flush_left():
        written += [key for key, _ in node.flush_slice(20)]
    node.tip.end_checkpoint()
    for kind in (HEAD, b"C"):
        keys = [key for key in written if key.startswith(kind)]
        assert len(keys) > 6
        assert keys == sorted(keys)


def test_sorting_an_empty_checkpoint_is_nothing(node):
    node.checkpoint()
    node.tip.begin_checkpoint()
    flush_order.sort_flush(node.tip)
    assert node.tip.flush_left() == 0
