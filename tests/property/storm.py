"""What the storms on lists, hashes, sets and sorted sets share: a node and a model that get the
same commands, one by one and as transactions, and a store with planted bugs.
"""

import random
from collections.abc import Callable, Iterable

from kvnode.base.errors import CorruptionError, InvariantError
from kvnode.storage.engine import Row
from kvnode.storage.memory import MemoryEngine
from tests.support.local import LocalClient, LocalNode
from tests.support.model import Model
from tests.support.resp import Reply, encode

Words = tuple[bytes | str | int, ...]
Bug = Callable[[bytes, bytes | None], bool]  # whether a row is lost on its way to the store
LOST_SHARE = 5  # one of so many rows that a bug is about


def encode_word(word: bytes | str | int) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


class Storm:
    """A node and a model. Subclasses draw words, and say what of a reply is compared."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.node = LocalNode()
        if seed % 2:  # what is left of a removal is written anew, where that is less
            self.node.view.remove_each_max = 0
        self.client: LocalClient = self.node.client()
        self.model = Model(lambda: self.node.clock.now_ms)
        self.model_client = self.model.connect()

    def words(self) -> Words:
        """Draw a command."""
        raise NotImplementedError

    def settled(self, reply: Reply, words: Words) -> object:
        """Return what of a reply is compared."""
        raise NotImplementedError

    def told(self, words: Words) -> Reply:
        """Return the model's reply."""
        return self.model.call(self.model_client, *map(encode_word, words))

    def ask(self, words: Words) -> None:
        """Give a command to both."""
        expected, reply = self.told(words), self.client.ask(*words)
        assert self.settled(reply, words) == self.settled(expected, words), words

    def command(self) -> None:
        self.ask(self.words())

    def ask_together(self, commands: list[Words]) -> None:
        """Give both a transaction."""
        expected = [self.told(words) for words in commands]
        self.client.send(b"".join(encode(*w) for w in [("MULTI",), *commands, ("EXEC",)]))
        replies = [self.client.receive() for _ in range(len(commands) + 2)][-1]
        for words, reply, model in zip(commands, replies, expected, strict=True):
            assert self.settled(reply, words) == self.settled(model, words), (words, commands)

    def transaction(self) -> None:
        """Run a few commands as one. Where it parks, it parks half-way, and all is undone."""
        commands = [self.words() for _ in range(self.rng.randint(2, 5))]
        if self.rng.random() < 0.7:
            self.node.cool()
        self.ask_together(commands)

    def disturb_storage(self, kind: int) -> bool:
        """Let records be flushed, evicted or made cold; False: `kind` is none of these."""
        if kind == 0:
            self.node.checkpoint(records=self.rng.choice([3, 50, 1000]))
        elif kind == 1:
            self.node.evict()
        elif kind == 2:
            self.node.cool()
        return kind < 3


class LosingEngine(MemoryEngine):
    """A store with a planted bug: it loses some of the rows that the bug is about."""

    def __init__(self, bug: Bug) -> None:
        super().__init__()
        self._bug = bug
        self._met = 0

    def write(self, rows: Iterable[Row], *, sync: bool = False) -> None:
        super().write([row for row in rows if not self._is_lost(*row)], sync=sync)

    def _is_lost(self, key: bytes, value: bytes | None) -> bool:
        if not self._bug(key, value):
            return False
        self._met += 1
        return self._met % LOST_SHARE == 0


def lost(kinds: bytes) -> Bug:
    """Rows of these kinds are lost."""
    return _named(lambda key, value: key[:1] in kinds and value is not None, "lost", kinds)


def kept(kinds: bytes) -> Bug:
    """Rows of these kinds stay that should be deleted."""
    return _named(lambda key, value: key[:1] in kinds and value is None, "kept", kinds)


def _named(bug: Bug, what: str, kinds: bytes) -> Bug:
    bug.__name__ = f"{what} {kinds.decode()}"
    return bug


def is_found(bug: Bug, storm: type[Storm], run: Callable[[Storm], None], seeds: int) -> bool:
    """Return whether one of the storms fails on a store with a bug."""
    for seed in range(seeds):
        broken = storm(seed)
        broken.node.engine = LosingEngine(bug)
        try:
            run(broken)
        except (AssertionError, CorruptionError, InvariantError):
            return True
    return False
