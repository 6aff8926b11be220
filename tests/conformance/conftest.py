"""The servers whose replies are compared: a real redis-server, and kvnode."""

from collections.abc import Iterator

import pytest

from tests.support import process
from tests.support.process import ServerProcess


@pytest.fixture(scope="session")
def redis_server() -> Iterator[ServerProcess]:
    """A redis-server without persistence, where one is installed."""
    if process.redis_server_path() is None:
        pytest.skip("redis-server is not installed")
    with process.running("redis") as server:
        yield server


@pytest.fixture(scope="session")
def kvnode_server() -> Iterator[ServerProcess]:
    """A kvnode process; anything that has `connect(timeout_s)` could stand here."""
    if not process.is_kvnode_complete():
        pytest.skip("this tree has no kvnode.server.node yet")
    with process.running("kvnode") as server:
        yield server
