"""Sequences of events that would lose or invent data, as far as one node can meet them."""

import random

import pytest

from kvnode._core import upkeep
from kvnode.base.errors import CorruptionError
from kvnode.storage.local import Position
from kvnode.storage.log_recovery import open_replay, recover_log
from tests.sim.node import LOG_DIRECTORY, SEGMENT_BYTES, new_node
from tests.support.contents import contents, operations, replay
from tests.support.local import (
    HASH_KEY,
    S_CLOSING,
    S_PARKED,
    UNCERTAIN,
    LocalNode,
    pipeline,
)
from tests.support.resp import decode_all, encode

OK = b"+OK\r\n"


def ask(node, *commands):
    """Run commands on a new session of a simulated node; return the replies."""
    return node.settle(node.session(), pipeline(*commands))


def begin_checkpoint(node):
    """Begin a checkpoint of which no slice is cut yet."""
    at = Position(node.sequencer.durable_index, node.sequencer.durable_term, node.tip.durable)
    node.checkpointer.begin(at, node.view.first_unused_id)


def test_hard_case_01_counts_are_not_doubled_by_replay():
    """A slice holds counts of entries past A; replay from A meets their records again."""
    node = new_node()
    ask(node, *[("SET", f"k{i}", i, "PX", 100_000) for i in range(10)])
    begin_checkpoint(node)
    session = node.session()
    session.feed(pipeline(*[("SET", f"new{i}", i) for i in range(10)]))
    session.feed(pipeline(("DEL", "k1"), ("PERSIST", "k2")))
    node.run_pass(lambda: node.sequencer.serve(session))
    node.sync()
    while not node.checkpointer.finished:
        node.background()
        node.step_threads()
    (highest,) = node.engine.get_many([b"Lhighest"])
    assert int.from_bytes(highest) > node.checkpointer.last.at.index
    for _ in range(3):
        node = node.crash()
        node.check()
        assert ask(node, ("DBSIZE",)) == b":19\r\n"
        assert node.tip.database_counts()[0][:2] == (19, 8)


@pytest.mark.parametrize("is_synced", [False, True])
def test_hard_case_01_a_slice_knows_nothing_of_the_pass_in_which_it_is_cut(is_synced):
    """The reactor cuts slices between commands: of what these did there is no delta yet."""
    node = new_node()
    ask(node, ("RPUSH", "l", "a", "b", "c"), ("SADD", "s", "x"))
    begin_checkpoint(node)
    session = node.session()
    commands = pipeline(("LPOP", "l"), ("RPUSH", "l", "d"), ("SADD", "s", "y"))
    session.feed(commands + pipeline(("MULTI",), ("LPOP", "l"), ("SADD", "s", "z"), ("EXEC",)))

    def work():
        node.sequencer.serve(session)
        node.checkpointer.step(node.sequencer.durable_index)

    node.run_pass(work)
    node.check()
    if is_synced:
        node.sync()
    while not node.checkpointer.finished:
        node.step_threads()
        node.background()
    for _ in range(2):
        node = node.crash()
        replies = decode_all(ask(node, ("LRANGE", "l", 0, -1), ("SCARD", "s"), ("SMEMBERS", "s")))
        members = sorted(replies.pop())
        assert replies == ([[b"c", b"d"], 3] if is_synced else [[b"a", b"b", b"c"], 1])
        assert members == ([b"x", b"y", b"z"] if is_synced else [b"x"])


@pytest.mark.parametrize("end", ["L", "R"])
def test_hard_case_01_a_slice_leaves_what_the_open_batch_has_written(end):
    """An item pushed and popped again in the pass in which a slice is cut is still to be logged."""
    node = LocalNode()
    node.client().ask("RPUSH", "l", "a", "b", "c")
    node.tip.begin_checkpoint()
    session, others = node.session(), node.session()
    session.feed(pipeline((f"{end}PUSH", "l", "d"), (f"{end}POP", "l")))
    others.feed(pipeline(*[("SET", f"k{i}", "v") for i in range(50)]))
    node.sequencer.begin(node.clock.now_ms)
    node.sequencer.serve(session)
    while node.tip.flush_left():
        node.engine.write(node.tip.flush_slice(1, 1 << 20))
        node.tip.flushed()
    node.sequencer.serve(others)  # takes the memory of what was freed
    node.sequencer.end()
    node.tip.end_checkpoint()
    node.check()
    node.commit()
    assert decode_all(session.take()) == [4, b"d"]
    assert [key[:1] for _, key, _ in operations(node.entries[-1][1])].count(b"H") == 50
    assert contents(replay(node.entries, HASH_KEY)) == node.visible()


