"""Clients that take from the queue of all writers, waiting for elements when there are none."""

import threading
from random import Random

from tests.crash.collection_work import QUEUE
from tests.crash.queue_ledger import QueueLedger
from tests.support.resp import Connection, ErrorReply, encode

TAKEN = "shared:taken:"  # list of a consumer that moves, before its name
WAIT_SECONDS = "0.02"
POP_COUNT = 3
PIPELINED = 4  # elements whose removal is sent together


class Consumer(threading.Thread):
    """One connection that takes elements; it ends when the connection breaks.

    Replies that no server may give are `unexpected`.
    """

    def __init__(self, name: str, seed: int, ledger: QueueLedger) -> None:
        super().__init__(name=name, daemon=True)
        self.random = Random(seed)
        self.ledger = ledger
        self.unexpected: list[str] = []
        self.uncertain: list[str] = []
        self.connection: Connection | None = None

    def run(self) -> None:
        """Take until the server is gone."""
        try:
            while not self.unexpected and not self.uncertain:
                self._take(self.connection)
        except ErrorReply as error:
            kind = self.uncertain if error.code == "UNCERTAIN" else self.unexpected
            kind.append(f"{self.name} was answered -{error}")
        except OSError:
            pass

    def _take(self, connection: Connection) -> None:
        raise NotImplementedError


class Popper(Consumer):
    """Takes elements by pops: what a reply loses is lost."""

    def _take(self, connection: Connection) -> None:
        command, count = self.random.choice(
            [
                (("BLPOP", QUEUE, WAIT_SECONDS), 1),
                (("BLMPOP", WAIT_SECONDS, 1, QUEUE, "LEFT", "COUNT", POP_COUNT), POP_COUNT),
                (("LPOP", QUEUE, POP_COUNT), POP_COUNT),
            ]
        )
        self.ledger.send_pop(count)
        reply = connection.call(*command)
        if not reply:
            elements = []
        elif command[0] == "LPOP":
            elements = reply
        else:
            elements = reply[1] if isinstance(reply[1], list) else [reply[1]]
        self.ledger.acknowledge_pop(count, elements)


class Mover(Consumer):
    """Takes elements by BLMOVE to a list of its own, and removes them there: none is lost."""

    def __init__(self, name: str, seed: int, ledger: QueueLedger) -> None:
        super().__init__(name, seed, ledger)
        self.list = TAKEN + name
        self.is_new = True

    def _take(self, connection: Connection) -> None:
        if self.is_new:  # what an earlier round left
            self.is_new = False
            self._remove(connection, connection.call("LRANGE", self.list, 0, -1))
        taken = []
        for _ in range(self.random.randint(1, PIPELINED)):
            element = connection.call("BLMOVE", QUEUE, self.list, "LEFT", "RIGHT", WAIT_SECONDS)
            if element:
                self.ledger.acknowledge_move(element)
                taken.append(element)
        self._remove(connection, taken)

    def _remove(self, connection: Connection, elements: list[bytes]) -> None:
        for element in elements:
            self.ledger.send_removal(element)
        connection.send(b"".join(encode("LREM", self.list, 1, e) for e in elements))
        for element in elements:
            reply = connection.receive()
            if isinstance(reply, ErrorReply):
                raise reply
            if reply != 1:
                self.unexpected.append(f"{self.name}: LREM of {element!r} was answered {reply}")
            self.ledger.acknowledge_removal(element)
