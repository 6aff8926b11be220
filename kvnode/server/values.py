"""Kinds of configuration values: from the words of redis.conf and CONFIG SET to Python and back.

`parse` raises ConfigError with Redis's text where Redis has one, else with what is right.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kvnode.base.addresses import split_address
from kvnode.base.errors import ConfigError
from kvnode.base.limits import MEMBERS_MAX

INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
MEMORY = re.compile(rb"([0-9]{1,19})([a-z]*)", re.IGNORECASE)
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
INT32_MAX = (1 << 31) - 1
UINT32_MAX = (1 << 32) - 1

UNITS = {
    b"": 1,
    b"b": 1,
    b"k": 1000,
    b"kb": 1024,
    b"m": 1000**2,
    b"mb": 1024**2,
    b"g": 1000**3,
    b"gb": 1024**3,
}


class Kind(Protocol):
    """One kind of value. is_list: several words on its line belong to the value."""

    is_list: bool

    def parse(self, words: Sequence[bytes]) -> Any: ...
    def format(self, value: Any) -> bytes: ...


def parse_memory(word: bytes) -> int:
    """Return bytes; accepts units as in 512mb. Raises ConfigError."""
    match = MEMORY.fullmatch(word)
    if match is None or match[2].lower() not in UNITS:
        raise ConfigError("argument must be a memory value")
    return int(match[1]) * UNITS[match[2].lower()]


def quote(value: bytes) -> bytes:
    """Return `value` as one word of redis.conf."""
    if value and all(0x21 <= byte <= 0x7E and byte not in b"\"'\\" for byte in value):
        return value
    parts = []
    for byte in value:
        if byte in b'"\\':
            parts.append(b"\\%c" % byte)
        elif 0x20 <= byte <= 0x7E:
            parts.append(b"%c" % byte)
        else:
            parts.append(b"\\x%02x" % byte)
    return b'"' + b"".join(parts) + b'"'


def check_range(value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise ConfigError(f"argument must be between {low} and {high} inclusive")
    return value


@dataclass(frozen=True)
class Boolean:
    is_list = False

    def parse(self, words: Sequence[bytes]) -> bool:
        word = words[0].lower()
        if word not in (b"yes", b"no"):
            raise ConfigError("argument must be 'yes' or 'no'")
        return word == b"yes"

    def format(self, value: bool) -> bytes:
        return b"yes" if value else b"no"


@dataclass(frozen=True)
class Integer:
    low: int = INT64_MIN
    high: int = INT64_MAX
    is_list = False

    def parse(self, words: Sequence[bytes]) -> int:
        if not INTEGER.fullmatch(words[0]) or not INT64_MIN <= int(words[0]) <= INT64_MAX:
            raise ConfigError("argument couldn't be parsed into an integer")
        return check_range(int(words[0]), self.low, self.high)

    def format(self, value: int) -> bytes:
        return b"%d" % value


@dataclass(frozen=True)
class Memory:
    """Bytes. most: a bound of kvnode's own, with the sentence that explains it.

    hint: said at start behind an error, where Redis's text alone does not say what is right.
    """

    hint = " (a number of bytes, for example 512mb)"

    low: int = 0
    high: int = INT64_MAX
    most: int = INT64_MAX
    most_reason: str = ""
    is_list = False

    def parse(self, words: Sequence[bytes]) -> int:
        value = check_range(parse_memory(words[0]), self.low, self.high)
        if value > self.most:
            raise ConfigError(self.most_reason)
        return value

    def format(self, value: int) -> bytes:
        return b"%d" % value


@dataclass(frozen=True)
class Choice:
    """One of some words. only: those that kvnode has, with the sentence about the others."""

    words: tuple[str, ...]
    only: tuple[str, ...] = ()
    only_reason: str = ""
    is_list = False

    def parse(self, words: Sequence[bytes]) -> str:
        word = words[0].decode("latin-1").lower()
        if word not in self.words:
            known = ", ".join(self.words)
            raise ConfigError(f"argument(s) must be one of the following: {known}")
        if self.only and word not in self.only:
            raise ConfigError(self.only_reason)
        return word

    def format(self, value: str) -> bytes:
        return value.encode()


@dataclass(frozen=True)
class Text:
    """Any string, as bytes."""

    is_list = False

    def parse(self, words: Sequence[bytes]) -> bytes:
        return words[0]

    def format(self, value: bytes) -> bytes:
        return value


@dataclass(frozen=True)
class Path:
    """A file name, as text. is_optional: there may be none."""

    is_optional: bool = False
    is_list = False

    def parse(self, words: Sequence[bytes]) -> str:
        if not words[0] and not self.is_optional:
            raise ConfigError("argument must be a path")
        return words[0].decode("utf-8", "surrogateescape")

    def format(self, value: str) -> bytes:
        return value.encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Words:
    """A list of words, as text, for example addresses."""

    is_list = True

    def parse(self, words: Sequence[bytes]) -> tuple[str, ...]:
        split = [part for word in words for part in word.split()]
        return tuple(part.decode("utf-8", "surrogateescape") for part in split)

    def format(self, value: tuple[str, ...]) -> bytes:
        return " ".join(value).encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Address:
    """HOST:PORT as text, or nothing."""

    is_list = False

    def parse(self, words: Sequence[bytes]) -> str:
        text = words[0].decode("ascii", "backslashreplace")
        if text:
            split_address(text)
        return text

    def format(self, value: str) -> bytes:
        return value.encode()


@dataclass(frozen=True)
class Addresses:
    """Nodes and their addresses, "1=HOST:PORT,2=HOST:PORT"; as (node id, address), sorted."""

    is_list = False

    def parse(self, words: Sequence[bytes]) -> tuple[tuple[int, str], ...]:
        nodes: dict[int, str] = {}
        for part in filter(None, words[0].decode("ascii", "backslashreplace").split(",")):
            shown, equals, address = part.partition("=")
            if not equals:
                raise ConfigError(f"'{part}' is not ID=HOST:PORT, for example 1=10.0.0.1:7000")
            try:
                node_id = Integer(1, INT64_MAX).parse([shown.encode()])
            except ConfigError:
                raise ConfigError(
                    f"'{shown}' is no node id: they are numbers from 1 to {INT64_MAX}"
                ) from None
            split_address(address)
            if node_id in nodes:
                raise ConfigError(f"node {node_id} is named twice")
            if address in nodes.values():
                raise ConfigError(f"two nodes have the address {address}")
            nodes[node_id] = address
        if len(nodes) > MEMBERS_MAX:
            raise ConfigError(f"{len(nodes)} nodes; a group has at most {MEMBERS_MAX}")
        return tuple(sorted(nodes.items()))

    def format(self, value: tuple[tuple[int, str], ...]) -> bytes:
        return ",".join(f"{node_id}={address}" for node_id, address in value).encode()


@dataclass(frozen=True)
class Ignored:
    """Accepted in files whatever it says; shows always the same."""

    shown: bytes
    is_list = True

    def parse(self, words: Sequence[bytes]) -> bytes:
        return self.shown

    def format(self, value: bytes) -> bytes:
        return self.shown


@dataclass(frozen=True)
class Only:
    """One value and no other; the sentence says why."""

    value: bytes
    reason: str
    is_list = True

    def parse(self, words: Sequence[bytes]) -> bytes:
        if b" ".join(words) != self.value:
            raise ConfigError(self.reason)
        return self.value

    def format(self, value: bytes) -> bytes:
        return value


@dataclass(frozen=True)
class BufferLimit:
    """Limits of one class of clients: bytes, bytes for `seconds`. 0 = none."""

    hard: int
    soft: int
    seconds: int


@dataclass(frozen=True)
class BufferLimits:
    """client-output-buffer-limit: class, hard, soft, seconds, and so on."""

    CLASSES = {b"normal": "normal", b"slave": "slave", b"replica": "slave", b"pubsub": "pubsub"}
    is_list = True

    def parse(self, words: Sequence[bytes]) -> dict[str, BufferLimit]:
        """Return the classes named; the others keep what they have."""
        words = [part for word in words for part in word.split()]
        if not words or len(words) % 4:
            raise ConfigError("Wrong number of arguments in buffer limit configuration.")
        limits = {}
        for at in range(0, len(words), 4):
            name = self.CLASSES.get(words[at].lower())
            if name is None:
                raise ConfigError("Invalid client class specified in buffer limit configuration.")
            try:
                hard, soft = parse_memory(words[at + 1]), parse_memory(words[at + 2])
                seconds = Integer(0).parse([words[at + 3]])
            except ConfigError:
                text = "Error in hard, soft or soft_seconds setting in buffer limit configuration."
                raise ConfigError(text) from None
            limits[name] = BufferLimit(hard, soft, seconds)
        return limits

    def format(self, value: dict[str, BufferLimit]) -> bytes:
        parts = [
            f"{name} {limit.hard} {limit.soft} {limit.seconds}" for name, limit in value.items()
        ]
        return " ".join(parts).encode()


@dataclass(frozen=True)
class EventClasses:
    """notify-keyspace-events, as the letters in Redis's order."""

    ALL = "g$lshzxetd"
    REST = "nKEm"
    is_list = False

    def parse(self, words: Sequence[bytes]) -> str:
        letters = set(words[0].decode("latin-1"))
        if letters - set(self.ALL + self.REST + "A"):
            raise ConfigError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
        if "A" in letters:
            letters |= set(self.ALL)
        if letters >= set(self.ALL):
            first = "A"
        else:
            first = "".join(letter for letter in self.ALL if letter in letters)
        return first + "".join(letter for letter in self.REST if letter in letters)

    def format(self, value: str) -> bytes:
        return value.encode()


# By letter: the bits of EventClass in _core/view.pxd. There are no events of the other classes.
EVENT_BITS = {"g": 1, "$": 2, "x": 4, "n": 8, "l": 16, "s": 32, "h": 64, "z": 128}


def wanted_events(letters: str) -> dict[str, int]:
    """Return the arguments of PubSub.set_events() that a value of EventClasses means."""
    classes = letters + EventClasses.ALL if "A" in letters else letters
    return {
        "classes": sum({bit for letter, bit in EVENT_BITS.items() if letter in classes}),
        "names_keys": "K" in letters,
        "names_events": "E" in letters,
    }