def test_hard_case_02_a_checkpoint_begins_at_what_is_committed_and_synced():
    """Relaxed: entries count as committed before they are synced; A must not cover them."""
    node = new_node(is_relaxed=True)
    session = node.session()
    session.feed(encode("SET", "synced", "1"))
    node.serve(session)
    node.sync()
    session.feed(encode("SET", "written", "1"))
    node.serve(session)
    node.write()
    assert session.take() == OK * 2
    committed = node.sequencer.committed
    assert node.sequencer.durable_index == committed - 1
    begin_checkpoint(node)
    while not node.checkpointer.finished:
        node.background()
        node.step_threads()
    assert node.checkpointer.last.at.index == committed - 1
    for value in (b"2", b"3"):
        node = node.crash()
        assert ask(node, ("GET", "synced")) == b"$1\r\n1\r\n"
        assert ask(node, ("SET", "next", value)) == OK
        node.sync()
        node = node.crash()
        assert ask(node, ("GET", "next")) == b"$1\r\n%b\r\n" % value


def test_hard_case_02_a_synced_last_write_does_not_vouch_for_the_slices():
    """LevelDB loses an earlier log file and keeps the last: replay from A heals the hole."""
    for seed in range(20):
        node = new_node(seed)
        ask(node, *[("SET", f"k{i}", "x" * 3000) for i in range(60)])
        node.replica.request_checkpoint(lambda ok: None)
        for _ in range(node.rng.randrange(12)):
            node.background()
            node.step_threads(1)
        node.disk.kill()
        lost = {0, 1} if seed % 2 else {1}
        node.engine = node.engine.crash(lambda file, batch, lost=lost: file not in lost)
        again = node.kill()
        assert ask(again, ("DBSIZE",)) == b":60\r\n"
        assert ask(again, *[("GET", f"k{i}") for i in range(60)]) == (
            b"$3000\r\n%b\r\n" % (b"x" * 3000) * 60
        )


def test_hard_case_03_a_store_between_a_and_h_is_not_served():
    """Slices hold effects of entries up to H. Without these entries nobody may read them."""
    node = new_node()
    ask(node, ("SET", "a", "1"))
    disk_before = node.disk.copy()
    ask(node, ("SET", "a", "2"), ("SET", "b", "2"))
    node.replica.request_checkpoint(lambda ok: None)
    node.background()
    node.step_threads()
    node.disk = disk_before  # the log of an earlier time
    with pytest.raises(CorruptionError, match="entries are missing"):
        node.kill()


def test_hard_case_04_a_lost_leader_does_not_acknowledge_what_another_wrote():
    """Stepping down fails the holds; the commit of that index, by whomever, releases nothing."""
    node = LocalNode()
    session = node.session()
    node.run(session, pipeline(("SET", "x", "1")))
    node.sequencer.fail_held(UNCERTAIN)
    assert session.take() == b"-" + UNCERTAIN + b"\r\n"
    assert session.state == S_CLOSING
    node.commit()
    assert session.take() == b""


def test_hard_case_06_a_late_absence_does_not_hide_an_acknowledged_write():
    """The fetch found nothing; SET ran, was flushed, and could have been evicted meanwhile."""
    node = LocalNode()
    slow, writer = node.session(), node.session()
    client = node.client()
    client.call("SET", "other", "1")
    node.cool()
    node.run(slow, pipeline(("GET", "k")))
    fetch = node.begin_fetch()
    node.read(fetch)
    node.run(writer, pipeline(("SET", "k", "v")))
    node.fetch()
    node.run_pass()
    node.commit()
    assert writer.take() == OK
    node.cool()
    node.end_fetch(fetch)
    node.run_pass()
    assert slow.take() == b"$1\r\nv\r\n"
    assert client.call("GET", "k") == b"v"


