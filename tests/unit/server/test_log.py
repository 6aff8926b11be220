"""The log: lines for people on a terminal, JSON otherwise, from the set level on."""

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from kvnode.server import log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _unconfigured() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_json_when_not_a_terminal() -> None:
    stream = io.StringIO()
    logger = structlog.get_logger()
    log.configure("notice", stream)
    logger.debug("hidden")
    logger.info("listening", port=6379)
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {"event": "listening", "port": 6379, "level": "info"}


def test_readable_on_a_terminal() -> None:
    stream = Terminal()
    log.configure("notice", stream)
    structlog.get_logger().info("listening", port=6379)
    assert "listening" in stream.getvalue()
    assert "{" not in stream.getvalue()


@pytest.mark.parametrize(
    ("level", "shown"),
    [("debug", 4), ("verbose", 4), ("notice", 3), ("warning", 2), ("nothing", 0)],
)
def test_levels(level: str, shown: int) -> None:
    stream = io.StringIO()
    log.configure(level, stream)
    logger = structlog.get_logger()
    for write in (logger.debug, logger.info, logger.warning, logger.error):
        write("event")
    assert len(stream.getvalue().splitlines()) == shown


def test_ignored_parameters_are_one_line() -> None:
    stream = io.StringIO()
    log.configure("notice", stream)
    log.report_ignored([])
    log.report_ignored(["save", "hll", "save"])
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["parameters"] == ["hll", "save"]
