"""Replays a section of a transcript against a server and lists what differed."""

import time
from collections.abc import Callable

from tests.conformance import compare
from tests.conformance.quoting import split_arguments, substitute
from tests.conformance.transcript import Section, Step, recorded_lines
from tests.support.resp import ErrorReply, ReplyStream, decode, encode

EVENTUALLY_SECONDS_MAX = 5.0
EVENTUALLY_POLL_SECONDS = 0.005
PASSWORD = "foobared"  # the only one that transcripts set

Connect = Callable[[], ReplyStream]


def request(step: Step, variables: dict[str, bytes]) -> bytes:
    """Return the bytes that `step` sends."""
    if "inline" in step.directives:
        return substitute(step.command.encode(), variables) + b"\r\n"
    arguments = [substitute(word, variables) for word in split_arguments(step.command)]
    return b"".join(arguments) if "raw" in step.directives else encode(*arguments)


def reset(connect: Connect) -> None:
    """Bring the server back to no keys and no password, whatever a section left behind."""
    connection = connect()
    try:
        connection.send(encode("PING"))
        reply = connection.receive()
        if isinstance(reply, ErrorReply) and reply.code == "NOAUTH":
            connection.call("AUTH", PASSWORD)
            connection.call("CONFIG", "SET", "requirepass", "")
        connection.call("FLUSHALL")
    finally:
        connection.close()


class Replay:
    """One run of one section: its connections by name, and what was saved."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connections: dict[str, ReplyStream] = {}
        self._variables: dict[str, bytes] = {}

    def answer(self, step: Step) -> bytes:
        """Run `step` once and return the bytes of its replies. Raises OSError."""
        if step.connection not in self._connections:
            self._connections[step.connection] = self._connect()
        connection = self._connections[step.connection]
        connection.send(request(step, self._variables))
        raw = b"".join(connection.receive_raw() for _ in range(step.replies_count))
        if "save" in step.directives:
            value = decode(raw)
            text = value if isinstance(value, bytes) else str(value).encode()
            self._variables[step.directives["save"]] = text
        if "closes" in step.directives:
            if not connection.at_end():
                raise ConnectionError("the server did not close the connection")
            self.close(step.connection)
        return raw

    def check(self, step: Step) -> str | None:
        """Run `step` and return how its reply differs from the recorded one, None if it fits."""
        deadline = time.monotonic() + EVENTUALLY_SECONDS_MAX
        while True:
            actual = self.answer(step)
            expected = step.expected(self._variables)
            if compare.fits(expected, actual, self._directives(step)):
                return None
            if "eventually" not in step.directives or time.monotonic() > deadline:
                return difference(step, actual)
            time.sleep(EVENTUALLY_POLL_SECONDS)

    def _directives(self, step: Step) -> dict[str, str]:
        if "match" not in step.directives:
            return step.directives
        pattern = substitute(step.directives["match"].encode(), self._variables)
        return {"match": pattern.decode()}

    def close(self, name: str | None = None) -> None:
        """Close one connection, or all."""
        for key in [name] if name else list(self._connections):
            self._connections.pop(key).close()


def difference(step: Step, actual: bytes) -> str:
    """Return a report of one differing reply."""
    expected = "\n".join(f"      < {line}" for line in step.lines or [])
    answered = "\n".join(f"      < {line}" for line in recorded_lines(actual)) or "      (nothing)"
    notes = "".join(f"  @{key} {value}".rstrip() for key, value in step.directives.items())
    head = f"line {step.number}: {step.connection}> {step.command}{notes}"
    return f"{head}\n    expected\n{expected}\n    answered\n{answered}"


def differences(section: Section, connect: Connect, *, skip: Callable[[Step], bool]) -> list[str]:
    """Replay `section` and return a report for each reply that differs.

    skip: which steps are sent without looking at their replies.
    """
    found = []
    replay = Replay(connect)
    reset(connect)
    try:
        for step in section.steps:
            try:
                if skip(step):
                    replay.answer(step)
                elif report := replay.check(step):
                    found.append(report)
            except (OSError, ValueError) as error:
                head = f"line {step.number}: {step.connection}> {step.command}"
                found.append(f"{head}\n    {type(error).__name__}: {error}; the rest was not run")
                break
    finally:
        replay.close()
        reset(connect)
    return found