def test_hard_case_06_the_sequencer_goes_on_while_a_command_waits_for_the_disk():
    node = LocalNode()
    client = node.client()
    for i in range(1000):
        client.call("SET", f"k{i}", i)
    node.cool()
    parked, other = node.session(), node.session()
    parked.feed(pipeline(("MGET", *[f"k{i}" for i in range(1000)])))
    other.feed(pipeline(("PING",)))
    node.run_pass(parked, other)
    assert (parked.state, other.take()) == (S_PARKED, b"+PONG\r\n")
    assert len(node.fetch()) == 1000
    node.run_pass()
    assert parked.take().startswith(b"*1000\r\n")


def test_hard_case_09_a_snapshot_shows_what_its_client_sent_just_before():
    """KEYS of a cold database is a job on a snapshot; its fence comes after the SET."""
    node = new_node()
    ask(node, *[("SET", f"k{i}", i) for i in range(5)])
    node.checkpoint()
    node.evict()
    session = node.session()
    reply = node.settle(session, pipeline(("SET", "k", "1"), ("KEYS", "k*"), ("PING",)))
    assert reply.startswith(OK + b"*6\r\n")
    assert reply.endswith(b"+PONG\r\n")


def test_hard_case_09_a_snapshot_is_judged_by_the_time_of_its_fence():
    """Idle for an hour: keys that expired meanwhile are not shown."""
    node = new_node()
    ask(node, ("SET", "gone", "1", "PX", 1000), ("SET", "stays", "1"))
    node.checkpoint()
    node.evict()
    node.now_ms += 3_600_000
    assert ask(node, ("KEYS", "*")) == b"*1\r\n$5\r\nstays\r\n"


def test_hard_case_10_what_a_flush_killed_stays_until_its_death_is_final():
    """Speculative, or seen by a pin: nothing of it is swept."""
    node = new_node()
    ask(node, *[("SET", f"k{i}", "x" * 40_000) for i in range(5)])
    node.checkpoint()
    pin = node.tip.pin()
    before = contents(node.tip, node.engine)
    session = node.session()
    session.feed(encode("FLUSHDB"))
    node.serve(session)
    for _ in range(20):
        node.background()
        node.step_threads()
    node.sync()
    node.checkpoint()
    for _ in range(20):
        node.background()
        node.step_threads()
    generation = upkeep.generation_at(node.tip, 0, pin)
    heads = [row for row in node.engine.scan_keys(b"H", b"I", 100) if row[1:9] == _u64(generation)]
    assert len(heads) == len(before.databases[0]) == 5
    assert len(node.engine.scan_keys(b"C", b"D", 100)) == 15
    node.tip.unpin(pin)
    for _ in range(4):
        for _ in range(20):
            node.background()
            node.step_threads()
        node.checkpoint()
    assert not [key for key in node.engine.scan_keys(b"C", b"I", 100) if key[:1] in b"CH"]
    assert not node.engine.scan_keys(b"T", b"U", 100)


def test_hard_case_10_trash_is_found_again_after_a_crash():
    node = new_node()
    ask(node, *[("SET", f"k{i}", "x" * 40_000) for i in range(5)], ("SET", "k0", "small"))
    ask(node, ("FLUSHDB",), ("SET", "alive", "y" * 40_000))
    for _ in range(3):
        node = node.crash()
        for _ in range(5):
            for _ in range(10):
                node.background()
                node.step_threads()
            node.checkpoint()
    assert len(node.engine.scan_keys(b"C", b"D", 100)) == 3
    assert len(node.engine.scan_keys(b"H", b"I", 100)) == 1
    assert ask(node, ("STRLEN", "alive"), ("DBSIZE",)) == b":40000\r\n:1\r\n"


def _u64(n):
    return n.to_bytes(8, "big")


