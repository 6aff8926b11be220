"""Sender and receiver of an image by hand: bounds, giving up, what is refused, a full disk."""

from dataclasses import replace

import pytest

from kvnode.base.errors import CorruptionError, RemoteProtocolError, StorageIOError
from kvnode.base.limits import (
    IMAGE_CHUNK_BYTES,
    IMAGE_RESTARTS_MAX,
    IMAGE_STALLED_MS,
    IMAGE_WINDOW_CHUNKS,
)
from kvnode.storage.executor import StepExecutor
from kvnode.storage.image import (
    Abort,
    Ack,
    Begin,
    Chunk,
    End,
    ImageFacts,
    encode_rows,
    extend_digest,
    make_chunk,
)
from kvnode.storage.image_receiving import ImageReceiver
from kvnode.storage.image_sending import ImageSender
from kvnode.storage.leveldb import LevelDBEngine
from kvnode.storage.local import (
    CheckpointRecord,
    HighWater,
    Position,
    join_group,
    open_facts,
    read_facts,
)
from kvnode.storage.memory import MemoryEngine
from tests.sim.image import GROUP, HASH_KEY, IDENTITY, SOURCE, Incoming

IMAGE_ID = b"id of an image.."
AT = Position(10, 2, 77)
FACTS = ImageFacts(AT, 15, 5, HASH_KEY, GROUP, b"members")


def fill(engine, rows=()):
    """Make the engine that of a node with a checkpoint."""
    open_facts(engine, identity=b"the sender's dir", hash_key=HASH_KEY)
    join_group(engine, GROUP)
    engine.write([*rows, *CheckpointRecord(AT, 5).rows(), HighWater(0).row(15)])
    return engine


class Sending:
    """A sender and its reader."""

    def __init__(self, engine):
        self.reader = StepExecutor()
        self.sender = ImageSender(
            IMAGE_ID,
            engine,
            self.reader,
            cut_index=4,
            sole_membership=b"members",
            now_ms=0,
        )

    def take(self, now_ms=0):
        """Return the messages that can be sent now."""
        messages = []
        self.reader.run()
        while True:
            self.sender.step(now_ms)
            has_read = self.reader.run()
            message = self.sender.take()
            if message is not None:
                messages.append(message)
            elif not has_read:
                return messages

    def ack(self, wanted, now_ms=0):
        self.sender.receive(Ack(IMAGE_ID, wanted), now_ms)


class Receiving:
    """A receiver and its writer."""

    def __init__(self, incoming=None):
        self.writer = StepExecutor()
        self.incoming = incoming or Incoming()
        self.receiver = ImageReceiver(self.writer, self.incoming, IDENTITY)

    def begin(self, facts=FACTS):
        self.receiver.expect(SOURCE, facts.at.index, facts.at.term, 0)
        self.give(Begin(IMAGE_ID, facts))
        assert self.take() == [(SOURCE, Ack(IMAGE_ID, 0))]

    def give(self, *messages, source=SOURCE, now_ms=0):
        for message in messages:
            self.receiver.receive(source, message, now_ms)

    def take(self):
        """Return the messages that come back once everything is written."""
        self.writer.run()
        messages = []
        while (message := self.receiver.take()) is not None:
            messages.append(message)
        return messages


