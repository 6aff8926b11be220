"""What a replica asks of who runs it: the node, or a simulation."""

from typing import Protocol

from kvnode.raft.messages import Message, Snapshot
from kvnode.raft.ready import Role
from kvnode.txn.sending import EntryHost


class Host(EntryHost, Protocol):
    """Who runs a replica."""

    def now_ms(self) -> int:
        """Return the node's time."""

    def raise_floor(self, ms: int) -> None:
        """From now on the node's time is never below `ms`."""

    def store_hard_state(self, term: int, vote: int) -> None:
        """Make (term, vote) durable before it returns."""

    def send(self, message: Message) -> None:
        """Send a small message; it may be lost."""

    def begin_image(self, peer: int) -> None:
        """Make an image for a peer; call image_begun() when it is known what it is."""

    def expect_image(self, source: int, snapshot: Snapshot) -> None:
        """An image comes; call image_received() when it is here."""

    def rebuild(self, image: Snapshot | None) -> None:
        """Once no call of the state is under way, put the image in place of store and log, and
        build a state at the checkpoint; call adopt(). May be asked again before it is done."""

    def role_changed(self, role: Role, term: int, leader: int) -> None:
        """Somebody else leads, or nobody does."""

    def execution_begins(self) -> None:
        """The sequencer serves from here on. Between passes."""

    def execution_goes_on(self) -> None:
        """Nobody took over: the sequencer serves again, and what waited for that may run."""

    def execution_ends(self) -> None:
        """Leadership is lost: programs beside the sequencer end, nothing of them is done."""

    def execution_ended(self) -> None:
        """The sequencer has stepped down, before anything else happens."""
