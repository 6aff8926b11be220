"""The leader's side of log replication: what each peer has, and what is sent to it next."""

from collections.abc import Callable

from kvnode.base.limits import APPEND_ENTRIES_MAX
from kvnode.raft.membership import Membership
from kvnode.raft.messages import Append, AppendReject, Snapshot, SnapshotOffer
from kvnode.raft.own_log import OwnLog
from kvnode.raft.progress import Progress, ProgressState
from kvnode.raft.ready import Outbox


class Replication:
    """Of one leadership. `match` has the own log too: it is one voter among others."""

    def __init__(
        self, node_id: int, term: int, own: OwnLog, outbox: Outbox, fit: Callable[[int, int], int]
    ) -> None:
        """fit: (first, last) -> the last index up to which entries fit into one message."""
        self._node_id = node_id
        self._term = term
        self._own = own
        self._outbox = outbox
        self._fit = fit
        self._committed = 0
        self.progress: dict[int, Progress] = {}
        self.match: dict[int, int] = {node_id: own.synced_index}
        self.follow(own.memberships.current)

    def follow(self, membership: Membership) -> None:
        """Talk to the members of `membership`, and to nobody else."""
        peers = membership.peers(self._node_id)
        for peer in self.progress.keys() - set(peers):
            del self.progress[peer]
            self.match.pop(peer, None)
        for peer in peers:
            if peer not in self.progress:
                self.progress[peer] = Progress(self._own.terms.last_index)

    def acknowledged(self, peer: int, match: int) -> bool:
        """Return whether that is news."""
        is_news = self.progress[peer].acknowledged(match)
        self.match[peer] = self.progress[peer].match
        return is_news

    def rejected(self, reject: AppendReject) -> None:
        """Skip what cannot match: our positions after the hint whose term is above the hint's.

        Who does not take the log from its beginning has joined, and begins with an image.
        """
        progress = self.progress[reject.source]
        if reject.previous_index == 0:
            if progress.state is ProgressState.PROBE and progress.match == 0:
                self._ask_for_image(reject.source, progress)
            return
        shared = self._own.terms.last_at_most(reject.hint_term, reject.hint_index)
        progress.rejected(reject.previous_index, shared + 1)

    def answered_heartbeat(self, peer: int, match: int) -> bool:
        """Check what is on its way: an empty message behind it finds out whether it arrived.

        A peer that restarted has to be told up to where its log is this one. What is said once of
        an image may be lost, by either side: it is said again. Return whether `match` is news.
        """
        progress = self.progress[peer]
        if progress.state is ProgressState.SNAPSHOT:
            if match >= progress.snapshot_index:
                return self.acknowledged(peer, match)
            if progress.repeats_offer():
                self._offer(peer, progress)
            return False
        is_stuck = progress.answered_heartbeat()
        if is_stuck or (match < progress.match and progress.state is ProgressState.REPLICATE):
            previous = progress.next - 1
            term = self._own.terms.term(previous)
            if term is None:
                progress.lost()
            else:
                self._send(peer, previous, term, term, previous)
        return False

    def flush(self, committed: int) -> None:
        """Send what peers lack, as far as flow control lets it."""
        self._committed = committed
        last = self._own.terms.last_index
        for peer, progress in self.progress.items():
            if progress.has_been_sent(last):
                continue  # as a rule: acknowledgements are more frequent than entries
            while progress.can_send and self._send_next(peer, progress):
                pass

    def tick(self, election_ticks: int) -> None:
        for progress in self.progress.values():
            progress.tick(self._own.terms.last_index, election_ticks)

    def caught_up(self) -> list[int]:
        return [peer for peer, progress in self.progress.items() if progress.is_caught_up]

    def needed_from(self) -> int | None:
        """Entries behind this index are needed by who gets an image, or has; None: nobody does.

        One that has it catches up first, however fast the log grows: without what it lacks it would
        need another one, and so on for ever.
        """
        needed = []
        for progress in self.progress.values():
            if progress.state is ProgressState.SNAPSHOT:
                needed.append(progress.snapshot_index)
            elif progress.is_recovering:  # where a link broke its image may go on
                needed.append(max(progress.match, progress.snapshot_index))
        return min(needed, default=None)

    def slowest_match(self) -> int | None:
        """Return how far the last one is of the peers that take entries as they come, if any."""
        matches = [
            progress.match
            for progress in self.progress.values()
            if progress.state is ProgressState.REPLICATE
        ]
        return min(matches, default=None)

    def note_snapshot(self, peer: int, snapshot: Snapshot) -> bool:
        """An image is on its way; False if the peer does not need one any more."""
        progress = self.progress.get(peer)
        if progress is None or progress.state is not ProgressState.SNAPSHOT:
            return False
        progress.snapshot_index = snapshot.index
        progress.offer = snapshot
        self._offer(peer, progress)
        return True

    def _ask_for_image(self, peer: int, progress: Progress) -> None:
        progress.needs_snapshot(max(self._own.terms.base_index, 1))
        self._outbox.snapshots.append(peer)

    def _offer(self, peer: int, progress: Progress) -> None:
        assert progress.offer is not None
        self._outbox.messages.append(SnapshotOffer(self._node_id, peer, self._term, progress.offer))

    def _send_next(self, peer: int, progress: Progress) -> bool:
        """Send one message, if there is anything to send; True: look again."""
        terms = self._own.terms
        first, previous = progress.next, progress.next - 1
        previous_term = terms.term(previous)
        if previous_term is None:
            self._ask_for_image(peer, progress)
            return False
        if first > terms.last_index:
            if progress.state is ProgressState.PROBE:
                self._send(peer, previous, previous_term, previous_term, previous)
                progress.sent(previous)
            return False
        last = min(terms.term_end(first), first + APPEND_ENTRIES_MAX - 1)
        last = self._fit(first, last)
        assert last >= first, "at least one entry fits"
        entry_term = terms.term(first)
        assert entry_term is not None
        self._send(peer, previous, previous_term, entry_term, last)
        progress.sent(last)
        return last < terms.last_index

    def _send(
        self, peer: int, previous: int, previous_term: int, entry_term: int, last: int
    ) -> None:
        self._outbox.bulk.append(
            Append(
                self._node_id,
                peer,
                self._term,
                previous,
                previous_term,
                entry_term,
                last,
                self._committed,
                self._own.memberships.between(previous + 1, last),
            )
        )