def test_hard_case_11_what_recovery_serves_survives_a_power_failure():
    """kill -9 between write and sync: a value that the next life shows must not be lost later."""
    for seed in range(30):
        node = new_node(seed, is_relaxed=True)
        session = node.session()
        session.feed(encode("SET", "k", "v"))
        node.serve(session)
        node.write()
        again = node.kill()
        assert ask(again, ("GET", "k")) == b"$1\r\nv\r\n"
        third = again.crash()
        assert ask(third, ("GET", "k")) == b"$1\r\nv\r\n"


def test_hard_case_11_a_flipped_byte_in_an_acknowledged_entry_is_not_a_torn_tail():
    node = new_node()
    ask(node, ("SET", "k", "v"))
    node.log._writer.write_mark()
    node.log._writer.sync()
    path = f"{LOG_DIRECTORY}/{max(node.disk.list(LOG_DIRECTORY))}"
    data = bytearray(node.disk.contents(path))
    data[data.rindex(b"k\x03\x01\x00v") + 4] ^= 1
    node.disk.put(path, bytes(data))
    with pytest.raises(CorruptionError, match="seg"):
        node.kill()


def test_hard_case_11_a_report_about_a_replaced_entry_is_ignored():
    """An index synced in term 1 says nothing of the entry that stands there in term 2."""
    node = LocalNode()
    node.sequencer.term = 2
    session = node.session()
    node.run(session, pipeline(("SET", "a", "1")))
    index = node.sequencer.last_index
    node.log.set_written(1, index)
    node.log.set_synced(1, index)
    node.sequencer.log_moved()
    assert session.take() == b""
    assert node.sequencer.durable_index < index
    node.commit()
    assert session.take() == OK
    assert node.sequencer.durable_index == index


def test_hard_case_11_recovery_makes_its_log_durable_before_it_returns():
    """The recovered log alone, after power fails at once: no entry of it is missing."""
    node = new_node(3, is_relaxed=True)
    session = node.session()
    session.feed(pipeline(*[("SET", f"k{i}", i) for i in range(20)]))
    node.serve(session)
    node.write()
    node.disk.kill()
    first = recover_log(
        node.disk, LOG_DIRECTORY, checkpoint_index=0, segment_bytes=SEGMENT_BYTES, id_seed=7
    )
    node.disk.crash(random.Random(5))
    second = recover_log(
        node.disk, LOG_DIRECTORY, checkpoint_index=0, segment_bytes=SEGMENT_BYTES, id_seed=8
    )
    assert second.last_index == first.last_index == node.sequencer.last_index
    found = list(open_replay(node.disk, LOG_DIRECTORY, second, 1, second.last_index))
    assert [(ts, payload) for _, _, ts, payload in found] == list(node.entries.values())


def test_hard_case_15_a_clock_set_back_stops_no_deadline_and_hides_no_write():
    """Restart with the clock an hour behind: new versions are above all old ones."""
    node = new_node()
    ask(node, ("SET", "k", "old"), ("SET", "t", "1", "PX", 1000))
    node.checkpoint()
    last_ts = node.tip.watermark
    node.now_ms -= 3_600_000
    node = node.crash()
    assert ask(node, ("SET", "k", "new"), ("PTTL", "t")) == OK + b":1000\r\n"
    assert node.tip.watermark > last_ts
    stamps = [commit_ts for _, (commit_ts, _) in sorted(node.entries.items())]
    assert stamps == sorted(set(stamps))
    node.checkpoint()
    node.evict()
    assert ask(node, ("GET", "k")) == b"$3\r\nnew\r\n"
    node.now_ms += 3_600_000 + 1000
    assert ask(node, ("GET", "t")) == b"$-1\r\n"


def test_effects_are_replicated_not_commands():
    """What depends on time or chance is in the entry as its outcome: replay needs neither."""
    node = LocalNode()
    client = node.client()
    client.call("SET", "t", "1", "EX", 10)
    client.call("INCRBYFLOAT", "f", "0.1")
    client.call("GETEX", "t", "PX", 77)
    node.clock.advance(100)
    client.call("GET", "t")
    assert contents(replay(node.entries, HASH_KEY)) == node.visible()
    assert all(op in (1, 2) for _, payload in node.entries for op, *_ in operations(payload))
