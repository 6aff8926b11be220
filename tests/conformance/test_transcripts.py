"""Recorded transcripts replayed against kvnode, and against redis-server where there is one."""

import pytest

from kvnode.commands.table import built_rows
from kvnode.server.local import native_handlers
from tests.conformance.replay import differences
from tests.conformance.transcript import Section, Step, load_all, parse
from tests.support.process import ServerProcess

REPLY_SECONDS_MAX = 5.0
SECTIONS = load_all()
IDS = [f"{topic}-{section.title}" for topic, section in SECTIONS]
BUILT = {row.name for row in built_rows(native_handlers())}
CASES = pytest.mark.parametrize("section", [section for _, section in SECTIONS], ids=IDS)


def check(section: Section, server: ServerProcess, *, is_redis_70: bool) -> None:
    """Fail with all differences of the section."""

    def skip(step: Step) -> bool:
        return is_redis_70 and bool({"since", "differs"} & step.directives.keys())

    found = differences(section, lambda: server.connect(REPLY_SECONDS_MAX), skip=skip)
    report = "\n\n".join(found)
    assert not found, f"{len(found)} replies of {server.name} differ\n\n{report}"


@CASES
def test_kvnode_answers_as_recorded(section: Section, request: pytest.FixtureRequest) -> None:
    if missing := section.commands() - BUILT:
        pytest.skip(f"not built yet: {' '.join(sorted(missing))}")
    kvnode_server = request.getfixturevalue("kvnode_server")
    check(section, kvnode_server, is_redis_70=False)


@CASES
def test_recording_is_true(section: Section, redis_server: ServerProcess) -> None:
    """The transcripts say what the reference server says; what is newer is not asked of it."""
    check(section, redis_server, is_redis_70=True)


def test_a_section_names_the_commands_it_needs() -> None:
    """A command that was never built makes a section wait; one meant to be unknown does not."""
    text = """
        == a section
        > GET k
        < $-1
        > NOSUCH
        < -ERR unknown command 'NOSUCH', with args beginning with:
        > config GET x
        < *0
        @replies 0
        > SILENT
        @raw
        > *1\\r\\n
    """
    section = parse("\n".join(line.strip() for line in text.splitlines()), "text")[0]
    assert section.commands() == {"get", "config"}
