"""Entries on their way to other nodes: from memory, or read from the log's files first."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from kvnode._core.replicated_log import ReplicatedLog, encode_block
from kvnode.base.limits import APPEND_BYTES_MAX
from kvnode.raft.core import RaftCore
from kvnode.raft.messages import Append

LogEntry = tuple[int, int, int, bytes]  # term, index, commit_ts, payload


class EntryHost(Protocol):
    """What sending needs of who runs the replica."""

    def send_entries(self, append: Append, block: bytes) -> None:
        """Send entries, which do not overtake each other; note_lost() tells of a loss."""

    def read_entries(
        self,
        first: int,
        last: int,
        term: int,
        bytes_max: int,
        done: Callable[[Sequence[LogEntry]], None],
    ) -> None:
        """Read entries of `term` from the log's files, and call done() on this thread; with none
        if they are gone, else with one at least."""


class EntrySender:
    """Gives Appends their bytes, in order for each peer."""

    def __init__(self, log: ReplicatedLog, host: EntryHost, raft: RaftCore) -> None:
        self._log = log
        self._host = host
        self._raft = raft
        self._waiting: dict[int, deque[Append]] = {}  # by peer; the first is being read

    def send(self, append: Append) -> None:
        """Send it; behind those to the same peer whose entries are being read."""
        waiting = self._waiting.get(append.target)
        if waiting is not None:
            waiting.append(append)
            return
        first, last = append.previous_index + 1, append.last_index
        block = self._log.block(first, last) if first <= last else b""
        if block is not None:
            self._host.send_entries(append, block)
        elif first > self._raft.synced_index:
            # Too large for memory, and not in the files yet: tried again when the peer answers.
            self._raft.note_lost(append.target)
        else:
            self._waiting[append.target] = deque([append])
            self._read(append)

    def forget(self, peer: int) -> None:
        """What waits for a peer is lost."""
        self._waiting.pop(peer, None)

    def clear(self) -> None:
        """Another node leads, or nobody does."""
        self._waiting.clear()

    def _read(self, append: Append) -> None:
        """Read and send as much as is at once there; the rest follows as messages of its own."""
        first, last = append.previous_index + 1, append.last_index

        def done(entries: Sequence[LogEntry]) -> None:
            waiting = self._waiting.get(append.target)
            if waiting is None or waiting[0] is not append:
                return  # it was lost, or another leads
            del self._waiting[append.target]
            if not entries:
                self._raft.note_lost(append.target)
                return
            piece, rest = _split(append, first + len(entries) - 1)
            self._host.send_entries(piece, encode_block(entries))
            waiting.popleft()
            if rest is not None:
                waiting.appendleft(rest)
            for following in waiting:
                self.send(following)

        last = min(last, self._raft.synced_index)
        self._host.read_entries(first, last, append.entry_term, APPEND_BYTES_MAX, done)


def _split(append: Append, last: int) -> tuple[Append, Append | None]:
    """Return the message up to `last`, and one with what follows, if there is something."""
    if last == append.last_index:
        return append, None
    memberships = append.memberships
    piece = replace(
        append,
        last_index=last,
        memberships=tuple(entry for entry in memberships if entry[0] <= last),
    )
    rest = replace(
        append,
        previous_index=last,
        previous_term=append.entry_term,
        memberships=tuple(entry for entry in memberships if entry[0] > last),
    )
    return piece, rest
