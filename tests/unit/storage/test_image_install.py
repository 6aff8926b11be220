"""An image takes the place of store and log as a whole, wherever the process or the power ends."""

import random
import shutil
from contextlib import suppress

import pytest

from kvnode.base.errors import CorruptionError, FormatError, StorageError
from kvnode.storage import image_install, image_receiving
from kvnode.storage.disk import OsDisk
from kvnode.storage.executor import StepExecutor
from kvnode.storage.folder import OsFolders
from kvnode.storage.image import Begin, ImageFacts, encode_rows, extend_digest, make_chunk
from kvnode.storage.image import End as ImageEnd
from kvnode.storage.image_install import (
    INCOMING_OPTIONS,
    IncomingFolder,
    finish_installation,
    install,
    remove_old,
)
from kvnode.storage.image_receiving import ImageReceiver
from kvnode.storage.leveldb import LevelDBEngine
from kvnode.storage.local import CheckpointRecord, HighWater, Position, open_facts
from kvnode.storage.log_format import Link
from kvnode.storage.log_recovery import create_log, recover_log
from kvnode.storage.memory import MemoryEngine
from tests.sim.disk import SimDisk
from tests.sim.folder import SimFolders

PATH = "/data"
IDENTITY = b"this directory.."
OLD_AT, NEW_AT = Position(3, 1, 30), Position(90, 2, 900)
OLD_ROWS = {b"Hold %d" % i: b"o" for i in range(20)}
NEW_ROWS = {b"Hnew %d" % i: b"n" for i in range(30)}
FACTS = ImageFacts(NEW_AT, 95, 77, b"hashes as theirs", b"id of the group.", b"m")
SEGMENT_BYTES = 64 * 1024


class KilledError(Exception):
    """The process ends before a call."""


class Node:
    """A data directory in a simulation; calls of disk and folders are counted, one may kill."""

    def __init__(self) -> None:
        self.disk = SimDisk()
        self.folders = SimFolders(self.disk, PATH)
        self.left = -1  # calls until the process ends
        call = self.disk._call

        def counted(name: str, path: str) -> None:
            if self.left == 0:
                raise KilledError
            self.left -= 1
            call(name, path)

        self.disk._call = counted
        make_old(self.disk, f"{PATH}/log", self.open_store())

    def open_store(self) -> MemoryEngine:
        return self.folders.open_engine(f"{PATH}/db")

    def receive(self) -> None:
        receive(IncomingFolder(self.folders, self.folders.open_engine))

    def end(self, rng: random.Random, *, is_power_lost: bool) -> None:
        self.left = -1
        if is_power_lost:
            self.folders.crash(rng)
        else:
            self.folders.kill()


def make_old(disk, log: str, engine) -> None:
    """Make what a node had before the image."""
    open_facts(engine, identity=IDENTITY, hash_key=bytes(16))
    rows = [*OLD_ROWS.items(), HighWater(0).row(3), *CheckpointRecord(OLD_AT, 5).rows()]
    engine.write(rows, sync=True)
    engine.compact_memtable()
    disk.make_dir(log)
    create_log(disk, log, segment_bytes=SEGMENT_BYTES, id_seed=1, base=Link(0, 0, 0, 1, 3, 30))


def receive(store: IncomingFolder) -> None:
    """Receive the image of NEW_ROWS."""
    writer = StepExecutor()
    receiver = ImageReceiver(writer, store, IDENTITY)
    receiver.expect(2, NEW_AT.index, NEW_AT.term, 0)
    image_id = bytes(16)
    chunk = make_chunk(image_id, 0, encode_rows(sorted(NEW_ROWS.items())))
    end = ImageEnd(image_id, 1, len(NEW_ROWS), extend_digest(0, chunk))
    for message in (Begin(image_id, FACTS), chunk, end):
        receiver.receive(2, message, 0)
    writer.run()
    assert receiver.received == FACTS, receiver.failure


def run_install(disk, folders) -> None:
    install(disk, folders, FACTS, segment_bytes=SEGMENT_BYTES, id_seed=9)


