"""A simulated Raft node: the core, a disk, and a driver that does what `ready` says."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from kvnode.raft.core import RaftCore
from kvnode.raft.messages import Append, Message, Snapshot
from kvnode.raft.reads import lease_ms
from kvnode.raft.ready import Install, Receive, Role, Store, Write
from tests.sim.raft.checks import Checks
from tests.sim.raft.disk import Disk, Entry

TICK_MS = 10
ELECTION_TICKS = 10


class Died(Exception):
    """The process ends in the middle of its work."""


@dataclass(frozen=True)
class Image:
    """A snapshot on its way."""

    source: int
    target: int
    snapshot: Snapshot
    digest: int


class Node:
    """One process. It is thrown away by a crash; the disk remains."""

    def __init__(
        self,
        node_id: int,
        disk: Disk,
        rng: random.Random,
        checks: Checks,
        disks: dict[int, Disk],
        *,
        now_ms: Callable[[], int],
        random_ticks: Callable[[int], int],
    ) -> None:
        self.node_id = node_id
        self.disk = disk
        self.rng = rng
        self.checks = checks
        self.disks = disks
        self.tells_at_sync = rng.random() < 0.5  # what it appends, and not at once
        self.dies_at = 0  # steps of the driver until it dies; 0: it does not
        self.sent: list[Message] = []
        self.images: list[Image] = []
        self.receiving: Snapshot | None = None
        self.arriving: Image | None = None
        self.high_water = disk.image.high_water  # of the image that this process began with
        self.asked: list[tuple[int, int]] = []  # (ticket, committed when it was issued)
        self.core = RaftCore(
            node_id,
            disk.memberships(),
            disk.hard_state,
            disk.terms(),
            committed=disk.image.index,
            random_ticks=random_ticks,
            identity=disk.identity,
            instance=rng.getrandbits(48),
            high_water=disk.image.high_water,
            election_ticks=ELECTION_TICKS,
            heartbeat_ticks=2,
            now_ms=now_ms,
            lease_ms=lease_ms(ELECTION_TICKS, TICK_MS),
            fit=lambda first, last: min(last, first + 7),
        )
        self._applied = disk.image.index
        self._told = disk.last_index
        self._term_led = 0

    # -- what happens to it ---------------------------------------------------------------------

    def tick(self) -> None:
        self.core.tick()
        self.run()

    def step(self, message: Message, identity: bytes) -> None:
        self._tell()
        self.core.step(message, identity)
        self.run()

    def synced(self, writes: int, term: int, index: int) -> None:
        """A sync that covered `writes` writes, the last of them (term, index), has ended."""
        self.disk.sync(writes)
        self._tell()
        self.core.note_synced(term, index)
        self.run()

    def propose(self, values: list[int]) -> None:
        core = self.core
        if not core.is_serving or core.ready().is_paused:
            return
        self._write([Entry(core.term, value) for value in values])
        if not self.tells_at_sync:
            self._tell()
        self.run()

    def read(self) -> None:
        self.asked.append((self.core.request_read(), self.checks.committed_index))
        self.run()

    def compact(self) -> None:
        """A checkpoint up to some committed and synced index."""
        self._tell()
        core = self.core
        last = min(
            core.committed, core.synced_index, self.disk.image.index + len(self.disk.durable)
        )
        if core.needed_from is not None:
            last = min(last, core.needed_from)
        if last > self.disk.image.index and all(f > last for f, _ in self.disk.unsynced):
            image, digest = self._image(self.rng.randint(self.disk.image.index + 1, last))
            self.disk.compact(image, digest)
            core.note_compacted(image.index)

    def image_arrived(self, image: Image) -> None:
        if self.receiving == image.snapshot:
            self._tell()
            self.arriving = image
            self.core.snapshot_received(image.snapshot)
            self.run()

    # -- the driver -----------------------------------------------------------------------------

    def run(self) -> None:
        """Do what Raft asks for, in the order in which it is safe."""
        core = self.core
        while core.has_ready():
            ready = core.ready()
            if not ready.stores:
                self._check()
            self._maybe_die()
            if ready.hard_state is not None:
                self.disk.hard_state = ready.hard_state
            for store in ready.stores:
                self._maybe_die()
                self._store(store)
            self._maybe_die()
            self.sent += ready.messages
            self.sent += [self._attach(message) for message in ready.bulk]
            if ready.fence_index:
                assert self.disk.last_index + 1 == ready.fence_index
                self._write([Entry(ready.term, self.rng.getrandbits(60))])
                self._tell()
            if ready.membership is not None:
                self._tell()
                self._write([Entry(ready.term, self.rng.getrandbits(60), ready.membership)])
                index = self._told = self.disk.last_index
                core.note_appended(ready.term, index, index, ready.membership)
            for peer in ready.snapshots:
                self._send_image(peer)
            for done in ready.reads:
                self._serve(done.ticket, done.index)
            core.advance(ready)
        self._check()
        self.checks.step(core)

    def _maybe_die(self) -> None:
        if self.dies_at:
            self.dies_at -= 1
            if not self.dies_at:
                raise Died

    def _check(self) -> None:
        core = self.core
        if core.role is Role.LEADER and self._term_led != core.term:
            self._term_led = core.term
            self.checks.leads(core)
        self.checks.commits(core, self.disk, self._applied, self.disks)
        self._applied = core.committed

    def _store(self, store: Store) -> None:
        match store:
            case Write(message, first):
                assert isinstance(message.payload, list)
                entries = message.payload[first - message.previous_index - 1 :]
                self.checks.written(self.disk, first, entries)
                self.disk.write(first, entries)
                self._told = self.disk.last_index
            case Receive(_, snapshot):
                self.receiving = snapshot
            case Install(snapshot):
                assert self.arriving is not None
                self.checks.installed(snapshot.index, self.arriving.digest)
                self.disk.install(snapshot, self.arriving.digest)
                self._told = self.disk.last_index
                self.high_water = snapshot.high_water
                self.receiving = None

    def _write(self, entries: list[Entry]) -> None:
        """The sequencer's part: entries of the own term."""
        first = self.disk.last_index + 1
        self.checks.written(self.disk, first, entries)
        self.disk.write(first, entries)

    def _tell(self) -> None:
        if self.disk.last_index > self._told:
            first, self._told = self._told + 1, self.disk.last_index
            self.core.note_appended(self.disk.entry(first).term, first, self._told)

    def _attach(self, message: Append) -> Append:
        span = range(message.previous_index + 1, message.last_index + 1)
        entries = [self.disk.entry(index) for index in span]
        assert all(entry.term == message.entry_term for entry in entries)
        return message.with_payload(entries)

    def _send_image(self, peer: int) -> None:
        last = min(self.core.committed, self.core.synced_index)
        if last < self.core.log.base_index:
            return
        snapshot, digest = self._image(last)
        if self.core.snapshot_started(peer, snapshot):
            self.images.append(Image(self.node_id, peer, snapshot, digest))

    def _image(self, index: int) -> tuple[Snapshot, int]:
        """The state at `index`, with parts of anything up to what is committed here."""
        term = self.core.log.term(index)
        assert term is not None
        high = max(index, self.core.committed, self.disk.image.high_water)
        snapshot = Snapshot(index, term, high, self.core.memberships.at(index))
        return snapshot, self.checks.digests[index]

    def _serve(self, ticket: int, index: int | None) -> None:
        served = [asked for asked in self.asked if asked[0] <= ticket]
        self.asked = [asked for asked in self.asked if asked[0] > ticket]
        for _, committed in served if index is not None else ():
            self.checks.read(self.node_id, committed, index, self.high_water)
