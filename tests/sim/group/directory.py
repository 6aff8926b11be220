"""A data directory on a simulated disk, which outlives the processes that open it.

What server/data.py does with it is the production code; only disk, store and log writer are others.
"""

import random
from collections.abc import Callable, Iterable
from pathlib import Path

from kvnode._core.replicated_log import ReplicatedLog
from kvnode.base.limits import KIB
from kvnode.raft.core import RaftCore
from kvnode.raft.log_terms import LogTerms
from kvnode.raft.membership import Membership
from kvnode.raft.messages import HardState
from kvnode.raft.reads import lease_ms
from kvnode.raft.wire import encode_membership
from kvnode.server.data import DataDirectory
from kvnode.server.failpoints import Failpoints
from kvnode.storage.hard_state import HardStateFile, create_hard_state
from kvnode.storage.image_install import IncomingFolder, finish_installation
from kvnode.storage.local import join_group, open_facts
from kvnode.storage.log import Entry, SegmentWriter
from kvnode.storage.log_reading import LogReading
from kvnode.storage.log_recovery import open_replay, recover_log
from kvnode.storage.memory import MemoryEngine
from tests.sim.disk import SimDisk
from tests.sim.folder import SimFolders
from tests.sim.log import SimLog

PATH = "/node"
SEGMENT_BYTES = 16 * KIB
RING_BYTES = 8 * KIB  # small: lagging peers are served from segments
TICK_MS = 10
ELECTION_TICKS = 10
HEARTBEAT_TICKS = 2
GROUP = b"the group's name"

Stored = tuple[int, int, bytes]  # term, commit_ts, payload


class Died(BaseException):
    """The process ends in the middle of its work."""


class MortalDisk(SimDisk):
    """A disk whose machine may lose power at any call."""

    def __init__(self) -> None:
        super().__init__()
        self.dies_at = 0  # calls until then; 0: it does not

    def _call(self, call: str, path: str) -> None:
        if self.dies_at:
            self.dies_at -= 1
            if not self.dies_at:
                raise Died
        super()._call(call, path)
        self.calls.clear()


class Folders(SimFolders):
    """Stores that are opened again after they were closed."""

    def open_engine(self, path: str) -> MemoryEngine:
        engine = super().open_engine(path)
        if not engine._is_open:
            number = next(n for n, known in self._engines.items() if known is engine)
            engine = self._engines[number] = engine.crash(lambda file, batch: True)
        return engine


class Entries:
    """A log's entries by index. Whatever is written at an index replaces all from there on."""

    def __init__(self) -> None:
        self.by_index: dict[int, Stored] = {}
        self.last = 0

    def write(self, entry: Entry) -> None:
        for index in range(entry.index, self.last + 1):
            self.by_index.pop(index, None)
        self.by_index[entry.index] = entry.term, entry.commit_ts, entry.payload
        self.last = entry.index

    def reset(self, last: int) -> None:
        self.by_index.clear()
        self.last = last


class GroupLog(SimLog):
    """A SimLog that knows what is in it, and what of that is durable."""

    def __init__(self, writer: SegmentWriter, home: "Home") -> None:
        super().__init__(writer)
        self.home = home
        self.is_syncing = False
        self._unsynced: list[Entry] = []

    def on_submit(self, term: int, index: int, commit_ts: int, payload: bytes) -> None:
        entry = Entry(term, index, commit_ts, payload)
        self.home.note_written(entry)
        self._unsynced.append(entry)
        super().on_submit(term, index, commit_ts, payload)

    def sync_written(self) -> None:
        super().sync_written()
        count = len(self._unsynced) - len(self.pending)
        for entry in self._unsynced[:count]:
            self.home.durable.write(entry)
        del self._unsynced[:count]

    def cut(self, index: int) -> None:
        assert self._writer is not None
        self._writer.cut(index)

    def close(self) -> None:
        self.complete()


class Home:
    """What remains of a node when its process ends."""

    def __init__(
        self, node_id: int, rng: random.Random, on_written: Callable[["Home", Entry], None]
    ) -> None:
        self.node_id = node_id
        self.rng = rng
        self.disk = MortalDisk()
        self.folders = Folders(self.disk, PATH)
        self.identity = rng.randbytes(16)
        self.entries = Entries()  # as handed to the log
        self.durable = Entries()
        self.covered = 0  # entries up to here are in the store, as of the last start
        self._on_written = on_written
        self.disk.make_dir(PATH)

    def note_written(self, entry: Entry) -> None:
        self.entries.write(entry)
        self._on_written(self, entry)

    def begin(self, membership: Membership, hash_key: bytes) -> None:
        """Found a group with it, or prepare it to be added: then with no members."""
        engine = self.folders.open_engine(f"{PATH}/db")
        open_facts(engine, identity=self.identity, hash_key=self.rng.randbytes(16))
        join_group(engine, GROUP, encode_membership(membership), hash_key)

    def crash(self) -> None:
        """Lose power."""
        self.disk.dies_at = 0
        self.folders.crash(self.rng)