def check(disk, log: str, engine, returned: Position | None) -> bool:
    """Assert that all is old or all is new; return whether it is new."""
    facts = open_facts(engine, identity=bytes(16), hash_key=bytes(16))
    assert facts.identity == IDENTITY
    rows = {k: v for k, v in engine.scan(b"", None, 1000) if k[:1] != b"L"}
    is_new = facts.checkpoint.at == NEW_AT
    assert rows == (NEW_ROWS if is_new else OLD_ROWS)
    assert facts.highest_index == (95 if is_new else 3)
    assert is_new or returned is None
    assert returned in (None, NEW_AT)
    found = recover_log(
        disk,
        log,
        checkpoint_index=facts.checkpoint.at.index,
        segment_bytes=SEGMENT_BYTES,
        id_seed=11,
    )
    at = facts.checkpoint.at
    assert (found.base.index, found.base.term, found.base.commit_ts) == (
        at.index,
        at.term,
        at.commit_ts,
    )
    assert found.last_index == at.index
    return is_new


def kill_and_start(rng: random.Random, kill_at: int, kill_again_at: int) -> bool | None:
    """Install, killed before call number `kill_at`; start, killed again; start and look.

    Returns whether the image is in place; None: nobody was killed.
    """
    node = Node()
    node.receive()
    node.left = kill_at
    is_killed = False
    try:
        run_install(node.disk, node.folders)
    except KilledError:
        is_killed = True
    is_decided = node.disk._durable_names.get(f"{PATH}/install") is not None
    is_power_lost = rng.random() < 0.8
    node.end(rng, is_power_lost=is_power_lost)
    node.left = kill_again_at
    returned = None
    with suppress(KilledError):
        returned = finish_installation(node.disk, node.folders)
    node.end(rng, is_power_lost=rng.random() < 0.8)
    again = finish_installation(node.disk, node.folders)
    is_new = check(node.disk, f"{PATH}/log", node.open_store(), again or returned)
    assert is_new or (is_killed and not is_decided), "what Raft was told is gone"
    left = {path.split("/")[2] for path in node.disk._names}
    assert left == {"db", "log"}
    return is_new if is_killed else None


def storm(seeds: int) -> tuple[int, int]:
    """Return how often the image was in place, and how often what was before, after a kill."""
    news = olds = 0
    for seed in range(seeds):
        rng = random.Random(seed)
        for kill_at in range(100):
            is_new = kill_and_start(rng, kill_at, rng.choice([-1, rng.randrange(12)]))
            if is_new is None:
                break
            news, olds = news + is_new, olds + (not is_new)
        else:
            raise AssertionError("an installation has fewer steps")
    return news, olds


def test_killed_at_every_step():
    news, olds = storm(25)
    assert news > 25 * 3
    assert olds > 25 * 3


def test_half_an_image_is_removed():
    for is_power_lost in (False, True):
        node = Node()
        engine = node.folders.open_engine(f"{PATH}/db.incoming")
        engine.write(list(NEW_ROWS.items())[:7])
        node.end(random.Random(1), is_power_lost=is_power_lost)
        assert finish_installation(node.disk, node.folders) is None
        assert not node.folders.has("db.incoming")
        assert not check(node.disk, f"{PATH}/log", node.open_store(), None)


def test_a_fresh_directory_is_left_alone():
    disk = SimDisk()
    assert finish_installation(disk, SimFolders(disk, PATH)) is None
    assert not disk._names


@pytest.mark.parametrize("damage", [b"", b"KVNODINS", bytes(44), b"x" * 45])
def test_damaged_marker(damage):
    node = Node()
    node.disk.put(f"{PATH}/install", damage)
    with pytest.raises(CorruptionError, match="install is damaged"):
        finish_installation(node.disk, node.folders)
    assert node.folders.has("db")


def test_marker_of_a_newer_kvnode(monkeypatch):
    node = Node()
    monkeypatch.setattr(image_install, "VERSION", 2)
    image_install._write_marker(node.disk, PATH, NEW_AT)
    monkeypatch.undo()
    with pytest.raises(FormatError):
        finish_installation(node.disk, node.folders)


def test_bytes_of_the_marker():
    disk = SimDisk()
    image_install._write_marker(disk, PATH, NEW_AT)
    assert disk.contents(f"{PATH}/install").hex() == (
        b"KVNODINS".hex() + "00000001" + "00000000" + "000000000000005a" + "0000000000000002"
        "0000000000000384" + "15d54e42"
    )


def test_missing_folders_are_said():
    node = Node()
    node.folders.rename("db", "db.old")
    with pytest.raises(CorruptionError, match="is missing"):
        finish_installation(node.disk, node.folders)
    image_install._write_marker(node.disk, PATH, NEW_AT)
    with pytest.raises(CorruptionError, match=r"no db\.incoming"):
        finish_installation(node.disk, node.folders)
    assert node.folders.has("db.old")


