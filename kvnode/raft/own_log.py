"""The node's own log as Raft knows it: terms, memberships, what is durable or committed.

Invariants
  1. Entries up to `synced_index` are durable and stay so, unless they are replaced.
  2. Entries up to `verified_index` are those of the leader of the current term, durable or not.
  3. Entries up to `committed` are never replaced, and it never goes back.
"""

from kvnode.raft.log_terms import LogTerms
from kvnode.raft.membership import Membership, MembershipLog
from kvnode.raft.messages import Append, Snapshot


class OwnLog:
    """Changed by appending, by the leader's messages, by installing a snapshot."""

    def __init__(self, terms: LogTerms, memberships: MembershipLog, committed: int) -> None:
        """Everything in it is durable."""
        assert terms.base_index <= committed <= terms.last_index
        assert memberships.index <= terms.last_index
        self.terms = terms
        self.memberships = memberships
        self.synced_index = terms.last_index
        self.committed = committed
        self.verified_index = committed
        # A sync report names (term, index). An entry may be cut off, and come back by a still newer
        # leader that has it: 5:9, cut by 7:9, cut by 5:9 again. A late report of the first write
        # would then vouch for the last one, while a crash may leave 7:9 on the disk. So reports
        # of terms that were ever cut say nothing. A report of a later entry covers what is before
        # it, and there will be one: each leader adds an entry of its own term, which is newer than
        # all that it cuts (etcd-raft: rawnode.go, newStorageAppendRespMsg). If the leader cannot
        # send that one, since it has cut its log in between, an image takes its place.
        self._cut_term = 0

    def append(
        self,
        term: int,
        first: int,
        last: int,
        memberships: tuple[tuple[int, Membership], ...] = (),
    ) -> None:
        """Entries first..last of `term` follow, and replace what stood there. Not durable yet."""
        assert first > self.committed, "a committed entry is never replaced"
        if first <= self.terms.last_index:
            self._cut_term = max(self._cut_term, self.terms.last_term)
            self.memberships.truncate(first)
        self.terms.append(term, first, last)
        self.synced_index = min(self.synced_index, first - 1)
        for index, membership in memberships:
            if index >= first:
                self.memberships.append(index, membership)

    def accept(self, message: Append) -> int | None:
        """Take what the leader sent; return the first index that is new, past the end if none is.

        None: `previous` is not in this log. What is already there is never written again.
        """
        first = max(message.previous_index, self.committed) + 1
        if message.previous_index >= self.committed:
            if self.terms.term(message.previous_index) != message.previous_term:
                return None
        elif message.last_index <= self.committed:
            return message.last_index + 1  # committed entries are those of any leader
        if first <= self.terms.last_index and self.terms.term(first) == message.entry_term:
            first = min(self.terms.term_end(first), message.last_index) + 1
        if first <= message.last_index:
            self.append(message.entry_term, first, message.last_index, message.memberships)
        self.verified_index = max(self.verified_index, message.last_index)
        return first

    @property
    def needs_image(self) -> bool:
        """Whether this directory has nothing of its group yet, and did not found it.

        The log does not say all of a group (what its hash key is), not even from its beginning.
        """
        return self.terms.last_index == 0 and not self.memberships.current.members

    def note_synced(self, term: int, index: int) -> bool:
        """The log reports that (term, index) and all before it is durable; False: no news."""
        if self.terms.term(index) != term or index <= self.synced_index or term <= self._cut_term:
            return False
        self.synced_index = index
        return True

    def will_show_durable(self, index: int) -> bool:
        """Whether an entry is durable, or will be reported in a way that says so by itself."""
        term = self.terms.term(index)
        return index <= self.synced_index or (term is not None and term > self._cut_term)

    def commit(self, index: int) -> None:
        self.committed = max(self.committed, index)

    def new_term(self) -> None:
        """Only what is committed is known to be the next leader's, too (thesis 3.6.3)."""
        self.verified_index = self.committed

    @property
    def match(self) -> int:
        """Up to where this log is the leader's, durably."""
        return min(self.verified_index, self.synced_index)

    def install(self, snapshot: Snapshot) -> None:
        """Nothing remains but the base."""
        if self.terms.last_index > snapshot.index:  # what is before cannot come back
            self._cut_term = max(self._cut_term, self.terms.last_term)
        self.terms.reset(snapshot.index, snapshot.term)
        self.memberships.reset(snapshot.membership)
        self.synced_index = snapshot.index
        self.verified_index = snapshot.index
        self.commit(snapshot.index)

    def compact(self, index: int) -> None:
        """Entries up to `index` may be gone."""
        assert index <= min(self.synced_index, self.committed)
        self.terms.cut(index)
        self.memberships.cut(index)
