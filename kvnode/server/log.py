"""The server's log: readable lines on a terminal, one JSON object per line otherwise."""

import logging
from typing import TextIO

import structlog

LEVELS = {
    "debug": logging.DEBUG,
    "verbose": logging.DEBUG,
    "notice": logging.INFO,
    "warning": logging.WARNING,
    "nothing": logging.CRITICAL,
}


def configure(level: str, stream: TextIO) -> None:
    """Send structlog's events of `level` (a value of loglevel) and above to `stream`."""
    is_terminal = stream.isatty()
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if is_terminal:
        processors.append(structlog.dev.ConsoleRenderer())
    else:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(stream),
        # Loggers are made at import: they must see a configuration that comes later.
        cache_logger_on_first_use=False,
    )


def report_ignored(names: list[str]) -> None:
    """Say in one line which parameters were accepted though they mean nothing here."""
    if names:
        structlog.get_logger().info("accepted without meaning here", parameters=sorted(set(names)))