# -- planted -------------------------------------------------------------------------------------


def _switch_with(*, names=("log", "db"), is_synced=True, is_marked=True, is_marker_first=False):
    def switch(disk, folders):
        def unmark():
            disk.unlink(f"{folders.path}/install")
            disk.fsync_dir(folders.path)

        if is_marker_first:
            unmark()
        for name in names:
            if folders.has(name + ".incoming"):
                if folders.has(name):
                    folders.rename(name, name + ".old")
                    if is_synced:
                        folders.sync()
                folders.rename(name + ".incoming", name)
                if is_synced:
                    folders.sync()
        if is_marked and not is_marker_first:
            unmark()

    return switch


def _marker_goes_first(monkeypatch):
    monkeypatch.setattr(image_install, "_switch", _switch_with(is_marker_first=True))


def _log_stays(monkeypatch):
    monkeypatch.setattr(image_install, "_switch", _switch_with(names=("db",)))


def _nothing_is_synced(monkeypatch):
    monkeypatch.setattr(image_install, "_switch", _switch_with(is_synced=False))


def _marker_is_not_synced(monkeypatch):
    write = image_install._write_marker

    def planted(disk, path, at):
        fdatasync, disk.fdatasync = disk.fdatasync, lambda file: None
        try:
            write(disk, path, at)
        finally:
            disk.fdatasync = fdatasync

    monkeypatch.setattr(image_install, "_write_marker", planted)


def _no_marker(monkeypatch):
    monkeypatch.setattr(image_install, "_write_marker", lambda disk, path, at: None)
    switch = _switch_with(is_marked=False)
    monkeypatch.setattr(image_install, "_switch", switch)


def _old_goes_before_it_is_replaced(monkeypatch):
    """The store in use is removed before the image is decided."""
    remove = image_install.remove_old

    def planted(folders):
        remove(folders)
        if folders.has("db.incoming"):
            folders.remove("db")

    monkeypatch.setattr(image_install, "remove_old", planted)


def _image_is_not_durable(monkeypatch):
    finish = image_receiving._Target.finish

    def planted(self, end):
        self._engine.compact_memtable = lambda: None
        finish(self, end)

    monkeypatch.setattr(image_receiving._Target, "finish", planted)


PLANTS = [
    _marker_goes_first,
    _log_stays,
    _nothing_is_synced,
    _marker_is_not_synced,
    _no_marker,
    _old_goes_before_it_is_replaced,
    _image_is_not_durable,
]


@pytest.mark.parametrize("plant", PLANTS)
def test_planted(plant, monkeypatch):
    plant(monkeypatch)
    with pytest.raises((AssertionError, StorageError)):
        storm(40)


# -- real directories ------------------------------------------------------------------------------


class Counted:
    """Passes calls on; the process ends before one of them."""

    def __init__(self, target, counter: list[int]) -> None:
        self._target = target
        self._counter = counter

    def __getattr__(self, name: str):
        found = getattr(self._target, name)
        if not callable(found):
            return found

        def call(*args, **options):
            if self._counter[0] == 0:
                raise KilledError
            self._counter[0] -= 1
            return found(*args, **options)

        return call


def open_leveldb(path: str) -> LevelDBEngine:
    return LevelDBEngine(path, INCOMING_OPTIONS)


def test_killed_at_every_step_in_real_directories(tmp_path):
    template = tmp_path / "template"
    template.mkdir()
    engine = open_leveldb(f"{template}/db")
    make_old(OsDisk(), f"{template}/log", engine)
    engine.close()
    receive(IncomingFolder(OsFolders(str(template)), open_leveldb))
    outcomes = []
    for kill_at in range(100):
        root = tmp_path / str(kill_at)
        shutil.copytree(template, root)
        disk, folders = OsDisk(), OsFolders(str(root))
        counter = [kill_at]
        is_killed = False
        try:
            run_install(Counted(disk, counter), Counted(folders, counter))
        except KilledError:
            is_killed = True
        if not is_killed:
            assert sorted(p.name for p in root.iterdir()) == ["db", "db.old", "log", "log.old"]
            remove_old(folders)
        returned = finish_installation(disk, folders)
        engine = open_leveldb(f"{root}/db")
        outcomes.append(check(disk, f"{root}/log", engine, returned))
        engine.close()
        assert {p.name for p in root.iterdir()} == {"db", "log"}
        if not is_killed:
            break
    assert outcomes[-1]
    assert outcomes == sorted(outcomes)
    assert 10 < len(outcomes) < 60
