"""Books of one queue of all writers: nothing is lost, nothing comes twice, the order holds.

Writers push new elements at the tail; consumers take at the head. One kind of consumer pops: an
element of which it heard is gone for good. The other moves the element to a list of its own and
removes it there when it is done with it, so that no crash can lose it. Pure bookkeeping.
"""

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class Push:
    """Elements that one operation of a writer pushed."""

    elements: list[bytes]
    is_acknowledged: bool = False


class QueueLedger:
    """What is known of the queue since the last verification. Thread-safe.

    An element is text that begins with its number, which grows with each push of its writer, and
    the writer's name: b"17:w2:...".
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.rebase((), {}, {})

    def rebase(
        self, queue: tuple[bytes, ...], taken: dict[str, tuple], tally: dict[str, int]
    ) -> None:
        """Start a new round from what was observed. tally: elements pushed by each writer."""
        self._base = [*queue, *(element for part in taken.values() for element in part)]
        self._tally = dict(tally)
        self._pushes: dict[str, list[Push]] = {}
        self._popped: list[bytes] = []
        self._moved: set[bytes] = set()  # heard of by a consumer that moves
        self._removals: set[bytes] = set()  # sent
        self._removed: set[bytes] = set()  # acknowledged
        self._open_pops = 0  # elements that pops without a reply may have taken
        self._wrong: list[str] = []

    @property
    def taken(self) -> int:
        """How many elements consumers have heard of."""
        with self._lock:
            return len(self._popped) + len(self._moved)

    def send_push(self, writer: str, elements: list[bytes]) -> None:
        """A push is about to be sent."""
        with self._lock:
            self._pushes.setdefault(writer, []).append(Push(elements))

    def acknowledge_push(self, writer: str) -> None:
        """The oldest push of this writer that was not answered is answered."""
        with self._lock:
            next(p for p in self._pushes[writer] if not p.is_acknowledged).is_acknowledged = True

    def send_pop(self, count: int) -> None:
        """A pop of up to `count` elements is about to be sent."""
        with self._lock:
            self._open_pops += count

    def acknowledge_pop(self, count: int, elements: list[bytes]) -> None:
        """It was answered, with these elements: they are gone from now on."""
        with self._lock:
            self._open_pops -= count
            self._popped += elements
            self._check_order(elements, "one reply")

    def acknowledge_move(self, element: bytes) -> None:
        """A consumer was answered that this element is in its list now."""
        with self._lock:
            self._moved.add(element)

    def send_removal(self, element: bytes) -> None:
        """A consumer is about to remove an element from its list."""
        with self._lock:
            self._removals.add(element)

    def acknowledge_removal(self, element: bytes) -> None:
        """It was answered."""
        with self._lock:
            self._removed.add(element)

    def forgive(self) -> None:
        """Acknowledged writes may be lost after all, as with `appendfsync everysec`."""
        self._open_pops += len(self._popped)
        self._popped, self._moved, self._removed = [], set(), set()
        for pushes in self._pushes.values():
            for push in pushes:
                push.is_acknowledged = False

    def verify(
        self, queue: tuple[bytes, ...], taken: dict[str, tuple], tally: dict[str, int] | None
    ) -> list[str]:
        """Return what is wrong, in sentences. tally: None where pushes were no transactions."""
        if tally is not None:
            self._settle_pushes(tally)
        present = [*queue, *(element for part in taken.values() for element in part)]
        pushes = [push for part in self._pushes.values() for push in part]
        sent = {*self._base, *(e for push in pushes for e in push.elements)}
        certain = {*self._base, *(e for p in pushes if p.is_acknowledged for e in p.elements)}
        gone = {*self._popped, *self._removed}
        wrong = self._wrong
        wrong += _complain("is there or was popped twice", _twice([*present, *self._popped]))
        wrong += _complain("was removed and is back", self._removed.intersection(present))
        wrong += _complain("was pushed by nobody", {*present, *gone} - sent)
        wrong += _complain("was moved and is in the queue again", self._moved.intersection(queue))
        lost = certain - gone - self._removals - set(present)
        wrong += _complain("was moved and is lost", lost & self._moved)
        if len(lost) > self._open_pops:
            text = f"is lost, with {self._open_pops} pops that were not answered"
            wrong += _complain(text, lost)
        self._check_order(queue, "the queue")
        for writer, (number, element) in _highest([*self._popped, *self._moved]).items():
            left = [e for e in queue if _parse(e)[0] == writer and _parse(e)[1] < number]
            if left:
                wrong.append(f"queue: {left[0]!r} is there, {element!r} behind it was taken")
        return wrong

    def _settle_pushes(self, tally: dict[str, int]) -> None:
        """The tally is written with the push: it says exactly which were done."""
        for writer, pushes in self._pushes.items():
            done = tally.get(writer, 0) - self._tally.get(writer, 0)
            for push in pushes:
                done -= len(push.elements)
                if done < 0 and push.is_acknowledged:
                    self._wrong.append(f"queue: the tally of {writer} lacks {push.elements[0]!r}")
                push.is_acknowledged = done >= 0
                if done < 0:
                    push.elements = []  # now nobody may have seen them

    def _check_order(self, elements: Iterable[bytes], where: str) -> None:
        last: dict[str, int] = {}
        for element in elements:
            writer, number = _parse(element)
            if number < last.get(writer, -1):
                self._wrong.append(f"queue: {element!r} is out of order in {where}")
            last[writer] = number


def _parse(element: bytes) -> tuple[str, int]:
    number, writer, step, _ = element.split(b":", 3)
    return writer.decode(), int(number) * 1000 + int(step)


def _highest(elements: Iterable[bytes]) -> dict[str, tuple[int, bytes]]:
    highest: dict[str, tuple[int, bytes]] = {}
    for element in elements:
        writer, number = _parse(element)
        highest[writer] = max(highest.get(writer, (-1, b"")), (number, element))
    return highest


def _twice(elements: list[bytes]) -> list[bytes]:
    return [element for element, count in Counter(elements).items() if count > 1]


def _complain(text: str, elements: Iterable[bytes]) -> list[str]:
    found = sorted(elements)
    return [f"queue: {found[0]!r} {text} ({len(found)} of them)"] if found else []
