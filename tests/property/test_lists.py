"""Random commands on lists, dense and with holes, while records are flushed, evicted and made cold,
snapshots are pinned, and transactions park half-way or are undone: every reply is the model's.
"""

import pytest

from tests.property.storm import Bug, Words, is_found, kept, lost
from tests.property.storm import Storm as ModelStorm
from tests.support.resp import ErrorReply, NullArray, Reply

SEEDS = 30
STEPS = 150
KEYS = (b"l", b"m", b"big")
ENDS = ("LEFT", "RIGHT")


class Storm(ModelStorm):
    """Lists."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.pins: list[int] = []
        if seed % 2:  # LINSERT and LREM write lists anew that they otherwise change
            self.node.view.list_shift_max, self.node.view.list_runs_max = 2, 1
        if seed % 3 == 1:  # items that are not in memory are read by spans of positions
            self.node.view.list_fetch_max = 2

    def settled(self, reply: Reply, words: Words) -> object:
        return plain(reply)

    # -- words ----------------------------------------------------------------------------------

    def key(self) -> bytes:
        return self.rng.choice(KEYS)

    def value(self) -> bytes:
        """Return an element: few different ones, so that LREM and LINSERT find some."""
        return b"e%d" % self.rng.randrange(9)

    def values(self, most: int) -> list[bytes]:
        return [self.value() for _ in range(self.rng.randint(1, most))]

    def index(self) -> int:
        return self.rng.randrange(-30, 30)

    def end(self) -> str:
        return self.rng.choice(ENDS)

    def write(self) -> Words:
        rng, key = self.rng, self.key()
        most = 60 if key == b"big" else 8
        draw: list[Words] = [
            (rng.choice(["LPUSH", "RPUSH", "LPUSHX", "RPUSHX"]), key, *self.values(most)),
            ("RPUSH", key, *self.values(most)),
            (rng.choice(["LPOP", "RPOP"]), key),
            (rng.choice(["LPOP", "RPOP"]), key, rng.choice([0, 1, 3, 20])),
            ("LREM", key, rng.choice([0, 1, -1, 2, -2, 5, -40]), self.value()),
            ("LREM", key, rng.choice([1, -1, 2, -2]), self.value()),
            ("LINSERT", key, rng.choice(["BEFORE", "AFTER"]), self.value(), b"i"),
            ("LINSERT", key, rng.choice(["BEFORE", "AFTER"]), self.value(), self.value()),
            ("LSET", key, self.index(), self.value()),
            ("LTRIM", key, rng.randrange(-40, 6), rng.choice([-1, -2, 20, 60])),
            ("LMOVE", key, self.key(), self.end(), self.end()),
            ("RPOPLPUSH", key, self.key()),
            ("LMPOP", 2, key, self.key(), self.end(), "COUNT", rng.choice([1, 4])),
            ("COPY", key, b"m", "REPLACE") if key != b"m" else ("EXISTS", key),
            ("RENAME", key, self.key()) if rng.random() < 0.2 else ("TYPE", key),
            ("DEL", key) if rng.random() < 0.2 else ("TYPE", key),
            ("PEXPIRE", key, rng.choice([5, 5005])) if rng.random() < 0.2 else ("PTTL", key),
        ]
        return rng.choice(draw)

    def read(self) -> Words:
        rng, key = self.rng, self.key()
        draw: list[Words] = [
            ("LRANGE", key, 0, -1),
            ("LRANGE", key, self.index(), self.index()),
            ("LINDEX", key, self.index()),
            ("LLEN", key),
            ("LPOS", key, self.value(), "RANK", rng.choice([1, 2, -1, -3])),
            ("LPOS", key, self.value(), "COUNT", rng.choice([0, 2]), "MAXLEN", rng.choice([0, 9])),
        ]
        return rng.choice(draw)

    def words(self) -> Words:
        return self.rng.choices([self.write, self.read], [5, 2])[0]()

    # -- steps ----------------------------------------------------------------------------------

    def step(self) -> None:
        steps = [self.command, self.transaction, self.undone, self.disturb]
        self.rng.choices(steps, [10, 3, 1, 3])[0]()

    def undone(self) -> None:
        """Run a transaction that parks at its end, behind all its writes, on warm lists."""
        self.ask(("SET", b"far", b"v"))
        self.node.cool()
        for key in KEYS:
            self.client.ask("LRANGE", key, 0, -1)
        self.ask_together([*(self.write() for _ in range(3)), ("GET", b"far")])

    def disturb(self) -> None:
        """Let something happen that no client asked for."""
        rng, node = self.rng, self.node
        kind = rng.randrange(6)
        if self.disturb_storage(kind):
            return
        if kind == 3:
            self.pins.append(node.tip.pin())
        elif kind == 4 and self.pins:
            node.tip.unpin(self.pins.pop(rng.randrange(len(self.pins))))
        else:
            node.clock.advance(rng.choice([10, 30]))  # never just to a deadline


def plain(reply: Reply) -> object:
    """Return a reply in a form that compares: errors as text, null arrays as None."""
    if isinstance(reply, NullArray):
        return None
    if isinstance(reply, ErrorReply):
        return str(reply)
    if isinstance(reply, list):
        return [plain(item) for item in reply]
    return reply


def run(storm: Storm) -> None:
    for _ in range(STEPS):
        storm.step()
    for key in KEYS:
        storm.ask(("LRANGE", key, 0, -1))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_replies_are_the_models(seed: int) -> None:
    run(Storm(seed))


@pytest.mark.parametrize("bug", [lost(b"I"), lost(b"K"), kept(b"K"), lost(b"H")])
def test_a_planted_bug_is_found(bug: Bug) -> None:
    assert is_found(bug, Storm, run, SEEDS)
