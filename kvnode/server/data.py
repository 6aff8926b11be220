"""A node's data directory, open: LevelDB, the log, Raft's hard state; and states built on them.

    db/          LevelDB            log/         segments of the log
    raft.state   term, vote and identity

An image that was received takes the place of db/ and log/, see storage/image_install.py.
"""

import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from kvnode._core.dispatch import Dispatch
from kvnode._core.logwriter import LogWriter
from kvnode._core.replicated_log import ReplicatedLog
from kvnode.base.errors import CorruptionError, StorageIOError
from kvnode.base.limits import (
    RAFT_ELECTION_TICKS,
    RAFT_HEARTBEAT_TICKS,
    RAFT_TICK_MS,
    SEGMENT_BYTES,
)
from kvnode.raft.core import RaftCore
from kvnode.raft.log_terms import LogTerms
from kvnode.raft.membership import Member, Membership, MembershipLog
from kvnode.raft.messages import HardState
from kvnode.raft.reads import lease_ms
from kvnode.raft.wire import decode_membership, decode_membership_entry, encode_membership
from kvnode.scripting import runtime
from kvnode.server.failpoints import Failpoints
from kvnode.storage.disk import OsDisk
from kvnode.storage.engine import options_for
from kvnode.storage.executor import Executor
from kvnode.storage.folder import OsFolders
from kvnode.storage.hard_state import HardStateFile, create_hard_state
from kvnode.storage.image import ImageFacts
from kvnode.storage.image_install import (
    INCOMING_OPTIONS,
    IncomingFolder,
    finish_installation,
    install,
    remove_old,
)
from kvnode.storage.leveldb import LevelDBEngine
from kvnode.storage.local import join_group, open_facts, pin_founders, read_facts
from kvnode.storage.log_reading import LogReading
from kvnode.storage.log_recovery import open_replay, recover_log
from kvnode.storage.recovery import Recovered, open_tip, recover
from kvnode.txn.building import build_state
from kvnode.txn.state import State

HASH_KEY_BYTES = 16
INSTANCE_BITS = 63  # of a number that no other life of a node has


