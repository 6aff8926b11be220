"""Lists take positions again: a stack and a queue lose nothing and keep nothing."""

from tests.support.local import LocalClient, LocalNode

ROUNDS = 300


def list_rows(node: LocalNode) -> int:
    return sum(
        1 for lo, hi in ((b"I", b"J"), (b"K", b"L")) for _ in node.engine.scan(lo, hi, 1 << 20)
    )


def settle(node: LocalNode) -> None:
    for _ in range(3):
        node.checkpoint(records=1000)


def test_a_stack_takes_positions_again_while_pins_see_the_old_items() -> None:
    node = LocalNode()
    client: LocalClient = node.client()
    pins = []
    for i in range(20):
        client.ask("LPUSH", "k", "keep" if i == 0 else f"a{i}")
        pins.append(node.tip.pin())
        node.checkpoint()
        if i:
            assert client.ask("LPOP", "k") == b"a%d" % i
        node.checkpoint()
        if i % 5 == 4:
            node.tip.unpin(pins.pop(0))
            node.cool()
        assert client.ask("LRANGE", "k", 0, -1) == [b"keep"]
    for pin in pins:
        node.tip.unpin(pin)
    assert client.ask("LLEN", "k") == 1


def test_a_claim_that_head_passed_swallows_no_later_element() -> None:
    node = LocalNode()
    client: LocalClient = node.client()
    client.ask("RPUSH", "k", "a", "b", "c", "d")
    client.ask("LREM", "k", 1, "b")
    settle(node)
    assert client.ask("LPOP", "k") == b"a"
    client.ask("LPUSH", "k", "x", "y", "z")
    node.cool()
    assert client.ask("LRANGE", "k", 0, -1) == [b"z", b"y", b"x", b"c", b"d"]


def test_deltas_follow_a_list_to_its_new_name() -> None:
    node = LocalNode()
    client: LocalClient = node.client()
    client.ask("RPUSH", "old", "a", "b")
    pin = node.tip.pin()
    node.checkpoint()
    client.ask("RPUSH", "old", "c")
    client.ask("RENAME", "old", "new")
    client.ask("RPUSH", "old", "other")
    node.checkpoint()
    node.cool()
    assert client.ask("LRANGE", "new", 0, -1) == [b"a", b"b", b"c"]
    assert client.ask("LRANGE", "old", 0, -1) == [b"other"]
    node.tip.unpin(pin)


def test_a_queue_keeps_neither_memory_nor_rows() -> None:
    node = LocalNode()
    client: LocalClient = node.client()
    client.ask("RPUSH", "q", *range(10))
    for i in range(ROUNDS):
        client.ask("RPUSH", "q", *(f"{i}:{n}" for n in range(10)))
        assert len(client.ask("LPOP", "q", 10)) == 10
        if i % 50 == 49:
            settle(node)
            assert list_rows(node) <= 30
            entries = node.dump()["tables"]
            assert (
                sum(len(t["entries"]) for (kind, _), t in entries.items() if kind == ord("I")) <= 30
            )
    assert client.ask("LLEN", "q") == 10
