"""Records the replies in calls/*.txt from a redis-server.

    python -m tests.conformance.record_calls

Lines with a mark stay. A call that is new gets a line; where Redis cannot be asked its reply is
`?`, to be written by hand. Commit only a difference that you can explain.
"""

import sys

from kvnode.commands.row import Row
from tests.conformance.calls import (
    ABSENT,
    DIRECTORY,
    KEYS,
    KINDS,
    WRONG_TYPE,
    Desk,
    Line,
    all_rows,
    calls,
    is_asked,
    load,
)
from tests.conformance.compare import same_answer
from tests.support.process import running

RECORDED = (7, 0)  # the version of the redis-server
UNKNOWN = b"?\r\n"
OURS = (b"KVNODE", b"SENTINEL")  # a redis-server that is no Sentinel knows neither

ROW_OF = {row.name.upper().encode(): row for row in all_rows()}


def version(row: Row) -> tuple[int, int]:
    """Return with which version of Redis a command came."""
    major, minor = row.since.split(".")[:2]
    return int(major), int(minor)


def by_rule(kind: str, call: tuple[bytes, ...]) -> Line | None:
    """Return the line of a call that Redis cannot be asked for, None if it can."""
    row = ROW_OF.get(b"|".join(call[:2])) or ROW_OF[call[0]]
    is_ours = call[0] in OURS
    if version(row) <= RECORDED and not is_ours:
        return None if is_asked(call) else Line(call, UNKNOWN, "kvnode")
    reply = UNKNOWN
    if not row.accepts(len(call)):
        reply = f"-ERR wrong number of arguments for '{row.name}' command\r\n".encode()
    elif kind == "types" and call[1] not in (KEYS["hash"], ABSENT):
        reply = WRONG_TYPE
    return Line(call, reply, "kvnode" if is_ours else "{}.{}".format(*version(row)))


def recorded(known: Line | None, line: Line) -> Line:
    """Return the line that is known if it says the same: an order need not change it."""
    return known if known and same_answer(line.call, known.reply, line.reply) else line


def main() -> None:
    """Record all files."""
    with running("redis") as server, server.connect() as connection:
        desk = Desk(connection)
        for kind in KINDS:
            path = DIRECTORY / f"{kind}.txt"
            known = {line.call: line for line in load(kind)} if path.exists() else {}
            lines = []
            for call in calls(kind):
                line = known.get(call)
                if line is None or not line.mark:
                    line = by_rule(kind, call) or recorded(line, Line(call, desk.answer(call)))
                lines.append(line)
            path.write_text("".join(f"{line.text()}\n" for line in lines))
            sys.stdout.write(f"{path.name}: {len(lines)} calls\n")


if __name__ == "__main__":
    main()
