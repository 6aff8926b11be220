"""Queues on a real node leave nothing behind; bench/queues.py does the same at full size."""

import pytest

from bench import queues
from bench.servers import Server
from tests.support.process import is_kvnode_complete

pytestmark = pytest.mark.skipif(not is_kvnode_complete(), reason="there is no node yet")

ELEMENTS, JOBS = 5000, 1000


def test_hard_case_10_and_17_queues_leave_neither_memory_nor_rows() -> None:
    assert queues.measure(ELEMENTS, JOBS).left == []


def test_what_is_left_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(server: Server, count: int, checkpoint_every: int) -> None:
        server.client.rpush("stuck", 1, 2)
        server.client.hset("job:stuck", "data", b"x" * queues.LEFT_BYTES_MAX)

    monkeypatch.setattr(queues, "pass_jobs", leave)
    left = queues.measure(100, 1).left
    assert {"2 rows of items", "1 rows of fields"} <= set(left)
    assert any("bytes of memory" in text for text in left)
