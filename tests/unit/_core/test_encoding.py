"""OBJECT ENCODING of lists: their elements are measured, as Redis 7.4 measures its listpacks."""

import random

import pytest

from tests.reference import listpack
from tests.support.local import LocalNode

SEEDS = 60
NUMBERS = (1 << 7, 1 << 12, 1 << 15, 1 << 23, 1 << 31, 1 << 62, 1 << 63)


@pytest.fixture
def node():
    return LocalNode()


@pytest.fixture
def ask(node):
    return node.client().ask


def some_element(rng):
    if rng.random() < 0.5:
        return b"%d" % (rng.choice((-1, 1)) * rng.choice(NUMBERS) + rng.randrange(-2, 3))
    length = rng.choice((1, 62, 63, 64, 65, 124, 125, 126, 127, 128, 4095, 4096, 4097))
    return b"x" * min(length, rng.choice((130, 130, 130, 5000)))


def mistaken(elements, limit):
    """A rule with a bug: texts of 64 bytes and more take one byte less than they do."""
    size = listpack.EMPTY_BYTES
    for element in elements:
        size += listpack.element_bytes(element) - (len(element) >= 64)
    return b"quicklist" if size > 8192 else b"listpack"


def differences(form, limit=-2):
    """Return the seeds for which `form` does not say what the node says, at sizes near 8 KiB."""
    found = []
    for seed in range(SEEDS):
        rng, node = random.Random(seed), LocalNode()
        node.view.list_listpack_size = limit
        ask, elements = node.client().ask, []
        target = 8192 + rng.randrange(-20, 20)
        while sum(map(listpack.element_bytes, elements)) < target - 5000:
            elements.append(some_element(rng))
        while (room := target - sum(map(listpack.element_bytes, elements))) > 0:
            elements.append(b"x" * max(1, min(room - 3, rng.choice((70, 90, 120)))))
        ask("RPUSH", "list", *elements)
        if ask("OBJECT", "ENCODING", "list") != form(elements, limit):
            found.append(seed)
    return found


def test_lists_near_the_limit_are_as_the_twin_says():
    assert differences(listpack.form) == []


def test_a_planted_bug_in_the_sizes_is_found():
    assert differences(mistaken)


@pytest.mark.parametrize(
    ("limit", "elements", "size", "encoding"),
    [
        (-2, 1, 8185, b"listpack"),
        (-2, 1, 8186, b"quicklist"),
        (-1, 1, 4089, b"listpack"),
        (-1, 1, 4090, b"quicklist"),
        (-5, 1, 65529, b"listpack"),
        (-9, 1, 65529, b"listpack"),  # as -5
        (-5, 1, 65530, b"quicklist"),
        (3, 3, 1, b"listpack"),
        (3, 4, 1, b"quicklist"),
        (3, 1, 8186, b"quicklist"),  # more than 8 KiB are never small
        (0, 1, 1, b"listpack"),  # as 1
        (0, 2, 1, b"quicklist"),
        (-2, 4093, 1, b"quicklist"),  # too many, whatever they are
    ],
)
@pytest.mark.parametrize("is_cold", [False, True])
def test_limits(node, ask, limit, elements, size, encoding, is_cold):
    node.view.list_listpack_size = limit
    ask("RPUSH", "list", *[b"x" * size] * elements)
    if is_cold:
        node.checkpoint()
        node.evict()
    assert ask("OBJECT", "ENCODING", "list") == encoding


def test_a_list_changes_back(node, ask):
    ask("RPUSH", "list", *[b"x" * 100] * 100)
    assert ask("OBJECT", "ENCODING", "list") == b"quicklist"
    ask("LREM", "list", 70, "x" * 100)
    assert ask("OBJECT", "ENCODING", "list") == b"listpack"
    ask("LTRIM", "list", 0, 3)
    node.checkpoint()
    node.evict()
    assert ask("OBJECT", "ENCODING", "list") == b"listpack"


def test_the_reply_waits_for_what_it_saw(node):
    """An encoding depends on elements that are not committed yet."""
    writer, reader = node.session(), node.session()
    node.run(writer, b"RPUSH list a\r\n")
    assert node.run(reader, b"OBJECT ENCODING list\r\n") == b""
    node.commit()
    assert reader.take() == b"$8\r\nlistpack\r\n"
