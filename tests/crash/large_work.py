"""Transactions of one writer that make large collections: written in steps, published by one head.

An EXEC past the step budget is an optimistic transaction; what it makes of more elements than one
step may write is published. A crash finds some of them half written: nothing of them may show.
"""

from random import Random

from tests.crash.collection_work import CollectionWork, effects
from tests.crash.ledger import Operation
from tests.crash.values import LIST, SET, ZSET, Collection
from tests.support.resp import encode

WRITERS = (b"w0", b"w1")  # who does this
MEMBERS = 1200  # more than one step of a publication writes
ITEMS = 8300  # so many that LINSERT in the middle writes the list anew
TIMES = 50_100 // MEMBERS + 1  # so often is the set named: more than the step budget looks at
MAX = 3  # of a writer in a round
# What is made from the set: one after the other, twice the same, in order, with scores.
MADE = (b"united", b"copy", b"sorted", b"scored", b"longer")


def name_of(writer: bytes, what: bytes) -> bytes:
    """Return the key of a large collection of a writer."""
    return b"%s:large:%s" % (writer, what)


class LargeWork:
    """Makes operations. collections: of the same writer; it has the state of all its keys.

    is_due: the next operation should be one.
    """

    def __init__(self, random: Random, collections: CollectionWork) -> None:
        self._random = random
        self.is_due = False
        self._collections = collections
        self._writer = collections.name
        self._left = MAX if self._writer in WRITERS and collections.has_transactions else 0

    def next(self) -> Operation:
        """Return the next one, or something small when there were enough in this round."""
        if not self._left:
            self.is_due = False
            return self._collections.next()
        self._left -= 1
        source, items = self._key(b"set"), self._key(b"list")
        state = self._collections.state
        if source not in state:
            members = [b"m%d" % i for i in range(MEMBERS)]
            numbers = [b"%d" % i for i in range(ITEMS)]
            changes = {
                source: Collection(SET, frozenset(members)),
                items: Collection(LIST, tuple(numbers)),
            }
            commands = [("SADD", source, *members), ("RPUSH", items, *numbers)]
            return self._operation(commands, [MEMBERS, ITEMS], changes)
        self.is_due = False
        return self._publish(source, items)

    def _publish(self, source: bytes, items: bytes) -> Operation:
        state = self._collections.state
        united, copy, ordered, scored, longer = map(self._key, MADE)
        stamp = b"%d" % self._collections.ledger.next_sequence
        member = self._random.choice(sorted(state[source].content))
        members = (state[source].content - {member}) | {stamp}
        numbers = state[items].content
        middle = len(numbers) // 2
        commands = [
            ("SREM", source, member),
            ("SADD", source, stamp),
            ("SUNIONSTORE", united, *[source] * TIMES),
            ("COPY", united, copy, "REPLACE"),
            ("SORT", source, "ALPHA", "STORE", ordered),
            ("ZUNIONSTORE", scored, 2, source, source, "AGGREGATE", "MAX"),
            ("COPY", items, longer, "REPLACE"),
            ("LINSERT", longer, "BEFORE", numbers[middle], stamp),
        ]
        count = len(members)
        replies = [1, 1, count, 1, count, count, 1, len(numbers) + 1]
        changes = {
            source: Collection(SET, members),
            united: Collection(SET, members),
            copy: Collection(SET, members),
            ordered: Collection(LIST, tuple(sorted(members))),
            scored: Collection(ZSET, dict.fromkeys(members, 1.0)),
            longer: Collection(LIST, (*numbers[:middle], stamp, *numbers[middle:])),
        }
        return self._operation(commands, replies, changes)

    def _operation(
        self, commands: list[tuple], replies: list[int], changes: dict[bytes, Collection]
    ) -> Operation:
        self._collections.state |= changes
        request = b"".join(encode(*words) for words in [("MULTI",), *commands, ("EXEC",)])
        operation = Operation("EXEC", request, 2 + len(commands), effects(list(changes.items())))
        operation.expected = replies
        return operation

    def _key(self, what: bytes) -> bytes:
        return name_of(self._writer, what)