class GroupDirectory(DataDirectory):
    """A Home, opened by a process."""

    segment_bytes = SEGMENT_BYTES

    def __init__(self, home: Home, *, cache_bytes: int) -> None:
        self.home = home
        self.path = Path(PATH)
        self.replayed_entries = 0
        self.failpoints = Failpoints([])
        self._node_id = home.node_id
        self._cache_bytes = cache_bytes
        self._disk = home.disk
        self._folders = home.folders
        finish_installation(self._disk, self._folders)
        self._open_store()
        self.hard_state = self._open_hard_state()
        self._open_log()
        end = self._recovered_log.start
        self.log = ReplicatedLog(
            self._writer, end.last_index, end.last_term, end.last_commit_ts, ring_bytes=RING_BYTES
        )
        self._check_terms()

    def _open_store(self) -> None:
        self.engine = self.home.folders.open_engine(f"{PATH}/db")
        self.facts = open_facts(
            self.engine, identity=self.home.identity, hash_key=self.home.rng.randbytes(16)
        )

    def _open_hard_state(self) -> HardStateFile:
        path = f"{PATH}/raft.state"
        if "raft.state" in self._disk.list(PATH):
            return HardStateFile(self._disk, path)
        return create_hard_state(self._disk, path, self._node_id, self.facts.identity)

    def _open_log(self) -> None:
        id_seed = self.home.rng.getrandbits(63)
        recovered = self._recovered_log = recover_log(
            self._disk,
            self._log_directory,
            checkpoint_index=self.facts.checkpoint.at.index,
            segment_bytes=self.segment_bytes,
            id_seed=id_seed,
        )
        writer = SegmentWriter(
            self._disk,
            self._log_directory,
            recovered.start,
            segment_bytes=self.segment_bytes,
            id_seed=id_seed,
        )
        self._writer = GroupLog(writer, self.home)
        self._writer.set_written(recovered.start.last_term, recovered.last_index)
        self._writer.set_synced(recovered.start.last_term, recovered.last_index)
        self.reading = LogReading(self._disk, self._log_directory)
        self.found = list(self._read_log())

    def _read_log(self) -> Iterable[Entry]:
        """Yield what the log has, now durable, behind the checkpoint."""
        log = self._recovered_log
        home = self.home
        first = max(self.facts.checkpoint.at.index, log.base.index) + 1
        home.entries.reset(first - 1)
        home.durable.reset(first - 1)
        home.covered = first - 1
        for term, index, commit_ts, payload in open_replay(
            self._disk, self._log_directory, log, first, log.last_index
        ):
            entry = Entry(term, index, commit_ts, bytes(payload))
            home.entries.write(entry)
            home.durable.write(entry)
            yield entry

    @property
    def begins_at_checkpoint(self) -> bool:
        """Whether the log has nothing before the checkpoint, as behind an image."""
        return self._recovered_log.base.index == self.facts.checkpoint.at.index

    def make_raft(self, *, has_leases: bool, instead_of: RaftCore | None = None) -> RaftCore:
        assert instead_of is None
        state = self.hard_state.state
        rng = self.home.rng
        return RaftCore(
            self._node_id,
            self.memberships(),
            HardState(state.term, state.vote),
            LogTerms(self._recovered_log.terms(), self._recovered_log.last_index),
            committed=self.facts.checkpoint.at.index,
            random_ticks=rng.randrange,
            identity=self.facts.identity,
            instance=rng.getrandbits(63),
            high_water=self.facts.highest_index,
            election_ticks=ELECTION_TICKS,
            heartbeat_ticks=HEARTBEAT_TICKS,
            now_ms=self.boottime_ms,
            lease_ms=lease_ms(ELECTION_TICKS, TICK_MS) if has_leases else 0,
            fit=self.log.fit,
        )

    def boottime_ms(self) -> int:
        raise NotImplementedError  # set by the node

    def set_log_mode(self, mode: str) -> None:
        pass  # every entry is synced

    def incoming_folder(self) -> IncomingFolder:
        return IncomingFolder(self._folders, self.home.folders.open_engine)