def boottime_ms() -> int:
    """Return a time that counts suspend."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class DataDirectory:
    """An open data directory.

    Raises StorageError when opened: it is in use, damaged, or of a newer kvnode.
    """

    segment_bytes = SEGMENT_BYTES

    def __init__(
        self,
        directory: Path,
        *,
        node_id: int,
        appendfsync: str,
        cache_bytes: int,
        failpoints: Failpoints,
    ) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageIOError(f"cannot use {directory}: {error.strerror}") from error
        self.path = directory
        self.replayed_entries = 0
        self._node_id = node_id
        self._mode = appendfsync
        self._cache_bytes = cache_bytes
        self.failpoints = failpoints
        self._disk = OsDisk()
        self._folders = OsFolders(str(directory))
        finish_installation(self._disk, self._folders)
        self._open_store()
        self.hard_state = self._open_hard_state()
        self._open_log()
        end = self._recovered_log.start
        self.log = ReplicatedLog(self._writer, end.last_index, end.last_term, end.last_commit_ts)
        self._check_terms()

    # -- opening --------------------------------------------------------------------------------

    def _open_store(self) -> None:
        self.engine = LevelDBEngine(str(self.path / "db"), options_for(self._cache_bytes))
        self.facts = open_facts(
            self.engine, identity=os.urandom(16), hash_key=os.urandom(HASH_KEY_BYTES)
        )

    def _open_hard_state(self) -> HardStateFile:
        path = self.path / "raft.state"
        if not path.exists():
            if any((self.path / "log").glob("*.seg")):
                raise CorruptionError(
                    f"{path} is missing, but there is a log: this node no longer knows how it "
                    "voted. Restore the file, or the whole data directory, from a backup"
                )
            return create_hard_state(self._disk, str(path), self._node_id, self.facts.identity)
        return HardStateFile(self._disk, str(path))

    def _open_log(self) -> None:
        """Recover the log, and begin to write it on."""
        id_seed = int.from_bytes(os.urandom(8))
        self._recovered_log = recover_log(
            self._disk,
            self._log_directory,
            checkpoint_index=self.facts.checkpoint.at.index,
            segment_bytes=self.segment_bytes,
            id_seed=id_seed,
        )
        self._writer = LogWriter(
            self._log_directory,
            self._recovered_log.start,
            segment_bytes=self.segment_bytes,
            id_seed=id_seed,
            mode=self._mode,
        )
        self.failpoints.arm(self._writer)
        self.reading = LogReading(self._disk, self._log_directory)

    def _check_terms(self) -> None:
        last_term = self._recovered_log.start.last_term
        if self.hard_state.state.term < last_term:
            raise CorruptionError(
                f"{self.path / 'raft.state'} knows term {self.hard_state.state.term}, the log has "
                f"entries of term {last_term}: they are not of one node, or one was restored from "
                "an older copy"
            )

    @property
    def _log_directory(self) -> str:
        return str(self.path / "log")

    # -- what it says ---------------------------------------------------------------------------

    @property
    def is_torn(self) -> bool:
        """Whether the log had a torn tail, which was cut."""
        return self._recovered_log.is_torn

    def memberships(self) -> MembershipLog:
        """Return the group as of the checkpoint, and what the log says of it.

        Also before the checkpoint, where the log may begin: others may get entries from there.
        """
        if self.facts.checkpoint.membership:
            base = decode_membership(self.facts.checkpoint.membership)
        else:
            base = Membership.of_voters([self._node_id])
        later = self._recovered_log.memberships(self._recovered_log.base.index)
        return MembershipLog(
            base, [(index, decode_membership_entry(payload)) for index, payload in later]
        )

    def make_raft(self, *, has_leases: bool, instead_of: RaftCore | None = None) -> RaftCore:
        """Return Raft as of what is durable here.

        instead_of: what runs now; then the group is this node alone from here on, whatever others
        have, and all that is in its log, which is synced, counts.
        """
        state = self.hard_state.state
        memberships, terms = (
            self.memberships(),
            LogTerms(self._recovered_log.terms(), self._recovered_log.last_index),
        )
        committed = self.facts.checkpoint.at.index
        if instead_of is not None:
            own = instead_of.membership.member(self._node_id)
            alone = Membership.of_voters([own or Member(self._node_id, self.facts.identity)])
            memberships, terms = MembershipLog(alone), instead_of.log
            committed = instead_of.committed
        return RaftCore(
            self._node_id,
            memberships,
            HardState(state.term, state.vote),
            terms,
            committed=committed,
            random_ticks=secrets.randbelow,
            identity=self.facts.identity,
            instance=secrets.randbits(INSTANCE_BITS),
            high_water=self.facts.highest_index,
            election_ticks=RAFT_ELECTION_TICKS,
            heartbeat_ticks=RAFT_HEARTBEAT_TICKS,
            now_ms=boottime_ms,
            lease_ms=lease_ms(RAFT_ELECTION_TICKS, RAFT_TICK_MS) if has_leases else 0,
            fit=self.log.fit,
        )

    # -- states ---------------------------------------------------------------------------------

    def build_state(
        self,
        dispatch: Dispatch,
        *,
        is_all_committed: bool,
        cache_bytes: int,
        writer: Executor,
        readers: Sequence[Executor],
    ) -> State:
        """Return a state at the checkpoint; is_all_committed: at the end of the log."""
        recovered = self._recover() if is_all_committed else open_tip(self.engine, self.facts)
        return build_state(
            self.engine,
            self.facts,
            recovered,
            self.log,
            dispatch,
            writer=writer,
            readers=readers,
            cache_bytes=cache_bytes,
            on_step=self.failpoints.reached,
            prepare=runtime.connect,
        )

    def _recover(self) -> Recovered:
        first = self.facts.checkpoint.at.index + 1
        last = self._recovered_log.last_index
        log_ = open_replay(self._disk, self._log_directory, self._recovered_log, first, last)
        recovered = recover(self.engine, self.facts, log_)
        self.replayed_entries = recovered.replayed_entries
        return recovered

    def read_facts_again(self) -> None:
        """A checkpoint may have ended since the directory was opened."""
        facts = read_facts(self.engine)
        assert facts is not None, "they were there when it was opened"
        self.facts = facts

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever written here."""
        return self._recovered_log.last_index == 0

    def founders(self) -> Membership:
        """Return with whom this directory founds, or has founded, its group; if it did."""
        return decode_membership(self.facts.founders) if self.facts.founders else Membership()

    def pin(self, founders: Membership) -> None:
        """Note durably with whom this directory founds a group, and with nobody else for ever."""
        pin_founders(self.engine, encode_membership(founders))
        self.read_facts_again()

    def found(self, group: bytes, membership: Membership, hash_key: bytes) -> None:
        """Make the directory one of a group, durably. hash_key: unless it has keys already."""
        key = hash_key if self.is_empty else b""
        join_group(self.engine, group, encode_membership(membership), key)
        self.read_facts_again()

    def install(self, facts: ImageFacts) -> None:
        """Put the received image in the place of store and log. No call of either is under way."""
        self.engine.close()
        self._writer.close()
        install(
            self._disk,
            self._folders,
            facts,
            segment_bytes=self.segment_bytes,
            id_seed=int.from_bytes(os.urandom(8)),
        )
        self._open_store()
        self._open_log()
        at = facts.at
        self.log.restart(at.index, at.term, at.commit_ts, self._writer)

    def log_statistics(self) -> dict[str, int]:
        """Return the counters of the log's writer, see LogWriter.statistics."""
        return self._writer.statistics()

    def set_log_mode(self, mode: str) -> None:
        """Change appendfsync."""
        self._mode = mode
        self._writer.set_mode(mode)

    def incoming_folder(self) -> IncomingFolder:
        """Return where images are received."""
        return IncomingFolder(self._folders, lambda path: LevelDBEngine(path, INCOMING_OPTIONS))

    def remove_replaced(self) -> None:
        """Remove what the last image has replaced; blocks, maybe for long."""
        remove_old(self._folders)

    def close(self) -> None:
        """Write and sync what is queued, and release the directory."""
        self._writer.close()
        self.hard_state.close()
        self.engine.close()
