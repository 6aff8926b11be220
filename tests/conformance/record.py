"""Records the replies in the transcripts from a redis-server.

    python -m tests.conformance.record [TOPIC ...]

Without topics all files are recorded. Replies written by hand (@since, @differs, @match) stay.
Commit only a difference that you can explain.
"""

import sys

from tests.conformance import compare
from tests.conformance.replay import Replay, reset
from tests.conformance.transcript import DIRECTORY, Section, Step, load, recorded_lines, write
from tests.support.process import ServerProcess, running

REPLY_SECONDS_MAX = 5.0  # a reply that does not come is a mistake in the script


def record_section(section: Section, server: ServerProcess) -> None:
    """Run the steps of `section` and write down the replies."""

    def connect() -> object:
        return server.connect(REPLY_SECONDS_MAX)

    reset(connect)
    replay = Replay(connect)
    for step in section.steps:
        try:
            if "eventually" in step.directives and step.lines and not step.is_handwritten:
                replay.check(step)
                continue
            raw = replay.answer(step)
        except (OSError, ValueError) as error:
            where = f"{section.title}, line {step.number}: {step.command}"
            raise SystemExit(f"{where}: {error}") from error
        if not step.is_handwritten and not _still_fits(step, raw):
            step.lines = recorded_lines(raw, step.directives)
    replay.close()
    reset(connect)


def _still_fits(step: Step, raw: bytes) -> bool:
    """Return whether what is written says the same: an order or a second need not change it."""
    return step.lines is not None and compare.fits(step.expected({}), raw, step.directives)


def main(topics: list[str]) -> None:
    """Record the files named by `topics`, or all."""
    paths = [DIRECTORY / f"{topic}.txt" for topic in topics] or sorted(DIRECTORY.glob("*.txt"))
    for path in paths:
        # A server for each file: client ids and the like then depend on this file only.
        with running("redis") as server:
            sections = load(path)
            for section in sections:
                record_section(section, server)
            path.write_text(write(sections))
            count = sum(len(section.steps) for section in sections)
            sys.stdout.write(f"{path.name}: {count} commands\n")


if __name__ == "__main__":
    main(sys.argv[1:])
