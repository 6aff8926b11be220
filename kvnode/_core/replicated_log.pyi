"""The log of a group: what is kept for peers and for applying, and what blocks of entries hold.

A block is what an Append carries: of each entry commit_ts u64, length u32, payload; big-endian.
"""

from collections.abc import Iterable

from kvnode._core.logwriter import LogSink

def check_block(block: bytes, first: int, last: int) -> list[tuple[int, bytes]]:
    """Check that `block` is exactly the entries first..last, with times that grow.

    Return the index of each membership among them, and its bytes without the first. To be asked
    before Raft hears of the message: what Raft has accepted must be stored.
    Raises RemoteProtocolError.
    """

def encode_block(entries: Iterable[tuple[int, int, int, bytes]]) -> bytes:
    """Return (term, index, commit_ts, payload), as take() and LogReading give them, as a block."""

class ReplicatedLog(LogSink):
    """A LogSink that hands everything on, and keeps the newest entries in memory.

    Nothing is copied to Python but what is asked for. All methods are called on the sequencer's
    thread. Raises InvariantError for an entry that would leave a gap, or whose term goes back
    behind the last one.
    """

    inner: LogSink  # cut, set_mode, statistics ... are its own
    last_index: int  # newest entry handed to the log, written or not
    last_term: int
    last_ts: int  # highest commit_ts ever seen, also of entries that were replaced

    def __init__(
        self,
        inner: LogSink,
        last_index: int = 0,
        last_term: int = 0,
        last_ts: int = 0,
        *,
        ring_bytes: int = ...,
    ) -> None:
        """last_*: of the newest entry known. It begins with is_alone, and an empty ring.

        ring_bytes: bound of the memory for entries, 1 KiB up to 4 GiB.
        """

    @property
    def is_alone(self) -> bool:
        """Whether this is a group of one: nothing is kept, and entries may be written inline.

        When it changes, the ring is empty.
        """
    @is_alone.setter
    def is_alone(self, value: bool) -> None: ...
    @property
    def first_kept(self) -> int:
        """Index of the oldest entry in the ring; last_index + 1 when there is none."""
    @property
    def ring_bytes(self) -> int:
        """Bytes that the ring takes."""

    def store(self, first: int, term: int, block: bytes, *, begin: int = 0) -> None:
        """Append a leader's entries, all of `term`, in place of what stands at `first` and behind.

        begin: index of the block's first entry when it is not `first`: those before are left out.
        Raises RemoteProtocolError when the block is malformed; then nothing was written.
        """

    def remember(self, term: int, index: int, commit_ts: int, payload: bytes) -> None:
        """Take in the next entry of the log, which is written already: `inner` does not get it.

        So a log is made with last_* of the checkpoint, and learns what recovery reads behind it.
        """

    def block(self, first: int, last: int) -> bytes | None:
        """Return entries first..last as a block; None: not all of them are in the ring."""

    def fit(self, first: int, last: int, bytes_max: int = ...) -> int:
        """Return the last of first..last up to which entries fit into one message.

        `first` at least. Sizes are known of the ring's entries and of a million before them; an
        entry of unknown size ends the message before it, or is alone in it.
        """

    def take(self, first: int, last: int, bytes_max: int) -> list[tuple[int, int, int, bytes]]:
        """Return (term, index, commit_ts, payload) from `first` on, `last` at most, for applying.

        Ends before an entry with which it would be more than bytes_max; one at least. Empty:
        `first` is not in the ring.
        """

    def restart(self, index: int, term: int, commit_ts: int, inner: LogSink | None = None) -> None:
        """Go on behind an installed image: nothing is kept, the next entry is index + 1.

        inner: where entries go from now on, if not where they went.
        """