def rows_of(count, value_bytes):
    return [(b"H%05d" % i, b"%05d" % i * (value_bytes // 5)) for i in range(count)]


def messages_of(rows, piece_bytes=IMAGE_CHUNK_BYTES):
    """Return chunks and end of an image."""
    data = encode_rows(rows)
    chunks, digest = [], 0
    for at in range(0, len(data), piece_bytes):
        chunks.append(make_chunk(IMAGE_ID, len(chunks), data[at : at + piece_bytes]))
        digest = extend_digest(digest, chunks[-1])
    return [*chunks, End(IMAGE_ID, len(chunks), len(rows), digest)]


# -- sender ----------------------------------------------------------------------------------------


def test_facts_are_those_of_the_snapshot():
    engine = fill(MemoryEngine(), rows_of(5, 10))
    sending = Sending(engine)
    assert (sending.sender.facts, sending.sender.needed_after) == (None, 4)
    sending.reader.run()
    engine.write([*CheckpointRecord(Position(20, 3, 99), 9).rows(), HighWater(0).row(30)])
    assert (sending.sender.facts, sending.sender.needed_after) == (FACTS, 10)


def test_a_membership_as_of_the_checkpoint_is_that_of_the_image():
    engine = fill(MemoryEngine())
    engine.write(CheckpointRecord(AT, 5, b"of three").rows())
    sending = Sending(engine)
    sending.reader.run()
    assert sending.sender.facts == replace(FACTS, membership=b"of three")


def test_rows_are_sent_as_the_window_opens():
    sending = Sending(fill(MemoryEngine(), rows_of(100, 100_000)))
    sending.sender.connect()
    assert sending.take() == [Begin(IMAGE_ID, FACTS)]
    assert sending.take() == []  # nothing before the answer
    sending.ack(0)
    chunks = sending.take()
    assert [chunk.number for chunk in chunks] == list(range(IMAGE_WINDOW_CHUNKS))
    assert {len(chunk.data) for chunk in chunks} == {IMAGE_CHUNK_BYTES}
    sending.ack(2)
    chunks += sending.take()
    assert len(chunks) == IMAGE_WINDOW_CHUNKS + 2
    while not isinstance(chunks[-1], End):
        sending.ack(len(chunks))
        chunks += sending.take()
    *chunks, end = chunks
    assert b"".join(c.data for c in chunks) == encode_rows(rows_of(100, 100_000))
    assert (end.chunks, end.rows) == (len(chunks), 100)
    assert not sending.sender.is_done
    sending.ack(end.chunks + 1)
    assert sending.sender.is_done
    sending.sender.close()
    sending.sender.close()
    assert sending.reader.run() == 1


def test_one_huge_row_is_cut():
    rows = [(b"Ha", b"x"), (b"Hb", bytes(3_000_000)), (b"Hc", b"y")]
    sending, receiving = Sending(fill(MemoryEngine(), rows)), Receiving()
    receiving.begin()
    sending.sender.connect()
    sending.take()
    sending.ack(0)
    chunks = sending.take()
    assert len(chunks) == 3_000_000 // IMAGE_CHUNK_BYTES + 2
    receiving.give(*chunks)
    assert receiving.take() == [(SOURCE, Ack(IMAGE_ID, len(chunks)))]
    assert receiving.incoming.engine.get_many([b"Hb", b"Hc"]) == [bytes(3_000_000), b"y"]


def test_an_empty_image():
    sending, receiving = Sending(fill(MemoryEngine())), Receiving()
    receiving.begin()
    sending.sender.connect()
    sending.take()
    sending.ack(0)
    (end,) = sending.take()
    receiving.give(end)
    assert receiving.take() == [(SOURCE, Ack(IMAGE_ID, 1))]
    assert receiving.receiver.received == FACTS


def test_a_broken_link_goes_on():
    sending = Sending(fill(MemoryEngine(), rows_of(100, 10_000)))
    sending.sender.connect()
    sending.take()
    sending.ack(0)
    sending.take()
    sending.ack(1)
    sending.sender.disconnect()
    assert sending.take() == []
    sending.sender.connect()
    assert sending.take() == [Begin(IMAGE_ID, FACTS)]
    sending.ack(3)
    assert sending.take()[0].number == 3


def test_a_receiver_that_lost_its_half_gets_it_again():
    sending = Sending(fill(MemoryEngine(), rows_of(100, 10_000)))
    firsts = []
    for life in range(IMAGE_RESTARTS_MAX + 2):
        sending.sender.connect()
        sending.take()
        assert bool(sending.sender.failure) is False
        sending.ack(0)
        if life <= IMAGE_RESTARTS_MAX:
            firsts.append(sending.take()[0])
            sending.ack(1)
    assert "lost its half" in sending.sender.failure
    assert firsts == firsts[:1] * (IMAGE_RESTARTS_MAX + 1)
    assert isinstance(sending.take()[0], Abort)
    assert sending.take() == []


def test_a_silent_receiver_is_given_up():
    sending = Sending(fill(MemoryEngine(), rows_of(3, 10)))
    sending.sender.connect()
    sending.take()
    sending.ack(0, now_ms=1000)
    sending.take(now_ms=1000 + IMAGE_STALLED_MS)
    assert not sending.sender.failure
    (abort,) = sending.take(now_ms=1001 + IMAGE_STALLED_MS)
    assert abort.reason == sending.sender.failure == "nothing was heard of the receiver for 60 s"
    sending.ack(1)  # too late
    assert not sending.sender.is_done


def test_without_a_checkpoint_there_is_no_image():
    engine = MemoryEngine()
    open_facts(engine, identity=bytes(16), hash_key=bytes(16))
    reader = StepExecutor()
    sender = ImageSender(IMAGE_ID, engine, reader, cut_index=0, sole_membership=b"m", now_ms=0)
    reader.run()
    assert sender.failure == "there was no checkpoint yet"


@pytest.mark.parametrize("wanted", [2, 2**64 - 1])
def test_acknowledged_what_was_not_sent(wanted):
    sending = Sending(fill(MemoryEngine(), rows_of(3, 10)))
    sending.sender.connect()
    sending.take()
    with pytest.raises(RemoteProtocolError):
        sending.ack(wanted)


def test_answers_of_a_receiver_that_are_none():
    sending = Sending(fill(MemoryEngine(), rows_of(3, 10)))
    sending.sender.connect()
    with pytest.raises(RemoteProtocolError, match="answer to nothing"):
        sending.ack(0)
    sending.take()
    with pytest.raises(RemoteProtocolError):
        sending.sender.receive(End(IMAGE_ID, 0, 0, 0), 0)
    sending.sender.receive(Ack(bytes(16), 99), 0)  # of another image: late, not wrong
    sending.sender.receive(Abort(IMAGE_ID, "disk full"), 0)
    assert sending.sender.failure == "the receiver gave up: disk full"
    assert sending.take() == []


def test_own_store_cannot_be_read():
    sending = Sending(fill(MemoryEngine(), rows_of(3, 10)))
    sending.reader.run()
    sending.sender.connect()
    sending.sender.take()
    sending.ack(0)

    def scan_part(*arguments):
        raise CorruptionError("a table")

    sending.sender._source._reader.scan_part = scan_part
    with pytest.raises(CorruptionError):
        sending.take()


# -- receiver --------------------------------------------------------------------------------------


def test_raft_and_the_link_may_speak_in_either_order():
    receiving = Receiving()
    receiving.give(Begin(IMAGE_ID, FACTS))
    assert receiving.take() == []
    receiving.receiver.expect(SOURCE, 9, 2, 0)
    assert receiving.take() == []
    receiving.receiver.expect(SOURCE, 10, 2, 0)
    assert receiving.take() == [(SOURCE, Ack(IMAGE_ID, 0))]


def test_an_image_of_somebody_else_is_not_taken():
    receiving = Receiving()
    receiving.receiver.expect(SOURCE, 10, 2, 0)
    receiving.give(Begin(bytes(16), FACTS), source=7)
    receiving.give(make_chunk(bytes(16), 0, b"x"), source=7)
    assert receiving.take() == [(7, Abort(bytes(16), "this image is not expected"))]
    receiving.begin()
    receiving.give(make_chunk(IMAGE_ID, 0, b"x"), source=7)
    assert receiving.take() == [(7, Abort(IMAGE_ID, "this image is not expected"))]
    assert receiving.receiver.is_receiving


def test_a_received_image_stays_until_it_is_installed():
    receiving = Receiving()
    receiving.begin()
    receiving.give(*messages_of(rows_of(10, 10)))
    receiving.take()
    other = ImageFacts(Position(20, 2, 99), 25, 5, HASH_KEY, GROUP, b"m")
    receiving.receiver.expect(SOURCE, 20, 2, 0)
    receiving.give(Begin(bytes(16), other), Abort(IMAGE_ID, "why not"))
    receiving.receiver.step(10 * IMAGE_STALLED_MS)
    assert receiving.take() == []
    assert receiving.receiver.received == FACTS
    receiving.receiver.installed()
    assert not receiving.receiver.is_receiving
    receiving.incoming.engine = None  # it was moved
    receiving.receiver.expect(SOURCE, 20, 2, 0)
    assert receiving.take() == [(SOURCE, Ack(bytes(16), 0))]


def test_a_newer_image_takes_the_place_of_half_a_one():
    receiving = Receiving()
    receiving.begin()
    receiving.give(*messages_of(rows_of(10, 10), 20)[:5])
    other = ImageFacts(Position(20, 2, 99), 25, 5, HASH_KEY, GROUP, b"m")
    receiving.receiver.expect(SOURCE, 20, 2, 0)
    receiving.give(Begin(bytes(16), other))
    assert receiving.take() == [(SOURCE, Ack(bytes(16), 0))]
    assert receiving.incoming.made == 2
    assert receiving.incoming.engine.scan(b"", None, 10) == []


def test_what_a_sender_must_not_do():
    *chunks, end = messages_of(rows_of(40, 10), 20)
    receiving = Receiving()
    receiving.begin()
    with pytest.raises(RemoteProtocolError, match="chunk 1 of an image where 0 is due"):
        receiving.give(chunks[1])
    with pytest.raises(RemoteProtocolError, match="more of an image"):
        receiving.give(*chunks)  # without waiting
    assert len(receiving.writer) == IMAGE_WINDOW_CHUNKS
    with pytest.raises(RemoteProtocolError, match="acknowledges"):
        receiving.give(Ack(IMAGE_ID, 0))
    with pytest.raises(RemoteProtocolError, match="one id"):
        receiving.give(Begin(IMAGE_ID, ImageFacts(AT, 16, 5, HASH_KEY, GROUP, b"m")))
    # All of it left what is here as it was.
    receiving.take()
    for at in range(IMAGE_WINDOW_CHUNKS, len(chunks)):
        receiving.give(chunks[at])
        receiving.take()
    receiving.give(end)
    receiving.take()
    assert receiving.receiver.received == FACTS


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ({"rows": 9}, "an image of 9 rows ends after 10"),
        ({"digest": 1}, "its chunks are not what its sender has read"),
    ],
)
def test_ends_that_do_not_fit(end, reason):
    *chunks, right = messages_of(rows_of(10, 10))
    receiving = Receiving()
    receiving.begin()
    wrong = {"chunks": right.chunks, "rows": right.rows, "digest": right.digest} | end
    receiving.give(*chunks, End(IMAGE_ID, **wrong))
    assert receiving.take()[-1] == (SOURCE, Abort(IMAGE_ID, reason))
    assert receiving.receiver.failure == reason
    assert receiving.incoming.engine is None


def test_half_a_row_at_the_end():
    data = encode_rows(rows_of(10, 10))[:-1]
    chunk = make_chunk(IMAGE_ID, 0, data)
    receiving = Receiving()
    receiving.begin()
    receiving.give(chunk, End(IMAGE_ID, 1, 9, extend_digest(0, chunk)))
    assert isinstance(receiving.take()[-1][1], Abort)


def test_rows_out_of_order():
    receiving = Receiving()
    receiving.begin()
    receiving.give(*messages_of([(b"Hb", b""), (b"Ha", b"")]))
    assert receiving.take()[-1] == (
        SOURCE,
        Abort(IMAGE_ID, "rows of an image are not in order"),
    )
    assert receiving.receiver.failures == 1


def test_a_sender_that_is_silent():
    receiving = Receiving()
    receiving.begin()
    receiving.give(*messages_of(rows_of(10, 10))[:1], now_ms=1000)
    receiving.receiver.step(1000 + IMAGE_STALLED_MS)
    assert receiving.receiver.is_receiving
    receiving.receiver.step(1001 + IMAGE_STALLED_MS)
    receiving.take()
    assert (receiving.receiver.is_receiving, receiving.incoming.engine) == (False, None)


def test_a_sender_that_gives_up():
    receiving = Receiving()
    receiving.begin()
    receiving.give(Abort(IMAGE_ID, "stopped"))
    assert receiving.take() == []
    assert receiving.receiver.failure == "the sender gave up: stopped"
    assert receiving.incoming.engine is None


def test_discarded():
    receiving = Receiving()
    receiving.receiver.discard()
    receiving.begin()
    receiving.receiver.discard()
    assert receiving.take() == [(SOURCE, Abort(IMAGE_ID, "it is not needed any more"))]
    assert receiving.incoming.engine is None


class FullDisk(Incoming):
    """A store whose writes fail after some; and, if told, its removal and its making."""

    def __init__(self, writes: int, *, fails=("write",)) -> None:
        super().__init__()
        self.writes = writes
        self.fails = fails
        self.is_broken = True

    def make(self):
        if self.is_broken and "make" in self.fails:
            raise StorageIOError("mkdir: No space left on device")
        engine = super().make()
        write = engine.write

        def limited(rows, *, sync=False):
            self.writes -= 1
            if self.is_broken and self.writes < 0 and "write" in self.fails:
                raise StorageIOError("LevelDB: No space left on device")
            write(rows, sync=sync)

        def compact():
            raise StorageIOError("LevelDB: No space left on device")

        engine.write = limited
        if self.is_broken and "compact" in self.fails:
            engine.compact_memtable = compact
        return engine

    def remove(self):
        if self.is_broken and self.engine is not None and "remove" in self.fails:
            raise StorageIOError("unlink: Input/output error")
        super().remove()


@pytest.mark.parametrize("writes", [0, 1, 5, 9, 10])
def test_a_full_disk_costs_the_image_only(writes):
    incoming = FullDisk(writes)
    receiving = Receiving(incoming)
    receiving.begin()
    messages = messages_of(rows_of(20, 10), 40)
    for message in messages:
        if receiving.receiver.is_receiving:
            receiving.give(message)
    told = receiving.take()
    assert told[-1] == (SOURCE, Abort(IMAGE_ID, "LevelDB: No space left on device"))
    assert incoming.engine is None
    receiving.receiver.step(0)
    incoming.is_broken = False
    receiving.begin()
    receiving.give(*messages)
    receiving.take()
    assert receiving.receiver.received == FACTS


@pytest.mark.parametrize("fails", ["make", "compact"])
def test_other_calls_that_fail(fails):
    incoming = FullDisk(0, fails=(fails,))
    receiving = Receiving(incoming)
    receiving.receiver.expect(SOURCE, 10, 2, 0)
    receiving.give(Begin(IMAGE_ID, FACTS))
    if fails == "compact":
        receiving.give(*messages_of(rows_of(2, 10)))
    assert "No space left" in receiving.take()[-1][1].reason
    assert not receiving.receiver.is_receiving
    receiving.receiver.step(0)


def test_an_image_that_cannot_be_removed_is_said_and_tried_again():
    incoming = FullDisk(0, fails=("write", "remove"))
    receiving = Receiving(incoming)
    receiving.begin()
    receiving.give(*messages_of(rows_of(2, 10)))
    receiving.take()
    assert receiving.receiver.failure == (
        "LevelDB: No space left on device; and then: unlink: Input/output error"
    )
    incoming.is_broken = False
    receiving.begin()


def test_a_bug_of_our_own_is_not_taken_for_a_bad_image():
    receiving = Receiving()
    receiving.begin()
    receiving.incoming.engine.write = None
    receiving.give(*messages_of(rows_of(2, 10)))
    receiving.take()
    with pytest.raises(TypeError):
        receiving.receiver.step(0)


# -- LevelDB ---------------------------------------------------------------------------------------


def test_from_leveldb_to_leveldb(tmp_path):
    rows = rows_of(3000, 200)
    source = fill(LevelDBEngine(str(tmp_path / "db")), rows)

    class Folder:
        engine = None

        def make(self):
            return LevelDBEngine(str(tmp_path / "incoming"))

        def remove(self):
            assert not (tmp_path / "incoming").exists()

    sending, receiving = Sending(source), Receiving(Folder())
    receiving.begin()
    sending.reader.run()
    source.write([(b"H00001", None), (b"H00000a", b"late"), (b"H00002", b"late")])
    sending.sender.connect()
    while not sending.sender.is_done:
        for message in sending.take():
            receiving.give(message) if not isinstance(message, Begin) else sending.ack(0)
        for _, reply in receiving.take():
            sending.sender.receive(reply, 0)
    assert isinstance(messages_of(rows)[0], Chunk)
    incoming = LevelDBEngine(str(tmp_path / "incoming"))
    facts = read_facts(incoming)
    assert (facts.identity, facts.checkpoint.at, facts.highest_index) == (IDENTITY, AT, 15)
    assert incoming.scan(b"H", b"I", 4000) == rows
    sending.sender.close()
    sending.reader.run()
    source.close()
    incoming.close()
